"""``icl score``: learners named on the command line, into a table that grows."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pandas as pd
import pytest
from finished_runs import Finished, executed
from resealed import unsealed
from tiny_runs import Icl

from icl_curriculum import figures
from icl_curriculum.cli.progress import View
from icl_curriculum.runs.execution import Progress

LEARNERS = """
import numpy as np
from sklearn.linear_model import Lasso


def last_label(xs, ys, x_query):
    return ys[-1]


def broken(xs, ys, x_query):
    raise ValueError("cannot")


class Zero:
    def predict(self, prompts):
        return 0 * prompts.ys


class Raising:
    def predict(self, prompts):
        raise KeyError("w")


shrunk = Lasso(alpha=0.5)
"""
SMALL = ("--n-prompts", "16", "--points", "9")


@pytest.fixture
def icl(
    icl: Icl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest, fresh_registries: None
) -> Icl:
    """``icl score`` in a folder of its own, which draws its figure only where a test is about that."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(LEARNERS)
    if "figure" not in request.node.name:
        monkeypatch.setattr(figures, "draw_scores", lambda output, **options: [])
    return functools.partial(icl, "score")


def rows(folder: Path | str = "results/score") -> pd.DataFrame:
    return pd.read_csv(Path(folder) / "evaluation.csv", keep_default_na=False, na_values=[""])


def learners(folder: Path | str = "results/score") -> dict[str, str]:
    frame = rows(folder)
    return dict(zip(frame["learner"], frame["learner_kind"], strict=True))


def test_baselines_regressors_and_functions_beside_the_oracle(icl: Icl, tmp_path: Path) -> None:
    code, out, err = icl(
        "ridge", "lasso/0.01", "sklearn/SVR", "RandomForestRegressor/n_estimators=3", "mine.py:last_label",
        "mine.py:Zero", "mine.py:shrunk", '{ name = "knn", neighbors = 2 }', *SMALL,
    )  # fmt: skip
    assert code == 0, err
    assert learners() == {
        "ridge": "baseline", "lasso/0.01": "baseline", "sklearn/SVR": "baseline",
        "sklearn/RandomForestRegressor/n_estimators=3": "baseline", "last_label": "baseline", "Zero": "baseline",
        "shrunk": "baseline", "knn/neighbors=2": "baseline", "oracle": "oracle",
    }  # fmt: skip
    frame = rows()
    assert set(frame["function_class"]) == {"linear"}
    assert set(frame["input_distribution"]) == {"gaussian"}
    assert set(frame.loc[frame["learner"] == "last_label", "n_context"]) == {2, 5}
    zero = frame[(frame["learner"] == "Zero") & (frame["metric"] == "normalized_error")]
    assert zero["value"].mean() == pytest.approx(1, abs=0.3)
    assert "linear, gaussian inputs: normalized error (1 = predicting zero)\n" in out
    assert "table:   results/score/evaluation.csv" in err
    manifest = json.loads((tmp_path / "results/score/manifest.json").read_text())
    assert manifest["kind"] == "icl score"
    assert manifest["learners"]["score/ridge"]["name"] == "ridge"
    assert manifest["learners"]["score/last_label"]["file"] == "mine.py"
    assert set(manifest["banks"]) == {"linear/gaussian/none"}


def test_trained_runs_are_asked_what_they_were_trained_on(icl: Icl, finished: Finished, tmp_path: Path) -> None:
    code, out, err = icl(finished.path, "ridge")
    assert code == 0, err
    frame = rows()
    own = finished.table("evaluation")
    assert set(frame["function_class"]) == {"linear", "quadratic"}
    found = frame[(frame["learner"] == "model") & (frame["metric"] == "normalized_error")]
    expected = own[(own["learner_kind"] == "model") & (own["shift"] == "none") & (own["metric"] == "normalized_error")]
    assert list(found["value"]) == list(expected["value"])
    assert list(found["in_distribution"]) == list(expected["in_distribution"])
    assert list(found["run"].unique()) == ["tiny/mixed-seed0"]
    assert "linear, gaussian inputs" in out


