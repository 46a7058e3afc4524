"""Attention maps and head masks against Hugging Face's GPT-2, and scores of heads against plain loops.

Dimensions: batch = prompts, points = K + 1, dims = d, tokens = 2 points - 1.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from gpt2 import embedded_for_gpt2, gpt2_like, predict_with_gpt2
from scipy.stats import spearmanr
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models import HeadMask, HeadMeans, TokenPlaces, Transformer, TransformerConfig, head_scores
from icl_curriculum.models.heads import SCORES

DIMS, POINTS, LAYERS, HEADS, WIDTH = 3, 7, 2, 3, 12
WHOLE = torch.ones(LAYERS, HEADS)


@pytest.fixture
def model() -> Transformer:
    """GPT-2's architecture, with weights that all matter."""
    config = TransformerConfig(
        width=WIDTH, layers=LAYERS, heads=HEADS, tokens="alternate", positions="token", activation="gelu"
    )
    model = config.build(dims=DIMS, points=POINTS, generator=torch.Generator().manual_seed(0))
    made = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            centre = 1.0 if name.endswith("_norm") else 0.0
            value.copy_(centre + 0.4 * torch.randn(value.shape, generator=made))
    return model


@pytest.fixture
def prompts() -> Prompts:
    made = torch.Generator().manual_seed(2)
    xs, ys = torch.randn(5, POINTS, DIMS, generator=made), torch.randn(5, POINTS, generator=made)
    return Prompts(xs=xs, ys=ys, targets=ys)


def without(layer: int, head: int) -> HeadMask:
    factors = WHOLE.clone()
    factors[layer, head] = 0
    return HeadMask(factors)


def columns_of(head: int) -> slice:
    return slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)


def test_attention_equals_hugging_face_gpt2s(model: Transformer, prompts: Prompts) -> None:
    with torch.no_grad():
        expected = gpt2_like(model, "gelu_new")(
            inputs_embeds=embedded_for_gpt2(model, prompts), use_cache=False, output_attentions=True
        ).attentions
        found = model.attention(prompts.xs, prompts.ys)
    assert found.shape == (5, LAYERS, HEADS, 2 * POINTS - 1, 2 * POINTS - 1)
    torch.testing.assert_close(found, torch.stack(expected, dim=1), atol=1e-5, rtol=0)


def test_a_masked_head_equals_gpt2_without_its_rows_of_the_output_projection(
    model: Transformer, prompts: Prompts
) -> None:
    for layer in range(LAYERS):
        for head in range(HEADS):
            gpt2 = gpt2_like(model, "gelu_new")
            with torch.no_grad():
                gpt2.h[layer].attn.c_proj.weight[columns_of(head)] = 0
                expected = predict_with_gpt2(model, gpt2, prompts)
            found = model.predict(prompts, head_mask=without(layer, head))
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("attention", ["fused", "plain"])
@pytest.mark.parametrize("tokens", ["alternate", "joint"])
def test_a_masked_head_equals_zeros_in_the_output_projection(tokens: str, attention: str, prompts: Prompts) -> None:
    """Of every architecture, with separate queries, too."""
    config = TransformerConfig(width=WIDTH, layers=LAYERS, heads=HEADS, tokens=tokens, attention=attention)  # type: ignore[arg-type]
    model = config.build(dims=DIMS, points=POINTS, generator=torch.Generator().manual_seed(0))
    for asked in (prompts, replace(prompts, queries=prompts.xs.flip(0))):
        masked = model.predict(asked, head_mask=without(1, 2))
        with torch.no_grad():
            kept = model.attention_out.clone()
            model.attention_out[1][:, columns_of(2)] = 0
            torch.testing.assert_close(masked, model.predict(asked), atol=1e-6, rtol=1e-5)
            model.attention_out.copy_(kept)
        assert (masked - model.predict(asked)).abs().max() > 1e-3


