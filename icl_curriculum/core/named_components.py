"""Components by the texts that name them: a name, or an id as the tables show it."""

from __future__ import annotations

import tomllib
from typing import Any, get_args

from pydantic import ValidationError

from icl_curriculum.core.component import Component, is_one_value
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.core.mistakes import mistakes_in
from icl_curriculum.core.registry import Registered, Registry


def as_component(value: Any, registry: Registry, key: str) -> Component:
    """The component that Python is given: itself, its name or id, or a dict as in a TOML file.

    UserError, naming the argument ``key``, for anything else, and for parameters that it does not have.
    """
    try:
        if isinstance(value, str):
            value = table_of_id(Identifier.parse(value), registry)
        made = registry.build(value)
        if not isinstance(made, registry.base):
            raise UserError(f"expected the name of {_article(registry.kind)}, or one itself, found {made!r}")
        return made
    except ValidationError as error:
        found = mistakes_in(error, registry.get(value["name"]), "parameter")
        raise UserError("; ".join(map(str, found)), key=key, subject=value["name"]) from None
    except UserError as error:
        raise UserError(error.reason, key=key, subject=error.subject, way_out=error.way_out) from None


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def table_of_id(identifier: Identifier, registry: Registry) -> dict[str, Any]:
    """The table that an identifier stands for: values without a key are those of the ``id_fields``, in order.

    The value of a field that holds a component is all that follows, unless it is one value (`ONE_VALUE`).
    """
    name = identifier.name
    cls = registry.get(name)
    spec: dict[str, Any] = {"name": name}
    keys = iter(cls.id_fields)
    for number, part in enumerate(identifier.parts):
        key = next(keys, "") if part.key is None else part.key
        if not key or not part.value:
            raise UserError(f"expected {name}, {name}/value or {name}/key=value, found {str(part)!r}")
        nested = _registry_of(cls, key)
        if nested is not None and is_one_value(cls.model_fields[key]):
            spec[key] = table_of_id(Identifier.of_value(part.value), nested)
            continue
        if nested is not None:
            spec[key] = table_of_id(identifier.held(number), nested)
            break
        # What is no field of its own belongs to what the component hands on, as those of a regressor.
        handed_on = key not in cls.model_fields and "parameters" in cls.model_fields
        (spec.setdefault("parameters", {}) if handed_on else spec)[key] = _value(part.value)
    return spec


def _registry_of(cls: type[Component], key: str) -> Registry | None:
    """The registry of the components that a field holds, if it holds one."""
    field = cls.model_fields.get(key)
    if field is None:
        return None
    # Of a field that may be empty, the mark is inside the union.
    marks = [*field.metadata, *(mark for kind in get_args(field.annotation) for mark in get_args(kind)[1:])]
    return next((mark.registry for mark in marks if isinstance(mark, Registered)), None)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, ValueError, RecursionError):
        return text
