"""The curriculum under check, and short runs that it decides about, with losses from fixed streams."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import CURRICULA
from icl_curriculum.curricula import Curriculum, State
from icl_curriculum.testing.subject import ComponentSubject

#: The items of runs, by ids that function classes have, and the numbers of steps.
IDS = ("linear", "quadratic", "hermite/3", "sparse_linear", "relu_network")
COUNTS = (1, 2, 3, 5)
STEPS = (1, 2, 7, 40)

Items = tuple[str, ...]
Signals = dict[str, float]


@dataclass
class Course:
    """A run as a curriculum sees it: its items and steps, and the state before each step from 0 on."""

    items: Items
    steps: int
    state: State
    step: int = 0
    shares: list[list[float]] = field(default_factory=list)


class CurriculumSubject(ComponentSubject[Curriculum]):
    """A curriculum under check."""

    registry = CURRICULA
    base = Curriculum
    example_summary = "More of the items whose loss is higher."

    def refusal(self, items: Items, steps: int) -> UserError | None:
        """The error by which `Curriculum.check` refuses items and steps. Raises whatever else it raises."""
        self.doing = f"check(items={items}, steps={steps})"
        try:
            self.as_given.check(items, steps)
        except UserError as error:
            return error
        return None

    @functools.cached_property
    def runs(self) -> list[tuple[Items, int]]:
        """The items and steps to try: all that the curriculum takes of some."""
        return [run for run in itertools.product(self.items, STEPS) if self.refusal(*run) is None]

    @property
    def items(self) -> list[Items]:
        """Items in several numbers. A text among the fields may be the id of one, so it stands among them, too."""
        values = [getattr(self.as_given, name) for name in type(self.as_given).model_fields if name != "given_id"]
        named = [value for value in values if isinstance(value, str) and value not in IDS]
        usual = [IDS[:count] for count in COUNTS]
        return [*usual, *((text, *IDS[:2]) for text in named), *((IDS[0], text) for text in named)]

    @property
    def longest(self) -> list[tuple[Items, int]]:
        """Of the runs with each number of items the one of most steps."""
        return list({len(items): (items, steps) for items, steps in self.runs}.values())

    def start(self, items: Items, steps: int, *, of: Curriculum | None = None) -> Course:
        self.doing = f"start(items={items}, steps={steps})"
        return Course(items, steps, (of or self.as_given).start(items, steps))

    def shares(self, course: Course, *, of: Curriculum | None = None) -> object:
        """What the curriculum says of the step that comes next."""
        self.doing = f"shares at step {course.step} of {course.steps} for {len(course.items)} items"
        return (of or self.as_given).shares(course.step, course.state, items=course.items, steps=course.steps)

    def update(self, course: Course, signals: Mapping[str, float], *, of: Curriculum | None = None) -> None:
        """Tell the curriculum the losses of a step, as a run does: an adaptive one alone."""
        curriculum = of or self.as_given
        if curriculum.adaptive:
            self.doing = f"update after step {course.step} with {dict(signals)}"
            course.state = curriculum.update(course.state, signals)
        course.step += 1

    def losses(self, course: Course) -> Signals:
        """Losses of a step for some of the items, which fall over time, from a stream of their own."""
        made = self.generator("losses", course.step)
        drawn = torch.rand(2, len(course.items), generator=made).tolist()
        told = {item: u / (1 + course.step / 8) for item, u, v in zip(course.items, *drawn, strict=True) if v < 0.6}
        return told or {course.items[course.step % len(course.items)]: drawn[0][0]}

    def go(self, course: Course, steps: int, *, of: Curriculum | None = None) -> Course:
        """Go on for some steps, as a run does, and note the shares of each."""
        for _ in range(steps):
            found = self.shares(course, of=of)
            course.shares.append([float(share) for share in found])  # type: ignore[attr-defined]
            self.update(course, self.losses(course), of=of)
        return course

    def courses(self) -> Iterator[Course]:
        """A course of every run."""
        for items, steps in self.runs:
            yield self.start(items, steps)


def copied(state: State) -> State:
    return copy.deepcopy(state)
