"""The launcher that a command names: by its name, an id, a table, or the plugin file that registers it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icl_curriculum.config.component_files import ComponentFiles
from icl_curriculum.config.identifiers import component, component_of, table_of_text
from icl_curriculum.config.mistakes import named
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import option
from icl_curriculum.core.registry import LAUNCHERS, names_file
from icl_curriculum.launchers.base import Launcher

#: What stands for the processes of this machine.
HERE = "local"


def chosen_launcher(on: str | Mapping[str, Any] | Launcher | None) -> Launcher | None:
    """The launcher that executes runs; None: processes of this machine, which ``local`` stands for, too.

    ``on``: a name, an id, a TOML table as text or as a dict, ``mine.py`` or ``mine.py:name`` for one that a plugin file
    registers, or a launcher itself. The file is none of the run's plugins. UserError for what is none.
    """
    if on is None or on == HERE or isinstance(on, Launcher):
        return on if isinstance(on, Launcher) else None
    said = option("--on", python="on")
    if isinstance(on, str):
        source = f"{said} {named(on)}"
        spec: Any = table_of_text(on) if on.lstrip().startswith("{") else {"name": on} if names_file(on) else on
    elif isinstance(on, Mapping):
        source, spec = said, dict(on)
    else:
        raise UserError(f"{said}: expected a launcher, its name or a table, found {on!r}")
    if isinstance(spec, str):
        found = component(spec, LAUNCHERS, said)
    else:
        found = component_of(_without_file(spec, source), LAUNCHERS, source)
    assert isinstance(found, Launcher)
    return found


def _without_file(spec: dict[str, Any], source: str) -> dict[str, Any]:
    """The table with the name that a plugin file has registered in the place of the file."""
    name = spec.get("name")
    if not isinstance(name, str) or not names_file(name):
        return spec
    try:
        return {**spec, "name": ComponentFiles().name_of(name, LAUNCHERS, Path())}
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
