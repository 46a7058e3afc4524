"""Tables that grow: calls of a command add rows to evaluation.csv and what stands beside it, in one folder."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.files import allowed, write_atomically
from icl_curriculum.core.options import option
from icl_curriculum.results.columns import OPTIONAL, TABLES, csv_text, text_hash
from icl_curriculum.results.manifests import MANIFEST, DamagedFile, read_of_command, write_of_command
from icl_curriculum.results.older_tables import rows_as_written_now

#: Columns that say which bank a row is of.
CELL = ("function_class", "input_distribution", "shift")


#: The table that is always there, whose hashes a manifest lists by themselves.
_FIRST = "evaluation"


@dataclass
class RowGroup:
    """Lines of a table whose keys are equal, and what a manifest calls their bank."""

    bank: str
    lines: list[str] = field(default_factory=list)


class GrowingTables:
    """``folder``/evaluation.csv, perhaps further tables, and their manifest.json, written by ``command`` alone.

    ``keys``: by table, the columns in which new rows that equal old ones replace them. ``refuse(manifest)``: why the
    rows of that manifest cannot stand beside new ones, or None.
    """

    def __init__(
        self,
        folder: Path,
        command: str,
        keys: Mapping[str, Sequence[str]],
        refuse: Callable[[dict[str, Any]], str | None],
    ) -> None:
        self.folder, self.command, self.refuse = folder, command, refuse
        self._columns = {name: TABLES[name].positions(columns) for name, columns in keys.items()}
        self._cells = {name: TABLES[name].positions(CELL) for name in keys}

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.csv"

    def read(self) -> tuple[dict[str, str], dict[str, Any]]:
        """The rows of each table and the manifest of earlier calls, empty where there are none.

        UserError if the folder holds the files of somebody else, damaged ones, or rows of another kind.
        """
        if not any(path.exists() for path in (self.folder / MANIFEST, *map(self.path, self._columns))):
            return dict.fromkeys(self._columns, ""), {}
        manifest = read_of_command(self.command, self.folder)
        texts = {name: self._text(name) for name in self._columns}
        reason = self.refuse(manifest)
        if reason is not None:
            raise UserError(
                f"{self.folder} holds {reason}; give another folder with {option('--output')}, or remove it"
            )
        return {name: self._rows(name, text, manifest) for name, text in texts.items()}, manifest

    def _text(self, name: str) -> str | None:
        path = self.path(name)
        try:
            return path.read_text(encoding="utf-8") if path.exists() else None
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise self._damaged(name) from None

    def _damaged(self, name: str) -> DamagedFile:
        way_out = f"restore it, or remove {self.folder}"
        return DamagedFile(self.path(name), f"it is not what {self.command} wrote", way_out)

    def _rows(self, name: str, text: str | None, manifest: dict[str, Any]) -> str:
        """The rows of a table's text; UserError unless it is what the manifest's command wrote."""
        hashes = manifest.get("tables", []) if name == _FIRST else manifest.get("more_tables", {}).get(name, [])
        if text is None and (len(hashes) == 1 or (not hashes and name in OPTIONAL)):
            return ""
        if text is None or text_hash(text) not in hashes:
            raise self._damaged(name)
        return rows_as_written_now(name, text.split("\n", 1)[1])

    def add(
        self,
        rows: Mapping[str, Iterable[Sequence[Any]]],
        describe: Callable[[dict[str, Any]], dict[str, Any]],
        before: Callable[[], None] = allowed,
    ) -> None:
        """Write the tables with these ``rows``, among them those of evaluation.csv, in them.

        ``describe(manifest)`` gives the new manifest from the old one. Both may hold ``banks``, hashes by name: rows of
        a bank that had other prompts before are left out. ``before``: as in `write_atomically`.
        """
        written, manifest = self.read()
        described = describe(manifest)
        known, now = manifest.get("banks", {}), described.get("banks", {})
        others = {name for name, content in known.items() if now.get(name, content) != content}
        tables = {
            name: csv_text([TABLES[name].header]) + self._merged(name, written[name], csv_text(added), others)
            for name, added in rows.items()
        }
        # Either hash may be the table's after a crash between the files: of what is written now, or of what is there.
        earlier = {name: self._text(name) for name in tables}
        hashes = {
            name: [text_hash(text), *(text_hash(old) for old in [earlier[name]] if old is not None)]
            for name, text in tables.items()
        }
        new = {
            **described,
            "tables": hashes.pop(_FIRST),
            "more_tables": {**manifest.get("more_tables", {}), **hashes},
        }
        write_of_command(self.command, self.folder, new, before)
        for name, table in tables.items():
            write_atomically(self.path(name), table, before=before)

    def _merged(self, name: str, old: str, new: str, others: Collection[str]) -> str:
        """Rows in groups of equal keys: a group that stands in both is the new one, in the old one's place.

        ``others``: the banks of which only new rows are kept.
        """
        before, now = self._groups(name, old), self._groups(name, new)
        kept = (group for key, group in (before | now).items() if key in now or group.bank not in others)
        return "".join(f"{line}\n" for group in kept for line in group.lines)

    def _groups(self, name: str, text: str) -> dict[tuple[str, ...], RowGroup]:
        """The rows as lines. No name holds a line break."""
        columns, cell = self._columns[name], self._cells[name]
        found: dict[tuple[str, ...], RowGroup] = {}
        prefix, group = "", RowGroup("")
        for line in text.split("\n")[:-1]:
            # Rows of one group follow each other, and parsing every one of them would take a hundred times as long.
            if not prefix or not line.startswith(prefix):
                (row,) = csv.reader([line])
                prefix = csv_text([row[: max(columns) + 1]]).removesuffix("\n") + ","
                bank = "/".join(row[column] for column in cell)
                group = found.setdefault(tuple(row[column] for column in columns), RowGroup(bank))
            group.lines.append(line)
        return found
