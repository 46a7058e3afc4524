"""Which heads of a model are masked: by list, as the top of a score, or as a control set beside these; and the learner.

Source: Bhasin et al. 2024 (arXiv 2404.03558), who mask the 7 highest-scoring of 96 heads, and 7 others.
Dimensions: batch = prompts, points = K + 1.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.steps import unrolled
from icl_curriculum.core.streams import generator
from icl_curriculum.models.capabilities import Capability, expect_able
from icl_curriculum.models.heads import SCORES, HeadMask, HeadMeans, head_scores

#: A layer and a head in it, counted from 1.
Head = tuple[int, int]
#: Raised when the control sets of the same heads change on purpose; tables with masks are made anew then.
CONTROL_SETS_VERSION = 1
#: Draws of a control set at one distance, for each set that is wanted, before heads further away are allowed.
_TRIES = 40


@dataclass(frozen=True)
class HeadChoice:
    """The heads to mask, as they are named: ``retrospective/n=7``, ``4.1+4.5``, with ``/by=mean`` or ``/control=3``.

    ``heads``: layer and head, counted from 1; or else the ``n`` highest of the ``score``. ``by``: zeros, or their means
    over prompts. ``control``: 0; or the number of one of the distinct sets of as many other heads, in the same layers
    where these have enough others, else in the nearest ones.
    """

    heads: tuple[Head, ...] = ()
    score: str = ""
    n: int = 0
    by: Literal["zero", "mean"] = "zero"
    control: int = 0

    @classmethod
    def parse(cls, text: str) -> HeadChoice:
        """The choice that a text names. UserError for any other text."""
        identifier = Identifier.parse(text)
        settings = identifier.settings
        unknown = [key for key in settings if key not in ("n", "by", "control")]
        if unknown:
            hint = did_you_mean(unknown[0], ["n", "by", "control"])
            raise UserError(f"{text!r}: unknown option {unknown[0]!r}{hint}")
        if len(settings) + len(identifier.values) < len(identifier.parts):
            raise UserError(f"{text!r}: expected every option once")
        numbers = {}
        for key in ("n", "control"):
            if key in settings and not re.fullmatch("[1-9][0-9]{0,5}", settings[key]):
                raise UserError(f"{text!r}: {key}: expected a whole number from 1 on, found {settings[key]!r}")
            numbers[key] = int(settings.get(key, 0))
        by = settings.get("by", "zero")
        if by not in ("zero", "mean"):
            raise UserError(f"{text!r}: by: expected zero or mean, found {by!r}")
        made = cls(by="mean" if by == "mean" else "zero", control=numbers["control"])
        if re.fullmatch(r"\d{1,6}\.\d{1,6}(\+\d{1,6}\.\d{1,6})*", identifier.name):
            parts = [part.split(".") for part in identifier.name.split("+")]
            heads = tuple(dict.fromkeys((int(layer), int(head)) for layer, head in parts))
            if "n" in settings or identifier.values:
                raise UserError(f"{text!r}: heads that are named need no number n and nothing else")
            return replace(made, heads=heads)
        if identifier.name not in SCORES or identifier.values:
            known = did_you_mean(identifier.name, SCORES)
            raise UserError(
                f"{text!r}: expected a score with a number of heads, as retrospective/n=7, or heads as layer.head, "
                f"counted from 1, with + between, as 4.1+4.5; found {identifier.name!r}{known}"
            )
        if not numbers["n"]:
            raise UserError(f"{text!r}: how many heads? expected {identifier.name}/n=7, say")
        return replace(made, score=identifier.name, n=numbers["n"])

    def __str__(self) -> str:
        settings: dict[str, object] = {"n": self.n} if self.score else {}
        if self.by != "zero":
            settings["by"] = self.by
        if self.control:
            settings["control"] = self.control
        name = self.score or "+".join(f"{layer}.{head}" for layer, head in self.heads)
        return str(Identifier.of(name, (), settings))

    def of(
        self, scores: Callable[[], Mapping[str, Float[Tensor, "layers heads"]]], shape: tuple[int, int]
    ) -> list[Head]:
        """The heads that are chosen in a model of so many layers and heads; ``scores`` gives the scores if needed.

        UserError for heads that the model does not have, and for a control set that there is not.
        """
        layers, heads = shape
        for layer, head in self.heads:
            if not (1 <= layer <= layers and 1 <= head <= heads):
                raise UserError(
                    f"mask {self}: no head {layer}.{head}; the model has layers 1 to {layers} with heads 1 to {heads}"
                )
        chosen = list(self.heads)
        if self.score:
            if self.n > layers * heads:
                raise UserError(f"mask {self}: the model has {layers * heads} heads")
            score = scores()[self.score]
            if not bool(score.isfinite().all()):
                raise UserError(f"mask {self}: the prompts are too short for the score {self.score!r}")
            chosen = highest(score, self.n)
        if not self.control:
            return chosen
        sets = control_sets(chosen, shape, self.control)
        if len(sets) < self.control:
            raise UserError(f"mask {self}: there are only {len(sets)} distinct sets of {len(chosen)} other heads")
        return sets[self.control - 1]


def highest(score: Float[Tensor, "layers heads"], n: int) -> list[Head]:
    """The ``n`` heads of the highest score, the highest first; of equal ones the earlier."""
    order = score.flatten().argsort(descending=True, stable=True)[:n].tolist()
    return [(index // score.shape[1] + 1, index % score.shape[1] + 1) for index in order]


def control_sets(heads: Sequence[Head], shape: tuple[int, int], n: int) -> list[list[Head]]:
    """Up to ``n`` distinct sets of as many other heads, the first ones of a fixed order whatever ``n`` is.

    Every head is matched by another one of its layer, and by one of the nearest layer that has one left where its own
    has none. Where these give too few distinct sets, layers that are 1 further away are allowed, then 2, and so on.
    The draws are a function of the heads, in their order, and the shape alone.
    """
    return [sorted(found) for found, _ in zip(_control_sets(heads, shape), range(n), strict=False)]


def _control_sets(heads: Sequence[Head], shape: tuple[int, int]) -> Iterator[frozenset[Head]]:
    layers, per_layer = shape
    others = [
        (layer, head)
        for layer in range(1, layers + 1)
        for head in range(1, per_layer + 1)
        if (layer, head) not in heads
    ]
    if not heads or len(heads) > len(others):
        return
    count = Counter(layer for layer, _ in heads)
    # Layers with too few others come last, so that they take none that another layer needs for its own heads.
    matched = sorted((layer for layer, _ in heads), key=lambda layer: 2 * count[layer] > per_layer)
    seen: set[frozenset[Head]] = set()
    for further in range(layers):
        made = generator(0, "heads/control", further)
        missed = 0
        while missed < _TRIES * (len(seen) + 1):
            drawn = _matched(matched, others, further, made)
            if drawn in seen:
                missed += 1
                continue
            missed = 0
            seen.add(drawn)
            yield drawn


def _matched(matched: Sequence[int], others: Sequence[Head], further: int, made: torch.Generator) -> frozenset[Head]:
    """A set of other heads, one for each of these layers, from the nearest that has one left or ``further`` away."""
    taken: list[Head] = []
    for layer in matched:
        left = [other for other in others if other not in taken]
        reach = min(abs(other[0] - layer) for other in left) + further
        near = [other for other in left if abs(other[0] - layer) <= reach]
        taken.append(near[int(torch.randint(len(near), (1,), generator=made))])
    return frozenset(taken)


def head_mask(heads: Sequence[Head], shape: tuple[int, int], means: Tensor | None = None) -> HeadMask:
    """The mask that takes these heads away, counted from 1, and puts the ``means`` in their place if given."""
    factors = torch.ones(shape)
    for layer, head in heads:
        factors[layer - 1, head - 1] = 0
    return HeadMask(factors, means)


class MaskedModel:
    """A model some of whose heads are masked, as a learner. `Model.masked` makes it; the model stays as it is.

    ``heads``: layer and head of those that are masked, counted from 1. ``id``: what the tables call it.
    """

    reads_steps = True

    def __init__(self, model: Any, choice: HeadChoice, heads: Sequence[Head], mask: HeadMask) -> None:
        self.model, self.heads, self.mask = model, tuple(heads), mask
        self.id = f"model/masked={choice}"

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points *labels"]:
        """The same as `Model.predict`, with the mask."""
        found: Tensor = self.model.predict(prompts, head_mask=self.mask)
        return found


def choice_of(
    heads: str | Sequence[Head], *, n: int = 0, by: Literal["zero", "mean"] = "zero", control: int = 0
) -> HeadChoice:
    """The choice that arguments of `Model.masked` mean. UserError for heads or scores that nothing can be."""
    name = heads if isinstance(heads, str) else "+".join(f"{layer}.{head}" for layer, head in heads)
    given = {"n": n or None, "by": by if by != "zero" else None, "control": control or None}
    return HeadChoice.parse("/".join([name, *(f"{key}={value}" for key, value in given.items() if value is not None)]))


def mask_heads(model: Any, choice: HeadChoice, prompts: Callable[[int | None], Sequence[Prompts]]) -> MaskedModel:
    """The model with the heads of a choice masked. ``prompts``: see `Model.usual_prompts`.

    UserError for a choice that the model has not, or if the model takes no mask or gives no attention.
    """
    shape = heads_of(model, prompts(None)[0])
    heads = choice.of(lambda: mean_scores(model, prompts(None)), shape)
    means = mean_outputs(model, shape[0], prompts(model.max_points)) if choice.by == "mean" else None
    return MaskedModel(model, choice, heads, head_mask(heads, shape, means))


def heads_of(model: Any, prompts: Prompts) -> tuple[int, int]:
    """The numbers of layers and of heads in each, as seen in a prompt. UserError for a model that takes no mask."""
    name = type(model).__name__
    for capability in (Capability.HEAD_MASK, Capability.ATTENTION):
        expect_able(model, capability)
    if not takes_keyword(model.forward, "head_mask"):
        raise UserError(f"{name} takes no head mask; a model that does declares Capability.HEAD_MASK")
    xs, ys, _, rows = next(model.passes(unrolled(prompts[:1]).first_points(1), 1))
    with torch.no_grad():
        maps = model.attention(xs, ys) if rows is None else model.attention(xs, ys, instruction=rows)
    return int(maps.shape[1]), int(maps.shape[2])


def takes_keyword(function: Callable[..., Any], name: str) -> bool:
    """Says whether a function can be called with a keyword of this name."""
    taken = inspect.signature(function).parameters
    return name in taken or any(item.kind is inspect.Parameter.VAR_KEYWORD for item in taken.values())


def mean_scores(model: Any, prompts: Sequence[Prompts]) -> dict[str, Float[Tensor, "layers heads"]]:
    """Each score of every head, the mean over prompts, with equal weight for each batch of prompts."""
    found = [head_scores(model, batch) for batch in prompts]
    return {name: torch.stack([scores[name].mean(dim=0) for scores in found]).mean(dim=0) for name in SCORES}


def mean_outputs(
    model: Any, layers: int, prompts: Sequence[Prompts]
) -> Float[Tensor, "layers heads tokens head_width"]:
    """What every head says at each token of plain prompts, the mean over prompts. Separate queries are left out."""
    listening = HeadMeans(layers)
    for batch in prompts:
        model.predict(unrolled(replace(batch, queries=None)), head_mask=listening)
    return listening.result()
