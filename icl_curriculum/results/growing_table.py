"""A table of errors that grows: calls of a command add rows to one evaluation.csv, in a folder with a manifest."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.files import write_atomically
from icl_curriculum.results.columns import COLUMNS, TABLES, csv_text, text_hash

#: Columns that say which bank a row is of.
CELL = ("function_class", "input_distribution", "shift")


@dataclass
class RowGroup:
    """Lines of the table whose keys are equal, and what a manifest calls their bank."""

    bank: str
    lines: list[str] = field(default_factory=list)


class GrowingTable:
    """``folder``/evaluation.csv with its manifest.json, written by ``command`` and nobody else.

    ``keys``: the columns in which new rows that equal old ones replace them. ``refuse(manifest)``: why the rows of
    that manifest cannot stand beside new ones, or None.
    """

    def __init__(
        self, folder: Path, command: str, keys: Sequence[str], refuse: Callable[[dict[str, Any]], str | None]
    ) -> None:
        self.folder, self.command, self.refuse = folder, command, refuse
        self.path = folder / "evaluation.csv"
        self._columns, self._cell = (TABLES["evaluation"].positions(names) for names in (keys, CELL))

    def read(self) -> tuple[str, dict[str, Any]]:
        """The rows and the manifest of earlier calls, empty where there are none.

        UserError if the folder holds the files of somebody else, damaged ones, or rows of another kind.
        """
        path = self.folder / "manifest.json"
        if not self.path.exists() and not path.exists():
            return "", {}
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            text = self.path.read_text(encoding="utf-8") if self.path.exists() else None
        except (OSError, ValueError):
            manifest, text = None, ""
        if not isinstance(manifest, dict) or manifest.get("kind") != self.command:
            raise UserError(
                f"{self.folder} holds files that {self.command} did not write; give another folder with --output"
            )
        reason = self.refuse(manifest)
        if reason is not None:
            raise UserError(f"{self.folder} holds {reason}; give another folder with --output, or remove it")
        if text is None and len(manifest["tables"]) == 1:
            return "", {}
        if text is None or text_hash(text) not in manifest["tables"]:
            raise UserError(
                f"{self.path} is damaged: it is not what {self.command} wrote; restore it, or remove {self.folder}"
            )
        return text.split("\n", 1)[1], manifest

    def add(self, rows: Iterable[Sequence[Any]], describe: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Write the table with these rows in it; ``describe(manifest)`` gives the new manifest from the old one.

        Both may hold ``banks``, hashes by name: rows of a bank that had other prompts before are left out.
        """
        written, manifest = self.read()
        described = describe(manifest)
        before, now = manifest.get("banks", {}), described.get("banks", {})
        others = {name for name, content in before.items() if now.get(name, content) != content}
        table = csv_text([COLUMNS["evaluation"]]) + self._merged(written, csv_text(rows), others)
        new = {
            "kind": self.command,
            **described,
            # Either may be there after a crash between the two files.
            "tables": [text_hash(table), *manifest.get("tables", [])[:1]],
        }
        write_atomically(self.folder / "manifest.json", json.dumps(new, indent=2) + "\n")
        write_atomically(self.path, table)

    def _merged(self, old: str, new: str, others: Collection[str]) -> str:
        """Rows in groups of equal keys: a group that stands in both is the new one, in the old one's place.

        ``others``: the banks of which only new rows are kept.
        """
        before, now = self._groups(old), self._groups(new)
        kept = (group for key, group in (before | now).items() if key in now or group.bank not in others)
        return "".join(f"{line}\n" for group in kept for line in group.lines)

    def _groups(self, text: str) -> dict[tuple[str, ...], RowGroup]:
        """The rows as lines. No name holds a line break."""
        found: dict[tuple[str, ...], RowGroup] = {}
        prefix, group = "", RowGroup("")
        for line in text.split("\n")[:-1]:
            # Rows of one group follow each other, and parsing every one of them would take a hundred times as long.
            if not prefix or not line.startswith(prefix):
                (row,) = csv.reader([line])
                prefix = csv_text([row[: max(self._columns) + 1]]).removesuffix("\n") + ","
                bank = "/".join(row[column] for column in self._cell)
                group = found.setdefault(tuple(row[column] for column in self._columns), RowGroup(bank))
            group.lines.append(line)
        return found
