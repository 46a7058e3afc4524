"""The rule on models that take a head mask: whose heads can be taken away, or replaced by their means.

Dimensions: batch = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import torch
from torch import Tensor

from icl_curriculum.models.base import Capability, Model
from icl_curriculum.models.heads import HeadMask, HeadMeans
from icl_curriculum.models.masking import takes_keyword
from icl_curriculum.testing.models.attention import maps_of
from icl_curriculum.testing.models.subject import BATCH, ModelSubject, differ, off
from icl_curriculum.testing.rules import Finding, Note, rule

#: The most heads that are masked one by one, spread over the layers.
MOST_HEADS = 12


class HeardHeads:
    """A head mask that changes nothing, and notes every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, Tensor, Tensor]] = []

    def apply(self, layer: int, mixed: Tensor, positions: Tensor) -> Tensor:
        self.calls.append((layer, mixed, positions))
        return mixed


@rule("head mask", "forward lets a mask change what each head says, alone and by its mean at every token",
      requires=("shape",))  # fmt: skip
def head_mask(subject: ModelSubject) -> Iterator[Finding | Note]:
    subject.expect(Capability.HEAD_MASK)
    model = subject.stirred()
    finding = without_keyword(model, "head_mask", "a HeadEdit or None")
    if finding is None and subject.as_given.lacks(Capability.ATTENTION) is not None:
        yield Note("how many layers and heads there are is known from attention, which it does not declare: not tried")
        return
    finding = finding or masked_wrongly(subject, model)
    if finding is not None:
        yield finding


def without_keyword(model: Model, name: str, what: str) -> Finding | None:
    """What is said of a model whose forward pass does not take the keyword of something that it declares."""
    if takes_keyword(model.forward, name):
        return None
    taken = list(inspect.signature(model.forward).parameters)
    return Finding(
        expected=f"a keyword {name} of forward, as capabilities declare it",
        found=f"forward({', '.join(taken)})",
        mend=f"write forward(self, xs, ys, queries=None, *, {name}=None): {what}; or declare no such capability",
    )


@torch.no_grad()
def masked_wrongly(subject: ModelSubject, model: Model, rows: Tensor | None = None) -> Finding | None:
    """What is wrong with the predictions under head masks, if anything is."""
    dims, points = subject.size
    xs, ys, queries = subject.prompts(dims, points)
    maps = maps_of(subject, model, xs, ys, None, rows)
    layers, heads, tokens = maps.shape[1:4]
    for separate in (None, queries):
        usual = subject.ask(model, xs, ys, separate, rows)
        heard = HeardHeads()
        subject.ask(model, xs, ys, separate, rows, heard)
        finding = _unlike_calls(heard, layers, heads, tokens, subject.doing)
        if finding is not None:
            return finding
        whole = subject.ask(model, xs, ys, separate, rows, HeadMask(torch.ones(layers, heads)))
        if differ(whole, usual):
            return Finding(
                expected=f"from {subject.doing} whose factors are all ones, what forward gives without one",
                found=f"predictions that differ by up to {off(whole, usual):.3g}",
                mend="put what apply returns in the place of what the heads have mixed, and change nothing else",
            )
        finding = _same_in_spite(subject, model, (xs, ys, separate, rows), usual, (layers, heads))
        if finding is not None:
            return finding
    return _unlike_means(subject, model, layers, heads, rows)


