"""Tables that are computed of an experiment's other ones: what was written of them, so that an edited one is noticed.

Beside them lies derived.json, with the hash of each. One that is not there is believed: earlier versions wrote none.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from icl_curriculum.core.files import write_atomically
from icl_curriculum.results.columns import bytes_hash
from icl_curriculum.results.manifests import DamagedFile, read_sealed, sealed

#: The name of the file that says what was written.
DERIVED = "derived.json"


def write_derived(path: Path, text: str) -> None:
    """Write a table that is computed of others, and note its hash beside it.

    Killed in between, it leaves the old table or the new one, of which either is known.
    """
    now = bytes_hash(text.encode())
    known = _known(path.parent)
    _note(path.parent, {**known, path.name: [*known.get(path.name, []), now]})
    write_atomically(path, text)
    _note(path.parent, {**known, path.name: [now]})


def check_derived(path: Path) -> None:
    """DamagedFile if a table that was computed of others is not as it was written."""
    hashes = _known(path.parent).get(path.name)
    if hashes is not None and bytes_hash(path.read_bytes()) not in hashes:
        raise DamagedFile(path, "it is not what icl wrote", "remove it: the command that has written it writes it anew")


def _note(folder: Path, hashes: dict[str, list[str]]) -> None:
    write_atomically(folder / DERIVED, json.dumps(sealed({"tables": hashes}), indent=2) + "\n")


def _known(folder: Path) -> dict[str, list[str]]:
    """What derived.json says; nothing where it is missing or damaged."""
    with contextlib.suppress(OSError, ValueError):
        content: dict[str, Any] = read_sealed(folder / DERIVED)
        tables = content.get("tables")
        if "seal" in content and isinstance(tables, dict):
            return {str(name): list(hashes) for name, hashes in tables.items() if isinstance(hashes, list)}
    return {}
