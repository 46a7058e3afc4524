"""What ``icl check`` is asked to check: names, plugin files and parameters as function classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from icl_curriculum.config.loading import merge, parse_override
from icl_curriculum.config.mistakes import message, problems
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.registry import FUNCTION_CLASSES
from icl_curriculum.function_classes import AnyFunctionClass, FunctionClass


def subjects(
    name: str | None, *, everything: bool, overrides: Sequence[str] = (), plugins: Sequence[Path] = ()
) -> dict[str, FunctionClass | str]:
    """The function classes to check by the name to show: all, the named one, or those that a plugin file defines.

    ``overrides``: ``key=value`` parameters of the one class that is named. Raises UserError for what cannot be meant.
    """
    if (name is None) != everything:
        raise UserError("expected the name of a function class, a plugin file, or --all; icl list function_classes")
    for plugin in plugins:
        load_plugin(plugin)
    if name is None:
        chosen = FUNCTION_CLASSES.names()
    elif name.endswith(".py"):
        load_plugin(Path(name))
        chosen = FUNCTION_CLASSES.defined_in(Path(name))
        if not chosen:
            raise UserError(f"{name} registers no function class; expected @register_function_class(...) in it")
    else:
        FUNCTION_CLASSES.get(name)
        chosen = [name]
    if not overrides:
        return {item: item for item in chosen}
    if len(chosen) > 1:
        raise UserError(f"--set: expected one function class to set it of, found {', '.join(chosen)}")
    values: dict[str, object] = {"name": chosen[0]}
    for override in overrides:
        values = merge(values, parse_override(override))
    try:
        made: FunctionClass = TypeAdapter(AnyFunctionClass).validate_python(values)
    except ValidationError as error:
        raise UserError(message(problems(error), chosen[0])) from None
    return {made.id: made}
