"""An experiment as `icl show` prints it, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import tiny_values, write_toml

from icl_curriculum.config.experiment import Run
from icl_curriculum.config.finding import packaged_folder
from icl_curriculum.config.loading import load, load_whole
from icl_curriculum.config.showing import shown_text

SHIPPED = sorted(path.stem for path in packaged_folder().glob("*.toml"))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read_back(name: str, **options: Any) -> tuple[list[Run], list[Run], str]:
    """The runs of an experiment, those of what is shown of it, and that, which lies in another folder."""
    loaded = load_whole(name, **options)
    shown = shown_text(loaded)
    Path("elsewhere").mkdir(exist_ok=True)
    Path("elsewhere/shown.toml").write_text(shown, encoding="utf-8")
    return loaded.runs, load("elsewhere/shown.toml"), shown


def assert_same(runs: list[Run], again: list[Run]) -> None:
    assert [(run.experiment.name, run.name, run.hash(), run.swept) for run in runs] == [
        (run.experiment.name, run.name, run.hash(), run.swept) for run in again
    ]
    assert runs


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_experiment_can_be_read_back(name: str) -> None:
    runs, again, shown = read_back(name)
    assert_same(runs, again)
    assert "learning_rate = " in shown, "defaults included"


def test_defaults_that_follow_from_what_is_swept_are_left_to_follow() -> None:
    """Written out, the steps between rows of short runs would be those of long ones, too."""
    Path("my.toml").write_text('extends = "base.toml"\n[sweep]\ntraining.steps = [4, 500_000]\n')
    runs, again, shown = read_back("my.toml", overrides=["training.learning_every=4"])
    assert [run.experiment.training.log_every for run in runs[::3]] == [10, 500]
    assert_same(runs, again)
    assert "log_every" not in shown
    assert "learning_every = 4\n" in shown


def test_recipes_of_variants_are_read_back() -> None:
    """What a recipe sets is written out for the experiment itself, and must not hide that of a variant."""
    variants = {"plain": {}, "published": {"recipe": "reference", "training": {"optimizer": {"name": "muon"}}}}
    write_toml(Path("my.toml"), tiny_values({"variants": variants}))
    runs, again, _ = read_back("my.toml")
    assert runs[0].experiment.training.optimizer.betas != runs[1].experiment.training.optimizer.betas
    assert_same(runs, again)


def test_files_and_plugins_are_found_from_elsewhere(fresh_registries: None) -> None:
    Path("plugin.py").write_text(
        "from icl_curriculum.core.named_files import File\n"
        "from icl_curriculum.function_classes import register_function_class\n"
        "from icl_curriculum.function_classes.linear import Linear\n"
        "@register_function_class('named')\n"
        "class Named(Linear):\n"
        "    '''Named.'''\n"
        "    rows: File\n"
    )
    for name in ("a.csv", "b.csv", "c.csv"):
        Path(name).write_text(name)
    classes = {name: [{"name": "named", "rows": f"{name}.csv"}] for name in "abc"}
    values = tiny_values({"function_classes": classes["a"], "plugins": ["plugin.py"]})
    write_toml(Path("variants.toml"), {**values, "variants": {"b": {"function_classes": classes["b"]}}})
    write_toml(Path("swept.toml"), {**values, "sweep": {"function_classes": [classes["b"], classes["c"]]}})
    for name in ("variants.toml", "swept.toml"):
        runs, again, _ = read_back(name)
        assert_same(runs, again)


def test_what_is_given_beside_the_file_is_shown() -> None:
    write_toml(Path("my.toml"), tiny_values({"variants": {"a": {}, "b": {"training": {"batch_size": 5}}}}))
    runs, again, shown = read_back(
        "my.toml", overrides=["dims=1"], seeds=[3, 4], sweep={"model.width": [4, 8], "model.layers": [1]}
    )
    assert_same(runs, again)
    assert shown.startswith("# 8 runs: 4 variants with 2 seeds each\n# a,width=4,layers=1, a,width=8,layers=1, b,")
    assert '[sweep]\n"model.width" = [' in shown
