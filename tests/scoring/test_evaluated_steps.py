"""``icl evaluate --step``: the weights that a run kept, their rows beside those of other steps, and what is refused."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import pandas as pd
import pytest
from finished_runs import FINISHED, Finished, executed
from tiny_runs import Icl

from icl_curriculum import figures
from icl_curriculum.scoring.trained_runs import open_run


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Linear for six steps, then linear and quadratic."""
    return executed(tmp_path_factory.mktemp("kept"), {**FINISHED, "training.keep_checkpoints": 4})


@pytest.fixture
def icl(icl: Icl, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Icl:
    if "figure" not in request.node.name:
        for name in ("draw_heat_map", "draw_along_training", "draw_prediction_differences"):
            monkeypatch.setattr(figures, name, lambda output: None)
    return functools.partial(icl, "evaluate")


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "evaluation.csv", keep_default_na=False, na_values=[""])


def test_every_kept_step_beside_the_others_in_one_table(icl: Icl, kept: Finished, tmp_path: Path) -> None:
    shift = ("--shift", "scaled_inputs/2", "--output", tmp_path)
    code, out, err = icl(kept.path, "--step", "all", *shift)
    assert code == 0, err
    table = rows(tmp_path)
    assert list(table["step"].unique()) == [0, 4, 8, 12]
    assert "step  linear  quadratic\n" in out
    # The last step is the run itself.
    assert set((kept.path / "evaluation.csv").read_text().splitlines()[1:]) <= set(
        (tmp_path / "evaluation.csv").read_text().splitlines()
    )
    model = table[table["learner"] == "model"]
    assert model.groupby("step")["value"].sum().nunique() == 4
    # Asking a step again renews its rows and no others; so does asking the run as it ended.
    before = (tmp_path / "evaluation.csv").read_bytes()
    for options in (("--step", "8"), ()):
        assert icl(kept.path, *options, *shift)[0] == 0
        assert (tmp_path / "evaluation.csv").read_bytes() == before


def test_in_distribution_is_what_had_been_trained_on_by_then(icl: Icl, kept: Finished, tmp_path: Path) -> None:
    assert (
        icl(kept.path, "--step", "0", "--step", "4", "--step", "8", "--shift", "skewed", "--output", tmp_path)[0] == 0
    )
    table = rows(tmp_path)
    own = table[(table["shift"] == "none") & (table["input_distribution"] == "gaussian")]
    inside = own.groupby(["step", "function_class"])["in_distribution"].any()
    assert {cell: bool(found) for cell, found in inside.items()} == {
        (0, "linear"): False, (0, "quadratic"): False, (4, "linear"): True, (4, "quadratic"): False,
        (8, "linear"): True, (8, "quadratic"): True,
    }  # fmt: skip
    assert not table.loc[table["input_distribution"] == "skewed", "in_distribution"].any()


def test_a_cell_asked_on_other_prompts_loses_the_rows_of_other_steps(icl: Icl, kept: Finished, tmp_path: Path) -> None:
    """Or steps would stand side by side that answered different prompts."""
    asked = ("--function-class", "linear", "--output", tmp_path)
    assert icl(kept.path, "--step", "4", "--step", "8", *asked)[0] == 0
    assert icl(kept.path, "--step", "4", "--n-prompts", "8", *asked)[0] == 0
    table = rows(tmp_path)
    assert set(table[["step", "n_prompts"]].drop_duplicates().itertuples(index=False, name=None)) == {(4, 8)}


def test_points_are_those_trained_on_by_then(tmp_path: Path) -> None:
    growing = {"curriculum.points": {"start": 3, "add": 2, "every": 6}, "training.keep_checkpoints": [4]}
    run = executed(tmp_path, {**FINISHED, **growing, "evaluation.shifts": []})
    assert [open_run(run.path, step=step).trained.points for step in (4, 12)] == [3, 5]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("5", "the weights of step 5 were not kept; the closest that is there is step 4, of 0, 4, 8, 12\n"),
        ("-1", "error: --step -1: expected a number of steps, or 'all' for all whose weights were kept\n"),
        ("last", "error: --step last: expected a number of steps, or 'all' for all whose weights were kept\n"),
    ],
)
def test_mistaken_steps(icl: Icl, kept: Finished, tmp_path: Path, step: str, message: str) -> None:
    code, out, err = icl(kept.path, "--step", "4", "--step", step, "--output", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err.endswith(message)
    assert not (tmp_path / "out").exists()


def test_swapped_weights_are_refused(icl: Icl, kept: Finished, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(kept.path, tmp_path / kept.path.name))
    shutil.copy(mine / "checkpoints/step-000008.safetensors", mine / "checkpoints/step-000004.safetensors")
    code, _, err = icl(mine, "--step", "all")
    assert code == 2
    assert "step-000004.safetensors is damaged: it is not what the run wrote at step 4" in err


def test_a_figure_shows_several_steps(icl: Icl, kept: Finished, tmp_path: Path) -> None:
    options = ("--shift", "skewed", "--output", tmp_path)
    assert f"figure:  {tmp_path / 'figures/along_training.png'}" not in icl(kept.path, *options)[2]
    assert f"figure:  {tmp_path / 'figures/along_training.png'}" in icl(kept.path, "--step", "4", *options)[2]
    assert (tmp_path / "figures/along_training.png").stat().st_size > 10_000
