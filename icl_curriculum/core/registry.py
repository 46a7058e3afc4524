"""One generic registry for every kind of component.

Nothing here imports torch: listing and configuring stay light until a component is asked for.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import reprlib
import sys
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from icl_curriculum.core.component import Component
from icl_curriculum.core.errors import UserError, described, did_you_mean
from icl_curriculum.core.interactive import is_defined_again, note_place
from icl_curriculum.core.plugin_imports import KNOWN_AS

PACKAGE = "icl_curriculum"

BUILT_IN = "built in"

#: What the names of the modules that plugin files are executed as begin with.
PLUGIN_MODULE = f"{PACKAGE}_plugin_"

C = TypeVar("C", bound=Component)

#: Classes by name, each with where it came from.
Table = dict[str, tuple[type[Component], str]]

#: The plugin files whose names come first at this moment, and for each those of the run that it was last loaded for.
_BESIDE: ContextVar[tuple[str, ...]] = ContextVar("_BESIDE", default=())
_COMPANIONS: dict[str, tuple[str, ...]] = {}


def plugin_of(module: str) -> str | None:
    """The module of the plugin file that a module belongs to, as itself or as what it imports from its own folder."""
    top = module.partition(".")[0]
    return top if top.startswith(PLUGIN_MODULE) else None


def names_file(text: str) -> bool:
    """Whether a text in the place of a component's name is the path of a plugin file, or a name in one.

    >>> [names_file(text) for text in ("lab/mine.py", "mine.py:small", "transformer")]
    [True, True, False]
    """
    return text.endswith(".py") or ".py:" in text


def companions(plugins: Collection[str]) -> None:
    """Note that some plugin files are those of one run."""
    for plugin in plugins:
        _COMPANIONS[plugin] = tuple(sorted(plugins))


class RegisteredTwice(UserError):
    """Two places register a component of one kind by the same name: ``first``, which has it, and ``second``."""

    def __init__(self, kind: str, name: str, first: str, second: str) -> None:
        super().__init__(f"{kind} {name!r} is registered twice: in {first} and in {second}; rename one")
        self.kind, self.name, self.first, self.second = kind, name, first, second


class Registry:
    """The components of one kind by name: built in, from plugin files, or from installed packages."""

    def __init__(self, kind: str, group: str, module: str) -> None:
        self.kind = kind
        self.group = f"{PACKAGE}.{group}"
        self._module = f"{PACKAGE}.{module}"
        self._base: type[Component] = Component
        self._classes: dict[str, type[Component]] = {}
        self._origins: dict[str, str] = {}
        self._entered: dict[str, str] = {}  # by which entry point a name came in
        self._of_plugins: dict[str, Table] = {}  # what each plugin file has registered, whatever is known now

    @property
    def base(self) -> type[Component]:
        """The class that every component of the kind extends."""
        importlib.import_module(self._module)
        return self._base

    def of(self, base: type[Component]) -> Callable[[str], Callable[[type[C]], type[C]]]:
        """State the base class that every component of the kind extends; returns `register`."""
        self._base = base
        return self.register

    def register(self, name: str) -> Callable[[type[C]], type[C]]:
        """Decorator: make a component class known by ``name``.

        UserError for a name that is taken, a class of another kind, or one that lacks a method of the contract.
        """

        def add(cls: type[C]) -> type[C]:
            origin = _origin(cls)
            frame = sys._getframe(1)
            if name in self._classes and not is_defined_again(self._classes[name], cls, frame):
                raise self._twice(name, origin, cls.__module__)
            if not (isinstance(cls, type) and issubclass(cls, self._base)):
                raise UserError(f"{self.kind} {name!r} in {origin}: expected a subclass of {self._base.__name__}")
            missing = sorted(getattr(cls, "__abstractmethods__", ()))
            if missing:
                raise UserError(
                    f"{self.kind} {name!r} in {origin} lacks {', '.join(missing)}; "
                    f"{self._base.__name__} says what each must do"
                )
            cls.name = name
            note_place(cls, frame)
            self._classes[name] = cls
            self._origins[name] = origin
            plugin = plugin_of(str(frame.f_globals.get("__name__"))) or plugin_of(cls.__module__)
            if plugin is not None:
                self._of_plugins.setdefault(plugin, {})[name] = cls, origin
            return cls

        return add

    def _twice(self, name: str, origin: str, module: str) -> UserError:
        """The error for a second registration of a name."""
        if self._origins[name] == origin and self._classes[name].__module__ != module:
            return UserError(
                f"{self.kind} {name!r} of {origin} was loaded before with another content; start Python anew"
            )
        return RegisteredTwice(self.kind, name, self._origins[name], origin)

    def get(self, name: str) -> type[Component]:
        """The class registered as ``name``; UserError with the closest known name otherwise."""
        importlib.import_module(self._module)
        for plugin in _BESIDE.get():
            if name in self._of_plugins.get(plugin, {}):
                return self._of_plugins[plugin][name][0]
        self._load_entry_points(name)
        if name not in self._classes:
            if names_file(name):
                raise UserError(
                    f"unknown {self.kind} {name!r}",
                    way_out="a file stands for what it registers as a whole value of an experiment file; here, name "
                    "the file in plugins, and what it registers by its own name",
                )
            raise UserError(f"unknown {self.kind} {name!r}{did_you_mean(name, self.names())}")
        return self._classes[name]

    def names(self) -> list[str]:
        importlib.import_module(self._module)
        return sorted({*self._classes, *(point.name for point in self._entry_points())})

    def defined_in(self, path: Path) -> list[str]:
        """The names that a plugin file has registered."""
        return sorted(name for name, origin in self._origins.items() if origin == str(path.resolve()))

    def registered_by(self, digest: str, *, itself: bool = False) -> list[str]:
        """The names that a plugin file has registered, by the hash of its content; it must be loaded.

        ``itself``: without those of the modules that it imports from its own folder.
        """
        module = f"{PLUGIN_MODULE}{digest}"
        own = self._of_plugins.get(module, {})
        return sorted(name for name, (cls, _) in own.items() if not itself or cls.__module__ == module)

    def owners(self, error: ValidationError) -> dict[str, list[str]]:
        """The names of other components of the kind that have the fields which one does not, by the unknown field."""
        unknown = [str(item["loc"][-1]) for item in error.errors() if item["type"] == "extra_forbidden"]
        return {key: sorted(name for name, cls in self._classes.items() if key in cls.model_fields) for key in unknown}

    def tables(self) -> Table:
        """What is registered now, by name, with where it came from."""
        return {name: (cls, self._origins[name]) for name, cls in self._classes.items()}

    def set_tables(self, tables: Table) -> None:
        self._classes = {name: cls for name, (cls, _) in tables.items()}
        self._origins = {name: origin for name, (_, origin) in tables.items()}

    def plugins(self) -> set[str]:
        """The modules of the plugin files that have registered what is known now."""
        return {
            plugin for plugin, own in self._of_plugins.items()
            if any(self._classes.get(name) is cls for name, (cls, _) in own.items())
        }  # fmt: skip

    def without_plugins(self) -> Table:
        """What is registered now, but for what plugin files have registered."""
        theirs = {entry for plugin in self.plugins() for entry in self._of_plugins[plugin].items()}
        return {
            name: entry
            for name, entry in self.tables().items()
            if (name, entry) not in theirs and plugin_of(entry[0].__module__) is None
        }

    def register_again(self, plugin: str) -> None:
        """Register what a plugin file has registered before, where it is not known now. UserError for a taken name."""
        for name, (cls, origin) in self._of_plugins.get(plugin, {}).items():
            if self._classes.get(name, cls) is not cls:
                raise self._twice(name, origin, cls.__module__)
            self._classes[name], self._origins[name] = cls, origin

    def origin(self, name: str) -> str:
        """Where a component came from: ``built in``, a file, or an installed package with its version."""
        cls = self.get(name)
        return self._origins[name] if self._classes.get(name) is cls else _origin(cls)

    def build(self, spec: str | dict[str, Any] | Component, *, beside: Component | None = None) -> Component:
        """A component from its name, or from a table with ``name`` and parameters.

        ``beside``: whose author wrote the name. If a plugin file defines it, names are first those that this file has
        registered, and the plugins of its run, whatever other versions of them are at hand.
        Raises UserError for an unknown name and pydantic.ValidationError for bad parameters.
        """
        if beside is not None:
            plugin = plugin_of(type(beside).__module__)
            token = _BESIDE.set(() if plugin is None else (plugin, *_COMPANIONS.get(plugin, ())))
            try:
                return self.build(spec)
            finally:
                _BESIDE.reset(token)
        if isinstance(spec, Component):
            return spec
        if isinstance(spec, str):
            return self.get(spec).model_validate({})
        if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
            article = "an" if self.kind[0] in "aeiou" else "a"
            raise UserError(f"{article} {self.kind} is a name or a table with a 'name', found {reprlib.repr(spec)}")
        parameters = {key: value for key, value in spec.items() if key != "name"}
        return self.get(spec["name"]).model_validate(parameters)

    def _entry_points(self) -> tuple[importlib.metadata.EntryPoint, ...]:
        return _entry_points(importlib.metadata.entry_points, self.group)

    def _load_entry_points(self, name: str) -> None:
        """Register what installed packages offer under a name. UserError if it is taken, broken or no component."""
        for point in self._entry_points():
            source = f"{point.value} of the {_package(point)}"
            if point.name != name or self._entered.get(name) == source:
                continue
            # A module may register more by decorator than the entry point that brought it in.
            if name in self._classes and (name in self._entered or not _defines(point, self._classes[name])):
                raise self._twice(name, source, point.module)
            try:
                with undone_on_failure():
                    loaded = point.load()
            except (Exception, SystemExit) as error:
                if isinstance(error, UserError):
                    raise
                raise UserError(
                    f"{self.kind} {name!r}: its entry point {source} failed to load: {described(error)}"
                ) from error
            if not (isinstance(loaded, type) and issubclass(loaded, Component)):
                raise UserError(
                    f"{self.kind} {name!r}: its entry point {source} is {loaded!r}; expected a component class"
                )
            decorated = loaded.__dict__.get("name", name)
            if decorated != name:
                raise UserError(
                    f"{self.kind} {name!r}: its entry point {source} is registered as {decorated!r} by its decorator; "
                    f"use one name for both"
                )
            if self._classes.get(name) is not loaded:
                self.register(name)(loaded)
            self._entered[name] = source


@functools.cache
def _entry_points(find: Callable[..., Any], group: str) -> tuple[importlib.metadata.EntryPoint, ...]:
    """The entry points of installed packages. They are read once, as reading all metadata takes milliseconds."""
    return tuple(find(group=group))


def _package(point: importlib.metadata.EntryPoint) -> str:
    return f"package {point.dist.name} {point.dist.version}" if point.dist else "package unknown"


def _defines(point: importlib.metadata.EntryPoint, cls: type) -> bool:
    """Whether a class comes from the package of an entry point."""
    return point.module.split(".")[0] == cls.__module__.split(".")[0]


def _origin(cls: type) -> str:
    """Returns ``built in``, the installed package that offers the class's module, or the file that defines it."""
    if cls.__module__.split(".")[0] == PACKAGE:
        return BUILT_IN
    plugin = plugin_of(cls.__module__)
    if plugin is not None:
        return str(_file_of(plugin) or cls.__module__)
    for registry in KINDS.values():
        for point in registry._entry_points():
            if point.dist and _defines(point, cls):
                return _package(point)
    return str(_source(cls) or cls.__module__)


