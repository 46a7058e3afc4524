"""The hand-written pass against autograd and against Hugging Face's GPT-2 in training."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from numba.extending import get_cython_function_address
from torch import Tensor

from icl_curriculum.core.threads import threads_to_share
from icl_curriculum.models import Instruction, Model, Transformer, TransformerConfig
from icl_curriculum.models.cpu_step import products, strategy, training_pass
from icl_curriculum.models.flops import count

DIMS, POINTS, BATCH = 3, 7, 10


def model_of(told: Instruction | None = None, **fields: Any) -> Transformer:
    """A model none of whose weights has a special value."""
    config = TransformerConfig(**{"width": 24, "layers": 2, "heads": 3, **fields})
    generator = torch.Generator().manual_seed(0)
    model = config.build(dims=DIMS, points=POINTS, generator=generator, instruction=told)
    made = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            centre = 1.0 if name.endswith(("_norm", "_gain")) else 0.0
            value.copy_(centre + 0.3 * torch.randn(value.shape, generator=made))
    return model


def batch(points: int = POINTS, size: int = BATCH) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    made = torch.Generator().manual_seed(2)
    xs = torch.randn(size, points, DIMS, generator=made)
    ys, targets = (torch.randn(size, points, generator=made) for _ in range(2))
    return xs, ys, targets, torch.rand(size, generator=made)


def gradients(model: Transformer, backward: Any, prompts: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
    for value in model.parameters():
        value.grad = None
    errors = backward(model, *prompts)
    return errors, {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def assert_same(model: Transformer, prompts: tuple[Tensor, ...]) -> None:
    expected_errors, expected = gradients(model, Model.backward_by_autograd, prompts)
    errors, found = gradients(model, Transformer.backward, prompts)
    torch.testing.assert_close(errors, expected_errors, atol=1e-5, rtol=1e-5)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6 + 2e-5 * float(value.abs().max()), rtol=1e-4, msg=name)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few prompts at a time."""
    monkeypatch.setattr(training_pass, "CHUNK_FLOATS", 3 * (2 * POINTS - 1) * 96)


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    assert torch.get_num_threads() == request.param, "the pass leaves the number of threads as it was"
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("tokens", "activation", "normalized", "positions"),
    list(product(("alternate", "joint"), ("gelu", "relu_squared"), (False, True), ("token", "pair", "none"))),
)
def test_equals_autograd(tokens: str, activation: str, normalized: bool, positions: str, small_chunks: None) -> None:
    fields = {"tokens": tokens, "activation": activation, "positions": positions}
    assert_same(model_of(**fields, normalize_queries_and_keys=normalized), batch())


@pytest.mark.parametrize("tokens", ["alternate", "joint"])
def test_equals_autograd_with_threads(tokens: str, threads: int, small_chunks: None) -> None:
    assert_same(model_of(tokens=tokens), batch())


@pytest.mark.parametrize("tokens", ["alternate", "joint"])
@pytest.mark.parametrize(("points", "size", "layers"), [(1, 2, 2), (4, 1, 1), (POINTS, 3, 3)])
def test_prompts_of_every_size(tokens: str, points: int, size: int, layers: int) -> None:
    assert_same(model_of(tokens=tokens, layers=layers), batch(points, size))


ROWS = torch.tensor([0, 1, 2, -1, 2, 2, 0, -1, 1, 0])


def told(kind: Any, tokens: int) -> Instruction:
    return Instruction(kind, tokens, "function_class", ("linear", "quadratic", "cubic"))


@pytest.mark.parametrize(
    ("kind", "before", "tokens", "positions"),
    list(product(("one_hot", "preset", "learned"), (1, 2), ("alternate", "joint"), ("token", "pair", "none"))),
)
def test_equals_autograd_with_instructions(
    kind: str, before: int, tokens: str, positions: str, small_chunks: None
) -> None:
    model = model_of(told(kind, before), tokens=tokens, positions=positions, normalize_queries_and_keys=True)
    assert_same(model, (*batch(), ROWS))
    for value in model.parameters():
        assert value.grad is not None
        assert value.grad.abs().max() > 0


@pytest.mark.parametrize("tokens", ["alternate", "joint"])
@pytest.mark.parametrize(("points", "size", "layers"), [(1, 2, 1), (4, 1, 2), (2 * POINTS - 1, 3, 1)])
def test_prompts_of_every_size_with_instructions(tokens: str, points: int, size: int, layers: int) -> None:
    model = model_of(told("learned", 2), tokens=tokens, layers=layers)
    assert_same(model, (*batch(points, size), ROWS[1 : size + 1]))


