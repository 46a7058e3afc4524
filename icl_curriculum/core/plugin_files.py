"""The files of a plugin: its own, those that it imports from its own folder, and the data that it names.

They are read before anything is executed, so that what is hashed is what runs. Imports are found in the text, wherever
in a file they stand: a module counts as the plugin's own where it lies beside it, unless the standard library or a
distribution that is installed has one of that name.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from icl_curriculum.core.errors import UserError

#: Where the copies of plugins lie in the folder of a run, or of a launch unit.
COPIES = "plugins"
#: The variable in which a plugin names the data files that it reads, as paths from the file that says so.
DATA_FILES = "data_files"


@dataclass(frozen=True)
class PluginModule:
    """A module of a plugin's own folder: its file, as a path from there (None for a folder without a file of its own).

    ``package``: whether it is a folder that holds modules.
    """

    file: str | None
    package: bool


@dataclass(frozen=True)
class PluginFiles:
    """A plugin file and what belongs to it, as it was read.

    ``place``: where it lies, which ``__file__`` says in it; ``known_as``: what messages call it, where that is a copy.
    ``modules``: those of its own folder that it may import, by their names; ``beside``: the content of their files and
    of the data files, by their paths from its folder; ``data``: which of these are data.
    """

    place: Path
    known_as: Path
    content: bytes
    modules: Mapping[str, PluginModule]
    beside: Mapping[str, bytes]
    data: frozenset[str]

    @property
    def hash(self) -> str:
        """The hash of all that belongs to the plugin; of a plugin of one file, that of the file."""
        own = content_hash(self.content)
        if not self.beside:
            return own
        others = sorted((name, content_hash(content)) for name, content in self.beside.items())
        return content_hash(json.dumps([own, others]).encode())


def content_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def read_plugin(
    path: Path, *, known_as: Path | None = None, imports: Literal["found", "copied", "none"] = "found"
) -> PluginFiles:
    """Read a plugin file with what belongs to it. UserError if it is missing or names data that are not there.

    ``imports``: whether modules beside it are its own where no other is installed (``found``), wherever they lie beside
    it, as in a copy that holds nothing else (``copied``), or never.
    """
    place = path.resolve()
    known_as = known_as or place
    if place.suffix != ".py":
        raise UserError(f"plugin file {known_as} is not a Python file (expected a name ending in .py)")
    try:
        content = place.read_bytes()
    except OSError as error:
        kinds = {FileNotFoundError: "does not exist", IsADirectoryError: "is no file"}
        raise UserError(f"plugin file {known_as} {kinds.get(type(error), 'cannot be read')}") from None
    reading = _Reading(place.parent, known_as, own_name=place.stem, imports=imports)
    reading.look_into(content, place.name, package="")
    reading.beside.pop(place.name, None)
    return PluginFiles(place, known_as, content, reading.modules, reading.beside, frozenset(reading.data))


def read_copies(folder: Path, plugins: Sequence[str], known_as: Sequence[str] = ()) -> list[PluginFiles]:
    """Read the copies of plugin files that a folder holds, as `copied_files` names them.

    ``plugins``: the paths of the files that were copied; ``known_as``: what messages call them, by default the copies.
    """
    found = []
    for number, (plugin, name) in enumerate(zip(plugins, copy_names(plugins), strict=True)):
        alone, in_folder = folder / name, folder / Path(name).stem / Path(plugin).name
        of_one_file = alone.is_file() or not in_folder.is_file()
        called = Path(known_as[number]) if known_as else None
        if of_one_file:
            found.append(read_plugin(alone, known_as=called, imports="none"))
        else:
            found.append(read_plugin(in_folder, known_as=called, imports="copied"))
    return found


def copied_files(plugins: Sequence[str], files: Sequence[PluginFiles]) -> dict[str, bytes]:
    """The content of plugin files by the paths of their copies; a plugin of several files has a folder of its own."""
    copies: dict[str, bytes] = {}
    for plugin, name, each in zip(plugins, copy_names(plugins), files, strict=False):
        if not each.beside:
            copies[name] = each.content
            continue
        folder = Path(name).stem
        copies[f"{folder}/{Path(plugin).name}"] = each.content
        copies |= {f"{folder}/{path}": content for path, content in each.beside.items()}
    return copies


def copy_names(plugins: Sequence[str]) -> list[str]:
    """The names of the copies of plugin files: their own names, all numbered where two are equal.

    >>> copy_names(["a/mine.py", "b/mine.py", "b/yours.py"])
    ['0-mine.py', '1-mine.py', '2-yours.py']
    """
    names = [Path(plugin).name for plugin in plugins]
    return names if len(set(names)) == len(names) else [f"{number}-{name}" for number, name in enumerate(names)]


class _Reading:
    """Collects the modules and data files that belong to a plugin, from one file to the next."""

    def __init__(self, folder: Path, known_as: Path, *, own_name: str, imports: str) -> None:
        self.folder, self.known_as, self.own_name, self.imports = folder, known_as, own_name, imports
        self.modules: dict[str, PluginModule] = {}
        self.beside: dict[str, bytes] = {}
        self.data: set[str] = set()

    def look_into(self, content: bytes, name: str, package: str) -> None:
        """Add what a Python file of the plugin imports and names. ``name``: its path; ``package``: of what package."""
        try:
            with warnings.catch_warnings(action="ignore"):  # They are said where it is executed.
                tree = ast.parse(importlib.util.decode_source(content))
        except (SyntaxError, ValueError, RecursionError):
            return  # Whoever executes it says what is wrong with it.
        for named in _data_files(tree, self.known_as.parent / name):
            self._add_data(named, PurePosixPath(name).parent, self.known_as.parent / name)
        if self.imports == "none":
            return
        for module, relative in _imported(tree, package):
            top = module.partition(".")[0]
            if top and (relative or self._is_own(top)):
                self._add_module(top)

    def _is_own(self, top: str) -> bool:
        """Whether a module that is imported by its full name is that of the plugin's folder, if there is one."""
        if top in sys.stdlib_module_names or top in sys.builtin_module_names or top == "icl_curriculum":
            return False
        if not (self.folder / top).is_dir() and not (self.folder / f"{top}.py").is_file():
            return False
        return self.imports == "copied" or not _is_installed_elsewhere(top, self.folder / top)

    def _add_module(self, top: str) -> None:
        """Add a module of the folder; of a package, all that it holds."""
        if top in self.modules:
            return
        if top == self.own_name:
            self.modules[top] = PluginModule(f"{top}.py", package=False)
            return
        package, file = self.folder / top, self.folder / f"{top}.py"
        inside = sorted(_python_files(package)) if package.is_dir() else []
        if file.is_file() and package / "__init__.py" not in inside:
            self.modules[top] = PluginModule(file.name, package=False)
            self._read(file, package="")
            return
        for path in inside:
            parts = path.relative_to(self.folder).with_suffix("").parts
            for end in range(1, len(parts)):
                self.modules.setdefault(".".join(parts[:end]), PluginModule(None, package=True))
            init = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if init else parts)
            self.modules[name] = PluginModule(path.relative_to(self.folder).as_posix(), package=init)
        for path in inside:
            self._read(path, package=".".join(path.relative_to(self.folder).parent.parts))

    def _read(self, path: Path, package: str) -> None:
        name = path.relative_to(self.folder).as_posix()
        try:
            self.beside[name] = path.read_bytes()
        except OSError as error:
            reason = error.strerror or error
            raise UserError(
                f"plugin file {self.known_as}: {name}, which it imports, cannot be read: {reason}"
            ) from None
        self.look_into(self.beside[name], name, package)

    def _add_data(self, named: str, folder: PurePosixPath, said_in: Path) -> None:
        place = os.path.normpath(self.folder / folder / named)
        inside = os.path.relpath(place, self.folder)
        if os.path.isabs(named) or inside.split(os.sep)[0] == os.pardir:
            raise UserError(
                f"{said_in}: {DATA_FILES}: {named!r} lies outside the plugin's folder; expected files in it, which are "
                f"copied with the plugin"
            )
        try:
            content = Path(place).read_bytes()
        except OSError as error:
            what = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
            raise UserError(f"{said_in}: {DATA_FILES}: {named!r} {what} in {said_in.parent}") from None
        self.data.add(PurePosixPath(inside).as_posix())
        self.beside[PurePosixPath(inside).as_posix()] = content


