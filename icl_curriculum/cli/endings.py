"""How a command ends if something goes wrong: one message and an exit code."""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NoReturn

import typer

from icl_curriculum.core.notices import LeftOut, MadeAnew, NotShown

#: What a command that was stopped leaves behind, by the command's name.
_LEFT = {
    "run": "the same command{} continues where it stopped",
    "evaluate": "the banks that were answered are in the table",
    "score": "the banks that were answered are in the table",
    "import": "nothing of it counts, and the same command begins anew",
    "bench": "the tables that were printed are written",
}

_ARGUMENTS: ContextVar[tuple[str, ...]] = ContextVar("arguments", default=())


def given(arguments: Sequence[str]) -> None:
    """Note what the command line was given, which decides how it ends. To be called before anything is parsed."""
    _ARGUMENTS.set(tuple(arguments))


def tracebacks() -> bool:
    """Whether --debug is among the arguments: errors are then shown with the place where they were raised."""
    return "--debug" in _ARGUMENTS.get()


def end_with_a_message(command: Callable[[], object]) -> None:
    """Call a command, and end the process if it fails: with one message, and a traceback if --debug asks for it.

    The exit code is 2 for a mistake in the command or the config, 1 for a run that failed or a disk that is full,
    and 130 or 143 for a command that was interrupted or terminated.
    """
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        with _notices_printed():
            command()
    except SystemExit as end:
        # For a mistake in the arguments, typer has printed the message and ends the process while it handles the error.
        if tracebacks() and end.code == 2 and end.__context__ is not None:
            traceback.print_exception(end.__context__)
        raise
    except _Stopped as error:
        # All options that may stand before the command are flags.
        name = next((argument for argument in _ARGUMENTS.get() if not argument.startswith("-")), "")
        left = _LEFT.get(name, "")
        hint = f"; {left}".format(" without --fresh" if "--fresh" in _ARGUMENTS.get() else "") if left else ""
        _end(error, f"{error}{hint}", 128 + error.number)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _end(error, f"error: {place}{error.strerror or error}; what is on disk is kept", 1)
    except Exception as error:
        # Imported only once something went wrong, so that --help stays light.
        from icl_curriculum.core.contracts import ComponentFailed
        from icl_curriculum.core.errors import RunFailed, UserError, described

        if isinstance(error, UserError):
            _end(error, f"error: {error}", 2)
        if isinstance(error, RunFailed | ComponentFailed):
            _end(error, f"failed: {error}", 1)
        _end(error, f"error: an error of icl itself: {described(error)}; --debug shows where", 1)


@contextlib.contextmanager
def _notices_printed() -> Iterator[None]:
    """Print what could not be shown of results as a note, and with --debug where it failed; other warnings as ever.

    Likewise what was made anew. After runs that were left out, each of which is named once, the exit code is 1.
    """
    left_out: dict[str, None] = {}
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if isinstance(message, LeftOut):
                if str(message) not in left_out:
                    typer.echo(f"damaged: {message}", err=True)
                left_out[str(message)] = None
            elif isinstance(message, MadeAnew | NotShown):
                typer.echo(f"note: {message}")
                if tracebacks() and isinstance(message, NotShown):
                    typer.echo(message.details)
            else:
                others(message, category, *place, **more)

        for kind in (NotShown, LeftOut, MadeAnew):
            warnings.simplefilter("always", kind)
        warnings.showwarning = show
        try:
            yield
        except SystemExit as end:
            if end.code or not left_out:
                raise
        if left_out:
            sys.exit(1)


class _Stopped(BaseException):
    """A signal asks the command to stop. Raised so that the stack unwinds and no worker process is left behind.

    It is not a KeyboardInterrupt, because typer would end the process at that without a word.
    """

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == signal.SIGINT else "terminated")
        self.number = number


def _stop(number: int, frame: object) -> NoReturn:
    raise _Stopped(number)


def _end(error: BaseException, message: str, code: int) -> NoReturn:
    if tracebacks():
        traceback.print_exception(error)
    typer.echo(message, err=True)
    sys.exit(code)