def _unlike_calls(heard: HeardHeads, layers: int, heads: int, tokens: int, doing: str) -> Finding | None:
    mend = (
        "in every layer, write mixed = head_mask.apply(layer, mixed, positions) with layers from 0, before the heads "
    )
    mend += "are joined"
    called = sorted(layer for layer, _, _ in heard.calls)
    if called != list(range(layers)):
        return Finding(
            expected=f"one call of the mask's apply in each of the layers 0 to {layers - 1}, from {doing}",
            found=f"calls for the layers {called}" if called else "no call",
            mend=mend,
        )
    for layer, mixed, positions in heard.calls:
        shape, asking = tuple(mixed.shape), tuple(positions.shape)
        if len(shape) != 4 or shape[:2] != (BATCH, heads) or asking != shape[2:3]:
            return Finding(
                expected=f"mixed (batch, heads, asking, head width) with batch = {BATCH} and heads = {heads}, and "
                f"positions (asking) in apply, from {doing}",
                found=f"in layer {layer} mixed {shape} and positions {asking}",
                mend=mend,
            )
        if positions.is_floating_point() or not 0 <= int(positions.min()) <= int(positions.max()) < tokens:
            return Finding(
                expected=f"in positions, whole numbers from 0 to {tokens - 1}, the tokens of the plain prompt, from "
                f"{doing}",
                found=f"in layer {layer} positions from {float(positions.min()):g} to {float(positions.max()):g}",
                mend="give the place of each asking token in the plain prompt, instruction tokens counted; that of a "
                "separate query is the place of the example that it stands for",
            )
    return None


def _same_in_spite(
    subject: ModelSubject,
    model: Model,
    asked: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    usual: Tensor,
    shape: tuple[int, int],
) -> Finding | None:
    """A mask that leaves the predictions as they were, or two heads that have the same, if there are."""
    mend = (
        "put what apply returns in the place of what the heads have mixed, in every layer, with and without separate "
    )
    mend += "queries"
    none = subject.ask(model, *asked, HeadMask(torch.zeros(shape)))
    if not differ(none, usual, tolerance=1e-6):
        return Finding(
            expected=f"from {subject.doing} whose factors are all zeros, other predictions: no head has anything to "
            "say",
            found="the same predictions as without one",
            mend=mend,
        )
    number = shape[0] * shape[1]
    spread = torch.linspace(0, number - 1, min(number, MOST_HEADS)).round().int().tolist()
    before: list[tuple[str, Tensor]] = [("without one", usual)]
    for index in spread:
        factors = torch.ones(shape)
        layer, head = divmod(index, shape[1])
        factors[layer, head] = 0
        found = subject.ask(model, *asked, HeadMask(factors))
        name = f"with head {head} of layer {layer} masked"
        for other, predictions in before:
            if not differ(found, predictions, tolerance=1e-6):
                return Finding(
                    expected=f"other predictions {name}, and with any other single head, from {subject.doing}",
                    found=f"the same predictions {name} as {other}",
                    mend=mend + "; heads are on the second axis, layers are counted from 0",
                )
        before.append((name, found))
    return None


def _unlike_means(subject: ModelSubject, model: Model, layers: int, heads: int, rows: Tensor | None) -> Finding | None:
    """How the heads' means over one prompt repeated fail to stand for the heads in that prompt, if they do."""
    dims, points = subject.size
    xs, ys, _ = (part[:1].expand(BATCH, *part.shape[1:]) for part in subject.prompts(dims, points))
    same = None if rows is None else rows[:1].expand(BATCH)
    usual = subject.ask(model, xs, ys, None, same)
    listening = HeadMeans(layers)
    subject.ask(model, xs, ys, None, same, listening)
    mask = HeadMask(torch.zeros(layers, heads), listening.result())
    for separate in (None, xs):
        for length in (points, 2):
            asked = (xs[:, :length], ys[:, :length], None if separate is None else separate[:, :length])
            found = subject.ask(model, *asked, same, mask)
            if differ(found, usual[:, :length]):
                how = "" if separate is None else ", the same inputs,"
                return Finding(
                    expected=f"from {subject.doing}{how} that replaces every head by its mean over one prompt "
                    "repeated, the predictions for that prompt",
                    found=f"they differ by up to {off(found, usual[:, :length]):.3g}",
                    mend="give apply the place of each asking token in the plain prompt, instruction tokens counted, "
                    "the same however long the prompt is; that of a separate query is the place of the example that it "
                    "stands for",
                )
    return None
