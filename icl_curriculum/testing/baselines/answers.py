"""Rules on how a baseline answers: shapes, what it leaves alone, the same answers again, and those without examples.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from icl_curriculum.baselines import Baseline
from icl_curriculum.baselines.base import ALL_LABELS
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.testing.baselines.subject import POINTS, TRAINED, BaselineSubject, at
from icl_curriculum.testing.generators import watched_generators
from icl_curriculum.testing.rules import Finding, Note, rule

#: The parts of prompts that a baseline may not change.
PARTS = ("xs", "ys", "targets", "queries", "mask")


@rule("labels", "answers names kinds of labels", requires=("construction",))
def labels(subject: BaselineSubject) -> Iterator[Finding | Note]:
    given: object = subject.as_given.answers
    if not isinstance(given, frozenset | set) or not given or not given <= ALL_LABELS:
        yield Finding(
            expected=f"in answers, a set of {', '.join(map(repr, sorted(ALL_LABELS)))}",
            found=repr(given),
            mend='write answers = frozenset({"numbers", "vectors"}), or leave it out where labels are numbers',
        )


@rule("training classes", "for_training_on gives a baseline, or refuses with UserError; costly is a truth value",
      requires=("dimensions", "labels"))  # fmt: skip
def training_classes(subject: BaselineSubject) -> Iterator[Finding | Note]:
    costly: object = subject.as_given.costly
    if not isinstance(costly, bool):
        yield Finding(
            expected="True or False in costly",
            found=repr(costly),
            mend="write costly: ClassVar[bool] = True, or leave it out",
        )
        return
    refusals: list[UserError] = []
    for classes in TRAINED:
        try:
            found: object = subject.set_beside(classes)
        except UserError as error:
            refusals.append(error)
            continue
        if not isinstance(found, Baseline):
            yield Finding(
                expected=f"a baseline from {subject.doing}",
                found=f"a {type(found).__name__}",
                mend="return self, or self.model_copy(update={...})",
            )
            return
    if len(refusals) == len(TRAINED):
        yield Finding(
            expected="a baseline from for_training_on of the linear class, alone or with a pool",
            found=f"UserError: {refusals[-1]}",
            mend="check an instance that has what it needs, or let for_training_on refuse less",
        )
    elif refusals:
        yield Note(f"refused for {TRAINED[0][0].id}: {refusals[0]}")


@rule("predict", "predict gives finite numbers, shaped as labels, for one prompt and more, of every length",
      requires=("training classes",))  # fmt: skip
def predict(subject: BaselineSubject) -> Iterator[Finding | Note]:
    for dims in subject.few_dims if not subject.learner.costly else (subject.size,):
        for labels in subject.valued:
            for n, points in ((subject.n, POINTS), (1, POINTS), (subject.n, 2), (subject.n, 1)):
                for plain in _asked(subject, n, points, dims, labels):
                    asked = at(plain, subject.lengths(points)) if subject.learner.costly else plain
                    finding = _unlike_answers(subject, asked)
                    if finding is not None:
                        yield finding
                        return
    if subject.failures:
        listed = ", ".join(f"k = {k}: {type(error).__name__}" for k, error in sorted(subject.failures.items()))
        yield Note(f"it raises at {listed}; the prompts count as failed there")


def _asked(subject: BaselineSubject, n: int, points: int, dims: int, labels: str) -> Iterator[Prompts]:
    """Prompts as learners see them, without and with separate queries."""
    prompts = subject.prompts(n, points, dims, labels=labels).without_answers()
    yield prompts
    yield replace(prompts, queries=subject.prompts(n, points, dims, 1, labels=labels).xs)


def _unlike_answers(subject: BaselineSubject, prompts: Prompts) -> Finding | None:
    found: object = subject.predict(prompts) if not subject.learner.costly else subject.answers(prompts)
    shape = tuple(prompts.ys.shape)
    if not isinstance(found, Tensor) or found.shape != shape or not found.is_floating_point():
        got = (
            f"shape {tuple(found.shape)} and {found.dtype}"
            if isinstance(found, Tensor)
            else f"a {type(found).__name__}"
        )
        return Finding(
            expected=f"(prompts, points) = {shape} numbers, float32 or float64, from {subject.doing}",
            found=got,
            mend="return one prediction for every entry of every prompt, shaped as prompts.ys; keep both axes where "
            "one is 1",
        )
    kept = prompts.defined().clone()
    kept[:, [k for k in subject.failures if k < shape[1]]] = False
    unbounded = kept & ~subject.answered(found)
    if prompts.classes and not bool(unbounded.any()):
        sums = found.double().logsumexp(dim=-1)[kept]
        if sums.numel() and float(sums.abs().max()) > 1e-3:
            return Finding(
                expected=f"log-probabilities of the classes from {subject.doing}, as prompts.classes is True",
                found=f"an entry whose probabilities sum to {float(sums[sums.abs().argmax()].exp()):.4g}",
                mend="end with .log_softmax(dim=-1), or with the logarithm of shares that sum to 1",
            )
    if bool(unbounded.any()):
        where = sorted(set(unbounded.nonzero()[:, 1].tolist()))
        return Finding(
            expected=f"finite predictions from {subject.doing}, whose targets are hidden (NaN)",
            found=f"{int(unbounded.sum())} infinite or NaN, at k = {', '.join(map(str, where))}",
            mend="read no prompts.targets; at k = 0 there is no example: divide by the number of examples only where "
            "there are some",
        )
    return None


@rule("purity", "predict leaves the prompts as they are", requires=("predict",))
def purity(subject: BaselineSubject) -> Iterator[Finding | Note]:
    for prompts in _asked(subject, subject.n, POINTS, subject.size, subject.valued[0]):
        asked = at(prompts, subject.lengths(POINTS))
        kept = {name: getattr(asked, name).clone() for name in PARTS if getattr(asked, name) is not None}
        subject.answers(asked)
        changed = [name for name, value in kept.items() if not _equal(value, getattr(asked, name))]
        if changed:
            yield Finding(
                expected=f"prompts as they were before {subject.doing}: the learners asked next see the same",
                found=f"{', '.join(changed)} changed in place",
                mend="work on copies: prompts.ys.clone(), dataclasses.replace(prompts, ys=...)",
            )
            return


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


@rule("global generators", "no draw from, and no seeding of, the generators that all code shares",
      requires=("predict",))  # fmt: skip
def global_generators(subject: BaselineSubject) -> Iterator[Finding | Note]:
    prompts = subject.prompts(subject.n, POINTS, subject.size).without_answers()
    with watched_generators() as used:
        subject.answers(at(prompts, subject.lengths(POINTS)))
        touched = used()
    for library in touched:
        yield Finding(
            expected="no draw from a generator that all code shares in predict",
            found=f"{library}'s global generator changed during {subject.doing}",
            mend="draw from a generator of a fixed seed: core.streams.generator(0, 'name') for torch, random_state=0 "
            "for scikit-learn, numpy.random.default_rng(0) for numpy",
        )


@rule("determinism", "equal prompts give equal answers, bit by bit", requires=("global generators",))
def determinism(subject: BaselineSubject) -> Iterator[Finding | Note]:
    for prompts in _asked(subject, subject.n, POINTS, subject.size, subject.valued[0]):
        asked = at(prompts, subject.lengths(POINTS))
        first = subject.answers(asked).clone()
        subject.answers(
            at(subject.prompts(subject.n, POINTS, subject.size, 2).without_answers(), subject.lengths(POINTS))
        )
        again = subject.answers(asked)
        read = asked.defined()
        if not _equal(first[read], again[read]):
            off = float((first - again)[read].abs().nan_to_num().max())
            yield Finding(
                expected=f"bit-equal answers from two calls of {subject.doing}, whatever was asked in between",
                found=f"answers that differ by up to {off:.3g}",
                mend="keep nothing of one call for the next (caches, warm starts), and draw from generators of fixed "
                "seeds (random_state=0)",
            )
            return


@rule("no examples", "at k = 0 the prediction is 0, and of classes chance", requires=("determinism",))
def no_examples(subject: BaselineSubject) -> Iterator[Finding | Note]:
    """A baseline that knows the function classes, by for_training_on, may predict their mean."""
    prompts = subject.prompts(subject.n, 2, subject.size).without_answers()
    found = subject.answers(at(prompts, [0]))[:, 0]
    if prompts.classes:
        found = (found + math.log(prompts.label_dims)).where((found + math.log(prompts.label_dims)).abs() > 1e-6, 0.0)
    if not bool((found == 0).all()):
        worst = float(found.flatten()[found.abs().argmax()])
        if type(subject.learner).for_training_on is not Baseline.for_training_on:
            yield Note(f"at k = 0 it predicts what it knows of the classes, such as {worst:.3g}")
            return
        yield Finding(
            expected="0 at k = 0, where there is no example" + ", or equal chances of classes" * prompts.classes,
            found=f"{worst:.3g} from {subject.doing}",
            mend="leave entry 0 at zero: torch.zeros_like(prompts.ys) to begin with. What is known of the functions "
            "beforehand comes by for_training_on",
        )


@rule("mask", "entries that are asked are the same whether or not a mask leaves out others", requires=("determinism",))
def mask(subject: BaselineSubject) -> Iterator[Finding | Note]:
    prompts = subject.prompts(4, POINTS, subject.size).without_answers()
    lengths = subject.lengths(POINTS)
    whole = subject.answers(at(prompts, lengths) if subject.learner.costly else prompts)
    some = at(prompts, lengths).mask
    assert some is not None
    some &= (torch.arange(4).unsqueeze(1) + torch.arange(POINTS)) % 2 == 1
    found = subject.predict(replace(prompts, mask=some)) if not subject.failures else whole
    known = some & subject.answered(whole)
    if found.shape != whole.shape or differ(found[known], whole[known]):
        off = (
            float((found - whole)[known].abs().nan_to_num(torch.inf).max()) if found.shape == whole.shape else torch.inf
        )
        yield Finding(
            expected=f"at entries where the mask is True, the answers to the same prompts without a mask from "
            f"{subject.doing}",
            found=f"answers that differ by up to {off:.3g}",
            mend="use the mask for leaving out work alone: an entry that is not asked about is still an example",
        )


def differ(found: Tensor, expected: Tensor, *, tolerance: float = 1e-4) -> bool:
    """Whether answers differ by more than rounding in another order: a share of the largest, at least of 1."""
    if not expected.numel():
        return False
    off = (found.double() - expected.double()).abs()
    return not bool((off <= tolerance * max(1.0, float(expected.abs().max()))).all())