def _data_files(tree: ast.Module, said_in: Path) -> list[str]:
    """The data files that a module names; UserError for anything but a list of texts that is written out."""
    for statement in tree.body:
        targets: Sequence[ast.expr] = ()
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        if any(isinstance(target, ast.Name) and target.id == DATA_FILES for target in targets):
            try:
                value = ast.literal_eval(statement.value)  # type: ignore[attr-defined]
            except (ValueError, TypeError):
                value = None
            if isinstance(value, list | tuple) and all(isinstance(item, str) and item for item in value):
                return list(value)
            raise UserError(
                f"{said_in}, line {statement.lineno}: {DATA_FILES}: expected a list of file names that is written out, "
                f'such as ["weights.npy"], as it is read before the plugin is executed'
            )
    return []


def _imported(tree: ast.Module, package: str) -> Iterator[tuple[str, bool]]:
    """The modules that a file imports, by their names from the plugin's folder, and whether by a relative import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module), False
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".") if package else []
            if node.level - 1 > len(above):
                continue  # It leaves the folder, which Python refuses.
            above = above[: len(above) - (node.level - 1)]
            base = [*above, *([node.module] if node.module else [])]
            yield from [(".".join(base), True)] if base else [(alias.name, True) for alias in node.names]


def _python_files(folder: Path) -> Iterator[Path]:
    """The Python files of a package, at any depth."""
    for path in folder.rglob("*.py"):
        if path.is_file() and all(part.isidentifier() for part in path.relative_to(folder).with_suffix("").parts):
            yield path


def _is_installed_elsewhere(top: str, beside: Path) -> bool:
    """Whether a distribution that is installed has a module of this name, at another place than beside the plugin."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return False
    if spec is None or spec.origin is None:
        return False  # A folder without a file of its own comes after any module.
    file = Path(spec.origin).resolve()
    if file in {beside.with_name(f"{top}.py"), beside / "__init__.py"}:
        return False
    return is_installed(file)


def is_installed(file: Path) -> bool:
    """Whether a file is one of Python itself or lies where distributions are installed."""
    stdlib = Path(sysconfig.get_path("stdlib")).resolve()
    return bool({"site-packages", "dist-packages"} & {*file.parts}) or stdlib in file.resolve().parents
