"""Tasks: labels, noise, second moments and truncated inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from helpers import (
    STUDENT_T_10,
    Spec,
    assert_mean,
    class_of,
    draw,
    inputs_of,
    reference_task,
    same,
    squares_of,
    task_of,
)
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.registry import FUNCTION_CLASSES
from icl_curriculum.core.streams import Streams
from icl_curriculum.function_classes import (
    FunctionClass,
    Linear,
    Parameters,
    Quadratic,
    estimates,
    register_function_class,
)
from icl_curriculum.function_classes.base import InputSampler
from icl_curriculum.tasks import Task

EVERY_CLASS = pytest.mark.parametrize("name", FUNCTION_CLASSES.names())
#: Those whose noise is added to numbers; of signs and classes other tests tell.
REAL_VALUED = pytest.mark.parametrize(
    "name",
    [name for name in FUNCTION_CLASSES.names() if not class_of(name).sign_valued and not class_of(name).class_valued],
)
#: Parameters that say where something is, not how much, or how much in another way than by a number of mean zero.
PLACES = ("support", "coordinates", "subset", "phase", "amplitude")


@pytest.mark.parametrize("name", [name for name in FUNCTION_CLASSES.names() if not class_of(name).drawn_labels])
def test_without_noise_the_labels_are_the_values(name: str) -> None:
    task = reference_task(name, label_noise=0.0)
    prompts = draw(task, 4, 6)
    assert prompts.ys.equal(prompts.targets)
    assert prompts.truth is not None
    assert task.function_class.evaluate(dict(prompts.truth), prompts.xs).equal(prompts.targets)
    assert (prompts.function_class, prompts.label_noise) == (task.function_class.id, 0)
    assert prompts.queries is None


@REAL_VALUED
def test_noise_comes_from_a_stream_of_its_own(name: str) -> None:
    """Switching it on leaves inputs, functions and targets as they were, bit by bit."""
    clean, noisy = (draw(reference_task(name, label_noise=noise), 4, 6) for noise in (0.0, 0.5))
    assert same(clean, noisy, "xs", "targets")
    assert clean.truth is not None
    assert noisy.truth is not None
    assert all(value.equal(noisy.truth[key]) for key, value in clean.truth.items())
    assert not (noisy.ys == clean.ys).any()


@pytest.mark.parametrize("name", ["linear_classification", "parity"])
def test_flips_come_from_a_stream_of_their_own(name: str) -> None:
    clean, noisy = (draw(reference_task(name, label_noise=noise), 50, 6) for noise in (0.0, 0.3))
    assert same(clean, noisy, "xs", "targets")
    assert 0.1 < float((noisy.ys != clean.ys).float().mean()) < 0.5


@EVERY_CLASS
def test_noise_repeats_no_draws_of_inputs_or_functions(name: str) -> None:
    """Streams that began alike would show as correlation of their first draws."""
    prompts = draw(reference_task(name, label_noise=0.5), 1000, 3)
    noise = (prompts.ys - prompts.targets).flatten()
    assert prompts.truth is not None
    for drawn in (prompts.xs, *(value for key, value in prompts.truth.items() if key not in PLACES)):
        other = drawn.flatten()[: len(noise)]
        assert_mean(noise[: len(other)] * other, 0)


@REAL_VALUED
@pytest.mark.parametrize("outputs", ["raw", "unit"])
def test_noise_has_the_stated_standard_deviation(name: str, outputs: str) -> None:
    task = reference_task({"name": name, "outputs": outputs}, label_noise=0.5)
    prompts = draw(task, 3000, 2)
    noise = (prompts.ys - prompts.targets).double()
    expected = 0.5 if outputs == "raw" else 0.5 / math.sqrt(class_of(name).trivial_error(task.dims))
    assert prompts.label_noise == pytest.approx(expected)
    for own, targets in (
        ((noise, prompts.targets),)
        if noise.ndim == 2
        else zip(noise.unbind(-1), prompts.targets.unbind(-1), strict=True)
    ):
        assert_mean(own, [0, 0])
        assert_mean(own.square(), [expected**2] * 2)
        assert_mean(own[:, 0] * own[:, 1], 0)
        assert_mean(own * targets, [0, 0])


def test_noise_is_not_rescaled_by_the_batch() -> None:
    """The mean square over a small batch varies as chi-squared does: relative variance 2 / n."""
    task = task_of("linear", label_noise=0.5)
    squares = []
    for index in range(200):
        prompts = task.draw(4, 8, Streams(0, "test", index))
        squares.append(float((prompts.ys - prompts.targets).square().mean()) / 0.25)
    assert_mean((torch.tensor(squares) - 1).square(), 2 / 32)


def test_the_task_s_noise_overrides_the_class_s() -> None:
    noisy_class: Spec = {"name": "linear", "label_noise": 0.5}
    assert task_of(noisy_class).raw_noise == 0.5
    assert task_of(noisy_class, label_noise=2.0).raw_noise == 2
    assert task_of(noisy_class, label_noise=0.0).raw_noise == 0
    assert not draw(task_of(noisy_class), 2, 3).ys.equal(draw(task_of(noisy_class), 2, 3).targets)
    clean = draw(task_of(noisy_class, label_noise=0.0), 2, 3)
    assert clean.ys.equal(clean.targets)


@EVERY_CLASS
def test_functions_and_inputs_share_no_draws(name: str) -> None:
    """Where they did, w could be read off x1, and the mean squared first target came out at twice its true value."""
    task = reference_task(name)
    prompts = draw(task, 5000, 2)
    assert_mean(squares_of(prompts.targets), [task.trivial_error()] * 2, rounding=1e-6)
    few = draw(task, 4, 2)
    assert few.truth is not None
    for parameter, value in few.truth.items():
        if parameter not in ("support", "coordinates", "subset"):
            assert not set(value[value != 0].tolist()) & set(few.xs.flatten().tolist())
    if name == "linear":
        assert prompts.truth is not None
        assert_mean(prompts.truth["w"] * prompts.xs[:, 0], [0.0] * 5)


# Second moments


#: The standard Gaussian by another name, since under reference inputs the trivial error is known.
STANDARD: Spec = {"name": "scaled", "factor": 1.0}


def without_closed_form(base: type[FunctionClass]) -> type[FunctionClass]:
    class WithoutClosedForm(base):  # type: ignore[misc, valid-type]
        """A class whose author gave no closed form."""

        def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
            return None

    register_function_class("without_closed_form")(WithoutClosedForm)
    return WithoutClosedForm


@pytest.mark.usefixtures("fresh_registries")
@pytest.mark.parametrize("outputs", ["raw", "unit"])
@pytest.mark.parametrize(
    ("base", "inputs", "relative_error"),
    [
        # Standard deviation of f^2 over its mean, at most: sqrt(E f^4) / E f^2.
        (Linear, STANDARD, math.sqrt(3 * 5 / 3)),
        (Linear, "skewed", 6),
        (Quadratic, STANDARD, 10),
        (Quadratic, "skewed", 20),
    ],
)
def test_monte_carlo_agrees_with_the_closed_form(
    monkeypatch: pytest.MonkeyPatch, base: type[FunctionClass], inputs: Spec, relative_error: float, outputs: str
) -> None:
    monkeypatch.setattr(estimates, "DRAWN", 1 << 16)
    closed = Task(base.model_validate({"outputs": outputs}), inputs_of(inputs), 3).second_moment()
    drawn = Task(
        without_closed_form(base).model_validate({"outputs": outputs}), inputs_of(inputs), 3, label_noise=1.0
    ).second_moment()
    assert drawn == pytest.approx(closed, rel=5 * relative_error / math.sqrt(1 << 16))
    assert drawn != closed


@pytest.mark.usefixtures("fresh_registries")
@pytest.mark.parametrize("inputs", ["gaussian", {"name": "gaussian", "id": "mine"}], ids=str)
def test_under_reference_inputs_the_second_moment_is_the_trivial_error(inputs: Spec) -> None:
    made = without_closed_form(Quadratic)
    assert Task(made(), inputs_of(inputs), 3).second_moment() == 3
    unit = made.model_validate({"outputs": "unit"})
    assert Task(unit, inputs_of(inputs), 3, factor=2.0).second_moment() == pytest.approx(4)
    assert Task(made(), inputs_of("laplace"), 3).second_moment() == pytest.approx(24, rel=0.1)


def test_monte_carlo_where_there_is_no_closed_form() -> None:
    """Quadratic under Student's t: sum_j E x_j^4 / 3 with E x^4 = 3 df^2 / ((df - 2)(df - 4))."""
    task = task_of("quadratic", STUDENT_T_10, dims=3)
    assert task.second_moment() == pytest.approx(3 * 100 / (8 * 6), rel=0.03)
    assert task.second_moment() == task.second_moment()


