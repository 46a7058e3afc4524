"""``icl evaluate --adapt`` and ``evaluation.adapt``: rows beside the model's, on the same prompts for every run."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd
import pytest
from finished_runs import FINISHED, Finished, executed, weights
from tiny_runs import Icl, tables, tiny_run

import icl_curriculum
from icl_curriculum import figures
from icl_curriculum.core.errors import UserError
from icl_curriculum.evaluation import adaptation_bank
from icl_curriculum.runs.banks import evaluation_banks

WAYS = ["steps=2,rate=0.01", "steps=1,rate=0.01", "per_prompt,steps=1"]
IDS = ["model/adapted=1/rate=0.01", "model/adapted=2/rate=0.01", "model/adapted=1/per_prompt"]


@pytest.fixture(scope="module")
def adapting(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    changes = {
        **FINISHED, "evaluation.adapt": WAYS, "evaluation.costly": {"n_prompts": 4}, "training.keep_checkpoints": [4],
    }  # fmt: skip
    return executed(tmp_path_factory.mktemp("adapting"), changes)


@pytest.fixture
def icl(icl: Icl, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Icl:
    if "figure" not in request.node.name:
        for name in ("draw_heat_map", "draw_along_training", "draw_prediction_differences", "draw_adaptation"):
            monkeypatch.setattr(figures, name, lambda output: None)
    return functools.partial(icl, "evaluate")


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "evaluation.csv", keep_default_na=False, na_values=[""])


def adapted_lines(folder: Path) -> set[str]:
    return {line for line in (folder / "evaluation.csv").read_text().splitlines() if "model/adapted=" in line}


def test_a_run_has_the_learners_of_its_key(adapting: Finished) -> None:
    table = adapting.table("evaluation")
    models = table[table["learner_kind"] == "model"]
    assert list(models["learner"].unique()) == ["model", *IDS]
    assert set(models.groupby("learner")["shift"].nunique()) == {2}
    per_prompt = models[models["learner"] == IDS[2]]
    assert set(per_prompt["n_context"]) == {1, 2, 4}
    assert set(per_prompt["n_prompts"]) == {4}
    at = models[(models["n_context"] == 4) & (models["metric"] == "squared_error")].pivot_table(
        index=["function_class", "shift"], columns="learner", values="value"
    )
    assert (at[IDS[0]] != at["model"]).all()
    # What a cell's other steps share does not change what the model itself says, and no other table holds them.
    assert set(adapting.table("prediction_differences")["learner"]) == {"model"}


def test_the_run_itself_is_as_it_would_be_without(adapting: Finished, tmp_path: Path) -> None:
    plain = executed(tmp_path, {**FINISHED, "evaluation.costly": {"n_prompts": 4}})
    lines = set((adapting.path / "evaluation.csv").read_text().splitlines())
    assert lines - adapted_lines(adapting.path) == set((plain.path / "evaluation.csv").read_text().splitlines())
    assert all((value == weights(plain)[name]).all() for name, value in weights(adapting).items())
    for name in ("prediction_differences.csv", "learning.csv", "training.csv"):
        assert tables(adapting.path)[name] == tables(plain.path)[name]


def test_the_command_gives_the_rows_of_the_run_and_the_same_again(icl: Icl, adapting: Finished, tmp_path: Path) -> None:
    options = [word for way in [*WAYS, WAYS[0]] for word in ("--adapt", way)]
    code, out, err = icl(adapting.path, *options, "--shift", "scaled_inputs/2", "--output", tmp_path)
    assert code == 0, err
    assert adapted_lines(tmp_path) == adapted_lines(adapting.path)
    for name in IDS:
        assert name in out
    before = tables(tmp_path)
    assert icl(adapting.path, *options, "--shift", "scaled_inputs/2", "--output", tmp_path)[0] == 0
    assert tables(tmp_path) == before


def test_python_gives_the_same_answers(adapting: Finished) -> None:
    model = icl_curriculum.load_model(adapting.path)
    bank = next(iter(evaluation_banks(adapting.run.experiment)))
    learner = model.adapted(WAYS[0], prompts=adaptation_bank(bank, 64).draw())
    prompts = bank.draw()
    squares = (learner.predict(prompts) - prompts.targets).double().square().mean(dim=0)
    table = adapting.table("evaluation")
    own = table[(table["learner"] == learner.id) & (table["metric"] == "squared_error") & (table["shift"] == "none")]
    found = own[own["function_class"] == bank.function_class].set_index("n_context")["value"]
    assert found.to_numpy() == pytest.approx(squares.numpy(), rel=1e-6)


def test_runs_of_all_seeds_adapt_to_the_same_prompts() -> None:
    banks = [next(iter(evaluation_banks(tiny_run(seed=seed).experiment))) for seed in (0, 1)]
    assert adaptation_bank(banks[0], 8) == adaptation_bank(banks[1], 8)


def test_beside_masks_and_a_figure(icl: Icl, adapting: Finished, tmp_path: Path) -> None:
    code, _, err = icl(
        adapting.path, "--adapt", "steps=1", "--mask", "1.1", "--function-class", "linear", "--output", tmp_path
    )
    assert code == 0, err
    table = rows(tmp_path)
    assert set(table.loc[table["learner_kind"] == "model", "learner"]) == {
        "model", "model/masked=1.1", "model/adapted=1",
    }  # fmt: skip
    assert f"figure:  {tmp_path / 'figures/adaptation.png'}" in err
    # Adapted models are compared with the truth alone.
    differences = pd.read_csv(tmp_path / "prediction_differences.csv")
    assert {*differences["learner"], *differences["other_learner"]} & {"model", "model/adapted=1"} == {"model"}


def test_kept_weights_of_each_step_are_adapted(icl: Icl, adapting: Finished, tmp_path: Path) -> None:
    asked = ("--adapt", WAYS[0], "--function-class", "linear", "--output", tmp_path)
    code, out, err = icl(adapting.path, "--step", "4", "--step", "12", *asked)
    assert code == 0, err
    table = rows(tmp_path)
    own = table[(table["learner"] == IDS[1]) & (table["metric"] == "squared_error")]
    by_step = own.pivot_table(index="n_context", columns="step", values="value")
    assert list(by_step.columns) == [4, 12]
    assert (by_step[4] != by_step[12]).all()
    assert out.count(IDS[1]) >= 2


def test_what_diverges_is_told_and_the_others_have_their_rows(icl: Icl, adapting: Finished, tmp_path: Path) -> None:
    code, _, err = icl(
        adapting.path, "--adapt", "steps=30,rate=1e6", "--adapt", "steps=1", "--function-class", "linear", "--output",
        tmp_path,
    )  # fmt: skip
    assert code == 0, err
    assert "no error: linear/gaussian/none: model/adapted=30/rate=1000000 failed on 16 of 16 prompts at k = 0" in err
    assert "diverged at step " in err
    table = rows(tmp_path)
    empty = table.groupby("learner")["value"].apply(lambda values: values.isna().all())
    assert list(empty.index[empty]) == ["model/adapted=30/rate=1000000"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps=0", "error: --adapt 'steps=0': steps: expected a number from 1 on; 0 steps are the model "),
        ("stpes=2", "error: --adapt 'stpes=2': expected options such as steps=20,rate=0.1, found 'stpes=2'; did you "),
    ],
)  # fmt: skip
def test_mistaken_options(icl: Icl, adapting: Finished, tmp_path: Path, text: str, message: str) -> None:
    code, out, err = icl(adapting.path, "--adapt", text, "--output", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["steps=2", "rate=1"], "evaluation.adapt.1: 'rate=1': how many steps? expected steps=20, say"),
        (
            ["step=2"],
            "evaluation.adapt.0: 'step=2': expected options such as steps=20,rate=0.1, found 'step=2'; did you mean "
            "'steps'?",
        ),
        (["steps=2", "steps=2,rate=0.005"], "evaluation.adapt: two texts mean 'adapted=2'; expected every "),
        ([3], "evaluation.adapt.0"),
    ],
)  # fmt: skip
def test_mistaken_keys(texts: list[object], message: str) -> None:
    with pytest.raises(UserError) as error:
        tiny_run({"evaluation.adapt": texts}).experiment.check()
    assert message in str(error.value)
    assert str(error.value).count("found") <= 1


def test_the_key_enters_the_hash_only_where_it_says_something() -> None:
    assert tiny_run({"evaluation.adapt": []}).hash() == tiny_run().hash()
    assert tiny_run({"evaluation.adapt": ["steps=2"]}).hash() != tiny_run().hash()
