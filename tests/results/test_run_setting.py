"""What a run's config says of its dimensions and its model, for tables and figures beside printed numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from icl_curriculum.results.run_setting import RunSetting, settings_of_variants

GPT2 = {"name": "transformer", "layers": 12, "width": 256, "heads": 8, "tokens": "alternate"}


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (GPT2, "12 layers of 256, 8 heads"),
        (GPT2 | {"layers": 1, "heads": 1, "tokens": "joint"}, "1 layer of 256, 1 head, joint tokens"),
        ({"name": "recurrent", "layers": 3, "width": 92}, "recurrent, 3 layers of 92"),
        ({"name": "deep_sets", "width": 68}, "deep_sets, width 68"),
        ({"name": "mine"}, "mine"),
    ],
)
def test_the_size_of_a_model_in_words(model: dict[str, Any], size: str) -> None:
    assert RunSetting(20, model).size == size


def test_a_config_that_does_not_say_has_no_setting() -> None:
    assert RunSetting.of({"dims": 20, "model": GPT2}) == RunSetting(20, GPT2)
    assert RunSetting.of({"dims": 20}) is None
    assert RunSetting.of({"dims": "20", "model": GPT2}) is None


def test_settings_are_those_of_the_variants_whose_runs_are_there(tmp_path: Path) -> None:
    runs = ["a-seed0", "a-seed1", "b-seed0", "c-seed0", "d-seed0"]
    table = pd.DataFrame({"variant": [run[0] for run in runs], "run": runs, "learner_kind": "model"})
    for run, text in {"a-seed1": "dims = 1\n[model]", "b-seed0": "dims =", "d-seed0": "dims = 2\n[model]"}.items():
        (tmp_path / run).mkdir()
        (tmp_path / run / "config.toml").write_text(text)
    assert settings_of_variants(tmp_path, table, ["a", "b", "c"]) == {"a": RunSetting(1, {})}
