"""The conformity check of baselines: the suite's pass, and one broken for every rule."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from places import EVERY_KIND
from pydantic import Field, PrivateAttr
from testing_classes import failures, finding_of, result_of
from torch import Tensor

from icl_curriculum.baselines import (
    Baseline,
    GradientBoosting,
    NearestNeighbours,
    NetworkByGradientDescent,
    PoolPosteriorMean,
    ScikitLearn,
)
from icl_curriculum.baselines.per_prompt import answer_each
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.function_classes import Linear
from icl_curriculum.testing import check_component


class ShrunkenMean(Baseline):
    """The sum of the labels so far over their number and one more."""

    prior: float = Field(1.0, gt=0, description="how many labels of zero there were before")

    def predict(self, prompts: Prompts) -> Tensor:
        counts = torch.arange(prompts.points, device=prompts.ys.device)
        return (prompts.ys.cumsum(dim=1) - prompts.ys) / (counts + self.prior)


#: Unlike the others, or with others than their defaults; `make check` looks at all.
KEPT: list[Any] = [
    "ridge",
    "lasso",
    "last_label",
    ShrunkenMean,
    ShrunkenMean(prior=2.0),
    NearestNeighbours(neighbors=1, weights="distance"),
    GradientBoosting(trees=2),
    NetworkByGradientDescent(steps=3, hidden=4),
    PoolPosteriorMean(pool=Linear(pool_size=3)),
]


@pytest.mark.parametrize(
    "baseline", KEPT, ids=lambda item: getattr(item, "id", getattr(item, "__name__", item)) or "own"
)
def test_right_baselines_keep_the_contract(baseline: Any, fresh_registries: None) -> None:
    load_plugin(EVERY_KIND)
    check_component(baseline, kind="baselines")


def test_what_a_costly_baseline_cannot_answer_is_noted() -> None:
    neighbours = ScikitLearn(regressor="KNeighborsRegressor")
    assert failures(neighbours) == {}
    assert result_of(neighbours, "predict").note == (
        "it raises at k = 2: ValueError; the prompts count as failed there"
    )
    assert result_of("sklearn", "predict").note == ""


def test_a_baseline_that_knows_the_classes_may_begin_with_their_mean() -> None:
    assert result_of("dmmse", "no examples").note.startswith("at k = 0 it predicts what it knows of the classes")
    assert "no function class" not in result_of("dmmse", "training classes").note
    assert result_of("knn", "no examples").note == ""


def answering(change: Any, **members: Any) -> type[Baseline]:
    """The shrunken mean with its answers changed: ``change(prompts, answers)``."""

    def predict(self: Any, prompts: Prompts) -> Any:
        return change(prompts, ShrunkenMean.predict(self, prompts))

    return type(
        "Broken", (ShrunkenMean,), {"__doc__": "Broken.", "__module__": __name__, "predict": predict, **members}
    )


def scaled(prompts: Prompts, found: Tensor) -> Tensor:
    prompts.ys.mul_(2)
    return found


class Counting(ShrunkenMean):
    """Each call answers less."""

    _calls: int = PrivateAttr(0)

    def predict(self, prompts: Prompts) -> Tensor:
        self._calls += 1
        return super().predict(prompts) / self._calls


class Forest(Baseline):
    """A costly one whose seed is nobody's."""

    costly: ClassVar[bool] = True

    def predict(self, prompts: Prompts) -> Tensor:
        from sklearn.tree import DecisionTreeRegressor

        return answer_each(
            prompts, lambda xs, ys, query: DecisionTreeRegressor(max_features=1).fit(xs, ys).predict(query[None])[0]
        )


class Seeded(Baseline):
    """The same with a fixed seed."""

    costly: ClassVar[bool] = True

    def predict(self, prompts: Prompts) -> Tensor:
        from sklearn.tree import DecisionTreeRegressor

        return answer_each(
            prompts,
            lambda xs, ys, query: (
                DecisionTreeRegressor(max_features=1, random_state=0).fit(xs, ys).predict(query[None])[0]
            ),
        )


def masked_out(prompts: Prompts, found: Tensor) -> Tensor:
    """An average over the examples that are asked about alone."""
    return found if prompts.mask is None else found * prompts.mask.float().mean()


def refuses(self: Any, function_classes: Any) -> Baseline:
    raise UserError("never")


