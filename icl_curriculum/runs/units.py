"""Launch units: resolved runs and parts of them by value, as files that a `worker` of any machine executes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import tomli_w

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.interactive import is_interactive
from icl_curriculum.core.log import LOG
from icl_curriculum.core.options import on_command_line
from icl_curriculum.core.provenance import package_version, source_hash
from icl_curriculum.launchers.base import UNIT_FILE, LaunchUnit
from icl_curriculum.runs import start_worker
from icl_curriculum.runs.description import copies
from icl_curriculum.runs.parts import RunPart, Work, run_of


def starter() -> tuple[str, ...]:
    """The command that executes a unit, or another part of this package, in a process of its own."""
    # Without the folder that one is in among those that modules are looked for in.
    return sys.executable, "-P", start_worker.__file__


def unit_of(work: Work, results: Path, *, device: str, log: Sequence[str] = (), elsewhere: bool = False) -> LaunchUnit:
    """The unit that executes a run, or a part of it, with its tables in ``results``.

    ``elsewhere``: on another machine, whose package must have the very source that this one has.
    """
    run = run_of(work)
    values = {
        "results": str(results), "device": device, "hash": run.hash(),
        "log": list(log), "run": run.config(), "swept": dict(run.swept), "swept_variant": run.swept_variant,
        "on_command_line": on_command_line(), "details": LOG.isEnabledFor(logging.INFO),
    }  # fmt: skip
    key = f"{run.hash()}/{device}"
    if isinstance(work, RunPart):
        values["part"], key = work.to_plain(), f"{key}/{work.label}"
    if elsewhere:
        values["code"] = {"version": package_version(), "source": source_hash()}
    files = {**copies(run), UNIT_FILE: tomli_w.dumps(values).encode("utf-8", errors="surrogateescape")}
    return LaunchUnit(work.name, key, files, starter(), run.experiment.threads)


def expect_seen(works: Sequence[Work]) -> None:
    """UserError for a component that a process of its own would not know, as nothing that it imports defines it."""
    for component in (item for work in works for item in run_of(work).experiment.components()):
        if is_interactive(type(component)) or type(component).__module__ == "__main__":
            raise UserError(
                f"{component.name!r} is defined in {type(component).__module__}, which worker processes do not see",
                way_out="write it to a file of its own, and name that in plugins; or execute one run after another, "
                "with jobs=0",
            )
