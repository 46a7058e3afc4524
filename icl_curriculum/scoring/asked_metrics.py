"""The metrics that a call asks for beside those that every evaluation has."""

from __future__ import annotations

from collections.abc import Sequence

from icl_curriculum.config.identifiers import component
from icl_curriculum.core.contracts import at_work
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import option
from icl_curriculum.core.registry import METRICS
from icl_curriculum.metrics import Metric
from icl_curriculum.tasks import Task


def asked_metrics(
    asked: Sequence[str | Metric], tasks: Sequence[Task], known: Sequence[Metric] = ()
) -> tuple[Metric, ...]:
    """The metrics, by name, id or table, or as they are, each once; ``known`` from runs are those an id may mean.

    UserError for an unknown one, and for one that means nothing for any of the tasks, saying why.
    """
    found: dict[str, Metric] = {}
    for item in asked:
        metric = (
            item if isinstance(item, Metric) else component(item, METRICS, option("--metric", python="metrics"), known)
        )
        assert isinstance(metric, Metric)
        with at_work(metric, "undefined"):
            reasons = [metric.undefined(task) or _without_mean(metric, task) for task in tasks]
        if reasons and None not in reasons:
            raise UserError(f"the metric {metric.id!r} means nothing for {tasks[0].function_class.id!r}: {reasons[0]}")
        found[metric.id] = metric
    return tuple(found.values())


def _without_mean(metric: Metric, task: Task) -> str | None:
    return None if metric.exists(task) else f"under {task.inputs.id} inputs it has no finite mean"
