"""Rules on what a metric gives: shapes, its own entry alone, which way it improves, and its trivial level.

Dimensions: n = prompts, points = K + 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from icl_curriculum.testing.metrics.subject import CLASSES, MetricSubject
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule

#: Prompts behind a trivial level, and the standard errors that it may be off.
PROMPTS, Z = 1 << 12, 6.0


@rule("statements", "improves, middle, power and undefined say what they may", requires=("construction",))
def statements(subject: MetricSubject) -> Iterator[Finding | Note]:
    metric = subject.as_given
    stated: dict[str, tuple[object, tuple[object, ...]]] = {
        "improves": (metric.improves, ("down", "up")),
        "middle": (metric.middle, ("mean", "median")),
    }
    for name, (found, allowed) in stated.items():
        if found not in allowed:
            yield Finding(
                expected=f"{' or '.join(map(repr, allowed))} in {name}",
                found=repr(found),
                mend=f'write {name} = "{allowed[0]}"',
            )
            return
    power: object = metric.power
    if isinstance(power, bool) or not isinstance(power, int | float) or not 0 <= power < math.inf:
        yield Finding(
            expected="a finite number of at least 0 in power",
            found=repr(power),
            mend="2 of squared errors, 1 of absolute ones, 0 of what is bounded",
        )
        return
    for name in CLASSES:
        reason: object = metric.undefined(subject.task(name))
        if reason is not None and (not isinstance(reason, str) or not reason):
            yield Finding(
                expected=f"from {subject.doing}, a reason in words, or None",
                found=repr(reason),
                mend='return None where it means something, else a reason such as "its labels are classes"',
            )
            return


@rule("errors", "errors gives a finite number in float64 for each prompt and length", requires=("statements",))
def errors(subject: MetricSubject) -> Iterator[Finding | Note]:
    for name, task in subject.tasks.items():
        for n, points in ((24, 5), (1, 3), (4, 1)):
            targets = subject.targets(task, n, points)
            found: object = subject.errors(subject.answers(task, targets, 0.5), targets, task)
            wanted = (n, points)
            if not isinstance(found, Tensor) or found.shape != wanted or found.dtype != torch.float64:
                got = f"shape {tuple(found.shape)}, {found.dtype}" if isinstance(found, Tensor) else repr(found)[:80]
                yield Finding(
                    expected=f"(prompts, lengths) = {wanted} in float64 from {subject.doing}, where labels are {name}",
                    found=got,
                    mend="keep both axes, sum over the numbers of a label, and write .double() after comparisons",
                )
                return
            if not bool(found.isfinite().all()):
                yield Finding(
                    expected=f"finite numbers from {subject.doing}, where labels are {name}",
                    found="infinite or NaN ones",
                    mend="mind divisions by targets that are zero, and logarithms",
                )
                return


@rule("purity", "errors and scale change nothing, and give the same twice", requires=("errors",))
def purity(subject: MetricSubject) -> Iterator[Finding | Note]:
    for name, task in subject.tasks.items():
        targets = subject.targets(task)
        answers = subject.answers(task, targets, 0.5)
        kept = answers.clone(), targets.clone()
        first = subject.errors(answers, targets, task).clone()
        again = subject.errors(answers, targets, task)
        if not (answers.equal(kept[0]) and targets.equal(kept[1])):
            yield Finding(
                expected=f"predictions and targets as they were before errors, where labels are {name}",
                found="changed in place",
                mend="no operations whose names end in _, and no assignments to slices",
            )
            return
        if not first.equal(again):
            yield Finding(
                expected="equal numbers from two equal calls of errors",
                found=f"numbers that differ by up to {float((first - again).abs().max()):.3g}",
                mend="draw nothing at random, and keep nothing from one call to the next",
            )
            return


@rule("own entry", "the number of an entry follows from its own prediction and target alone", requires=("purity",))
def own_entry(subject: MetricSubject) -> Iterator[Finding | Note]:
    for name, task in subject.tasks.items():
        targets = subject.targets(task)
        answers = subject.answers(task, targets, 0.5)
        whole = subject.errors(answers, targets, task)
        some = subject.errors(answers[::2, 1:], targets[::2, 1:], task)
        size = float(whole.abs().max()) + 1e-12
        off = float((some - whole[::2, 1:]).abs().max())
        if off > 1e-9 * size:
            yield Finding(
                expected=f"the same numbers for some prompts and lengths as among all, where labels are {name}",
                found=f"numbers that differ by up to {off:.3g}",
                mend="take no mean, norm, rank or maximum over prompts or lengths in errors; what all are divided by "
                "belongs in scale",
            )
            return


@rule("direction", "better answers have better numbers, the way that improves says", requires=("own entry",))
def direction(subject: MetricSubject) -> Iterator[Finding | Note]:
    sign = 1 if subject.as_given.improves == "down" else -1
    for name, task in subject.tasks.items():
        targets = subject.targets(task, 512)
        perfect = subject.value(subject.answers(task, targets, 0.0), targets, task)
        half = subject.value(subject.answers(task, targets, 0.6), targets, task)
        nothing = subject.value(subject.nothing(task, targets), targets, task)
        if not sign * perfect <= sign * half + 1e-12 or not sign * perfect < sign * nothing:
            word = "least" if sign > 0 else "greatest"
            yield Finding(
                expected=f"the {word} number for perfect answers, as improves is {subject.as_given.improves!r}, where "
                f"labels are {name}",
                found=f"{perfect:.4g} for perfect answers, {half:.4g} for worse ones, {nothing:.4g} for who knows "
                f"nothing",
                mend='set improves to "up" if more is better, or let undefined say where it means nothing',
            )
            return


@rule("trivial level", "trivial is the value of predicting zero, or chance", requires=("own entry",))
def trivial(subject: MetricSubject) -> Iterator[Finding | Note]:
    looked_at = 0
    for name, task in subject.tasks.items():
        subject.doing = f"trivial, where labels are {name}"
        stated: object = subject.as_given.trivial(task)
        if stated is None:
            continue
        looked_at += 1
        targets = subject.targets(task, PROMPTS)
        found = subject.errors(subject.nothing(task, targets), targets, task).mean(dim=1)
        scale = float(subject.as_given.scale(targets, task))
        level = subject.value(subject.nothing(task, targets), targets, task)
        error = float(found.std()) / math.sqrt(len(found)) / abs(scale)
        median = subject.as_given.middle == "median"
        allowed = 0.1 * abs(level) if median else Z * error + 1e-9 * abs(level)
        if isinstance(stated, bool) or not isinstance(stated, int | float) or not abs(stated - level) <= allowed:
            yield Finding(
                expected=f"{level:.4g} ± {error:.1g} from {subject.doing}: what zeros, or equal chances, are given",
                found=repr(stated),
                mend="correct trivial, or return None where it is not known; it is what scale has divided",
            )
            return
    if not looked_at:
        raise Inapplicable("trivial is None: the level of knowing nothing is not known")


@rule("missing answers", "an answer that is NaN has no number, and changes no other", requires=("own entry",))
def missing(subject: MetricSubject) -> Iterator[Finding | Note]:
    for name, task in subject.tasks.items():
        targets = subject.targets(task)
        answers = subject.answers(task, targets, 0.5)
        usual = subject.errors(answers, targets, task)
        holed = answers.clone()
        holed[0, 0] = math.nan
        found = subject.errors(holed, targets, task)
        others = torch.ones_like(usual, dtype=torch.bool)
        others[0, 0] = False
        if not bool(found[0, 0].isnan()) or not found[others].equal(usual[others]):
            yield Finding(
                expected=f"NaN for an answer that is NaN, and the same numbers for all others, where labels are {name}",
                found=f"{float(found[0, 0]):.4g} for it",
                mend="comparisons turn NaN into False: write torch.where(predictions.isnan(), torch.nan, ...)",
            )
            return
