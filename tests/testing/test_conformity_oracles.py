"""The conformity check: oracles that cheat, fail, or are not declared."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from testing_classes import LinearDynamics, Plain, Ramp, failures, finding_of, only_finding, result_of
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.function_classes import Hermite, Linear
from icl_curriculum.function_classes.base import OracleKind

pytestmark = pytest.mark.usefixtures("fewer_prompts")


class Known(Plain):
    """A linear class whose oracle is to be broken."""

    @property
    def oracle_kind(self) -> OracleKind:
        return "optimum"

    def oracle(self, prompts: Prompts) -> Tensor:
        return Linear.oracle(self, prompts)


def broken_oracle(oracle: Any) -> type[Plain]:
    return type("Broken", (Known,), {"__doc__": "Broken.", "__module__": __name__, "oracle": oracle})


def worst(self: Any, prompts: Prompts) -> Tensor:
    return -Known.oracle(self, prompts)


def own_label(self: Any, prompts: Prompts) -> Tensor:
    return Known.oracle(self, prompts) + 1e-2 * prompts.ys


def later_labels(self: Any, prompts: Prompts) -> Tensor:
    return Known.oracle(self, prompts) + 0.1 * prompts.ys.roll(-1, dims=1)


def targets(self: Any, prompts: Prompts) -> Tensor:
    return prompts.targets


def next_example(self: Any, prompts: Prompts) -> Tensor:
    return Known.oracle(self, prompts.__class__(prompts.xs, prompts.ys, prompts.targets, label_noise=0.5))


def undefined(self: Any, prompts: Prompts) -> Tensor:
    return Known.oracle(self, prompts) * torch.tensor([1.0, 1.0, math.nan] + [1.0] * (prompts.points - 3))


def last_only(self: Any, prompts: Prompts) -> Tensor:
    return Known.oracle(self, prompts)[:, -1]


def penniless(self: Any, prompts: Prompts) -> Tensor:
    """Minimum-norm least squares under noise: at k = d its error is many times that of zero."""
    return Known.oracle(self, prompts.__class__(prompts.xs, prompts.ys, prompts.targets, prompts.queries))


@pytest.mark.parametrize(
    ("oracle", "expected", "found", "mend"),
    [
        (worst, "no larger than that of predicting zero", "at k = 1 it is larger by at least", "check the formula"),
        (penniless, "no larger than that of predicting zero", "label noise 1.73, d = 3", "prompts.label_noise"),
        (own_label, "entry k = 0 and those before it unchanged", "they change by up to", "neither its own label"),
        (later_labels, "entry k = 0 and those before it unchanged", "they change by up to", "nor later pairs"),
        (targets, "don't depend on prompts.targets", "other targets change predictions", "read xs, ys, query()"),
        (next_example, "with separate queries", "answers that differ", "not at prompts.xs[:, k]"),
        (undefined, "finite predictions", "first at k = 2", "mind k = 0"),
        (last_only, "(batch, points) = (1024, 8)", "(1024,) with label noise 0, d = 3", "k = 0 included"),
    ],
)
def test_oracles_that_cheat_or_fail_are_found(oracle: Any, expected: str, found: str, mend: str) -> None:
    finding = finding_of(broken_oracle(oracle), "oracle")
    assert expected in finding.expected
    assert found in finding.found
    assert mend in finding.mend


def unit_of_the_class(self: Any, prompts: Prompts) -> Tensor:
    """Ridge regression with the noise in the class's unit, which is not the prompts' under scaled outputs."""
    return Linear.oracle(self, replace(prompts, scale=self.output_scale(prompts.dims)))


def offset(self: Any, prompts: Prompts) -> Tensor:
    """An honest one plus a number in raw units."""
    return Known.oracle(self, prompts) + 5e-2


@pytest.mark.parametrize(("oracle", "noise"), [(unit_of_the_class, "label noise 1.73"), (offset, "label noise 0,")])
def test_predictions_that_are_not_in_the_prompts_unit_are_found(oracle: Any, noise: str) -> None:
    finding = finding_of(broken_oracle(oracle), "oracle")
    assert finding.expected == "predictions twice as large where ys, label_noise and scale of the prompts are"
    assert finding.found.startswith("predictions that are off by up to ")
    assert noise in finding.found
    assert finding.mend == (
        "divide ys and label_noise by prompts.scale, which holds the class's unit and a shift's factor, and multiply "
        "the predictions by it"
    )


def test_an_oracle_is_looked_at_where_it_exists() -> None:
    """In some dimensions and without noise; elsewhere it may raise."""
    result = result_of(Ramp, "oracle")
    assert result.status == "ok"
    assert result.note == "oracle_for gives None for label noise 0.816 at d = 2"
    assert failures(Ramp) == {}

    class Wrong(Ramp):
        """Its oracle is the opposite of what it should be."""

        def oracle(self, prompts: Prompts) -> Tensor:
            return -super().oracle(prompts)

    assert "label noise 0, d = 2" in only_finding(Wrong, "oracle").found

    class Nowhere(Known):
        """Has an oracle, though in no dimension that is looked at."""

        def oracle_for(self, dims: int, label_noise: float) -> OracleKind:
            return None

    assert result_of(Nowhere, "oracle").note == "oracle_for is None in the dimensions looked at, 1, 2, 3, 5, 8"


def test_an_oracle_of_one_noise_is_checked_by_that_name() -> None:
    class Misnamed(Known):
        """Another word where there is noise."""

        def oracle_for(self, dims: int, label_noise: float) -> Any:
            return "optimum" if label_noise == 0 else "best"

    finding = finding_of(Misnamed, "oracle")
    assert finding.expected == "'optimum', 'lower bound' or None from oracle_kind and oracle_for"
    assert finding.found == "'best'"


def test_a_class_that_owns_its_inputs_is_asked_about_its_own_alone() -> None:
    class Following(LinearDynamics):
        """Its oracle cannot tell what it would say elsewhere."""

        @property
        def oracle_kind(self) -> OracleKind:
            return "lower bound"

        def oracle(self, prompts: Prompts) -> Tensor:
            if prompts.queries is not None:
                raise NotImplementedError("only along a path")
            return Linear.oracle(Linear(), prompts)

    assert failures(Following) == {}


def test_a_broken_oracle_breaks_no_other_rule() -> None:
    only_finding(broken_oracle(worst), "oracle")
    assert result_of(Known, "oracle").status == "ok"


def test_an_oracle_that_is_declared_must_exist_and_one_that_exists_must_be_declared() -> None:
    class Promised(Plain):
        """Declares what it lacks."""

        @property
        def oracle_kind(self) -> OracleKind:
            return "optimum"

    class Unasked(Plain):
        """Has what it doesn't declare."""

        def oracle(self, prompts: Prompts) -> Tensor:
            return prompts.ys * 0

    class Misnamed(Known):
        """Declares another word."""

        @property
        def oracle_kind(self) -> Any:
            return "optimal"

    assert finding_of(Promised, "oracle").found == "Promised does not define oracle"
    assert finding_of(Unasked, "oracle").found == "Unasked defines oracle, and oracle_kind is None"
    assert finding_of(Misnamed, "oracle").found == "'optimal'"
    # Where oracle_kind is the class's own, None for some parameters is a decision.
    assert result_of(Hermite(degree=2), "oracle").note == "oracle_kind is None: no oracle is known"
