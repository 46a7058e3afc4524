"""How a command ends if something goes wrong: one message and an exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import NoReturn

from icl_curriculum.cli.signals import Signals, Stopped
from icl_curriculum.core.printable import harmless, make_tolerant
from icl_curriculum.core.stopping import stop_if_asked

#: What a command that was stopped leaves behind, by the command's name.
_LEFT = {
    "run": "the same command{} continues where it stopped",
    "evaluate": "the banks that were answered are in the table",
    "score": "the banks that were answered are in the table",
    "import": "nothing of it counts, and the same command begins anew",
    "bench": "the tables that were printed are written",
}
#: The exit code of a command that had more to do than to print, and whose output nobody reads any more.
UNREAD = 141

_ARGUMENTS: ContextVar[tuple[str, ...]] = ContextVar("arguments", default=())


class OutputClosed(BaseException):
    """Nobody reads any more what is printed, as when ``icl list | head -1`` has its line. The stack unwinds."""


def given(arguments: Sequence[str]) -> None:
    """Note what the command line was given, which decides how it ends. To be called before anything is parsed."""
    _ARGUMENTS.set(tuple(arguments))


def tracebacks() -> bool:
    """Whether --debug is among the arguments: errors are then shown with the place where they were raised."""
    return "--debug" in _ARGUMENTS.get()


def echo(text: str, *, err: bool = False) -> None:
    """Print a text as it is, with nothing in it that the terminal would obey."""
    # Not by typer.echo, which writes UTF-8 to a terminal that says it is ASCII.
    try:
        print(harmless(text), file=sys.stderr if err else sys.stdout, flush=True)
    except BrokenPipeError:
        raise OutputClosed from None


def end_with_a_message(command: Callable[[], object], *, signals: Signals | None = None) -> None:
    """Call a command, and end the process if it fails: with one message, and a traceback if --debug asks for it.

    The exit code is 2 for a mistake in the command or the config, 1 for a run that failed or a disk that is full, and
    130, 143 or 129 for a command that was interrupted, terminated or hung up. Where nobody reads any more what is
    printed, it is 0, or 141 for a command that had more to do than to print.

    ``signals``: what raises `Stopped`, to be told when the command has ended.
    """
    for stream in (sys.stdout, sys.stderr):
        make_tolerant(stream)
    # Where there is no home for its settings, matplotlib says so in many words, and works all the same.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        try:
            try:
                command()
            finally:
                for stream in filter(None, (sys.stdout, sys.stderr)):
                    stream.flush()
        except Exception:
            stop_if_asked()
            raise
        finally:
            if signals is not None:
                signals.ignore()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            _end_unread()
        # For a mistake in the arguments, typer has printed the message and ends the process while it handles the error.
        if tracebacks() and end.code == 2 and end.__context__ is not None:
            _show_traceback(end.__context__)
        raise
    except Stopped as error:
        _end(error, f"{error}{hint()}", 128 + error.number)
    except (OutputClosed, BrokenPipeError):
        _end_unread()
    except OSError as error:
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        _end(error, f"error: {place}{error.strerror or error}; what is on disk is kept", 1)
    except Exception as error:
        # Imported only once something went wrong, so that --help stays light.
        from icl_curriculum.core.contracts import ComponentFailed
        from icl_curriculum.core.errors import RunFailed, UserError, described

        if isinstance(error, UserError):
            _end(error, f"error: {error}", 2)
        if isinstance(error, RunFailed | ComponentFailed):
            _end(error, f"failed: {error}", 1)
        if isinstance(error, UnicodeEncodeError) and len(error.object) < 4096 and "\n" not in error.object:
            _end(
                error,
                f"error: {error.object!r} cannot name a file here, where they are in {error.encoding}; {_UTF8}",
                2,
            )
        _end(error, f"error: an error of icl itself: {described(error)}; --debug shows where", 1)


_UTF8 = "with PYTHONUTF8=1 in the environment, every name is written in UTF-8"


def leaves(text: str) -> None:
    """Note what the command leaves behind if it is stopped, in the place of what commands of its name leave."""
    _LEFT[_command()] = text


def hint() -> str:
    """What a command that is stopped leaves behind, to be added to the word on how it ended."""
    left = _LEFT.get(_command(), "")
    return f"; {left}".format(" without --fresh" if "--fresh" in _ARGUMENTS.get() else "") if left else ""


def _command() -> str:
    # All options that may stand before the command are flags.
    return next((argument for argument in _ARGUMENTS.get() if not argument.startswith("-")), "")


def _end_unread() -> NoReturn:
    """End without a word where a command only printed, and as one that was stopped where it had more to do."""
    _discard_output()
    if _command() in _LEFT:
        with contextlib.suppress(OSError, OutputClosed):
            echo(f"stopped, as nobody reads the output any more{hint()}", err=True)
        sys.exit(UNREAD)
    sys.exit(0)


def _discard_output() -> None:
    """Have what is still to be written to standard output go nowhere, as Python writes it when the process ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _show_traceback(error: BaseException) -> None:
    echo("".join(traceback.format_exception(error)).rstrip("\n"), err=True)


def _end(error: BaseException, message: str, code: int) -> NoReturn:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        _discard_output()
    with contextlib.suppress(OSError, OutputClosed):  # where standard error is closed, too, the exit code must do
        if tracebacks():
            _show_traceback(error)
        echo(message, err=True)
    sys.exit(code)
