"""Components on the command line: a name, an id as the tables show it, or a TOML table.

``laplace``, ``scaled_inputs/0.5``, ``sparse_linear/sparsity=2``, ``{ name = "scaled_inputs", factor = 0.5 }``.
"""

from __future__ import annotations

import tomllib
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from icl_curriculum.fields import Registered
from icl_curriculum.mistakes import message, named, problems, refuse_impossible
from icl_curriculum.registry import Component, Registry, UserError


def component(text: str, registry: Registry, option: str) -> Component:
    """The component that a text means. UserError naming the ``option`` and the text."""
    source = f"{option} {named(text)}"
    try:
        spec = _table(text) if text.lstrip().startswith("{") else _identified(text, registry)
        refuse_impossible(spec)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    adapter: TypeAdapter[Component] = TypeAdapter(Annotated[Component, Registered(registry)])
    try:
        return adapter.validate_python(spec)
    except ValidationError as error:
        # The key of the whole is empty: what is wrong stands right behind the option.
        lines = [line.removeprefix(": ") for line in problems(error)]
        raise UserError(message(lines, source)) from None


def _table(text: str) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise UserError(f"not a valid TOML table: {error}") from None
    return dict(table["value"])


def _identified(text: str, registry: Registry) -> dict[str, Any]:
    """``name/value/key=value``: values without a key are those of the component's ``id_fields``, in order."""
    name, *parts = text.split("/")
    spec: dict[str, Any] = {"name": name}
    keys = iter(registry.get(name).id_fields)
    for part in parts:
        key, separator, value = part.partition("=")
        if not separator:
            key, value = next(keys, ""), part
        if not key or not value:
            raise UserError(f"expected {name}, {name}/value or {name}/key=value, found {part!r}")
        spec[key] = _value(value)
    return spec


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, ValueError, RecursionError):
        return text
