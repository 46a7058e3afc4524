"""Function classes: trivial errors, moments, independence within a batch, purity and oracles."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Spec, assert_mean, class_of, draw, errors_of, task_of
from numpy.polynomial import hermite_e
from scipy.special import roots_genlaguerre
from scipy.stats import chisquare

from icl_curriculum.evaluation import Oracle
from icl_curriculum.experiment import Experiment
from icl_curriculum.prompts import Prompts
from icl_curriculum.registry import FUNCTION_CLASSES, UserError


def hermite(degree: int, weights: str = "unit", **more: Any) -> dict[str, Any]:
    return {"name": "hermite", "degree": degree, "weights": weights, **more}


#: Every class, and E f(x)^2 at d = 20 by the catalogue.
TRIVIAL: list[tuple[Spec, float]] = [
    ("linear", 20),
    ("sparse_linear", 3),
    ({"name": "sparse_linear", "sparsity": 7}, 7),
    ("quadratic", 20),
    ("relu_network", 20),
    ({"name": "relu_network", "hidden": 4}, 20),
    *((hermite(degree), 1) for degree in (1, 2, 3, 4)),
    (hermite(1, "gaussian"), 20),
    (hermite(2, "gaussian"), 20 * 16.5125),
    (hermite(3, "gaussian"), 20 * 446.655),
]
SPECS = [spec for spec, _ in TRIVIAL]
EVERY_CLASS = pytest.mark.parametrize("spec", SPECS, ids=[class_of(spec).id for spec in SPECS])


def test_every_registered_class_is_tested_here() -> None:
    assert {class_of(spec).name for spec in SPECS} == set(FUNCTION_CLASSES.names())


# Moments


@pytest.mark.parametrize(("spec", "expected"), TRIVIAL, ids=[class_of(spec).id for spec in SPECS])
def test_trivial_error_is_the_catalogue_s(spec: Spec, expected: float) -> None:
    assert class_of(spec).trivial_error(20) == pytest.approx(expected, rel=1e-6)


# The tails of the Gaussian third degree defeat Monte Carlo; the quadrature below checks it.
@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec != hermite(3, "gaussian")], ids=str)
def test_trivial_error_is_the_mean_square_of_the_values(spec: Spec) -> None:
    task = task_of(spec, dims=8)
    assert_mean(draw(task, 20_000, 1).targets[:, 0].square(), task.trivial_error())


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


@pytest.mark.parametrize(
    ("spec", "inputs", "factor", "rounding"),
    [
        ("linear", "skewed", 1, 1e-6),
        ("sparse_linear", "skewed", 1, 1e-6),
        ("relu_network", "skewed", 1, 1e-6),
        ("quadratic", "skewed", 1.681, 5e-4),
        (hermite(1), "skewed", 1, 1e-6),
        (hermite(2), "skewed", 1.51, 5e-3),
        (hermite(3), "skewed", 3.89, 5e-3),
        ("linear", {"name": "student_t", "df": 4.0}, 2, 1e-6),
        ("sparse_linear", {"name": "student_t", "df": 4.0}, 2, 1e-6),
        ("relu_network", {"name": "student_t", "df": 4.0}, 2, 1e-6),
        (hermite(1), {"name": "student_t", "df": 4.0}, 2, 1e-6),
    ],
)
def test_other_inputs_multiply_the_moment_by_the_catalogue_s_factor(
    spec: Spec, inputs: Spec, factor: float, rounding: float
) -> None:
    task = task_of(spec, inputs, dims=20)
    assert task.second_moment() / task.trivial_error() == pytest.approx(factor, abs=rounding)


@pytest.mark.parametrize(
    ("spec", "factor"), [("linear", 1), ("quadratic", 1.0909), (hermite(2), 1.0682), (hermite(3), 1.2560)]
)
def test_moment_under_a_half_subspace(spec: Spec, factor: float) -> None:
    """Rank d/2, scaled to E|x|^2 = d. For Hermite: |Pw|^2 ~ Beta(d/4, d/4), so E q^2 = 12/11 and E q^3 = 14/11."""
    chosen = class_of(spec)
    moment = chosen.second_moment(20, squared_norm=20.0, spectrum=(2.0,) * 10 + (0.0,) * 10)
    assert moment is not None
    assert moment / chosen.trivial_error(20) == pytest.approx(factor, abs=5e-5)


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


@pytest.mark.parametrize(
    ("spec", "parameters", "expected"),
    [
        ("linear", {"w": [[1.0, -2.0]]}, 3 * 1 - 2 * 5),
        ("sparse_linear", {"w": [[0.0, -2.0]], "support": [[0.0, 1.0]]}, -10),
        ("quadratic", {"w": [[1.0, -2.0]]}, (9 - 2 * 25) / math.sqrt(3)),
        # W1 x = (3, -5, 8), of which the second is cut off; sqrt(2 / 3) for three hidden units.
        (
            {"name": "relu_network", "hidden": 3},
            {"w1": [[[1.0, 0.0, 1.0], [0.0, -1.0, 1.0]]], "w2": [[2.0, 7.0, -1.0]]},
            math.sqrt(2 / 3) * (6 - 8),
        ),
    ],
)
def test_values_worked_out_by_hand(spec: Spec, parameters: dict[str, Any], expected: float) -> None:
    tensors = {name: torch.tensor(value) for name, value in parameters.items()}
    value = class_of(spec).evaluate(tensors, torch.tensor([[[3.0, 5.0]]]))
    assert value.item() == pytest.approx(expected, rel=1e-6)


# What every class must do


@EVERY_CLASS
def test_evaluate_is_pure(spec: Spec) -> None:
    chosen = class_of(spec)
    made = torch.Generator().manual_seed(0)
    parameters, xs = chosen.sample(6, 8, made), torch.randn(6, 9, 8, generator=made)
    copies, xs_copy = {name: value.clone() for name, value in parameters.items()}, xs.clone()
    state = torch.get_rng_state()
    first = chosen.evaluate(parameters, xs)
    assert first.equal(chosen.evaluate(parameters, xs))
    assert xs.equal(xs_copy)
    assert all(value.equal(copies[name]) for name, value in parameters.items())
    assert torch.get_rng_state().equal(state)


@EVERY_CLASS
def test_a_value_depends_on_its_own_function_and_input_only(spec: Spec) -> None:
    chosen = class_of(spec)
    made = torch.Generator().manual_seed(0)
    parameters, xs = chosen.sample(6, 8, made), torch.randn(6, 9, 8, generator=made)
    together = chosen.evaluate(parameters, xs)
    alone = chosen.evaluate({name: value[4:5] for name, value in parameters.items()}, xs[4:5, 2:3])
    torch.testing.assert_close(alone, together[4:5, 2:3], rtol=1e-4, atol=1e-5)


@EVERY_CLASS
def test_functions_differ_within_a_batch(spec: Spec) -> None:
    """No two have equal parameters, neighbours are uncorrelated, and their values at the same input differ."""
    chosen = class_of(spec)
    parameters = chosen.sample(500, 8, torch.Generator().manual_seed(0))
    assert all(len(value) == 500 for value in parameters.values())
    w = parameters["w1" if "w1" in parameters else "w"].flatten(1)
    assert len(torch.unique(w, dim=0)) == 500
    assert_mean((w[1:] * w[:-1]).sum(1), 0)
    xs = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(1)).expand(500, 3, 8)
    # A few narrow networks are dead at a given input, and a few sparse functions share a value in float32.
    assert len(torch.unique(chosen.evaluate(parameters, xs)[:, 0])) > 450


@EVERY_CLASS
def test_unit_outputs_have_unit_second_moment(spec: Spec) -> None:
    raw = task_of(spec, dims=8)
    unit = replace(raw, function_class=raw.function_class.model_copy(update={"outputs": "unit"}))
    assert unit.trivial_error() == pytest.approx(1)
    assert unit.second_moment() == pytest.approx(1)
    factor = math.sqrt(raw.trivial_error())
    torch.testing.assert_close(draw(unit, 10, 4).targets * factor, draw(raw, 10, 4).targets)


# The sparse class


def supports(n: int, dims: int, sparsity: int) -> np.ndarray:
    chosen = class_of({"name": "sparse_linear", "sparsity": sparsity})
    parameters = chosen.sample(n, dims, torch.Generator().manual_seed(0))
    support = parameters["support"]
    assert (parameters["w"] != 0).equal(support == 1)
    return support.numpy()


@pytest.mark.parametrize("sparsity", [1, 3, 6])
def test_sparse_functions_have_as_many_coordinates_as_asked(sparsity: int) -> None:
    assert (supports(200, 6, sparsity).sum(axis=1) == sparsity).all()


def test_sparse_support_is_uniform_and_fresh_for_every_function() -> None:
    drawn = supports(6000, 6, 3)
    codes, counts = np.unique(drawn @ 2 ** np.arange(6), return_counts=True)
    assert len(codes) == math.comb(6, 3)
    # 6e-7 is the probability of five standard deviations.
    assert chisquare(counts).pvalue > 6e-7
    # Neighbours in the batch share their support as often as independent ones do.
    assert_mean((drawn[1:] == drawn[:-1]).all(axis=1), 1 / math.comb(6, 3))


def test_sparse_weights_are_standard_normal_on_the_support() -> None:
    parameters = class_of("sparse_linear").sample(3000, 6, torch.Generator().manual_seed(0))
    on_support = parameters["w"][parameters["support"] == 1]
    assert_mean(on_support, 0)
    assert_mean(on_support.square(), 1)


def test_a_sparsity_beyond_the_dimensions_is_a_clear_error() -> None:
    chosen = class_of({"name": "sparse_linear", "sparsity": 6})
    with pytest.raises(UserError, match="sparsity 6 exceeds the number of dimensions 5"):
        chosen.sample(3, 5, torch.Generator())
    with pytest.raises(UserError, match="sparsity 6 exceeds the number of dimensions 5"):
        Experiment(function_classes=({"name": "sparse_linear", "sparsity": 6},), dims=5).check()


# Oracles, at d = 20 with errors over E f(x)^2


def oracle_errors(spec: Spec, points: int, n: int = 1280, label_noise: float | None = None) -> np.ndarray:
    """Squared errors of the class's oracle over the trivial error: (n, points)."""
    task = task_of(spec, dims=20, label_noise=label_noise)
    return errors_of(Oracle(task.function_class), draw(task, n, points)) / task.trivial_error()


