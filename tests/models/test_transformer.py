"""The transformer: against Hugging Face's GPT-2, then causality, queries, initialisation and errors.

Dimensions: batch = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from gpt2 import gpt2_like, predict_with_gpt2

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import generator
from icl_curriculum.models import Transformer, TransformerConfig

DIMS, POINTS = 3, 5

ARCHITECTURES = [
    dict(
        zip(
            ("tokens", "positions", "normalize_queries_and_keys", "activation", "attention"),
            choice,
            strict=True,
        )
    )
    for choice in product(
        ("alternate", "joint"), ("token", "pair", "none"), (False, True), ("gelu", "relu_squared"), ("fused", "plain")
    )
]
every_architecture = pytest.mark.parametrize(
    "architecture", ARCHITECTURES, ids=lambda a: "-".join(str(value) for value in a.values())
)


def fresh(*, dims: int = DIMS, points: int = POINTS, seed: int = 0, **fields: Any) -> Transformer:
    config = TransformerConfig(**{"width": 12, "layers": 2, "heads": 3, **fields})
    return config.build(dims=dims, points=points, generator=generator(seed, "initialization"))


def randomized(**fields: Any) -> Transformer:
    """A model none of whose weights has a special value, so that every path through it matters."""
    model = fresh(**fields)
    made = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            centre = 1.0 if name.endswith(("_norm", "_gain")) else 0.0
            value.copy_(centre + 0.4 * torch.randn(value.shape, generator=made))
    return model


def random_prompts(batch: int = 4, points: int = POINTS, *, queries: bool = False, dims: int = DIMS) -> Prompts:
    made = torch.Generator().manual_seed(2)
    xs = torch.randn(batch, points, dims, generator=made)
    ys = torch.randn(batch, points, generator=made)
    separate = torch.randn(batch, points, dims, generator=made) if queries else None
    return Prompts(xs=xs, ys=ys, targets=ys, queries=separate)


@pytest.mark.parametrize("attention", ["fused", "plain"])
@pytest.mark.parametrize(("activation", "theirs"), [("gelu", "gelu_new"), ("relu_squared", "relu2")])
@pytest.mark.parametrize("layers", [1, 3])
def test_equals_hugging_face_gpt2(layers: int, activation: str, theirs: str, attention: str) -> None:
    model = randomized(
        layers=layers,
        initialization="reference",
        tokens="alternate",
        positions="token",
        normalize_queries_and_keys=False,
        activation=activation,
        attention=attention,
    )
    prompts = random_prompts(points=model.max_points)
    with torch.no_grad():
        expected = predict_with_gpt2(model, gpt2_like(model, theirs), prompts)
    assert expected.std() > 0.1
    torch.testing.assert_close(model.predict(prompts), expected, atol=1e-5, rtol=1e-5)


@every_architecture
def test_no_prediction_sees_its_own_label_or_anything_later(architecture: dict[str, Any]) -> None:
    model, prompts = randomized(**architecture), random_prompts()
    before = model.predict(prompts)
    for j in range(POINTS):
        xs, ys = prompts.xs.clone(), prompts.ys.clone()
        ys[:, j:] += 1.0
        xs[:, j + 1 :] -= 1.0
        after = model.predict(replace(prompts, xs=xs, ys=ys))
        torch.testing.assert_close(after[:, : j + 1], before[:, : j + 1], atol=1e-6, rtol=0)
        if j < POINTS - 1:
            assert (after[:, j + 1 :] - before[:, j + 1 :]).abs().max() > 1e-3, "later ones do see the pair"


@every_architecture
def test_every_prediction_sees_every_earlier_pair_and_its_own_input(architecture: dict[str, Any]) -> None:
    model, prompts = randomized(**architecture), random_prompts()
    xs, ys = prompts.xs.requires_grad_(), prompts.ys.requires_grad_()
    for k in range(POINTS):
        of_xs, of_ys = torch.autograd.grad(model(xs, ys)[:, k].sum(), (xs, ys))
        assert (of_xs[:, : k + 1].abs().sum(-1) > 0).all()
        assert (of_ys[:, :k].abs() > 0).all()


@every_architecture
@pytest.mark.parametrize("points", [1, POINTS, 2 * POINTS - 1])
def test_separate_queries_equal_a_pass_per_prefix(architecture: dict[str, Any], points: int) -> None:
    model, prompts = randomized(**architecture), random_prompts(points=points, queries=True)
    together = model.predict(prompts)
    for k in range(points):
        alone = model.predict(prompts.at_prefix(k))[:, k]
        torch.testing.assert_close(together[:, k], alone, atol=1e-5, rtol=1e-5)


def test_queries_equal_to_the_inputs_change_nothing() -> None:
    model, prompts = randomized(), random_prompts()
    torch.testing.assert_close(
        model.predict(replace(prompts, queries=prompts.xs)), model.predict(prompts), atol=1e-5, rtol=1e-5
    )


def test_a_separate_query_matters_to_its_own_prediction_alone() -> None:
    model, prompts = randomized(), random_prompts(queries=True)
    assert prompts.queries is not None
    queries = prompts.queries.clone()
    queries[:, 2] += 1.0
    changed = (model.predict(replace(prompts, queries=queries)) - model.predict(prompts)).abs() > 1e-6
    assert changed[:, 2].all()
    assert not changed[:, [0, 1, 3, 4]].any()


@every_architecture
def test_every_parameter_is_used(architecture: dict[str, Any]) -> None:
    model, prompts = randomized(**architecture), random_prompts()
    model(prompts.xs, prompts.ys).square().sum().backward()
    for name, value in model.named_parameters():
        assert value.grad is not None, name
        assert value.grad.abs().max() > 0, name


@pytest.mark.parametrize("architecture", [a for a in ARCHITECTURES if a["attention"] == "fused"], ids=str)
def test_both_attentions_agree(architecture: dict[str, Any]) -> None:
    for queries in (False, True):
        prompts = random_prompts(queries=queries)
        models = [randomized(**{**architecture, "attention": kind}) for kind in ("fused", "plain")]
        fused, plain = (model.predict(prompts) for model in models)
        torch.testing.assert_close(fused, plain, atol=1e-5, rtol=1e-5)


def test_plain_attention_has_second_order_gradients() -> None:
    model, prompts = randomized(attention="plain"), random_prompts()
    (first,) = torch.autograd.grad(model(prompts.xs, prompts.ys).square().sum(), model.qkv, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), model.qkv)
    assert second.abs().max() > 0


@pytest.mark.parametrize("normalize", [True, False])
def test_normalized_queries_ignore_their_own_scale(normalize: bool) -> None:
    model, prompts = randomized(normalize_queries_and_keys=normalize), random_prompts()
    before = model.predict(prompts)
    with torch.no_grad():
        model.qkv[:, 0] *= 10
        model.qkv_bias[:, 0] *= 10
    assert ((model.predict(prompts) - before).abs().max() < 1e-3) == normalize


@pytest.mark.parametrize("positions", ["token", "pair", "none"])
def test_only_positions_tell_the_order_of_the_examples(positions: str) -> None:
    """In one layer, without positions, the last prediction is a function of the set of pairs."""
    model, prompts = randomized(layers=1, tokens="alternate", positions=positions), random_prompts()
    order = [2, 0, 3, 1, 4]
    shuffled = replace(prompts, xs=prompts.xs[:, order], ys=prompts.ys[:, order])
    difference = (model.predict(shuffled) - model.predict(prompts))[:, -1].abs().max()
    assert (difference < 1e-5) == (positions == "none")


def test_predict_takes_prompts_in_passes_without_changing_the_result() -> None:
    model, prompts = randomized(), random_prompts(batch=7, queries=True)
    whole = model.predict(prompts)
    model.prompts_per_pass = 3
    torch.testing.assert_close(model.predict(prompts), whole, atol=1e-6, rtol=1e-6)
    assert not whole.requires_grad


def test_prompts_twice_as_long_are_allowed_and_longer_ones_refused() -> None:
    model = fresh()
    assert model.predict(random_prompts(points=2 * POINTS - 1)).shape == (4, 2 * POINTS - 1)
    with pytest.raises(ValueError, match=r"prompts of 10 points, the model reads at most 9"):
        model.predict(random_prompts(points=2 * POINTS))


def test_max_points_sets_the_longest_prompt() -> None:
    assert fresh(max_points=20).predict(random_prompts(points=20)).shape == (4, 20)
    with pytest.raises(ValueError, match="prompts of 6 points, the model reads at most 5"):
        fresh(max_points=POINTS).predict(random_prompts(points=6))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 10, "heads": 4}, r"model\.width: 10 is not divisible by model\.heads = 4"),
        ({"max_points": 4}, r"model\.max_points: 4 is less than the 5 points of a prompt"),
    ],
)
def test_impossible_shapes_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fresh(**fields)


def test_the_published_size_holds_nothing_but_gpt2s_blocks() -> None:
    """12 layers of width 256 and 8 heads: 9.5 million parameters, none of them a vocabulary."""
    model = fresh(
        dims=20,
        points=41,
        width=256,
        layers=12,
        heads=8,
        initialization="reference",
        tokens="alternate",
        positions="token",
        normalize_queries_and_keys=False,
    )
    size = sum(value.numel() for value in model.parameters())
    assert round(size / 1e6, 1) == 9.5
    gpt2 = gpt2_like(model, "gelu_new")
    theirs = sum(value.numel() for value in gpt2.parameters()) - gpt2.wte.weight.numel()
    read_in_and_out = 20 * 256 + 256 + 256 + 1
    assert size == theirs + read_in_and_out


@pytest.mark.parametrize("initialization", ["reference", "fast"])
def test_initialisation_depends_on_its_generator_alone(initialization: str) -> None:
    torch.manual_seed(0)
    first = fresh(initialization=initialization).state_dict()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    second = fresh(initialization=initialization).state_dict()
    other = fresh(initialization=initialization, seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["qkv"], other["qkv"])


def standard_deviations(model: Transformer) -> dict[str, float]:
    return {name: float(value.detach().square().mean().sqrt()) for name, value in model.named_parameters()}


def test_reference_initialisation_is_gpt2s() -> None:
    layers, width, dims = 4, 64, 20
    model = fresh(dims=dims, width=width, layers=layers, heads=2, initialization="reference", positions="token")
    found = standard_deviations(model)
    into_stream = 0.02 / math.sqrt(2 * layers)
    expected = {
        "qkv": 0.02,
        "mlp_in": 0.02,
        "attention_out": into_stream,
        "mlp_out": into_stream,
        "position": 0.02,
        "read_in": 1 / math.sqrt(3 * dims),
        "read_out": 1 / math.sqrt(3 * width),
    }
    for name, deviation in expected.items():
        assert found[name] == pytest.approx(deviation, rel=0.25 if name == "read_out" else 0.1), name
    assert model.read_in.abs().max() <= 1 / math.sqrt(dims)
    assert model.read_out.abs().max() <= 1 / math.sqrt(width)
    for name in found:
        if name.endswith(("_norm", "_gain")):
            assert (model.get_parameter(name) == 1).all(), name
        elif name.endswith("_bias") and not name.startswith("read"):
            assert found[name] == 0, name


@pytest.mark.parametrize(("tokens", "fan_in"), [("alternate", 20), ("joint", 41)])
def test_fast_initialisation_scales_with_the_fan_in(tokens: str, fan_in: int) -> None:
    model = fresh(
        dims=20, points=40, width=64, layers=4, heads=2, initialization="fast", position_scale=0.5, tokens=tokens
    )
    found = standard_deviations(model)
    expected = {
        "qkv": 64**-0.5,
        "attention_out": 64**-0.5,
        "mlp_in": 64**-0.5,
        "mlp_out": 256**-0.5,
        "read_in": fan_in**-0.5,
        "read_out": 64**-0.5,
        "position": 0.5,
    }
    if tokens == "alternate":
        expected["label_token"] = 0.5
    for name, deviation in expected.items():
        assert found[name] == pytest.approx(deviation, rel=0.25 if name in ("label_token", "read_out") else 0.1), name
