"""Attention heads: factors on what they say, what they say on average, and scores of what they attend to.

Layers and heads are counted from 1 in all that is shown, as Bhasin et al. 2024 count them, and from 0 in tensors.
Dimensions: batch = prompts, points = K + 1, asking = tokens that ask, seen = tokens that are seen, k = examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.steps import unrolled
from icl_curriculum.models.capabilities import Capability, expect_able

#: Fewest earlier labels for which attention and similarity are ranked.
_FEWEST_RANKED = 3
#: Most queries whose ranks are taken, spread over the prompt.
_MOST_RANKED = 16


class HeadEdit(Protocol):
    """What a model that declares `Capability.HEAD_MASK` takes as ``head_mask``: `HeadMask`, or what only listens."""

    def apply(
        self,
        layer: int,
        mixed: Float[Tensor, "batch heads asking head_width"],
        positions: Int[Tensor, " asking"],
    ) -> Float[Tensor, "batch heads asking head_width"]:
        """Returns the values that a layer's heads have mixed, changed as the mask says.

        ``layer``: counted from 0. ``positions``: the place of each asking token in a plain prompt, instruction tokens
        counted, and the same however long the prompt is. A separate query has the place of the example that it stands
        for.
        """
        ...


@dataclass(frozen=True)
class HeadMask:
    """What is left of every head: ``factors`` on what it adds, and perhaps what takes the rest's place.

    A model that declares `Capability.HEAD_MASK` calls `apply` in every layer on what its heads have mixed, before
    they are joined. A factor on that is one on the attention after the softmax, without renormalising. ``means``: what
    each head says on average at each token of a prompt, in the place of what a factor below 1 takes away; None: zeros.
    """

    factors: Float[Tensor, "layers heads"]
    means: Float[Tensor, "layers heads tokens head_width"] | None = None

    def apply(
        self,
        layer: int,
        mixed: Float[Tensor, "batch heads asking head_width"],
        positions: Int[Tensor, " asking"],
    ) -> Float[Tensor, "batch heads asking head_width"]:
        """The same as `HeadEdit.apply`. ValueError for a place that the means do not have."""
        factors = self.factors[layer].to(mixed)[:, None, None]
        if self.means is None:
            return mixed * factors
        known = self.means.shape[2]
        if len(positions) and int(positions.max()) >= known:
            raise ValueError(f"the means of the heads are of {known} tokens, the prompt has {int(positions.max()) + 1}")
        return mixed * factors + (1 - factors) * self.means[layer].to(mixed)[:, positions]


class HeadMeans:
    """A head mask that changes nothing, and remembers the mean over prompts of what each head says at each token."""

    def __init__(self, layers: int) -> None:
        self._sums: dict[int, dict[int, Tensor]] = {layer: {} for layer in range(layers)}
        self._counts: dict[tuple[int, int], int] = {}

    def apply(
        self,
        layer: int,
        mixed: Float[Tensor, "batch heads asking head_width"],
        positions: Int[Tensor, " asking"],
    ) -> Float[Tensor, "batch heads asking head_width"]:
        sums = mixed.detach().double().sum(dim=0).cpu()
        for number, place in enumerate(positions.tolist()):
            known = self._sums[layer].get(place)
            self._sums[layer][place] = sums[:, number] if known is None else known + sums[:, number]
            self._counts[layer, place] = self._counts.get((layer, place), 0) + len(mixed)
        return mixed

    def result(self) -> Float[Tensor, "layers heads tokens head_width"]:
        """The means so far. A token that a layer was never asked for, since nobody reads it there, has zeros."""
        length = 1 + max(place for _, place in self._counts)
        some = next(iter(self._sums[0].values()))
        means = torch.zeros(len(self._sums), *some.shape[:1], length, some.shape[-1])
        for (layer, place), count in self._counts.items():
            means[layer, :, place] = (self._sums[layer][place] / count).float()
        return means


@dataclass(frozen=True)
class TokenPlaces:
    """Where the tokens of a plain prompt stand: those of x_1 to x_query, and those of the labels y_1 to y_K."""

    inputs: Int[Tensor, " points"]
    labels: Int[Tensor, " examples"]


#: A score of every head for every prompt, from attention maps, inputs and the places of the tokens.
Score = Callable[[Tensor, Tensor, TokenPlaces], Tensor]


def retrospective(maps: Tensor, xs: Tensor, places: TokenPlaces) -> Float[Tensor, "batch layers heads"]:
    """The mean attention from y_i to its own x_i over all pairs, from 0 to 1 (Bhasin et al. 2024).

    The paper's score takes one prompt and its first six pairs, and divides their sum by 12.
    """
    return maps[..., places.labels, places.inputs[: len(places.labels)]].mean(dim=-1)


def previous_label(maps: Tensor, xs: Tensor, places: TokenPlaces) -> Float[Tensor, "batch layers heads"]:
    """The mean attention from y_i to the label of the pair before it, over all pairs but the first."""
    return maps[..., places.labels[1:], places.labels[:-1]].mean(dim=-1)


def start(maps: Tensor, xs: Tensor, places: TokenPlaces) -> Float[Tensor, "batch layers heads"]:
    """The mean attention to the very first token, over all tokens after it."""
    return maps[..., 1:, 0].mean(dim=-1)


def earlier_labels(maps: Tensor, xs: Tensor, places: TokenPlaces) -> Float[Tensor, "batch layers heads"]:
    """The mean over queries x_k of their attention to all earlier labels together, from the second x on."""
    to_labels = maps[..., places.inputs, :][..., places.labels]
    return to_labels.tril(diagonal=-1).sum(dim=-1)[..., 1:].mean(dim=-1)


def nearest(maps: Tensor, xs: Tensor, places: TokenPlaces) -> Float[Tensor, "batch layers heads"]:
    """The rank correlation between the attention from x_k to each earlier y_i and x_k . x_i, mean over k, -1 to 1.

    It is Spearman's, over the labels before x_k, at up to 16 lengths k of at least 3 labels, spread over the prompt.
    Heads that look up the labels of similar inputs, as nearest neighbours do, have a high one.
    """
    examples = len(places.labels)
    if examples < _FEWEST_RANKED:
        return maps.new_full(maps.shape[:3], torch.nan)
    spread = torch.linspace(_FEWEST_RANKED, examples, min(_MOST_RANKED, examples - _FEWEST_RANKED + 1))
    found = []
    for k in spread.round().long().tolist():
        attention = maps[..., places.inputs[k], :][..., places.labels[:k]]
        similar = torch.einsum("bd,bkd->bk", xs[:, k], xs[:, :k])
        found.append(_correlation(_ranks(attention), _ranks(similar)[:, None, None]))
    return torch.stack(found).mean(dim=0)


def _ranks(values: Tensor) -> Tensor:
    """Ranks along the last axis, centred; equal values share their mean rank."""
    below = (values.unsqueeze(-1) > values.unsqueeze(-2)).sum(dim=-1)
    equal = (values.unsqueeze(-1) == values.unsqueeze(-2)).sum(dim=-1)
    return below + (equal - 1) / 2 - (values.shape[-1] - 1) / 2


def _correlation(left: Tensor, right: Tensor) -> Tensor:
    """The correlation of centred values along the last axis; 0 where one of them does not vary."""
    scale = (left.square().sum(dim=-1) * right.square().sum(dim=-1)).sqrt()
    return (left * right).sum(dim=-1) / scale.clamp(min=1e-12)


#: The scores by the names that the tables give them.
SCORES: Mapping[str, Score] = {
    "retrospective": retrospective,
    "previous_label": previous_label,
    "start": start,
    "earlier_labels": earlier_labels,
    "nearest": nearest,
}


class Attentive(Protocol):
    """The part of `Model` that scores of heads are taken from."""

    def attention(
        self, xs: Tensor, ys: Tensor, queries: Tensor | None = None, *, instruction: Tensor | None = None
    ) -> Tensor: ...

    def token_places(self, points: int) -> TokenPlaces: ...

    def passes(self, prompts: Prompts, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None, Tensor | None]]: ...


@torch.no_grad()
def head_scores(
    model: Attentive, prompts: Prompts, *, prompts_per_pass: int = 8
) -> dict[str, Float[Tensor, "batch layers heads"]]:
    """What every head attends to in plain prompts, prompt by prompt, by the names in `SCORES`.

    For models that declare `Capability.ATTENTION`. Raises UserError where labels have no tokens of their own, and
    ValueError for prompts with separate queries, which stand after all labels. Reasoning steps are read as positions
    of their own: each counts as an example does, with the inputs 0.
    """
    if prompts.queries is not None:
        raise ValueError("scores of heads are taken on plain prompts, without separate queries")
    prompts = unrolled(prompts)
    expect_able(model, Capability.ATTENTION)
    places = model.token_places(prompts.points)
    found: dict[str, list[Tensor]] = {name: [] for name in SCORES}
    for xs, ys, _, rows in model.passes(prompts, prompts_per_pass):
        maps = model.attention(xs, ys) if rows is None else model.attention(xs, ys, instruction=rows)
        for name, score in SCORES.items():
            found[name].append(score(maps, xs, places).cpu())
    return {name: torch.cat(parts) for name, parts in found.items()}
