"""The base class of everything that is registered: fields that a TOML may set, ids, and what of them decides a run.

Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from icl_curriculum.core.arguments import plain
from icl_curriculum.core.field_help import OwnWords, describe_fields
from icl_curriculum.core.identifiers import Identifier, held_as_value
from icl_curriculum.core.named_files import NamedFile, files_written_as

#: The largest number of dimensions, points or prompts that can be asked for. No machine holds more.
LARGEST = 1_000_000


#: Marks a field that a later version added: ``Field(..., json_schema_extra=ADDED_LATER)``. At its default it is no part
#: of a run's hash, so that runs that were finished before stay what they are.
ADDED_LATER: dict[str, Any] = {"added_later": True}


#: Marks a field whose component stands in ids as one value, with colons for slashes: ``observation=outliers:0.1``. So
#: further parameters can follow it. Of other fields, the component takes all that follows.
ONE_VALUE: dict[str, Any] = {"one_value": True}


def is_one_value(info: FieldInfo) -> bool:
    """Whether a field is marked as `ONE_VALUE`."""
    return isinstance(info.json_schema_extra, dict) and "one_value" in info.json_schema_extra


def default_was(value: Any) -> dict[str, Any]:
    """Marks a field whose default a later version changed, ``Field(..., json_schema_extra=default_was(200))``.

    Where either default leads to the same results, the new one stands in a run's hash as the old one did.
    """
    return {"default_was": value}


class Strict(BaseModel, metaclass=OwnWords):
    """A part of a config that refuses unknown keys and silent conversions, and cannot be changed after reading."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        describe_fields(cls)

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, values: Any) -> Any:
        return plain(values)

    def deciding(self) -> dict[str, Any]:
        """The fields by their names in a file, at their defaults as earlier versions had them.

        So without those that were `ADDED_LATER`, and as it was where there was another default (`default_was`).
        """
        values: dict[str, Any] = {}
        for key, info in type(self).model_fields.items():
            value = getattr(self, key)
            marks = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
            if {"added_later", "default_was"} & marks.keys() and value == info.get_default(call_default_factory=True):
                value = marks.get("default_was")
            if value is not None:
                values[info.alias or key] = _deciding(value)
        return values


class Component(Strict):
    """A registered, configurable piece: its fields are what a TOML may set, checked strictly.

    The id tells a component's parameters apart in the tables: the registered name, then the values of
    ``id_fields``, then every other parameter that differs from its default, e.g. ``hermite/3`` or
    ``sparse_linear/sparsity=2``. ``id = "..."`` in a TOML overrides it in what is shown, never in what is drawn.
    """

    name: ClassVar[str] = ""
    id_fields: ClassVar[tuple[str, ...]] = ()
    #: The extra of the package that it takes (`core.extras`), by name; none for what works in every installation.
    needs_extra: ClassVar[str] = ""

    given_id: str | None = Field(
        None, alias="id", min_length=1, pattern=r"^[^\r\n]*$", description="overrides the id shown in the tables"
    )

    @property
    def id(self) -> str:
        if self.given_id is not None:
            return self.given_id
        settings = {
            key: held_as_value(_in_an_id(getattr(self, key))) if is_one_value(info) else _in_an_id(getattr(self, key))
            for key, info in type(self).model_fields.items()
            if key not in self.id_fields and key != "given_id" and not _is(getattr(self, key), info.default)
        }
        return str(Identifier.of(self.name, (_in_an_id(getattr(self, key)) for key in self.id_fields), settings))

    @property
    def canonical_id(self) -> str:
        """The id that the component has without any ``id = "..."``; it names the streams that data are drawn from."""
        with files_written_as("content"):
            return self.without_given_ids().id

    def without_given_ids(self) -> Self:
        """The same component as if no ``id = "..."`` had been written, neither for it nor for what it holds."""
        plain = {key: _without_given_ids(getattr(self, key)) for key in type(self).model_fields}
        return self.model_copy(update={**plain, "given_id": None})

    def deciding(self) -> dict[str, Any]:
        return {"name": self.name, **super().deciding()}

    def spec(self, *, by_content: bool = False) -> dict[str, Any]:
        """The component as a TOML table that builds it again, defaults written out.

        ``by_content``: with hashes in the place of the paths of files, for what names a stream or a cache.
        """
        if by_content:
            with files_written_as("content"):
                return self.spec()
        values = self.model_dump(by_alias=True, exclude_none=True)
        return {"name": self.name, **values}

    def parts(self) -> Iterator[Component]:
        """The component, and those that its fields hold, at any depth."""
        yield self
        for key in type(self).model_fields:
            value = getattr(self, key)
            for item in value if isinstance(value, tuple | list) else (value,):
                if isinstance(item, Component):
                    yield from item.parts()

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring, without its markup."""
        return (cls.__doc__ or "").strip().split("\n")[0].replace("``", "")


def _deciding(value: Any) -> Any:
    if isinstance(value, Strict):
        return value.deciding()
    if isinstance(value, NamedFile):
        # The name stands in ids, and so in tables.
        return f"{value.name}/{value.hash}"
    if isinstance(value, list | tuple):
        return type(value)(_deciding(item) for item in value)
    return {key: _deciding(item) for key, item in value.items()} if isinstance(value, dict) else value


def _in_an_id(value: object) -> object:
    return value.id if isinstance(value, Component) else value


def _without_given_ids(value: Any) -> Any:
    if isinstance(value, Component):
        return value.without_given_ids()
    if isinstance(value, tuple):
        return tuple(_without_given_ids(item) for item in value)
    return value


def _is(value: object, default: object) -> bool:
    """Whether a field holds its default, which for a component is written as its name."""
    return value == default or (isinstance(value, Component) and value.id == default)


def code_of(component: Component) -> tuple[type, ...]:
    """The classes of a component and its parts, in which two versions of a plugin differ whose fields are equal."""
    return tuple(type(part) for part in component.parts())
