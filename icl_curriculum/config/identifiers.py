"""Components on the command line: a name, an id as the tables show it, or a TOML table.

``laplace``, ``scaled_inputs/0.5``, ``sparse_linear/sparsity=2``, ``other_inputs/student_t/df=5``,
``{ name = "scaled_inputs", factor = 0.5 }``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Annotated, Any, get_args

from pydantic import TypeAdapter, ValidationError

from icl_curriculum.config.mistakes import message, named, problems, refuse_impossible
from icl_curriculum.config.names import check_cell
from icl_curriculum.core.component import Component, is_one_value
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.core.registry import Registered, Registry


def component(text: str, registry: Registry, option: str, known: Sequence[Component] = ()) -> Component:
    """The component that a text means: of ``known`` the one with this id, or a new one.

    UserError naming the ``option`` and the text.
    """
    for item in known:
        if item.id == text:
            return item
    source = f"{option} {named(text)}"
    try:
        spec = _table(text) if text.lstrip().startswith("{") else _identified(Identifier.parse(text), registry)
        refuse_impossible(spec)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    adapter: TypeAdapter[Component] = TypeAdapter(Annotated[Component, Registered(registry)])
    try:
        made = adapter.validate_python(spec)
        check_cell("id", made.id)
        return made
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    except ValidationError as error:
        raise UserError(message(problems(error), source)) from None


def _table(text: str) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise UserError(f"not a valid TOML table: {error}") from None
    return dict(table["value"])


def _identified(identifier: Identifier, registry: Registry) -> dict[str, Any]:
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
            spec[key] = _identified(Identifier.of_value(part.value), nested)
            continue
        if nested is not None:
            spec[key] = _identified(identifier.held(number), nested)
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
