"""Time to quality: the seconds of training until a model predicts the linear class well enough.

``fast`` is the suite's own recipe, with a number of steps that suits this comparison; ``reference`` is the published
one (Garg et al. 2022) at the same size. The clock runs while training and stands still while the error is measured.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from icl_curriculum.bench.children import in_children
from icl_curriculum.bench.tables import BenchTable, Column, Job, Row, Settings, measured_on
from icl_curriculum.config.experiment import Run
from icl_curriculum.config.finding import packaged_folder
from icl_curriculum.config.loading import load
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.files import write_atomically
from icl_curriculum.core.machine import available_cores, computing_threads, reproducible, waiting_for
from icl_curriculum.core.progress import Tell, between
from icl_curriculum.evaluation import Bank
from icl_curriculum.training import Trainer

EXPERIMENT = "single_linear"
FAST_STEPS = 800
#: The size that `icl bench step` calls laptop.
FAST = ("model.layers=3", f"training.steps={FAST_STEPS}")
#: The normalized errors at k = 2 d that are to be reached; 1 is the error of predicting zero.
LEVELS = (0.20, 0.10, 0.05)
SEEDS = (0, 1)
#: The reference recipe may take `PATIENCE` times the seconds in which ``fast`` reached the error `DECISIVE`.
PATIENCE, DECISIVE = 50, 0.10
PROMPTS = 1280
#: The seed of a bank that nothing else draws from.
BANK_SEED = 20_240_607
#: Between two looks at the error lie 2% of the steps, or this many where there is no last step.
LOOKS, REFERENCE_LOOKS = 0.02, 100
RECORD = Path(__file__).parent / "record.json"

REFERENCE = (
    'function_classes=["linear"]',
    'recipe="reference"',
    'training.loss="squared"',
    # More steps than any budget allows. They change nothing else, as the rate is constant.
    "training.steps=100_000_000",
)

COLUMNS = (
    Column("recipe", "recipe"),
    Column("seed", "seed"),
    Column("level", "error", ".2f"),
    Column("seconds", "seconds", ".2f"),
    Column("steps", "steps"),
    Column("outcome", "outcome"),
    Column("trained_seconds"),
    Column("trained_steps"),
    Column("final_error"),
    Column("k"),
    Column("prompts"),
    Column("overrides"),
)


@dataclass(frozen=True)
class Plan:
    """One training run. ``budget``: the most seconds of training, None for all of its steps."""

    recipe: str
    overrides: tuple[str, ...]
    seed: int
    device: str = "cpu"
    every: int | None = None
    budget: float | None = None
    experiment: str = EXPERIMENT
    prompts: int = PROMPTS

    def run(self) -> Run:
        """The run to train. Raises UserError for overrides that cannot work."""
        path = packaged_folder() / f"{self.experiment}.toml"
        runs = load(str(path), overrides=self.overrides, seeds=[self.seed])
        experiment = runs[0].experiment
        if 2 * experiment.dims >= experiment.points:
            raise UserError(f"quality: prompts of {experiment.points} points have no k = 2 d = {2 * experiment.dims}")
        if len(runs) != 1 or not any(task.function_class.id == "linear" for task in experiment.tasks().values()):
            raise UserError("quality: --set must leave one variant, with the linear class")
        return runs[0]


@dataclass(frozen=True)
class TrainedPlan:
    """The outcome of a plan. ``reached``: seconds and steps by level, for the levels that were reached."""

    seconds: float
    steps: int
    error: float
    reached: dict[float, tuple[float, int]]
    threads: int = 1


def train(plan: Plan, say: Callable[[tuple[float, float]], None]) -> TrainedPlan:
    """Train until the last level is reached, the steps or the budget are used up, or the error is not finite.

    ``say`` is told the share of the work that is done, and the error.
    """
    run = plan.run()
    with computing_threads(run.experiment.threads), reproducible(plan.device):
        return _train(plan, run, say)


def _train(plan: Plan, run: Run, say: Callable[[tuple[float, float]], None]) -> TrainedPlan:
    # What a process sets up once is not part of a recipe, so it happens before the clock starts.
    Trainer(run, plan.device).update()
    trainer, wait = Trainer(run, plan.device), waiting_for(plan.device)
    steps = trainer.config.steps
    every = plan.every or max(1, round(LOOKS * steps))
    error_of = _error_of(run, plan)
    reached: dict[float, tuple[float, int]] = {}
    seconds, error = 0.0, math.nan
    while trainer.step < steps and (plan.budget is None or seconds < plan.budget):
        wait()
        began = time.perf_counter()
        for _ in range(min(every, steps - trainer.step)):
            trainer.update()
        wait()
        seconds += time.perf_counter() - began
        error = error_of(trainer)
        for level in LEVELS:
            if error <= level and level not in reached:
                reached[level] = (seconds, trainer.step)
        say((seconds / plan.budget if plan.budget else trainer.step / steps, error))
        if not math.isfinite(error) or len(reached) == len(LEVELS):
            break
    return TrainedPlan(seconds, trainer.step, error, reached, run.experiment.threads)


def _error_of(run: Run, plan: Plan) -> Callable[[Trainer], float]:
    """The normalized error at k = 2 d of the linear class on a bank of its own."""
    experiment = run.experiment
    task = next(task for task in experiment.tasks().values() if task.function_class.id == "linear")
    k = 2 * experiment.dims
    bank = Bank(task, None, plan.prompts, k + 1, BANK_SEED)
    prompts, scale = bank.draw().without_truth(), bank.second_moment

    def error(trainer: Trainer) -> float:
        with torch.no_grad():
            wrong = trainer.model.predict(prompts)[:, k] - prompts.targets[:, k]
        return float(wrong.double().square().mean()) / scale

    return error


def rows_of(plan: Plan, trained: TrainedPlan) -> list[Row]:
    """One row for each level."""
    allowed = f"{plan.budget:.0f} s" if plan.budget else f"{trained.steps} steps"
    short = f"not within {allowed} (error {trained.error:.2g} at step {trained.steps})"
    common: Row = {
        "recipe": plan.recipe, "seed": plan.seed, "trained_seconds": trained.seconds, "trained_steps": trained.steps,
        "final_error": trained.error, "k": 2 * plan.run().experiment.dims, "prompts": plan.prompts,
        "overrides": "; ".join(plan.overrides),
    }  # fmt: skip
    rows = []
    for level in LEVELS:
        seconds, steps = trained.reached.get(level, (None, None))
        outcome = short if seconds is None else "reached"
        rows.append({**common, "level": level, "seconds": seconds, "steps": steps, "outcome": outcome})
    return [{**row, **measured_on(trained.threads, plan.device)} for row in rows]


def jobs(settings: Settings) -> list[Job]:
    """Jobs that train the fast recipe with both seeds and show the record of both recipes; ``full`` trains both."""
    plans = [Plan("fast", (*FAST, *settings.overrides), seed, settings.device) for seed in SEEDS]
    plans[0].run()  # A mistake shows before anything is measured.
    if settings.full:
        replace(plans[0], overrides=(*_size_of(plans[0]), *REFERENCE)).run()
        return [Job("fast and reference", 1500, partial(measure_both, plans, settings.record))]
    return [Job("fast", 40, partial(measure_fast, plans)), Job("recorded", 0, recorded)]


def measure_fast(plans: Sequence[Plan], tell: Tell) -> BenchTable:
    trained = _together(plans, tell)
    rows = [row for plan, each in zip(plans, trained, strict=True) for row in rows_of(plan, each)]
    return BenchTable(_title(plans[0], "now"), rows, _notes())


def measure_both(plans: Sequence[Plan], record: bool, tell: Tell) -> BenchTable:
    """Train ``fast``, then ``reference`` with a budget that follows from the seconds of the same seed."""
    fast = _together(plans, between(tell, 0.0, 0.03))
    notes, rows, budgets = _notes(), list[Row](), list[tuple[Plan, float]]()
    for plan, trained in zip(plans, fast, strict=True):
        rows += rows_of(plan, trained)
        if DECISIVE in trained.reached:
            budgets.append((plan, trained.reached[DECISIVE][0]))
        else:
            notes.append(
                f"seed {plan.seed}: fast did not reach {DECISIVE:.2f}, which leaves reference without a budget"
            )
    against = [
        Plan(
            "reference", (*_size_of(plan), *REFERENCE), plan.seed, plan.device, REFERENCE_LOOKS, PATIENCE * seconds,
            plan.experiment, plan.prompts,
        )
        for plan, seconds in budgets
    ]  # fmt: skip
    slow = _together(against, between(tell, 0.03, 1.0))
    for (plan, seconds), theirs, trained in zip(budgets, against, slow, strict=True):
        rows += rows_of(theirs, trained)
        if DECISIVE in trained.reached:
            times = f"{trained.reached[DECISIVE][0] / seconds:.1f} times"
        else:
            times = f"more than {math.floor(trained.seconds / seconds)} times"
        notes.append(f"seed {plan.seed}: to {DECISIVE:.2f} the reference recipe took {times} as long as fast")
    table = BenchTable(_title(plans[0], "now"), rows, notes)
    if record:
        write_record(table)
    return table


def _size_of(plan: Plan) -> list[str]:
    """The size, dimensions and threads of a plan, as overrides for another plan."""
    experiment = plan.run().experiment
    model = experiment.model.model_dump()
    sizes = {f"model.{key}": model[key] for key in ("width", "layers", "heads") if key in model}
    own = {"dims": experiment.dims, "points": experiment.points, "threads": experiment.threads}
    return [f"{key}={value}" for key, value in {**sizes, **own}.items()]


def _together(plans: Sequence[Plan], tell: Tell) -> list[TrainedPlan]:
    """Train each plan in a process of its own: at once as far as there are cores, one by one on an accelerator."""
    at_once = max(1, min(len(plans), available_cores())) if plans and plans[0].device == "cpu" else 1
    shares, errors = [0.0] * len(plans), [math.nan] * len(plans)
    trained: list[TrainedPlan] = []
    for first in range(0, len(plans), at_once):

        def heard(number: int, message: Any, first: int = first) -> None:
            shares[first + number], errors[first + number] = message
            told = "; ".join(
                f"{plan.recipe}, seed {plan.seed}: error {error:.2f}"
                for plan, error in zip(plans, errors, strict=True)
                if not math.isnan(error)
            )
            tell(sum(shares) / len(shares), told)

        trained += in_children(train, plans[first : first + at_once], heard)
        for number in range(first, len(trained)):
            shares[number] = 1.0
    return trained


def _title(plan: Plan, when: str) -> str:
    experiment = plan.run().experiment
    return (
        f"{when}: linear class, d = {experiment.dims}, {experiment.points} points, normalized error at k = "
        f"{2 * experiment.dims} of {plan.prompts} fresh prompts; {len(SEEDS)} runs at once, one thread each"
    )


def _notes() -> list[str]:
    return ["seconds: training alone, its data included; neither evaluation nor the set-up of the first update"]


def recorded(tell: Tell, path: Path | None = None) -> BenchTable:
    """The comparison of both recipes that comes with the package."""
    path = path or RECORD
    if not path.is_file():
        return BenchTable(
            "recorded: nothing yet; icl bench quality --full compares both recipes now", [], recorded=True
        )
    content = json.loads(path.read_text(encoding="utf-8"))
    first = content["rows"][0]
    title = (
        f"recorded on {first['date'][:10]}: {first['cpu']}, {first['cores']} cores, torch {first['torch_version']}, "
        f"version {first['package_version']}; --full compares both recipes now"
    )
    return BenchTable(title, content["rows"], content["notes"], recorded=True)


def write_record(table: BenchTable, path: Path | None = None) -> None:
    """Write the rows as JSON, one row to a line."""
    rows = ",\n".join(f"    {json.dumps(row)}" for row in table.rows)
    notes = json.dumps(table.notes)
    write_atomically(path or RECORD, f'{{\n  "notes": {notes},\n  "rows": [\n{rows}\n  ]\n}}\n')