def _source(cls: type) -> Path | None:
    return _file_of(cls.__module__)


def _file_of(module: str) -> Path | None:
    """The file of a module, by the name that messages call it."""
    found = sys.modules.get(module)
    file = getattr(found, KNOWN_AS, None) or getattr(found, "__file__", None)
    return Path(file) if file else None


FUNCTION_CLASSES = Registry("function class", "function_classes", "function_classes")
INPUTS = Registry("input distribution", "inputs", "inputs")
OBSERVATIONS = Registry("observation", "observations", "observations")
SHIFTS = Registry("shift", "shifts", "shifts")
CURRICULA = Registry("curriculum", "curricula", "curricula")
BASELINES = Registry("baseline", "baselines", "baselines")
MODELS = Registry("model", "models", "models")
METHODS = Registry("training method", "methods", "training.methods")
METRICS = Registry("metric", "metrics", "metrics")
LAUNCHERS = Registry("launcher", "launchers", "launchers")

KINDS: dict[str, Registry] = {
    "function_classes": FUNCTION_CLASSES,
    "inputs": INPUTS,
    "observations": OBSERVATIONS,
    "shifts": SHIFTS,
    "curricula": CURRICULA,
    "baselines": BASELINES,
    "models": MODELS,
    "methods": METHODS,
    "metrics": METRICS,
    "launchers": LAUNCHERS,
}


