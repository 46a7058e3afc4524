"""The conformity check: one broken class for every rule on moments, growth and units."""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

import pytest
import torch
from pydantic import Field
from testing_classes import Plain, finding_of, only_finding, result_of
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.function_classes import Hermite, Linear, Parameters, SparseLinear
from icl_curriculum.function_classes.base import OracleKind
from icl_curriculum.results.statistics.moments import MomentEstimate
from icl_curriculum.testing.function_classes import resolving


def test_a_trivial_error_of_another_class_is_found() -> None:
    class Sparse(SparseLinear):
        """Forgot that most weights are zero."""

        def trivial_error(self, dims: int) -> float:
            return float(dims)

    finding = only_finding(Sparse, "trivial error")
    assert finding.found == "trivial_error(5) = 5 is too large (beyond 6 standard errors)"
    assert "E f(x)^2 = 2.9" in finding.expected or "E f(x)^2 = 3" in finding.expected
    assert "under the inputs 'gaussian' at d = 5" in finding.expected
    assert "raw units" in finding.mend


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_trivial_error_off_by_a_tenth_is_found(factor: float) -> None:
    class Off(Plain):
        """Nearly right."""

        def trivial_error(self, dims: int) -> float:
            return factor * dims

    assert ("too small" if factor < 1 else "too large") in finding_of(Off, "trivial error").found


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan, None, torch.tensor(1.0)])
def test_a_trivial_error_is_a_finite_positive_number(value: Any) -> None:
    class Odd(Plain):
        """No number to divide by."""

        def trivial_error(self, dims: int) -> float:
            return value

    finding = finding_of(Odd, "trivial error")
    assert finding.found == f"trivial_error(1) gives {value!r}"
    assert "finite, positive" in finding.expected


class Cubes(Plain):
    """The class of the README: f(x) = sum_j w_j x_j^3 / sqrt(15), whose squares have heavy tails."""

    stated: float = Field(1.0, description="what the trivial error is multiplied by")
    at: int | None = Field(None, description="the only dimension in which it is; none: in all")

    @property
    def growth(self) -> float:
        return 3.0

    def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
        return super().evaluate(parameters, xs**3) / math.sqrt(15)

    def trivial_error(self, dims: int) -> float:
        return dims * (self.stated if self.at in (None, dims) else 1.0)


@pytest.mark.parametrize(("stated", "verdict"), [(0.95, "too small"), (1.05, "too large")])
@pytest.mark.parametrize("at", [None, 8])
def test_a_trivial_error_off_by_a_twentieth_is_found_despite_heavy_tails(
    stated: float, verdict: str, at: int | None
) -> None:
    finding = finding_of(Cubes(stated=stated, at=at), "trivial error")
    assert f" is {verdict} (beyond 6 standard errors)" in finding.found
    assert f"trivial_error({at or ''}" in finding.found


def test_the_right_one_beside_them_passes_and_five_percent_would_show() -> None:
    assert (result_of(Cubes(), "trivial error").status, result_of(Cubes(), "trivial error").note) == ("ok", "")


class HeavyInputs(Plain):
    """f(x) = w·x under Student's t with 6 degrees of freedom: the squares' third moment does not exist."""

    reference_inputs: ClassVar[str | dict[str, Any]] = {"name": "student_t", "df": 6.0}
    stated: float = Field(1.5, description="the trivial error in one dimension")

    def trivial_error(self, dims: int) -> float:
        return self.stated * dims


@pytest.mark.parametrize(("stated", "status"), [(0.95, "failed"), (1.0, "ok"), (1.05, "failed")])
def test_so_is_one_under_inputs_without_high_moments(stated: float, status: str) -> None:
    assert result_of(HeavyInputs(stated=1.5 * stated), "trivial error").status == status


