"""``--metric``: another metric in figures, comparisons and the report, and in what `evaluate` and `score` print."""

from __future__ import annotations

import functools
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up_tables import make_scores
from matplotlib.figure import Figure
from several_variants import train
from tiny_runs import Icl, tiny_run

from icl_curriculum import figures
from icl_curriculum.core.registry import METRICS
from icl_curriculum.figures.scales import error_scale
from icl_curriculum.results.chosen_metric import choose_metric, described_metric
from icl_curriculum.results.shown_metric import USUAL, ShownMetric, of_shown, showing
from icl_curriculum.runs.execution import execute

CLASSES: dict[str, Any] = {
    "function_classes": [{"name": "multiclass_linear", "n_classes": 3}],
    # So many prompts that no two variants end at one accuracy, on whatever machine.
    "evaluation": {"baselines": ["zero", "knn"], "n_prompts": 250},
    "variants": {"slow": {}, "fast": {"training": {"optimizer": {"muon_learning_rate": 0.5}}}},
}


@functools.cache
def _trained() -> Path:
    return train(Path(tempfile.mkdtemp(prefix="icl-classes-")), "classes", **CLASSES)


@pytest.fixture
def classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results of two variants that learn to tell classes apart."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(_trained(), tmp_path / "results/classes")
    return tmp_path / "results/classes"


def final(folder: Path, metric: str, column: str = "learner") -> pd.Series[float]:
    table = pd.read_csv(folder / "evaluation.csv")
    table = table[(table["metric"] == metric) & (table["n_context"] == 4) & (table["shift"] == "none")]
    return table.groupby(column)["value"].mean()


def test_compare_by_accuracy_names_the_greater_one_as_the_better(classes: Path, icl: Icl) -> None:
    code, printed, _ = icl("compare", "classes", "--metric", "accuracy")
    assert code == 0
    assert "multiclass linear 3: accuracy at 4 examples, 90% intervals over seeds" in printed
    rows = pd.read_csv(classes / "metric_accuracy/summary.csv")
    assert set(rows["metric"]) == {"accuracy"}
    own = pd.read_csv(classes / "evaluation.csv")
    own = own[own["learner"] == "model"]
    table = own[(own["metric"] == "accuracy") & (own["n_context"] == 4) & (own["shift"] == "none")]
    means = table.groupby("variant")["value"].mean()
    best = means.idxmax()
    assert f"`{best}` ends highest" in printed or f"{best} ends highest" in printed
    # Chance is 1/3, and halfway from there to 1 is what counts as learned.
    assert "≥ 0.6667" in printed
    assert not (classes / "summary.csv").exists(), "the usual summary is another file"


def test_figures_of_another_metric_have_a_folder_and_words_of_their_own(classes: Path, icl: Icl) -> None:
    code, printed, _ = icl("plot", "classes", "--metric", "negative_log_likelihood", "--variant", "fast")
    assert code == 0
    folder = classes / "figures/metric_negative_log_likelihood"
    assert f"figure:  results/classes/figures/{folder.name}/error_by_examples_fast.png" in printed
    assert not list((classes / "figures").glob("*.png"))
    said = (folder / "error_by_examples_fast.svg").read_text(encoding="utf-8")
    assert "Negative log-likelihood by number of" in said
    assert "(1.1 = chance)" in said


@pytest.mark.usefixtures("unpictured")
def test_the_report_of_another_metric_and_the_usual_ones_table_of_others(classes: Path, icl: Icl) -> None:
    assert icl("report", "classes", "--metric", "accuracy")[0] == 0
    page = (classes / "metric_accuracy/report.html").read_text(encoding="utf-8")
    assert "Numbers: accuracy, 0.333 is that of chance; more is better." in page
    assert icl("report", "classes")[0] == 0
    page = (classes / "report.html").read_text(encoding="utf-8")
    assert "Error: normalized, 1 is that of chance." in page
    assert "other metrics at 4 examples" in page
    assert "accuracy (more is better)" in page
    knn = final(classes, "accuracy")["knn"]
    assert f">{knn:.3f}<" in page


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("acuracy", "has no metric 'acuracy'; did you mean 'accuracy'?"),
        ("squared_error", "has no metric 'squared_error'; add it to the experiment, evaluation.metrics = ["),
    ],
)
def test_a_metric_that_is_not_there_is_named(classes: Path, icl: Icl, name: str, said: str) -> None:
    for command in ("compare", "plot", "report"):
        code, _, complained = icl(command, "classes", "--metric", name)
        assert code == 2
        assert f"error: --metric: results/classes/evaluation.csv {said}" in complained


def test_evaluate_and_score_print_what_was_asked_for(icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "draw_scores", lambda output, **options: [])
    monkeypatch.setattr(figures, "draw_prediction_differences", lambda output: None)
    run = tiny_run()
    execute(run, tmp_path)
    command = ("evaluate", tmp_path / "tiny" / run.name, "--function-class", "linear", "--metric", "absolute_error")
    code, printed, _ = icl(*command, "--metric", "median_error")
    assert code == 0
    found = final(tmp_path / "tiny" / run.name / "evaluate", "absolute_error")["model"]
    said = " ".join(printed.split())
    row = f"inputs shift linear gaussian none {found:.3g}"
    assert f"Absolute error of the model at k = 4 examples (less is better) {row}" in said
    # The median that was asked for stands by itself, and nowhere in the place of the usual error.
    assert "Median error of the model" in said
    usual = final(tmp_path / "tiny" / run.name / "evaluate", "normalized_error")["model"]
    assert f"(1 = predicting zero) inputs shift linear gaussian none {usual:.3g} Absolute" in said
    assert "*" not in said
    code, printed, _ = icl(
        "score", "knn", "--function-class", "multiclass_linear", "--dims", "2", "--points", "5", "--n-prompts", "32",
        "--metric", "accuracy", "--output", tmp_path / "score",
    )  # fmt: skip
    assert code == 0
    assert "multiclass_linear/3, gaussian inputs: normalized error (1 = chance)" in printed
    assert "multiclass_linear/3, gaussian inputs: accuracy (more is better)" in printed
    assert f"{final(tmp_path / 'score', 'accuracy')['knn']:.3f}" in printed


