"""Adapted models as learners of a bank: what they adapt to, how they are asked, and how they fail."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from helpers import bank_of, shift_of
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.evaluation import (
    Bank,
    BaselineFailure,
    ErrorRow,
    NamedLearner,
    adaptation_bank,
    adapted_learners,
    content_hash,
    score,
)
from icl_curriculum.evaluation.asking import PART, CostlyConfig
from icl_curriculum.models import Adaptation, AdaptationDiverged, Model, TransformerConfig

POINTS = 9


def model_of() -> Model:
    config = TransformerConfig(width=8, layers=1, heads=2)
    return config.build(dims=5, points=POINTS, generator=torch.Generator().manual_seed(0))


def asked(
    learners: list[NamedLearner], bank: Bank, **costly: Any
) -> tuple[list[ErrorRow], list[BaselineFailure], list[tuple[float, str]]]:
    """Rows of the squared error, what failed, and how progress was told."""
    failures: list[BaselineFailure] = []
    told: list[tuple[float, str]] = []
    rows = score(
        learners, bank, bank.draw(), 0.9, costly=CostlyConfig(**costly), failed=failures.append,
        tell=lambda share, detail="": told.append((share, detail)),
    )  # fmt: skip
    return [row for row in rows if row.metric == "squared_error"], failures, told


@pytest.mark.parametrize("shift", [None, "skewed", "random_quadrants", "label_noise"])
def test_the_prompts_are_of_the_same_cell_and_none_is_the_banks(shift: str | None) -> None:
    bank = bank_of("linear", n=64, points=POINTS, shift=None if shift is None else shift_of(shift))
    other = adaptation_bank(bank, 64)
    assert other.key == bank.key
    one, two = bank.draw(), other.draw()
    rows = {prompt.numpy().tobytes() for prompt in one.xs}
    assert not rows & {prompt.numpy().tobytes() for prompt in two.xs}
    assert not set(one.xs.flatten().tolist()) & set(two.xs.flatten().tolist())
    assert one.truth is not None
    assert two.truth is not None
    assert not set(one.truth["w"].flatten().tolist()) & set(two.truth["w"].flatten().tolist())
    assert content_hash(other.draw()) == content_hash(two)


def test_the_learners_are_the_model_adapted_to_those_prompts() -> None:
    model, bank = model_of(), bank_of("linear", n=16, points=POINTS)
    ways = [Adaptation(3), Adaptation(1), Adaptation(2, rate=0.1, prompts=32), Adaptation(3)]
    learners = adapted_learners(model, ways, bank)
    assert [entry.id for entry in learners] == [
        "model/adapted=1", "model/adapted=3", "model/adapted=2/rate=0.1/prompts=32",
    ]  # fmt: skip
    assert {entry.kind for entry in learners} == {"model"}
    prompts = bank.draw()
    for entry in learners:
        way = entry.learner.adaptation
        alone = model.adapted(way, prompts=adaptation_bank(bank, way.prompts).draw())
        assert torch.equal(entry.learner.predict(prompts), alone.predict(prompts))


def test_per_prompt_is_costly_and_tells_how_far_it_is() -> None:
    bank = bank_of("linear", n=PART + 8, points=POINTS)
    learners = adapted_learners(model_of(), [Adaptation(1, per_prompt=True)], bank)
    rows, failures, told = asked(learners, bank, n_prompts=PART + 4, lengths=(1, 2))
    assert not failures
    assert [(row.n_context, row.n_prompts) for row in rows] == [(1, PART + 4), (2, PART + 4)]
    assert [detail for _, detail in told] == [
        f"model/adapted=1/per_prompt {share}" for share in ("0%", "25%", "50%", "75%")
    ]
    prompts = bank.draw()[: PART + 4].first_points(3)
    expected = (learners[0].learner.predict(prompts) - prompts.targets).double().square().mean(dim=0)
    assert [row.value for row in rows] == pytest.approx(expected[1:].tolist(), rel=1e-5)


def test_what_diverges_has_no_error_and_costs_no_other_learner_its_rows() -> None:
    model, bank = model_of(), bank_of("linear", n=8, points=POINTS)
    ways = [Adaptation(30, rate=1e4), Adaptation(1), Adaptation(30, rate=1e8, per_prompt=True)]
    entries = [NamedLearner("model", "model", model), *adapted_learners(model, ways, bank)]
    rows, failures, _ = asked(entries, bank, n_prompts=4)
    lost = {row.learner for row in rows if np.isnan(row.value)}
    assert lost == {"model/adapted=30/rate=10000", "model/adapted=30/per_prompt/rate=100000000"}
    assert {row.learner for row in rows} - lost == {"model", "model/adapted=1"}
    on_bank, *single = failures
    assert (on_bank.learner, on_bank.failed, on_bank.asked) == ("model/adapted=30/rate=10000", 8, 8)
    assert on_bank.reason.startswith("adaptation on linear/gaussian/none diverged at step ")
    assert single
    for failure in single:
        assert failure.asked == 4
        assert failure.reason.startswith("adaptation on linear/gaussian/none, prompt 1, k = ")


class Broken:
    """A costly learner with a mistake of its own."""

    costly: ClassVar[bool] = True

    def __init__(self, error: Exception) -> None:
        self.error = error

    def predict(self, prompts: Prompts) -> Tensor:
        raise self.error


@pytest.mark.parametrize("kind", ["model", "oracle"])
def test_a_mistake_of_a_costly_model_is_no_failure_on_a_prompt(kind: str) -> None:
    bank = bank_of("linear", n=8, points=POINTS)
    with pytest.raises(ArithmeticError, match="mine"):
        asked([NamedLearner("broken", kind, Broken(ArithmeticError("mine")))], bank)
    rows, failures, _ = asked([NamedLearner("broken", kind, Broken(AdaptationDiverged("it diverged")))], bank)
    assert np.isnan([row.value for row in rows]).all()
    assert {(failure.failed, failure.reason) for failure in failures} == {(8, "it diverged")}
