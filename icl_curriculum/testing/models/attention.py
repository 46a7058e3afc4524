"""Rules on the attention maps of models, and on where inputs and labels stand in them.

Dimensions: batch = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.models.base import Capability, Model
from icl_curriculum.models.heads import TokenPlaces
from icl_curriculum.testing.models.subject import BATCH, ModelSubject, beside, differ, off
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule

#: Maps that differ by no more are equal up to rounding.
TOLERANCE = 1e-6


@rule("attention", "attention gives (batch, layers, heads, tokens, tokens): shares, of no later token",
      requires=("shape",))  # fmt: skip
def attention(subject: ModelSubject) -> Iterator[Finding | Note]:
    subject.expect(Capability.ATTENTION)
    finding = unlike_attention(subject, subject.stirred())
    if finding is not None:
        yield finding


def unlike_attention(subject: ModelSubject, model: Model, rows: Tensor | None = None) -> Finding | None:
    """What is wrong with the maps of a model for prompts of several lengths, if anything is."""
    dims, points = subject.size
    heads = None
    for length in (points, 2, 1):
        xs, ys, queries = subject.prompts(dims, length)
        for separate in (None, queries):
            maps = maps_of(subject, model, xs, ys, separate, rows)
            finding = _unlike_shares(maps, heads, subject.doing)
            if finding is not None:
                return finding
            heads = tuple(maps.shape[1:3])
    return None


@torch.no_grad()
def maps_of(
    subject: ModelSubject,
    model: Model,
    xs: Tensor,
    ys: Tensor,
    queries: Tensor | None = None,
    rows: Tensor | None = None,
) -> Tensor:
    """The maps that `Model.attention` gives."""
    subject.doing = f"attention of xs of shape {tuple(xs.shape)}{beside(queries, rows)}"
    told = {} if rows is None else {"instruction": rows}
    return model.attention(xs, ys, **told) if queries is None else model.attention(xs, ys, queries, **told)


def _unlike_shares(maps: object, heads: tuple[int, ...] | None, doing: str) -> Finding | None:
    shape = tuple(maps.shape) if isinstance(maps, Tensor) else None
    if not isinstance(maps, Tensor) or shape is None or len(shape) != 5 or shape[0] != BATCH or shape[3] != shape[4]:
        return Finding(
            expected=f"(batch, layers, heads, tokens, tokens) with batch = {BATCH} from {doing}",
            found=f"a {type(maps).__name__}" if shape is None else f"shape {shape}",
            mend="stack the maps of all layers on an axis after the prompts, with every token asking and seen",
        )
    if heads is not None and shape[1:3] != heads:
        return Finding(
            expected=f"as many layers and heads for every prompt, {heads}, from {doing}",
            found=f"{shape[1:3]}",
            mend="give the maps of every head of every layer whatever the prompts",
        )
    sums = maps.sum(dim=-1)
    if float(maps.min()) < 0 or differ(sums, torch.ones_like(sums)):
        found = f"a negative one, {float(maps.min()):.3g}" if float(maps.min()) < 0 else ""
        return Finding(
            expected=f"shares that sum to 1 over the last axis, the tokens seen, from {doing}",
            found=found or f"sums that differ from 1 by up to {off(sums, torch.ones_like(sums)):.3g}",
            mend="give the maps after the softmax and before any dropout or head mask; mind which axis it runs over",
        )
    later = maps.triu(diagonal=1)
    if float(later.max()) > TOLERANCE:
        at = (later > TOLERANCE).nonzero()[0].tolist()
        return Finding(
            expected=f"no attention to a later token: 0 above the diagonal, from {doing}",
            found=f"token {at[3]} attends to token {at[4]} by {float(later[tuple(at)]):.3g}, in layer {at[1]}, head "
            f"{at[2]}",
            mend="order the tokens so that none sees a later one, separate queries after the pairs; mask before the "
            "softmax",
        )
    return None


@rule("token places", "token_places says at which token each input and each label is read", requires=("attention",))
def token_places(subject: ModelSubject) -> Iterator[Finding | Note]:
    subject.expect(Capability.ATTENTION)
    model = subject.stirred()
    points = subject.size[1]
    subject.doing = f"token_places({points})"
    try:
        model.token_places(points)
    except UserError as reason:
        raise Inapplicable(f"no scores of what heads attend to: {reason}") from None
    finding = misplaced_tokens(subject, model)
    if finding is not None:
        yield finding


def misplaced_tokens(subject: ModelSubject, model: Model, rows: Tensor | None = None) -> Finding | None:
    """Which input or label stands elsewhere than `Model.token_places` says, if one does.

    What is read at a token changes whom that token and later ones attend to, and no earlier one. The very first token
    has nobody but itself to attend to, so there the second one must change.
    """
    mend = "give the tokens of x_1 to x_query and of y_1 to y_K in the order of attention, after those of an "
    mend += "instruction; raise UserError, with the reason, if labels have no tokens of their own"
    dims, points = subject.size
    xs, ys, _ = subject.prompts(dims, points)
    other_xs, other_ys, _ = subject.prompts(dims, points, index=1)
    maps = maps_of(subject, model, xs, ys, None, rows)
    subject.doing = f"token_places({points})"
    places: object = model.token_places(points)
    wanted = (points, points - 1)
    found = (
        tuple(len(side) for side in (places.inputs, places.labels)) if isinstance(places, TokenPlaces) else repr(places)
    )
    if not isinstance(places, TokenPlaces) or found != wanted:
        return Finding(
            expected=f"from token_places({points}), TokenPlaces of {points} inputs and {points - 1} labels",
            found=f"{found[0]} inputs and {found[1]} labels" if isinstance(found, tuple) else found,
            mend=mend,
        )
    for what, stand in (("y", places.labels), ("x", places.inputs)):
        for number, place in enumerate(stand.tolist()):
            now_xs, now_ys = xs.clone(), ys.clone()
            changed, other = (now_xs, other_xs) if what == "x" else (now_ys, other_ys)
            changed[:, number] = other[:, number]
            moved = (maps_of(subject, model, now_xs, now_ys, None, rows) - maps).abs().amax(dim=(0, 1, 2, 4))
            first = next((token for token, by in enumerate(moved.tolist()) if by > TOLERANCE), None)
            if first != max(1, place) and not (first is None and place == len(moved) - 1 == 0):
                name = "x_query" if number == points - 1 else f"{what}_{number + 1}"
                got = "no token's attention changes" if first is None else f"the attention of token {first} changes"
                return Finding(
                    expected=f"from token_places({points}), the place of {name}, {place} of {len(moved)} tokens: the "
                    f"first whose attention changes with {name}",
                    found=f"{got}{'' if first is None else ' first'}",
                    mend=mend,
                )
    return None