def test_linear_oracle_leaves_one_dimension_less_with_every_example() -> None:
    errors = oracle_errors("linear", 24)
    assert_mean(errors[:, :20], [1 - k / 20 for k in range(20)])
    assert errors[:, 20:].max() < 1e-4  # labels are float32, and the worst of 1280 square systems is near singular
    assert np.median(errors[:, 20:]) < 1e-10


def test_sparse_oracle_knows_the_support() -> None:
    errors = oracle_errors("sparse_linear", 6)
    assert_mean(errors[:, :3], [1, 2 / 3, 1 / 3])
    assert np.median(errors[:, 3:]) < 1e-10
    assert errors[:, 3:].mean() < 1e-4


def test_quadratic_oracle_is_the_catalogue_s() -> None:
    errors = oracle_errors("quadratic", 21, n=2560)
    assert_mean(errors[:, [0, 1, 5, 10, 15]], [1, 0.843, 0.570, 0.369, 0.176], rounding=1e-3)
    assert np.median(errors[:, 20]) < 1e-8


@pytest.mark.parametrize("spec", ["linear", {"name": "linear", "outputs": "unit"}, hermite(1, "gaussian")])
def test_oracle_under_noise_is_the_catalogue_s(spec: Spec) -> None:
    errors = oracle_errors(spec, 41, label_noise=1.0, n=640)
    assert_mean(errors[:, [0, 10, 20, 40]], [1, 0.545, 0.209, 0.0475], rounding=1e-3)


