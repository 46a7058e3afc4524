"""Shifts of labels and functions: noise and flips, scaled outputs, another class."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import (
    Spec,
    assert_mean,
    bank_of,
    baseline_of,
    class_of,
    draw,
    errors_of,
    reference_task,
    rows_of,
    same,
    shift_of,
    shifted,
    squares_of,
    task_of,
    values_of,
)

from icl_curriculum.config.experiment import Experiment
from icl_curriculum.core.registry import FUNCTION_CLASSES
from icl_curriculum.evaluation import content_hash, oracle_entry
from icl_curriculum.runs.banks import evaluation_banks

SIGN_VALUED = [name for name in FUNCTION_CLASSES.names() if class_of(name).sign_valued]
#: Vectors among them.
REAL_VALUED = [name for name in FUNCTION_CLASSES.names() if name not in SIGN_VALUED and not class_of(name).class_valued]

# Label noise


def test_the_sign_valued_classes() -> None:
    assert SIGN_VALUED == ["linear_classification", "parity"]


@pytest.mark.parametrize("name", REAL_VALUED)
def test_label_noise_touches_the_labels_only(name: str) -> None:
    task = reference_task(name, label_noise=0.0)
    plain, noisy = draw(task, 2000, 3), shifted({"name": "label_noise", "level": 0.5}, task, 2000, 3)
    assert same(plain, noisy, "xs", "targets")
    numbers = task.function_class.label_dims
    assert_mean(squares_of(noisy.ys - plain.ys), [0.25 * task.trivial_error()] * 3, rounding=1e-5)
    assert noisy.label_noise == pytest.approx(0.5 * math.sqrt(task.trivial_error() / numbers))
    assert shift_of("label_noise").apply(task).second_moment() == task.second_moment()


def test_label_noise_replaces_the_class_s_own() -> None:
    task = task_of("noisy_linear")
    assert draw(task, 2, 3).label_noise == 1
    assert shifted("label_noise", task, 2, 3).label_noise == pytest.approx(0.5 * math.sqrt(5))


def test_label_noise_with_unit_outputs_is_in_units_of_the_labels() -> None:
    task = task_of({"name": "quadratic", "outputs": "unit"})
    assert shifted({"name": "label_noise", "level": 0.5}, task, 2, 3).label_noise == pytest.approx(0.5)


@pytest.mark.parametrize("name", SIGN_VALUED)
@pytest.mark.parametrize("flips", [0.1, 0.5])
def test_label_noise_flips_signs(name: str, flips: float) -> None:
    task = reference_task(name)
    plain, noisy = draw(task, 4000, 3), shifted({"name": "label_noise", "flips": flips}, task, 4000, 3)
    assert same(plain, noisy, "xs", "targets")
    assert (noisy.ys.abs() == 1).all()
    flipped = (noisy.ys != noisy.targets).double()
    assert_mean(flipped, [flips] * 3)
    assert_mean((flipped[:, 0] - flips) * (flipped[:, 1] - flips), 0)
    assert_mean((flipped - flips) * noisy.targets, [0.0] * 3)
    assert noisy.label_noise == pytest.approx(float(flipped.std() * 2), rel=0.1)
    assert noisy.label_noise == pytest.approx(2 * math.sqrt(flips * (1 - flips)))
    assert shift_of("label_noise").apply(task).second_moment() == 1


@pytest.mark.parametrize("name", SIGN_VALUED)
def test_flips_are_named_in_the_tables(name: str) -> None:
    inputs = reference_task(name).inputs.id
    assert bank_of(name, "label_noise", None).key == (name, inputs, "label_noise/flips=0.1")
    assert (
        bank_of(name, {"name": "label_noise", "level": 2.0, "flips": 0.25}, None).shift_id == "label_noise/flips=0.25"
    )
    assert bank_of(name, {"name": "label_noise", "id": "noisy"}, None).shift_id == "noisy"
    assert bank_of("linear", "label_noise").shift_id == "label_noise/0.5"


def test_levels_that_sign_valued_classes_do_not_tell_apart_make_one_bank() -> None:
    levels = [{"name": "label_noise", "level": level} for level in (0.1, 0.2)]
    experiment = Experiment.model_validate(
        {"function_classes": ["linear", "linear_classification"], "evaluation": {"shifts": levels, "n_prompts": 4}}
    )
    assert [bank.key[::2] for bank in evaluation_banks(experiment)] == [
        ("linear", "none"),
        ("linear_classification", "none"),
        ("linear", "label_noise/0.1"),
        ("linear_classification", "label_noise/flips=0.1"),
        ("linear", "label_noise/0.2"),
    ]


# Scaled outputs


@pytest.mark.parametrize("name", REAL_VALUED)
@pytest.mark.parametrize("factor", [1 / 3, 2.0])
def test_scaled_outputs_are_the_same_functions_times_the_factor(name: str, factor: float) -> None:
    task = reference_task(name, label_noise=0.5)
    shift: Spec = {"name": "scaled_outputs", "factor": factor}
    plain, scaled = draw(task, 8, 6), shifted(shift, task, 8, 6)
    assert same(plain, scaled, "xs")
    torch.testing.assert_close(scaled.targets, plain.targets * factor)
    torch.testing.assert_close(scaled.ys - scaled.targets, plain.ys - plain.targets, rtol=1e-4, atol=1e-4)
    assert (scaled.label_noise, scaled.scale) == (plain.label_noise, plain.scale * factor)
    changed = shift_of(shift).apply(task)
    assert changed.second_moment() == pytest.approx(factor**2 * task.second_moment())
    assert changed.trivial_error() == task.trivial_error()


def test_scaled_outputs_in_the_class_s_unit() -> None:
    """Quadratic in four dimensions has a trivial error of 4: halved, then tripled."""
    task = task_of({"name": "quadratic", "outputs": "unit"}, dims=4, label_noise=0.5)
    scaled = shifted({"name": "scaled_outputs", "factor": 3.0}, task, 8, 3)
    torch.testing.assert_close(scaled.targets, draw(task_of("quadratic", dims=4), 8, 3).targets * 1.5)
    assert (scaled.scale, scaled.label_noise) == (1.5, 0.25)
    assert shift_of({"name": "scaled_outputs", "factor": 3.0}).apply(task).second_moment() == 9


@pytest.mark.parametrize("name", ["linear", "sparse_linear", "gaussian_mixture", "quadratic", "sinusoid", "chebyshev"])
def test_oracles_know_the_factor(name: str) -> None:
    """Without noise their predictions are multiplied by it; in one dimension where that is what they know."""
    task = reference_task(name, dims=1 if name in ("sinusoid", "chebyshev") else 5)
    plain, scaled = draw(task, 20, 7), shifted({"name": "scaled_outputs", "factor": 4.0}, task, 20, 7)
    oracle = task.function_class.oracle
    torch.testing.assert_close(oracle(scaled), 4 * oracle(plain), rtol=1e-4, atol=1e-4)


def test_the_oracle_of_scaled_outputs_weighs_noise_by_the_factor() -> None:
    """Ridge for weights of variance 9 under unit noise: penalty 1/9; golden: its error at k = 0 is 9 d."""
    bank = bank_of("noisy_linear", {"name": "scaled_outputs", "factor": 3.0}, n=2000, points=12)
    prompts = bank.draw()
    (oracle,) = oracle_entry(bank)
    ridge = baseline_of({"name": "ridge", "penalty": 1 / 9})
    torch.testing.assert_close(oracle.learner.predict(prompts), ridge.predict(prompts))
    assert bank.second_moment == 45
    assert_mean(errors_of(oracle.learner, prompts)[:, 0], 45)
    assert values_of(rows_of(baseline_of("zero"), bank), "error_over_reference")[0] == pytest.approx(9, rel=0.2)


# Another class


@pytest.mark.parametrize(
    "spec", ["quadratic", "noisy_linear", {"name": "hermite", "degree": 3}, "linear_classification"]
)
def test_another_class_is_the_bank_of_that_class(spec: Spec) -> None:
    """From whatever class it is asked, and whatever its noise."""
    own = bank_of(spec, n=20)
    for trained in ("linear", {"name": "relu_network", "label_noise": 0.3}):
        other = bank_of(trained, {"name": "other_class", "function_class": spec}, n=20)
        assert other.key == own.key == (class_of(spec).id, "gaussian", "none")
        assert same(other.draw(), own.draw(), "xs", "ys", "targets")
        assert content_hash(other.draw()) == content_hash(own.draw())
        assert (other.second_moment, other.reference_error) == (own.second_moment, own.reference_error)
        assert other.draw().label_noise == own.draw().label_noise
        learner = baseline_of("least_squares")
        assert rows_of(learner, other) == rows_of(learner, own)
        assert [entry.id for entry in oracle_entry(other)] == [entry.id for entry in oracle_entry(own)]


def test_another_class_that_is_trained_too_has_one_bank() -> None:
    experiment = Experiment.model_validate(
        {
            "function_classes": ["linear", "quadratic"],
            "evaluation": {"shifts": ["other_class", {"name": "other_class", "function_class": "decision_tree"}]},
        }
    )
    banks = list(evaluation_banks(experiment))
    assert [bank.key for bank in banks] == [
        ("linear", "gaussian", "none"), ("quadratic", "gaussian", "none"), ("decision_tree", "gaussian", "none"),
    ]  # fmt: skip
    assert [bank.shift is None for bank in banks] == [True, True, False]


def test_another_class_keeps_inputs_and_dimensions() -> None:
    task = task_of("linear", "laplace", dims=3)
    prompts = shifted({"name": "other_class", "function_class": "decision_tree"}, task, 4, 5)
    assert same(prompts, draw(task_of("decision_tree", "laplace", dims=3), 4, 5), "xs", "ys", "targets")
    assert prompts.function_class == "decision_tree"