def test_a_folder_of_runs_means_all_of_them(icl: Icl, finished: Finished) -> None:
    assert icl(finished.path.parent, "--function-class", "linear")[0] == 0
    assert set(rows()["run"]) == {"tiny/mixed-seed0", "score"}


def test_runs_of_several_variants_are_called_after_them(icl: Icl, finished: Finished, tmp_path: Path) -> None:
    other = executed(tmp_path / "others", {"curriculum.function_classes": "random"})
    assert icl(finished.path, other.path, "--function-class", "linear")[0] == 0
    assert learners() == {"mixed": "model", "random": "model", "oracle": "oracle"}


def test_classes_inputs_and_shifts_can_be_chosen(icl: Icl) -> None:
    code, _, err = icl(
        "zero", "--function-class", "hermite/3", "--function-class", "parity", "--inputs", "laplace",
        "--shift", "scaled_outputs/2", "--dims", "4", *SMALL,
    )  # fmt: skip
    assert code == 0
    assert set(map(tuple, rows()[["function_class", "input_distribution", "shift"]].to_numpy())) == {
        ("hermite/3", "laplace", "none"), ("hermite/3", "laplace", "scaled_outputs/2"),
    }  # fmt: skip
    assert "undefined: parity with laplace inputs: expected inputs of -1 and 1; give --inputs rademacher" in err


def test_classes_come_with_their_own_inputs_and_dimensions(icl: Icl) -> None:
    assert icl("zero", "--function-class", "chebyshev", "--n-prompts", "8")[0] == 0
    frame = rows()
    assert set(frame["input_distribution"]) == {"uniform/half_width=1"}
    assert frame["n_context"].max() == 4


def test_more_can_be_asked_of_costly_learners(icl: Icl) -> None:
    assert icl("mine.py:last_label", *SMALL, "--lengths", "all", "--costly-prompts", "3")[0] == 0
    frame = rows()
    mine = frame[frame["learner"] == "last_label"]
    assert list(mine["n_context"].unique()) == list(range(9))
    assert set(mine["n_prompts"]) == {3}


def test_the_table_grows_by_learner_and_cell(icl: Icl) -> None:
    assert icl("ridge", *SMALL)[0] == 0
    first = rows()
    assert icl("averaging", "--shift", "label_noise", *SMALL)[0] == 0
    both = rows()
    assert set(both["learner"]) == {"ridge", "averaging", "oracle"}
    assert len(both.merge(first)) == len(first)
    assert icl("ridge", *SMALL)[0] == 0
    assert len(rows()) == len(both)
    code, _, err = icl("ridge", "--n-prompts", "8")
    assert code == 2
    assert "results/score holds scores on other prompts (points = 9, now 21)" in err
    assert "--output" in err
    assert len(rows()) == len(both)


def test_equal_calls_give_equal_bytes(icl: Icl) -> None:
    for folder in ("one", "two"):
        icl("ridge", "mlp_gd", "greedy_tree", "--output", folder, *SMALL)
    assert Path("one/evaluation.csv").read_bytes() == Path("two/evaluation.csv").read_bytes()


def test_what_fails_on_some_prompts_is_left_out_and_said(icl: Icl) -> None:
    text = "sklearn/KNeighborsRegressor/n_neighbors=4"
    code, _, err = icl(text, *SMALL)
    assert code == 0
    assert f"left out: linear/gaussian/none: {text} failed on 16 of 16 prompts at k = 2: ValueError: " in err
    manifest = Path("results/score/manifest.json")
    failures = json.loads(manifest.read_text())["baseline_failures"]
    assert [record["learner"] for record in failures["linear/gaussian/none"]] == [text]
    # Of another learner's failures nothing changes, whether records tell of them or, as in version 0.2.0, sentences.
    told = [line.split("none: ", 1)[1] for line in err.splitlines() if line.startswith("left out: ")]
    written = {"linear/gaussian/none": [*told, "ridge failed on 1 of 16 prompts at k = 1, 2: ValueError: so"]}
    unsealed(manifest, {"baseline_failures": written})
    assert icl("ridge", *SMALL)[0] == 0
    assert json.loads(manifest.read_text())["baseline_failures"] == failures


