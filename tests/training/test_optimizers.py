"""Optimizers and schedules, against torch's own and against hand computations."""

from __future__ import annotations

import math
import threading
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from icl_curriculum.config.tables import OptimizerConfig, ScheduleConfig
from icl_curriculum.core.threads import sharing_threads
from icl_curriculum.models import Transformer, TransformerConfig
from icl_curriculum.models.flops import count
from icl_curriculum.training import optimizers
from icl_curriculum.training.optimizers import POLAR, Muon, Optimizers, orthogonalize, schedule_factor

SHAPES = [(6, 6), (12, 4), (4, 12), (3, 8, 5), (2, 3, 5, 8)]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small_model() -> Transformer:
    config = TransformerConfig(width=8, layers=2, heads=2, initialization="reference")
    return config.build(dims=2, points=4, generator=torch.Generator().manual_seed(0))


def give_gradients(model: nn.Module, seed: int) -> None:
    for value in model.parameters():
        value.grad = drawn(*value.shape, seed=seed)


def steps_of(config: OptimizerConfig, *, steps: int, factor: float = 1.0) -> Transformer:
    model = small_model()
    optimizers = Optimizers(model, config)
    for step in range(steps):
        give_gradients(model, step)
        optimizers.step(factor)
    return model


def assert_equal_models(found: nn.Module, expected: nn.Module, *, among: Any = lambda name: True) -> None:
    names = [name for name, _ in expected.named_parameters() if among(name)]
    assert names
    for name in names:
        torch.testing.assert_close(found.get_parameter(name), expected.get_parameter(name), atol=1e-6, rtol=1e-5)


