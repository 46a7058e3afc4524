"""What is wrong with values that pydantic has refused, in the words of who wrote them and of readable length."""

from __future__ import annotations

import contextlib
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from icl_curriculum.core.errors import UserError, did_you_mean, together


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


class GatheredMistakes:
    """Mistakes that are told together, instead of the first alone."""

    def __init__(self) -> None:
        self.found: list[UserError] = []

    @contextlib.contextmanager
    def noting(self, as_told: Callable[[UserError], UserError] = lambda mistake: mistake) -> Iterator[None]:
        """Note the mistakes for which the block raises UserError, each as ``as_told`` makes it, and go on after it."""
        try:
            yield
        except UserError as error:
            for mistake in error.mistakes:
                told = as_told(mistake)
                if told is not error:
                    told.__cause__ = error
                self.note([told])

    def note(self, mistakes: Iterable[UserError]) -> None:
        """Note mistakes, but for those that were met already, in another variant say."""
        met = {(each.key, each.reason) for each in self.found}
        self.found += [each for each in mistakes if (each.key, each.reason) not in met]

    def tell(self) -> None:
        """Raise all of them as one UserError, if there are any."""
        if self.found:
            raise together(self.found) from self.found[0].__cause__


def mistakes_in(error: ValidationError, model: type[BaseModel], noun: str = "key") -> list[UserError]:
    """What a ValidationError says, each mistake with its dotted key, what was expected and what was found.

    ``model``: what was to be built, whose fields are suggested; ``noun``: what these are called, where one is unknown.
    """
    items = error.errors()
    # A list is also called too short when its only item is wrong: that item says it better.
    spoiled = {item["loc"][:-1] for item in items}
    items = [item for item in items if item["type"] != "too_short" or item["loc"] not in spoiled]
    # A default that is made from other fields is wanting only because of mistakes that are in the list themselves.
    items = [item for item in items if item["type"] != "default_factory_not_called"]
    return [mistake for item in items for mistake in _explain(item, model, noun)]


#: How many components are named that have a key which another lacks.
_MOST_OWNERS = 5

# Python's words for what a TOML file calls something else.
_WORDING = {
    "(Input|String) should (be|have)": "expected",
    "String should match pattern": "expected text that matches",
    r"a valid tuple|a valid list": "a list",
    r"a valid dictionary( or (object|instance) .*)?": "a table",
    r"Tuple should have (at \w+ \d+ items?)( after validation)?": r"expected a list of \1",
}


def _explain(
    error: Any,
    model: type[BaseModel],
    noun: str,
    prefix: tuple[str | int, ...] = (),
    known: Iterable[str] = (),
    owners: Mapping[str, Sequence[str]] | None = None,
) -> list[UserError]:
    """One pydantic error as a mistake; errors inside a component are unfolded.

    ``known``: the fields of the component that the error is in; ``owners``: what others have a field that it lacks.
    """
    location = (*prefix, *error["loc"])
    key = dotted(location)
    context = error.get("ctx", {})
    if error["type"] == "component_parameters":
        return [
            mistake
            for inner in context["errors"]
            for mistake in _explain(inner, model, noun, location, context["known"], context["owners"])
        ]
    if error["type"] == "component":
        return [UserError(context["message"], key=key)]
    if error["type"] == "missing":
        return [UserError("required, but missing", key=key)]
    if error["type"] == "extra_forbidden":
        names = list(known) or _fields_at(model, error["loc"][:-1])
        hint = did_you_mean(str(location[-1]), (name for name in names if name != "given_id"))
        others = (owners or {}).get(str(location[-1]), ())
        has = "has" if len(others) == 1 else "have"
        whose = f"; {', '.join(others[:_MOST_OWNERS])} {has} it" if others else ""
        return [UserError(f"unknown {noun}{hint}{whose}", key=key)]
    if error["type"] == "value_error":
        # A validator's own words, which may say what was found.
        words = str(context["error"])
        return [UserError(words if "found" in words else f"{words}, found {shown(error['input'])}", key=key)]
    message = error["msg"]
    for said, meant in _WORDING.items():
        message = re.sub(said, meant, message)
    return [UserError(f"{message}, found {shown(error['input'])}", key=key)]


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
