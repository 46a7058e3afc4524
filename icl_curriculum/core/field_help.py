"""What ``help()`` says of components and of tables of a config: their own fields and methods, in their own words.

Without it, pydantic's methods fill hundreds of lines, and the fields and what they mean are in none of these.
"""

from __future__ import annotations

import inspect
import textwrap
import types
import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from icl_curriculum.core.errors import BadArguments
from icl_curriculum.core.mistakes import mistakes_in

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

#: How many columns the words on a field may take.
_WIDTH = 100
#: How the bounds of a number are worded, by the attributes of the marks that state them.
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


class _Nothing(BaseModel):
    """Has what pydantic gives every class, and nothing of its own."""


#: What pydantic gives every class anew.
_GIVEN = {*vars(_Nothing)}


class OwnWords(ModelMetaclass):
    """The type of classes of which ``dir()``, and so ``help()`` and a notebook's completion, name what is their own.

    A call with wrong arguments is told as a `UserError`.
    """

    def __dir__(cls) -> list[str]:
        own = [base for base in cls.__mro__ if base.__module__.partition(".")[0] not in ("pydantic", "builtins", "abc")]
        names = {name for base in own for name in vars(base) if not name.startswith("__")}
        return sorted(names - _GIVEN)

    if not TYPE_CHECKING:  # Type checkers know the parameters from the fields.

        def __call__(cls, *arguments: Any, **values: Any) -> Any:
            """Make one. UserError, naming each parameter that is wrong, in the place of pydantic's own error.

            What is nested in a file or a dict is not made by a call, so there pydantic gathers the mistakes of all.
            """
            try:
                return super().__call__(*arguments, **values)
            except ValidationError as error:
                mistakes = mistakes_in(error, cls, "parameter")
                raise BadArguments([mistake.found_in(cls.__name__) for mistake in mistakes]) from None


def describe_fields(cls: type[BaseModel]) -> None:
    """Add the fields to a class's docstring, and make its signature one of names and defaults.

    The docstring of a class that lacks methods is a contract, and stays as it is.
    """
    if cls.__doc__ and cls.model_fields and not inspect.isabstract(cls):
        lines = ["Fields:", "", *(line for name, info in cls.model_fields.items() for line in _words(name, info))]
        own = cls.__doc__.rstrip()
        later = [line for line in own.split("\n")[1:] if line.strip()]
        margin = min((len(line) - len(line.lstrip()) for line in later), default=0)
        cls.__doc__ = "\n".join([own, "", *(f"{' ' * margin}{line}".rstrip() for line in lines)])
    parameters = [
        inspect.Parameter(info.alias or name, inspect.Parameter.KEYWORD_ONLY, default=_default(info))
        for name, info in cls.model_fields.items()
    ]
    if all(each.name.isidentifier() for each in parameters):
        cls.__signature__ = inspect.Signature(parameters)


def _words(name: str, info: FieldInfo) -> list[str]:
    """``degree = 2: whole number ...`` and below it what the field is."""
    default = _default(info)
    given = "" if default is inspect.Parameter.empty else f" = {default!r}"
    values = _values(info.annotation, info.metadata)
    text = textwrap.wrap(info.description or "", _WIDTH)
    return [f"  {info.alias or name}{given}{f'  ({values})' if values else ''}", *(f"      {line}" for line in text)]


class _Shown:
    """A default in the words of an experiment file."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _default(info: FieldInfo) -> Any:
    if info.is_required():
        return inspect.Parameter.empty
    if info.default_factory is not None:
        return _Shown("...")
    name = getattr(info.default, "id", None)
    return info.default if name is None else _Shown(repr(name))


def _values(annotation: Any, metadata: list[Any]) -> str:
    """What a field may hold, where it is a plain value; empty for components and tables."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _values(arguments[0], [*arguments[1:]])
    if origin is typing.Literal:
        return " or ".join(map(repr, arguments))
    if origin in (typing.Union, types.UnionType):
        parts = [_values(each, metadata).partition(", ") for each in arguments if each is not type(None)]
        names = [name for name, _, _ in parts] + ["None"] * (type(None) in arguments)
        return ", ".join(filter(None, [" or ".join(names), *(bounds for *_, bounds in parts)])) if all(names) else ""
    if annotation not in (int, float, bool, str):
        return ""
    marks = [mark for item in metadata for mark in getattr(item, "metadata", [item])]
    bounds = [
        f"{word} {_amount(getattr(mark, key))}" for mark in marks for key, word in _BOUNDS.items() if hasattr(mark, key)
    ]
    return ", ".join([annotation.__name__, *bounds])


def _amount(bound: float) -> str:
    return f"{bound:,.0f}" if float(bound).is_integer() and bound < 2**53 else f"{bound:g}"
