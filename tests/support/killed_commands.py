"""Commands that a signal ends: where they are at a moment, what they leave, and what they were to leave.

The phases of an `icl run` are told from outside, by what it prints and by the files that it writes.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiny_runs import TINY, merge, write_toml

#: Two seeds, so two worker processes, and twenty checkpoints of each.
VALUES = merge(
    TINY,
    {
        "seeds": [0, 1],
        "training": {"steps": 400, "checkpoint_every": 20, "log_every": 10, "learning_every": 200},
    },
)
RUNS = [f"mixed-seed{seed}" for seed in VALUES["seeds"]]
#: What clocks say, or the checkout that the code lies in.
UNEQUAL = ("started", "wall_seconds", "git_commit", "git_dirty", "seal")
#: A run's state holds its clock, a lock who held it last, and what was collected the seals of what holds clocks.
NOT_COMPARED = ("timing.csv", "state.pt", ".lock", "collected.json")
#: What no process may print.
BROKEN = re.compile(r"Traceback|Exception ignored|Fatal Python error|error of icl itself|could not be")
#: A signal that comes too late to change anything finds a command that ends within so many seconds.
LATE = 1.5
#: Seconds within which whatever a command started is gone.
SOON = 10.0


@dataclass
class Site:
    """The folder of one experiment and of all commands that are given there, one after another."""

    folder: Path
    python: Sequence[str]
    values: Mapping[str, Any] = field(default_factory=lambda: VALUES)
    commands: int = 0

    def __post_init__(self) -> None:
        write_toml(self.folder / "tiny.toml", self.values)
        self.temporary.mkdir()

    @property
    def experiment(self) -> Path:
        return self.folder / "results/tiny"

    @property
    def temporary(self) -> Path:
        """Where its commands put temporary files, and nobody else does."""
        return self.folder / "temporary"

    def manifests(self) -> list[dict[str, Any]]:
        files = [self.experiment / run / "manifest.json" for run in RUNS]
        return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]

    def is_finished(self) -> bool:
        return [manifest["status"] for manifest in self.manifests()] == ["finished"] * len(RUNS)

    def held_locks(self, within: float = SOON) -> list[str]:
        """The lock files that somebody still holds some seconds after all is over."""
        deadline = time.monotonic() + within
        while (held := self._held()) and time.monotonic() < deadline:
            # The threads of a process that is killed end one after another, and the last one frees what it held.
            time.sleep(0.02)
        return held

    def _held(self) -> list[str]:
        held = []
        for path in self.folder.rglob(".lock"):
            with path.open("rb") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    held.append(str(path.relative_to(self.folder)))
        return held

    def leftovers(self) -> list[str]:
        """The temporary files that are still there."""
        found = [*self.temporary.iterdir(), *self.folder.rglob(".*.tmp")]
        return [str(path.relative_to(self.folder)) for path in found]

    def made(self) -> dict[str, bytes]:
        """Every file of the results but those of clocks; of the others, what a clock says is blanked."""
        made = {}
        for path in sorted(self.experiment.rglob("*")):
            if path.is_file() and not path.name.startswith(".lock") and path.name not in NOT_COMPARED:
                made[str(path.relative_to(self.experiment))] = path.read_bytes()
        page = made.get("report.html", b"").decode()
        for manifest in self.manifests():
            made[f"{manifest['run']}/manifest.json"] = timeless(manifest)
            # When the run started and how long it took stand in the last cells of its row.
            page = re.sub(rf">{re.escape(manifest['started'])}</td>.*?</tr>", "></tr>", page, flags=re.DOTALL)
            commit = re.escape(str(manifest["git_commit"] or "–")[:10])
            page = re.sub(rf">{commit}( \(changed\))?<", "><", page)
        made["report.html"] = page.encode()
        return made


def timeless(manifest: dict[str, Any]) -> bytes:
    kept = {key: value for key, value in manifest.items() if key not in UNEQUAL}
    tables = {name: value for name, value in kept.get("tables", {}).items() if name != "timing"}
    return json.dumps({**kept, "tables": tables}).encode()


class Command:
    """An ``icl run`` in a process of its own, and in a process group of its own as a shell gives it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        site.commands += 1
        self.out, self.err = (site.folder / f"{kind}-{site.commands:03}.txt" for kind in ("out", "err"))
        self.mark = f"ICL_KILLED={site.folder}"
        environment = {**os.environ, "ICL_KILLED": str(site.folder), "TMPDIR": str(site.temporary)}
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [*site.python, "-m", "icl_curriculum", "run", "tiny.toml", "--jobs", "2", "--device", "cpu"],
                cwd=site.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, process_group=0,
            )  # fmt: skip
        #: By the clock of the file system.
        self.begun = self.err.stat().st_mtime_ns
        self.clock = time.monotonic()

    def said(self) -> str:
        """Everything that it printed: progress and messages, then results."""
        return self.err.read_text(encoding="utf-8") + self.out.read_text(encoding="utf-8")

    def wrote(self, pattern: str) -> bool:
        """Whether it wrote a file of the experiment."""
        return any(modified(path) > self.begun for path in self.site.experiment.glob(pattern))

    def status(self, status: str) -> bool:
        """Whether it has brought a run so far."""
        return self.wrote("*/manifest.json") and any(
            manifest["status"] == status
            and modified(self.site.experiment / manifest["run"] / "manifest.json") > self.begun
            for manifest in self.site.manifests()
        )

    def members(self) -> list[int]:
        """All processes of its group, and those that carry its mark wherever they are, but those that have ended."""
        return [
            pid
            for pid, group, state in processes()
            if state not in "ZX" and (group == self.process.pid or self._marked(pid))
        ]

    def workers(self) -> list[int]:
        """Those of its processes that were started as workers, or what stands for them."""
        found = []
        for pid in self.members():
            with contextlib.suppress(OSError):
                if b"start_worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def own(self) -> list[int]:
        """The command alone, and what stands for it."""
        workers = self.workers()
        return [pid for pid in self.members() if pid not in workers]

    def wait_for(self, opens: Callable[[Command], bool], within: float = 600.0) -> bool:
        """Wait until it is so far; False if it ended before."""
        deadline = time.monotonic() + within
        while not opens(self):
            assert time.monotonic() < deadline, f"{self.out}: nothing happens: {self.said()}"
            if self.process.poll() is not None:
                return False
            time.sleep(0.002)
        return True

    def end(self) -> int:
        return self.process.wait(timeout=900)

    def outlived_by(self, within: float = SOON) -> tuple[list[int], float]:
        """The processes that are still there some seconds after its end, and how long the others took."""
        began = time.monotonic()
        while (left := self.members()) and time.monotonic() - began < within:
            time.sleep(0.02)
        return left, time.monotonic() - began

    def _marked(self, pid: int) -> bool:
        try:
            return self.mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False


def modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def processes() -> Iterator[tuple[int, int, str]]:
    """The id, the group and the state of every process."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        yield int(path.parent.name), int(after_name[2]), after_name[0]


@dataclass(frozen=True)
class Phase:
    """A part of an `icl run`."""

    name: str
    opens: Callable[[Command], bool]


#: In the order of time; checkpoints are written within training.
PHASES = [
    Phase("start-up", lambda command: True),
    Phase("workers' start-up", lambda command: ": starting" in command.said()),
    Phase("training", lambda command: command.status("running")),
    Phase("checkpoint", lambda command: command.wrote("*/.state.pt.*.tmp")),
    Phase("evaluation", lambda command: command.status("trained")),
    Phase("collecting", lambda command: command.said() != "" and command.site.is_finished()),
    Phase("figures", lambda command: "drawing figures" in command.said()),
    Phase("report", lambda command: command.wrote("summary.csv")),
    Phase("ending", lambda command: command.wrote("report.html")),
]
#: Those in which it doesn't matter how far the runs are, those of runs that are in training, and those after that.
ANY_TIME, TRAINING, EVALUATION, LAST = {"start-up"}, {"workers' start-up", "training", "checkpoint"}, {"evaluation"}, {
    "collecting", "figures", "report", "ending",
}  # fmt: skip


def time_line(command: Command) -> dict[str, float]:
    """How many seconds an undisturbed command spends in each phase, until it ends."""
    began = {}
    for phase in PHASES:
        command.wait_for(phase.opens)
        began[phase.name] = time.monotonic()
    assert command.end() == 0, command.err.read_text()
    moments = [*began.values(), time.monotonic()]
    spent = dict(zip(began, (later - earlier for earlier, later in itertools.pairwise(moments)), strict=True))
    # Of the many of a training, the first.
    spent["training"] += spent["checkpoint"]
    return spent | {"checkpoint": 0.002}


@dataclass(frozen=True)
class Blow:
    """A signal to a command, its workers, or both, as a shell or a closed terminal sends it, perhaps twice."""

    number: signal.Signals
    target: str
    times: int = 1

    def __str__(self) -> str:
        return f"{self.number.name} to {self.target}" + (" twice" if self.times > 1 else "")

    def strike(self, command: Command, choose: Callable[[list[int]], int]) -> bool:
        """Send it; False where nobody was there to receive it."""
        for _ in range(self.times):
            try:
                if self.target == "the command":
                    struck = False
                    for pid in command.own():
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, self.number)
                            struck = True
                    if not struck:
                        return False
                elif self.target == "all of it":
                    os.killpg(command.process.pid, self.number)
                elif workers := command.workers():
                    os.kill(choose(workers), self.number)
                else:
                    return False
            except ProcessLookupError:
                return False
        return True

    def codes(self, unhandled: bool) -> set[int]:
        """The exit codes that it may lead to. ``unhandled``: also that of a signal which nobody handles yet."""
        if self.target == "a worker":
            return {1}
        if self.number == signal.SIGKILL:
            return {-self.number}
        return {128 + self.number, -self.number} if unhandled or self.number == signal.SIGHUP else {128 + self.number}


KILLS = [Blow(signal.SIGKILL, target) for target in ("the command", "all of it", "a worker")]
STOPS = [
    Blow(signal.SIGTERM, "the command"), Blow(signal.SIGTERM, "all of it"),
    Blow(signal.SIGINT, "all of it"), Blow(signal.SIGINT, "the command"), Blow(signal.SIGINT, "all of it", times=2),
    Blow(signal.SIGHUP, "the command"), Blow(signal.SIGHUP, "all of it"),
]  # fmt: skip