def of_spectrum(values: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Matrices of that shape with these singular values, of which the squares sum to 1; and their polar factors."""
    u, _, vt = torch.linalg.svd(drawn(*shape).double(), full_matrices=False)
    return ((u * values) @ vt).float(), (u @ vt).float()


@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonalize_keeps_singular_vectors_and_levels_singular_values(shape: tuple[int, ...]) -> None:
    least = min(shape[-2:])
    values = torch.logspace(math.log10(0.003), -0.5, least).double()
    values[-1] = (1 - values[:-1].square().sum()).sqrt()
    matrices, polar = of_spectrum(values, shape)
    levelled = orthogonalize(matrices)
    factor = levelled @ polar.mT if shape[-2] <= shape[-1] else polar.mT @ levelled
    torch.testing.assert_close(factor, factor.mT, atol=2e-3, rtol=0, msg="the vectors of the polar factor U V^T")
    found = torch.linalg.eigvalsh(factor)
    assert (found > 0.80).all()
    assert (found < 1.20).all()


@pytest.mark.parametrize("shape", [(6, 6), (4, 7), (4, 8), (2, 5, 40), (40, 5)])
def test_long_and_square_matrices_are_iterated_alike(shape: tuple[int, ...]) -> None:
    x = drawn(*shape).double()
    x = x / torch.linalg.matrix_norm(x, keepdim=True)
    for a, b, c in POLAR:
        gram = x @ x.mT
        x = a * x + b * gram @ x + c * gram @ gram @ x
    torch.testing.assert_close(orthogonalize(drawn(*shape)), x.float(), atol=2e-4, rtol=1e-3)


def test_each_quintic_is_the_best_after_those_before() -> None:
    """Chebyshev approximation of 1 by odd quintics on what is left, by a linear program."""
    low, high = 0.003, 1.0
    for quintic in POLAR:
        x = np.unique(np.concatenate([np.linspace(low, high, 4000), np.geomspace(low, high, 4000)]))
        powers = np.stack([x, x**3, x**5], axis=1)
        ones = np.ones((len(x), 1))
        best = linprog(
            [0, 0, 0, 1],
            A_ub=np.block([[powers, -ones], [-powers, -ones]]),
            b_ub=np.concatenate([ones, -ones])[:, 0],
            bounds=[(None, None)] * 3 + [(0, None)],
        ).x[3]
        off = np.abs(powers @ np.array(quintic) - 1).max()
        assert off == pytest.approx(best, rel=0.01)
        low, high = 1 - off, 1 + off
    assert off < 0.20


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_orthogonalize_ignores_the_scale(scale: float) -> None:
    torch.testing.assert_close(orthogonalize(scale * drawn(5, 7)), orthogonalize(drawn(5, 7)), atol=2e-2, rtol=0)


def test_orthogonalize_leaves_zero_alone() -> None:
    assert (orthogonalize(torch.zeros(3, 4)) == 0).all()


@pytest.mark.parametrize("shape", [(3, 8, 5), (3, 5, 8), (2, 3, 6, 6)])
def test_a_batch_is_orthogonalized_matrix_by_matrix(shape: tuple[int, ...]) -> None:
    matrices = drawn(*shape)
    one_by_one = torch.stack([orthogonalize(matrix) for matrix in matrices.reshape(-1, *shape[-2:])])
    torch.testing.assert_close(orthogonalize(matrices), one_by_one.reshape(shape), atol=1e-5, rtol=1e-5)


def test_muon_on_a_stack_equals_muon_on_each_matrix() -> None:
    stack = nn.Parameter(drawn(3, 8, 4))
    separate = [nn.Parameter(matrix.clone()) for matrix in stack.detach()]
    both = Muon([stack], lr=0.1, weight_decay=0.01), Muon(separate, lr=0.1, weight_decay=0.01)
    for step in range(3):
        stack.grad = drawn(3, 8, 4, seed=step)
        for matrix, gradient in zip(separate, stack.grad, strict=True):
            matrix.grad = gradient.clone()
        for optimizer in both:
            optimizer.step()
    torch.testing.assert_close(stack.detach(), torch.stack([matrix.detach() for matrix in separate]))


@pytest.mark.parametrize("shape", [(8, 2), (2, 8)])
def test_two_muon_steps_by_hand(shape: tuple[int, int]) -> None:
    rate, momentum, decay = 0.1, 0.9, 0.5
    weight = nn.Parameter(drawn(*shape, seed=5))
    optimizer = Muon([weight], lr=rate, momentum=momentum, weight_decay=decay)
    expected, average = weight.detach().clone(), torch.zeros(shape)
    for step in range(2):
        weight.grad = drawn(*shape, seed=step)
        optimizer.step()
        average = momentum * average + (1 - momentum) * drawn(*shape, seed=step)
        nesterov = momentum * average + (1 - momentum) * drawn(*shape, seed=step)
        scale = 2.0 if shape == (8, 2) else 1.0
        expected = (1 - rate * decay) * expected - rate * scale * orthogonalize(nesterov)
    torch.testing.assert_close(weight.detach(), expected)


@pytest.mark.parametrize("shape", [(8, 4), (4, 8)])
def test_muon_moves_like_torchs(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """With its polynomial (Jordan et al. 2024); torch's iterates in bfloat16, hence the tolerance."""
    jordan = [(3.4445, -4.7750, 2.0315)] * 5
    monkeypatch.setattr(optimizers, "orthogonalize", lambda matrices: orthogonalize(matrices, jordan))
    ours, theirs = nn.Parameter(drawn(*shape)), nn.Parameter(drawn(*shape))
    both = Muon([ours], lr=0.1), torch.optim.Muon([theirs], lr=0.1, weight_decay=0.0)
    for step in range(3):
        ours.grad = theirs.grad = drawn(*shape, seed=step)
        for optimizer in both:
            optimizer.step()
    moved = (theirs - drawn(*shape)).norm()
    assert (ours - theirs).norm() < 0.03 * moved


@pytest.mark.parametrize("threads", [2, 3, 9])
def test_muon_in_threads_moves_to_the_same_bits(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config, moved = OptimizerConfig(name="muon", weight_decay=0.1), []
    expected = steps_of(config, steps=2)
    move = Muon._move

    def noted(self: Muon, numbers: Any) -> None:
        moved.append(threading.get_ident())
        move(self, numbers)

    monkeypatch.setattr(Muon, "_move", noted)
    monkeypatch.setattr(optimizers, "threads_to_share", lambda: threads)
    with sharing_threads():
        assert_equal_models(steps_of(config, steps=2), expected)
    assert len(set(moved)) > 1


def test_muon_gives_each_thread_about_as_much() -> None:
    shapes = [(4, 64, 256), (4, 3, 64, 64), (4, 64, 64), (4, 256, 64)]
    muon = Muon([nn.Parameter(torch.zeros(shape)) for shape in shapes], lr=0.1)
    # 36, 21, 21 and 12 products of the smaller matrices each.
    assert muon._shares(2) == [[1, 2], [0, 3]]
    assert muon._shares(9) == [[1], [0], [3], [2]]
    assert muon._shares(1) == [[1, 0, 3, 2]]


@pytest.mark.parametrize("shape", [(2, 8, 8), (3, 8, 12), (12, 8), (2, 2, 8, 16), (32, 8)])
def test_the_multiplications_of_muon_are_those_it_executes(shape: tuple[int, ...]) -> None:
    matrices = drawn(*shape)
    assert 2 * optimizers._multiplications(matrices.shape) == count(lambda: orthogonalize(matrices))


@pytest.mark.parametrize(("name", "rate"), [("muon", 0.02), ("adamw", 0.003)])
def test_the_decay_of_a_run_is_spread_over_its_steps(name: str, rate: float) -> None:
    """A run of 100 steps that forgets 4 in all decays as one with 4 / (rate x 100) at every step."""
    spread = OptimizerConfig(name=name, run_decay=4.0)  # type: ignore[arg-type]
    alike = OptimizerConfig(name=name, weight_decay=4.0 / (rate * 100))  # type: ignore[arg-type]
    assert spread.decay(rate, 100) == pytest.approx(alike.weight_decay)
    members = [Optimizers(small_model(), config, steps=100).members for config in (spread, alike)]
    of_matrices = -1 if name == "muon" else 0
    assert members[0][of_matrices].weight_decay == pytest.approx(members[1][of_matrices].weight_decay)
    assert members[0][1].weight_decay == 0, "biases, norms and what is read in and out"


def test_adam_forgets_nothing() -> None:
    assert OptimizerConfig(name="adam", run_decay=4.0).decay(0.003, 100) == 0


def test_adam_equals_torchs() -> None:
    config = OptimizerConfig(name="adam", learning_rate=1e-2, betas=(0.8, 0.95), weight_decay=0.3)
    reference = small_model()
    theirs = torch.optim.Adam(reference.parameters(), lr=1e-2, betas=(0.8, 0.95))
    for step in range(4):
        give_gradients(reference, step)
        theirs.step()
    assert_equal_models(steps_of(config, steps=4), reference)


def test_adamw_decays_matrices_and_nothing_else() -> None:
    plain = steps_of(OptimizerConfig(name="adam", learning_rate=0.1), steps=1)
    decayed = steps_of(OptimizerConfig(name="adamw", learning_rate=0.1, weight_decay=0.5), steps=1)
    start = small_model()
    for name, value in decayed.named_parameters():
        shrunk = 0.1 * 0.5 * start.get_parameter(name) if name in start.matrices else 0.0
        torch.testing.assert_close(value.detach(), (plain.get_parameter(name) - shrunk).detach(), atol=1e-6, rtol=1e-5)


def test_muon_takes_the_matrices_and_adam_the_rest() -> None:
    muon = steps_of(OptimizerConfig(name="muon", learning_rate=0.01, muon_learning_rate=0.05, momentum=0.9), steps=2)
    adam = steps_of(OptimizerConfig(name="adam", learning_rate=0.01), steps=2)
    assert_equal_models(muon, adam, among=lambda name: name not in muon.matrices)
    expected = small_model()
    by_hand = Muon([expected.get_parameter(name) for name in expected.matrices], lr=0.05, momentum=0.9)
    for step in range(2):
        give_gradients(expected, step)
        by_hand.step()
    assert_equal_models(muon, expected, among=lambda name: name in muon.matrices)


@pytest.mark.parametrize("name", ["adam", "adamw", "muon"])
def test_the_schedule_scales_every_rate(name: str) -> None:
    half = steps_of(OptimizerConfig(name=name), steps=3, factor=0.5)
    halved = OptimizerConfig(name=name, learning_rate=1.5e-3, muon_learning_rate=0.01)
    assert_equal_models(half, steps_of(halved, steps=3))
    assert_equal_models(steps_of(OptimizerConfig(name=name), steps=3, factor=0.0), small_model())


def test_a_step_clears_the_gradients() -> None:
    model = small_model()
    optimizers = Optimizers(model, OptimizerConfig())
    give_gradients(model, 0)
    optimizers.step(1.0)
    assert all(value.grad is None for value in model.parameters())


def factors(steps: int, **fields: Any) -> list[float]:
    return [schedule_factor(ScheduleConfig(**fields), step, steps) for step in range(steps)]


def test_constant_schedule() -> None:
    assert factors(5, name="constant", warmup=0.0) == [1.0] * 5


def test_linear_schedule_falls_evenly_to_nearly_zero() -> None:
    assert factors(4, name="linear", warmup=0.0, decay=1.0) == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert factors(1000, name="linear")[-1] < 0.01


def test_cosine_schedule_is_half_a_cosine() -> None:
    expected = [(1 + math.cos(math.pi * step / 100)) / 2 for step in range(100)]
    assert factors(100, name="cosine", warmup=0.0, decay=1.0) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_rate_stays_at_its_peak_until_the_last_share_of_steps(name: str) -> None:
    late = factors(20, name=name, warmup=0.0, decay=0.2)
    assert late[:17] == [1.0] * 17
    assert late[16:] == pytest.approx(factors(4, name=name, warmup=0.0, decay=1.0))


@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
def test_warmup_rises_evenly_from_above_zero_to_the_peak(name: str) -> None:
    found = factors(20, name=name, warmup=0.25, decay=0.5)
    assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert found[5] == 1.0
    assert all(later <= earlier for earlier, later in pairwise(found[5:]))
    assert min(found) > 0
    assert (found[-1] < 0.15) == (name != "constant")


@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
def test_warmup_and_decay_may_overlap(name: str) -> None:
    found = factors(10, name=name, warmup=1.0, decay=1.0)
    alone = factors(10, name="constant", warmup=1.0), factors(10, name=name, warmup=0.0, decay=1.0)
    assert found == pytest.approx([min(pair) for pair in zip(*alone, strict=True)])
