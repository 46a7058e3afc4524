"""A tiny experiment of several variants and seeds, trained once for all tests that compare."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tiny_runs import tiny_values, write_toml

from icl_curriculum.config.loading import load
from icl_curriculum.results.collecting import collect
from icl_curriculum.runs.execution import execute

VARIANTS: dict[str, Any] = {
    "alone": {"curriculum": {"function_classes": {"name": "single", "only": "quadratic"}}},
    "sequential": {"curriculum": {"function_classes": "sequential"}},
    "mixed": {"curriculum": {"function_classes": "mixed"}},
}


def train(folder: Path, name: str = "several", seeds: tuple[int, ...] = (0, 1), **changes: Any) -> Path:
    """Run it below ``folder`` and collect its tables; the folder of its results."""
    values = tiny_values({"name": name, "seeds": list(seeds), "description": "Does it <compare>?", **changes})
    values.setdefault("variants", VARIANTS)
    runs = load(str(write_toml(folder / f"{name}.toml", values)))
    for run in runs:
        execute(run, folder / "results")
    collect(folder / "results" / name, {run.variant: run.hash() for run in runs})
    return folder / "results" / name


@functools.cache
def _trained() -> Path:
    return train(Path(tempfile.mkdtemp(prefix="icl-several-")))


def trained(folder: Path, name: str = "several") -> Path:
    """A copy of it, in ``folder``/results."""
    target = folder / "results" / name
    shutil.copytree(_trained(), target)
    return target
