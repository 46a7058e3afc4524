"""Plugin files: Python files of a user's own, whose decorators register what they define."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path

from icl_curriculum.registry import KINDS, PACKAGE, Component, UserError, described

_MODULE = f"{PACKAGE}_plugin_"


def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def is_from_file(component: Component) -> bool:
    """Whether a plugin file that was loaded here defines the component."""
    return type(component).__module__.startswith(_MODULE)


def load_plugin(path: Path) -> None:
    """Import a plugin file. Loading a file twice, or a copy of it, is harmless.

    Raises UserError if the file is missing or fails to import; nothing of it is then registered.
    """
    path = path.resolve()
    if not path.is_file():
        raise UserError(f"plugin file {path} {'is no file' if path.exists() else 'does not exist'}")
    # By content: a run directory's copy of a plugin that is loaded already is the same plugin.
    try:
        module_name = f"{_MODULE}{file_hash(path)}"
    except OSError as error:
        raise UserError(f"plugin file {path} cannot be read: {error.strerror}") from error
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
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        for registry, classes, origins in before:
            registry._classes, registry._origins = classes, origins
        if isinstance(error, UserError):
            raise
        raise UserError(f"plugin file {path} failed to import: {described(error, path)}") from error
