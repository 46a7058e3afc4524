"""Whether a learner's answers follow from what they may follow from, told from its answers alone.

Dimensions: n = prompts, points = K + 1 (entry k has k examples before it), copies = one for every length looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models.calling import check_shape

#: Answers may change by this share of the size of answers and labels, as sums are rounded in other orders.
TOLERANCE = 1e-4
#: Or by this share where they are computed otherwise: a prompt alone, or a query as the last input of a plain prompt.
#: There an ill-conditioned fit, as by least squares at k = d, is rounded otherwise, too.
ROUNDED = 0.02

#: A learner's `predict`.
Predict = Callable[[Prompts], Tensor]


@dataclass(frozen=True)
class Leak:
    """The first entry that follows from what it may not know: ``cause``, in words, and by how much it changes.

    ``change``: as a share of the size of answers and labels.
    """

    entry: int
    cause: str
    change: float

    def __str__(self) -> str:
        by = f"by {self.change:.2g} of the size of answers and labels"
        by = by if math.isfinite(self.change) else "between a number and none"
        return (
            f"entry {self.entry} changes {by} {self.cause}; expected an answer that follows from the first "
            f"{self.entry} {'pair' if self.entry == 1 else 'pairs'} and query {self.entry} alone"
        )


class Unanswered(Exception):
    """A learner answered nothing with a finite number, so there is nothing to tell."""


class Unrepeatable(Exception):
    """A learner answered equal prompts differently, so what its answers follow from cannot be told."""


def first_leak(
    predict: Predict,
    prompts: Prompts,
    others: Prompts,
    *,
    lengths: Sequence[int] | None = None,
    queries: bool = True,
    truth: bool = False,
) -> Leak | None:
    """The first entry of a learner's answers that follows from what it may not know; None if there is none.

    ``predict`` is asked a few batches: the ``prompts`` as they are and with everything changed that entry k may not
    know, for all k at once, in as many copies. What is changed is taken from ``others``, prompts of the same task and
    shape, so that labels stay legal. Both are plain. ``lengths``: at which k it is asked, by default at all.
    ``queries``: whether separate queries are asked, too, which must be answered as in a plain prompt of their own.
    ``truth``: whether it is shown the functions' parameters, as lower bounds are.

    Looked at are its own label, later pairs, other queries, and other prompts of the batch. The reasoning steps of a
    pair are changed with its label, and where those of the query are given, with its input. ``prompts.targets`` are
    NaN, as they are for every learner. Raises Unanswered, Unrepeatable, and what ``predict`` raises.
    """
    if not truth:
        prompts, others = prompts.without_truth(), others.without_truth()
    return _Probe(predict, prompts, others, lengths).first_leak(queries)


def _other_labels(ys: Tensor, others: Tensor, *, classes: bool) -> Tensor:
    """Other labels of the kind: ``others``, and where these are the same the negative ones, or the next class."""
    same = others == ys
    if not classes:
        return torch.where(same, -ys, others)
    return torch.where(same.all(dim=-1, keepdim=True), ys.roll(1, dims=-1), others)


def _beside_labels(entries: Tensor, labels: Tensor) -> Tensor:
    """What is said of entries (n, points), in the shape of labels."""
    return entries if labels.ndim == 2 else entries.unsqueeze(-1)


def _largest(values: Tensor) -> Float[Tensor, "n points"]:
    """The largest of the numbers of each entry's label."""
    return values if values.ndim == 2 else values.amax(dim=-1)


