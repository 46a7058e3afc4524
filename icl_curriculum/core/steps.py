"""Reasoning steps as positions of a plain prompt: x, s_1, ..., s_S, y, and asking for them one after another.

Dimensions: batch = prompts, points = K + 1 (entry k has k examples before it), dims = d, steps = S, the reasoning steps
of a pair. Source: Li et al. 2023 (arXiv 2305.18869), chain-of-thought prompts x, s_1, ..., s_L, y.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.progress import one_by_one
from icl_curriculum.core.prompts import Prompts


def unrolled(prompts: Prompts) -> Prompts:
    """Prompts with steps as plain prompts of (K + 1)(S + 1) points, without steps; others as they are.

    Every pair becomes S + 1 of them: the inputs x, 0, ..., 0 with the labels s_1, ..., s_S, y. So what is predicted at
    x is the first step, at a step the next one, and at the last step y. Targets likewise. The mask of a pair is that of
    all its S + 1 entries, and its weight in the loss is shared by them alike: as no entry counts more than another
    without weights, each step weighs as much as an answer. ValueError for prompts with separate queries, whose steps
    are unknown, and for labels that are not one number each.
    """
    if prompts.steps is None:
        return prompts
    if prompts.queries is not None:
        raise ValueError("the steps of separate queries are unknown, so that no plain prompt holds them")
    if prompts.ys.ndim != 2:
        raise ValueError("labels beside reasoning steps must be one number each")
    each = prompts.n_steps + 1
    later = prompts.xs.new_zeros(*prompts.xs.shape[:2], prompts.n_steps, prompts.dims)
    xs = torch.cat([prompts.xs.unsqueeze(2), later], dim=2)

    def entries(values: Tensor | None) -> Tensor | None:
        return None if values is None else repeat(values, "b p -> b (p e)", e=each)

    weights = entries(prompts.loss_weights)
    return replace(
        prompts,
        xs=rearrange(xs, "b p e d -> b (p e) d"),
        ys=_after_steps(prompts.steps, prompts.ys),
        targets=_after_steps(prompts.steps, prompts.targets),
        mask=entries(prompts.mask),
        loss_weights=None if weights is None else weights / each,
        steps=None,
        steps_given=False,
    )


def _after_steps(
    steps: Float[Tensor, "batch points steps"], labels: Float[Tensor, "batch points"]
) -> Float[Tensor, "batch entries"]:
    """s_1, ..., s_S, y of every pair, one after another."""
    return rearrange(torch.cat([steps.to(labels.dtype), labels.unsqueeze(-1)], dim=-1), "b p e -> b (p e)")


def through_steps(ask: Callable[[Prompts], Tensor], prompts: Prompts) -> Float[Tensor, "batch points"]:
    """The predictions of a model that reads `unrolled` prompts; ``ask`` gives those to plain prompts.

    With ``steps_given`` it is one pass. Else the model predicts s_1 of query k from the first k pairs with their true
    steps, then s_2 after its own s_1, and so on until y: a pass over all prompts, and S passes for every k on prompts
    of up to (k + 1)(S + 1) points; S + 1 for every k with separate queries. Entries that the mask leaves out are not
    asked, and are 0. The steps of a query that are not given are in no prompt that is asked about it.
    """
    steps, each = prompts.n_steps, prompts.n_steps + 1
    queries = prompts.queries
    # The steps of an unknown query stand for later entries in the pass over all prompts, as labels do.
    whole = unrolled(replace(prompts, queries=None))
    whole = replace(whole, targets=torch.full_like(whole.targets, math.nan))
    if prompts.steps_given:
        return ask(whole)[:, steps::each]
    found = torch.zeros_like(prompts.ys)
    first = ask(whole)[:, ::each].to(found) if queries is None else None
    defined = prompts.defined()
    for k in one_by_one(defined.any(dim=0).nonzero().flatten().tolist(), "length"):
        rows = defined[:, k].nonzero().flatten()
        start, end = k * each, (k + 1) * each
        part = replace(whole[rows].first_points(end), mask=None)
        xs, ys = part.xs.clone(), part.ys.clone()
        ys[:, start:] = 0  # The query's own steps and label are nobody's to see.
        if queries is not None:
            xs[:, start] = queries[rows, k]
        for place in range(start, end):
            if place == start and first is not None:
                answer = first[rows, k]
            else:
                asked = replace(part.first_points(place + 1), xs=xs[:, : place + 1], ys=ys[:, : place + 1])
                answer = ask(asked)[:, place].to(found)
            ys[:, place] = answer
        found[rows, k] = answer
    return found
