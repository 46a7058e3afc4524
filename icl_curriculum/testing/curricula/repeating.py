"""Rules on the state of a curriculum: what it may hold, what update makes of it, and runs that were interrupted."""

from __future__ import annotations

from collections.abc import Iterator

from icl_curriculum.testing.checkpointing import read_again, unequal_places
from icl_curriculum.testing.curricula.shares import unlike_probabilities
from icl_curriculum.testing.curricula.subject import Course, CurriculumSubject, Signals, copied
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule
from icl_curriculum.testing.subject import equal_to
from icl_curriculum.training.returned import outside_plain

#: The numbers of updates after which a state is looked at.
UPDATES = 12


@rule("state", "the state is a dict of plain values, which a checkpoint holds; that of a fixed curriculum is empty",
      requires=("shares",))  # fmt: skip
def state(subject: CurriculumSubject) -> Iterator[Finding | Note]:
    for items, steps in subject.longest:
        course = subject.start(items, steps)
        first = copied(course.state) if isinstance(course.state, dict) else course.state
        if not subject.as_given.adaptive and course.state != {}:
            yield Finding(
                expected="an empty state of a curriculum without update",
                found=f"{course.state!r} from {subject.doing}",
                mend="give update, without which the state never changes; what never changes belongs in fields",
            )
            return
        for _ in range(min(steps, UPDATES)):
            broken = _outside_checkpoints(course)
            if broken is not None:
                yield Finding(
                    expected="a dict of plain values (numbers, text, None, lists, dicts) as the state",
                    found=f"{broken} after {course.step} updates",
                    mend="keep numbers as int and float (float(x) of numpy's and torch's), sets as lists, objects as "
                    "dicts of what they hold",
                )
                return
            subject.go(course, 1)
        kept = unequal_places(first, subject.start(items, steps).state)
        if kept:
            yield Finding(
                expected=f"the same state from {subject.doing}, whatever another run has done meanwhile",
                found=f"{', '.join(kept[:3])} differ once a run has gone on from the first",
                mend="make a new dict, with new lists in it, at every call; update changes copies",
            )
            return


def _outside_checkpoints(course: Course) -> str | None:
    """The reason why a state cannot be written and read again as it was; None if it can."""
    if type(course.state) is not dict:
        return f"a {type(course.state).__name__}"
    found = outside_plain(course.state, "state")
    if found is not None:
        return found
    try:
        changed = unequal_places(course.state, read_again(course.state))
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return f"state[{changed[0]!r}] is another once it was written and read" if changed else None


@rule("update", "update gives the next state and leaves the losses alone", requires=("state",))
def update(subject: CurriculumSubject) -> Iterator[Finding | Note]:
    _expect_adaptive(subject)
    moved = False
    for items, steps in subject.longest:
        course = subject.start(items, steps)
        start = copied(course.state)
        for _ in range(min(steps, UPDATES)):
            told = subject.losses(course)
            before = dict(told)
            subject.update(course, told)
            if told != before:
                yield Finding(
                    expected=f"the losses as they were before {subject.doing}",
                    found=f"{told}, changed by update",
                    mend="work on a copy: dict(signals)",
                )
                return
        moved |= bool(unequal_places(start, course.state))
    if not moved:
        yield Finding(
            expected=f"another state after {UPDATES} updates",
            found="the state that the run began with",
            mend="return the new state from update: {**state, ...}; a fixed curriculum needs none, and the trainer "
            "need not wait for its losses",
        )


@rule("signals", "shares stay probabilities whatever the losses: huge, zero, of one item alone", requires=("update",))
def signals(subject: CurriculumSubject) -> Iterator[Finding | Note]:
    _expect_adaptive(subject)
    seen: set[tuple[float, ...]] = set()
    for items, steps in subject.longest:
        for how, told in _extremes(items).items():
            course = subject.start(items, steps)
            for number in range(min(steps, UPDATES)):
                subject.update(course, told[number % len(told)])
                if course.step >= steps:
                    break
                found = subject.shares(course)
                finding = unlike_probabilities(subject, course, found)
                if finding is not None:
                    yield Finding(
                        expected=f"{finding.expected}, after {course.step} updates with {how}",
                        found=finding.found,
                        mend="bound what is made of the losses (math.exp of a large number overflows, 0 / 0 is none), "
                        "and take an item without a loss as one that was not drawn",
                    )
                    return
                seen.add(tuple(float(share) for share in found))  # type: ignore[attr-defined]
    if len(seen) == len({len(shares) for shares in seen}):
        yield Note("no losses tried here changed the shares")


def _expect_adaptive(subject: CurriculumSubject) -> None:
    if not subject.as_given.adaptive:
        raise Inapplicable("a fixed curriculum: it gives no update, and reads no losses")


def _extremes(items: tuple[str, ...]) -> dict[str, list[Signals]]:
    """Losses to tell in turn, by what they are."""
    return {
        "losses of 1e30": [dict.fromkeys(items, 1e30)],
        "losses of 0": [dict.fromkeys(items, 0.0)],
        "losses of 1e30 and 0 in turn": [dict.fromkeys(items, 1e30), dict.fromkeys(items, 0.0)],
        "losses of the last item alone": [{items[-1]: 0.5}, {items[-1]: 0.4}],
        "losses of 1e30 of one item and 0 of the others": [{item: 1e30 if item == items[0] else 0.0 for item in items}],
    }


@rule("determinism", "equal losses give equal shares and states, whatever other runs are under way",
      requires=("state",))  # fmt: skip
def determinism(subject: CurriculumSubject) -> Iterator[Finding | Note]:
    for items, steps in subject.longest:
        one, other, late = (subject.start(items, steps) for _ in range(3))
        for _ in range(steps):
            subject.go(one, 1)
            subject.go(other, 1)
        subject.go(late, steps)
        if one.shares != other.shares or one.shares != late.shares or unequal_places(one.state, late.state):
            yield Finding(
                expected=f"the same shares and states of equal runs of {steps} steps and {len(items)} items",
                found="others in a run beside another, or after one",
                mend="keep everything in the state: nothing in attributes, in class variables or in the module, and no "
                "iteration over a set",
            )
            return


@rule("resuming", "a run that was interrupted and resumed has the shares of one that was not",
      requires=("determinism",))  # fmt: skip
def resuming(subject: CurriculumSubject) -> Iterator[Finding | Note]:
    for items, steps in subject.longest:
        whole = subject.go(subject.start(items, steps), steps)
        half = subject.go(subject.start(items, steps), steps // 2)
        afresh = equal_to(subject.as_given)
        resumed = Course(items, steps, read_again(half.state), half.step, list(half.shares))
        subject.go(resumed, steps - steps // 2, of=afresh)
        if resumed.shares != whole.shares or unequal_places(resumed.state, whole.state):
            step = next(
                (k for k, pair in enumerate(zip(whole.shares, resumed.shares, strict=True)) if pair[0] != pair[1]),
                steps,
            )
            yield Finding(
                expected=f"after {steps} steps the same shares whether or not the run was interrupted and resumed "
                f"after {steps // 2}",
                found=f"others from step {step} on" if step < steps else "another state at the end",
                mend="keep everything that one step leaves for the next in the state, as plain values, and nothing in "
                "attributes of the curriculum",
            )
            return
