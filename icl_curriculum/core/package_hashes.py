"""Hashes of code that is no plugin file: of the packages that components come from, and of what is typed in."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

from icl_curriculum.core.component import Component
from icl_curriculum.core.interactive import is_interactive, typed_in
from icl_curriculum.core.plugin_files import is_installed
from icl_curriculum.core.registry import BUILT_IN, PACKAGE, origin_of, plugin_of


def package_hash(component: Component) -> str | None:
    """Hash of all Python files of the packages that define a component and what it inherits from.

    Of a class that is typed in, the hash of its source; UserError where that cannot be had. None for what is built in,
    and for what a plugin file defines, which is hashed by itself.
    """
    if origin_of(component) == BUILT_IN or plugin_of(type(component).__module__) is not None:
        return None
    digest = hashlib.sha256()
    tops = {cls.__module__.split(".")[0]: cls.__module__ for cls in type(component).__mro__}
    for top, module in sorted(tops.items()):
        typed = [cls for cls in type(component).__mro__ if cls.__module__.split(".")[0] == top and is_interactive(cls)]
        if top not in _NOT_HASHED and typed:
            digest.update(typed_in(typed[0], outside).encode())
            continue
        for name, file in [] if top in _NOT_HASHED else _files_of(top, module):
            digest.update(f"{name}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def package_hashes(components: Iterable[Component]) -> dict[str, str]:
    """The hashes of the packages that components come from, each with what came from it and from where."""
    found: dict[str, str] = {}
    for component in components:
        digest = package_hash(component)
        if digest is not None:
            found.setdefault(digest, f"{component.name!r} ({origin_of(component)})")
    return found


def outside(module: str) -> str:
    """What stands for a module in a hash: its name, and where nobody has installed it also the content of its files."""
    top = module.split(".")[0]
    file = getattr(sys.modules.get(top), "__file__", None)
    if top in _NOT_HASHED or top in sys.stdlib_module_names or file is None or is_installed(Path(file)):
        return module
    digest = hashlib.sha256()
    for name, path in _files_of(top, module):
        digest.update(f"{name}\n".encode() + path.read_bytes())
    return f"{module} {digest.hexdigest()}"


# Packages whose files are not hashed, because the manifest holds their versions.
_NOT_HASHED = {PACKAGE, "pydantic", "torch", "builtins", "abc", "typing"}


def _files_of(top: str, module: str) -> list[tuple[str, Path]]:
    """The Python files of a package, named from its root, or the one file of a single module."""
    package, defining = (getattr(sys.modules.get(name), "__file__", None) for name in (top, module))
    if package and Path(package).name == "__init__.py":
        root = Path(package).parent
        return sorted((str(file.relative_to(root)), file) for file in root.rglob("*.py"))
    return [(module, Path(defining))] if defining and Path(defining).is_file() else []
