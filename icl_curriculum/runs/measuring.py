"""Times of a few real updates of a run, and what all of its updates take by them.

Where prompts grow, updates are timed at the smallest, a middle and the largest size. In between, operations follow the
model's own forward pass, and the time of an operation is interpolated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.machine import waiting_for
from icl_curriculum.core.progress import Tell
from icl_curriculum.curricula import CurriculumPlan
from icl_curriculum.training import Trainer, Update

#: At how many sizes of prompts updates are timed, and at how many the forward pass is counted, at most.
TIMED_SIZES, COUNTED_SIZES = 3, 32
#: The most seconds of one timed update: one that takes longer is timed on fewer prompts.
LONGEST_UPDATE = 8.0
#: How often updates are timed at each size, at most.
MOST_ROUNDS = 100
#: The part of an update's prompts on which what happens only once happens, and by which its time is foreseen.
TRIAL = 8
#: Its multiples, less their whole parts, are spread evenly over 0 to 1, however few they are.
_GOLDEN = 0.6180339887498949

#: The operations of a forward pass on one prompt of so many points, or anything in proportion to them.
Weight = Callable[[int], float]


@dataclass(frozen=True)
class Spent:
    """Time, operations and prompts of some updates."""

    seconds: float
    operations: float
    prompts: float


@dataclass(frozen=True)
class MeasuredUpdates:
    """What one update took at a few sizes of prompts, in points, without measuring what positions are balanced by.

    ``updates`` were timed, of ``batch`` prompts each; ``latest`` is the last of them.
    """

    by_points: dict[int, Spent]
    updates: int
    batch: int
    latest: Update

    def over(self, plan: CurriculumPlan, weight: Weight) -> Spent:
        """What all updates of a run take."""
        steps = steps_by_points(plan)
        points, counts = np.array(list(steps)), np.array([float(len(part)) for part in steps.values()])
        counted = spread_over(list(steps), COUNTED_SIZES)
        weights = np.interp(points, counted, [weight(size) for size in counted])
        timed = list(self.by_points)

        def total(per_update: Sequence[float], weights: np.ndarray) -> float:
            return float(counts @ (weights * np.interp(points, timed, per_update)))

        found = [(spent, weight(size)) for size, spent in self.by_points.items()]
        return Spent(
            total([spent.seconds / each for spent, each in found], weights),
            total([spent.operations / each for spent, each in found], weights),
            total([spent.prompts for spent, _ in found], np.ones_like(weights)),
        )


def steps_by_points(plan: CurriculumPlan) -> dict[int, range]:
    """The steps that have prompts of each number of points, in their order."""
    growth = plan.points_growth
    return {plan.points: range(plan.steps)} if growth is None else growth.spans(plan.points, plan.steps)


def spread_over(values: Sequence[int], most: int) -> list[int]:
    """At most so many of some values, evenly spread, the first and the last among them.

    >>> spread_over([11, 13, 15, 17], 3), spread_over([41], 3)
    ([11, 15, 17], [41])
    """
    return [values[round(place)] for place in np.linspace(0, len(values) - 1, min(most, len(values)))]


def measure(trainer: Trainer, seconds: float, tell: Tell) -> MeasuredUpdates:
    """Time updates of a trainer, which is of no use afterwards: one of each size, then more for so many seconds."""
    steps, full = steps_by_points(trainer.plan), trainer.config.batch_size
    sizes = spread_over(list(steps), TIMED_SIZES)
    tell(0.0, "warming up")
    trial = _allowed_batch(trainer, -(-full // TRIAL))
    _update(trainer, steps[sizes[0]][0], trial)
    trainer.balances = False  # Few updates measure errors by position: too few to tell how many of all do.
    foreseen, latest = _update(trainer, steps[sizes[-1]][0], trial)
    few = max(1, int(full * LONGEST_UPDATE / foreseen.seconds))
    batch = full if few >= full else _allowed_batch(trainer, few)
    if trainer.config.compile:
        for size in sizes:  # each is compiled by itself
            _update(trainer, steps[size][0], batch)
    timed: dict[int, list[Spent]] = {size: [] for size in sizes}
    for number in range(MOST_ROUNDS):
        if number == 1:
            began = time.monotonic()
        for place, size in enumerate(sizes):
            if number and time.monotonic() - began + timed[size][-1].seconds > seconds:
                return _together(timed, batch, latest)
            tell(1.0 if number else place / len(sizes), f"timing updates of {size} points")
            spent, latest = _update(trainer, _step_within(steps[size], number), batch)
            timed[size].append(spent)
    return _together(timed, batch, latest)


def _step_within(steps: range, number: int) -> int:
    """One of some steps: the first few numbers already spread over all of them, as the curriculum's blocks are."""
    return steps[int(len(steps) * ((number + 0.5) * _GOLDEN % 1))]


def _update(trainer: Trainer, step: int, batch: int) -> tuple[Spent, Update]:
    """Time one update at a step on ``batch`` prompts; what it would have taken on all of them, and what it reports."""
    wait, scale = waiting_for(trainer.device), trainer.config.batch_size / batch
    trainer.step, trainer.setting = step, replace(trainer.setting, batch_size=batch)
    operations, prompts = trainer.flops.total(), trainer.prompts_seen.total()
    wait()
    began = time.monotonic()
    update = trainer.update()
    wait()
    spent = Spent(
        scale * (time.monotonic() - began),
        scale * (trainer.flops.total() - operations),
        scale * (trainer.prompts_seen.total() - prompts),
    )
    return spent, update


def _allowed_batch(trainer: Trainer, batch: int) -> int:
    """So many prompts, or all that an update has where its method refuses so few."""
    training, curriculum = trainer.config.model_copy(update={"batch_size": batch}), trainer.run.experiment.curriculum
    try:
        trainer.method.check(training, cells=len(trainer.tasks), draw=curriculum.draw)
    except UserError:
        return trainer.config.batch_size
    return batch


def _together(timed: dict[int, list[Spent]], batch: int, latest: Update) -> MeasuredUpdates:
    """The means by size. The first update of a size, which is slower, is left out where there are others."""
    by_points = {}
    for size, found in timed.items():
        kept = found[1:] or found
        totals = zip(*((each.seconds, each.operations, each.prompts) for each in kept), strict=True)
        by_points[size] = Spent(*(sum(values) / len(kept) for values in totals))
    return MeasuredUpdates(by_points, sum(map(len, timed.values())), batch, latest)
