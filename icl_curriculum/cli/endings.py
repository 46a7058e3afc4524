"""How a command ends if something goes wrong: one message and an exit code."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

import typer

#: What is left of a command that was stopped, by its name.
_LEFT = {
    "run": "the same command{} continues where it stopped",
    "evaluate": "the banks that were answered are in the table",
    "score": "the banks that were answered are in the table",
    "bench": "the tables that were printed are written",
}


def end_with_a_message(command: Callable[[], object]) -> None:
    """Call, and end the process if it fails: with a traceback before the message if --debug is among the arguments.

    2: a mistake in the command or the config; 1: a run that failed, or a disk that is full; 130 and 143:
    interrupted or terminated.
    """
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        command()
    except _Stopped as error:
        left = _LEFT.get(sys.argv[1] if len(sys.argv) > 1 else "", "")
        hint = f"; {left}".format(" without --fresh" if "--fresh" in sys.argv else "") if left else ""
        _end(error, f"{error}{hint}", 128 + error.number)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _end(error, f"error: {place}{error.strerror or error}; what is on disk is kept", 1)
    except Exception as error:
        # Imported only once something went wrong, so that --help stays light.
        from icl_curriculum.core.errors import RunFailed, UserError, described

        if isinstance(error, UserError):
            _end(error, f"error: {error}", 2)
        if isinstance(error, RunFailed):
            _end(error, f"failed: {error}", 1)
        _end(error, f"error: an error of icl itself: {described(error)}; --debug shows where", 1)


class _Stopped(BaseException):
    """A signal asks to stop: unwind, so that no worker process is left behind.

    Not KeyboardInterrupt, of which typer makes an exit without a word.
    """

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == signal.SIGINT else "terminated")
        self.number = number


def _stop(number: int, frame: object) -> NoReturn:
    raise _Stopped(number)


def _end(error: BaseException, message: str, code: int) -> NoReturn:
    if "--debug" in sys.argv:
        traceback.print_exception(error)
    typer.echo(message, err=True)
    sys.exit(code)
