"""The ``config.yaml`` that both codes write beside a checkpoint, asked for single keys wherever they stand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from icl_curriculum.config.mistakes import shown
from icl_curriculum.core.errors import UserError
from icl_curriculum.runs.importing.checkpoint import read_bytes, sha256_of

#: Tables that hold the arguments of something, whose keys mean nothing outside it, or what is logged where.
_CLOSED = ("wandb", "_kwargs")


class ConfiguredValue(NamedTuple):
    """A value with the dotted key under which it stands."""

    key: str
    value: Any


class ForeignConfig:
    """A configuration as plain values. A key is found wherever it stands; what it holds is checked strictly.

    ``sha256``: of the file's bytes, None where there is no file, and so nothing to be found.
    """

    def __init__(self, path: Path, values: Mapping[Any, Any], sha256: str | None) -> None:
        self.path, self._values, self.sha256 = path, values, sha256

    @classmethod
    def read(cls, path: Path) -> ForeignConfig:
        """UserError for a file that is no YAML of plain values."""
        data = read_bytes(path)
        try:
            # Tags that would build Python objects are an error to this loader.
            values = yaml.safe_load(data)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            reason = " ".join(str(getattr(error, "problem", None) or type(error).__name__).split())
            raise UserError(f"{path}: not a valid YAML file of plain values: {reason}") from error
        if not isinstance(values, dict):
            raise UserError(f"{path}: expected the tables of a configuration, such as model, found {shown(values)}")
        return cls(path, values, sha256_of(data))

    @classmethod
    def absent(cls, path: Path) -> ForeignConfig:
        """The configuration where there is none, which says nothing."""
        return cls(path, {}, None)

    @property
    def is_there(self) -> bool:
        return self.sha256 is not None

    def find(self, key: str) -> ConfiguredValue | None:
        """What stands under a key, at whatever depth; None where nothing does, or null.

        UserError if it stands there several times with different values.
        """
        found = [item for item in _all(self._values, key) if item.value is not None]
        for other in found[1:]:
            if other.value != found[0].value:
                places = f"{found[0].key} = {shown(found[0].value)} and {other.key} = {shown(other.value)}"
                raise UserError(f"{self.path}: {key}: found {places}; expected one of them alone")
        return found[0] if found else None

    def whole(self, key: str, *, least: int = 1) -> int | None:
        """A whole number; UserError for anything else, or for less than ``least``."""
        found = self.find(key)
        return None if found is None else self._whole(found, least)

    def inside(self, table: str, key: str, *, least: int = 1) -> int | None:
        """A whole number of a table, wherever that stands."""
        found = self.table(table)
        if found is None or found.value.get(key) is None:
            return None
        return self._whole(ConfiguredValue(f"{found.key}.{key}", found.value[key]), least)

    def number(self, key: str) -> float | None:
        """A positive number, which YAML takes for text where its point is left out, as in ``1e-4``."""
        found = self.find(key)
        if found is None:
            return None
        try:
            value = math.nan if isinstance(found.value, bool) else float(found.value)
        except (TypeError, ValueError):
            value = math.nan
        if not 0 < value < math.inf:
            raise self.error(found, "a positive number")
        return value

    def text(self, key: str) -> ConfiguredValue | None:
        """Text; UserError for anything else."""
        found = self.find(key)
        if found is not None and not isinstance(found.value, str):
            raise self.error(found, "text")
        return found

    def table(self, key: str) -> ConfiguredValue | None:
        """A table; UserError for anything else. An empty one counts as none."""
        found = self.find(key)
        if found is not None and not isinstance(found.value, dict):
            raise self.error(found, "a table")
        return found if found is not None and found.value else None

    def error(self, found: ConfiguredValue, expected: str) -> UserError:
        return UserError(f"{self.path}: {found.key}: expected {expected}, found {shown(found.value)}")

    def _whole(self, found: ConfiguredValue, least: int) -> int:
        value = found.value
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
            raise self.error(found, f"a whole number from {least}")
        return value


def _all(values: Mapping[Any, Any], key: str) -> Iterator[ConfiguredValue]:
    """Every place where a key stands, those nearest to the root first. Tables that are `_CLOSED` are not entered."""
    waiting: list[tuple[str, Mapping[Any, Any]]] = [("", values)]
    # Of a table that an alias repeats the first place counts, or a file of a few lines would take for ever.
    met = {id(values)}
    for prefix, table in waiting:
        for name, value in table.items():
            if name == key:
                yield ConfiguredValue(f"{prefix}{name}", value)
            if isinstance(value, dict) and id(value) not in met and not str(name).endswith(_CLOSED):
                met.add(id(value))
                waiting.append((f"{prefix}{name}.", value))
