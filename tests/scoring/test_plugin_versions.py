"""Runs that were made with two versions of one plugin, scored side by side."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from plugin_folders import plugin_folder, scaled
from tiny_runs import Icl, tiny_values, write_toml

from icl_curriculum import figures
from icl_curriculum.config.loading import load
from icl_curriculum.runs.execution import directory_of, execute

pytestmark = pytest.mark.usefixtures("fresh_registries")


@pytest.mark.parametrize("order", [(3.0, 5.0), (5.0, 3.0)])
def test_each_is_its_own(icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: tuple[float, float]) -> None:
    monkeypatch.setattr(figures, "draw_scores", lambda output, **options: [])
    folders = {}
    for number in (3.0, 5.0):
        plugin_folder(
            tmp_path / "lab", {"helpers.py": f"FACTOR = {number}\n"}, scaled(imports="from helpers import FACTOR")
        )
        changes = {
            "name": f"times{number:g}", "function_classes": ["scaled"], "plugins": ["lab/mine.py"],
            "evaluation.shifts": [], "evaluation.baselines": ["zero"],
        }  # fmt: skip
        (run,) = load(str(write_toml(tmp_path / "my.toml", tiny_values(changes))))
        execute(run, tmp_path / "results")
        folders[number] = directory_of(run, tmp_path / "results").path
    shutil.rmtree(tmp_path / "lab")
    code, _, said = icl("score", *(folders[number] for number in order), "--output", tmp_path / "score")
    assert code == 0, said
    found = pd.read_csv(tmp_path / "score/evaluation.csv")
    assert set(found["learner"]) == {"times3/mixed", "times5/mixed"}
    # The prompts are of the first version, which the second run has not learned from.
    known = found.groupby("learner")["in_distribution"].any().to_dict()
    assert known == {f"times{order[0]:g}/mixed": True, f"times{order[1]:g}/mixed": False}
    assert f"are not those that times{order[1]:g}/mixed-seed0 was trained on" in " ".join(said.split())
    assert f"are not those that times{order[0]:g}/mixed-seed0 was trained on" not in " ".join(said.split())
