"""Kills runs at random moments and finishes them: ``python tests/support/kill_runs.py --kills 300 [--seed 0]``.

Real `icl run`s of two seeds, with worker processes, are killed one after another: the command alone, a worker alone, or
all at once, by SIGKILL, and every sixth time they are stopped by another signal. The moments are spread over all
phases, from the first import to the last moment of the process. In a folder of its own, a chain of some twenty commands
is killed, and the last one finishes. Whatever differs from an undisturbed run but for what clocks say, whatever is left
behind, a traceback, or an exit code that the pages don't name is a fault: it is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from killed_commands import (
    ANY_TIME,
    BROKEN,
    EVALUATION,
    KILLS,
    LAST,
    LATE,
    PHASES,
    SOON,
    STOPS,
    TRAINING,
    VALUES,
    Blow,
    Command,
    Phase,
    Site,
    time_line,
)  # fmt: skip
from quick_python import started

#: How often a phase is struck, relative to others.
WEIGHTS = {"start-up": 2, "checkpoint": 2}
PHASE = {phase.name: phase for phase in PHASES}
CHAIN = 20
#: One blow in so many is another signal than SIGKILL.
STOP_EVERY = 6


@dataclass
class Tally:
    """What became of all blows, by phase. Several threads write into it."""

    kills: Counter[str] = field(default_factory=Counter)
    stops: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    faults: list[str] = field(default_factory=list)
    finished: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def table(self) -> str:
        rows = [("phase", "kill -9", "other signals", "came too late", "slowest end")]
        for name in PHASE:
            counts = (self.kills[name], self.stops[name], self.missed[name])
            rows.append((name, *map(str, counts), f"{self.slowest[name]:.1f} s"))
        totals = (self.kills.total(), self.stops.total(), self.missed.total())
        rows.append(("all", *map(str, totals), f"{max(self.slowest.values(), default=0.0):.1f} s"))
        return "\n".join(f"{row[0]:20}" + "".join(f"{cell:>15}" for cell in row[1:]) for row in rows)


def plan(draw: random.Random, length: int) -> list[tuple[Phase, Blow]]:
    """Which phases a chain of commands is to be struck in, and by what: first in training, then after it."""
    names = draw.choices([*PHASE], [WEIGHTS.get(name, 1) for name in PHASE], k=length)
    order = {**dict.fromkeys(TRAINING, 0.0), **dict.fromkeys(EVALUATION, 1.0), **dict.fromkeys(LAST, 2.0)}
    names.sort(key=lambda name: draw.uniform(0, 3) if name in ANY_TIME else order[name] + draw.random())
    return [(PHASE[name], blow(draw, name)) for name in names]


def blow(draw: random.Random, phase: str) -> Blow:
    if draw.random() < 1 / STOP_EVERY:
        return draw.choice(STOPS)
    alone = phase in TRAINING | EVALUATION
    return draw.choices(KILLS, [3, 3, 1 if alone else 0])[0]


def chain(site: Site, planned: Sequence[tuple[Phase, Blow]], spent: Mapping[str, float], draw: random.Random,
          whole: Mapping[str, bytes], tally: Tally) -> None:  # fmt: skip
    """Strike one command after another, let the last one finish, and compare what it leaves with the ``whole``."""
    in_training = sum(phase.name in TRAINING for phase, _ in planned)
    history: list[str] = []
    faults: list[str] = []
    for phase, sent in planned:
        share = 1 / max(1, in_training) if phase.name == "training" else 1.0
        wait = draw.uniform(0, share * spent[phase.name])
        command = Command(site)
        there = command.wait_for(phase.opens)
        time.sleep(wait)
        hit = there and command.process.poll() is None and sent.strike(command, draw.choice)
        struck = time.monotonic()
        code = command.end()
        went_on = time.monotonic() - struck
        left, took = command.outlived_by()
        said = f"{command.out.name}: {sent} {wait:.3f} s into {phase.name}"
        history.append(f"{said}, exit code {code}" if hit else f"{said}, which came too late")
        early = phase.name in ("start-up", "ending")
        found = judged(command, sent if hit else None, code, left, early=early, went_on=went_on)
        faults += [f"{said}: {fault}" for fault in found]
        with tally.lock:
            (tally.missed if not hit else tally.kills if sent in KILLS else tally.stops)[phase.name] += 1
            tally.slowest[phase.name] = max(tally.slowest[phase.name], took)
    last = Command(site)
    code = last.end()
    faults += [f"{last.out.name}, which finishes: {fault}" for fault in judged(last, None, code, last.outlived_by()[0])]
    faults += [f"left behind: {name}" for name in site.leftovers()]
    faults += [f"differs: {name}" for name in differing(site.made(), whole)]
    with tally.lock:
        tally.finished += 1
        if faults:
            tally.faults += [f"{site.folder}: {fault}" for fault in faults]
            print("\n".join([f"{site.folder}:", *("  " + line for line in (*history, *faults))]), flush=True)


def judged(
    command: Command, sent: Blow | None, code: int, left: Iterable[int], *, early: bool = False, within: float = SOON,
    went_on: float = 0.0,
) -> list[str]:  # fmt: skip
    """What is wrong with how a command ended. ``early``: it may have been struck before it could handle a signal.

    ``went_on``: for how many seconds after that.
    """
    faults = [f"process {pid} is still there" for pid in left]
    faults += [f"{lock} is still held" for lock in command.site.held_locks(within)]
    printed = command.said()
    if BROKEN.search(printed):
        faults.append(f"printed {printed!r}")
    # What comes in the last moment, or to a worker that is through, may change nothing.
    expected = {0} if sent is None else sent.codes(unhandled=early or not printed)
    if command.site.is_finished() and (went_on < LATE or (sent is not None and sent.target == "a worker")):
        expected |= {0}
    if code not in expected:
        faults.append(f"ended with {code}, not with {sorted(expected)}: {printed!r}")
    if code == 1 and "was ended by SIG" not in printed:
        faults.append(f"does not say what became of its worker: {printed!r}")
    nothing_began = early and printed in ("interrupted\n", "terminated\n", "hung up\n")
    if code in (129, 130, 143) and not nothing_began and "the same command continues" not in printed:
        faults.append(f"does not say how to go on: {printed!r}")
    return faults


def differing(made: Mapping[str, bytes], whole: Mapping[str, bytes]) -> list[str]:
    return [name for name in sorted({*made, *whole}) if made.get(name) != whole.get(name)]


def undisturbed(sites: Sequence[Site], tally: Tally) -> tuple[dict[str, float], dict[str, bytes]]:
    """How long every phase takes at most, of one command in each site at once, and what such a command leaves."""
    with ThreadPoolExecutor(len(sites)) as threads:
        lines = list(threads.map(lambda site: time_line(Command(site)), sites))
    whole = sites[0].made()
    tally.faults += [f"undisturbed runs differ: {name}" for site in sites for name in differing(site.made(), whole)]
    return {name: max(line[name] for line in lines) for name in PHASE}, whole


def new_site(folder: Path, python: Sequence[str], values: Mapping[str, Any] = VALUES) -> Site:
    folder.mkdir()
    return Site(folder, python, values)


def kill(folder: Path, kills: int, seed: int, python: Sequence[str] = (sys.executable,), at_once: int = 2,
         length: int = CHAIN) -> Tally:  # fmt: skip
    """Strike commands in chains until ``kills`` were ended by SIGKILL; ``at_once`` chains at a time."""
    tally = Tally()
    spent, whole = undisturbed([new_site(folder / f"whole-{number}", python) for number in range(at_once)], tally)
    print("an undisturbed run:", ", ".join(f"{name} {seconds:.2f} s" for name, seconds in spent.items()), flush=True)
    began = time.monotonic()

    def one_after_another(thread: int) -> None:
        number = thread
        while (done := tally.kills.total()) < kills:
            draw = random.Random(f"{seed}/{number}")
            wanted = min(length, max(2, -(-(kills - done) // at_once)))
            site = new_site(folder / f"chain-{number:03}", python)
            chain(site, plan(draw, wanted), spent, draw, whole, tally)
            number += at_once
            minutes = (time.monotonic() - began) / 60
            print(
                f"{tally.kills.total()} of {kills} kills, {len(tally.faults)} faults, {minutes:.1f} minutes", flush=True
            )

    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(one_after_another, range(at_once)))
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=2, help="chains of commands at a time")
    parser.add_argument("--keep", action="store_true", help="keep the folders, also of chains without a fault")
    parser.add_argument("--forked", action="store_true", help="from a process that has imported torch already: quicker")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="killed-"))
    with contextlib.ExitStack() as stack:
        python = stack.enter_context(started(folder)) if given.forked else sys.executable
        tally = kill(folder, given.kills, given.seed, [str(python)], at_once=given.at_once)
    print(tally.table())
    print(f"{tally.finished} chains finished; {len(tally.faults)} faults", *tally.faults, sep="\n")
    if tally.faults or given.keep:
        print(f"what they left is in {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