@pytest.mark.parametrize(
    ("spec", "inputs", "moment_exists", "variance_exists"),
    [
        ("linear", "gaussian", True, True),
        ("linear", "student_t", True, False),
        ("linear", STUDENT_T_10, True, True),
        ("relu_network", "student_t", True, False),
        ("quadratic", "skewed", True, True),
        ("quadratic", "student_t", False, False),
        ("quadratic", {"name": "student_t", "df": 8.0}, True, False),
        ("quadratic", STUDENT_T_10, True, True),
        ({"name": "hermite", "degree": 1}, "student_t", True, False),
        ("linear", "cauchy", False, False),
        ("linear", {"name": "student_t", "df": 2.0}, False, False),
        ("linear", {"name": "scaled", "of": "student_t"}, True, False),
        ("quadratic", {"name": "scaled", "of": "student_t"}, False, False),
        ("decision_tree", "cauchy", True, True),
        ("sinusoid", "cauchy", True, True),
        ("linear_classification", "cauchy", True, True),
        ("quadratic", "laplace", True, True),
        ({"name": "hermite", "degree": 2}, "student_t", False, False),
        ({"name": "hermite", "degree": 3}, STUDENT_T_10, True, False),
        ({"name": "hermite", "degree": 3}, {"name": "student_t", "df": 6.0}, False, False),
    ],
)
def test_which_moments_exist(spec: Spec, inputs: Spec, moment_exists: bool, variance_exists: bool) -> None:
    task = task_of(spec, inputs)
    assert task.has_second_moment() == moment_exists
    assert task.has_error_variance() == variance_exists
    if not moment_exists:
        assert task.second_moment() == math.inf