def test_with_threads_and_instructions(threads: int, small_chunks: None) -> None:
    assert_same(model_of(told("preset", 2), tokens="alternate"), (*batch(), ROWS))


@pytest.mark.parametrize("kind", ["one_hot", "preset", "learned"])
def test_a_frozen_read_in_gets_no_gradient_beside_an_instructions_vectors(kind: str) -> None:
    model = model_of(told(kind, 1))
    model.read_in.requires_grad_(False)
    assert_same(model, (*batch(), ROWS))
    assert model.read_in.grad is None
    model.prepare()
    assert model.read_in.grad is None


def test_without_instructions_a_model_that_reads_them_is_not_trained() -> None:
    with pytest.raises(ValueError, match="the model reads instructions, and got none"):
        model_of(told("learned", 1)).backward(*batch())


@pytest.mark.parametrize("tokens", ["alternate", "joint"])
def test_large_scores_neither_overflow_nor_vanish(tokens: str) -> None:
    """Scores of several hundred, whose powers float32 does not hold."""
    model = model_of(tokens=tokens, normalize_queries_and_keys=False)
    with torch.no_grad():
        model.qkv *= 12
    xs, ys, targets, weights = batch()
    errors, found = gradients(model, Transformer.backward, (xs, ys, targets, weights))
    expected, by_autograd = gradients(model, Model.backward_by_autograd, (xs, ys, targets, weights))
    torch.testing.assert_close(errors, expected, atol=1e-3, rtol=1e-3)
    for name, value in by_autograd.items():
        torch.testing.assert_close(found[name], value, atol=1e-2 * float(value.abs().max()), rtol=1e-2, msg=name)


def test_gradients_add_up() -> None:
    model, some, others = model_of(), batch(), batch(size=BATCH - 3)
    by_each = []
    for prompts in (some, others):
        _, found = gradients(model, Transformer.backward, prompts)
        by_each.append({name: value.clone() for name, value in found.items()})
    gradients(model, Transformer.backward, some)
    model.backward(*others)
    for name in by_each[0]:
        torch.testing.assert_close(model.get_parameter(name).grad, by_each[0][name] + by_each[1][name], msg=name)


def test_gradients_are_not_overwritten_by_another_models() -> None:
    _, found = gradients(model_of(), Transformer.backward, batch())
    kept = {name: value.clone() for name, value in found.items()}
    other = model_of()
    with torch.no_grad():
        other.qkv *= 2
    gradients(other, Transformer.backward, batch(points=4))
    assert all(torch.equal(found[name], kept[name]) for name in kept)


def test_preparing_compiles_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    by_hand = training_pass.loss_gradients

    def noted(*arguments: Any) -> Any:
        asked.append(arguments)
        return by_hand(*arguments)

    monkeypatch.setattr(training_pass, "loss_gradients", noted)
    model = model_of()
    _, found = gradients(model, Transformer.backward, batch())
    kept = {name: value.clone() for name, value in model.named_parameters()}
    model.prepare()
    assert len(asked) == 2
    assert all(torch.equal(value, kept[name]) for name, value in model.named_parameters())
    assert all(model.get_parameter(name).grad is value for name, value in found.items())
    model_of(attention="plain").prepare()
    assert len(asked) == 2


def test_frozen_parameters_get_no_gradient() -> None:
    model = model_of()
    model.qkv.requires_grad_(False)
    model.position.requires_grad_(False)
    assert_same(model, batch())
    assert model.qkv.grad is None
    assert model.position.grad is None


def test_equal_calls_give_equal_bits(threads: int, small_chunks: None) -> None:
    model, prompts = model_of(), batch()
    _, first = gradients(model, Transformer.backward, prompts)
    first = {name: value.clone() for name, value in first.items()}
    _, second = gradients(model, Transformer.backward, prompts)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_every_thread_takes_part(threads: int, small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    run = training_pass._Pass.run
    all_there = threading.Barrier(threads)

    def noted(self: Any, *arguments: Any) -> None:
        if threading.get_ident() not in seen:
            all_there.wait(timeout=60)
        seen.append(threading.get_ident())
        # What a thread does itself takes no further ones.
        assert threads == 1 or torch.get_num_threads() == 1
        run(self, *arguments)

    monkeypatch.setattr(training_pass._Pass, "run", noted)
    model_of().backward(*batch())
    assert len(set(seen)) == threads
    assert len(seen) % threads == 0, "each takes as many"


@pytest.fixture
def never_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_pass, "loss_gradients", lambda *_: pytest.fail("by hand"))


