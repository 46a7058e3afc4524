"""A model reads reasoning steps as positions, and predicts those that are not given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import bank_of, draw, task_of
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.steps import unrolled
from icl_curriculum.evaluation.causality import first_leak
from icl_curriculum.models import Transformer, TransformerConfig
from icl_curriculum.models.stirring import stir

POINTS, EACH = 4, 3


def transformer(**options: Any) -> Transformer:
    config = TransformerConfig(width=16, layers=2, heads=2, **options)
    model = config.build(dims=3, points=POINTS * EACH, generator=torch.Generator().manual_seed(0))
    stir(model, torch.Generator().manual_seed(1))
    return model.eval()


def prompts_of(n: int = 3, seed: int = 0) -> Prompts:
    return draw(task_of("composition", dims=3), n, POINTS, seed=seed).without_answers()


def step_by_step(model: Transformer, prompts: Prompts, k: int) -> Tensor:
    """The answer at k by forward passes on what is written out here, one position after another."""
    assert prompts.steps is not None
    nothing, query = torch.zeros(len(prompts), 3), prompts.query()[:, k]
    xs, ys = [], []
    for j in range(k):
        xs += [prompts.xs[:, j], nothing, nothing]
        ys += [prompts.steps[:, j, 0], prompts.steps[:, j, 1], prompts.ys[:, j]]
    for position in range(EACH):
        xs.append(nothing if position else query)
        unknown = torch.full((len(prompts),), 123.0)
        answer = model(torch.stack(xs, dim=1), torch.stack([*ys, unknown], dim=1))[:, -1]
        ys.append(prompts.steps[:, k, position] if prompts.steps_given and position < EACH - 1 else answer)
    return ys[-1]


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("tokens", ["joint", "alternate"])
@torch.no_grad()
def test_predictions_are_forward_passes_one_after_another(tokens: str, given: bool) -> None:
    model, prompts = transformer(tokens=tokens), replace(prompts_of(), steps_given=given)
    found = model.predict(prompts)
    for k in range(POINTS):
        torch.testing.assert_close(found[:, k], step_by_step(model, prompts, k), rtol=1e-4, atol=1e-5)
    model.prompts_per_pass = 2
    torch.testing.assert_close(model.predict(prompts), found, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_separate_queries_have_steps_of_their_own() -> None:
    model = transformer()
    prompts = replace(prompts_of(), queries=prompts_of(seed=1).xs)
    found = model.predict(prompts)
    for k in range(POINTS):
        torch.testing.assert_close(found[:, k], step_by_step(model, prompts, k), rtol=1e-4, atol=1e-5)


def test_a_model_that_predicts_its_steps_does_not_leak() -> None:
    model = transformer()
    for given in (False, True):
        prompts, others = (replace(prompts_of(2, seed), steps_given=given) for seed in (0, 1))
        assert first_leak(model.predict, prompts, others) is None
    own, others = prompts_of(2, 0), prompts_of(2, 1)
    assert own.steps is not None
    assert others.steps is not None
    changed = replace(own, steps=torch.where(torch.arange(POINTS).reshape(1, -1, 1) >= 2, others.steps, own.steps))
    torch.testing.assert_close(model.predict(changed)[:, :3], model.predict(own)[:, :3])
    assert not torch.allclose(model.predict(changed)[:, 3], model.predict(own)[:, 3])


@torch.no_grad()
def test_steps_that_are_left_out_are_plain_prompts() -> None:
    model, prompts = transformer(), replace(prompts_of(), steps=None)
    torch.testing.assert_close(model.predict(prompts), model(prompts.xs, prompts.ys))


def test_heads_are_masked_while_steps_are_predicted() -> None:
    model, prompts = transformer(), prompts_of()
    masked = model.masked("1.1+2.2", prompts=prompts)
    assert masked.reads_steps
    found = masked.predict(prompts)
    assert not torch.allclose(found, model.predict(prompts))
    by_mean = model.masked([(1, 1)], by="mean", prompts=prompts)
    assert by_mean.predict(prompts).isfinite().all()
    assert by_mean.mask.means is not None
    plain = transformer(tokens="alternate").masked("retrospective/n=1", prompts=unrolled(prompts))
    assert plain.heads == transformer(tokens="alternate").masked("retrospective/n=1", prompts=prompts).heads


def test_adapting_trains_steps_and_answers() -> None:
    model = transformer()
    prompts = draw(task_of("composition", dims=3), 16, POINTS)
    adapted = model.adapted("steps=2,prompts=16", prompts=prompts)
    again = model.adapted("steps=2,prompts=16", prompts=unrolled(prompts))
    torch.testing.assert_close(adapted.predict(prompts_of()), again.predict(prompts_of()))
    with pytest.raises(UserError, match="per_prompt leaves out pairs of x and y, and the pairs of these prompts have"):
        model.adapted("per_prompt,steps=1").predict(prompts_of())
    shifted = bank_of("composition", "random_quadrants", n=16).draw()
    wide = TransformerConfig(width=8, layers=1).build(dims=5, points=15, generator=torch.Generator())
    with pytest.raises(UserError, match=r"adaptation prompts of composition/gaussian have separate queries, whose ste"):
        wide.adapted("steps=1,prompts=16", prompts=shifted)
