"""The two plots that everybody draws take a reader of the tables at most five lines each, as docs/tables.md shows."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from places import EXAMPLE, ROOT

PAGE = (ROOT / "docs/tables.md").read_text(encoding="utf-8")
SECTION = PAGE.split("## Two plots")[1].split("\n## ")[0]
BLOCKS = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/example_mixed").symlink_to(EXAMPLE)
    return tmp_path


def drawn(block: str) -> dict[str, object]:
    from matplotlib import pyplot as plt

    plt.close("all")
    names: dict[str, object] = {}
    exec(block, names)
    return names


def test_there_are_two_of_at_most_five_lines() -> None:
    assert len(BLOCKS) == 2
    assert all(len([line for line in block.splitlines() if line]) <= 5 for block in BLOCKS)


def test_the_error_against_the_number_of_examples(folder: Path) -> None:
    from matplotlib.axes import Axes

    axes = drawn(BLOCKS[0])["axes"]
    assert isinstance(axes, Axes)
    assert (folder / "error.png").is_file()
    table = pd.read_csv(EXAMPLE / "mixed-seed1/evaluation.csv")
    runs = [pd.read_csv(EXAMPLE / f"mixed-seed{seed}/evaluation.csv") for seed in range(3)]
    table = pd.concat(runs).query("metric == 'normalized_error' and in_distribution and function_class == 'linear'")
    for line, learner in zip(axes.get_lines(), ("model", "averaging"), strict=True):
        expected = table[table["learner"] == learner].groupby("n_context")["value"].mean()
        np.testing.assert_allclose(line.get_ydata(), expected)
    (band,) = axes.collections
    low = table[table["learner"] == "model"].groupby("n_context")["ci_low"].mean()
    assert np.isclose(band.get_paths()[0].vertices[:, 1].min(), low.min())


def test_a_learning_curve(folder: Path) -> None:
    curves = drawn(BLOCKS[1])["curves"]
    assert (folder / "learning_curve.png").is_file()
    assert isinstance(curves, pd.DataFrame)
    assert list(curves) == ["linear", "quadratic", "relu_network", "sparse_linear"]
    assert curves.index[[0, -1]].tolist() == [0, 1500]
