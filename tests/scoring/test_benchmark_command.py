"""``icl leaderboard`` and ``icl score --benchmark``, on a toy benchmark."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_runs import Icl
from toy_benchmark import toy_benchmark

import icl_curriculum
from icl_curriculum import figures
from icl_curriculum.config.loading import load
from icl_curriculum.core.errors import UserError
from icl_curriculum.results.columns import TABLES
from icl_curriculum.results.scorecard import leaderboard as boards
from icl_curriculum.results.scorecard.command import learners_in
from icl_curriculum.results.scorecard.learners import Computed, ScoredLearner
from icl_curriculum.results.scorecard.skill import SkillScore
from icl_curriculum.scoring import benchmark

NO_ROWS = pd.DataFrame(columns=TABLES["leaderboard"].header)


def made_up(name: str, score: float, **more: object) -> ScoredLearner:
    scores = {
        0: {"mean": SkillScore(score, score), "kept": SkillScore(0.5, 0.5)},
        1: {"mean": SkillScore(score, score)},
    }
    return dataclasses.replace(
        ScoredLearner("benchmark", name, "model", scores, "0", Computed("1", "2", None), "icl run x", 10, 20, (name,)),
        **more,
    )


@pytest.fixture
def scored(icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Icl:
    """The commands in a folder of their own, beside a committed table of two models, one of which has no rank."""
    monkeypatch.chdir(tmp_path)
    toy_benchmark(tmp_path, monkeypatch)
    found = [made_up("better", 0.25), made_up("rich", 0.75, broken=("trained on 60 prompts, more than the 32",))]
    boards.write_leaderboard(found, tmp_path / "committed/leaderboard.csv")
    committed = boards.committed_leaderboard(tmp_path / "committed")
    monkeypatch.setattr(benchmark, "committed_leaderboard", lambda: committed)
    monkeypatch.setattr(figures, "draw_scores", lambda output, **options: [])
    return icl


def test_without_runs_it_is_the_committed_table(scored: Icl) -> None:
    code, out, err = scored("leaderboard")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    first = next(line for line in lines if "better" in line)
    last = next(line for line in lines if "rich" in line)
    # Name, rank, mean, kept, operations and seeds; the mean of the best has no interval beyond rounding.
    assert first[:4] == ["better", "1", ".25", "±.00"]
    assert last[:2] == ["rich", "—"]
    assert lines.index(first) < lines.index(last)
    assert "rich has no rank: trained on 60 prompts, more than the 32" in err
    code, out, _ = scored("leaderboard", "--json")
    assert {row["learner"] for row in json.loads(out)["leaderboard"]} == {"better", "rich"}


def test_learners_without_training_take_the_same_test(scored: Icl, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def last(xs, ys, x_query):\n    return 0.0 * ys[-1]\n")
    code, out, err = scored("score", "zero", "least_squares", "own.py:last", "--benchmark", "--costly-prompts", "2")
    assert code == 0, err
    assert "least_squares *" in out
    assert "better" in out
    assert (
        "last: asked 2 of the 4 prompts of each bank; asked at 2 of 4 lengths of trained prompts; computed with" in err
    )
    code, out, _ = scored("leaderboard", "results/benchmark_score", "benchmark_score", "--output", "mine.csv", "--json")
    assert code == 0
    written = pd.read_csv("mine.csv")
    assert {*written["learner"]} == {"zero", "least_squares", "last"}
    assert {row["learner"] for row in json.loads(out)["leaderboard"]} == {*written["learner"], "better", "rich"}
    # The same in Python.
    in_python = icl_curriculum.score_on_benchmark(["zero", "least_squares"])
    both = in_python.merge(written, on=["learner", "axis"])
    assert len(both) == 20
    assert both["score_x"].astype(float).to_numpy() == pytest.approx(both["score_y"].to_numpy(), abs=1e-8)


OWN = """
def picky(xs, ys, x_query):
    if abs(x_query[0]) > 0.7:
        raise ValueError("hard")
    return 0.0


