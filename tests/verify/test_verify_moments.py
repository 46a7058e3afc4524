"""``icl verify``: trivial errors and denominators hold, and wrong ones are found."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from tiny_runs import Icl
from verifying import failed, outcomes

from icl_curriculum import verify
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import FUNCTION_CLASSES, SHIFTS
from icl_curriculum.function_classes import Hermite, Linear, Quadratic
from icl_curriculum.inputs import HalfSubspace
from icl_curriculum.shifts import OverlappingQueries, why_undefined
from icl_curriculum.verify import CheckOutcome, cases, denominators, monte_carlo
from icl_curriculum.verify import trivial_errors as golden_trivial_errors

# Trivial errors


def test_declared_trivial_errors_are_the_catalogue_s_for_every_class() -> None:
    found = outcomes("trivial_errors", ".*: (declared|by quadrature)")
    assert [name for name, outcome in found.items() if not outcome.holds] == []
    named = {re.split("[/,]", name)[0] for name in found}
    assert named == set(cases.built_in(FUNCTION_CLASSES))
    assert "hermite/3/weights=gaussian, d = 20: declared" in found


@pytest.mark.parametrize("name", ["sparse_linear", "chebyshev", "linear_dynamics", "hermite/2/weights=gaussian"])
def test_drawn_trivial_errors_are_the_declared_ones(name: str) -> None:
    (outcome,) = outcomes("trivial_errors", f"{name}, .*: drawn").values()
    assert outcome.holds
    assert outcome.error is not None
    assert outcome.tolerance == pytest.approx(6 * outcome.error + 1e-4 * float(outcome.expected))


def test_a_wrong_trivial_error_is_found_twice(icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Linear, "trivial_error", lambda self, dims: dims + 3.0)
    monkeypatch.setattr(golden_trivial_errors, "CATALOGUE", golden_trivial_errors.CATALOGUE[:1])
    monkeypatch.setattr(golden_trivial_errors, "built_in", lambda registry: ["linear", "mine"])
    code, out, _ = icl("verify", "trivial_errors")
    lines = out.splitlines()
    assert code == 1
    assert lines[2:-5] == [
        "  linear, d = 20",
        "    failed declared        20        23         +3    2e-08  d",
        lines[4],
        "  mine",
        "    failed unknown  none, expected a golden number (every built-in class has one); "
        "add it to CATALOGUE in icl_curriculum/verify/trivial_errors.py",
    ]
    assert re.fullmatch(
        r"    failed drawn +23 +(19|20)\.\d+ +-[23]\.?\d* +0\.\d+  as declared; "
        "the expected number is too large by more than 6 standard errors",
        lines[4],
    )


def test_wrong_draws_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Linear.sample
    monkeypatch.setattr(Linear, "sample", lambda *args: {"w": 1.1 * sample(*args)["w"]})
    assert failed("trivial_errors", "linear, .*") == {"linear, d = 20: drawn"}


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_quadrature_agrees_with_the_moments_of_the_class(degree: int) -> None:
    hermite = Hermite(degree=degree, weights="gaussian")
    for dims in (2, 8, 20):
        found = golden_trivial_errors.gaussian_projection(hermite, dims)
        assert found == pytest.approx(hermite.trivial_error(dims), rel=1e-10)


def test_quadrature_sees_a_wrong_polynomial(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = Hermite.evaluate
    monkeypatch.setattr(Hermite, "evaluate", lambda *args: 1.001 * evaluate(*args))
    name = "hermite/3/weights=gaussian, d = 20: by quadrature"
    assert failed("trivial_errors", ".*by quadrature") == {name}


# Denominators


def test_ratios_are_the_catalogue_s() -> None:
    found = outcomes("denominators", "ratio for .*")
    assert [name for name, outcome in found.items() if not outcome.holds] == []
    assert len(found) == len(denominators.CATALOGUE)
    # By hand: in half of the coordinates |Pw|^2 is Beta(5, 5), and E q^2 = 12 / 11.
    assert found["ratio for hermite/2, d = 20: half_subspace"].found == pytest.approx(47 / 44)
    assert found["ratio for quadratic, d = 20: other_inputs/student_t"].found == math.inf


def test_every_class_and_every_defined_shift_is_drawn() -> None:
    names = {str(check) for check in verify.SECTIONS["denominators"].checks() if check.case.startswith("drawn for ")}
    expected = set()
    for name, task in cases.tasks().items():
        defined = [shift for shift in SHIFTS.names() if why_undefined(SHIFTS.build(shift), task) is None]
        expected |= {f"drawn for {name}: {shift}" for shift in ["none", *defined]}
    assert names == expected


@pytest.mark.parametrize("name", ["linear", "sinusoid", "parity"])
def test_drawn_denominators_are_the_computed_ones(name: str) -> None:
    assert failed("denominators", f"drawn for {name}, d = 5: .*") == set()


def test_an_infinite_denominator_is_expected_not_drawn() -> None:
    (outcome,) = outcomes("denominators", "drawn for quadratic, d = 5: other_inputs").values()
    assert outcome == CheckOutcome(
        True, math.inf, "moments exist below order 4, f grows like |x|^2", math.inf, note="nothing to draw"
    )


def test_a_wrong_closed_form_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quadratic, "second_moment", lambda self, dims, *, squared_norm, spectrum: squared_norm)
    assert failed("denominators", ".* for quadratic, .*: (skewed|half_subspace|label_noise)") == {
        "ratio for quadratic, d = 20: skewed", "drawn for quadratic, d = 5: skewed",
        "ratio for quadratic, d = 20: half_subspace", "drawn for quadratic, d = 5: half_subspace",
    }  # fmt: skip


def test_wrongly_scaled_inputs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = HalfSubspace.sample
    monkeypatch.setattr(HalfSubspace, "sample", lambda *args: sample(*args) * 0.9)
    names = ".* for linear, .*: (half_subspace|skewed)"
    assert failed("denominators", names) == {"drawn for linear, d = 5: half_subspace"}


def test_a_denominator_that_is_wrong_at_one_length_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    change = OverlappingQueries.change

    def larger_at_last(*args: Any) -> Any:
        xs, queries, defined = change(*args)
        queries[:, -1] *= 1.06
        return xs, queries, defined

    monkeypatch.setattr(OverlappingQueries, "change", larger_at_last)
    (outcome,) = outcomes("denominators", "drawn for linear, d = 5: overlapping_queries").values()
    assert not outcome.holds
    assert outcome.source == "closed form, at k = 4"


def test_without_a_shift_the_denominator_is_the_trivial_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Linear, "second_moment", lambda self, dims, *, squared_norm, spectrum: squared_norm * 1.001)
    (outcome,) = outcomes("denominators", "drawn for linear, d = 5: none").values()
    assert (outcome.holds, outcome.expected, outcome.found) == (False, 5, pytest.approx(5.005))
    assert outcome.source == "the trivial error, without a shift"


def test_entries_that_are_undefined_are_left_out() -> None:
    targets = torch.tensor([[1.0, 100.0], [3.0, 100.0]] * 4096)
    mask = torch.tensor([True, False]).expand(8192, 2)
    found = monte_carlo.second_moments(lambda index: Prompts(torch.zeros(8192, 2, 1), targets, targets, mask=mask))
    assert found.at.keys() == {0}
    assert found.overall == found.at[0]
    assert (found.overall.mean, found.overall.prompts) == (5.0, 2 * 8192)
    assert found.overall.error == pytest.approx(4 / math.sqrt(2 * 8192))
