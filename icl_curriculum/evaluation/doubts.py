"""What cannot be true of a bank, or of what was answered to it.

Dimensions: n = prompts, points = K + 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from icl_curriculum.core.misspelling import misspelt
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import BUILT_IN, origin_of
from icl_curriculum.evaluation.banks import Bank
from icl_curriculum.evaluation.differences import LearnerAnswers
from icl_curriculum.evaluation.learners import oracle_entry, owns_oracle
from icl_curriculum.function_classes.estimates import estimated_trivial_error, moment_points
from icl_curriculum.results.doubts import Doubt
from icl_curriculum.results.statistics.moments import beats, estimate_of
from icl_curriculum.results.statistics.prompts import Array
from icl_curriculum.shifts import Shift, keeps_oracle, makes_own_prompts

#: Standard errors beyond which a mean cannot be what was stated, and no learner be better than the best there is.
Z = 5.0
#: The fewest prompts from which anything is concluded: a standard error of fewer is too uncertain itself.
LEAST = 64
#: Prompts by which a shift is compared with none.
COMPARED = 64
#: What rounding to single precision makes of an error, as a share of E f(q)^2.
ROUNDING = 1e-6


def doubts_on_bank(bank: Bank, prompts: Prompts) -> Iterator[Doubt]:
    """What cannot be true of a bank whoever answers it, and what cannot be claimed on it.

    The mean of its squared targets against what errors are divided by, beyond `Z` standard errors, except where the
    squared error has no finite variance; a shift that changes nothing; an oracle that is not known to hold.
    """
    if not bool(prompts.defined().any()):
        yield Doubt(
            "shift", f"the shift {bank.shift_name!r} leaves no entry of any prompt defined: there are no errors"
        )
        return
    if (wrong := _denominator(bank, prompts)) is not None:
        yield wrong
    function_class = bank.drawn_task.function_class
    if not function_class.states_trivial_error:
        found = estimated_trivial_error(function_class, bank.drawn_task.dims)
        yield Doubt(
            "denominator",
            f"the class {function_class.id!r} states no trivial error, so that its errors are divided by a Monte Carlo "
            f"estimate: {found} in raw units",
        )
    if not owns_oracle(function_class) and function_class.oracle_kind is not None:
        yield Doubt(
            "oracle",
            f"no oracle: the class {function_class.id!r} inherits one and draws or evaluates other functions, or asks "
            f"or shows something else; where it is right for these, let the class say so by its own oracle_kind",
        )
    if bank.shift is not None:
        if (same := _unchanged(bank, bank.shift, prompts)) is not None:
            yield same
        plain = replace(bank, task=bank.drawn_task, shift=None)
        if not keeps_oracle(bank.shift, bank.drawn_task) and oracle_entry(plain):
            yield Doubt(
                "oracle",
                f"no oracle: the shift {bank.shift.id!r} makes prompts in a way of its own, on which that of the class "
                f"is not known to be what it says; oracle_holds = True in the shift claims that it is",
            )


def _denominator(bank: Bank, prompts: Prompts) -> Doubt | None:
    """Whether f(q)^2 has another mean than errors are divided by: over all lengths, or at one where plugins draw."""
    if not bank.drawn_task.has_error_variance():
        return None
    task = bank.drawn_task
    differ = task.function_class.positions_differ(task.dims)
    if differ:
        if makes_own_prompts(bank.shift):
            return None
        # It is a mean over positions, of prompts of one length.
        points = moment_points(task.function_class, task.inputs, task.dims)
        bank = replace(bank, task=task, shift=None, points=points)
        prompts = bank.draw()
    squares = _squares(bank, prompts)
    foreign = not differ and any(origin_of(item) != BUILT_IN for item in bank.components())
    stated = bank.second_moment
    for where, values in squares.items() if foreign else list(squares.items())[:1]:
        if len(values) < LEAST:
            continue
        estimate = estimate_of(values)
        wrong = estimate.verdict(stated, z=Z)
        if wrong is not None:
            return Doubt(
                "denominator",
                f"errors are divided by E f(q)^2 = {stated:.5g}, which is {wrong}: {where} f(q)^2 has the mean "
                f"{estimate.mean:.5g} ± {estimate.error:.2g}, so the zero predictor has error "
                f"{estimate.mean / stated:.3g}, not 1; the formula of {_stated_by(bank)} is wrong, or the prompts are "
                f"not those of the shifted task",
            )
    return None


def _squares(bank: Bank, prompts: Prompts) -> dict[str, Array]:
    """f(q)^2 of each prompt, the mean over its defined entries and then at each length, by where that is.

    Of the whole class, as its E f(q)^2 is; nothing for a pool that cannot be left out of the draw.
    """
    if bank.drawn_task.function_class.pool_size is not None:
        own = bank.task.function_class.model_copy(update={"pool_size": None})
        bank = replace(bank, task=replace(bank.task, function_class=own))
        if bank.drawn_task.function_class.pool_size is not None:
            return {}
        prompts = bank.draw()
    defined = prompts.defined().cpu().numpy()
    squares = np.where(defined, _summed(np.square(prompts.targets.double().cpu().numpy())), 0.0)
    counts = defined.sum(axis=1)
    found = {"over the prompts": squares.sum(axis=1)[counts > 0] / counts[counts > 0]}
    return found | {f"at k = {k}": squares[defined[:, k], k] for k in range(prompts.points)}


def _stated_by(bank: Bank) -> str:
    """The components whose formulas may be wrong: those from outside, or all if there are none."""
    foreign = [item.id for item in bank.components() if origin_of(item) != BUILT_IN]
    return " or ".join(map(repr, foreign or [item.id for item in bank.components()]))


def _unchanged(bank: Bank, shift: Shift, prompts: Prompts) -> Doubt | None:
    """Whether a shift changes nothing at all, and what its author may have meant to override."""
    if shift.points(bank.points) != bank.points:
        return None
    few = replace(bank, n_prompts=min(COMPARED, bank.n_prompts))
    # Most shifts show on a few prompts, which spares drawing all of them twice.
    if not _same(few.draw(), replace(few, shift=None).draw()) or not _same(prompts, replace(bank, shift=None).draw()):
        return None
    meant = [f"it defines {found!r}; did you mean {name!r}?" for found, name in misspelt(type(shift), Shift).items()]
    why = f" ({' '.join(meant)})" if meant else ""
    return Doubt("shift", f"the shift {shift.id!r} changes nothing: its prompts are those without a shift{why}")


def _same(one: Prompts, other: Prompts) -> bool:
    names = ("xs", "ys", "targets", "queries", "mask", "instruction", "steps")
    return one.steps_given == other.steps_given and all(
        _equal(getattr(one, name), getattr(other, name)) for name in names
    )


def _equal(one: Any, other: Any) -> bool:
    return one is other or (one is not None and other is not None and bool(one.equal(other)))


def doubts_on_answers(bank: Bank, prompts: Prompts, answered: Iterable[LearnerAnswers]) -> Iterator[Doubt]:
    """Learners that are better than an oracle by more than `Z` standard errors of the paired difference.

    No baseline can be, or the oracle is not what it says; a model that is has seen what it may not. Nothing is said
    where the squared error has no finite variance.
    """
    if not bank.drawn_task.has_error_variance():
        return
    known = list(answered)
    targets = prompts.targets.double().cpu().numpy()
    scale = 1.0 if prompts.classes else bank.second_moment
    for oracle in known:
        if oracle.learner_kind != "oracle":
            continue
        best = _errors(oracle, targets, classes=prompts.classes)
        for one in known:
            if one.learner_kind == "oracle":
                continue
            own = _errors(one, targets, classes=prompts.classes)
            n = min(len(own), len(best))
            if n < LEAST:
                continue
            better = beats(own[:n], best[:n], Z, rounding=ROUNDING * scale)
            ks = tuple(int(k) for k in np.flatnonzero(better))
            if ks:
                yield _better(one, oracle, ks, own[:n], best[:n], scale)


def _errors(answers: LearnerAnswers, targets: Array, *, classes: bool) -> Array:
    """Squared errors (n, points); of classes how improbable the right one was said to be, -log p."""
    predictions, own = answers.predictions.astype(np.float64), targets[: len(answers.predictions)]
    with np.errstate(over="ignore", invalid="ignore"):
        if classes:
            improbable: Array = -np.where(own > 0, predictions * own, 0.0).sum(axis=-1)
            return improbable
        return _summed(np.square(predictions - own))


def _summed(values: Array) -> Array:
    """Values (n, points), of vectors summed over the numbers of a label."""
    found: Array = values if values.ndim == 2 else values.sum(axis=-1)
    return found


def _better(
    one: LearnerAnswers, oracle: LearnerAnswers, ks: tuple[int, ...], own: Array, best: Array, scale: float
) -> Doubt:
    kept = ~np.isnan(own[:, ks[0]] + best[:, ks[0]])
    errors = [float(values[kept, ks[0]].mean()) / scale for values in (own, best)]
    lengths = ", ".join(map(str, ks))
    found = (
        f"{one.learner} has a smaller error than {oracle.learner} at k = {lengths} ({errors[0]:.4g} and "
        f"{errors[1]:.4g} at k = {ks[0]}), by more than {Z:.0f} standard errors of the paired difference"
    )
    if one.learner_kind == "baseline" and ks[0] == 0:
        why = (
            f"though nothing can be known without an example: it sees the answer, or {oracle.learner} is no oracle here"
        )
    elif one.learner_kind == "baseline":
        why = f"so {oracle.learner} is not the best there is: its formula is wrong, or it is none for these prompts"
    elif ks[0] == 0:
        why = "though nothing can be known without an example: a sign that it sees the answer"
    else:
        why = "which nothing can be that sees no more than the prompt: a sign of a leak, or the oracle is none"
    return Doubt("oracle" if one.learner_kind == "baseline" else "leak", f"{found}, {why}", one.learner, ks)
