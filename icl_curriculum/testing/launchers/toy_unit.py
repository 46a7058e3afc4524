"""``toy_unit.py UNIT.toml``: a unit that only notes that it was executed, for the check of launchers.

It tells of its way as the units of runs do, and imports nothing of the package.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import tomllib
from pathlib import Path


def main() -> int:
    """Execute a unit; the exit code."""
    values = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    # As runs do, it can be stopped from here on.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1, signal.SIGTERM})
    attempts = Path(values["attempts"])
    with attempts.open("a", encoding="utf-8") as file:
        file.write("begun\n")
    number = attempts.read_text(encoding="utf-8").count("\n")
    if number <= values["dies"]:
        os.kill(os.getpid(), signal.SIGKILL)
    place = {"run": values["name"], "phase": "training", "done": number, "total": 3, "loss": None, "rate": None}
    print(json.dumps({"progress": {**place, "detail": "", "share": 0.0, "warning": ""}}), flush=True)
    time.sleep(0.05)
    if values["fails"]:
        print(json.dumps({"failure": {"message": values["fails"], "details": "no more"}}), flush=True)
        return 1
    print(json.dumps({"finished": values["name"]}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
