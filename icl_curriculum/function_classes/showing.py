"""Whether what the context shows tells no more than it may.

A class or an observation decides what stands in a prompt. At an entry it may go by earlier entries, never by later
ones, nor by other prompts; what is asked about at an entry never goes by its own label, nor by the function.
Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from icl_curriculum.core.streams import Streams
from icl_curriculum.function_classes.base import FunctionClass, Parameters
from icl_curriculum.function_classes.checked import checked_draw, checked_show
from icl_curriculum.observations import Pairs

#: Prompts and points that are tried.
PROMPTS, POINTS = 16, 7
_PARTS = ("xs", "ys", "queries")


def shows_too_much(
    function_class: FunctionClass, inputs: Any, dims: int, *, prompts: int = PROMPTS, points: int = POINTS
) -> str | None:
    """Says what a prompt shows that it may not, or None where nothing of the kind is seen.

    The same pairs are shown again from the same stream, with later examples, other prompts, labels or functions
    changed. ComponentFailed for what breaks the contract of `FunctionClass.show` otherwise.
    """
    if not function_class.shows_itself:
        return None
    streams = Streams(0, f"showing/{function_class.family}")
    xs, values, truth = checked_draw(function_class, inputs, prompts, points, dims, streams)
    queries, *_ = checked_draw(function_class, inputs, prompts, points, dims, Streams(1, streams.name))
    plain = Pairs(xs, values, None, size=1.0, scale=1.0, kind=function_class.label_kind)
    apart = replace(plain, queries=None if function_class.owns_inputs else queries)

    def shown(pairs: Pairs, parameters: Parameters) -> Pairs:
        return checked_show(function_class, pairs, parameters, dims, streams.generator("shown"))

    for pairs in (plain,) if apart.queries is None else (plain, apart):
        for what in _told(pairs, truth, shown):
            return what
    return None


def _told(pairs: Pairs, truth: Parameters, shown: Callable[[Pairs, Parameters], Pairs]) -> Iterator[str]:
    usual = shown(pairs, truth)
    # Every prompt is given what stands in the next one.
    others = Pairs(
        pairs.xs.roll(1, 0), pairs.ys.roll(1, 0), None if pairs.queries is None else pairs.queries.roll(1, 0),
        size=pairs.size, scale=pairs.scale, kind=pairs.kind,
    )  # fmt: skip
    for k in range(pairs.points):
        later = _from(k, pairs, others, _PARTS)
        if (part := _first(usual, shown(later, truth), entries=slice(k))) is not None:
            yield f"{part} before entry {k} depend on what stands from entry {k} on"
        labels = shown(_from(k, pairs, others, ("ys",)), truth)
        if not _asked(usual)[:, : k + 1].equal(_asked(labels)[:, : k + 1]):
            yield f"the input asked about at entry {k} depends on its own label or a later one"
    if pairs.queries is not None:
        found = shown(replace(pairs, queries=others.queries), truth)
        if not (usual.xs.equal(found.xs) and usual.ys.equal(found.ys)):
            yield "the examples depend on the queries"
    first = torch.arange(len(pairs)) == 0
    changed = _where(first, others, pairs)
    if (part := _first(usual, shown(changed, truth), prompts=slice(1, None))) is not None:
        yield f"{part} of a prompt depend on what stands in other prompts"
    functions = {name: value.roll(1, 0) for name, value in truth.items()}
    if not _asked(usual).equal(_asked(shown(pairs, functions))):
        yield "the inputs asked about depend on the function"


def _asked(pairs: Pairs) -> Tensor:
    return pairs.xs if pairs.queries is None else pairs.queries


def _from(k: int, pairs: Pairs, others: Pairs, parts: tuple[str, ...]) -> Pairs:
    """The pairs with some parts of others from entry ``k`` on."""
    changed: dict[str, Any] = {}
    for name in parts:
        own, other = getattr(pairs, name), getattr(others, name)
        if own is not None:
            changed[name] = torch.cat([own[:, :k], other[:, k:]], dim=1)
    return replace(pairs, **changed)


def _where(rows: Tensor, others: Pairs, pairs: Pairs) -> Pairs:
    """The pairs with some rows of others."""
    changed: dict[str, Any] = {}
    for name in _PARTS:
        own = getattr(pairs, name)
        if own is not None:
            changed[name] = torch.where(rows.reshape(-1, *[1] * (own.ndim - 1)), getattr(others, name), own)
    return replace(pairs, **changed)


def _first(one: Pairs, other: Pairs, *, prompts: slice = slice(None), entries: slice = slice(None)) -> str | None:
    """The name of the first tensor that differs in these prompts and entries."""
    for name in _PARTS:
        value = getattr(one, name)
        if value is not None and not value[prompts, entries].equal(getattr(other, name)[prompts, entries]):
            return {"xs": "the inputs", "ys": "the labels", "queries": "the queries"}[name]
    return None
