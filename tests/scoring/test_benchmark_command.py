"""``icl leaderboard`` and ``icl score --benchmark``, on a toy benchmark."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
from tiny_runs import Icl
from toy_benchmark import toy_benchmark

import icl_curriculum
from icl_curriculum import figures
from icl_curriculum.results.scorecard import leaderboard as boards
from icl_curriculum.results.scorecard.learners import Computed, ScoredLearner
from icl_curriculum.results.scorecard.skill import SkillScore
from icl_curriculum.scoring import benchmark


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
    assert "last: answered as few as 2 of 4 prompts; asked at 2 of 4 lengths of trained prompts" in err
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("score", "ridge", "--benchmark", "--dims", "4"),
            "--dims asks for other prompts, and those of icl-curriculum-v1 are frozen; leave it out, or --benchmark",
        ),
        (("score", "ridge", "--benchmark", "--shift", "skewed"), "--shift asks for other prompts"),
        (("leaderboard", "nowhere"), "no results for 'nowhere' in results"),
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
