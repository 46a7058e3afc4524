"""Rules on the prompts that a shift draws: their form, where they come from, and that they are others.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from icl_curriculum.core.misspelling import misspelt
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.shifts import Shift
from icl_curriculum.tasks import Task
from icl_curriculum.testing.generators import watched_generators
from icl_curriculum.testing.rules import Finding, Note, rule
from icl_curriculum.testing.shifts.subject import ShiftSubject

#: Prompts, and points of a trained prompt: one of each, and more.
SHAPES = ((1, 3), (5, 9))
N, POINTS = 16, 9
#: The tensors that make a prompt.
PARTS = ("xs", "ys", "targets", "queries", "mask", "steps")


@rule("draw", "draw gives finite float32 prompts of n prompts and points(points) points",
      requires=("points", "columns"))  # fmt: skip
def draw(subject: ShiftSubject) -> Iterator[Finding | Note]:
    for task in subject.tasks.values():
        shifted = subject.apply(task)
        for n, trained in SHAPES:
            points = subject.points(trained)
            found: object = subject.draw(task, n, points, "draw")
            wrong = _unlike_prompts(found, n, points, shifted)
            if wrong is not None:
                expected, got = wrong
                yield Finding(
                    expected=f"{expected} from {subject.doing}",
                    found=got,
                    mend="make prompts by task.label(...), or by dataclasses.replace of what task.draw gives; mark "
                    "what is undefined by a mask",
                )
                return


def _unlike_prompts(found: object, n: int, points: int, task: Task) -> tuple[str, str] | None:
    """What was expected and what was found, in words, where the first does not hold; None where all of it does."""
    if not isinstance(found, Prompts):
        return "Prompts", f"a {type(found).__name__}"
    flat, deep = (n, points), (n, points, task.shown_dims)
    labels, _ = task.function_class.label_shape(n, points)
    shown = task.function_class.shown_steps
    wanted = {"xs": deep, "ys": labels, "targets": labels, "queries": deep, "mask": flat, "steps": (*flat, shown)}
    for name, shape in wanted.items():
        value: object = getattr(found, name)
        if value is None and name in ("queries", "mask"):
            continue
        if value is None and name == "steps" and not shown:
            continue
        dtype = torch.bool if name == "mask" else torch.float32
        if not isinstance(value, Tensor) or value.shape != shape or value.dtype != dtype:
            got = (
                f"{tuple(value.shape)} and {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            )
            return f"{name} of shape {shape} and {dtype}", got
    defined = torch.ones(flat, dtype=torch.bool) if found.mask is None else found.mask
    for name, value in (("xs", found.xs), ("ys", found.ys)):
        if not bool(value.isfinite().all()):
            return f"finite {name}", f"{int((~value.isfinite()).sum())} of {value.numel()} infinite or NaN"
    for name, value in (("targets", found.targets), ("queries", found.query())):
        if not bool(value[defined].isfinite().all()):
            return f"finite {name} where the mask is True", "some infinite or NaN"
    return None


@rule("mask", "every shifted prompt can be asked about at some length", requires=("draw",))
def mask(subject: ShiftSubject) -> Iterator[Finding | Note]:
    uneven = False
    for task in subject.tasks.values():
        points = subject.points(4 * task.dims)
        given = subject.draw(task, N, points, "mask").mask
        if given is None:
            continue
        if not bool(given.any()):
            yield Finding(
                expected=f"a mask that is True somewhere from {subject.doing}",
                found="a mask that is False everywhere: no error could be measured",
                mend="set the mask True where the target is defined, or say in undefined why the task has no such "
                "prompts",
            )
            return
        uneven |= bool((given.any(dim=0) != given.all(dim=0)).any())
    if uneven:
        yield Note("the mask differs between prompts: at some lengths errors are means over fewer prompts")


@rule("global generators", "no draw from, and no seeding of, the generators that all code shares", requires=("draw",))
def global_generators(subject: ShiftSubject) -> Iterator[Finding | Note]:
    touched: dict[str, None] = {}
    for task in subject.tasks.values():
        points = subject.points(POINTS)
        with watched_generators() as used:
            subject.draw(task, N, points, "global generators")
            touched.update(dict.fromkeys(used()))
    for library in touched:
        yield Finding(
            expected="all random numbers from the streams that draw is given",
            found=f"{library}'s global generator changed during {subject.doing}",
            mend="pass generator=streams.generator('a name of your own') to every torch draw",
        )


@rule("determinism", "equal streams give equal prompts, bit by bit", requires=("global generators",))
def determinism(subject: ShiftSubject) -> Iterator[Finding | Note]:
    for task in subject.tasks.values():
        points = subject.points(POINTS)
        first = _copied(subject.draw(task, N, points, "determinism"))
        subject.draw(task, N, points, "determinism", 1)
        unequal = unequal_parts(first, subject.draw(task, N, points, "determinism"))
        if unequal:
            yield Finding(
                expected=f"bit-equal prompts from two calls of {subject.doing} with equal streams",
                found=f"{', '.join(unequal)} differ",
                mend="keep nothing between calls, seed nothing from the clock, and change nothing of what was drawn "
                "before in place",
            )
            return


@rule("change", "the shifted prompts are not those without the shift", requires=("determinism",))
def change(subject: ShiftSubject) -> Iterator[Finding | Note]:
    same = []
    for name, task in subject.tasks.items():
        points = subject.points(POINTS)
        usual = subject.unshifted(task, N, POINTS, "change")
        if points == POINTS and not unequal_parts(usual, subject.draw(task, N, points, "change")):
            same.append(name)
    if len(same) == len(subject.tasks):
        close = [f"{name}, did you mean {meant}?" for name, meant in misspelt(subject.cls, Shift).items()]
        yield Finding(
            expected="other prompts than without the shift, from the same streams, for some task",
            found=f"the same for {', '.join(same)}: it changes nothing" + "".join(f"; it defines {it}" for it in close),
            mend="override apply, points or draw, under exactly these names; a parameter at which it changes nothing "
            "needs no shift",
        )
    elif same:
        yield Note(f"it changes nothing for {', '.join(same)}")


@rule("names", "the tables do not call shifted prompts what they call the others", requires=("change",))
def names(subject: ShiftSubject) -> Iterator[Finding | Note]:
    for task in subject.tasks.values():
        key = (subject.apply(task).function_class.id, *subject.columns(task))
        if key != (task.function_class.id, task.inputs.id, "none"):
            continue
        points = subject.points(POINTS)
        unequal = unequal_parts(subject.unshifted(task, N, POINTS, "names"), subject.draw(task, N, points, "names"))
        if unequal or points != POINTS:
            yield Finding(
                expected="another function class, input_distribution or shift in the tables than without the shift",
                found=f"columns gives {key[1:]!r} for {task.function_class.id}, as without it, and its prompts differ",
                mend="return self.id as the second, or the id of the shifted inputs as the first",
            )
            return


def unequal_parts(one: Prompts, other: Prompts) -> list[str]:
    """The parts of two batches of prompts that are not equal bit by bit."""
    return [name for name in PARTS if not _equal(getattr(one, name), getattr(other, name))] + ["steps_given"] * (
        one.steps_given != other.steps_given
    )


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def _copied(prompts: Prompts) -> Prompts:
    parts = {name: getattr(prompts, name) for name in PARTS}
    return replace(prompts, **{name: value.clone() for name, value in parts.items() if value is not None})
