"""``python -m icl_curriculum`` is the same as ``icl``, which begins here, too."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """Nothing is begun yet, and a module that is half imported passes no exception on."""
    os.write(2, b"interrupted\n" if number == signal.SIGINT else b"terminated\n")
    os._exit(128 + number)


def main() -> None:
    """Run the command line. Where the package cannot run at all, say so in one message, with exit code 2."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end_at_once)
    try:
        import icl_curriculum.core  # noqa: F401
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    from icl_curriculum.cli import main as command_line

    command_line(in_its_own_process=True)


def _look_elsewhere() -> None:
    """Look for modules where ``icl`` looks for them: not in the folder that one is in, which ``-m`` puts first.

    A ``random.py`` there would be imported instead of Python's own. In a checkout the folder comes last.
    """
    here = sys.path.pop(0)
    if Path(here).resolve() == Path(__file__).resolve().parent.parent:
        sys.path.append(here)


if __name__ == "__main__":
    if __spec__ is not None and not sys.flags.safe_path:
        _look_elsewhere()
    main()
