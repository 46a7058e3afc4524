"""Function classes: trivial errors, moments, independence within a batch and purity, for every class there is."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Spec, assert_mean, class_of, draw, reference_task, squares_of, task_of

from icl_curriculum.core.registry import FUNCTION_CLASSES
from icl_curriculum.tasks import Task
from icl_curriculum.verify import trivial_errors


def hermite(degree: int, weights: str = "unit", **more: Any) -> dict[str, Any]:
    return {"name": "hermite", "degree": degree, "weights": weights, **more}


#: Trivial errors at d = 20 of classes whose parameters the table of `icl verify` leaves as they are.
OTHER_PARAMETERS: list[tuple[Spec, float]] = [
    ({"name": "sparse_linear", "sparsity": 7}, 7),
    ({"name": "gaussian_mixture", "separation": 0.5}, 19.25),
    ({"name": "low_rank_linear", "rank": 2, "rows": 2}, 20),
    ({"name": "linear_dynamics", "rho": 1.0}, 20),
    ({"name": "parity", "size": 3}, 1),
    ({"name": "decision_tree", "depth": 2}, 1),
    ({"name": "relu_network", "hidden": 4}, 20),
    ({"name": "chebyshev", "lowest": 0, "highest": 1}, 1 + 1 / 3),
]
#: Every class.
SPECS: list[Spec] = [*(golden.spec for golden in trivial_errors.CATALOGUE), *(spec for spec, _ in OTHER_PARAMETERS)]
SPECS = list({class_of(spec).id: spec for spec in SPECS}.values())
IDS = [class_of(spec).id for spec in SPECS]
EVERY_CLASS = pytest.mark.parametrize("spec", SPECS, ids=IDS)
#: Where a class has but one number of dimensions.
DIMS = {"chebyshev": 1}


def task_for(spec: Spec, dims: int = 8) -> Task:
    """Reference inputs, and a dimension that the class allows."""
    return reference_task(spec, dims=DIMS.get(class_of(spec).name, dims))


def test_every_registered_class_is_tested_here() -> None:
    assert {class_of(spec).name for spec in SPECS} == set(FUNCTION_CLASSES.names())


# Moments


@pytest.mark.parametrize(("spec", "expected"), OTHER_PARAMETERS, ids=str)
def test_trivial_error_of_other_parameters(spec: Spec, expected: float) -> None:
    assert task_for(spec, 20).function_class.trivial_error(20) == pytest.approx(expected, rel=1e-5)


# The tails of the Gaussian third degree defeat Monte Carlo; a quadrature checks it.
@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec != hermite(3, "gaussian")], ids=str)
def test_trivial_error_is_the_mean_square_of_the_values(spec: Spec) -> None:
    task = task_for(spec)
    assert_mean(squares_of(draw(task, 20_000, 2).targets)[:, 1], task.trivial_error())


@pytest.mark.parametrize(
    ("spec", "factor"), [("linear", 1), ("quadratic", 1.0909), (hermite(2), 1.0682), (hermite(3), 1.2560)]
)
def test_moment_under_a_half_subspace(spec: Spec, factor: float) -> None:
    """Rank d/2, scaled to E|x|^2 = d. For Hermite: |Pw|^2 ~ Beta(d/4, d/4), so E q^2 = 12/11 and E q^3 = 14/11."""
    chosen = class_of(spec)
    moment = chosen.second_moment(20, squared_norm=20.0, spectrum=(2.0,) * 10 + (0.0,) * 10)
    assert moment is not None
    assert moment / chosen.trivial_error(20) == pytest.approx(factor, abs=5e-5)


@pytest.mark.parametrize(
    ("spec", "parameters", "expected"),
    [
        ("linear", {"w": [[1.0, -2.0]]}, 3 * 1 - 2 * 5),
        ("sparse_linear", {"w": [[0.0, -2.0]], "support": [[0.0, 1.0]]}, -10),
        ("quadratic", {"w": [[1.0, -2.0]]}, (9 - 2 * 25) / math.sqrt(3)),
        ("noisy_linear", {"w": [[1.0, -2.0]]}, -7),
        ("low_rank_linear", {"w": [[1.0, -2.0]]}, -7),
        ("gaussian_mixture", {"w": [[-3.0, 1.0]]}, -4),
        ("linear_classification", {"w": [[1.0, -2.0]]}, -1),
        ("linear_classification", {"w": [[5.0, -3.0]]}, 1),
        # Q turns (3, 5) into (-5, 3).
        (
            {"name": "linear_dynamics", "rho": 0.5},
            {"rotation": [[[0.0, -1.0], [1.0, 0.0]]], "c": [[2.0, 7.0]]},
            0.5 * (-10 + 21),
        ),
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
    task = task_for(spec)
    prompts = draw(task, 6, 9)
    assert prompts.truth is not None
    parameters, xs = dict(prompts.truth), prompts.xs
    copies, xs_copy = {name: value.clone() for name, value in parameters.items()}, xs.clone()
    state = torch.get_rng_state()
    first = task.function_class.evaluate(parameters, xs)
    assert first.equal(task.function_class.evaluate(parameters, xs))
    assert xs.equal(xs_copy)
    assert parameters.keys() == copies.keys()
    assert all(value.equal(copies[name]) for name, value in parameters.items())
    assert torch.get_rng_state().equal(state)


@EVERY_CLASS
def test_a_value_depends_on_its_own_function_and_input_only(spec: Spec) -> None:
    task = task_for(spec)
    prompts = draw(task, 6, 9)
    assert prompts.truth is not None
    own = {name: value[4:5] for name, value in prompts.truth.items()}
    alone = task.function_class.evaluate(own, prompts.xs[4:5, 2:3])
    torch.testing.assert_close(alone, prompts.targets[4:5, 2:3], rtol=1e-4, atol=1e-5)


def functions_in(spec: Spec, dims: int) -> float:
    """How many functions the class has."""
    chosen = class_of(spec)
    return math.comb(dims, getattr(chosen, "size", 0)) if chosen.name == "parity" else math.inf


@EVERY_CLASS
def test_functions_differ_within_a_batch(spec: Spec) -> None:
    """Their parameters are as different as the class allows, and neighbours' values at one input are uncorrelated."""
    task = task_for(spec)
    chosen, dims, n = task.function_class, task.dims, 2000
    parameters = chosen.sample(n, dims, torch.Generator().manual_seed(0))
    assert all(len(value) == n for value in parameters.values())
    rows = torch.cat([value.reshape(n, -1).double() for value in parameters.values()], dim=1)
    if chosen.name == "parity":
        rows = rows.sort(dim=1).values
    # Of 10! / 2! orders of features about one is drawn twice.
    twice = 5 if chosen.name == "table" else 0
    assert 0 <= min(n, functions_in(spec, dims)) - len(torch.unique(rows, dim=0)) <= twice
    xs = task.inputs.sample(1, 4, dims, torch.Generator().manual_seed(1)).expand(n, 4, dims)
    values = chosen.evaluate(parameters, xs)
    values = values if values.ndim == 2 else values[..., 0] - values[..., 1]
    # A shared component, support, subset or rotation makes the squares of neighbours alike, if not the values.
    # Their clipped values have moderate tails.
    squares = values.square().clamp(max=4 * float(values.square().mean()))
    for some in (values.clamp(-2 * float(values.std()), 2 * float(values.std())), squares):
        centred = some - some.mean(0)
        assert_mean(centred[1::2] * centred[::2], [0.0] * 4)


