"""Fields that hold a registered component, written as a name or as a table with a name and parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from icl_curriculum.registry import BUILT_IN, Component, Registry, UserError, described


@dataclass(frozen=True)
class Registered:
    """In ``Annotated[InputDistribution, Registered(INPUTS)]``: built from its name or table, written back as a table.

    ``default``: what a table without a name is of.
    """

    registry: Registry
    default: str | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.build, serialization=core_schema.plain_serializer_function_ser_schema(_spec)
        )

    def build(self, value: Any) -> Component:
        """A component, whose mistakes are pydantic's errors of the types that `mistakes` unfolds."""
        if self.default is not None and isinstance(value, dict):
            value = {"name": self.default, **value}
        try:
            component = self.registry.build(value)
            _ = component.id
            return component
        except UserError as error:
            raise PydanticCustomError("component", "{message}", {"message": str(error)}) from None
        except ValidationError as error:
            name = value if isinstance(value, str) else value["name"]
            known = list(self.registry.get(name).model_fields)
            raise PydanticCustomError(
                "component_parameters", "bad parameters", {"errors": error.errors(), "known": known}
            ) from None
        except Exception as error:
            # A plugin's own validator or property; the id is read here so that it fails here.
            name = value if isinstance(value, str) else value["name"]
            origin = self.registry.origin(name)
            if origin == BUILT_IN:
                raise
            message = f"{self.registry.kind} {name!r} ({origin}) failed: {described(error, origin)}"
            raise PydanticCustomError("component", "{message}", {"message": message}) from error


def _spec(component: Component) -> dict[str, Any]:
    return component.spec()
