"""Components on the command line: a name, an id as the tables show it, or a TOML table.

``laplace``, ``scaled_inputs/0.5``, ``sparse_linear/sparsity=2``, ``other_inputs/student_t/df=5``,
``{ name = "scaled_inputs", factor = 0.5 }``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from icl_curriculum.config.mistakes import in_experiment, named, refuse_impossible
from icl_curriculum.config.names import check_cell
from icl_curriculum.core.component import Component
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.core.named_components import table_of_id
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
        spec = table_of_text(text) if text.lstrip().startswith("{") else table_of_id(Identifier.parse(text), registry)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    return component_of(spec, registry, source)


def component_of(spec: str | Mapping[str, Any], registry: Registry, source: str) -> Component:
    """The component that a name or a table means; UserError that begins with its ``source``."""
    try:
        refuse_impossible({"": spec} if isinstance(spec, str) else spec)
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
        raise in_experiment(error, source) from None


def table_of_text(text: str) -> dict[str, Any]:
    """The TOML table that a text in braces is; UserError for one that is none."""
    try:
        table: dict[str, Any] = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise UserError(f"not a valid TOML table: {error}") from None
    return dict(table["value"])
