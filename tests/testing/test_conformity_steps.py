"""The conformity check of reasoning steps: one broken class, and one broken model, for every way to get them wrong."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from pydantic import Field
from testing_classes import Plain, finding_of, result_of
from testing_models import Reader, with_model
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.function_classes import Parameters
from icl_curriculum.testing import Finding

pytestmark = pytest.mark.usefixtures("fewer_prompts")


class Halves(Plain):
    """f(x) = w·x, whose steps are the terms of the first coordinate and of the others."""

    n_steps: ClassVar[int] = 2

    def steps(self, parameters: Parameters, xs: Tensor) -> Tensor:
        terms = xs * parameters["w"].unsqueeze(1)
        return self.then(torch.stack([terms[..., 0], terms[..., 1:].sum(dim=-1)], dim=-1), xs)

    def then(self, steps: Tensor, xs: Tensor) -> Tensor:
        return steps


def broken(change: Any) -> Finding:
    class Broken(Halves):
        """Steps that are changed."""

        def then(self, steps: Tensor, xs: Tensor) -> Tensor:
            changed: Tensor = change(steps, xs)
            return changed

    return finding_of(Broken, "steps")


def test_steps_that_are_right_pass_and_none_need_be() -> None:
    assert result_of(Halves, "steps").status == "ok"
    assert result_of(Halves, "steps").note == ""
    assert result_of(Halves(show_steps=False), "steps").status == "ok"
    assert result_of(Plain, "steps").note == "it has no reasoning steps"


def test_steps_without_a_number_and_a_number_without_steps() -> None:
    class Silent(Halves):
        """It says no number."""

        n_steps: ClassVar[int] = 0

    class Empty(Plain):
        """It defines no steps."""

        n_steps: ClassVar[int] = 2

    class Fraction(Halves):
        """It says half a step."""

        n_steps: ClassVar[Any] = 0.5

    class Otherwise(Plain):
        """A walk of so many steps, which are no reasoning."""

        n_steps: int = Field(3, description="steps of the walk")  # type: ignore[misc]

    assert finding_of(Silent, "steps").found == "n_steps = 0: no prompt shows them"
    assert finding_of(Empty, "steps").found == "n_steps is 2, and it defines no steps(parameters, xs)"
    assert finding_of(Fraction, "steps").found == "n_steps is 0.5, expected a whole number from 0 on"
    assert "about something else" in result_of(Otherwise, "steps").note
    assert Otherwise().shown_steps == 0


def test_labels_that_are_vectors() -> None:
    class Pairs(Halves):
        """Labels of two numbers."""

        label_dims: ClassVar[int] = 2

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return super().evaluate(parameters, xs).unsqueeze(-1).expand(-1, -1, 2)

    found = finding_of(Pairs, "steps").found
    assert found.startswith(
        "it shows 2 reasoning steps, and its labels are vectors of 2 numbers; expected labels of one"
    )


def test_shapes_types_and_values() -> None:
    assert "(1, 1, 1), torch.float32 at d = 1" in broken(lambda steps, xs: steps[..., :1]).found
    assert "torch.float64 at d" in broken(lambda steps, xs: steps.double()).found
    assert "infinite or NaN" in broken(lambda steps, xs: steps / 0).found
    assert "a list" in broken(lambda steps, xs: steps.tolist()).found


def test_what_a_call_leaves_behind() -> None:
    assert broken(lambda steps, xs: steps + xs.mul_(2)[..., :1]).found.startswith("steps changed xs")
    assert "torch's global generator changed" in broken(lambda steps, xs: steps + torch.rand(())).found


def test_steps_of_another_entry() -> None:
    found = broken(lambda steps, xs: steps.cumsum(dim=1)).found
    assert found.startswith("others when the points stand in reverse order: by up to")
    assert "two functions are asked" in broken(lambda steps, xs: steps - steps.mean(dim=(0, 1), keepdim=True) * 0 +
                                               steps.mean(dim=0, keepdim=True)).found  # fmt: skip


def test_steps_of_another_size_are_said() -> None:
    class Loud(Halves):
        """Large steps."""

        def then(self, steps: Tensor, xs: Tensor) -> Tensor:
            return 1000 * steps

    assert "training adds their squared errors, so scale the steps" in result_of(Loud, "steps").note


def test_a_model_that_predicts_without_its_steps() -> None:
    class Overlooking(Reader):
        """It reads x and y alone."""

        def predict(self, prompts: Prompts, **more: Any) -> Tensor:
            if prompts.steps is not None:
                return self.answer(prompts.xs, prompts.ys, prompts.queries)
            return super().predict(prompts, **more)

    assert result_of(with_model(Reader), "steps").status == "ok"
    finding = finding_of(with_model(Overlooking), "steps")
    assert finding.expected.endswith("from predict with the steps of the query given")
    assert "super().predict(prompts)" in finding.mend


def test_a_model_that_looks_at_the_querys_steps() -> None:
    class Looking(Reader):
        """It is given what is not."""

        def predict(self, prompts: Prompts, **more: Any) -> Tensor:
            if prompts.steps is not None and not prompts.steps_given:
                from dataclasses import replace

                return super().predict(replace(prompts, steps_given=True), **more)
            return super().predict(prompts, **more)

    assert finding_of(with_model(Looking), "steps").expected.endswith("of the query to be predicted")
