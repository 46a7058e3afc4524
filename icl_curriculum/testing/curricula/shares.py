"""Rules on the shares of a curriculum: what it refuses, and that they are probabilities at every step."""

from __future__ import annotations

import math
from collections.abc import Iterator

from icl_curriculum.testing.checkpointing import unequal_places
from icl_curriculum.testing.curricula.subject import Course, CurriculumSubject, copied
from icl_curriculum.testing.generators import watched_generators
from icl_curriculum.testing.rules import Finding, Note, rule

#: By how much probabilities may miss 1: what a run allows.
ROUNDING = 1e-6


@rule("check", "check refuses items and steps with UserError alone, and takes some", requires=("construction",))
def check(subject: CurriculumSubject) -> Iterator[Finding | Note]:
    refused = [(items, subject.refusal(items, 40)) for items in subject.items]
    if not subject.runs:
        items, reason = refused[0]
        yield Finding(
            expected="some items, from 1 to 5, that the curriculum can order in 40 steps",
            found=f"check refuses them all, {items} with: {reason}",
            mend="let check raise only for items and steps for which shares cannot be given",
        )
        return
    counts = sorted({len(items) for items, _ in subject.runs})
    lacking = [(items, reason) for items, reason in refused if reason is not None and len(items) not in counts]
    if lacking:
        yield Note(f"{len(lacking[0][0])} items are refused: {lacking[0][1]}")


@rule("shares", "a probability for every item at every step; they sum to 1, and the state is left as it is",
      requires=("check",))  # fmt: skip
def shares(subject: CurriculumSubject) -> Iterator[Finding | Note]:
    for course in subject.courses():
        for _ in range(course.steps):
            before = copied(course.state)
            found, again = subject.shares(course), subject.shares(course)
            finding = unlike_probabilities(subject, course, found)
            if finding is not None:
                yield finding
                return
            changed = unequal_places(before, course.state)
            if changed:
                yield Finding(
                    expected=f"the state as it was before {subject.doing}",
                    found=f"shares changed {', '.join(changed[:3])}",
                    mend="change the state in update alone: shares may be asked any number of times",
                )
                return
            if list(found) != list(again):  # type: ignore[call-overload]
                yield Finding(
                    expected=f"the same from two calls of {subject.doing}",
                    found=f"{found} and then {again}",
                    mend="make shares a function of the step, the state, the items and the steps alone: no random "
                    "numbers, no counters",
                )
                return
            subject.update(course, subject.losses(course))


def unlike_probabilities(subject: CurriculumSubject, course: Course, found: object) -> Finding | None:
    """What is wrong with shares, if anything is."""
    try:
        values = [float(share) for share in found]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        values = []
    wrong = len(values) != len(course.items) or not all(math.isfinite(value) and value >= 0 for value in values)
    if not wrong and abs(math.fsum(values) - 1) <= ROUNDING:
        return None
    sums = f", which sum to {math.fsum(values):.6g}" if values and not wrong else ""
    return Finding(
        expected=f"shares of at least 0, {len(course.items)} in all, that sum to 1, from {subject.doing}",
        found=f"{found!r}{sums}",
        mend="return a list with a probability for each of items, in their order, divided by their sum",
    )


@rule("global generators", "no draw from, and no seeding of, the generators that all code shares", requires=("shares",))
def global_generators(subject: CurriculumSubject) -> Iterator[Finding | Note]:
    items, steps = subject.runs[-1]
    with watched_generators() as used:
        subject.go(subject.start(items, steps), min(steps, 3))
        touched = used()
    for library in touched:
        yield Finding(
            expected="no random numbers: deciding is the curriculum's, drawing is the trainer's",
            found=f"{library}'s global generator changed during start, shares or update",
            mend="return probabilities; the trainer draws by them from a stream of its own",
        )
