"""What a command would do before it does it: which runs are trained, evaluated anew or kept, and what that costs.

Nothing is written into the results, and everything is judged as `launch` judges it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import AnyExperiment, load
from icl_curriculum.core.arguments import as_path
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.machine import resolve_device
from icl_curriculum.core.notices import NotRecordedAnew
from icl_curriculum.core.options import option
from icl_curriculum.core.progress import Tell, tell_nobody
from icl_curriculum.core.settings import own_settings
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.results.manifests import DamagedFile, is_half_renewed
from icl_curriculum.runs.banks import check_banks
from icl_curriculum.runs.cadence import as_begun
from icl_curriculum.runs.checkpoints import read_checkpoint, reading_checkpoint
from icl_curriculum.runs.cost import RunCost, costs_of
from icl_curriculum.runs.execution import directory_of, in_use
from icl_curriculum.runs.recorded import as_recorded
from icl_curriculum.runs.reevaluation import check_askable
from icl_curriculum.runs.standing import OtherConfig, Standing, standing_of

#: What is done with a run. ``refused``: the command ends before anything starts; ``damaged``: this run is left alone.
PlannedAction = Literal["train", "resume", "evaluate", "re-evaluate", "keep", "refused", "damaged"]


@dataclass(frozen=True)
class PlannedRun:
    """What would be done with one run, and what that costs on this machine: a row of ``icl run NAME --dry-run``.

    ``action``: ``train`` from the first step, ``resume`` from a checkpoint, ``evaluate`` what is trained to the last
    step, ``re-evaluate`` what is finished, ``keep`` it; ``refused`` where the command would end with exit code 2,
    ``damaged`` where it would leave the run alone and end with 1. ``step``: the updates that are done already, of
    ``steps``. ``changed``: the keys in which the folder differs and by which this is decided. ``reason``: what more
    there is to say. ``prompts`` and ``operations`` are those of the updates to come, ``seconds`` an estimate for them
    and the model's answers, without baselines; None where they were not measured.
    """

    run: str
    variant: str
    seed: int
    action: PlannedAction
    step: int
    steps: int
    changed: tuple[str, ...] = ()
    reason: str = ""
    prompts: int | None = None
    operations: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class LaunchPlan:
    """What a command would do: with each run, and what variants would not record as asked.

    ``launched``: the runs as they would be executed. ``error``: what the command would end with before anything starts;
    None: it would start.
    """

    runs: list[PlannedRun]
    launched: list[Run]
    recorded: list[NotRecordedAnew] = field(default_factory=list)
    error: UserError | None = None


def plan(
    experiment: AnyExperiment,
    *,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    results: str | Path = "results",
    device: str = "auto",
    plugins: Sequence[str | Path] = (),
    sweep: Mapping[str, Any] | None = None,
    fresh: bool = False,
    costs: bool = True,
    tell: Tell = tell_nobody,
) -> list[PlannedRun]:
    """What `run` with these arguments would do, run by run, as ``icl run NAME --dry-run`` shows it. Writes no results.

    ``costs``: whether what is to be computed is measured, too, which takes up to half a minute; ``tell`` is told how
    far that is. A run that is refused is a row, not an error; UserError for a bad config.
    """
    runs = load(experiment, overrides=overrides, seeds=seeds, plugins=plugins, sweep=sweep)
    found = plan_of(runs, as_path(results, "results"), resolve_device(device), fresh=fresh)
    return with_costs(found, resolve_device(device), tell).runs if costs else found.runs


@own_settings(training=True)
def plan_of(runs: Sequence[Run], results: Path, device: str | None = "cpu", *, fresh: bool = False) -> LaunchPlan:
    """What `launch` would do with runs; UserError for banks that no table can hold.

    ``device``: None where a launcher is to execute them: it may be another one there, and a run that a launched worker
    has in use is no obstacle.
    """
    for run in {run.variant: run for run in runs}.values():
        check_banks(run.experiment)
    runs = as_begun(runs, results)
    recorded: list[NotRecordedAnew] = []
    if not fresh:
        runs, recorded = as_recorded(runs, results)
    rows: list[PlannedRun] = []
    error: UserError | None = None
    for run in runs:
        row, refusal = _planned(run, directory_of(run, results), device, fresh=fresh)
        rows.append(row)
        error = error or refusal
    return LaunchPlan(rows, runs, recorded, error)


def _planned(
    run: Run, directory: RunDirectory, device: str | None, *, fresh: bool
) -> tuple[PlannedRun, UserError | None]:
    row = PlannedRun(run.name, run.variant, run.seed, "train", 0, run.experiment.training.steps)
    holder = in_use(run, directory.path.parent.parent)
    if holder is not None and (fresh or device is not None):
        refusal = UserError(f"{run.name} of {run.experiment.name} is being executed by {holder}; wait for it")
        return dataclasses.replace(row, action="refused", reason=f"in use by {holder}"), refusal
    try:
        standing = standing_of(run, directory)
        if standing.to_do == "keep" and not is_half_renewed(directory.path):
            directory.check_intact()
        if fresh and standing.to_do != "keep":
            return dataclasses.replace(row, reason=_aside(directory)), None
        if standing.to_do == "re-evaluate" and not is_half_renewed(directory.path):
            check_askable(directory)
        due = _due(row, run, directory, standing, device)
        return due if holder is None else dataclasses.replace(due, reason=f"in use by {holder}"), None
    except DamagedFile as error:
        if fresh:
            return dataclasses.replace(row, reason=_aside(directory)), None
        return dataclasses.replace(row, action="damaged", reason=str(error)), None
    except UserError as error:
        if fresh:
            return dataclasses.replace(row, reason=_aside(directory)), None
        if isinstance(error, OtherConfig):
            reason = f"needs {option('--fresh')}, which moves it aside, or {option('--results')}"
            return dataclasses.replace(row, action="refused", changed=error.changed, reason=reason), error
        return dataclasses.replace(row, action="refused", reason=str(error)), error


def _aside(directory: RunDirectory) -> str:
    return "what is there is moved aside" if directory.path.exists() else ""


def _due(row: PlannedRun, run: Run, directory: RunDirectory, standing: Standing, device: str | None) -> PlannedRun:
    """The row of a run that is not refused."""
    changes = standing.changes
    step = row.steps
    if standing.to_do == "train":
        step = 0
    elif standing.to_do == "resume":
        step = _checkpoint_step(run, directory, device)
    reason = ""
    if standing.to_do == "evaluate" and changes.evaluation:
        reason = "if it is seen to train as before"
    elif changes.both:
        reason = f"learning.csv stays as it is, with {', '.join(changes.both)} as before"
    return dataclasses.replace(row, action=standing.to_do, step=step, changed=changes.evaluation, reason=reason)


def _checkpoint_step(run: Run, directory: RunDirectory, device: str | None) -> int:
    path = directory.path / "state.pt"
    with reading_checkpoint(path):
        return int(read_checkpoint(path, run, device)["trainer"]["step"])


def with_costs(found: LaunchPlan, device: str = "cpu", tell: Tell = tell_nobody) -> LaunchPlan:
    """A plan with what is to be computed measured: updates that are still to come, and the model's answers."""
    due = {row.variant for row in found.runs if row.action in _COMPUTED}
    to_measure = [run for run in found.launched if run.variant in due]
    costs = {cost.variant: cost for cost in costs_of(to_measure, device, tell)} if to_measure else {}
    return dataclasses.replace(found, runs=[*_with_costs(found.runs, costs)])


#: What takes computing.
_COMPUTED = ("train", "resume", "evaluate", "re-evaluate")


def _with_costs(rows: Sequence[PlannedRun], costs: dict[str, RunCost]) -> Iterator[PlannedRun]:
    for row in rows:
        if row.action not in _COMPUTED:
            yield dataclasses.replace(row, prompts=0, operations=0.0, seconds=0.0)
            continue
        cost = costs[row.variant]
        # Of the updates that are to come, as if all were alike.
        share = (row.steps - row.step) / row.steps
        yield dataclasses.replace(
            row,
            prompts=round(share * cost.prompts),
            operations=share * cost.operations,
            seconds=share * (cost.training_seconds + cost.learning_seconds) + cost.evaluation_seconds,
        )
