"""Where Chromium is. As a script: silent if it is installed, else one line that says how to install it."""

from __future__ import annotations

import os
import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """The browser's path: what the variable CHROMIUM names, else the first of the usual names that is on PATH."""
    named = os.environ.get("CHROMIUM")
    for name in (named,) if named else NAMES:
        found = shutil.which(name)
        if found:
            return found
    missing = f"CHROMIUM={named} is no program" if named else f"no Chromium on PATH ({', '.join(NAMES)})"
    raise FileNotFoundError(
        f"{missing}; on Debian: apt-get install chromium; elsewhere: make test-browser CHROMIUM=/path/to/chrome"
    )


if __name__ == "__main__":
    try:
        chromium()
    except FileNotFoundError as error:
        sys.exit(str(error))
