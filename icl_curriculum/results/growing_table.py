"""A table of errors that grows: calls of a command add rows to one evaluation.csv, in a folder with a manifest."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.files import write_atomically
from icl_curriculum.results.columns import COLUMNS, TABLES, csv_text, text_hash

#: Columns that say which bank a row is of.
CELL = ("function_class", "input_distribution", "shift")


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
        self._columns = TABLES["evaluation"].positions(keys)

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
        """Write the table with these rows in it; ``describe(manifest)`` gives the new manifest from the old one."""
        written, manifest = self.read()
        table = csv_text([COLUMNS["evaluation"]]) + self._merged(written, csv_text(rows))
        new = {
            "kind": self.command,
            **describe(manifest),
            # Either may be there after a crash between the two files.
            "tables": [text_hash(table), *manifest.get("tables", [])[:1]],
        }
        write_atomically(self.folder / "manifest.json", json.dumps(new, indent=2) + "\n")
        write_atomically(self.path, table)

    def _merged(self, old: str, new: str) -> str:
        """Rows in groups of equal keys: a group that stands in both is the new one, in the old one's place."""
        groups: dict[tuple[str, ...], list[list[str]]] = {}
        for text in (old, new):
            found: dict[tuple[str, ...], list[list[str]]] = {}
            for row in csv.reader(io.StringIO(text, newline="")):
                found.setdefault(tuple(row[column] for column in self._columns), []).append(row)
            groups.update(found)
        return csv_text(row for rows in groups.values() for row in rows)