# Truncated inputs


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in FUNCTION_CLASSES.names()
        if name not in ("chebyshev", "parity") and not class_of(name).owns_inputs
    ],
)
def test_inactive_dimensions_are_zero_and_nothing_else_changes(name: str) -> None:
    task = task_of(name, label_noise=0.0)
    whole, cut = draw(task, 4, 6), task.draw(4, 6, Streams(0, "test"), active_dims=2)
    assert (cut.xs[:, :, 2:] == 0).all()
    assert cut.xs[:, :, :2].equal(whole.xs[:, :, :2])
    assert cut.truth is not None
    assert whole.truth is not None
    assert all(value.equal(whole.truth[key]) for key, value in cut.truth.items())
    assert task.function_class.evaluate(dict(cut.truth), cut.xs).equal(cut.targets)
    assert same(whole, task.draw(4, 6, Streams(0, "test"), active_dims=5), "xs", "ys")


# A class that makes its own inputs


class Walk(FunctionClass):
    """f(x) = x_1 along a path that the class draws itself."""

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        return {"step": torch.randn(n, 1, dims, generator=generator)}

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points"]:
        return xs[:, :, 0]

    def trivial_error(self, dims: int) -> float:
        return 1.0

    def draw(
        self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams
    ) -> tuple[Float[Tensor, "n points dims"], Float[Tensor, "n points"], Parameters]:
        parameters = self.sample(n, dims, streams.generator("functions"))
        xs = parameters["step"] * torch.arange(points).view(1, -1, 1)
        return xs, self.evaluate(parameters, xs), parameters


def test_a_class_may_own_its_inputs() -> None:
    prompts = draw(Task(Walk(), inputs_of("gaussian"), 3, label_noise=0.1), 2, 4)
    assert (prompts.xs[:, 0] == 0).all()
    torch.testing.assert_close(prompts.xs[:, 3], 3 * prompts.xs[:, 1])
    assert prompts.targets.equal(prompts.xs[:, :, 0])
    assert not prompts.ys.equal(prompts.targets)
