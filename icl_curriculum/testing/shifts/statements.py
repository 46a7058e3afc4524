"""Rules on what a shift says: for which tasks it makes sense, how long its prompts are, what the tables call them."""

from __future__ import annotations

from collections.abc import Iterator

from icl_curriculum.tasks import Task
from icl_curriculum.testing.rules import Finding, Note, rule
from icl_curriculum.testing.shifts.subject import ShiftSubject

#: Points of trained prompts.
POINTS = (1, 2, 5, 11, 41)


@rule("undefined", "undefined gives None or a reason, and apply a task, for every function class",
      requires=("construction",))  # fmt: skip
def undefined(subject: ShiftSubject) -> Iterator[Finding | Note]:
    refusals: dict[str, str] = {}
    for name, task in subject.candidates():
        said = subject.undefined(task)
        if said is not None and not (isinstance(said, str) and said.strip()):
            yield Finding(
                expected=f"None or a reason in words from {subject.doing}",
                found=repr(said),
                mend='return None where the shift makes sense, else why not: "it makes its own inputs"',
            )
            return
        reason = subject.refusal(task)
        if reason is not None:
            refusals[name] = reason
            continue
        shifted, again = (_applied(subject, task) for _ in range(2))
        if not isinstance(shifted, Task):
            yield Finding(
                expected=f"a Task from {subject.doing}",
                found=f"a {type(shifted).__name__}",
                mend="return dataclasses.replace(task, ...), or task where the task is as in training",
            )
            return
        if shifted != again:
            yield Finding(
                expected=f"equal tasks from two calls of {subject.doing}",
                found=f"{shifted} and then {again}",
                mend="draw nothing in apply, and keep nothing between calls: prompts and denominator must be of one "
                "task",
            )
            return
    if not subject.tasks:
        name, reason = next(iter(refusals.items()))
        yield Finding(
            expected="a registered function class for which the shift makes sense",
            found=f"all {len(refusals)} are refused, {name} with: {reason}",
            mend="let undefined refuse only what the shift cannot change, or register such a class in the same file",
        )
    elif refusals:
        listed = ", ".join(f"{name} ({reason})" for name, reason in list(refusals.items())[:3])
        more = f" and {len(refusals) - 3} more" if len(refusals) > 3 else ""
        yield Note(f"undefined for {listed}{more}; looked at {', '.join(subject.tasks)}")


def _applied(subject: ShiftSubject, task: Task) -> object:
    return subject.apply(task)


@rule("points", "points gives a whole number of points, at least 1", requires=("undefined",))
def points(subject: ShiftSubject) -> Iterator[Finding | Note]:
    for trained in POINTS:
        found: object = subject.points(trained)
        if isinstance(found, bool) or not isinstance(found, int) or found < 1 or found != subject.points(trained):
            yield Finding(
                expected=f"a whole number of at least 1, always the same, from points({trained})",
                found=repr(found),
                mend="return int(...): the points of a shifted prompt, the query's included",
            )
            return


@rule("columns", "columns gives what the tables say of inputs and shift", requires=("undefined",))
def columns(subject: ShiftSubject) -> Iterator[Finding | Note]:
    for task in subject.tasks.values():
        found: object = subject.columns(task)
        texts = isinstance(found, tuple) and len(found) == 2 and all(isinstance(text, str) for text in found)
        if not texts or not all(text.strip() and "\n" not in text for text in found):  # type: ignore[attr-defined]
            yield Finding(
                expected=f"a tuple of two texts of one line from {subject.doing}: input_distribution and shift",
                found=repr(found),
                mend='return (task.inputs.id, self.id), or (the id of the shifted inputs, "none")',
            )
            return
