"""Rules on what a model declares beyond predicting: its attention maps, a head mask, instruction tokens.

Dimensions: batch = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import torch
from torch import Tensor

from icl_curriculum.models.base import Capability, Model
from icl_curriculum.testing.models.subject import BATCH, ModelSubject, differ, off
from icl_curriculum.testing.rules import Finding, Note, rule


@rule("attention", "attention gives (batch, layers, heads, tokens, tokens): shares, of no later token",
      requires=("shape",))  # fmt: skip
def attention(subject: ModelSubject) -> Iterator[Finding | Note]:
    subject.expect(Capability.ATTENTION)
    dims, points = subject.size
    model = subject.stirred()
    heads = None
    for length in (points, 2, 1):
        xs, ys, queries = subject.prompts(dims, length)
        for separate in (None, queries):
            with torch.no_grad():
                maps = _maps(subject, model, xs, ys, separate)
            finding = _unlike_attention(maps, heads, subject.doing)
            if finding is not None:
                yield finding
                return
            heads = tuple(maps.shape[1:3])


def _maps(subject: ModelSubject, model: Model, xs: Tensor, ys: Tensor, queries: Tensor | None) -> Tensor:
    subject.doing = f"attention of xs of shape {tuple(xs.shape)}{'' if queries is None else ' with separate queries'}"
    return model.attention(xs, ys) if queries is None else model.attention(xs, ys, queries)


def _unlike_attention(maps: object, heads: tuple[int, ...] | None, doing: str) -> Finding | None:
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
    if float(later.max()) > 1e-6:
        at = (later > 1e-6).nonzero()[0].tolist()
        return Finding(
            expected=f"no attention to a later token: 0 above the diagonal, from {doing}",
            found=f"token {at[3]} attends to token {at[4]} by {float(later[tuple(at)]):.3g}, in layer {at[1]}, head "
            f"{at[2]}",
            mend="order the tokens so that none sees a later one, separate queries after the pairs; mask before the "
            "softmax",
        )
    return None


@rule("head mask", "forward takes head_mask: ones change nothing, zeros take the heads away", requires=("shape",))
def head_mask(subject: ModelSubject) -> Iterator[Finding | Note]:
    subject.expect(Capability.HEAD_MASK)
    dims, points = subject.size
    model = subject.stirred()
    finding = _without_keyword(model, "head_mask", "factors (layers, heads) on the attention after the softmax")
    if finding is not None:
        yield finding
        return
    if subject.as_given.lacks(Capability.ATTENTION) is not None:
        yield Note("how many layers and heads there are is known from attention, which it does not declare: not tried")
        return
    xs, ys, queries = subject.prompts(dims, points)
    with torch.no_grad():
        shape = _maps(subject, model, xs, ys, None).shape[1:3]
        for separate in (None, queries):
            usual = subject.ask(model, xs, ys, separate)
            subject.doing = f"forward with head_mask of shape {tuple(shape)}"
            whole = model(xs, ys, separate, head_mask=torch.ones(shape))
            if differ(whole, usual):
                yield Finding(
                    expected=f"from {subject.doing}, all ones, what forward gives without one",
                    found=f"predictions that differ by up to {off(whole, usual):.3g}",
                    mend="multiply each head's attention, after the softmax, by its factor, and change nothing else",
                )
                return
            if not differ(model(xs, ys, separate, head_mask=torch.zeros(shape)), usual, tolerance=1e-6):
                yield Finding(
                    expected=f"from {subject.doing}, all zeros, other predictions: no head has anything to say",
                    found="the same predictions as without one",
                    mend="multiply each head's attention by head_mask[layer, head], with and without separate queries",
                )
                return


@rule("instruction", "forward takes instruction, the tokens of Prompts.instruction", requires=("shape",))
def instruction(subject: ModelSubject) -> Iterator[Finding | Note]:
    subject.expect(Capability.INSTRUCTION)
    finding = _without_keyword(subject.stirred(), "instruction", "tokens (batch, tokens, width), or None")
    if finding is not None:
        yield finding
        return
    yield Note("it takes the keyword; what it makes of instructions was not tried, as their width is not known")


def _without_keyword(model: Model, name: str, what: str) -> Finding | None:
    taken = inspect.signature(type(model).forward).parameters
    if name in taken or any(item.kind is inspect.Parameter.VAR_KEYWORD for item in taken.values()):
        return None
    return Finding(
        expected=f"a keyword {name} of forward, as capabilities declare it",
        found=f"forward({', '.join(list(taken)[1:])})",
        mend=f"write forward(self, xs, ys, queries=None, *, {name}=None): {what}; or declare no such capability",
    )