@pytest.mark.parametrize("spec", ["sparse_linear", "quadratic", hermite(1, "gaussian")])
def test_unit_outputs_scale_the_oracle_under_noise(spec: Spec) -> None:
    raw = task_of(spec, label_noise=0.7)
    unit = replace(raw, function_class=raw.function_class.model_copy(update={"outputs": "unit"}))
    expected = raw.function_class.oracle(draw(raw, 4, 9)) / math.sqrt(raw.trivial_error())
    torch.testing.assert_close(unit.function_class.oracle(draw(unit, 4, 9)), expected, rtol=1e-4, atol=1e-5)


def test_posterior_mean_beats_other_penalties_under_noise() -> None:
    """Averaged over the same prompts, a quarter of the noise variance or four times as much does worse."""
    task = task_of("quadratic", dims=6, label_noise=2.0)
    prompts = draw(task, 3000, 9)
    best = errors_of(Oracle(task.function_class), prompts)[:, 8]
    for factor in (0.5, 2.0):
        other = errors_of(Oracle(task.function_class), replace(prompts, label_noise=2.0 * factor))
        excess = other[:, 8] - best
        assert excess.mean() > 2 * excess.std() / math.sqrt(len(excess))


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("linear", "optimum"),
        ("quadratic", "optimum"),
        ("sparse_linear", "lower bound"),
        (hermite(1, "gaussian"), "optimum"),
        (hermite(1), None),
        (hermite(2, "gaussian"), None),
        ("relu_network", None),
    ],
)
def test_what_the_oracles_are(spec: Spec, kind: str | None) -> None:
    assert class_of(spec).oracle_kind == kind


def test_a_class_without_oracle_says_so() -> None:
    with pytest.raises(NotImplementedError, match="relu_network has no oracle"):
        class_of("relu_network").oracle(draw(task_of("relu_network"), 2, 3))


def test_the_sparse_oracle_needs_the_truth_and_the_others_do_not() -> None:
    def hidden(spec: Spec) -> Prompts:
        return draw(task_of(spec), 3, 4).without_truth()

    with pytest.raises(ValueError, match=r"reads the support from prompts\.truth"):
        class_of("sparse_linear").oracle(hidden("sparse_linear"))
    for spec in ("linear", "quadratic"):
        class_of(spec).oracle(hidden(spec))
