"""Rules on what an observation shows, in the order in which they are checked.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from pydantic import ValidationError

from icl_curriculum.baselines import Baseline
from icl_curriculum.config.mistakes import problems
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import BASELINES
from icl_curriculum.function_classes.showing import shows_too_much
from icl_curriculum.observations import ALL_KINDS, OF_NUMBERS, Pairs
from icl_curriculum.results.statistics.moments import Z, estimate_of
from icl_curriculum.testing import components
from icl_curriculum.testing.devices import lies_away, pretended_accelerator
from icl_curriculum.testing.observations.subject import ObservationSubject
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, Rule, rule
from icl_curriculum.testing.showing import showing

#: Prompts behind a mean.
PROMPTS = 1 << 14


@rule("kinds", "`kinds` says what labels it can change, and `baselines` names registered ones",
      requires=("construction",))  # fmt: skip
def kinds(subject: ObservationSubject) -> Iterator[Finding | Note]:
    stated: object = subject.as_given.kinds
    if not isinstance(stated, frozenset) or not stated or not stated <= ALL_KINDS:
        yield Finding(
            expected=f"a frozenset of some of {', '.join(sorted(ALL_KINDS))} in kinds",
            found=repr(stated),
            mend='write kinds: ClassVar[frozenset[LabelKind]] = frozenset({"numbers", "vectors"})',
        )
        return
    for spec in subject.as_given.baselines:
        try:
            assert isinstance(BASELINES.build(spec), Baseline)
        except (UserError, ValidationError) as error:
            found = str(error) if isinstance(error, UserError) else "; ".join(problems(error))
            yield Finding(
                expected="in baselines, registered baselines: names, or tables with parameters",
                found=found,
                mend="correct baselines, or register it in the same plugin file",
            )


@rule("shown dims", "shown_dims gives a whole number of at least 1, always the same", requires=("kinds",))
def shown_dims(subject: ObservationSubject) -> Iterator[Finding | Note]:
    for dims in (1, 2, 5, 20):
        subject.doing = f"shown_dims({dims})"
        found: object = subject.as_given.shown_dims(dims)
        if isinstance(found, bool) or not isinstance(found, int) or found < 1:
            yield Finding(
                expected=f"a whole number of at least 1 from {subject.doing}",
                found=repr(found),
                mend="return how many numbers an input is shown as, dims by default",
            )
            return


@rule("show", "show keeps shapes, kinds and the time: entries go by earlier ones, and no question by its answer",
      requires=("shown dims",))  # fmt: skip
def show(subject: ObservationSubject) -> Iterator[Finding | Note]:
    for name, task in subject.tasks.items():
        subject.doing = f"show of {name}"
        look = partial(shows_too_much, task.function_class, task.inputs, task.dims)
        finding = showing(look, subject.doing)
        if finding is not None:
            yield finding
            return


@rule("purity", "show changes no tensor in place, and gives the same from equal generators", requires=("show",))
def purity(subject: ObservationSubject) -> Iterator[Finding | Note]:
    for task in subject.tasks.values():
        pairs = subject.pairs(task)
        pairs = replace(pairs, queries=pairs.xs.flip(0))
        assert pairs.queries is not None
        before = {"xs": pairs.xs.clone(), "ys": pairs.ys.clone(), "queries": pairs.queries.clone()}
        first = subject.show(pairs, subject.generator("purity"))
        changed = [name for name, value in before.items() if not value.equal(getattr(pairs, name))]
        if changed:
            yield Finding(
                expected=f"{subject.doing} that leaves what it is given as it was",
                found=f"it changed {', '.join(changed)} in place",
                mend="no in-place operations (names ending in _, +=, assignments to slices); work on clone()",
            )
            return
        kept = {name: getattr(first, name).clone() for name in before}
        subject.show(subject.pairs(task, index=1), subject.generator("purity", 1))
        again = subject.show(pairs, subject.generator("purity"))
        unequal = [name for name, value in kept.items() if not value.equal(getattr(again, name))]
        if unequal:
            yield Finding(
                expected=f"bit-equal pairs from equal generators in {subject.doing}, whatever was shown in between",
                found=f"{', '.join(unequal)} differ",
                mend="keep no state between calls, and draw from the generator that show is given alone",
            )
            return


@rule("device", "all that is made lies on the generator's device", requires=("show",))
def device(subject: ObservationSubject) -> Iterator[Finding | Note]:
    """Checked with `pretended_accelerator`."""
    for task in subject.tasks.values():
        pairs = subject.pairs(task)
        problem = None
        with pretended_accelerator(subject) as mode:
            made = subject.generator("device")
            try:
                away = replace(pairs, xs=pairs.xs.to(made.device), ys=pairs.ys.to(made.device))
                found = subject.show(away, made)
            except Exception as error:
                problem = f"{type(error).__name__}: {error} ({subject.where_raised(error)})"
            else:
                if lies_away(found.xs) or lies_away(found.ys):
                    problem = "what is shown would stay on the CPU"
        if problem is not None:
            forgotten = f"; made without a device: {'; '.join(mode.forgotten)}" if mode.forgotten else ""
            yield Finding(
                expected=f"every tensor of {subject.doing} on generator.device (tried with an accelerator that is "
                "pretended on the CPU)",
                found=f"{problem}{forgotten}",
                mend="pass device=generator.device to every factory (torch.zeros, torch.randn, ...)",
            )
            return


@rule("change", "something is shown that is not the pairs as they are", requires=("purity",))
def change(subject: ObservationSubject) -> Iterator[Finding | Note]:
    same = [name for name, task in subject.tasks.items() if not _changes(subject, subject.pairs(task, 64, 9))]
    if len(same) == len(subject.tasks):
        yield Finding(
            expected="pairs that differ from those that it is given, for some class",
            found=f"the same for {'; '.join(same)}: it changes nothing",
            mend="return dataclasses.replace(pairs, ys=...); where nothing is changed no observation is needed",
        )
    elif same:
        yield Note(f"it changes nothing for {'; '.join(same)}")


def _changes(subject: ObservationSubject, pairs: Pairs) -> bool:
    found = subject.show(pairs, subject.generator("change"))
    return found.xs.shape != pairs.xs.shape or not (found.xs.equal(pairs.xs) and found.ys.equal(pairs.ys))


@rule("noise variance", "noise_variance is the mean squared difference that it makes to numbers, in units of size",
      requires=("purity",))  # fmt: skip
def noise_variance(subject: ObservationSubject) -> Iterator[Finding | Note]:
    """Compared over 16,384 prompts of standard normal inputs."""
    numbers = {name: task for name, task in subject.tasks.items() if task.function_class.label_kind in OF_NUMBERS}
    if not numbers:
        raise Inapplicable("it changes no labels that are numbers")
    subject.doing = "noise_variance"
    stated = float(subject.as_given.noise_variance)
    if not stated >= 0:
        yield Finding(
            expected="a variance, 0 or more, from noise_variance",
            found=repr(stated),
            mend="return 0.0 where nothing is known",
        )
        return
    if math.isinf(stated):
        raise Inapplicable("it states no finite variance: prompts.label_noise is that of the class alone")
    for name, task in numbers.items():
        pairs = subject.pairs(task, PROMPTS, 4, "noise variance")
        found = subject.show(pairs, subject.generator("noise variance"))
        squares = ((found.ys - pairs.ys).double() / pairs.size).square().flatten(1).mean(dim=1)
        drawn = estimate_of(squares.numpy())
        wrong = drawn.verdict(stated)
        if wrong:
            yield Finding(
                expected=f"a noise_variance of about {drawn.mean:.4g}, which {subject.doing} shows for {name}",
                found=f"{stated:.4g}, which is {wrong} (beyond {Z:.0f} standard errors; {drawn})",
                mend="return E (shown - clean)^2 of a number of a label over size^2: ridge regression takes its "
                "penalty from it, through prompts.label_noise",
            )
            return


RULES: tuple[Rule[ObservationSubject], ...] = (
    *components.RULES,
    kinds,
    shown_dims,
    show,
    purity,
    device,
    change,
    noise_variance,
)
