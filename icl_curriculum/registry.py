"""One generic registry for every kind of component, and the base class of what is registered.

Nothing here imports torch: listing and configuring stay light until a component is asked for.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field

PACKAGE = "icl_curriculum"


class UserError(Exception):
    """A mistake in what the user wrote. The command line prints it and exits with code 2."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the closest known name, else the list of them all."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""


class Component(BaseModel):
    """A registered, configurable piece: its fields are what a TOML may set, checked strictly.

    The id tells a component's parameters apart in the tables: the registered name, then the values of
    ``id_fields``, then every other parameter that differs from its default, e.g. ``hermite/3`` or
    ``sparse_linear/sparsity=2``. ``id = "..."`` in a TOML overrides it.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: ClassVar[str] = ""
    id_fields: ClassVar[tuple[str, ...]] = ()

    given_id: str | None = Field(None, alias="id", description="overrides the id shown in the tables")

    @property
    def id(self) -> str:
        if self.given_id is not None:
            return self.given_id
        parts = [self.name] + [_show(getattr(self, key)) for key in self.id_fields]
        for key, info in type(self).model_fields.items():
            if key not in self.id_fields and key != "given_id" and getattr(self, key) != info.default:
                parts.append(f"{key}={_show(getattr(self, key))}")
        return "/".join(parts)

    def spec(self) -> dict[str, Any]:
        """The component as a TOML table that builds it again, defaults written out."""
        values = self.model_dump(by_alias=True, exclude_none=True)
        return {"name": self.name, **values}

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring."""
        return (cls.__doc__ or "").strip().split("\n")[0]


def _show(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


C = TypeVar("C", bound=Component)


class Registry:
    """The components of one kind by name: built in, from plugin files, or from installed packages."""

    def __init__(self, kind: str, group: str, module: str) -> None:
        self.kind = kind
        self.group = f"{PACKAGE}.{group}"
        self._module = f"{PACKAGE}.{module}"
        self._classes: dict[str, type[Component]] = {}
        self._origins: dict[str, str] = {}
        self._entered: dict[str, str] = {}  # by which entry point a name came in

    def register(self, name: str) -> Callable[[type[C]], type[C]]:
        """Decorator: make a component class known by ``name``. A name that is taken is an error."""

        def add(cls: type[C]) -> type[C]:
            origin = _origin(cls)
            if name in self._classes:
                raise UserError(
                    f"{self.kind} {name!r} is registered twice: in {self._origins[name]} and in {origin}; rename one"
                )
            cls.name = name
            self._classes[name] = cls
            self._origins[name] = origin
            return cls

        return add

    def get(self, name: str) -> type[Component]:
        """The class registered as ``name``; UserError with the closest known name otherwise."""
        importlib.import_module(self._module)
        self._load_entry_points(name)
        if name not in self._classes:
            raise UserError(f"unknown {self.kind} {name!r}{did_you_mean(name, self.names())}")
        return self._classes[name]

    def names(self) -> list[str]:
        importlib.import_module(self._module)
        return sorted({*self._classes, *(point.name for point in self._entry_points())})

    def origin(self, name: str) -> str:
        """Where a component came from: ``built in``, a file, or an installed package."""
        self.get(name)
        return self._origins[name]

    def build(self, spec: str | dict[str, Any] | Component) -> Component:
        """A component from its name, or from a table with ``name`` and parameters.

        Raises UserError for an unknown name and pydantic.ValidationError for bad parameters.
        """
        if isinstance(spec, Component):
            return spec
        if isinstance(spec, str):
            return self.get(spec)()
        if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
            raise UserError(f"a {self.kind} is a name or a table with a 'name', found {spec!r}")
        parameters = {key: value for key, value in spec.items() if key != "name"}
        return self.get(spec["name"]).model_validate(parameters)

    def _entry_points(self) -> tuple[importlib.metadata.EntryPoint, ...]:
        return _entry_points(importlib.metadata.entry_points, self.group)

    def _load_entry_points(self, name: str) -> None:
        """Register what installed packages offer under a name. UserError if it is taken, broken or no component."""
        for point in self._entry_points():
            source = f"{point.value} of the package {point.dist.name if point.dist else 'unknown'}"
            if point.name != name or self._entered.get(name) == source:
                continue
            if name in self._classes:
                raise UserError(
                    f"{self.kind} {name!r} is registered twice: in {self._origins[name]} and in {source}; rename one"
                )
            try:
                loaded = point.load()
            except Exception as error:
                raise UserError(
                    f"{self.kind} {name!r}: its entry point {source} failed to load: {type(error).__name__}: {error}"
                ) from error
            if not (isinstance(loaded, type) and issubclass(loaded, Component)):
                raise UserError(
                    f"{self.kind} {name!r}: its entry point {source} is {loaded!r}; expected a component class"
                )
            if self._classes.get(name) is not loaded:
                self.register(name)(loaded)
            self._entered[name] = source


@functools.cache
def _entry_points(find: Callable[..., Any], group: str) -> tuple[importlib.metadata.EntryPoint, ...]:
    """What installed packages offer, read once: reading all their metadata takes milliseconds."""
    return tuple(find(group=group))


def _origin(cls: type) -> str:
    if cls.__module__.split(".")[0] == PACKAGE:
        return "built in"
    module = sys.modules.get(cls.__module__)
    return str(getattr(module, "__file__", None) or cls.__module__)


FUNCTION_CLASSES = Registry("function class", "function_classes", "function_classes")
INPUTS = Registry("input distribution", "inputs", "inputs")
SHIFTS = Registry("shift", "shifts", "shifts")
CURRICULA = Registry("curriculum", "curricula", "curricula")
BASELINES = Registry("baseline", "baselines", "baselines")
MODELS = Registry("model", "models", "models")
METHODS = Registry("training method", "methods", "training.methods")

KINDS: dict[str, Registry] = {
    "function_classes": FUNCTION_CLASSES,
    "inputs": INPUTS,
    "shifts": SHIFTS,
    "curricula": CURRICULA,
    "baselines": BASELINES,
    "models": MODELS,
    "methods": METHODS,
}


def load_plugin(path: Path) -> None:
    """Import a plugin file, whose decorators register what it defines. Loading a file twice is harmless.

    Raises UserError if the file is missing or fails to import.
    """
    path = path.resolve()
    if not path.is_file():
        raise UserError(f"plugin file {path} does not exist")
    # By content: a run directory's copy of a plugin that is loaded already is the same plugin.
    module_name = f"{PACKAGE}_plugin_{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    if module_name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"plugin file {path} is not a Python file (expected a name ending in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    before = [(registry, dict(registry._classes), dict(registry._origins)) for registry in KINDS.values()]
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        for registry, classes, origins in before:
            registry._classes, registry._origins = classes, origins
        if isinstance(error, UserError):
            raise
        raise UserError(f"plugin file {path} failed to import: {type(error).__name__}: {error}") from error
