"""What the check finds in models that change between updates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from testing_classes import finding_of, result_of
from testing_models import Reader, with_model
from torch import Tensor


class Dropping(Reader):
    """A reader that drops units while it is trained; tests replace what it does."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.register_buffer("kept", torch.ones(6))

    def forward(self, xs: Tensor, ys: Tensor, queries: Tensor | None = None, **more: Any) -> Tensor:
        return super().forward(xs, ys, queries, **more) * self.kept.mean()

    def before_update(self, step: int, steps: int, generator: torch.Generator) -> None:
        self.kept.copy_((torch.rand(6, generator=generator) > 0.5).float())

    def after_update(self) -> None:
        self.kept.fill_(1)


def dropping(**members: Any) -> Any:
    return with_model(type("Broken", (Dropping,), {"__module__": __name__, **members}))


def counting_itself(self: Any, step: int, steps: int, generator: torch.Generator) -> None:
    self.calls = getattr(self, "calls", 0) + 1
    self.kept.fill_(1 / self.calls)


def moving_weights(self: Any, step: int, steps: int, generator: torch.Generator) -> None:
    with torch.no_grad():
        self.read_out.bias += 1


def drawing_globally(self: Any, step: int, steps: int, generator: torch.Generator) -> None:
    self.kept.copy_((torch.rand(6) > 0.5).float())


def making_a_buffer(self: Any, step: int, steps: int, generator: torch.Generator) -> None:
    self.register_buffer("temperature", torch.tensor(1.0))


def keeping_what_it_was_in_the_open(self: Any) -> None:
    self.last = getattr(self, "last", 0) + 1
    self.kept.fill_(1 + self.last)


BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "state in an attribute": (
        {"before_update": counting_itself}, "predictions that differ by up to", "keep what before_update and",
    ),
    "state in an attribute, afterwards": (
        {"after_update": keeping_what_it_was_in_the_open}, "predictions that differ by up to", "in no checkpoint",
    ),
    "parameters": (
        {"before_update": moving_weights}, "changed 'read_out.bias'", "keep what before_update and after_update change",
    ),
    "global generator": (
        {"before_update": drawing_globally}, "torch: the global generator changed", "generator=generator",
    ),
    "a new buffer": (
        {"before_update": making_a_buffer}, "'temperature' came or went at step 0", "when the model is built",
    ),
    "cost": ({"cost_key": lambda self: self.kept.tolist()}, "a list", "return int(buffer)"),
}  # fmt: skip


def test_a_model_that_drops_units_passes() -> None:
    assert result_of(dropping(), "updates").status == "ok"
    assert result_of(with_model(Reader), "updates").note == "the model is the same at every step"


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_model_is_told_what_is_wrong_and_how_to_mend_it(case: str) -> None:
    members, found, mend = BROKEN[case]
    finding = finding_of(dropping(**members), "updates")
    assert found in finding.found
    assert mend in finding.mend