def test_a_metric_that_means_nothing_for_what_is_asked_is_refused(icl: Icl, tmp_path: Path) -> None:
    asked = ("score", "knn", "--output", tmp_path, "--metric")
    assert icl(*asked, "accuracy", "--function-class", "linear")[::2] == (
        2, "error: the metric 'accuracy' means nothing for 'linear': its labels are neither signs nor classes\n",
    )  # fmt: skip
    code, _, said = icl(*asked, "acuracy", "--function-class", "linear")
    assert (code, said) == (2, "error: --metric acuracy: unknown metric 'acuracy'; did you mean 'accuracy'?\n")


def test_a_median_stands_in_only_where_there_is_no_mean() -> None:
    table = make_scores({"ridge": {1: 0.5, 2: 0.4}})
    median = table[table["metric"] == "normalized_error"].assign(metric="median_error", value=9.0)
    both = pd.concat([table, median], ignore_index=True)
    assert set(of_shown(both)["metric"]) == {"normalized_error"}
    infinite = median.assign(input_distribution="student_t/df=1.5")
    assert set(of_shown(pd.concat([both, infinite]))["metric"]) == {"normalized_error", "median_error"}


def test_a_metric_says_itself_what_no_manifest_says() -> None:
    assert described_metric("accuracy").improves == "up"
    assert described_metric("negative_log_likelihood").title == "negative log-likelihood"
    assert described_metric("nobodys_own/3").titles == {"nobodys_own/3": "nobodys own/3"}
    assert (
        described_metric("far_off", {"title": "far", "improves": "down", "trivial": {"a": 0.5, "b": 0.5}}).trivial
        == 0.5
    )
    assert USUAL.of(make_scores({"ridge": {1: 0.5}})).nothing == "predicting zero"


def test_a_level_that_is_not_the_same_everywhere_is_none(tmp_path: Path) -> None:
    def folder(*dims: int) -> Path:
        variants = {f"d{d}": {"dims": d} for d in dims}
        changes = {"function_classes": ["linear"], "variants": variants, "seeds": (0,)}
        return train(tmp_path / "-".join(variants), "several", **changes)

    alone, both = folder(3), folder(3, 2)
    assert choose_metric(alone, "squared_error").trivial == 3
    # One of its shifts is scaled_inputs, under which zero has another error.
    assert choose_metric(alone, "squared_error").shifted is None
    assert choose_metric(both, "squared_error").trivial is None
    assert choose_metric(both, "normalized_error").shifted == 1


def test_scores_keep_what_a_plugins_metric_is(icl: Icl, tmp_path: Path, fresh_registries: None) -> None:
    plugin = tmp_path / "closeness.py"
    plugin.write_text(CLOSENESS)
    code, printed, _ = icl(
        "score", "zero", "--function-class", "linear", "--dims", "2", "--points", "3", "--n-prompts", "8", "--metric",
        "closeness", "--plugin", plugin, "--output", tmp_path / "score",
    )  # fmt: skip
    assert code == 0
    assert "linear, gaussian inputs: how close (more is better)" in printed
    METRICS._classes.pop("closeness")  # as in a process that has loaded no plugin
    shown = choose_metric(tmp_path / "score", "closeness")
    assert (shown.improves, shown.title, shown.trivial) == ("up", "how close", 0.5)
    assert icl("plot", tmp_path / "score", "--metric", "closeness")[0] == 0


CLOSENESS = """
from icl_curriculum import Metric, register_metric

@register_metric("closeness")
class Closeness(Metric):
    "1 / (1 + |error|)."
    title, improves, power = "how close", "up", 0

    def errors(self, predictions, targets, task):
        return 1 / (1 + (predictions - targets).abs())

    def trivial(self, task):
        return 0.5
"""


def test_a_metric_without_a_mean_under_the_inputs_is_refused(icl: Icl, tmp_path: Path) -> None:
    asked = ("score", "zero", "--function-class", "linear", "--dims", "2", "--metric", "absolute_error")
    code, _, said = icl(*asked, "--inputs", "cauchy", "--output", tmp_path)
    assert (code, said) == (
        2, "error: the metric 'absolute_error' means nothing for 'linear': under cauchy inputs it has no finite mean\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("improves", "trivial", "threshold"), [("down", 2.0, 1.0), ("up", 0.25, 0.625), ("up", None, None)]
)
def test_numbers_that_grow_better_upwards_may_be_negative(
    improves: Any, trivial: float | None, threshold: float | None
) -> None:
    shown = ShownMetric({"m": "m"}, improves, trivial, trivial, "m")
    assert shown.least == (0 if improves == "down" else -math.inf)
    assert shown.usual_threshold == threshold if threshold else math.isnan(shown.usual_threshold)


def test_an_axis_of_numbers_without_a_level_has_ticks_and_room_for_what_overflowed() -> None:
    with showing(ShownMetric({"m": "m"}, "down", None, None, "m")):
        for values in ([1.001, 1.002], [1.0, 2.0, math.inf], [math.nan]):
            axes = Figure().subplots()
            error_scale(axes, "y", [values])
            assert math.isfinite(axes.get_ylim()[1])
            assert len(axes.get_yticks())
