"""``python -m icl_curriculum`` is the same as ``icl``, which begins here, too."""

import sys


def main() -> None:
    """Run the command line. Where the package cannot run at all, say so in one message, with exit code 2."""
    try:
        import icl_curriculum.core  # noqa: F401
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    from icl_curriculum.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
