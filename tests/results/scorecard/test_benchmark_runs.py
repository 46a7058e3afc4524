"""The scorecard of trained runs and of scores on a toy benchmark, and who is refused or marked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from resealed import reseal
from toy_benchmark import TOY, toy_benchmark

import icl_curriculum
from icl_curriculum.results.scorecard import leaderboard
from icl_curriculum.results.scorecard.axes import scores_on_banks
from icl_curriculum.results.scorecard.command import learners_in, write_scorecard
from icl_curriculum.results.scorecard.frozen import benchmark

VARIANTS = """
extends = "toy.toml"
[variants]
small = {}
narrow = { model.width = 4 }
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The protocol's folder, and that of an experiment with two learners, two seeds each."""
    folder = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        toy_benchmark(folder, patch)
        (folder / "toy.toml").write_text(TOY, encoding="utf-8")
        (folder / "families.toml").write_text(VARIANTS, encoding="utf-8")
        patch.setattr("icl_curriculum.runs.experiment.figures.draw_all", lambda *args, **options: [])
        patch.setattr("icl_curriculum.runs.experiment.report_on", lambda *args, **options: None)
        yield folder, icl_curriculum.run(folder / "families.toml", results=folder / "results").path


@pytest.fixture
def families(trained: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the experiment's folder, to be changed."""
    return Path(shutil.copytree(trained[1], tmp_path / "families"))


def test_an_experiment_on_the_benchmark_leaves_its_scorecard(trained: tuple[Path, Path]) -> None:
    table = icl_curriculum.Results.open(trained[1]).scorecard
    assert {*table["learner"]} == {"small", "narrow"}
    alone = table[table["versus"].isna()]
    # Two seeds and their mean, on each axis; the mean over axes is that of the nine that are not of training.
    assert {*alone.groupby(["learner", "axis"], observed=True).size()} == {3}
    small = alone[(alone["learner"] == "small") & (alone["seed"] == 0)].set_index("axis")["score"]
    of_banks = small.drop(["mean", "data_efficiency", "kept"], errors="ignore")
    assert len(of_banks) == 9
    assert small["mean"] == pytest.approx(of_banks.mean())
    pair = table[table["versus"].notna() & (table["axis"] == "mean")].iloc[0]
    first, second = (
        alone[(alone["learner"] == name) & (alone["axis"] == "mean") & alone["seed"].notna()]["score"].to_numpy()
        for name in (pair["learner"], pair["versus"])
    )
    assert pair["score"] == pytest.approx((first - second).mean())
    # Student's quantile with one degree of freedom at 95%, times the standard error.
    assert pair["resolvable"] == pytest.approx(6.3138 * (first - second).std(ddof=1) / np.sqrt(2), rel=0.05)
    assert {*table["ranked"]} == {True}


def test_scores_are_those_of_the_errors_in_the_table(trained: tuple[Path, Path]) -> None:
    """By the formula, from evaluation.csv and the frozen best errors alone."""
    errors = pd.read_csv(trained[1] / "evaluation.csv")
    errors = errors[(errors["variant"] == "small,function_classes=random") & (errors["seed"] == 0)]
    errors = errors[(errors["metric"] == "normalized_error") & (errors["shift"] == "label_noise/0.5")]
    shares = []
    for name in ("linear", "sparse_linear", "quadratic", "relu_network"):
        own = errors[errors["function_class"] == name].set_index("n_context")["value"]
        best = benchmark().banks[f"{name}/gaussian/label_noise/0.5"].best
        counted = [k for k in own.index if k > 0 and 1 - best[k] > 0.05]
        shares.append(np.clip(np.mean([(1 - own[k]) / (1 - best[k]) for k in counted]), 0, 1))
    table = icl_curriculum.Results.open(trained[1]).scorecard
    found = table[(table["learner"] == "small") & (table["seed"] == 0) & (table["axis"] == "label_noise")]
    assert found["score"].item() == pytest.approx(np.mean(shares), abs=1e-8)


def test_a_model_that_knows_the_functions_scores_one(trained: tuple[Path, Path]) -> None:
    """The recorded best errors are the optimum's where it is known."""
    found = learners_in(trained[1]).scored[0]
    frozen = benchmark()
    best = {name: bank.best for name, bank in frozen.banks.items()}
    perfect, zero = (
        scores_on_banks(frozen, best),
        scores_on_banks(frozen, {n: dict.fromkeys(b, 1.0) for n, b in best.items()}),
    )
    assert {score.score for score in perfect.values()} == {1.0}
    assert {score.score for score in zero.values()} == {0.0}
    assert perfect.keys() == zero.keys() == found.scores[0].keys() - {"data_efficiency", "kept"}


def test_a_run_that_was_asked_other_prompts_is_refused(families: Path) -> None:
    run = families / "small,function_classes=random-seed0"
    banks = json.loads((run / "manifest.json").read_text())["banks"]
    reseal(run / "manifest.json", {"banks": {**banks, "linear/gaussian/none": "0123456789abcdef"}})
    found = learners_in(families)
    assert [learner.name for learner in found.scored] == ["narrow"]
    expected = benchmark().banks["linear/gaussian/none"].hash
    assert found.refused["small"] == (
        "1 of its banks hold other prompts than those of icl-curriculum-v1: linear/gaussian/none has the hash "
        f"0123456789abcdef, expected {expected}"
    )
    # Elsewhere the same prompts may differ in their last bits: whoever can draw them says so.
    assert len(learners_in(families, lambda bank, content: content == "0123456789abcdef").scored) == 2


def test_a_run_without_all_banks_or_of_another_version_is_refused(families: Path) -> None:
    first, second = families / "small,function_classes=random-seed0", families / "narrow,function_classes=random-seed1"
    banks = json.loads((first / "manifest.json").read_text())["banks"]
    reseal(first / "manifest.json", {"banks": {name: held for name, held in banks.items() if "skewed" not in name}})
    reseal(second / "manifest.json", {"bank_version": 1})
    assert learners_in(families).refused == {
        "small": "it was asked 17 of the 21 banks of icl-curriculum-v1, and not linear/skewed/none",
        "narrow": "its banks are of version 1; icl-curriculum-v1 has those of version 2",
    }


def test_runs_of_different_models_are_no_learner(families: Path) -> None:
    """As where some were trained anew by another config: their folders, with manifests and configs of their own."""
    wide = families / "small,function_classes=sequential-seed1"
    config = (wide / "config.toml").read_text(encoding="utf-8")
    (wide / "config.toml").write_text(config.replace("width = 8", "width = 16"), encoding="utf-8")
    reseal(wide / "manifest.json", {"config_file": None})
    assert learners_in(families).refused == {
        "small": "small,function_classes=sequential-seed1 was trained with another model than "
        "small,function_classes=random-seed0"
    }


def test_a_seed_that_failed_is_not_left_out_silently(families: Path) -> None:
    reseal(families / "small,function_classes=random-seed1/manifest.json", {"status": "failed"})
    for run in families.glob("narrow,function_classes=random-*"):
        reseal(run / "manifest.json", {"status": "interrupted"})
    found = learners_in(families)
    (small,) = found.scored
    assert small.broken == (
        "small,function_classes=random-seed1 is failed", "trained with the seeds 0; expected 0, 1",
    )  # fmt: skip
    assert found.refused["narrow"].startswith("it has finished runs on one class after another alone")
    assert "narrow,function_classes=random-seed0 is interrupted" in found.refused["narrow"]


def test_errors_that_were_measured_too_seldom_tell_nothing_of_training(families: Path) -> None:
    """Neither how soon a class was learned, nor what was learned at the end of its block."""
    for run in families.glob("small,*"):
        for name in ("learning", "exposure"):
            table = pd.read_csv(run / f"{name}.csv")
            table[table["step"].isin([0, 3, 8])].to_csv(run / f"{name}.csv", index=False)
        reseal(run / "manifest.json", {"tables": None})
    small = next(learner for learner in learners_in(families).scored if learner.name == "small")
    assert small.remarks == ("errors were measured less often than every 2 prompts",)
    assert not {"kept", "data_efficiency"} & {*small.scores[0]}


def test_a_table_that_was_edited_is_not_scored(families: Path) -> None:
    table = families / "small,function_classes=random-seed0" / "evaluation.csv"
    table.write_text(table.read_text().replace(",0.9", ",0.1"))
    refused = learners_in(families).refused
    assert "it is not what the run wrote" in refused["small,function_classes=random-seed0"]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("training.steps = 16", "trained on 64 prompts, more than the 32 of the budget"),
        (
            'sweep.curriculum.function_classes = ["mixed"]',
            "trained by the curriculum 'mixed', not 'random'",
        ),
        (
            'function_classes = ["linear", "sparse_linear", "quadratic", "relu_network", "decision_tree"]',
            "trained on decision_tree/gaussian, on which no model of the benchmark is trained",
        ),
        ('curriculum.draw = "prompt"', "its curriculum is not the benchmark's"),
        ('instruction.kind = "learned"', "its instruction is not the benchmark's"),
    ],
)  # fmt: skip
def test_who_breaks_a_rule_is_marked(
    trained: tuple[Path, Path], change: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = trained[0] / "mine.toml"
    file.write_text(f'extends = "toy.toml"\n{change}\n', encoding="utf-8")
    monkeypatch.setattr("icl_curriculum.runs.experiment._shown", lambda directory, note: ([], None))
    results = icl_curriculum.run(file, results=trained[0] / rule[:24], seeds=[0])
    written = write_scorecard(results.path)
    assert written is not None
    assert {*written.table["ranked"]} == {False}
    # And its seeds are not those of the benchmark.
    assert written.table["remark"].iloc[0].startswith(f"trained with the seeds 0; expected 0, 1; {rule}")


def test_more_operations_than_the_budget_cost_the_rank(families: Path) -> None:
    run = families / "small,function_classes=random-seed0"
    table = pd.read_csv(run / "exposure.csv")
    table["flops"] *= 10**9
    table.to_csv(run / "exposure.csv", index=False)
    reseal(run / "manifest.json", {"tables": None})
    small = next(learner for learner in learners_in(families).scored if learner.name == "small")
    (rule,) = small.broken
    spent = int(table.loc[table["step"] == table["step"].max(), "flops"].sum())
    assert rule == f"trained with {spent:.3g} operations, more than the 1.09e+12 of the budget"


def test_an_experiment_that_asks_otherwise_has_no_scorecard(trained: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(trained[1], tmp_path / "other")
    for run in (tmp_path / "other").glob("*-seed*"):
        reseal(run / "manifest.json", {"banks": {"linear/gaussian/none": "0"}})
    assert (tmp_path / "other" / "scorecard.csv").is_file()
    assert write_scorecard(tmp_path / "other") is None
    # What is no one's is not left behind.
    assert not (tmp_path / "other" / "scorecard.csv").exists()


def test_learners_stand_in_the_place_of_committed_ones(trained: tuple[Path, Path], tmp_path: Path) -> None:
    found = learners_in(trained[1]).scored
    leaderboard.write_leaderboard(found, tmp_path / "leaderboard.csv")
    committed = leaderboard.committed_leaderboard(tmp_path)
    assert {*committed["config_hashes"]} == {" ".join(learner.config_hashes) for learner in found}
    again = leaderboard.leaderboard_table(found[:1], committed)
    assert len(again) == len(committed)
    means = again[(again["axis"] == "mean") & again["seed"].isna()]["score"].astype(float)
    assert [*means] == sorted(means, reverse=True)
