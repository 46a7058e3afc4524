"""Shifts of reasoning steps: those of the query given, or prompts without any."""

from __future__ import annotations

from dataclasses import replace

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import Streams
from icl_curriculum.shifts.base import Shift, register_shift
from icl_curriculum.tasks import Task


class _OfSteps(Shift):
    def undefined(self, task: Task) -> str | None:
        return None if task.function_class.shown_steps else "it shows no reasoning steps"


@register_shift("steps_given")
class StepsGiven(_OfSteps):
    """The query's own reasoning steps are shown, so that only the label is to be predicted.

    Without a shift a learner finds them by itself. Source: Li et al. 2023, arXiv 2305.18869.
    """

    def draw(self, task: Task, n: int, points: int, streams: Streams) -> Prompts:
        return replace(super().draw(task, n, points, streams), steps_given=True)


@register_shift("steps_left_out")
class StepsLeftOut(_OfSteps):
    """Prompts of x and y alone, without reasoning steps. Source: Li et al. 2023, arXiv 2305.18869."""

    def apply(self, task: Task) -> Task:
        own = task.function_class
        return replace(task, function_class=own.model_copy(update={"show_steps": False, "given_id": own.id}))
