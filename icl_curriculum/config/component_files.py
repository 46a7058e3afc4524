"""Components that an experiment names by their plugin file: ``model = "mine.py"``, ``"mine.py:name"``.

A file stands for the one component of the kind that it registers. It becomes a plugin of the experiment, and the value
the name that it has registered, so that all the rest is as if these had been written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icl_curriculum.config.finding import is_file, is_there
from icl_curriculum.config.sweeps import location
from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.mistakes import GatheredMistakes, named
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.registry import (
    BASELINES,
    CURRICULA,
    FUNCTION_CLASSES,
    INPUTS,
    KINDS,
    METHODS,
    METRICS,
    MODELS,
    SHIFTS,
    Registry,
    names_file,
)

#: The keys whose value is a component, or a list of components, with where these are registered.
COMPONENT_KEYS: dict[str, Registry] = {
    "model": MODELS,
    "training.method": METHODS,
    "function_classes": FUNCTION_CLASSES,
    "inputs": INPUTS,
    "curriculum.function_classes": CURRICULA,
    "curriculum.inputs": CURRICULA,
    "evaluation.shifts": SHIFTS,
    "evaluation.learning_shifts": SHIFTS,
    "evaluation.baselines": BASELINES,
    "evaluation.metrics": METRICS,
}


class ComponentFiles:
    """Turns the files that stand for components into the names that they have registered, and loads them.

    ``loaded``: the hashes of their contents by absolute path, in the order in which they were met.
    """

    def __init__(self) -> None:
        self.loaded: dict[str, str] = {}

    def named(self, values: Mapping[str, Any], folder: Path, source: str) -> dict[str, Any]:
        """The values of an experiment, its variants and its sweep, with names in the place of files.

        ``folder``: what paths are relative to. UserError, told of the ``source`` and the key, for a file that is
        missing, fails to import, or does not register the one component that is meant.
        """
        gathered = GatheredMistakes()
        found = self._table(values, folder, (), gathered)
        variants = found.get("variants")
        if isinstance(variants, Mapping):
            found["variants"] = {
                variant: self._table(changes, folder, ("variants", variant), gathered)
                if isinstance(changes, Mapping) else changes
                for variant, changes in variants.items()
            }  # fmt: skip
        sweep = found.get("sweep")
        if isinstance(sweep, Mapping):
            found["sweep"] = {
                key: [self._swept(key, value, folder, gathered) for value in tried]
                if isinstance(tried, list) else tried
                for key, tried in sweep.items()
            }  # fmt: skip
        if gathered.found:
            gathered.found = [mistake.found_in(source) for mistake in gathered.found]
        gathered.tell()
        return found

    def _table(
        self, values: Mapping[str, Any], folder: Path, within: tuple[str, ...], gathered: GatheredMistakes
    ) -> dict[str, Any]:
        """A table that is merged over the experiment's own, at the key ``within`` the file."""
        found = dict(values)
        for key, registry in COMPONENT_KEYS.items():
            *tables, last = key.split(".")
            table = found
            for part in tables:
                if not isinstance(table.get(part), Mapping):
                    break
                table[part] = table = dict(table[part])
            else:
                if last in table:
                    table[last] = self._value(table[last], registry, folder, (*within, key), gathered)
        return found

    def _swept(self, key: str, value: Any, folder: Path, gathered: GatheredMistakes) -> Any:
        """One value of a swept key, which may be a component, its name, or a table that holds one."""
        parts = key.split(".")
        table: Any = value
        for part in reversed(parts):
            table = {part: table}
        own = GatheredMistakes()
        found: Any = self._table(table, folder, (), own)
        gathered.note(UserError(each.reason, key=location(key), way_out=each.way_out) for each in own.found)
        for part in parts:
            found = found[part]
        return found

    def _value(
        self, value: Any, registry: Registry, folder: Path, within: tuple[str, ...], gathered: GatheredMistakes
    ) -> Any:
        """What a key holds: a component or a list of them, each a name or a table with a name."""
        if isinstance(value, list | tuple):
            return [
                self._value(item, registry, folder, (*within, str(number)), gathered)
                for number, item in enumerate(value)
            ]
        text = value.get("name") if isinstance(value, Mapping) else value
        if not isinstance(text, str) or not names_file(text):
            return value
        name = text
        with gathered.noting(lambda mistake: _told_of(mistake, within)):
            name = self.name_of(text, registry, folder)
        return {**value, "name": name} if isinstance(value, Mapping) else name

    def name_of(self, text: str, registry: Registry, folder: Path) -> str:
        """The name of the component that a file stands for. UserError if it is not the one that it registers."""
        file, chosen = re.fullmatch(r"(.*\.py)(:.*)?", text, re.DOTALL).groups()  # type: ignore[union-attr]
        path = folder / file
        if not is_file(path):
            beside = [each.name for each in path.parent.glob("*.py")] if is_there(path.parent) else []
            what = "is no file" if is_there(path) else f"does not exist{did_you_mean(path.name, beside)}"
            raise UserError(f"plugin file {named(str(path))} {what}")
        path = path.resolve()
        digest = load_plugin(path)
        self.loaded[str(path)] = digest
        names = registry.registered_by(digest)
        if chosen is not None:
            if chosen[1:] not in names:
                hint = did_you_mean(chosen[1:], names) if names else f"; {_all_of(digest)}"
                raise UserError(f"{path} registers no {registry.kind} {chosen[1:]!r}{hint}")
            return chosen[1:]
        if not names:
            raise UserError(f"{path} registers no {registry.kind}; {_all_of(digest)}")
        # What it imports from beside it may register more; then its own is meant.
        own = names if len(names) == 1 else registry.registered_by(digest, itself=True)
        if len(own) != 1:
            ways = " or ".join(repr(f"{file}:{name}") for name in names[:2])
            raise UserError(
                f"{path} registers more than one {registry.kind}: {', '.join(names)}", way_out=f"say which: {ways}"
            )
        return own[0]


def _told_of(mistake: UserError, within: tuple[str, ...]) -> UserError:
    """What is wrong with a file, told of the key that names it."""
    return UserError(mistake.reason, key=".".join(within), subject=mistake.subject, way_out=mistake.way_out)


def _all_of(digest: str) -> str:
    """All that a plugin file registers, in words."""
    found = [f"{registry.kind} {name!r}" for registry in KINDS.values() for name in registry.registered_by(digest)]
    return f"it registers {', '.join(found)}" if found else "it registers nothing: see docs/extending.md"
