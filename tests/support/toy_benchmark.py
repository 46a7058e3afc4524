"""The frozen benchmark with a few prompts in three dimensions for each of its banks, in the place of the real one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from icl_curriculum.evaluation.benchmark_banks import bank_of, described
from icl_curriculum.results.scorecard import frozen

#: What the banks are made of: as the toys of the pages are.
SIZE = {"dims": 3, "points": 5, "n_prompts": 4, "learning_prompts": 4, "prompts": 32, "seeds": [0, 1]}

#: The shifts of its banks, one for each axis.
SHIFTS = (
    '["skewed", { name = "scaled_inputs", factor = 2.0 }, "label_noise", "longer_prompts", '
    '{ name = "other_class", function_class = "decision_tree" }]'
)

_PARTS = ("/skewed/", "/scaled_inputs/2", "/label_noise/", "/longer_prompts/", "decision_tree")

#: An experiment that asks these banks; what models of it are is for each test to say.
TOY = f"""
extends = "benchmark_v1.toml"
dims = 3
points = 5
seeds = [0, 1]
model = {{ width = 8, layers = 1, heads = 1 }}
training = {{ steps = 8, batch_size = 4, learning_every = 1 }}
evaluation = {{ n_prompts = 4, learning_prompts = 4, shifts = {SHIFTS} }}
"""


def toy_benchmark(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Freeze the toy benchmark in a folder, for as long as the test lasts. Best errors are those of the real one."""
    content = {**json.loads(frozen.FROZEN.read_text(encoding="utf-8")), **SIZE}
    small = dataclasses.replace(frozen.benchmark(), **{name: content[name] for name in SIZE})
    content["asks"] |= {"dims": SIZE["dims"], "points": SIZE["points"]}
    asked = [name for name in small.banks if name in small.trained or any(part in name for part in _PARTS)]
    content["banks"] = {name: content["banks"][name] | described(bank_of(small, small.banks[name])) for name in asked}
    path = folder / "toy_benchmark.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setattr(frozen, "FROZEN", path)
