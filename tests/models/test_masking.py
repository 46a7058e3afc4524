"""Which heads are masked: as they are named, as the top of a score, as control sets; and the learner without them."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models import (
    HeadChoice,
    HeadMask,
    HeadMeans,
    Instruction,
    Model,
    Transformer,
    TransformerConfig,
    build_model,
    control_sets,
    head_scores,
)
from icl_curriculum.models.masking import Head, highest

DIMS, POINTS = 2, 6


def model_of(layers: int = 3, heads: int = 2, instruction: Instruction | None = None, **fields: Any) -> Transformer:
    config = TransformerConfig(**{"width": 8, "layers": layers, "heads": heads, "tokens": "alternate", **fields})
    made = torch.Generator().manual_seed(0)
    model = build_model(config, dims=DIMS, points=POINTS, generator=made, instruction=instruction)
    assert isinstance(model, Transformer)
    return model


def drawn(n: int = 8, points: int = POINTS, seed: int = 1) -> Prompts:
    made = torch.Generator().manual_seed(seed)
    xs, ys = torch.randn(n, points, DIMS, generator=made), torch.randn(n, points, generator=made)
    return Prompts(xs=xs, ys=ys, targets=ys, function_class="linear")


# Names


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("retrospective/n=7", HeadChoice(score="retrospective", n=7)),
        ("4.1+4.5", HeadChoice(heads=((4, 1), (4, 5)))),
        ("2.1", HeadChoice(heads=((2, 1),))),
        ("nearest/n=1/by=mean/control=20", HeadChoice(score="nearest", n=1, by="mean", control=20)),
        ("1.1+3.2/control=3", HeadChoice(heads=((1, 1), (3, 2)), control=3)),
    ],
)
def test_a_choice_is_written_as_it_is_read(text: str, choice: HeadChoice) -> None:
    assert HeadChoice.parse(text) == choice
    assert str(choice) == text


def test_other_ways_to_write_a_choice_are_written_alike() -> None:
    assert str(HeadChoice.parse("start/control=2/by=zero/n=3")) == "start/n=3/control=2"
    assert str(HeadChoice.parse("04.1+4.1+2.5")) == "4.1+2.5"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "retrospektive/n=7",
            "'retrospektive/n=7': expected a score with a number of heads, as retrospective/n=7, or heads as "
            "layer.head, counted from 1, with + between, as 4.1+4.5; found 'retrospektive'; did you mean "
            "'retrospective'?",
        ),
        ("", "found ''"),
        ("4.1+", "found '4.1+'"),
        ("4.1,4.2", "found '4.1,4.2'"),
        ("4", "found '4'"),
        ("retrospective/7", "expected a score with a number of heads"),
        ("retrospective", "'retrospective': how many heads? expected retrospective/n=7, say"),
        ("retrospective/n=0", "'retrospective/n=0': n: expected a whole number from 1 on, found '0'"),
        ("retrospective/n=seven", "n: expected a whole number from 1 on, found 'seven'"),
        ("4.1/control=-1", "'4.1/control=-1': control: expected a whole number from 1 on, found '-1'"),
        ("4.1/by=noise", "'4.1/by=noise': by: expected zero or mean, found 'noise'"),
        ("4.1/n=2", "'4.1/n=2': heads that are named need no number n and nothing else"),
        ("4.1/5", "heads that are named need no number n and nothing else"),
        ("start/contol=2/n=1", "'start/contol=2/n=1': unknown option 'contol'; did you mean 'control'?"),
        ("start/n=1/n=2", "'start/n=1/n=2': expected every option once"),
    ],
)
def test_what_names_no_choice_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        HeadChoice.parse(text)
    assert message in str(refused.value)


def test_arguments_and_text_mean_the_same() -> None:
    model, prompts = model_of(), drawn()
    for heads, options, text in (
        ("retrospective", {"n": 2}, "retrospective/n=2"),
        ("start", {"n": 1, "by": "mean", "control": 2}, "start/n=1/by=mean/control=2"),
        ("retrospective/n=2", {"by": "mean"}, "retrospective/n=2/by=mean"),
        ([(1, 2), (3, 1)], {"control": 1}, "1.2+3.1/control=1"),
    ):
        masked = model.masked(heads, prompts=prompts, **options)  # type: ignore[arg-type]
        assert masked.id == f"model/masked={text}"
        assert masked.heads == model.masked(text, prompts=[prompts]).heads
    for wrong in (lambda: model.masked("start/n=1", n=2, prompts=prompts), lambda: model.masked([], prompts=prompts)):
        with pytest.raises(UserError):
            wrong()


# Choosing


def test_the_highest_are_in_order_and_of_equal_ones_the_first() -> None:
    score = torch.tensor([[0.1, 0.5, 0.5], [0.9, 0.1, 0.0]])
    assert highest(score, 5) == [(2, 1), (1, 2), (1, 3), (1, 1), (2, 2)]


def test_the_top_of_a_score_is_that_of_its_mean_over_prompts_and_cells() -> None:
    """Each batch of prompts counts as much, however many prompts it has."""
    model, batches = model_of(), [drawn(8), drawn(2, seed=5)]
    mean = torch.stack([head_scores(model, batch)["earlier_labels"].mean(dim=0) for batch in batches]).mean(dim=0)
    best = sorted(((float(mean[i, j]), i + 1, j + 1) for i in range(3) for j in range(2)), reverse=True)[:2]
    assert model.masked("earlier_labels/n=2", prompts=batches).heads == tuple((i, j) for _, i, j in best)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("4.1", "mask 4.1: no head 4.1; the model has layers 1 to 3 with heads 1 to 2"),
        ("1.1+0.2", "no head 0.2"),
        ("2.3", "no head 2.3"),
        ("start/n=7", "mask start/n=7: the model has 6 heads"),
        ("start/n=5/control=1", "mask start/n=5/control=1: there are only 0 distinct sets of 5 other heads"),
        ("1.1/control=9", "mask 1.1/control=9: there are only 5 distinct sets of 1 other heads"),
    ],
)
def test_heads_that_a_model_does_not_have_are_refused(mask: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        model_of().masked(mask, prompts=drawn())
    assert message in str(refused.value)


def test_a_score_that_such_short_prompts_do_not_have_is_refused() -> None:
    model = model_of()
    assert len(model.masked("nearest/n=1", prompts=drawn(points=4)).heads) == 1
    with pytest.raises(UserError, match="mask nearest/n=1: the prompts are too short for the score 'nearest'"):
        model.masked("nearest/n=1", prompts=drawn(points=3))


def test_prompts_are_needed_to_look_at_heads_and_a_model_may_bring_its_own() -> None:
    model = model_of()
    for none in (None, []):
        with pytest.raises(UserError, match=r"which prompts\? give prompts=\.\.\., on which the heads are looked at"):
            model.masked("1.1", prompts=none)
    asked: list[int | None] = []
    model.usual_prompts = lambda points: asked.append(points) or [drawn(points=points or POINTS)]
    assert model.masked("start/n=2").heads == model.masked("start/n=2", prompts=drawn()).heads
    assert set(asked) == {None}
    model.masked("1.1/by=mean")
    assert asked[-1] == model.max_points, "means at every token that may be asked for"


# Control sets


def layers_of(heads: Any) -> list[int]:
    return sorted(layer for layer, _ in heads)


@pytest.mark.parametrize(
    ("heads", "shape", "wanted"),
    [
        ([(1, 1), (3, 2)], (6, 4), 9),
        ([(2, 1), (2, 2), (5, 4)], (6, 4), 3),
        ([(1, 1)], (4, 8), 7),
    ],
)
def test_the_first_control_sets_are_all_that_there_are_in_the_same_layers(
    heads: list[Head], shape: tuple[int, int], wanted: int
) -> None:
    found = control_sets(heads, shape, wanted)
    assert [layers_of(each) for each in found] == [layers_of(heads)] * wanted
    further = control_sets(heads, shape, wanted + 5)[wanted:]
    assert all(layers_of(each) != layers_of(heads) for each in further)
    for each in further:
        pairs = zip(layers_of(each), layers_of(heads), strict=True)
        assert max(abs(there - here) for there, here in pairs) <= 2


def test_layers_without_other_heads_are_matched_by_the_nearest_and_all_others_by_their_own() -> None:
    """Layer 3 is masked whole: its heads are matched in layers 2 and 4, that of layer 5 in layer 5."""
    heads = [(3, 1), (3, 2), (3, 3), (3, 4), (5, 2)]
    sets = control_sets(heads, (6, 4), 20)
    assert len(sets) == 20
    for each in sets:
        assert layers_of(each).count(5) == 1
        assert set(layers_of(each)) <= {2, 4, 5}


@pytest.mark.parametrize("heads", [[(1, 1)], [(2, 2), (3, 3), (3, 1)], [(1, 1), (1, 2), (1, 3), (1, 4)]])
def test_control_sets_are_distinct_disjoint_and_a_function_of_the_heads(heads: list[Head]) -> None:
    torch.manual_seed(0)
    sets = control_sets(heads, (4, 4), 40)
    assert len({frozenset(each) for each in sets}) == len(sets)
    for each in sets:
        assert each == sorted(set(each) - set(heads))
        assert len(each) == len(heads)
        assert all(1 <= layer <= 4 and 1 <= head <= 4 for layer, head in each)
    torch.manual_seed(1)
    assert control_sets(heads, (4, 4), 7) == sets[:7]


def test_all_sets_of_a_small_model_are_found_and_no_more() -> None:
    others = [(1, 2), (2, 1), (2, 2)]
    sets = control_sets([(1, 1)], (2, 2), 100)
    assert sorted(sets) == [[other] for other in others]
    pairs = control_sets([(1, 1), (2, 2)], (2, 3), 100)
    assert sorted(map(tuple, pairs)) == sorted(combinations([(1, 2), (1, 3), (2, 1), (2, 3)], 2))
    assert control_sets([], (2, 2), 5) == []


# The learner


@pytest.mark.parametrize("told", [None, Instruction("learned", 2, "function_class", ("linear", "quadratic"))])
def test_the_learner_predicts_as_the_model_does_with_the_mask(told: Instruction | None) -> None:
    model, prompts = model_of(instruction=told), drawn()
    before = model.predict(prompts)
    factors = torch.ones(3, 2)
    factors[0, 1] = factors[2, 0] = 0
    asked = replace(prompts, queries=prompts.xs.flip(0))
    for each in (prompts, asked):
        expected = model.predict(each, head_mask=HeadMask(factors))
        assert torch.equal(model.masked([(1, 2), (3, 1)], prompts=prompts).predict(each), expected)
        listening = HeadMeans(3)
        model.predict(prompts, head_mask=listening)
        expected = model.predict(each, head_mask=HeadMask(factors, listening.result()))
        assert torch.equal(model.masked("1.2+3.1/by=mean", prompts=asked).predict(each), expected)
    assert torch.equal(model.predict(prompts), before)


@pytest.mark.parametrize("told", [None, Instruction("learned", 2, "function_class", ("linear", "quadratic"))])
@pytest.mark.parametrize("tokens", ["alternate", "joint"])
def test_the_means_over_one_prompt_reproduce_it(tokens: str, told: Instruction | None) -> None:
    """Also with separate queries that are the inputs themselves, and for fewer points."""
    model = model_of(instruction=told, tokens=tokens)
    one = drawn()[:1]
    masked = model.masked("+".join(f"{i}.{j}" for i in (1, 2, 3) for j in (1, 2)), by="mean", prompts=one)
    for asked in (one, replace(one, queries=one.xs), one.first_points(3)):
        torch.testing.assert_close(masked.predict(asked), model.predict(one)[:, : asked.points], atol=1e-5, rtol=1e-5)
    assert (masked.predict(drawn(seed=7)) - model.predict(drawn(seed=7))).abs().max() > 1e-2


class Unmaskable(Model):
    """A model without heads."""

    max_points = POINTS

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, xs: Tensor, ys: Tensor, queries: Tensor | None = None) -> Tensor:
        return self.weight * ys


def test_a_model_without_head_masks_says_so() -> None:
    with pytest.raises(
        UserError, match=r"Unmaskable takes no head mask; a model that does declares Capability\.HEAD_MASK"
    ):
        Unmaskable().masked("1.1", prompts=drawn())