def test_plain_attention_goes_by_autograd(never_by_hand: None) -> None:
    """So that gradients have gradients."""
    assert model_of(attention="plain").backward(*batch()).shape == (BATCH,)


@pytest.mark.parametrize("method", ["forward", "_attend", "_activate"])
def test_a_model_that_computes_something_else_goes_by_autograd(method: str, never_by_hand: None) -> None:
    inherited = getattr(Transformer, method)
    changed = type("Changed", (Transformer,), {method: lambda self, *arguments: 2 * inherited(self, *arguments)})
    model = model_of()
    model.__class__ = changed
    assert model.backward(*batch()).shape == (BATCH,)


def test_hooks_are_called(never_by_hand: None) -> None:
    model, seen = model_of(), []
    model.register_forward_hook(lambda *_: seen.append(1))
    model.backward(*batch())
    assert seen == [1]


def test_autocast_goes_by_autograd(never_by_hand: None) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model_of().backward(*batch()).shape == (BATCH,)


def test_without_gradients_it_is_refused_as_by_autograd() -> None:
    with torch.no_grad(), pytest.raises(RuntimeError, match="does not require grad"):
        model_of().backward(*batch())


def test_without_numba_it_goes_by_autograd(never_by_hand: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where importing it fails, as beside a numpy that is too new for it."""
    monkeypatch.setitem(sys.modules, "numba", None)
    strategy._can_compile.cache_clear()
    try:
        assert model_of().backward(*batch()).shape == (BATCH,)
    finally:
        strategy._can_compile.cache_clear()


@pytest.fixture
def only_scipys_products(monkeypatch: pytest.MonkeyPatch) -> None:
    address = get_cython_function_address("scipy.linalg.cython_blas", "sgemm")
    assert address != products.sgemm_address()
    monkeypatch.setattr(training_pass, "sgemm_address", lambda: address)


@pytest.mark.parametrize("tokens", ["alternate", "joint"])
def test_equals_autograd_by_scipys_products(tokens: str, threads: int, only_scipys_products: None) -> None:
    assert_same(model_of(tokens=tokens, normalize_queries_and_keys=True), batch())


def test_without_a_library_of_products_it_goes_by_autograd(
    never_by_hand: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "sgemm_address", lambda: None)
    strategy._can_compile.cache_clear()
    try:
        assert model_of().backward(*batch()).shape == (BATCH,)
    finally:
        strategy._can_compile.cache_clear()


def test_another_precision_goes_by_autograd(never_by_hand: None) -> None:
    assert model_of().double().backward(*(value.double() for value in batch())).shape == (BATCH,)


@pytest.mark.parametrize("classes", [False, True])
def test_equals_autograd_with_labels_of_several_numbers(classes: bool, threads: int, small_chunks: None) -> None:
    """Each label alone; a class's may be uncertain, and some entries count more than others."""
    config = TransformerConfig(width=24, layers=2, heads=3)
    model = config.build(dims=DIMS, points=POINTS, generator=torch.Generator().manual_seed(0), label_dims=4)
    model.classes = classes
    made = torch.Generator().manual_seed(3)
    xs, _, _, weights = batch()
    ys, targets = (torch.randn(BATCH, POINTS, 4, generator=made) for _ in range(2))
    if classes:
        targets = targets.softmax(dim=-1)
    entries = torch.rand(BATCH, POINTS, generator=made)
    assert_same(model, (xs, ys, targets, weights, None, entries))


def test_products_are_counted_whoever_executes_them(threads: int) -> None:
    """As plain attention's are, each of which torch sees."""
    found = count(lambda: model_of(tokens="joint").backward(*batch()))
    assert found == count(lambda: model_of(tokens="joint", attention="plain").backward(*batch()))


def test_a_step_by_hand_leaves_torch_one_thread(threads: int) -> None:
    with model_of().threads_of_step():
        assert torch.get_num_threads() == 1
        assert threads_to_share() == threads
    with model_of(attention="plain").threads_of_step():
        assert torch.get_num_threads() == threads


def test_what_goes_wrong_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    def broken(self: Any, *arguments: Any) -> None:
        raise RuntimeError("in a thread")

    monkeypatch.setattr(training_pass._Pass, "run", broken)
    with pytest.raises(RuntimeError, match="in a thread"):
        model_of().backward(*batch())


def test_too_long_a_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="positions allow"):
        model_of(max_points=POINTS).backward(*batch(POINTS + 1))