def test_a_mask_takes_its_share_of_each_head_and_puts_the_means_in_its_place() -> None:
    made = torch.Generator().manual_seed(0)
    mixed, means = torch.randn(4, HEADS, 2, 5, generator=made), torch.randn(LAYERS, HEADS, 6, 5, generator=made)
    factors, positions = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.25, 0.0]]), torch.tensor([1, 4])
    found = HeadMask(factors, means).apply(1, mixed, positions)
    for head, asking in ((0, 0), (1, 0), (1, 1), (2, 1)):
        factor = factors[1, head]
        wanted = factor * mixed[:, head, asking] + (1 - factor) * means[1, head, positions[asking]]
        torch.testing.assert_close(found[:, head, asking], wanted)
    torch.testing.assert_close(HeadMask(factors).apply(1, mixed, positions), mixed * factors[1][:, None, None])
    with pytest.raises(ValueError, match="the means of the heads are of 6 tokens, the prompt has 8"):
        HeadMask(factors, means).apply(1, mixed, torch.tensor([0, 7]))


def test_means_are_over_all_prompts_that_passed_by() -> None:
    made = torch.Generator().manual_seed(0)
    first, second = torch.randn(3, 2, 3, 5, generator=made), torch.randn(2, 2, 1, 5, generator=made)
    means = HeadMeans(2)
    assert means.apply(0, first, torch.tensor([0, 1, 2])) is first
    means.apply(0, second, torch.tensor([1]))
    means.apply(1, second, torch.tensor([2]))
    found = means.result()
    assert found.shape == (2, 2, 3, 5)
    torch.testing.assert_close(found[0, :, 0], first[:, :, 0].mean(dim=0))
    torch.testing.assert_close(found[0, :, 1], torch.cat([first[:, :, 1], second[:, :, 0]]).mean(dim=0))
    torch.testing.assert_close(found[1, :, 2], second[:, :, 0].mean(dim=0))
    assert (found[1, :, :2] == 0).all(), "tokens that nobody reads in the last layer"


def test_listening_changes_nothing_and_hears_every_pass(model: Transformer, prompts: Prompts) -> None:
    whole, in_passes = HeadMeans(LAYERS), HeadMeans(LAYERS)
    plain = model.predict(prompts)
    assert torch.equal(model.predict(prompts, head_mask=whole), plain)
    model.prompts_per_pass = 2
    model.predict(prompts, head_mask=in_passes)
    torch.testing.assert_close(in_passes.result(), whole.result())


# Scores


def random_maps(batch: int = 2, tokens: int = 2 * POINTS - 1) -> Tensor:
    scores = 2 * torch.randn(batch, LAYERS, HEADS, tokens, tokens, generator=torch.Generator().manual_seed(3))
    later = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -math.inf).softmax(dim=-1)


def places_after(first: int, points: int = POINTS) -> TokenPlaces:
    return TokenPlaces(first + 2 * torch.arange(points), first + 2 * torch.arange(points - 1) + 1)


@pytest.mark.parametrize("first", [0, 2])
def test_scores_equal_plain_loops(first: int) -> None:
    """With instruction tokens in front, and without. x_i stands at ``first + 2 i``, y_i after it, i from 0."""
    maps = random_maps(tokens=first + 2 * POINTS - 1)
    xs = torch.randn(2, POINTS, DIMS, generator=torch.Generator().manual_seed(4))
    found = {name: score(maps, xs, places_after(first)) for name, score in SCORES.items()}
    K = POINTS - 1
    for b, layer, head in ((0, 0, 0), (0, 1, 2), (1, 0, 1)):
        a = maps[b, layer, head].double().tolist()
        x, y = [first + 2 * i for i in range(POINTS)], [first + 2 * i + 1 for i in range(K)]
        wanted = {
            "retrospective": sum(a[y[i]][x[i]] for i in range(K)) / K,
            "previous_label": sum(a[y[i]][y[i - 1]] for i in range(1, K)) / (K - 1),
            "start": sum(a[token][0] for token in range(1, len(a))) / (len(a) - 1),
            "earlier_labels": sum(sum(a[x[k]][y[i]] for i in range(k)) for k in range(1, POINTS)) / (POINTS - 1),
            "nearest": sum(
                spearmanr([a[x[k]][y[i]] for i in range(k)], [float(xs[b, k] @ xs[b, i]) for i in range(k)]).statistic
                for k in range(3, POINTS)
            )
            / (POINTS - 3),
        }
        for name, value in wanted.items():
            assert float(found[name][b, layer, head]) == pytest.approx(value, abs=1e-5), name


