"""How a plugin imports the modules of its own folder: from the bytes that were hashed, under names of its own.

Two plugins may each have a ``helpers.py``; neither finds the other's, and nothing else finds either.
"""

from __future__ import annotations

import builtins
import importlib.abc
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from icl_curriculum.core.plugin_files import PluginFiles


class ContentLoader(importlib.abc.SourceLoader):
    """Executes the very bytes that were hashed, even if the file holds others by now.

    Python's own loader would read the file again, or take bytecode from a cache that may be of an earlier content.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self.content, self.name = content, name

    def get_filename(self, fullname: str) -> str:
        return self.name

    def get_data(self, path: str | bytes) -> bytes:
        return self.content


class PluginImports:
    """Makes the modules of a plugin: the plugin itself is the module ``name``, what it imports lies beneath it."""

    def __init__(self, files: PluginFiles, name: str) -> None:
        self.files, self.name = files, name
        # What an import statement calls, in the code of this plugin alone.
        self._builtins = {**vars(builtins), "__import__": self._import}

    def execute(self) -> ModuleType:
        """Execute the plugin file. What it raises passes, and no module of it is left."""
        try:
            return self._executed(
                self.name, self.files.content, self.files.place.name, package=bool(self.files.modules)
            )
        except BaseException:
            forget(self.name)
            raise

    def _executed(self, fullname: str, content: bytes, file: str, *, package: bool) -> ModuleType:
        # Messages name the file that the user wrote; __file__ says where the data lie that belong to these bytes.
        loader = ContentLoader(content, str(self._known_as(file)))
        spec = importlib.util.spec_from_file_location(
            fullname, self.files.place.parent / file, loader=loader, submodule_search_locations=[] if package else None
        )
        assert spec is not None
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.clear()  # Nothing is looked for in the folder itself.
        module = importlib.util.module_from_spec(spec)
        vars(module)[KNOWN_AS] = loader.name
        if self.files.modules:
            vars(module)["__builtins__"] = self._builtins
        sys.modules[fullname] = module
        try:
            loader.exec_module(module)
        except BaseException:
            sys.modules.pop(fullname, None)
            raise
        return module

    def _known_as(self, file: str) -> Path:
        own = file == self.files.place.name
        return self.files.known_as if own else self.files.known_as.parent / file

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        own = self._own(name, globals or {}, level)
        if own is None:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = self._load(own)
        if not fromlist:
            return self._load(own.partition(".")[0])
        wanted = getattr(module, "__all__", ()) if "*" in fromlist else fromlist
        for item in wanted:
            inner = f"{own}.{item}" if own else item
            if inner in self.files.modules and not hasattr(module, item):
                vars(module)[item] = self._load(inner)
        return module

    def _own(self, name: str, globals: Mapping[str, Any], level: int) -> str | None:
        """The name of a module from the plugin's folder, where that is what is meant; of the plugin itself, empty."""
        if level == 0:
            return name if name.partition(".")[0] in self.files.modules else None
        resolved = importlib.util.resolve_name("." * level + name, globals.get("__package__") or None)
        return resolved[len(self.name) + 1 :] if f"{resolved}.".startswith(f"{self.name}.") else None

    def _load(self, name: str) -> ModuleType:
        """A module of the plugin's folder, executed when it is first imported, after the packages that hold it."""
        fullname = f"{self.name}.{name}" if name else self.name
        if name == self.files.place.stem:
            return sys.modules[self.name]
        if fullname in sys.modules:
            return sys.modules[fullname]
        above, _, last = name.rpartition(".")
        parent = self._load(above) if above else None
        # Its package may have imported it.
        if fullname in sys.modules:
            return sys.modules[fullname]
        known = self.files.modules.get(name)
        if known is None:
            raise ModuleNotFoundError(f"No module named {name!r} beside {self.files.known_as}", name=name)
        content = b"" if known.file is None else self.files.beside[known.file]
        module = self._executed(fullname, content, known.file or f"{name.replace('.', '/')}/", package=known.package)
        if parent is not None:
            vars(parent)[last] = module
        return module


#: The variable of a plugin's modules that holds what messages call their files.
KNOWN_AS = "__icl_known_as__"


def forget(name: str) -> None:
    """Forget the modules of a plugin whose own is ``name``."""
    for each in [module for module in sys.modules if f"{module}.".startswith(f"{name}.")]:
        del sys.modules[each]
