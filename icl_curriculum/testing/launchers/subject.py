"""The launcher under check, small units for it to execute, and what it says of them."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import LAUNCHERS
from icl_curriculum.launchers.base import UNIT_FILE, Launch, Launcher, LaunchUnit, UnitProblem
from icl_curriculum.runs.units import starter
from icl_curriculum.testing.launchers import toy_unit
from icl_curriculum.testing.rules import Inapplicable
from icl_curriculum.testing.subject import ComponentSubject


@dataclass
class Heard:
    """What a launcher has said of units, by their names (`LaunchWatch`)."""

    starts: list[str] = field(default_factory=list)
    messages: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    ends: list[tuple[str, UnitProblem | None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def started(self, unit: str) -> None:
        self.starts.append(unit)

    def heard(self, unit: str, message: Mapping[str, Any]) -> None:
        self.messages.append((unit, message))

    def waiting(self, unit: str, why: str) -> None:
        pass

    def ended(self, unit: str, problem: UnitProblem | None) -> None:
        self.ends.append((unit, problem))

    def note(self, text: str) -> None:
        self.notes.append(text)


class LauncherSubject(ComponentSubject[Launcher]):
    """A launcher under check."""

    registry = LAUNCHERS
    base = Launcher
    example_summary = "PBS: a job for each run."

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder for results that goes with the block. In the working directory, as nodes must see it, too."""
        with tempfile.TemporaryDirectory(prefix=".icl-check-", dir=Path.cwd()) as folder:
            yield Path(folder)

    def unit(self, name: str, folder: Path, *, fails: str = "", dies: int = 0) -> LaunchUnit:
        """A unit that notes in ``folder`` that it was executed.

        ``fails``: with which message; ``dies``: at how many attempts its process is killed.
        """
        values = {"name": name, "attempts": str(folder / f"{name}.attempts"), "fails": fails, "dies": dies}
        command = (sys.executable, "-P", toy_unit.__file__)
        return LaunchUnit(name, name, {UNIT_FILE: tomli_w.dumps(values).encode()}, command)

    def launch(self, folder: Path, *units: LaunchUnit) -> Launch:
        return Launch("check", folder / "check", units, starter())

    def executed(self, launch: Launch) -> Heard:
        """What it says of units while it executes them. Inapplicable where it cannot be used from this machine."""
        self.doing = "check"
        try:
            self.as_given.check()
        except UserError as error:
            raise Inapplicable(f"it cannot be used here: {error}") from None
        heard = Heard()
        self.doing = "execute"
        launch.folder.mkdir(parents=True)
        self.as_given.execute(launch, heard)
        return heard


def attempts(unit: LaunchUnit, folder: Path) -> int:
    """How often a unit was executed."""
    file = folder / f"{unit.name}.attempts"
    return file.read_text(encoding="utf-8").count("\n") if file.is_file() else 0
