"""``icl heads`` and the masks and instructions of ``icl evaluate``: tables, ids, messages, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from finished_runs import Finished, executed
from tiny_runs import Icl

from icl_curriculum.core.errors import UserError
from icl_curriculum.evaluation import Bank
from icl_curriculum.models.heads import SCORES, head_scores
from icl_curriculum.runs.checkpoints import load_model, trained_cells, usual_prompts
from icl_curriculum.scoring.heads import HeadQuestions, study_heads, study_run

#: Two layers of two heads, labels in tokens of their own, and told the class by a learned vector.
LOOKED_AT = {
    "points": 9, "model.layers": 2, "model.tokens": "alternate", "training.steps": 4, "evaluation.shifts": [],
    "instruction.kind": "learned",
}  # fmt: skip
ASKED = HeadQuestions(masked=(1,), controls=2, n_prompts=8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return executed(tmp_path_factory.mktemp("heads"), LOOKED_AT)


@pytest.fixture(scope="module")
def written(run: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study_run(run.path, ASKED, tmp_path_factory.mktemp("written") / "heads")


def test_heads_csv_has_every_score_of_every_head_on_the_heads_bank(run: Finished, written: Path) -> None:
    heads = pd.read_csv(written / "heads.csv")
    assert len(heads) == 2 * 2 * 2 * len(SCORES)
    assert set(heads["n_prompts"]) == {64}
    task = run.run.experiment.tasks()["quadratic", "gaussian"]
    found = head_scores(load_model(run.path), Bank(task, None, 64, 9, 0, "heads").draw())
    row = heads.query("function_class == 'quadratic' and score == 'retrospective' and layer == 2 and head == 1").iloc[0]
    assert row["value"] == pytest.approx(float(found["retrospective"][:, 1, 0].mean()), abs=1e-7)
    assert row["ci_low"] <= row["value"] <= row["ci_high"]


def test_masked_errors_are_those_of_the_model_masked_in_python(run: Finished, written: Path) -> None:
    evaluation = pd.read_csv(written / "evaluation.csv")
    masked = "model/masked=retrospective/n=1"
    assert list(evaluation["learner"].unique()) == ["model", masked, f"{masked}/control=1", f"{masked}/control=2"]
    assert evaluation["in_distribution"].all()
    prompts = Bank(run.run.experiment.tasks()["linear", "gaussian"], None, 8, 9, 0).draw()
    for control, learner in ((0, masked), (2, f"{masked}/control=2")):
        model = load_model(run.path).masked("retrospective", n=1, control=control)
        error = float((model.predict(prompts) - prompts.targets)[:, 8].square().mean())
        rows = evaluation[(evaluation["learner"] == learner) & (evaluation["n_context"] == 8)]
        row = rows.query("function_class == 'linear' and metric == 'squared_error'").iloc[0]
        assert row["value"] == pytest.approx(error, rel=1e-6)


def test_means_take_the_place_of_heads(run: Finished, written: Path, tmp_path: Path) -> None:
    folder = study_run(run.path, HeadQuestions(masked=(1,), by="mean", controls=0, n_prompts=8), tmp_path / "heads")
    masked = pd.read_csv(folder / "evaluation.csv").query("learner == 'model/masked=retrospective/n=1/by=mean'")
    zeros = pd.read_csv(written / "evaluation.csv").query("learner == 'model/masked=retrospective/n=1'")
    assert len(masked) == len(zeros)
    assert (masked["value"].to_numpy() != zeros["value"].to_numpy()).any()
    prompts = Bank(run.run.experiment.tasks()["linear", "gaussian"], None, 8, 9, 0).draw()
    same = load_model(run.path).masked("retrospective/n=1/by=mean").predict(prompts)
    found = masked.query("function_class == 'linear' and metric == 'squared_error' and n_context == 8")["value"]
    assert float(found.iloc[0]) == pytest.approx(float((same - prompts.targets)[:, 8].square().mean()), rel=1e-6)


def test_what_was_asked_before_is_kept_and_what_was_altered_is_not(run: Finished, tmp_path: Path) -> None:
    folder = study_run(run.path, ASKED, tmp_path / "heads")
    kept = (folder / "heads.csv").stat().st_mtime_ns
    study_run(run.path, ASKED, folder)
    assert (folder / "heads.csv").stat().st_mtime_ns == kept
    before = (folder / "evaluation.csv").read_text()
    (folder / "evaluation.csv").write_text(before.replace("TRUE", "FALSE"))
    study_run(run.path, ASKED, folder)
    assert (folder / "evaluation.csv").read_text() == before
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["weights"] == run.manifest()["weights"]
    assert manifest["controls"] == 2


def test_a_folder_of_runs_has_the_rows_of_all_and_masking_csv(run: Finished, icl: Icl, tmp_path: Path) -> None:
    executed(run.results, LOOKED_AT, seed=1)
    code, out, _ = icl(
        "heads", run.path.parent, "--n", "1", "--controls", "2", "--n-prompts", "8", "--output", tmp_path
    )
    assert code == 0
    assert "below: the share of control sets" in out
    masking = pd.read_csv(tmp_path / "masking.csv")
    assert set(masking["n_seeds"]) == {2}
    values = masking[masking["function_class"] == "linear"].set_index("quantity")["value"]
    assert values["masked_minus_control"] == pytest.approx(values["masked"] - values["control"])
    single = pd.read_csv(run.path / "heads" / "heads.csv")
    assert len(pd.read_csv(tmp_path / "heads.csv")) == 2 * len(single)
    assert (tmp_path / "figures" / "head_scores.png").is_file()
    assert (tmp_path / "figures" / "masked_heads.svg").is_file()


def test_nothing_of_others_is_overwritten(run: Finished, tmp_path: Path) -> None:
    (tmp_path / "evaluation.csv").write_text("mine\n")
    with pytest.raises(UserError, match=r"holds files that icl heads did not write; give another folder with output"):
        study_run(run.path, ASKED, tmp_path)
    with pytest.raises(UserError, match="expected the folder of a finished run, or a folder of such, found none"):
        study_heads(tmp_path, ASKED)


def test_joint_tokens_have_no_retrospective_heads(tmp_path: Path) -> None:
    joint = executed(tmp_path, {"training.steps": 2, "evaluation.shifts": []})
    with pytest.raises(UserError, match=r"no attention from a label to its own input; train with model.tokens"):
        study_run(joint.path, ASKED, tmp_path / "heads")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--score", "retrospectiv"), "--score: unknown score 'retrospectiv'; did you mean 'retrospective'?"),
        (("--by", "median"), "--by: expected zero or mean, found 'median'"),
        (("--n", "two"), "--n two: expected numbers of heads with commas between, e.g. --n 1,2"),
        (("--n", "5"), "mask retrospective/n=5: the model has 4 heads"),
    ],
)
def test_mistakes(run: Finished, icl: Icl, arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    code, _, err = icl("heads", run.path, *arguments, "--output", tmp_path / "new")
    assert (code, err) == (2, f"error: {message}\n")


def test_usual_prompts_are_of_what_the_run_trains_on(run: Finished) -> None:
    assert [batch.function_class for batch in usual_prompts(run.run)] == ["linear", "quadratic"]
    assert usual_prompts(run.run, 13)[0].points == 13
    other = Bank(run.run.experiment.tasks()["linear", "gaussian"], None, 64, 9, 0).draw()
    assert not torch.equal(usual_prompts(run.run)[0].xs, other.xs)
    assert trained_cells(run.run) == {("linear", "gaussian"), ("quadratic", "gaussian")}


def test_evaluate_asks_with_masks_and_other_instructions(run: Finished, icl: Icl, tmp_path: Path) -> None:
    asked = ("--function-class", "linear", "--n-prompts", "8", "--output", tmp_path)
    assert icl("evaluate", run.path, *asked)[0] == 0
    plain = (tmp_path / "evaluation.csv").read_text()
    code, out, _ = icl(
        "evaluate", run.path, *asked, "--mask", "1.1+2.2", "--instruction", "quadratic", "--instruction", "neutral"
    )
    assert code == 0
    assert "model/masked=1.1+2.2/instruction=quadratic" in out
    table = pd.read_csv(tmp_path / "evaluation.csv").query("metric == 'squared_error' and n_context == 8")
    values = table.set_index("learner")["value"]
    both = ["model", "model/masked=1.1+2.2"]
    told = [*both, *(f"{name}/instruction={of}" for of in ("quadratic", "neutral") for name in both)]
    assert {*told} <= {*values.index}
    assert values[told].nunique() == len(told)
    assert plain.splitlines()[1] in (tmp_path / "evaluation.csv").read_text().splitlines()
    # Of the class itself it is told anyway.
    icl("evaluate", run.path, *asked, "--instruction", "linear")
    values = pd.read_csv(tmp_path / "evaluation.csv").query("metric == 'squared_error' and n_context == 8")
    values = values.set_index("learner")["value"]
    assert values["model/instruction=linear"] == values["model"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mask", "3.1"), "mask 3.1: no head 3.1; the model has layers 1 to 2 with heads 1 to 2"),
        (("--instruction", "lineer"), "--instruction: 'lineer' is none of the run's; did you mean 'linear'?"),
    ],
)
def test_mistaken_ways_to_ask(run: Finished, icl: Icl, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = icl("evaluate", run.path, *arguments)
    assert (code, out, err) == (2, "", f"error: {message}\n")


def test_a_run_without_instructions_is_told_none(icl: Icl, tmp_path: Path) -> None:
    plain = executed(tmp_path, {"training.steps": 2, "evaluation.shifts": []})
    code, _, err = icl("evaluate", plain.path, "--instruction", "linear")
    assert code == 2
    assert "was trained without instructions; instruction.kind" in err
