"""``python -m icl_curriculum`` is the same as ``icl``, which begins here, too."""

import sys
from pathlib import Path


def main() -> None:
    """Run the command line. Where the package cannot run at all, say so in one message, with exit code 2."""
    try:
        import icl_curriculum.core  # noqa: F401
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    from icl_curriculum.cli import main as command_line

    command_line()


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
