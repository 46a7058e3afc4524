"""How far the runs of an experiment are, wherever they are executed: what ``icl status NAME`` shows."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from icl_curriculum.core.arguments import as_path
from icl_curriculum.core.contracts import at_work
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.locks import holder, is_locked
from icl_curriculum.core.options import option
from icl_curriculum.core.registry import LAUNCHERS
from icl_curriculum.launchers.base import Launcher, UnitStanding
from icl_curriculum.launchers.batch_files import LAUNCHED, TaskFolder, arrays_in, place_in
from icl_curriculum.results.directory import find_results
from icl_curriculum.results.manifests import is_begun, is_run_name, read_manifest
from icl_curriculum.runs.launchers import chosen_launcher
from icl_curriculum.runs.parts import run_name_of

#: ``requeued``: it was begun, and waits for its turn once more; ``interrupted``: it was begun, and nobody executes it.
RunState = Literal["done", "running", "waiting", "requeued", "failed", "interrupted", "damaged"]


@dataclass(frozen=True)
class RunStatus:
    """How far a run is: a row of ``icl status NAME``.

    ``at``: how far it has come, as ``training 120/300``, as far as it was heard. ``where``: the process or the job that
    executes it, or is to. ``why``: the reason for which it waits, or failed.
    """

    run: str
    state: RunState
    at: str = ""
    where: str = ""
    why: str = ""


def status(
    name: str | os.PathLike[str],
    *,
    results: str | os.PathLike[str] = "results",
    on: str | Mapping[str, Any] | Launcher | None = None,
) -> list[RunStatus]:
    """How far the runs of an experiment are, by name, as ``icl status NAME`` shows it.

    ``name``: an experiment's folder of results, or its name in ``results``. ``on``: the launcher whose queue is asked;
    by default the one that was used. UserError where there are no runs, and where that launcher is not known.
    """
    folder = find_results(os.fsdecode(as_path(name, "name")), as_path(results, "results")).resolve()
    standings = _standings(folder, chosen_launcher(on))
    runs = {path.name for path in folder.iterdir() if path.is_dir() and is_run_name(path.name) and _is_run(path)}
    places = {unit: array.task(number) for array in arrays_in(folder) for number, unit in enumerate(array.units)}
    units: dict[str, list[str]] = {run: [] for run in sorted({*runs, *map(run_name_of, standings)})}
    if not units:
        if _is_run(folder):
            raise UserError(
                f"{folder} is the folder of one run", way_out=f"name that of its experiment, {folder.parent}"
            )
        raise UserError(f"{folder} holds no runs")
    for unit in standings:
        units[run_name_of(unit)].append(unit)
    return [
        _status(folder / run, _foremost(standings, of_run), _place([places[unit] for unit in of_run if unit in places]))
        for run, of_run in units.items()
    ]


#: Of several units of one run, the one that says most about it.
_FOREMOST = ("running", "requeued", "waiting", "gone", "ended")


def _foremost(standings: Mapping[str, UnitStanding], units: Sequence[str]) -> UnitStanding | None:
    """How far a run is that several units are for: one that is at work counts before one that waits or has ended.

    Of two that are alike, the one that was launched last.
    """
    last_first = [standings[unit] for unit in units[::-1]]
    return min(last_first, key=lambda standing: _FOREMOST.index(standing.state), default=None)


def _place(tasks: Sequence[TaskFolder]) -> str:
    """How far a run has come, as the last of its units says; parts that answer banks add up."""
    at = ""
    answered: dict[str, tuple[int, int]] = {}
    for task in tasks:
        progress = task.told().get("message", {}).get("progress", {})
        ended = task.ended()
        own = place_in(progress) if ended is None else ended.at
        name, (phase, _, share) = progress.get("run", ""), own.partition(" ")
        if run_name_of(name) != name and phase == "evaluation" and re.fullmatch(r"\d+/\d+", share):
            done, _, of = share.partition("/")
            answered[name] = (int(done), int(of))
            own = f"evaluation {sum(done for done, _ in answered.values())}/{sum(of for _, of in answered.values())}"
        at = own or at
    return at


def _is_run(path: Path) -> bool:
    return is_begun(path) or (path / "manifest.json").is_file()


def _standings(folder: Path, launcher: Launcher | None) -> dict[str, UnitStanding]:
    """How far launched units are, as the launcher says that submitted them last."""
    arrays = arrays_in(folder)
    if launcher is None and arrays:
        said = arrays[-1].launcher
        try:
            launcher = LAUNCHERS.build(dict(said))  # type: ignore[assignment]
        except UserError as error:
            raise UserError(
                f"{folder / LAUNCHED} was written by the launcher {said.get('name')!r}, which is not known: {error}",
                way_out=f"name the file that registers it by {option('--on', 'FILE.py', python='on')}",
            ) from None
    assert launcher is None or isinstance(launcher, Launcher)
    if launcher is None:
        return {}
    with at_work(launcher, "standings"):
        return launcher.standings(folder)


def _status(path: Path, standing: UnitStanding | None, at: str) -> RunStatus:
    """The status of one run: what its folder says counts first, then its process, then its job."""
    run = path.name
    try:
        manifest = read_manifest(path) or {}
    except UserError as error:
        return RunStatus(run, "damaged", at, why=str(error))
    said = manifest.get("status")
    job = f"job {standing.job}" if standing is not None and standing.job else ""
    if said == "finished":
        return RunStatus(run, "done")
    if is_locked(path / ".lock"):
        return RunStatus(run, "running", at, ", ".join(filter(None, [job, holder(path / ".lock")])))
    if standing is not None and standing.state in ("waiting", "running", "requeued"):
        # Between two locks, or where the lock is not seen yet.
        return RunStatus(run, standing.state, at, job, standing.why)
    if said in ("diverged", "failed") or manifest.get("error"):
        return RunStatus(run, "failed", at, why=str(manifest.get("error", "")))
    if standing is not None and standing.state == "ended" and standing.why:
        return RunStatus(run, "failed", at, job, standing.why)
    why = "" if standing is None else f"job {standing.job} is not in the queue any more"
    return RunStatus(run, "interrupted", at, why=why)
