"""Experiments whose evaluation fails by a plugin that can be mended, each command as in a Python of its own."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import tiny_values, write_toml

from icl_curriculum.config.loading import load
from icl_curriculum.core.registry import KINDS
from icl_curriculum.runs.execution import Progress
from icl_curriculum.runs.launch import LaunchOutcome, launch

#: A model that counts its examples, and a shift; what fails where can be put in their places.
PLUGIN = '''
from dataclasses import replace

import torch
from torch import nn

import icl_curriculum as icl
from icl_curriculum.inputs import Gaussian
from icl_curriculum.models import Model


@icl.register_model("scaled_mean")
class ScaledMean(icl.ModelConfig):
    """The mean label so far, times one learned number."""

    def build(self, *, dims, points, generator):
        model = MeanModel()
        model.scale.data = torch.rand((), generator=generator)
        return model


class MeanModel(Model):
    max_points = 1000

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, xs, ys, queries=None):
        # FORWARD
        counts = torch.arange(1, ys.shape[1], device=ys.device)
        means = ys[:, :-1].cumsum(dim=1) / counts
        return self.scale * torch.cat([torch.zeros_like(ys[:, :1]), means], dim=1)


@icl.register_shift("mine")
class Mine(icl.Shift):
    """Standard normal inputs whatever the task's."""

    def apply(self, task):
        return replace(task, inputs=Gaussian())

    def draw(self, task, n, points, streams):
        # DRAW
        return super().draw(task, n, points, streams)


@icl.register_curriculum("even")
class Even(icl.Curriculum):
    """Uniform over all items."""

    def shares(self, step, state, *, items, steps):
        # SHARES
        return [1 / len(items)] * len(items)


@icl.register_baseline("last_label")
class LastLabel(icl.Baseline):
    """The label of the last example."""

    def predict(self, prompts):
        # PREDICT
        return torch.cat([torch.zeros_like(prompts.ys[:, :1]), prompts.ys[:, :-1]], dim=1)
'''


@contextlib.contextmanager
def a_python_of_its_own() -> Iterator[None]:
    """Forget what the block registers and imports as plugins: a mended plugin is never loaded beside the broken one."""
    imported = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        for registry in KINDS.values():
            registry.names()
            patch.setattr(registry, "_classes", dict(registry._classes))
            patch.setattr(registry, "_origins", dict(registry._origins))
        try:
            yield
        finally:
            for name in set(sys.modules) - imported:
                if name.startswith("icl_curriculum_plugin_"):
                    del sys.modules[name]


class MendedExperiment:
    """An experiment file with its plugin and its results in one folder, both of which can be written anew."""

    def __init__(self, folder: Path, changes: Mapping[str, Any] | None = None) -> None:
        self.folder, self.results = folder, folder / "results"
        self.changes: dict[str, Any] = {"evaluation.shifts": ["mine"], **(changes or {})}
        curriculum = self.changes.get("curriculum.function_classes", "mixed")
        self.run_dir = self.results / f"tiny/{curriculum}-seed0"
        self.write()

    def write(self, *, changes: Mapping[str, Any] | None = None, **lines: str) -> None:
        """Write both files; ``lines``: what stands in the places of FORWARD, DRAW, SHARES and PREDICT."""
        text = PLUGIN
        for place, line in lines.items():
            text = text.replace(f"# {place}", line)
        (self.folder / "mine.py").write_text(text)
        values = tiny_values({**self.changes, **(changes or {}), "plugins": ["mine.py"]})
        write_toml(self.folder / "tiny.toml", values)

    def launch(self, **options: Any) -> LaunchOutcome:
        """Execute the runs in this process."""
        said: list[Progress] = []
        with a_python_of_its_own():
            runs = load(str(self.folder / "tiny.toml"))
            return launch(runs, self.results, report=said.append, **{"jobs": 0, **options})

    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.run_dir / "manifest.json").read_text())
        return manifest

    def files(self) -> dict[str, bytes]:
        """All files of the run but its lock."""
        paths = [path for path in self.run_dir.rglob("*") if path.is_file() and not path.name.startswith(".lock")]
        return {str(path.relative_to(self.run_dir)): path.read_bytes() for path in paths}
