"""Rules on the numbers in shifted prompts: targets and labels by the functions, the noise, and the denominator.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.results.statistics.moments import MomentEstimate, Z, estimate_of
from icl_curriculum.tasks import Task
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule
from icl_curriculum.testing.shifts.subject import ShiftSubject

N, POINTS = 64, 9
#: Prompts behind a mean in one round, points of a trained prompt. More rounds follow until `RESOLVED` would show.
PROMPTS, MEANS_POINTS = 1 << 11, 9
ROUNDS = (1, 4, 16, 64)
RESOLVED = 0.05


@rule("values", "targets are the functions' values at the queries, in the unit of prompts.scale",
      requires=("determinism",))  # fmt: skip
def values(subject: ShiftSubject) -> Iterator[Finding | Note]:
    without, other_functions, shown_otherwise = [], [], []
    for name, task in subject.tasks.items():
        shifted = subject.apply(task)
        prompts = subject.draw(task, N, subject.points(POINTS), "values")
        if prompts.truth is None:
            without.append(name)
            continue
        if shifted.function_class.drawn_labels:
            continue
        if shifted.function_class.shows_itself:
            shown_otherwise.append(name)
            continue
        doing = subject.doing
        clean = shifted.asked(dict(prompts.truth), prompts.query()) * prompts.scale
        defined = prompts.defined()
        off = _off(prompts.targets[defined], clean[defined])
        if off > 0:
            yield Finding(
                expected=f"targets of {doing} that are the values at the queries of the functions that prompts.truth "
                f"gives, times scale = {prompts.scale:g}",
                found=f"targets that differ by up to {off:.3g}",
                mend="make prompts by task.label, with query_values=task.values(truth, queries); let apply scale the "
                "functions by factor; or drop the functions that no longer hold, truth=None",
            )
            return
        if prompts.label_noise == 0 and _off(prompts.ys, _clean(shifted, prompts, prompts.xs)) > 0:
            yield Finding(
                expected=f"labels of {doing} that are the functions' values at the inputs, as label_noise = 0 says",
                found="labels that are not",
                mend="add noise by apply: dataclasses.replace(task, label_noise=...); evaluate the functions anew "
                "where inputs of the context change",
            )
            return
        usual = subject.unshifted(task, N, POINTS, "values").truth
        same_class = shifted.function_class.family == task.function_class.family
        if same_class and usual is not None and not _same(usual, prompts.truth):
            other_functions.append(name)
    if without:
        yield Note(f"the functions are not kept for {', '.join(without)} (truth is None): no oracle can answer")
    if shown_otherwise:
        yield Note(f"the context shows something else for {', '.join(shown_otherwise)}, so values cannot be recomputed")
    if other_functions:
        yield Note(
            f"other functions than without the shift for {', '.join(other_functions)}: the errors with and without it "
            "are not paired; draw as task.draw does to pair them"
        )


def _clean(task: Task, prompts: Prompts, xs: Tensor) -> Tensor:
    assert prompts.truth is not None
    return task.values(dict(prompts.truth), xs) * prompts.scale


def _off(found: Tensor, expected: Tensor) -> float:
    """The largest difference if it is more than rounding, else 0."""
    if not found.numel():
        return 0.0
    tolerance = 1e-4 * float(expected.abs().max()) + 1e-6
    off = float((found - expected).abs().max())
    return off if not off <= tolerance else 0.0


def _same(one: object, other: object) -> bool:
    if not isinstance(one, dict) or not isinstance(other, dict) or one.keys() != other.keys():
        return False
    return all(one[name].shape == other[name].shape and one[name].equal(other[name]) for name in one)


@rule("noise", "the noise of the labels is what label_noise states", requires=("values",))
def noise(subject: ShiftSubject) -> Iterator[Finding | Note]:
    looked_at = 0
    for task in subject.tasks.values():
        shifted = subject.apply(task)
        prompts = subject.draw(task, PROMPTS, subject.points(MEANS_POINTS), "noise")
        own = shifted.function_class
        if prompts.truth is None or prompts.label_noise == 0 or own.drawn_labels or own.shows_itself:
            continue
        looked_at += 1
        clean = _clean(shifted, prompts, prompts.xs).double()
        # A flipped sign is off by 2, with the probability p.
        signs = shifted.function_class.sign_valued
        stated = 4 * prompts.flip_probability * prompts.scale**2 if signs else prompts.label_noise**2
        squares = (prompts.ys.double() - clean).square()
        if squares.ndim == 3:
            squares = squares.sum(dim=-1) / prompts.label_dims
        if prompts.classes:
            # Another class is off by 1 in two of C numbers.
            stated = 2 * prompts.label_noise / prompts.label_dims
        drawn = estimate_of(squares.mean(1).numpy())
        wrong = drawn.verdict(stated)
        if wrong:
            yield Finding(
                expected=f"a mean square of {stated:.4g} of the labels' noise in {subject.doing}, as label_noise = "
                f"{prompts.label_noise:.4g} states",
                found=str(drawn),
                mend="let apply set the task's label_noise and task.label add it: ridge regression and oracles read "
                "prompts.label_noise",
            )
            return
    if not looked_at:
        raise Inapplicable("no noise on the labels, or functions that are not kept")


@rule("denominator", "the mean of squared targets is the second moment of the task that apply returns",
      requires=("determinism",))  # fmt: skip
def denominator(subject: ShiftSubject) -> Iterator[Finding | Note]:
    """Compares it over all lengths, and at each, because errors are divided by it at each."""
    unbounded, unresolved = [], []
    for name, task in subject.tasks.items():
        shifted = subject.apply(task)
        if not shifted.has_error_variance():
            unbounded.append(name)
            continue
        stated = shifted.second_moment()
        overall, at = _estimates(subject, task, stated)
        for where, drawn in {"": overall, **{f" at k = {k}": estimate for k, estimate in at.items()}}.items():
            wrong = drawn.verdict(stated)
            if wrong:
                yield Finding(
                    expected=f"a mean square of targets{where} in {subject.doing} that is the second moment of the "
                    f"task that apply returns, {stated:.5g}: errors are divided by it, and zero has error 1",
                    found=f"{drawn}: the second moment is {wrong} (beyond {Z:.0f} standard errors)",
                    mend="let apply return the task whose inputs are distributed as the queries, with its factor and "
                    "function class; what no task can say has no denominator",
                )
                return
        if not overall.judges_tails or Z * overall.error > RESOLVED * stated:
            unresolved.append(f"{name} ({Z * overall.error / stated:.0%})")
    if unbounded and len(unbounded) == len(subject.tasks):
        raise Inapplicable("the squared targets have no finite variance: nothing can be drawn")
    if unbounded:
        yield Note(f"no finite variance, so not compared: {', '.join(unbounded)}")
    if unresolved:
        yield Note(f"a smaller difference would not show: {', '.join(unresolved)}")


def _estimates(subject: ShiftSubject, task: Task, stated: float) -> tuple[MomentEstimate, dict[int, MomentEstimate]]:
    """Mean squared targets of the entries that are defined: over all lengths, and at each of them."""
    points = subject.points(MEANS_POINTS)
    squares: list[Tensor] = []
    masks: list[Tensor] = []
    for rounds in ROUNDS:
        for index in range(len(squares), rounds):
            prompts = subject.draw(task, PROMPTS, points, "denominator", index)
            masks.append(prompts.defined())
            squared = prompts.targets.double().square()
            squares.append(torch.where(masks[-1], squared if squared.ndim == 2 else squared.sum(dim=-1), 0.0))
        found, defined = torch.cat(squares), torch.cat(masks)
        asked = defined.any(dim=1)
        overall = estimate_of((found.sum(1) / defined.sum(1))[asked].numpy())
        if (overall.judges_tails and Z * overall.error <= RESOLVED * abs(stated)) or math.isinf(stated):
            break
    ks = defined.any(dim=0).nonzero().flatten().tolist()
    return overall, {k: estimate_of(found[defined[:, k], k].numpy()) for k in ks}
