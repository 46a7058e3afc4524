"""The component under check, whatever its kind: its instance, what it is called, and where its author's code is."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from types import FrameType
from typing import Any, ClassVar, Generic, TypeVar

import torch

from icl_curriculum.core.component import Component
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import Registry
from icl_curriculum.core.streams import Streams, generator

C = TypeVar("C", bound=Component)


class ComponentSubject(Generic[C]):
    """A component under check, given as an instance or as a class to be built with its defaults.

    ``doing`` says which call of the component is under way, for the report of an exception. A kind of component has a
    subclass of its own, which says where the kind is registered and what its contract is.
    """

    #: Where components of the kind are registered.
    registry: ClassVar[Registry]
    #: The base class that is the contract.
    base: ClassVar[type[Component]]
    #: The number of threads that the rules are checked on; None: as many as torch takes.
    threads: ClassVar[int | None] = None
    #: A docstring that a component of the kind might have.
    example_summary: ClassVar[str]

    def __init__(self, given: C | type[C]) -> None:
        self.given = given
        self.cls: type[C] = given if isinstance(given, type) else type(given)
        self.doing = f"the {self.registry.kind}"

    @property
    def registered(self) -> bool:
        """Whether the class is registered under its name; a class that isn't inherits its parent's name."""
        try:
            return self.registry.get(self.cls.name) is self.cls
        except UserError:
            return False

    @property
    def label(self) -> str:
        """The id, or the Python name of a class that is not registered."""
        if not self.registered:
            return self.cls.__name__
        return self.cls.name if isinstance(self.given, type) else self.given.id

    @functools.cached_property
    def as_given(self) -> C:
        """The instance."""
        self.doing = f"{self.cls.__name__}()"
        return self.given() if isinstance(self.given, type) else self.given

    @classmethod
    def must_have(cls) -> list[str]:
        """The methods that every component of the kind must define, in the order of the contract."""
        return [name for name in vars(cls.base) if name in getattr(cls.base, "__abstractmethods__", ())]

    def contracts(self) -> list[tuple[type, type]]:
        """The classes that the author wrote to a contract, each with the base class that is the contract."""
        return [(self.cls, self.base)]

    def generator(self, purpose: str, index: int = 0) -> torch.Generator:
        return generator(0, f"conformity/{purpose}", index)

    def streams(self, purpose: str, index: int = 0) -> Streams:
        return Streams(0, f"conformity/{purpose}", index)

    @property
    def authored(self) -> set[type]:
        """The classes that the author wrote: that of the component and what it inherits from, the contract aside."""
        return {cls for cls in self.cls.__mro__ if issubclass(cls, self.base)} - {self.base}

    @property
    def modules(self) -> set[str]:
        """The modules of the author's code."""
        return {cls.__module__ for cls in self.authored} - {self.base.__module__}

    def where_raised(self, error: BaseException) -> str | None:
        """The innermost line of the author's code that an exception went through."""
        where = None
        for frame, line in traceback.walk_tb(error.__traceback__):
            if frame.f_globals.get("__name__") in self.modules:
                where = _place(frame, line)
        return where

    def where_called(self) -> str | None:
        """The innermost line of the author's code that is being executed."""
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            if frame.f_globals.get("__name__") in self.modules:
                return _place(frame, frame.f_lineno)
            frame = frame.f_back
        return None


def equal_to(component: C) -> C:
    """A component with the same fields, which shares nothing else: whatever this one hid in itself is not there."""
    fields = type(component).model_fields
    values = {fields[name].alias or name: getattr(component, name) for name in component.model_fields_set}
    return type(component).model_validate(values)


#: A subject of whatever kind, for what treats all alike.
AnySubject = ComponentSubject[Any]


def _place(frame: FrameType, line: int) -> str:
    """Words a place as ``path/to/file.py:12, in evaluate``. A path below the working directory is relative to it."""
    path = frame.f_code.co_filename
    relative = os.path.relpath(path) if os.path.isabs(path) else path
    return f"{path if relative.startswith('..') else relative}:{line}, in {frame.f_code.co_name}"
