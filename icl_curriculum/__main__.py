"""``python -m icl_curriculum`` is the same as ``icl``."""

from icl_curriculum.cli import main

if __name__ == "__main__":
    main()
