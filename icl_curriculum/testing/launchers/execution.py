"""Rules on what a launcher does with units: each is executed, told of, and started again as the contract says."""

from __future__ import annotations

from collections.abc import Iterator

from icl_curriculum.launchers.base import MOST_RESTARTS
from icl_curriculum.testing.launchers.subject import LauncherSubject, attempts
from icl_curriculum.testing.rules import Finding, Note, rule


@rule("planned", "planned gives a text, and writes nothing", requires=("construction",))
def planned(subject: LauncherSubject) -> Iterator[Finding | Note]:
    with subject.folder() as folder:
        subject.doing = "planned"
        text: object = subject.as_given.planned(subject.launch(folder, subject.unit("a-seed0", folder)))
        if not isinstance(text, str):
            yield Finding(
                expected="a text from planned, for icl run NAME --dry-run",
                found=f"{text!r}",
                mend="return what would be submitted, or nothing to say: an empty text",
            )
        if left := sorted(path.name for path in folder.rglob("*")):
            yield Finding(
                expected="nothing written by planned",
                found=f"it has written {', '.join(left)}",
                mend="write files in execute alone",
            )


@rule("finished", "units that finish are executed once, and said to be finished", requires=("construction",))
def finished(subject: LauncherSubject) -> Iterator[Finding | Note]:
    with subject.folder() as folder:
        units = [subject.unit(f"a-seed{seed}", folder) for seed in range(2)]
        heard = subject.executed(subject.launch(folder, *units))
        for unit in units:
            if (number := attempts(unit, folder)) != 1:
                yield Finding(
                    expected=f"the unit {unit.name} executed once",
                    found=f"it was executed {number} times",
                    mend="run the unit's command, followed by the path of its file, and wait for its end",
                )
            ends = [problem for name, problem in heard.ends if name == unit.name]
            if ends != [None]:
                yield Finding(
                    expected=f"watch.ended({unit.name!r}, None), once",
                    found=f"for this unit, it was called with {ends}",
                    mend="call it when the unit has said that it is finished",
                )
            if unit.name not in heard.starts:
                yield Finding(
                    expected=f"watch.started({unit.name!r}) before it ends",
                    found=f"it was called for {heard.starts}",
                    mend="call it when the unit's command begins",
                )


@rule("failed", "a unit that fails by itself is said to have, in its words, and not executed again",
      requires=("finished",))  # fmt: skip
def failed(subject: LauncherSubject) -> Iterator[Finding | Note]:
    with subject.folder() as folder:
        unit = subject.unit("a-seed0", folder, fails="a-seed0: training diverged")
        heard = subject.executed(subject.launch(folder, unit))
        problems = [problem.message if problem else None for _, problem in heard.ends]
        if problems != ["a-seed0: training diverged"]:
            yield Finding(
                expected="watch.ended with a problem of the message 'a-seed0: training diverged', once",
                found=f"it was called with {problems}",
                mend="pass on the message of UnitProcess.problem",
            )
        if (number := attempts(unit, folder)) != 1:
            yield Finding(
                expected="one attempt at a unit that fails by itself: it would fail again",
                found=f"{number} attempts",
                mend="execute again only what was killed or vanished",
            )


@rule("killed", f"a unit whose process is killed is executed again, at most {MOST_RESTARTS} times",
      requires=("finished",))  # fmt: skip
def killed(subject: LauncherSubject) -> Iterator[Finding | Note]:
    with subject.folder() as folder:
        units = [
            subject.unit("a-seed0", folder, dies=MOST_RESTARTS),
            subject.unit("b-seed0", folder, dies=MOST_RESTARTS + 9),
        ]
        heard = subject.executed(subject.launch(folder, *units))
        for unit, well in zip(units, (True, False), strict=True):
            ends = [problem is None for name, problem in heard.ends if name == unit.name]
            number = attempts(unit, folder)
            if ends != [well] or number != MOST_RESTARTS + 1:
                often = MOST_RESTARTS if well else "every time"
                yield Finding(
                    expected=f"{MOST_RESTARTS + 1} attempts at a unit that is killed "
                    f"{f'{often} times' if well else often}, and {'a good' if well else 'a bad'} end",
                    found=f"{number} attempts; ends (True: well): {ends}",
                    mend="look at UnitProcess.was_killed, and execute such a unit again",
                )