def test_ranks_of_equal_values_are_shared() -> None:
    """As attention of a head that sees nothing but a few labels; and a head that sees all alike has no correlation."""
    xs = torch.randn(1, 6, DIMS, generator=torch.Generator().manual_seed(4))
    maps, places = torch.zeros(1, 1, 2, 11, 11), places_after(0, 6)
    maps[0, 0, 0, 10, 1], maps[0, 0, 0, 10, 3] = 0.4, 0.6
    similar = [float(xs[0, 5] @ xs[0, i]) for i in range(5)]
    expected = spearmanr([0.4, 0.6, 0, 0, 0], similar).statistic
    found = SCORES["nearest"](maps, xs, places)[0, 0]
    assert float(found[0]) == pytest.approx(expected / 3, abs=1e-6), "of the lengths 3, 4 and 5, where 3 and 4 see none"
    assert float(found[1]) == 0


def test_long_prompts_are_ranked_at_sixteen_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    einsum = torch.einsum
    monkeypatch.setattr(torch, "einsum", lambda *asked: (looked_at.append(asked[2].shape[1]), einsum(*asked))[1])
    SCORES["nearest"](torch.zeros(1, 1, 1, 81, 81), torch.zeros(1, 41, DIMS), places_after(0, 41))
    assert (looked_at[0], looked_at[-1], len(set(looked_at))) == (3, 40, 16)


def test_scores_lie_within_their_bounds_and_a_head_that_looks_back_has_one() -> None:
    xs, places = torch.randn(2, POINTS, DIMS, generator=torch.Generator().manual_seed(4)), places_after(0)
    for name, score in SCORES.items():
        values = score(random_maps(), xs, places)
        assert values.shape == (2, LAYERS, HEADS)
        assert float(values.min()) >= (-1 if name == "nearest" else 0)
        assert float(values.max()) <= 1
    back = torch.zeros(1, 1, 1, 2 * POINTS - 1, 2 * POINTS - 1)
    back[..., places.labels, places.inputs[:-1]] = 1
    assert float(SCORES["retrospective"](back, xs[:1], places)) == 1
    assert float(SCORES["previous_label"](back, xs[:1], places)) == 0


def test_scores_of_a_model_are_those_of_its_maps(model: Transformer, prompts: Prompts) -> None:
    with torch.no_grad():
        maps = model.attention(prompts.xs, prompts.ys)
    found = head_scores(model, prompts, prompts_per_pass=2)
    assert list(found) == list(SCORES)
    for name, score in SCORES.items():
        torch.testing.assert_close(found[name], score(maps, prompts.xs, places_after(0)))


def test_scores_of_what_has_none_are_refused(model: Transformer, prompts: Prompts) -> None:
    with pytest.raises(ValueError, match="on plain prompts, without separate queries"):
        head_scores(model, replace(prompts, queries=prompts.xs))
    joint = TransformerConfig(width=WIDTH, layers=1, tokens="joint").build(
        dims=DIMS, points=POINTS, generator=torch.Generator().manual_seed(0)
    )
    with pytest.raises(UserError, match="with joint tokens a label stands in one token with the inputs of the next"):
        head_scores(joint, prompts)
