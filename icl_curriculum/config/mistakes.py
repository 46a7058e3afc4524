"""What is wrong with the values of an experiment file, in the file's own words and of readable length."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from icl_curriculum.config.experiment import Experiment
from icl_curriculum.core.errors import UserError, together
from icl_curriculum.core.mistakes import dotted, mistakes_in, named, shown

__all__ = ["dotted", "in_experiment", "named", "problems", "refuse_impossible", "shown"]

#: Tables within tables; a variant of a component's table is five deep.
DEEPEST = 16
#: The whole numbers that TOML, the tables and torch can hold.
LEAST_INTEGER, GREATEST_INTEGER = -(2**63), 2**63 - 1


def refuse_impossible(values: Mapping[str, Any]) -> None:
    """UserError for what no key can hold: NaN, bytes that are no text, numbers and tables beyond all bounds."""
    found: dict[tuple[str, str], UserError] = {}
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), values)]
    while waiting:
        location, value = waiting.pop(0)
        if isinstance(value, dict | list) and len(location) <= DEEPEST:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [((*location, key), inner) for key, inner in items]
        elif reason := _why_impossible(value):
            key = dotted(location[:3] if len(location) > DEEPEST else location)
            found[key, reason] = UserError(reason, key=key)
    if found:
        raise together([*found.values()])


def _why_impossible(value: Any) -> str:
    """Why no key can hold a value; of a table, that it is too deep; empty where it can."""
    if isinstance(value, dict | list):
        return f"expected tables at most {DEEPEST} deep, found more"
    if isinstance(value, float) and math.isnan(value):
        return "expected a number, found nan"
    if isinstance(value, str) and not _is_text(value):
        return f"expected text in UTF-8, found {shown(value)}"
    if isinstance(value, int) and not LEAST_INTEGER <= value <= GREATEST_INTEGER:
        return f"expected a whole number of at most 64 bits, found {shown(value)}"
    return ""


def _is_text(value: str) -> bool:
    """Whether a text can be written to a file: one from the command line may hold bytes that are no text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def in_experiment(error: ValidationError, source: str) -> UserError:
    """All mistakes that a ValidationError of an `Experiment` or of a component names, told at once."""
    return together([mistake.found_in(source) for mistake in mistakes_in(error, Experiment)])


def problems(error: ValidationError) -> list[str]:
    """What a ValidationError of an `Experiment` says, as ``key: what was expected, what was found``."""
    return [str(mistake) for mistake in mistakes_in(error, Experiment)]
