"""Plugin files: loaded, each once for its content, and kept apart where runs were made with two versions of one."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FunctionType, ModuleType

from icl_curriculum.core.errors import UserError, described
from icl_curriculum.core.plugin_files import PluginFiles, copied_files, read_plugin
from icl_curriculum.core.plugin_imports import KNOWN_AS, PluginImports, forget
from icl_curriculum.core.plugin_reads import no_strays, watch_reads
from icl_curriculum.core.registry import KINDS, PLUGIN_MODULE, companions, undone_on_failure

#: The variable of a plugin's own module that holds the files it was made of, which may have changed since.
_FILES = "__icl_files__"


def load_plugin(path: Path) -> str:
    """Execute a plugin file and return the hash of its content, and of what belongs to it, see `plugin_files`.

    Loading a file twice, or a copy of it, is harmless. Raises UserError if the file is missing or fails to import;
    nothing of it is then registered.
    """
    return load_files(read_plugin(path))


def load_files(files: PluginFiles) -> str:
    """Execute a plugin that was read, unless it is loaded, and register what it registers; returns its hash."""
    # The content tells plugins apart: a run directory's copy of a loaded plugin is the same plugin.
    digest = files.hash
    name = f"{PLUGIN_MODULE}{digest}"
    with undone_on_failure():
        if name in sys.modules:
            for registry in KINDS.values():
                registry.register_again(name)
            return digest
        watch_reads(name, files)
        try:
            with no_strays():
                module = PluginImports(files, name).execute()
        except (Exception, SystemExit) as error:
            forget(name)
            if isinstance(error, UserError):
                raise
            reason = described(error, _innermost(error, files))
            raise UserError(f"plugin file {files.known_as} failed to import: {reason}") from error
    vars(module)[_FILES] = files
    return digest


def _innermost(error: BaseException, files: PluginFiles) -> Path:
    """The file of the plugin whose line an error passed last."""
    own = {str(files.known_as), *(str(files.known_as.parent / name) for name in files.beside)}
    passed = [frame.filename for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own]
    return Path(passed[-1]) if passed else files.known_as


@contextlib.contextmanager
def plugins_of_a_run(*, replacing: bool) -> Iterator[None]:
    """Within the block no plugin file is registered but those that are loaded in it: those of one run.

    So two runs can be at hand that were made with two versions of a plugin, while two plugins of one run that register
    one name are an error. After it, what was registered before is known again, and what was loaded within where its
    name is free, or, with ``replacing``, wherever a plugin file had it.
    """
    before = {registry: registry.tables() for registry in KINDS.values()}
    for registry in KINDS.values():
        registry.set_tables(registry.without_plugins())
    succeeded = False
    try:
        yield
        succeeded = True
    finally:
        companions({plugin for registry in KINDS.values() for plugin in registry.plugins()})
        for registry, old in before.items():
            new, kept = registry.tables(), registry.without_plugins()
            if not succeeded:
                new = kept  # An entry point that was loaded stays so.
            registry.set_tables({**old, **new} if replacing else {**new, **old})


def defined_in_module(digest: str) -> dict[str, object]:
    """The values that a loaded plugin file itself defines, by their public names; what it imports is left out."""
    module = sys.modules[f"{PLUGIN_MODULE}{digest}"]
    imported = (type, FunctionType)
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
        and not (isinstance(value, imported) and value.__module__ != module.__name__)
    }  # fmt: skip


def copies_of(plugins: Sequence[str], hashes: Sequence[str]) -> dict[str, bytes]:
    """The content of plugin files, as it was when they were loaded, by the paths of their copies."""
    loaded = [vars(sys.modules[f"{PLUGIN_MODULE}{digest}"])[_FILES] for digest in hashes[: len(plugins)]]
    return copied_files(plugins, loaded)


__all__ = ["KNOWN_AS", "copies_of", "defined_in_module", "load_files", "load_plugin", "plugins_of_a_run"]