class zero:
    def predict(self, prompts):
        return 0 * prompts.ys
"""


def test_who_leaves_out_hard_prompts_has_no_rank_and_a_name_is_no_identity(scored: Icl, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    code, out, err = scored("score", "own.py:picky", "zero", "--benchmark")
    assert code == 0, err
    row = next(line.split() for line in out.splitlines() if line.startswith("picky"))
    assert row[:3] == ["picky", "*", "—"]
    assert "picky has no rank: left prompts unanswered, up to 3 of a bank" in err
    # Committed, the suite's own `zero` is another one than that of a file.
    committed = boards.leaderboard_table(learners_in(tmp_path / "results/benchmark_score").scored[1:], NO_ROWS)
    mine = icl_curriculum.score_on_benchmark({"zero": "ridge"})
    assert {*mine["learner"]} == {"zero"}
    assert scored("score", "own.py:zero", "--benchmark", "--output", "results/mine")[0] == 0
    both = boards.leaderboard_table(learners_in(tmp_path / "results/mine").scored, committed)
    means = both[both["axis"] == "mean"]
    assert [*means["command"]].count("icl score --benchmark own.py:zero") == 1
    assert [*means["command"]].count("icl score --benchmark zero") == 1


def test_a_committed_table_that_cannot_be_true_is_not_shown(tmp_path: Path) -> None:
    boards.write_leaderboard([made_up("better", 0.25)], tmp_path / "leaderboard.csv")
    text = (tmp_path / "leaderboard.csv").read_text()
    boards.committed_leaderboard(tmp_path)
    for old, new, problem in (
        ("icl-curriculum-v1", "icl-curriculum-v0", "it is of icl-curriculum-v0, expected icl-curriculum-v1"),
        ("mean,0,0.25", "mean,0,0.75", "a score over seeds is not the mean of those of the seeds"),
    ):
        (tmp_path / "leaderboard.csv").write_text(text.replace(old, new))
        with pytest.raises(UserError, match=problem):
            boards.committed_leaderboard(tmp_path)


def test_a_trained_model_is_no_learner_without_training(scored: Icl) -> None:
    built = load("smoke")[0].experiment.build_model(torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match="mine is a trained model, whose training counts, too"):
        icl_curriculum.score_on_benchmark({"mine": built})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("score", "ridge", "--benchmark", "--dims", "4"),
            "--dims asks for other prompts, and those of icl-curriculum-v1 are frozen; leave it out, or --benchmark",
        ),
        (("score", "ridge", "--benchmark", "--shift", "skewed"), "--shift asks for other prompts"),
        (("leaderboard", "nowhere"), "no results for 'nowhere' in results"),
        (("leaderboard", "empty", "--output", "results"), "empty holds no finished run"),
        (("leaderboard", "--output", "mine.csv"), "--output: name the folders whose learners are to be written"),
        (
            ("leaderboard", "results/one/mixed-seed0"),
            "is the folder of one run; expected that of its experiment, results/one",
        ),
        (("leaderboard", "empty"), "empty holds no finished run and no scores"),
    ],
)
def test_what_cannot_be_meant_is_one_message(scored: Icl, arguments: tuple[str, ...], message: str) -> None:
    Path("results/empty").mkdir(parents=True)
    Path("results/one/mixed-seed0").mkdir(parents=True)
    for name in ("config.toml", "manifest.json"):
        Path("results/one/mixed-seed0", name).write_text("{}")
    code, out, err = scored(*arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert not Path("mine.csv").exists()


def test_scores_on_other_prompts_are_refused(scored: Icl) -> None:
    assert scored("score", "zero", "--n-prompts", "4", "--output", "results/other")[0] == 0
    code, out, err = scored("leaderboard", "other")
    assert (code, out) == (2, "")
    assert "results/other: zero: it was asked 1 of the 21 banks of icl-curriculum-v1, and not" in " ".join(err.split())
