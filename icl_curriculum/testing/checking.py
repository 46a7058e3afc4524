"""The components that ``icl check`` is asked to check, from names, plugin files and parameters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from icl_curriculum.config.loading import merge, parse_override
from icl_curriculum.config.mistakes import in_experiment
from icl_curriculum.core.arguments import as_paths
from icl_curriculum.core.component import Component
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import option
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.registry import KINDS, Registered
from icl_curriculum.testing.check import check as results_of
from icl_curriculum.testing.kinds import CHECKED, Checkable, any_noun, checked_kind, kind_of, with_article
from icl_curriculum.testing.rules import Result


@dataclass(frozen=True)
class ToCheck:
    """A component to check, the name to show, and its kind, by the names of `KINDS`."""

    kind: str
    name: str
    component: Component | str


#: The columns of what `check` returns.
COLUMNS = ["kind", "component", "rule", "status", "description", "note", "expected", "found", "mend"]


def check(
    component: Checkable | os.PathLike[str] | None = None,
    *,
    kind: str | None = None,
    everything: bool = False,
    plugins: Sequence[str | os.PathLike[str]] = (),
) -> pd.DataFrame:
    """Hold a component of any kind to the contract of its kind, as ``icl check`` does: a row for each rule.

    ``component``: an instance, a class, a registered name, or a plugin file, all of whose components are checked;
    ``everything`` without one: every component there is. ``kind``, such as ``"shifts"``, decides where two kinds have
    one name. ``plugins``: files that are loaded first.

    The columns: ``kind``, ``component``, ``rule``, ``status`` (``ok``, ``failed`` or ``does not apply``), the rule's
    ``description``, a ``note``, and of a rule that failed what was ``expected``, what was ``found``, and how to
    ``mend`` it. UserError for what cannot be meant. `testing.check_component` raises instead.
    """
    chosen: list[tuple[str, str, Any]]
    asked: Any = os.fsdecode(component) if isinstance(component, os.PathLike) else component
    if asked is None and not everything:
        raise UserError(
            f"expected the name of {with_article(any_noun())}, one itself, a plugin file, or everything=True",
            key="component",
        )
    if asked is None or isinstance(asked, str):
        found = subjects(asked, everything=everything, kind=kind, plugins=as_paths(plugins, "plugins"))
        chosen = [(each.kind, each.name, each.component) for each in found]
    else:
        for plugin in as_paths(plugins, "plugins"):
            load_plugin(plugin)
        try:
            chosen = [(kind_of(asked, kind), _called(asked), asked)]
        except TypeError as error:
            raise UserError(str(error), key="component") from None
    rows = [as_row(of, name, result) for of, name, item in chosen for result in results_of(item, kind=of)]
    return pd.DataFrame(rows, columns=COLUMNS)


def as_row(kind: str, name: str, result: Result) -> dict[str, str]:
    """A row of what `check` returns: the verdict of one rule on a component, by the names of `COLUMNS`."""
    said = (kind, name, result.rule, result.status, result.description, result.note, *_said(result))
    return dict(zip(COLUMNS, said, strict=True))


def _called(component: Component | type) -> str:
    """What a component or a class is called in the table."""
    if isinstance(component, type):
        return str(getattr(component, "name", "") or component.__name__)
    return component.id


def _said(result: Result) -> tuple[str, str, str]:
    """What was expected and found, and how to mend it, of all findings of a rule."""
    columns = ("expected", "found", "mend")
    expected, found, mend = ("\n".join(getattr(item, word) for item in result.findings) for word in columns)
    return expected, found, mend


def subjects(
    name: str | None,
    *,
    everything: bool,
    kind: str | None = None,
    overrides: Sequence[str] = (),
    plugins: Sequence[Path] = (),
) -> list[ToCheck]:
    """The components to check: all, the named one, or those that a plugin file defines; of one kind, if it is given.

    ``overrides``: ``key=value`` parameters of the one component that is named. Raises UserError for what cannot be
    meant.
    """
    if kind is not None:
        checked_kind(kind)
    kinds = [kind] if kind is not None else list(CHECKED)
    if (name is None) != everything:
        raise UserError(
            f"expected the name of {with_article(any_noun(kinds))}, a plugin file, or {option('--all')}; icl list "
            f"shows the names"
        )
    for plugin in plugins:
        load_plugin(plugin)
    if name is None:
        chosen = [(each, item) for each in kinds for item in KINDS[each].names()]
    elif name.endswith(".py"):
        load_plugin(Path(name))
        chosen = [(each, item) for each in kinds for item in KINDS[each].defined_in(Path(name))]
        if not chosen:
            raise UserError(f"{name} registers no {any_noun(kinds)}{_registered_instead(Path(name))}")
    else:
        chosen = [(kind_of(name, kind), name)]
    if not overrides:
        return [ToCheck(each, item, item) for each, item in chosen]
    if len(chosen) > 1:
        listed = ", ".join(item for _, item in chosen)
        raise UserError(f"{option('--set')}: expected one {any_noun(kinds)} to set it of, found {listed}")
    return [_with_parameters(*chosen[0], overrides)]


def _with_parameters(kind: str, name: str, overrides: Sequence[str]) -> ToCheck:
    values: dict[str, object] = {"name": name}
    for override in overrides:
        values = merge(values, parse_override(override))
    try:
        made = TypeAdapter(Annotated[Component, Registered(KINDS[kind])]).validate_python(values)
    except ValidationError as error:
        raise in_experiment(error, name) from None
    return ToCheck(kind, made.id, made)


def _registered_instead(path: Path) -> str:
    """The kinds that a plugin file registers components of, for the error that it has none to check."""
    others = [kind.replace("_", " ") for kind, registry in KINDS.items() if registry.defined_in(path)]
    return f" (but {', '.join(others)})" if others else ""
