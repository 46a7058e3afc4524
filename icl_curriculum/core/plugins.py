"""Code from outside: plugin files, which are executed here, and hashes of the installed packages that are used."""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FunctionType, ModuleType

from icl_curriculum.core.errors import UserError, described
from icl_curriculum.core.registry import BUILT_IN, PACKAGE, Component, origin_of, undone_on_failure

_MODULE = f"{PACKAGE}_plugin_"
# The contents that were executed, by their hashes: a file may change while a command that uses it runs.
_CONTENTS: dict[str, bytes] = {}


def load_plugin(path: Path, *, known_as: Path | None = None) -> str:
    """Execute a plugin file and return its content's hash. Loading a file twice, or a copy of it, is harmless.

    ``known_as``: what messages call the file, where ``path`` is a copy. Raises UserError if the file is missing
    or fails to import; nothing of it is then registered.
    """
    path = path.resolve()
    known_as = known_as or path
    if path.suffix != ".py":
        raise UserError(f"plugin file {known_as} is not a Python file (expected a name ending in .py)")
    try:
        content = path.read_bytes()
    except OSError as error:
        kinds = {FileNotFoundError: "does not exist", IsADirectoryError: "is no file"}
        raise UserError(f"plugin file {known_as} {kinds.get(type(error), 'cannot be read')}") from None
    # The content tells plugins apart: a run directory's copy of a loaded plugin is the same plugin.
    digest = _hash(content)
    name = f"{_MODULE}{digest}"
    if name in sys.modules:
        return digest
    loader = _ContentLoader(content, str(known_as))
    spec = importlib.util.spec_from_file_location(name, known_as, loader=loader, submodule_search_locations=None)
    assert spec is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        with undone_on_failure():
            loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if isinstance(error, UserError):
            raise
        raise UserError(f"plugin file {known_as} failed to import: {described(error, known_as)}") from error
    _CONTENTS[digest] = content
    return digest


class _ContentLoader(importlib.abc.SourceLoader):
    """Executes the very bytes that were hashed, even if the file holds others by now.

    Python's own loader would read the file again, or take bytecode from a cache that may be of an earlier content.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self.content, self.name = content, name

    def get_filename(self, fullname: str) -> str:
        return self.name

    def get_data(self, path: str | bytes) -> bytes:
        return self.content


def defined_in_module(digest: str) -> dict[str, object]:
    """The values that a loaded plugin file itself defines, by their public names; what it imports is left out."""
    module = sys.modules[f"{_MODULE}{digest}"]
    imported = (type, FunctionType)
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
        and not (isinstance(value, imported) and value.__module__ != module.__name__)
    }  # fmt: skip


def copies_of(plugins: Sequence[str], hashes: Sequence[str]) -> dict[str, bytes]:
    """The content of plugin files, as it was when they were loaded, by the names of their copies."""
    return {name: _CONTENTS[digest] for name, digest in zip(copy_names(plugins), hashes, strict=False)}


def copy_names(plugins: Sequence[str]) -> list[str]:
    """The names of the copies of plugin files: their own names, all numbered where two are equal.

    >>> copy_names(["a/mine.py", "b/mine.py", "b/yours.py"])
    ['0-mine.py', '1-mine.py', '2-yours.py']
    """
    names = [Path(plugin).name for plugin in plugins]
    return names if len(set(names)) == len(names) else [f"{number}-{name}" for number, name in enumerate(names)]


def package_hash(component: Component) -> str | None:
    """Hash of all Python files of the packages that define a component and what it inherits from.

    None for what is built in, and for what a plugin file defines, which is hashed by itself.
    """
    if origin_of(component) == BUILT_IN or type(component).__module__.startswith(_MODULE):
        return None
    digest = hashlib.sha256()
    tops = {cls.__module__.split(".")[0]: cls.__module__ for cls in type(component).__mro__}
    for top, module in sorted(tops.items()):
        for name, file in [] if top in _NOT_HASHED else _files_of(top, module):
            digest.update(f"{name}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


# Packages whose files are not hashed, because the manifest holds their versions.
_NOT_HASHED = {PACKAGE, "pydantic", "torch", "builtins", "abc", "typing"}


def _files_of(top: str, module: str) -> list[tuple[str, Path]]:
    """The Python files of a package, named from its root, or the one file of a single module."""
    package, defining = (getattr(sys.modules.get(name), "__file__", None) for name in (top, module))
    if package and Path(package).name == "__init__.py":
        root = Path(package).parent
        return sorted((str(file.relative_to(root)), file) for file in root.rglob("*.py"))
    return [(module, Path(defining))] if defining and Path(defining).is_file() else []


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
