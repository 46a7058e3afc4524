"""The contract of a launcher: what executes the runs of an experiment elsewhere than in processes of this machine.

Light: nothing here imports torch. A launcher knows nothing of runs: it is given units, each a few files and a command.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from icl_curriculum.core.component import Component
from icl_curriculum.core.registry import LAUNCHERS

#: The file of a unit that its command is given; the other files lie beside it.
UNIT_FILE = "unit.toml"
#: How often a unit whose process was killed, or that vanished, is started once more before that is a failure.
MOST_RESTARTS = 2


@dataclass(frozen=True)
class LaunchUnit:
    """A run, or a part of one, ready to be executed anywhere: its files by value, and the command that executes them.

    ``name``: the run's, ``<variant>-seed<seed>``, with ``.training`` or ``.part-2-of-4`` behind it for a part.
    ``key``: equal for units that do the same, so that a job that is under way can be told from one of another
    config. ``files``: contents by relative path, `UNIT_FILE` among them. ``command``: what executes it, followed by
    the path of the unit's file; it tells of its way as `UnitProcess` says. ``threads``: the processor cores that it
    computes with.
    """

    name: str
    key: str
    files: Mapping[str, bytes]
    command: tuple[str, ...]
    threads: int = 1

    def write(self, folder: Path) -> Path:
        """Write its files into a folder, the unit's own file last; returns the path of that one."""
        for name in sorted(self.files, key=lambda name: name == UNIT_FILE):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.files[name])
        return folder / UNIT_FILE


@dataclass(frozen=True)
class Launch:
    """What a launcher is to execute.

    ``experiment``: its name. ``folder``: that of its results, an absolute path, which every machine that executes a
    unit must see. ``jobs``: the most units at once; None: as many as there is room for. ``starter``: the command that
    starts a part of this package on another machine, as ``(python, -P, .../start_worker.py)``.
    """

    experiment: str
    folder: Path
    units: Sequence[LaunchUnit]
    starter: tuple[str, ...]
    jobs: int | None = None


@dataclass(frozen=True)
class UnitProblem:
    """Why a unit has failed: the message for the user, and what its process printed, or a traceback."""

    message: str
    details: str = ""


class LaunchWatch(Protocol):
    """Who is told how far units are. Every call names the unit that it is about."""

    def started(self, unit: str) -> None:
        """It is being executed, or is executed once more."""

    def heard(self, unit: str, message: Mapping[str, Any]) -> None:
        """Its command said something: pass on the messages of `UnitProcess` as they are."""

    def waiting(self, unit: str, why: str) -> None:
        """It is not being executed at this moment, and why, in a few words."""

    def ended(self, unit: str, problem: UnitProblem | None) -> None:
        """It is finished, or has failed. To be called once for each unit, and then nothing more of it."""

    def note(self, text: str) -> None:
        """Something is to be known that is not of one unit."""


#: ``waiting``: for its turn; ``requeued``: for its turn once more; ``ended``: it has ended, however; ``gone``: nobody
#: knows it, though it has not said that it ended.
UnitState = Literal["waiting", "running", "requeued", "ended", "gone"]


@dataclass(frozen=True)
class UnitStanding:
    """How far a unit is: its state, its job by the name that the launcher's own commands take, and what there is to
    say, as the reason for which it waits.
    """

    state: UnitState
    job: str = ""
    why: str = ""


class Launcher(Component):
    """Executes units where it can: on the nodes of a cluster, in the cloud.

    Register it with ``@register_launcher("name")``; its pydantic fields are what ``--on '{ name = "...", ... }'`` may
    set. None of them is part of a run's hash: where a run is executed decides nothing that it computes. A queue of
    batch jobs is better served by `BatchLauncher`, which needs three short methods.
    """

    #: Whether what it has submitted goes on when the command ends, so that the same command attaches to it again.
    outlives_command: ClassVar[bool] = False

    @abstractmethod
    def check(self) -> None:
        """UserError, saying what is missing, unless it can be used from this machine."""

    @abstractmethod
    def execute(self, launch: Launch, watch: LaunchWatch) -> None:
        """Execute all units, tell ``watch`` of each, and return when all have ended.

        A unit that fails by itself, and says so, is never executed again: it would fail again. One whose process was
        killed, or that vanished, is executed again at most `MOST_RESTARTS` times: it goes on from its last checkpoint.
        It is harmless to execute one twice, even at the same time: the second waits for the first, and finds it done.
        """

    def planned(self, launch: Launch) -> str:
        """What would be submitted, as a text for ``icl run NAME --on ... --dry-run``; nothing is written."""
        return ""

    def standings(self, folder: Path) -> dict[str, UnitStanding]:
        """How far the units are, by name, that were launched before for the results in ``folder``; none by default."""
        return {}


register_launcher = LAUNCHERS.of(Launcher)
