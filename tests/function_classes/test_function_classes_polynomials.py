"""Polynomials and waves: Hermite by quadrature, Chebyshev by numpy and by cosines, sine waves by their formula."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import Spec, assert_mean, class_of, draw, errors_of, reference_task, task_of
from numpy.polynomial import chebyshev, hermite_e
from scipy.integrate import dblquad
from scipy.special import roots_genlaguerre
from test_function_classes import hermite
from verifying import assert_golden, golden_trivial_error

from icl_curriculum.core import draws
from icl_curriculum.core.errors import UserError
from icl_curriculum.evaluation import Oracle
from icl_curriculum.function_classes import OutsideDomain

# Hermite


def moment_by_quadrature(degree: int, weights: str, dims: int) -> float:
    """E f(x)^2 of a Hermite function, from `evaluate` itself at the nodes of Gauss quadratures.

    Given |w| = r, w·x is N(0, r^2); r^2 is 1, or chi-squared with d degrees of freedom.
    """
    nodes, node_weights = hermite_e.hermegauss(20)
    halves, half_weights = roots_genlaguerre(20, dims / 2 - 1) if weights == "gaussian" else ([0.5], [1.0])
    xs = torch.tensor(nodes).view(1, -1, 1)
    total = 0.0
    for half, weight in zip(halves, half_weights, strict=True):
        w = torch.tensor([[math.sqrt(2 * half)]], dtype=torch.float64)
        values = class_of(hermite(degree, weights)).evaluate({"w": w}, xs)[0].numpy()
        total += weight * float(values**2 @ node_weights)
    return total / node_weights.sum() / sum(half_weights)


@pytest.mark.parametrize("weights", ["unit", "gaussian"])
@pytest.mark.parametrize("degree", [1, 2, 3, 4])
@pytest.mark.parametrize("dims", [1, 5, 20])
def test_hermite_trivial_error_by_quadrature(degree: int, weights: str, dims: int) -> None:
    expected = moment_by_quadrature(degree, weights, dims)
    assert class_of(hermite(degree, weights)).trivial_error(dims) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_hermite_is_the_sum_of_normalised_hermite_polynomials(degree: int) -> None:
    t = np.linspace(-3, 3, 31)
    coefficients = [0.0] + [1 / math.sqrt(degree * math.factorial(j)) for j in range(1, degree + 1)]
    xs = torch.zeros(1, 31, 3, dtype=torch.float64)
    xs[0, :, 1] = torch.tensor(t) / 2
    values = class_of(hermite(degree)).evaluate({"w": torch.tensor([[0.0, 2.0, 0.0]]).double()}, xs)
    np.testing.assert_allclose(values[0].numpy(), hermite_e.hermeval(t, coefficients), rtol=1e-12, atol=1e-12)


def test_hermite_weights_are_on_the_sphere_or_gaussian() -> None:
    made = torch.Generator().manual_seed(0)
    unit = class_of(hermite(2)).sample(2000, 5, made)["w"]
    gaussian = class_of(hermite(2, "gaussian")).sample(2000, 5, made)["w"]
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(2000))
    assert_mean(unit, [0.0] * 5)
    assert_mean(unit.square(), [1 / 5] * 5)
    assert_mean(gaussian.square().sum(1), 5)


# Chebyshev


def test_chebyshev_is_numpy_s_series_and_a_sum_of_cosines() -> None:
    xs = torch.linspace(-1, 1, 41, dtype=torch.float64).view(1, -1, 1)
    a = torch.randn(1, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = class_of("chebyshev").evaluate({"a": a}, xs)[0].numpy()
    t, coefficients = xs[0, :, 0].numpy(), a[0].numpy()
    np.testing.assert_allclose(values, chebyshev.chebval(t, np.concatenate([np.zeros(3), coefficients])), atol=1e-12)
    cosines = sum(c * np.cos(j * np.arccos(t)) for j, c in zip(range(3, 12), coefficients, strict=True))
    np.testing.assert_allclose(values, cosines, atol=1e-10)


@pytest.mark.parametrize(("lowest", "highest"), [(0, 0), (0, 1), (1, 1), (0, 4), (2, 2)])
def test_chebyshev_of_low_degrees(lowest: int, highest: int) -> None:
    chosen = class_of({"name": "chebyshev", "lowest": lowest, "highest": highest})
    xs = torch.linspace(-1, 1, 9, dtype=torch.float64).view(1, -1, 1)
    a = torch.randn(1, highest - lowest + 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = chebyshev.chebval(xs[0, :, 0].numpy(), np.concatenate([np.zeros(lowest), a[0].numpy()]))
    np.testing.assert_allclose(chosen.evaluate({"a": a}, xs)[0].numpy(), expected, atol=1e-12)
    assert chosen.sample(4, 1, torch.Generator())["a"].shape == (4, highest - lowest + 1)
    nodes, weights = np.polynomial.legendre.leggauss(30)
    square = sum(chebyshev.chebval(nodes, [0] * j + [1]) ** 2 for j in range(lowest, highest + 1))
    assert chosen.trivial_error(1) == pytest.approx(float(square @ weights) / 2, rel=1e-12)


@pytest.mark.parametrize("x", [1.0000001, -1.5, math.inf, math.nan])
def test_chebyshev_refuses_what_is_outside(x: float) -> None:
    task = reference_task("chebyshev")
    prompts = draw(task, 2, 3)
    xs = prompts.xs.clone()
    xs[1, 2] = x
    assert prompts.truth is not None
    with pytest.raises(OutsideDomain, match=r"chebyshev: expected inputs in \[-1, 1\], found x = "):
        task.function_class.evaluate(dict(prompts.truth), xs)
    with pytest.raises(
        UserError, match=r"chebyshev: expected inputs within ±1, found gaussian; set inputs = \[\{ name"
    ):
        task_of("chebyshev", "gaussian", dims=1).check()


def test_chebyshev_s_parameters_out_of_range_are_one_clear_error_each() -> None:
    with pytest.raises(UserError, match="chebyshev: lowest degree 5 exceeds the highest, 4"):
        class_of({"name": "chebyshev", "lowest": 5, "highest": 4})
    with pytest.raises(UserError, match="chebyshev: expected 1 dimension, found 2; set dims = 1"):
        class_of("chebyshev").sample(1, 2, torch.Generator())
    with pytest.raises(ValueError, match="less than or equal to 100"):
        class_of({"name": "chebyshev", "highest": 101})


def test_chebyshev_s_oracle_is_numpy_s_minimum_norm_least_squares_on_the_basis() -> None:
    task = reference_task("chebyshev")
    prompts = draw(task, 6, 9)
    predicted = task.function_class.oracle(prompts).numpy()
    assert (predicted[:, 0] == 0).all()
    for i in range(6):
        basis = chebyshev.chebvander(prompts.xs[i, :, 0].double().numpy(), 11)[:, 3:]
        for k in range(1, 9):
            a = np.linalg.lstsq(basis[:k], prompts.ys[i, :k].double().numpy(), rcond=None)[0]
            # Labels are float32: what they leave open grows with the condition of the rows.
            slack = 1e-5 + 1e-5 * np.linalg.norm(basis[k] @ np.linalg.pinv(basis[:k])) ** 2
            assert abs(predicted[i, k] - basis[k] @ a) < slack


def test_chebyshev_s_oracle_knows_the_function_after_as_many_examples_as_coefficients() -> None:
    task = reference_task("chebyshev")
    errors = errors_of(Oracle(task.function_class), draw(task, 400, 31))
    assert_golden(errors, {0: golden_trivial_error("chebyshev", 1)})
    assert np.median(errors[:, 9]) < 1e-6
    assert errors[:, 30].max() < 1e-3
    assert (errors[:, 3:9].mean(axis=0) > 0.01).all()


# Sine waves


def test_a_sine_wave_by_its_formula() -> None:
    parameters = {"u": torch.tensor([[0.6, -0.8]]), "amplitude": torch.tensor([2.5]), "phase": torch.tensor([0.3])}
    value = class_of("sinusoid").evaluate(parameters, torch.tensor([[[1.0, 2.0]]]))
    assert value.item() == pytest.approx(2.5 * math.sin(0.6 - 1.6 + 0.3), rel=1e-5)


def test_sine_waves_are_drawn_as_published() -> None:
    drawn = class_of("sinusoid").sample(20_000, 3, torch.Generator().manual_seed(0))
    amplitude, phase, u = drawn["amplitude"], drawn["phase"], drawn["u"]
    assert amplitude.min() >= 0.1
    assert amplitude.max() <= 5
    assert_mean(amplitude, 2.55)
    assert_mean((amplitude - 2.55).square(), 4.9**2 / 12)
    assert phase.min() >= 0
    assert phase.max() <= math.pi
    assert_mean(phase, math.pi / 2)
    assert_mean((phase - math.pi / 2).square(), math.pi**2 / 12)
    torch.testing.assert_close(u.norm(dim=1), torch.ones(20_000))
    assert_mean(u, [0.0] * 3)
    assert_mean(u.square(), [1 / 3] * 3)
    assert_mean(class_of("sinusoid").sample(2000, 1, torch.Generator().manual_seed(0))["u"], [0.0])


@pytest.mark.parametrize(("dims", "inputs"), [(1, "gaussian"), (4, "gaussian"), (4, {"name": "uniform"})])
def test_a_sine_wave_has_one_moment_under_all_inputs(dims: int, inputs: str | dict[str, str]) -> None:
    task = task_of("sinusoid", inputs, dims=dims)
    trivial = golden_trivial_error("sinusoid", 1)
    assert task.second_moment() == pytest.approx(trivial.value)
    assert_golden(draw(task, 20_000, 1).targets.square().numpy(), {0: trivial})


def test_reference_inputs_of_a_sine_wave_depend_on_the_dimension() -> None:
    chosen = class_of("sinusoid")
    assert chosen.reference(1) == {"name": "uniform", "half_width": 5.0}
    assert chosen.reference(2) == "gaussian"
    kinds = [chosen.oracle_for(dims, noise) for dims, noise in ((1, 0.0), (1, 0.1), (2, 0.0))]
    assert kinds == ["optimum", None, None]


PHASES = (np.arange(200_000) + 0.5) * math.pi / 200_000
#: Labels that some wave has: from phases of 0 to pi, f(0) is never negative.
POSSIBLE = [
    (x, y)
    for x in (-4.0, -0.7, 0.0, 1.2, math.pi, 4.9)
    for y in (-4.2, -0.9, -0.05, 0.3, 2.0)
    if any((5 * np.sin(u * x + PHASES) / y > 1).any() for u in (1, -1))
]


@pytest.mark.parametrize(("x", "y"), POSSIBLE)
def test_the_sine_wave_oracle_after_one_example_by_quadrature(x: float, y: float) -> None:
    """E[f(q) | f(x) = y] as a ratio of integrals over the phase: A = y / sin(u x + phi), of Jacobian 1 / |sin|."""
    asked = torch.tensor([[[x], [0.8]], [[x], [-3.1]]])
    prompts = draw(reference_task("sinusoid", dims=1), 2, 2)
    prompts = replace(prompts, xs=asked, ys=torch.tensor([[y, 0.0]] * 2))
    predicted = class_of("sinusoid").oracle(prompts)
    for row, q in enumerate((0.8, -3.1)):
        mass = moment = 0.0
        for u in (1.0, -1.0):
            sine = np.sin(u * x + PHASES)
            amplitude = y / sine
            possible = (amplitude >= 0.1) & (amplitude <= 5)
            density = np.where(possible, 1 / np.abs(sine), 0.0)
            mass += density.sum()
            moment += (density * np.where(possible, amplitude * np.sin(u * q + PHASES), 0.0)).sum()
        assert predicted[row, 1] == pytest.approx(moment / mass, abs=2e-3)


def test_the_sine_wave_oracle_of_a_label_that_no_wave_has_is_finite() -> None:
    prompts = draw(reference_task("sinusoid", dims=1), 3, 2)
    prompts = replace(prompts, xs=torch.zeros(3, 2, 1), ys=torch.tensor([[-1.0, 0.0], [0.0, 0.0], [7.0, 0.0]]))
    assert class_of("sinusoid").oracle(prompts).isfinite().all()


def test_the_sine_wave_oracle_before_and_after() -> None:
    """k = 0: the prior mean by quadrature over A and phi; u is a fair coin. From k = 2 on nothing is open."""
    task = reference_task("sinusoid", dims=1)
    prompts = draw(task, 500, 8)
    predicted = task.function_class.oracle(prompts)
    for i in range(3):
        x = float(prompts.xs[i, 0, 0])

        def integrand(phase: float, amplitude: float, x: float = x) -> float:
            return amplitude * (math.sin(x + phase) + math.sin(-x + phase)) / 2

        mean = dblquad(integrand, 0.1, 5, 0, math.pi)[0] / (4.9 * math.pi)
        assert predicted[i, 0] == pytest.approx(mean, abs=1e-6)
    errors = errors_of(Oracle(task.function_class), prompts)
    assert np.median(errors[:, 2:], axis=0).max() < 1e-9
    assert errors[:, 4:].mean() < 1e-3
    assert errors[:, 0].mean() > errors[:, 1].mean() > 0.5


@pytest.mark.parametrize("spec", [hermite(2), "sinusoid"], ids=["hermite", "sinusoid"])
def test_a_draw_of_zero_has_a_direction_too(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 gives it once in some ten million draws, which a long run in one dimension sees."""
    monkeypatch.setattr(draws, "normal", lambda *shape, generator: torch.zeros(*shape))
    parameters = class_of(spec).sample(3, 4, torch.Generator())
    direction = next(value for name, value in parameters.items() if name in ("w", "u"))
    torch.testing.assert_close(direction.norm(dim=1), torch.ones(3))