def leak_in(predict: Predict, prompts: Prompts, answers: Float[Tensor, "n points *labels"]) -> Leak | None:
    """The first entry of ``answers`` to all of some prompts that follows from what it may not know, by one more batch.

    At one length of each prompt, in turn, all is changed that its entry may not know, to what stands in the prompt
    beside it. An entry counts where most of the prompts that were changed there got another answer. A learner that is
    honest on the few prompts of `first_leak` alone is found.
    """
    n, points = prompts.xs.shape[:2]
    k = (torch.arange(n) % points).unsqueeze(1)
    place = torch.arange(points).expand(n, points)
    beside = torch.arange(n).roll(1)
    ys = _other_labels(prompts.ys, prompts.ys[beside], classes=prompts.classes)
    later = place > k if prompts.queries is None else place >= k
    changed = replace(
        prompts,
        xs=torch.where(later.unsqueeze(-1), prompts.xs[beside], prompts.xs),
        ys=torch.where(_beside_labels(place >= k, ys), ys, prompts.ys),
        queries=None
        if prompts.queries is None
        else torch.where((place != k).unsqueeze(-1), prompts.queries[beside], prompts.queries),
        steps=None
        if prompts.steps is None
        else torch.where(
            (place > k if prompts.steps_given else place >= k).unsqueeze(-1), prompts.steps[beside], prompts.steps
        ),
    )
    rows = torch.arange(n)
    usual, now = (found.double().cpu()[rows, k.flatten()] for found in (answers, predict(changed)))
    known = usual.isfinite() & now.isfinite()
    own = prompts.ys.double()[rows, k.flatten()].abs()
    size = torch.stack([torch.where(known, usual, 0.0).abs(), own]).amax()
    moved = torch.where(known, (usual - now).abs(), 0.0) / size.clamp_min(1e-30)
    if moved.ndim == 2:
        known, moved = known.any(dim=-1), moved.amax(dim=-1)
    if prompts.mask is not None:
        known = known & prompts.mask.gather(1, k).flatten()
    for entry in range(min(n, points)):
        here = known & (k.flatten() == entry)
        if int(here.sum()) > 1 and bool((moved[here] > ROUNDED).double().mean() > 0.5):
            own_part = "label or steps" if prompts.steps is not None else "label"
            cause = f"when its own {own_part}, later pairs or other queries change, in as many prompts as are evaluated"
            return Leak(entry, cause, float(moved[here].max()))
    return None