@EVERY_CLASS
def test_unit_outputs_have_unit_second_moment(spec: Spec) -> None:
    raw = task_for(spec)
    unit = replace(raw, function_class=raw.function_class.model_copy(update={"outputs": "unit"}))
    assert unit.trivial_error() == pytest.approx(1)
    assert unit.second_moment() == pytest.approx(1, rel=0.05 if raw.function_class.name == "chebyshev" else 1e-6)
    factor = math.sqrt(raw.trivial_error())
    torch.testing.assert_close(draw(unit, 10, 4).targets * factor, draw(raw, 10, 4).targets)


@EVERY_CLASS
def test_labels_are_noisy_and_targets_are_not(spec: Spec) -> None:
    """Flips with the probability given, or Gaussian noise of the deviation given; beside the same functions."""
    task = task_for(spec)
    signs = task.function_class.sign_valued
    clean = draw(replace(task, label_noise=0.0), 4000, 2)
    noisy = draw(replace(task, label_noise=0.3), 4000, 2)
    assert noisy.targets.equal(clean.targets)
    assert clean.ys.equal(clean.targets)
    if signs:
        assert set(torch.unique(noisy.ys).tolist()) == {-1.0, 1.0}
        assert_mean((noisy.ys != noisy.targets).double(), [0.3, 0.3])
        assert noisy.label_noise == pytest.approx(float(np.sqrt(4 * 0.3 * 0.7)))
    elif task.function_class.class_valued:
        assert_mean((noisy.ys != noisy.targets).any(-1).double(), [0.3, 0.3])
        assert noisy.label_noise == 0.3
    else:
        noise = noisy.ys.double() - noisy.targets.double()
        assert_mean(noise if noise.ndim == 2 else noise.sum(-1), [0.0, 0.0])
        numbers = task.function_class.label_dims
        assert_mean(squares_of(noise), [0.09 * numbers] * 2, rounding=1e-5)
        assert noisy.label_noise == pytest.approx(0.3)


def test_the_noisy_class_is_noisy_by_itself() -> None:
    assert task_of("noisy_linear").raw_noise == 1
    assert task_of({"name": "noisy_linear", "label_noise": 0.2}).raw_noise == 0.2
    prompts = draw(task_of("noisy_linear"), 20_000, 1)
    assert_mean((prompts.ys - prompts.targets).square()[:, 0], 1)
    assert draw(task_of("noisy_linear"), 5, 4).targets.equal(draw(task_of("linear"), 5, 4).targets)
