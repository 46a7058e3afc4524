"""Transformers whose blocks are applied again and again, and those without a softmax.

Dimensions: batch = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.models import Capability, Transformer, TransformerConfig
from icl_curriculum.models.calling import by_prefix

DIMS, POINTS = 3, 6


def built(**fields: Any) -> Transformer:
    config = TransformerConfig(**{"width": 8, "layers": 2, "heads": 2, **fields})
    return config.build(dims=DIMS, points=POINTS, generator=torch.Generator().manual_seed(0))


def prompts() -> tuple[Tensor, Tensor, Tensor]:
    made = torch.Generator().manual_seed(1)
    xs, queries = torch.randn(2, 4, POINTS, DIMS, generator=made)
    return xs, torch.randn(4, POINTS, generator=made), queries


def after_loops(model: Transformer, xs: Tensor, ys: Tensor, loops: int) -> list[Tensor]:
    """The predictions after every loop, by the definition: h_0 = 0, h_(i+1) = blocks(h_i + prompt)."""
    embedded, read, mask, _ = model.layout(xs, ys, None, None)
    h, found = torch.zeros_like(embedded), []
    for _ in range(loops):
        h = model._blocks(h + embedded, slice(0, None), mask)
        found.append(model.normed_answer(h[:, read]))
    return found


@pytest.mark.parametrize("attention", ["fused", "plain", "linear"])
def test_looped_blocks_get_the_prompt_again_each_time(attention: str) -> None:
    model, (xs, ys, _) = built(loops=3, attention=attention), prompts()
    with torch.no_grad():
        torch.testing.assert_close(model(xs, ys), after_loops(model, xs, ys, 3)[-1])


def test_one_loop_is_the_plain_transformer_of_the_same_weights() -> None:
    plain, looped, (xs, ys, _) = built(), built(loops=2), prompts()
    assert plain.state_dict().keys() == looped.state_dict().keys()
    assert all(value.equal(looped.state_dict()[name]) for name, value in plain.state_dict().items())
    with torch.no_grad():
        assert not torch.allclose(plain(xs, ys), looped(xs, ys))


def test_the_loss_is_the_mean_over_the_last_loops_and_what_is_told_that_of_the_last() -> None:
    model, (xs, ys, _) = built(loops=4, loss_loops=3), prompts()
    weights = torch.tensor([1.0, 0.5, 2.0, 1.0])
    told = model.backward(xs, ys, ys, weights)
    gradients = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad()
    errors = torch.stack([(found - ys).square().mean(dim=1) for found in after_loops(model, xs, ys, 4)])
    (errors[-3:].mean(dim=0) * weights).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(told, errors[-1].detach())
    for name, value in model.named_parameters():
        assert value.grad is not None
        torch.testing.assert_close(gradients[name], value.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fields", [{"attention": "linear"}, {"loops": 3}], ids=["linear", "looped"])
def test_queries_beside_the_prompt_are_what_each_would_be_in_a_prompt_of_its_own(fields: dict[str, Any]) -> None:
    model, (xs, ys, queries) = built(**fields), prompts()
    with torch.no_grad():
        torch.testing.assert_close(model(xs, ys, queries), by_prefix(model, xs, ys, queries), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("divided", [True, False])
def test_linear_attention_is_a_sum_over_the_keys_so_far(divided: bool) -> None:
    model = built(attention="linear", divide_by_keys=divided)
    made = torch.Generator().manual_seed(2)
    q, k, v = torch.randn(3, 2, 5, 8, generator=made)
    found = model._attend(0, q, k, v, None, None)
    for head in (slice(0, 4), slice(4, 8)):
        for t in range(5):
            products = (q[:, t, None, head] * k[:, : t + 1, head]).sum(dim=-1) / 2.0
            wanted = (products.unsqueeze(-1) * v[:, : t + 1, head]).sum(dim=1) / (t + 1 if divided else 1)
            torch.testing.assert_close(found[:, t, head], wanted)


def test_a_layer_of_linear_attention_can_take_a_step_of_gradient_descent() -> None:
    """Von Oswald et al. 2023: with keys and queries x and values y, it adds (1/n) sum_i (x . x_i) y_i for each token.

    That is what a step of gradient descent from 0 on the mean squared error predicts, of rate 1.
    """
    width = DIMS + 1
    model = built(width=width, heads=1, layers=1, attention="linear")
    made = torch.Generator().manual_seed(3)
    xs, ys = torch.randn(1, 5, DIMS, generator=made), torch.randn(1, 5, generator=made)
    query = torch.randn(1, 1, DIMS, generator=made)
    # One token for each pair, and the query's without a label last.
    pairs = torch.cat([torch.cat([xs, ys.unsqueeze(-1)], dim=-1), torch.cat([query, torch.zeros(1, 1, 1)], -1)], dim=1)
    inputs, labels = pairs.clone(), pairs.clone()
    inputs[..., -1], labels[..., :-1] = 0.0, 0.0
    found = model._attend(0, inputs, inputs, labels, None, None)[0, -1, -1]
    # The root of the head's width over which products go, and the query's own token, which is a key of label 0.
    step = (xs[0] * ys[0, :, None]).sum(dim=0) / 6
    torch.testing.assert_close(found, step @ query[0, 0] / width**0.5)


@pytest.mark.parametrize(
    ("fields", "key", "words"),
    [
        ({"loops": 2, "loss_loops": 3}, "model.loss_loops", "3 exceeds model.loops = 2"),
        ({"divide_by_keys": False}, "model.divide_by_keys", "the softmax of fused attention divides by itself"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        built(**fields)
    assert caught.value.key == key
    assert words in caught.value.reason


def test_neither_gives_maps_of_attention() -> None:
    for fields, words in (({"attention": "linear"}, "sum to anything"), ({"loops": 2}, "attends anew in every loop")):
        for capability in (Capability.ATTENTION, Capability.HEAD_MASK):
            assert words in str(TransformerConfig(**fields).lacks(capability))
    assert TransformerConfig(attention="linear").lacks(Capability.SECOND_DERIVATIVES) is None
