"""What a key of a config decides: the training, the evaluation after it, or what is recorded on the way.

A field says so itself: ``Field(..., json_schema_extra=EVALUATION)``. One that says nothing decides the training, which
is never wrong: at worst a run is trained anew whose weights would have been the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from pydantic.fields import FieldInfo

from icl_curriculum.core.component import Component, Strict
from icl_curriculum.core.package_hashes import package_hash
from icl_curriculum.core.registry import PLUGIN_MODULE, plugin_of

Part = Literal["training", "evaluation", "recording"]

#: Marks a field that nothing reads before training is over: a finished run is asked anew under another value.
EVALUATION: dict[str, Any] = {"decides": ("evaluation",)}
#: Marks a field that decides which rows, weights and checkpoints are written in training, and nothing of the weights.
RECORDING: dict[str, Any] = {"decides": ("recording",)}
#: Marks a field of the evaluation whose value also stands behind learning.csv, which is written in training.
EVALUATION_AND_RECORDING: dict[str, Any] = {"decides": ("evaluation", "recording")}
#: Marks a field that decides nothing of one run: names, and which runs there are.
NOTHING: dict[str, Any] = {"decides": ()}


def keys_by_part(table: type[Strict], prefix: str = "") -> Iterator[tuple[str, tuple[Part, ...]]]:
    """Every dotted key of a table and of the tables in it, with what it decides."""
    for key, info in table.model_fields.items():
        inner, name = _table_in(info), f"{prefix}{info.alias or key}"
        if inner is None:
            yield name, _parts_of(info)
        else:
            yield from keys_by_part(inner, f"{name}.")


def decided_by(table: type[Strict], key: str) -> tuple[Part, ...]:
    """What a dotted key decides, which may lead into a component: ``evaluation.shifts.0.factor``."""
    info = _field_of(table, key)
    return ("training",) if info is None else _parts_of(info)


def as_it_was(table: type[Strict], key: str, value: Any) -> Any:
    """The value of a dotted key as an earlier version wrote it, whose default was another (`default_was`)."""
    info = _field_of(table, key)
    marks = info.json_schema_extra if info is not None else None
    if info is not None and isinstance(marks, dict) and "default_was" in marks and value == info.default:
        return marks["default_was"]
    return value


def _field_of(table: type[Strict], key: str) -> FieldInfo | None:
    """The field that a dotted key is of, or leads through; None where no table has it."""
    for name in key.split("."):
        info = next((each for field, each in table.model_fields.items() if name in (field, each.alias)), None)
        inner = None if info is None else _table_in(info)
        if inner is None:
            return info
        table = inner
    return None


def part_of(table: Strict, part: Part) -> dict[str, Any]:
    """Those of a config's `deciding` values that decide a part of a run."""
    values: dict[str, Any] = {}
    whole = table.deciding()
    for key, info in type(table).model_fields.items():
        name, value = info.alias or key, getattr(table, key)
        if name not in whole:
            continue
        if _table_in(info) is not None:
            inner = part_of(value, part)
            values.update({name: inner} if inner else {})
        elif part in _parts_of(info):
            values[name] = whole[name]
    return values


def part_hash(experiment: Strict, part: Part, plugins: Iterable[str]) -> str:
    """SHA-256 over the keys and the plugins, by their hashes, that decide a part of a run."""
    text = json.dumps([part_of(experiment, part), sorted(plugins)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plugins_behind(components: Iterable[Component], hashes: Sequence[str]) -> list[str]:
    """Those of some hashes of plugins that are of the code of components, of their parts, or of what these inherit."""
    found: set[str | None] = set()
    for part in (part for component in components for part in component.parts()):
        found.add(package_hash(part))
        for cls in type(part).__mro__:
            module = plugin_of(cls.__module__)
            found.add(module and module.removeprefix(PLUGIN_MODULE))
    return [digest for digest in hashes if digest in found]


def _parts_of(info: FieldInfo) -> tuple[Part, ...]:
    marks = info.json_schema_extra
    found: Any = marks.get("decides", ("training",)) if isinstance(marks, dict) else ("training",)
    return tuple(found)


def _table_in(info: FieldInfo) -> type[Strict] | None:
    """The table that a field holds, if it says nothing of what it decides: then the keys in it do."""
    if isinstance(info.json_schema_extra, dict) and "decides" in info.json_schema_extra:
        return None
    kind: Any = info.annotation
    if isinstance(kind, type) and issubclass(kind, Strict) and not issubclass(kind, Component):
        return kind
    return None