@pytest.mark.parametrize(("stated", "status"), [(1.0, "ok"), (2.0, "failed")])
def test_rare_functions_that_make_up_half_of_a_moment_are_waited_for(stated: float, status: str) -> None:
    class Rare(Plain):
        """One function in 1,000 is some 30 times as large as the others."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            w = super().sample(n, dims, generator)["w"]
            large = torch.rand(n, 1, generator=generator, device=generator.device) < 1 / 1000
            return {"w": torch.where(large, math.sqrt(1000) * w, w)}

        def trivial_error(self, dims: int) -> float:
            return stated * dims * (2 - 1 / 1000)

    assert result_of(Rare, "trivial error").status == status


def test_where_the_tails_are_too_heavy_a_note_says_what_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    class Heavy(Hermite):
        """Declares a third."""

        def trivial_error(self, dims: int) -> float:
            return super().trivial_error(dims) / 3

    monkeypatch.setattr(resolving, "BUDGET", 1 << 25)
    assert "too small" in finding_of(Heavy(degree=4, weights="gaussian"), "trivial error").found
    note = result_of(Hermite(degree=4, weights="gaussian"), "trivial error").note
    assert note.startswith(
        "heavy tails, so that a wrong trivial error shows less sharply than 5%: at d = 1 it can tell "
    )
    assert "too small a value only" in note
    assert re.search(r"errors of \d+% and more", result_of(Hermite(degree=3, weights="gaussian"), "trivial error").note)


def test_verdicts_on_a_moment() -> None:
    symmetric = MomentEstimate(mean=1.0, error=0.01, skew=0.0, prompts=100)
    skewed = MomentEstimate(mean=1.0, error=0.01, skew=0.1, prompts=100)
    heavy = MomentEstimate(mean=1.0, error=0.01, skew=0.5, prompts=100)
    constant = MomentEstimate(mean=1.0, error=0.0, skew=0.0, prompts=100)
    assert [symmetric.verdict(value) for value in (0.93, 0.95, 1.05, 1.07)] == ["too small", None, None, "too large"]
    # Hall: (1 / .1) ((1 - .1 t / 3)^3 - 1) + .1 / 6 = -6 at t = 7.9
    assert [skewed.verdict(value) for value in (0.93, 1.07, 1.082)] == ["too small", None, "too large"]
    assert [heavy.verdict(value) for value in (0.93, 10.0)] == ["too small", None]
    assert [constant.verdict(value) for value in (1.0, 1.00005, 1.01)] == [None, None, "too large"]


class Cubic(Linear):
    """f(x) = sum_j w_j x_j^3 / sqrt(15), of trivial error d; the second moment is inherited from w·x."""

    @property
    def growth(self) -> float:
        return 3.0

    @property
    def oracle_kind(self) -> OracleKind:
        return None

    def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
        return super().evaluate(parameters, xs**3) / math.sqrt(15)


def test_an_inherited_second_moment_is_found() -> None:
    finding = only_finding(Cubic, "second moment")
    assert re.search("for inputs (skewed|Gaussian of twice the scale) at d = [138]", finding.expected)
    assert re.match(r"second_moment\([138], squared_norm=", finding.found)
    assert "an inherited one is that of the parent" in finding.mend


@pytest.mark.parametrize(("unknown", "found"), [((), "skewed"), ((1.0, 0.25, 4.0), "Student's t with 18 degrees")])
def test_a_second_moment_that_needs_the_spectrum_must_ask_for_it(unknown: tuple[float, ...], found: str) -> None:
    class Unasked(Cubic):
        """True for isotropic Gaussians, and claimed for all inputs of that E|x|^2."""

        def second_moment(self, dims: int, *, squared_norm: float, spectrum: Any) -> float | None:
            if spectrum is None:
                return None if squared_norm / dims in unknown else dims * (squared_norm / dims) ** 3
            return dims * spectrum[0] ** 3 if len(set(spectrum)) == 1 else None

    finding = finding_of(Unasked, "second moment")
    assert f"for inputs {found}" in finding.expected
    assert "spectrum=None" in finding.found


def test_second_moments_outside_the_domain_do_not_apply() -> None:
    class Narrow(Linear):
        """Only where it is small."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            if xs.abs().max() > 8:
                raise UserError("narrow: x outside [-8, 8]")
            return super().evaluate(parameters, xs)

    result = result_of(Narrow, "second moment")
    assert result.status == "ok"
    assert "outside the domain: " in result.note
    assert "Gaussian of twice the scale at d = 3: narrow: x outside [-8, 8]" in result.note
    assert result_of(Narrow, "growth").note == "evaluate refuses large inputs: narrow: x outside [-8, 8]"
    assert result_of(Plain, "second moment").note == "second_moment gives no closed form for other inputs"


@pytest.mark.parametrize(("at", "found"), [(1, "at d = 1"), (5, "at d = 5"), (8, "at d = 8")])
def test_a_closed_form_that_is_wrong_in_one_dimension_is_found(at: int, found: str) -> None:
    class Off(Linear):
        """Right in all dimensions but one."""

        def second_moment(self, dims: int, *, squared_norm: float, spectrum: Any) -> float | None:
            return squared_norm * (1.05 if dims == at else 1.0)

    finding = finding_of(Off, "second moment")
    assert finding.expected.endswith(f"= {at} for the reference inputs, gaussian, {found}")


def test_a_closed_form_that_is_right_under_the_reference_inputs_alone_is_found() -> None:
    class Isotropic(Linear):
        """Takes every Gaussian for the standard one in the most dimensions."""

        def second_moment(self, dims: int, *, squared_norm: float, spectrum: Any) -> float | None:
            uneven = spectrum is not None and len(set(spectrum)) > 1 and dims == 8
            return squared_norm * (0.95 if uneven else 1.0)

    assert "too small" in finding_of(Isotropic, "second moment").found


def test_too_small_a_growth_is_found() -> None:
    class Fast(Cubic):
        """Cubic, and doesn't say so."""

        growth = Plain.growth

        def second_moment(self, dims: int, *, squared_norm: float, spectrum: Any) -> float | None:
            return None

    finding = only_finding(Fast, "growth")
    assert finding.expected == "f(c x) of the order c^growth = c^1, or slower"
    assert finding.found.startswith("c^3.00 between c = 4096 and 65536")
    assert "set growth to 3" in finding.mend


def test_a_larger_growth_is_conservative_and_an_exponential_one_is_found() -> None:
    class Cautious(Plain):
        """Linear, declared as quadratic."""

        @property
        def growth(self) -> float:
            return 2.0

    class Exponential(Cautious):
        """Faster than any power."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return super().evaluate(parameters, xs).exp()

    assert result_of(Cautious, "growth").status == "ok"
    assert "faster than any power" in finding_of(Exponential, "growth").found


def test_units_applied_twice_are_found() -> None:
    class Twice(Plain):
        """Divides by its own unit."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            values = super().evaluate(parameters, xs)
            return values / math.sqrt(xs.shape[2]) if self.outputs == "unit" else values

    finding = only_finding(Twice, "units")
    assert "divided by sqrt(trivial_error), of second moment" in finding.expected
    assert finding.found.startswith("second moment 0.1")
    assert "leave the unit to output_scale" in finding.mend


def test_noise_in_the_targets_is_found() -> None:
    class Noisy(Plain):
        """Shifts its values by the noise it is told of."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return super().evaluate(parameters, xs) + self.label_noise

    finding = only_finding(Noisy, "units")
    assert finding.expected == "targets without noise: the same with label_noise as without it"
    assert "evaluate ignores label_noise" in finding.mend


def test_verdicts_are_the_same_every_time() -> None:
    assert result_of(Cubic, "second moment") == result_of(Cubic, "second moment")
