"""``start_worker.py UNIT.toml``: executes one launch unit in a process of its own.

It reports in lines of JSON on standard output; whatever else is printed, by a plugin say, goes to standard
error. With ``--end-with-stdin`` it ends when its standard input does: whoever started it is then gone, and a
run that nobody watches must not keep its directory from the next command. At SIGUSR1, and with ``--can-stop`` at
SIGTERM, it writes a checkpoint and ends with exit code 75.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import platform
import signal
import sys
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from icl_curriculum.config.loading import rebuild
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.log import LOG
from icl_curriculum.core.machine import resolve_device
from icl_curriculum.core.options import named_as_on_the_command_line
from icl_curriculum.core.plugin_files import COPIES, read_copies
from icl_curriculum.core.printable import make_tolerant
from icl_curriculum.core.provenance import package_version, source_hash
from icl_curriculum.core.stopping import StoppedAt, stop_soon
from icl_curriculum.launchers.unit_process import STOP_SIGNAL, STOPPED
from icl_curriculum.runs.execution import Progress, Report
from icl_curriculum.runs.failures import RunFailure
from icl_curriculum.runs.part_work import work_on
from icl_curriculum.runs.parts import work_of

Say = Callable[[dict[str, Any]], None]


def work(unit: Path, say: Say) -> int:
    """Execute the launch unit in a file, saying ``progress`` and, at the end, perhaps ``failure``; the exit code."""

    def report(progress: Progress) -> None:
        say({"progress": dataclasses.asdict(progress)})

    # The paths in it may hold bytes that are no text.
    values = tomllib.loads(unit.read_text(encoding="utf-8", errors="surrogateescape"))
    config = values["run"]
    if values["details"]:
        LOG.addHandler(_Told(say))
        LOG.setLevel(logging.INFO)
    name = f"{config['variant']}-seed{config['seed']}"
    with named_as_on_the_command_line(values["on_command_line"]):
        return _execute(name, unit, values, report, say)


def _execute(name: str, unit: Path, values: dict[str, Any], report: Report, say: Say) -> int:
    config = values["run"]
    try:
        _expect_code(values.get("code"))
        copies = read_copies(unit.parent / COPIES, config["plugins"], known_as=config["plugins"])
        run = rebuild(config, copies, source=str(unit), folder=unit.parent)
        run = dataclasses.replace(run, swept=values["swept"], swept_variant=values["swept_variant"])
        if run.hash() != values["hash"]:
            raise UserError("an installed package that it uses has changed since the command began; start it again")
        # "auto" is of the machine that executes it.
        device = resolve_device(values["device"])
        work = work_of(run, values.get("part"))
        work_on(work, Path(values["results"]), device=device, report=report, log=values["log"])
    except KeyboardInterrupt:
        return 130
    except StoppedAt as stopped:
        say({"stopped": {"at": stopped.at}})
        return STOPPED
    except Exception as error:
        say({"failure": dataclasses.asdict(RunFailure.of(name, error))})
        return 1
    say({"finished": name})
    return 0


def _expect_code(code: dict[str, str] | None) -> None:
    """UserError unless this machine has the source of the package that the unit was made with."""
    if code is not None and code["source"] != source_hash():
        raise UserError(
            f"{platform.node()} has icl_curriculum {package_version()} with the source {source_hash()}; the command "
            f"was given with {code['version']} and the source {code['source']}",
            way_out="install the same there, or, where it has changed since, give the command again",
        )


class _Told(logging.Handler):
    """Tells whoever has started the worker what the package logs."""

    def __init__(self, say: Say) -> None:
        super().__init__()
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        self.say({"detail": record.getMessage()})


def _end_with_stdin() -> None:
    """End at once when standard input does. The run's files survive a sudden end at any moment."""
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> int:
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Whoever reads them reads UTF-8, whatever the terminal's encoding is: a plugin may print anything.
    for stream in (sys.stdout, sys.stderr):
        make_tolerant(stream, encoding="utf-8")

    def say(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=reports, flush=True)

    if "--end-with-stdin" in sys.argv:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    stopping = {STOP_SIGNAL, *([signal.SIGTERM] if "--can-stop" in sys.argv else [])}
    for number in stopping:
        signal.signal(number, lambda number, frame: stop_soon())
    # Who has started this process may have kept them back until they can be heard.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, stopping)
    code = work(Path(sys.argv[1]), say)
    # Nothing is left that could stop, and while Python ends, a signal would end it as if it was killed.
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)
    return code
