"""An experiment as a TOML file of its own: every field with its value, from which the same runs are made again."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import tomli_w

from icl_curriculum.config.loading import LoadedExperiment


def shown_values(loaded: LoadedExperiment) -> dict[str, Any]:
    """What a file says that makes the same runs, with the same hashes, wherever on this machine it lies.

    Every field with its value, defaults included, and ``[variants]`` and ``[sweep]`` as they were given. A default
    that follows from another key, as the steps between rows do from the number of steps and others from the recipe, is
    left out where it is not the same in all variants: written out, it would be. Files are named by absolute paths.
    """
    shown = {key: value for key, value in loaded.base.resolved().items() if key not in ("variants", "sweep")}
    variants: dict[str, Any] = {}
    sweep: dict[str, list[Any]] = {key: list(values) for key, values in loaded.base.sweep.items()}
    for each, experiment in loaded.made:
        resolved = experiment.resolved()
        if each.variant:
            variants.setdefault(each.variant, _with_paths(each.changes, resolved))
        for key, value in each.swept.items():
            place = next(i for i, item in enumerate(loaded.base.sweep[key]) if item is value)
            sweep[key][place] = _with_paths(value, _at(resolved, key))
        _leave_out_unlike(shown, resolved, loaded.values, list(each.tables))
    # Plain values come before tables in a file.
    return shown | {key: value for key, value in (("variants", variants), ("sweep", sweep)) if value}


def shown_text(loaded: LoadedExperiment) -> str:
    """`shown_values` as TOML, after a comment on how many runs it makes of which variants, where it makes several."""
    names = list(dict.fromkeys(run.variant for run in loaded.runs))
    said = ""
    if len(names) > 1:
        seeds = len(loaded.base.seeds)
        of_seeds = f" with {seeds} seeds each" if seeds > 1 else ""
        said = f"# {len(loaded.runs)} runs: {len(names)} variants{of_seeds}\n"
        said += textwrap.fill(
            ", ".join(names), width=118, initial_indent="# ", subsequent_indent="# ",
            break_long_words=False, break_on_hyphens=False,
        ) + "\n\n"  # fmt: skip
    return said + tomli_w.dumps(shown_values(loaded))


def _leave_out_unlike(shown: dict[str, Any], resolved: Mapping[str, Any], said: Any, changes: list[Any]) -> None:
    """Remove what a variant has another value of, though neither the file says it nor the variant.

    ``said``: what the file says; ``changes``: the tables that are merged over it. Each may also be something else than
    a table, such as a component's name, which says nothing of its parameters.
    """
    for key in list(shown):
        own = [table[key] for table in changes if isinstance(table, Mapping) and key in table]
        says = isinstance(said, Mapping) and key in said
        value, other = shown[key], resolved.get(key)
        if value == other:
            continue
        if isinstance(value, dict) and isinstance(other, Mapping):
            # Another component comes with its own parameters; that of a plain choice holds others for both.
            if value.get("name") == other.get("name") or not own or key in ("optimizer", "schedule"):
                _leave_out_unlike(value, other, said[key] if says else None, own)
        elif not own and not says:
            del shown[key]


def _with_paths(said: Any, resolved: Any) -> Any:
    """What a file says of a value, with its texts as they were understood: those that name files as absolute paths."""
    if isinstance(said, str) and isinstance(resolved, str):
        return resolved
    if isinstance(said, Mapping):
        inner = resolved if isinstance(resolved, Mapping) else {}
        return {key: _with_paths(value, inner.get(key)) for key, value in said.items()}
    if isinstance(said, list | tuple):
        same = isinstance(resolved, list | tuple) and len(resolved) == len(said)
        return [_with_paths(value, resolved[i] if same else None) for i, value in enumerate(said)]
    return said


def _at(values: Any, key: str) -> Any:
    """The value of a dotted key; None where there is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values