def by_truth(prompts: Prompts, found: Tensor) -> Tensor:
    return found if prompts.truth is None else torch.einsum("npd,nd->np", prompts.query(), prompts.truth["w"])


def if_any(prompts: Prompts, found: Tensor) -> Tensor:
    """What is asked is answered by the targets, where they are shown."""
    return torch.where(prompts.targets.isnan(), found, prompts.targets)


def beyond_the_first(change: Any) -> Any:
    """Changes the answers from one example on."""

    def changed(prompts: Prompts, found: Tensor) -> Tensor:
        told = change(prompts, found)
        return torch.cat([found[:, :1], told[:, 1:]], dim=1)

    return changed


BROKEN: dict[str, tuple[Any, str, str]] = {
    # The rule, and what is wrong: a baseline, what was found, what mends it.
    "construction": (type("Empty", (Baseline,), {"__doc__": "Empty."}), "Empty lacks predict", "define predict"),
    "known methods": (
        type(
            "Broken", (ShrunkenMean,), {"__doc__": "B.", "__module__": __name__, "check_dim": lambda self, dims: None}
        ),
        "Broken.check_dim: nothing calls it",
        "did you mean check_dims?",
    ),
    "training classes/costly": (answering(lambda p, f: f, costly=property(lambda self: 1)), "1", "ClassVar[bool]"),
    "training classes/refused": (answering(lambda p, f: f, for_training_on=refuses), "UserError: never", "refuse less"),
    "training classes/none": (
        answering(lambda p, f: f, for_training_on=lambda self, classes: None),
        "a NoneType",
        "return self",
    ),
    "predict/shape": (answering(lambda prompts, found: found[:, 1:]), "shape (3, 5)", "shaped as prompts.ys"),
    "predict/numpy": (answering(lambda prompts, found: found.numpy()), "a ndarray", "one prediction for every entry"),
    "predict/targets": (
        answering(lambda prompts, found: prompts.targets),
        "18 infinite or NaN, at k = 0, 1, 2, 3, 4, 5",
        "read no prompts.targets",
    ),
    "predict/no example": (
        answering(lambda prompts, found: found / torch.arange(prompts.points)),
        "at k = 0",
        "divide by the number of examples only where there are some",
    ),
    "predict/raises": (answering(lambda prompts, found: found[7]), "IndexError", "test_conformity_baselines.py"),
    "purity": (answering(scaled), "ys changed in place", "prompts.ys.clone()"),
    "global generators/torch": (
        answering(lambda prompts, found: found + 0 * torch.randn(found.shape)),
        "torch's global generator changed",
        "of a fixed seed",
    ),
    "global generators/scikit-learn": (Forest, "numpy's global generator changed", "random_state=0"),
    "determinism": (Counting, "answers that differ by up to", "warm starts"),
    "no examples": (answering(lambda prompts, found: found + 0.25), "0.25 from predict", "leave entry 0 at zero"),
    "mask": (answering(masked_out), "answers that differ by up to", "is still an example"),
    "targets and truth/targets": (answering(beyond_the_first(if_any)), "others", "never read prompts.targets"),
    "targets and truth/truth": (answering(beyond_the_first(by_truth)), "others", "never read prompts.truth"),
    "causality/own label": (
        answering(lambda prompts, found: found + torch.cat([0 * found[:, :1], 0.1 * prompts.ys[:, 1:]], dim=1)),
        "when its own label changes",
        "cumulative sums shifted by one",
    ),
    "causality/later pairs": (
        answering(beyond_the_first(lambda prompts, found: found * prompts.xs[:, -1:].square().mean(-1))),
        "when later pairs change",
        "no mean, norm or maximum over points",
    ),
    "causality/prompts": (
        answering(lambda prompts, found: found - found.mean(dim=0, keepdim=True)),
        "with the other prompts of the batch",
        "over points or prompts",
    ),
    "causality/queries": (
        answering(beyond_the_first(lambda prompts, found: found + prompts.xs[..., 0])),
        "where query 1 is asked separately",
        "answer prompts.query()[:, k]",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_baseline_is_told_what_is_wrong_and_how_to_mend_it(case: str) -> None:
    baseline, found, mend = BROKEN[case]
    finding = finding_of(baseline, case.split("/")[0])
    assert found in finding.found
    assert mend in finding.mend


def test_a_tree_with_a_fixed_seed_is_right() -> None:
    assert failures(Seeded) == {}