@contextlib.contextmanager
def undone_on_failure() -> Iterator[None]:
    """Forget what was registered within the block if it fails."""
    before = [(registry, dict(registry._classes), dict(registry._origins)) for registry in KINDS.values()]
    try:
        yield
    except BaseException:
        for registry, classes, origins in before:
            # What is built in is registered when it is first imported, which is not undone.
            built_in = {name: cls for name, cls in registry._classes.items() if is_built_in(cls)}
            registry._classes = built_in | classes
            registry._origins = dict.fromkeys(built_in, BUILT_IN) | origins
        raise


def is_built_in(cls: type) -> bool:
    """Whether a class is the suite's own."""
    return _origin(cls) == BUILT_IN


def claims_itself(cls: type, claims: Collection[str], changes: Collection[str]) -> bool:
    """Whether a claim that a class makes is about itself, and not inherited from a built-in one that it has changed.

    So it is where its authors say one of the ``claims``, or define none of the ``changes``.
    """
    said = {
        name for each in cls.__mro__ if issubclass(each, Component) and not is_built_in(each) for name in vars(each)
    }
    return bool(said & {*claims}) or not said & {*changes}


def origin_of(component: Component) -> str:
    """Where a component's class came from, even if nobody registered it."""
    return _origin(type(component))


def source_of(component: Component) -> Path | None:
    """The file that defines a component; None for a built-in one."""
    return None if origin_of(component) == BUILT_IN else _source(type(component))


@dataclass(frozen=True)
class Registered:
    """Marks a config's field that holds a component, as in ``Annotated[InputDistribution, Registered(INPUTS)]``.

    The component is built from its name or its table, and written back as a table. ``default``: the name of the
    component if a table has none.
    """

    registry: Registry
    default: str | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.build, serialization=core_schema.plain_serializer_function_ser_schema(_spec)
        )

    def build(self, value: Any) -> Component:
        """Returns the component. Its mistakes become pydantic's errors, of the types that `mistakes` unfolds."""
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
            context = {"errors": error.errors(), "known": known, "owners": self.registry.owners(error)}
            raise PydanticCustomError("component_parameters", "bad parameters", context) from None
        except Exception as error:
            # A plugin's own validator failed, or its id, which is read above so that it fails here.
            name = value if isinstance(value, str) else value["name"]
            origin = self.registry.origin(name)
            if origin == BUILT_IN:
                raise
            message = f"{self.registry.kind} {name!r} ({origin}) failed: {described(error, origin)}"
            raise PydanticCustomError("component", "{message}", {"message": message}) from error


def _spec(component: Component) -> dict[str, Any]:
    return component.spec()
