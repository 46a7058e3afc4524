"""What is wrong with the values of an experiment file, in the file's own words and of readable length."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from icl_curriculum.config.experiment import Experiment
from icl_curriculum.core.errors import UserError, did_you_mean

#: Tables within tables; a variant of a component's table is five deep.
DEEPEST = 16
#: Characters of a line, and lines of a message.
LONGEST, MOST = 1000, 20
#: The whole numbers that TOML, the tables and torch can hold.
LEAST_INTEGER, GREATEST_INTEGER = -(2**63), 2**63 - 1


class _Shown(reprlib.Repr):
    """Python's notation, cut short, but for dates, which stand as TOML writes them."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 100
        self.maxlist = self.maxdict = self.maxtuple = 10
        self.maxlevel = 4

    def repr_date(self, value: object, level: int) -> str:
        return str(value)

    repr_time = repr_datetime = repr_date


shown = _Shown().repr


def named(text: str) -> str:
    """A name that the user wrote, as it stands where it is one short line, else as `shown`."""
    return text if text and text.isprintable() and len(text) <= 100 else shown(text)


def dotted(location: Iterable[str | int]) -> str:
    """A key from its parts; one that TOML would quote stands in quotes.

    >>> dotted(["variants", "a", "model.width"])
    "variants.a.'model.width'"
    """
    return ".".join(named(part) if re.fullmatch(r"[\w-]+", part) else shown(part) for part in map(str, location))


def refuse_impossible(values: Mapping[str, Any]) -> None:
    """UserError for what no key can hold: NaN, bytes that are no text, numbers and tables beyond all bounds."""
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), values)]
    while waiting:
        location, value = waiting.pop()
        if isinstance(value, dict | list):
            if len(location) > DEEPEST:
                raise UserError(f"{dotted(location[:3])}: expected tables at most {DEEPEST} deep, found more")
            items = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [((*location, key), inner) for key, inner in items]
        elif isinstance(value, float) and math.isnan(value):
            raise UserError(f"{dotted(location)}: expected a number, found nan")
        elif isinstance(value, str) and not _is_text(value):
            raise UserError(f"{dotted(location)}: expected text in UTF-8, found {shown(value)}")
        elif isinstance(value, int) and not LEAST_INTEGER <= value <= GREATEST_INTEGER:
            raise UserError(f"{dotted(location)}: expected a whole number of at most 64 bits, found {shown(value)}")


def _is_text(value: str) -> bool:
    """Whether a text can be written to a file: one from the command line may hold bytes that are no text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def message(problems: Sequence[str], source: str) -> str:
    """Problems with the experiment that ``source`` names, a line each."""
    lines = [f"{source}: {problem}" for problem in problems[:MOST]]
    lines = [line if len(line) <= LONGEST else f"{line[: LONGEST - 200]} … {line[-200:]}" for line in lines]
    left = len(problems) - MOST
    return "\n".join(lines + [f"{source}: and {left} more"] * (left > 0))


def problems(error: ValidationError) -> list[str]:
    """What a ValidationError of an `Experiment` says, as ``key: what was expected, what was found``."""
    items = error.errors()
    # A list is also called too short when its only item is wrong: that item says it better.
    spoiled = {item["loc"][:-1] for item in items}
    items = [item for item in items if item["type"] != "too_short" or item["loc"] not in spoiled]
    # A default that is made from other fields is wanting only because of mistakes that are in the list themselves.
    items = [item for item in items if item["type"] != "default_factory_not_called"]
    return [line for item in items for line in _explain(item)]


# Python's words for what a TOML file calls something else.
_WORDING = {
    "(Input|String) should (be|have)": "expected",
    "String should match pattern": "expected text that matches",
    r"a valid tuple|a valid list": "a list",
    r"a valid dictionary( or (object|instance) .*)?": "a table",
    r"Tuple should have (at \w+ \d+ items?)( after validation)?": r"expected a list of \1",
}


def _explain(error: Any, prefix: tuple[str | int, ...] = (), known: Iterable[str] = ()) -> list[str]:
    """One pydantic error as ``key: what was wrong``; errors inside a component are unfolded."""
    location = (*prefix, *error["loc"])
    key = dotted(location)
    context = error.get("ctx", {})
    if error["type"] == "component_parameters":
        return [line for inner in context["errors"] for line in _explain(inner, location, context["known"])]
    if error["type"] == "component":
        return [at(key, context["message"])]
    if error["type"] == "missing":
        return [at(key, "required, but missing")]
    if error["type"] == "extra_forbidden":
        names = list(known) or _fields_at(Experiment, error["loc"][:-1])
        hint = did_you_mean(str(location[-1]), (name for name in names if name != "given_id"))
        return [at(key, f"unknown key{hint}")]
    if error["type"] == "value_error":
        # A validator's own words, which may say what was found.
        words = str(context["error"])
        return [at(key, words if "found" in words else f"{words}, found {shown(error['input'])}")]
    message = error["msg"]
    for said, meant in _WORDING.items():
        message = re.sub(said, meant, message)
    return [at(key, f"{message}, found {shown(error['input'])}")]


def at(key: str, text: str) -> str:
    """``key: text``; the key of the whole is empty, and is left out."""
    return f"{key}: {text}" if key else text


def _fields_at(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys of the table at a location, for suggestions."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            return []
        candidates = [field.annotation, *get_args(field.annotation)]
        inner = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)