class _Probe:
    """Prompts in a copy for every length, and the answers that they get."""

    def __init__(self, predict: Predict, prompts: Prompts, others: Prompts, lengths: Sequence[int] | None) -> None:
        self.predict = predict
        self.n, points = len(prompts), prompts.points
        self.ks = list(range(points)) if lengths is None else sorted({k for k in lengths if k < points}) or [points - 1]
        copies = torch.arange(self.n).repeat(len(self.ks))
        nothing = torch.full_like(prompts.targets, torch.nan)
        self.prompts, self.others = (replace(item, targets=nothing)[copies] for item in (prompts, others))
        # Labels that are equal, as signs are half of the time, would not show.
        labels = _other_labels(self.prompts.ys, self.others.ys, classes=prompts.classes)
        self.others = replace(self.others, ys=labels)
        self.place = torch.arange(points).expand(len(copies), points)
        self.k = torch.tensor(self.ks).repeat_interleave(self.n).unsqueeze(1)
        # Entries after k tell nothing of copy k, and those at other lengths are not asked.
        self.asked = (self.place <= self.k) & torch.isin(self.place, torch.tensor(self.ks))
        if lengths is not None:
            self.prompts = replace(self.prompts, mask=self.asked)

    def first_leak(self, queries: bool) -> Leak | None:
        usual = self._answers(self.prompts)
        if not bool((usual.isfinite() & _beside_labels(self.asked, usual)).any()):
            raise Unanswered("no answer that is a finite number")
        self._expect_repeated(usual, self.prompts)
        return (
            self._beside(usual)
            or self._later(usual)
            or (self._separate() if queries and not self.prompts.steps_given else None)
        )

    def _answers(self, prompts: Prompts) -> Float[Tensor, "copies points *labels"]:
        found = self.predict(prompts)
        check_shape(found, prompts.ys)
        return found.detach().double().cpu()

    def _expect_repeated(self, usual: Tensor, prompts: Prompts) -> None:
        again = self._change(usual, self._answers(prompts))
        if bool((again > TOLERANCE).any()):
            raise Unrepeatable(f"answers to equal prompts that differ by up to {float(again.max()):.2g} of their size")

    def _change(self, usual: Tensor, now: Tensor) -> Tensor:
        """By how much answers changed; infinite where one is finite and the other is not, 0 where both are not."""
        finite = usual.isfinite()
        known = torch.where(finite, usual, 0.0)
        size = max(float(known.abs().max()), float(self.prompts.ys.abs().max()), 1e-30)
        change = (now - usual).abs() / size
        unlike = torch.where(finite == now.isfinite(), 0.0, torch.inf)
        return _largest(torch.where(finite & now.isfinite(), change, unlike))

    def _first(
        self, change: Tensor, looked_at: Bool[Tensor, "copies points"], cause: str, tolerance: float = TOLERANCE
    ) -> Leak | None:
        """The first entry of those looked at that changed."""
        change = torch.where(looked_at, change, 0.0).amax(dim=0)
        entries = (change > tolerance).nonzero().flatten().tolist()
        return Leak(entries[0], cause, float(change[entries[0]])) if entries else None

    def _beside(self, usual: Tensor) -> Leak | None:
        """Answers that follow from other prompts of the batch."""
        # The copies of the longest length, of which all entries are asked.
        last = slice(len(self.prompts) - self.n, len(self.prompts))
        alone = torch.cat([self._answers(self.prompts[i : i + 1]) for i in range(last.start, last.stop)])
        cause = "with the other prompts of the batch"
        return self._first(self._change(usual[last], alone), self.asked[last], cause, ROUNDED)

    def _later(self, usual: Tensor) -> Leak | None:
        """Entries of plain prompts that follow from their own label, or from later pairs."""
        label, pair = self.place >= self.k, self.place > self.k
        change = self._change(usual, self._answers(self._with(labels=label, inputs=pair)))
        leak = self._first(change, self.asked, "")
        if leak is None:
            return None
        own = (self.k == leak.entry) & (self.place == leak.entry)
        alone = self._change(usual, self._answers(self._with(labels=own, inputs=torch.zeros_like(own))))
        steps_too = self.prompts.steps is not None and not self.prompts.steps_given
        its_own = "label or its own steps change" if steps_too else "label changes"
        if found := self._first(alone, own, f"when its own {its_own}"):
            return found
        return replace(leak, cause="when later pairs change")

    def _separate(self) -> Leak | None:
        """Entries with separate queries that follow from more than the first k pairs and their query."""
        asked = replace(self.prompts, queries=self.others.xs)
        usual = self._answers(asked)
        own, nothing = self.place == self.k, torch.zeros_like(self.place, dtype=torch.bool)
        # The same questions, each at the end of a plain prompt of its own.
        xs = torch.where(own.unsqueeze(-1), self.others.xs, self.prompts.xs)
        plain = self._answers(replace(self.prompts, xs=xs))
        cause = "where query {} is asked separately and not as the next input of a plain prompt"
        if leak := self._first(self._change(usual, plain), own, cause, ROUNDED):
            return replace(leak, cause=cause.format(leak.entry))
        later, other = self.place >= self.k, self.place != self.k
        changes = {
            "with separate queries, when its own label or later pairs change": (later, later, nothing),
            "with separate queries, when the queries of other entries change": (nothing, nothing, other),
        }
        for cause, (labels, inputs, queries) in changes.items():
            changed = self._with(labels=labels, inputs=inputs)
            swapped = torch.where(queries.unsqueeze(-1), self.prompts.xs, self.others.xs)
            now = self._answers(replace(changed, queries=swapped))
            if leak := self._first(self._change(usual, now), own, cause):
                return leak
        return None

    def _with(self, *, labels: Bool[Tensor, "copies points"], inputs: Bool[Tensor, "copies points"]) -> Prompts:
        """The prompts with some labels and inputs of the others."""
        return replace(
            self.prompts,
            xs=torch.where(inputs.unsqueeze(-1), self.others.xs, self.prompts.xs),
            ys=torch.where(_beside_labels(labels, self.prompts.ys), self.others.ys, self.prompts.ys),
            steps=self._steps(labels, inputs),
        )

    def _steps(
        self, labels: Bool[Tensor, "copies points"], inputs: Bool[Tensor, "copies points"]
    ) -> Float[Tensor, "copies points steps"] | None:
        """The steps, with those of the others beside changed labels; where the query's are given, beside inputs."""
        own, others = self.prompts.steps, self.others.steps
        if own is None or others is None:
            return own
        changed = inputs if self.prompts.steps_given else labels
        return torch.where(changed.unsqueeze(-1), others, own)
