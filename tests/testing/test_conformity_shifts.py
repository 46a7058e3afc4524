"""The conformity check of shifts: the suite's pass, and one broken for every rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from places import EVERY_KIND
from pydantic import PrivateAttr
from testing_classes import Plain, failures, finding_of, result_of

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import Streams
from icl_curriculum.function_classes import register_function_class
from icl_curriculum.inputs import Scaled
from icl_curriculum.shifts import OtherInputs, ScaledOutputs, Shift
from icl_curriculum.tasks import Task


class Mirrored(Shift):
    """The query at k is -x_k; the context is as in training."""

    def undefined(self, task: Task) -> str | None:
        return "it makes its own inputs" if task.function_class.owns_inputs else None

    def draw(self, task: Task, n: int, points: int, streams: Streams) -> Prompts:
        xs, values, truth = task.clean(n, points, streams)
        return task.label(xs, values, truth, streams, queries=-xs, query_values=task.values(truth, -xs))


#: Unlike the others, or with others than their defaults; `make check` looks at all.
KEPT: list[Any] = [
    "random_quadrants",
    "longer_prompts",
    Mirrored,
    OtherInputs(inputs="cauchy"),  # type: ignore[arg-type]
    ScaledOutputs(factor=0.5),
]


@pytest.mark.parametrize("shift", KEPT, ids=lambda item: getattr(item, "id", getattr(item, "__name__", item)))
def test_right_shifts_keep_the_contract(shift: Any) -> None:
    assert failures(shift, "shifts") == {}


def having(base: type[Shift] = Mirrored, **members: Any) -> type[Shift]:
    return type("Broken", (base,), {"__doc__": "Broken.", "__module__": __name__, **members})


def drawing(change: Any) -> type[Shift]:
    """The mirrored queries with the prompts changed: ``change(prompts, streams)``."""
    return having(
        draw=lambda self, task, n, points, streams: change(Mirrored.draw(self, task, n, points, streams), streams)
    )


def masked(ks: slice) -> Any:
    def change(prompts: Prompts, streams: Streams) -> Prompts:
        mask = torch.zeros(prompts.xs.shape[:2], dtype=torch.bool)
        mask[:, ks] = True
        return replace(prompts, mask=mask)

    return change


class Counting(Mirrored):
    """Each call shifts the queries more."""

    _calls: int = PrivateAttr(0)

    def draw(self, task: Task, n: int, points: int, streams: Streams) -> Prompts:
        self._calls += 1
        prompts = super().draw(task, n, points, streams)
        return replace(prompts, ys=prompts.ys * self._calls)


class Uncounted(Shift):
    """Queries of twice the size, of which the denominator knows nothing."""

    def undefined(self, task: Task) -> str | None:
        if task.function_class.owns_inputs:
            return "it makes its own inputs"
        return "its inputs are signs" if task.function_class.sign_inputs else None

    def draw(self, task: Task, n: int, points: int, streams: Streams) -> Prompts:
        xs, values, truth = task.clean(n, points, streams)
        return task.label(xs, values, truth, streams, queries=2 * xs, query_values=task.values(truth, 2 * xs))


class Counted(Uncounted):
    """The same, with the task that its queries are of."""

    def undefined(self, task: Task) -> str | None:
        return super().undefined(task) or ("its values are signs" if task.function_class.sign_valued else None)

    def apply(self, task: Task) -> Task:
        return replace(task, inputs=Scaled(of=task.inputs, factor=2.0))


def later_queries(self: Any, task: Task, n: int, points: int, streams: Streams) -> Prompts:
    """Queries that grow with k, of the right size over all k together: only at each k does it show."""
    if task.function_class.sign_inputs:
        return Mirrored.draw(self, task, n, points, streams)
    xs, values, truth = task.clean(n, points, streams)
    squares = torch.arange(1, points + 1) / points
    queries = xs * (squares / squares.mean()).sqrt().unsqueeze(-1)
    return task.label(xs, values, truth, streams, queries=queries, query_values=task.values(truth, queries))


def louder(self: Any, task: Task, n: int, points: int, streams: Streams) -> Prompts:
    """Twice the noise that prompts.label_noise tells."""
    prompts = Mirrored.draw(self, replace(task, label_noise=2 * task.raw_noise), n, points, streams)
    return replace(prompts, label_noise=prompts.label_noise / 2)


def fails(self: Any, task: Task) -> str | None:
    raise KeyError(task.dims)


BROKEN: dict[str, tuple[type[Shift], str, str]] = {
    # The rule, and what is wrong: a shift, what was found, what mends it.
    "known methods": (
        having(Shift, aply=lambda self, task: replace(task, factor=2.0)),
        "Broken.aply: nothing calls it",
        "did you mean apply?",
    ),
    "change/misspelt": (
        having(Shift, aply=lambda self, task: replace(task, factor=2.0)),
        "it changes nothing; it defines aply, did you mean apply?",
        "override apply, points or draw",
    ),
    "change": (
        having(Shift),
        "the same for linear, linear with uniform inputs, quadratic, linear_classification, ",
        "under exactly these names",
    ),
    "undefined/raises": (having(undefined=fails), "KeyError: 4", "test_conformity_shifts.py"),
    "undefined/a bool": (
        having(undefined=lambda self, task: False),
        "False",
        "return None where the shift makes sense",
    ),
    "undefined/everywhere": (
        having(undefined=lambda self, task: "never"),
        "are refused, linear with: never",
        "let undefined refuse only",
    ),
    "undefined/no task": (having(apply=lambda self, task: task.inputs), "a Gaussian", "dataclasses.replace(task, ...)"),
    "points": (having(points=lambda self, points: points / 2), "0.5", "return int(...)"),
    "columns": (having(columns=lambda self, task: self.id), "'", "return (task.inputs.id, self.id)"),
    "names": (
        having(columns=lambda self, task: (task.inputs.id, "none")),
        "columns gives ('gaussian', 'none') for linear, as without it",
        "return self.id as the second",
    ),
    "draw/no prompts": (drawing(lambda prompts, streams: prompts.xs), "a Tensor", "by task.label(...)"),
    "draw/points": (
        drawing(lambda prompts, streams: prompts.first_points(2)),
        "(1, 2, 4) and torch.float32",
        "by task.label(...)",
    ),
    "draw/type": (
        drawing(lambda prompts, streams: replace(prompts, targets=prompts.targets.double())),
        "(1, 3) and torch.float64",
        "by task.label(...)",
    ),
    "draw/not finite": (
        drawing(lambda prompts, streams: replace(prompts, targets=prompts.targets / 0)),
        "some infinite or NaN",
        "mark what is undefined by a mask",
    ),
    "mask": (drawing(masked(slice(0, 0))), "False everywhere", "set the mask True where the target is defined"),
    "global generators": (
        drawing(lambda prompts, streams: replace(prompts, ys=prompts.ys + torch.rand(prompts.ys.shape))),
        "torch's global generator changed during draw(",
        "streams.generator(",
    ),
    "determinism": (Counting, "ys differ", "keep nothing between calls"),
    "values/targets": (
        drawing(lambda prompts, streams: replace(prompts, targets=2 * prompts.targets)),
        "targets that differ by up to",
        "query_values=task.values(truth, queries)",
    ),
    "values/labels": (
        drawing(lambda prompts, streams: replace(prompts, ys=prompts.ys + 1)),
        "labels that are not",
        "add noise by apply",
    ),
    "noise": (having(draw=louder), "± ", "ridge regression and oracles read prompts.label_noise"),
    "denominator": (Uncounted, "the second moment is too small", "whose inputs are distributed as the queries"),
    "denominator/at a length": (
        having(draw=later_queries),
        "the second moment is too large",
        "whose inputs are distributed as the queries",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_shift_is_told_what_is_wrong_and_how_to_mend_it(case: str) -> None:
    shift, found, mend = BROKEN[case]
    finding = finding_of(shift, case.split("/")[0])
    assert found in finding.found
    assert mend in finding.mend


def test_the_denominator_names_the_mean_and_what_it_was_divided_by() -> None:
    finding = finding_of(Uncounted, "denominator")
    assert "in draw(linear with gaussian inputs, " in finding.expected
    assert "the second moment of the task that apply returns, 4: errors are divided by it" in finding.expected
    assert finding.found.startswith("16")
    assert failures(Counted) == {}


def test_what_is_not_claimed_is_said() -> None:
    unlike = drawing(lambda prompts, streams: replace(prompts, truth=None))
    assert "the functions are not kept for linear" in result_of(unlike, "values").note
    others = having(
        draw=lambda self, task, n, points, streams: Mirrored.draw(self, task, n, points, replace(streams, index=7))
    )
    assert "other functions than without the shift for linear" in result_of(others, "values").note
    assert result_of(Mirrored, "values").note == ""
    varied = drawing(lambda prompts, streams: replace(prompts, mask=prompts.xs[..., 0] > 0))
    assert "at some lengths errors are means over fewer prompts" in result_of(varied, "mask").note
    assert "no finite variance" in result_of("other_inputs", "denominator").note


def test_a_shift_of_one_class_is_tried_on_that_class(fresh_registries: None) -> None:
    class OfMine(Mirrored):
        """Makes sense for one class of the author's."""

        def undefined(self, task: Task) -> str | None:
            return None if task.function_class.name == "mine" else "not mine"

    assert "are refused" in finding_of(OfMine, "undefined").found
    register_function_class("mine")(type("Mine", (Plain,), {"__doc__": "Mine.", "__module__": __name__}))
    assert failures(OfMine) == {}


def test_what_a_config_cannot_say_beforehand_is_no_failure() -> None:
    def apply(self: Any, task: Task) -> Task:
        if task.function_class.sign_valued:
            raise UserError("its values are signs")
        return task

    assert failures(having(apply=apply)) == {}


def test_a_plugin_s_shift_that_is_right_on_some_tasks_passes(fresh_registries: None) -> None:
    load_plugin(EVERY_KIND)
    assert failures("as_gaussian") == {}
