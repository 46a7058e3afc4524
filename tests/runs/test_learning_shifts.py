"""Errors under shifts in learning.csv: a column that only runs have that ask for it, and nothing else changed."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from finished_runs import FINISHED, Finished, assert_same_results, executed
from live_doubles import Notes
from resealed import unsealed
from tiny_runs import Killed, killed_at, tables, tiny_run

from icl_curriculum.core.errors import UserError
from icl_curriculum.results.collecting import collect
from icl_curriculum.results.columns import TABLES
from icl_curriculum.results.comparison.outcomes import outcomes
from icl_curriculum.results.comparison.sources import open_source
from icl_curriculum.runs.execution import execute
from icl_curriculum.runs.live_logging import BACKENDS, Backend

SHIFTS = [{"name": "scaled_inputs", "factor": 2.0}, "skewed", "longer_prompts"]
SHIFTED = {**FINISHED, "evaluation.learning_shifts": SHIFTS}


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return executed(tmp_path_factory.mktemp("shifted"), SHIFTED)


def test_only_learning_csv_gains_rows_and_a_column(shifted: Finished, finished: Finished) -> None:
    found, plain = tables(shifted.path), tables(finished.path)
    assert {name for name in plain if found[name] != plain[name]} == {"learning.csv"}
    learning = shifted.table("learning")
    assert list(learning.columns) == TABLES["learning"].header
    own = learning[(learning["shift"] == "none") & (learning["input_distribution"] == "gaussian")]
    # The same text as without, but for the column.
    text = pd.read_csv(io.BytesIO(found["learning.csv"]), dtype="str").loc[own.index].drop(columns="shift")
    assert text.to_csv(index=False) == plain["learning.csv"].decode()


def test_the_rows_are_those_of_every_shift_at_every_step(shifted: Finished) -> None:
    learning = shifted.table("learning")
    banks = learning[["input_distribution", "shift"]].drop_duplicates().itertuples(index=False, name=None)
    assert list(banks) == [
        ("gaussian", "none"), ("gaussian", "scaled_inputs/2"), ("skewed", "none"), ("gaussian", "longer_prompts/2"),
    ]  # fmt: skip
    assert sorted(learning["step"].unique()) == [0, 5, 10, 12]
    assert set(learning.groupby("step").size()) == {2 * (5 + 5 + 5 + 9)}
    assert not learning.duplicated(["step", "function_class", "input_distribution", "shift", "n_context"]).any()


def test_a_killed_run_resumes_to_the_same_bytes(tmp_path: Path, shifted: Finished) -> None:
    with pytest.raises(Killed):
        execute(shifted.run, tmp_path, report=killed_at("training", 10))
    execute(shifted.run, tmp_path)
    assert_same_results(Finished(shifted.run, tmp_path, []), shifted)


def test_runs_with_and_without_them_are_collected_into_one_table(shifted: Finished, tmp_path: Path) -> None:
    """A row of a run without the option is one without a shift. Outcomes are those of the same runs without it."""
    one, other = tiny_run({"name": "tiny", **FINISHED}), tiny_run(SHIFTED, seed=1)
    for run in (one, other):
        execute(run, tmp_path)
    directory = tmp_path / "tiny"
    collect(directory, {one.variant: one.hash()})
    assert "shift" not in pd.read_csv(directory / "learning.csv")
    # As two variants of an experiment.
    for run, variant in ((one, "plain"), (other, "shifted")):
        folder, renamed = directory / run.name, directory / f"{variant}-seed{run.seed}"
        for path in folder.glob("*.csv"):
            path.write_text(
                path.read_text().replace("mixed-seed", f"{variant}-seed").replace(",mixed,", f",{variant},")
            )
        manifest = folder / "manifest.json"
        unsealed(manifest, {"variant": variant, "run": renamed.name, "tables": None})
        folder.rename(renamed)
    collect(directory, {"plain": one.hash(), "shifted": other.hash()})
    learning = pd.read_csv(directory / "learning.csv")
    assert set(learning.loc[learning["variant"] == "plain", "shift"]) == {"none"}
    assert learning.loc[learning["variant"] == "shifted", "shift"].nunique() == 3
    found = outcomes(open_source(directory)).rows
    assert set(found["input_distribution"]) == {"gaussian"}
    assert set(found["n_context"]) == {4}


def test_loggers_are_told_the_shift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes()
    monkeypatch.setitem(BACKENDS, "notes", Backend(notes.open))
    execute(tiny_run({**SHIFTED, "training.steps": 2}), tmp_path, log=["notes"])
    tags = {tag for event in notes.events if event[0] == "scalars" for tag in event[2] if tag.startswith("learning/")}
    names = ("gaussian", "gaussian/scaled_inputs/2", "skewed", "gaussian/longer_prompts/2")
    classes = ("linear", "quadratic")
    assert tags == {f"learning/normalized_error/{each}/{name}" for each in classes for name in names}


@pytest.mark.parametrize(
    ("shifts", "message"),
    [
        (["skewd"], "evaluation.learning_shifts.0: unknown shift 'skewd'; did you mean 'skewed'?"),
        (["skewed", "skewed"], "evaluation.learning_shifts: two components have the id"),
        ([{"name": "longer_prompts", "factor": 3.0}], "evaluation.learning_shifts: 'longer_prompts/3' asks for"),
    ],
)  # fmt: skip
def test_mistaken_shifts(shifts: list[object], message: str) -> None:
    with pytest.raises(UserError) as error:
        tiny_run({"evaluation.learning_shifts": shifts})
    assert message in str(error.value)
