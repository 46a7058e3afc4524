"""Runs of a sweep: what they leave, in this process and in workers, and what a further value adds to them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from tiny_runs import Icl, tables, tiny_values, write_toml

import icl_curriculum as icl
from icl_curriculum.config.loading import load
from icl_curriculum.core.machine import resolve_device
from icl_curriculum.figures import drawing
from icl_curriculum.results.comparison.sources import open_source
from icl_curriculum.runs.launch import LaunchOutcome, launch

FAST = {"training.steps": 2, "evaluation.shifts": [], "function_classes": ["linear"]}


def carried_out(results: Path, sweep: dict[str, list[int]] | None, *, jobs: int = 0) -> LaunchOutcome:
    runs = load(tiny_values(FAST), sweep=sweep)
    return launch(runs, results, jobs=jobs, device=resolve_device("cpu"), report=lambda progress: None)


def swept(results: Path) -> list[tuple[str, str]]:
    table = pd.read_csv(results / "tiny/sweep.csv", dtype=str)
    return list(table[["variant", "value"]].itertuples(index=False, name=None))


def test_a_further_value_keeps_what_is_finished(tmp_path: Path) -> None:
    outcome = carried_out(tmp_path, {"model.width": [4, 8]})
    assert not outcome.failures
    assert outcome.finished == ["width=4-seed0", "width=8-seed0"]
    assert swept(tmp_path) == [("width=4", "4"), ("width=8", "8")]
    before = tables(tmp_path / "tiny/width=4-seed0")

    outcome = carried_out(tmp_path, {"model.width": [2, 4, 8]})
    assert (outcome.finished, outcome.skipped) == (["width=2-seed0"], ["width=4-seed0", "width=8-seed0"])
    assert swept(tmp_path) == [("width=2", "2"), ("width=4", "4"), ("width=8", "8")]
    assert tables(tmp_path / "tiny/width=4-seed0") == before

    # What it says is in the runs, so that no other file is needed to say it again.
    (tmp_path / "tiny/collected.json").unlink()
    (tmp_path / "tiny/sweep.csv").unlink()
    (tmp_path / "tiny/runs.csv").unlink()
    axis = open_source(tmp_path / "tiny").swept
    assert axis is not None
    assert axis.value_of == {"width=2": "2", "width=4": "4", "width=8": "8"}
    assert len(swept(tmp_path)) == 3

    # Without a sweep, the same experiment has no table of it.
    outcome = carried_out(tmp_path, None)
    assert outcome.finished == ["mixed-seed0"]
    assert not (tmp_path / "tiny/sweep.csv").exists()


@pytest.mark.usefixtures("undrawn")
def test_workers_write_the_same(tmp_path: Path, icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_toml(Path("my.toml"), tiny_values({**FAST, "variants": {"b": {"training": {"batch_size": 4}}}}))
    code, _, err = icl("run", "my.toml", "--sweep", "model.width=4", "--sweep", "dims=1,2", "--results", "r")
    assert code == 0, err
    table = pd.read_csv("r/tiny/sweep.csv", dtype=str)
    assert table.to_dict("list") == {
        "experiment": ["tiny"] * 4,
        "variant": ["b,width=4,dims=1"] * 2 + ["b,width=4,dims=2"] * 2,
        "swept_variant": ["b"] * 4,
        "parameter": ["model.width", "dims"] * 2,
        "value": ["4", "1", "4", "2"],
    }
    manifest = json.loads(Path("r/tiny/b,width=4,dims=2-seed0/manifest.json").read_text())
    assert manifest["swept"] == {"variant": "b", "values": {"model.width": "4", "dims": "2"}}


def test_python_runs_a_sweep_whose_report_begins_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "ACROSS_VARIANTS", ())
    monkeypatch.setattr(drawing, "FIGURES", {"error_by_parameter": drawing.FIGURES["error_by_parameter"]})
    results = icl.run(tiny_values(FAST), sweep={"model.width": [4, 8]}, results=tmp_path)
    assert list(results.sweep["value"]) == ["4", "8"]
    assert (results / "figures/error_by_parameter.svg").is_file()
    page = (results / "report.html").read_text(encoding="utf-8")
    first = page.index("<figure")
    assert "at the end of training by model.width." in page[first : page.index("</figure>", first)]
    assert "Final error of every seed" not in page, "the comparison by names, which says the same less well"


def test_what_a_sweep_costs_is_said_of_each_combination(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icl_curriculum.runs.cost.SECONDS", 0.0)
    costs = icl.cost(tiny_values(FAST), sweep={"model.width": [4, 8]}, device="cpu")
    assert [cost.variant for cost in costs] == ["width=4", "width=8"]
    assert costs[0].parameters < costs[1].parameters