def test_a_learner_that_answers_nothing_ends_with_exit_code_1(icl: Icl) -> None:
    code, _, err = icl("mine.py:broken", "ridge", *SMALL)
    assert code == 1
    assert "broken failed on 16 of 16 prompts at k = 2, 5: ValueError: cannot (mine.py, line 11)" in err
    assert "failed: broken answered no prompt" in err
    assert set(learners()) == {"ridge", "oracle"}


def test_a_learner_that_breaks_is_named_and_what_was_answered_is_kept(icl: Icl) -> None:
    code, _, err = icl("ridge", "mine.py:Raising", *SMALL)
    assert code == 1
    assert "failed: linear/gaussian/none: Raising failed in predict: KeyError: 'w'" in err
    assert "Traceback" not in err
    assert set(learners()) == {"ridge"}


def test_the_figure_shows_all_learners_without_a_model(icl: Icl) -> None:
    code, _, err = icl("ridge", "averaging", "knn", "mine.py:last_label", *SMALL)
    assert code == 0
    assert "figure:  results/score/figures/error_by_examples.png" in err
    svg = Path("results/score/figures/error_by_examples.svg").read_text()
    for label in ("ridge", "averaging", "nearest neighbours", "last label"):
        assert label in svg


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rigde",), "LEARNER rigde: unknown baseline 'rigde'; did you mean 'ridge'?"),
        (("Rige",), "did you mean 'Ridge'?"),
        (("LogisticRegression",), "classifier"),
        (("mine.py",), "mine.py: expected FILE.py:NAME with a name that the file defines, found none; it defines: "),
        (("mine.py:last_labl",), "found 'last_labl'; did you mean 'last_label'?"),
        (("yours.py:f",), "yours.py does not exist"),
        (("results",), "expected the directory of a finished run, found no run"),
        (("ridge", "ridge"), "two learners are called 'ridge'; give each a name of its own"),
        (("ridge", "--function-class", "linera"), "--function-class linera: unknown function class 'linera'"),
        (("ridge", "--lengths", "five"), "--lengths five: expected 'all' or numbers of examples with commas between"),
        (("sparse_posterior", "--dims", "2"), "sparse_posterior: sparsity 3 exceeds the number of dimensions 2"),
        (("ridge", "--lengths", "5,50"), "--lengths: 50 exceeds the longest prompt, 20 examples"),
        (("ridge", "--function-class", "chebyshev", "--dims", "3"), "chebyshev with uniform"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_mistakes_are_one_message(icl: Icl, arguments: tuple[str, ...], message: str) -> None:
    Path("results").mkdir()
    code, out, err = icl(*arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert not Path("results/score/evaluation.csv").exists()


def test_runs_that_cannot_be_asked_the_same_are_named(icl: Icl, finished: Finished, tmp_path: Path) -> None:
    assert "dims: the runs and --dims must agree, found 2 and 3" in icl(finished.path, "--dims", "3")[2]
    assert "--points 90: prompts of 90 points, the model reads at most" in icl(finished.path, "--points", "90")[2]


def test_progress_is_told_with_an_estimate(icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Progress] = []
    monkeypatch.setattr(View, "report", lambda view, progress: told.append(progress))
    assert icl("mine.py:last_label", "ridge", *SMALL)[0] == 0
    shares = [progress.done + progress.share for progress in told]
    assert shares == sorted(shares)
    assert [progress.detail for progress in told[:3]] == ["last_label 0%", "last_label 0%", "last_label 50%"]
    assert told[2].share == pytest.approx(0.5 / 3)
    assert told[-1].done == told[-1].total == 1


def test_a_folder_of_somebody_else_is_refused(icl: Icl, finished: Finished) -> None:
    code, _, err = icl("ridge", "--output", finished.path)
    assert code == 2
    assert f"{finished.path} holds files that icl score did not write; give another folder with --output" in err
