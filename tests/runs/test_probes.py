"""Before a run trains, learners from outside are asked a few prompts: what misleads fails, what is right runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import tiny_run

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import RunFailed
from icl_curriculum.core.streams import generator
from icl_curriculum.models import Model
from icl_curriculum.runs.execution import execute
from icl_curriculum.runs.probes import probe_components, probe_trained

pytestmark = pytest.mark.usefixtures("misleading")

SHIFTS = ["random_quadrants", "overlapping_queries"]
MODEL: dict[str, Any] = {"evaluation.shifts": SHIFTS, "function_classes": ["linear"]}


def changed(changes: Mapping[str, Any] | None = None) -> Run:
    return tiny_run({**MODEL, **(changes or {})})


def model_of(run: Run) -> Model:
    return run.experiment.build_model(generator(run.seed, "initialization"))


def probed(changes: Mapping[str, Any]) -> list[str]:
    """What probing has to say of a run, if it does not fail."""
    run = changed(changes)
    return [str(doubt) for doubt in probe_components(run.experiment, model_of(run))]


MISLEADING = {
    "sees its label": r"leaks: entry 0 changes by .* when its own label changes; expected an answer that follows from",
    "sees later labels": r"leaks: entry 0 changes by .* when later pairs change",
    "sees other prompts": r"leaks: entry 0 changes by .* with the other prompts of the batch",
    "ignores queries": r"leaks: entry 1 changes by .* where query 1 is asked separately",
    "raises on queries": r"failed in predict of separate queries: TypeError: what are queries.*takes_queries = False",
    "no number": r"predict of prompts of 5 points \(linear/gaussian/none\) returned infinite or NaN answers, first at",
    "without gradients": r"backward returned no gradient for any weight, expected gradients of its errors in \.grad",
    "sees its label in training": r"backward returned other errors than those of its predictions, expected what",
    "random": r"gives answers to equal prompts that differ by up to .*; expected the same ones",
}


@pytest.mark.parametrize("way", MISLEADING)
def test_a_model_that_misleads_fails_before_anything_is_trained(way: str, tmp_path: Path) -> None:
    run = changed({"model": {"name": "weighted", "way": way}})
    with pytest.raises(RunFailed, match=rf"'weighted/way={way}' .*{MISLEADING[way]}"):
        execute(run, tmp_path)
    folder = tmp_path / "tiny" / run.name
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert way in manifest["error"]
    assert not (folder / "training.csv").exists()


def test_a_model_that_is_right_runs_and_one_without_separate_queries_has_the_same_errors(tmp_path: Path) -> None:
    found = {}
    for name in ("weighted", "weighted_plain"):
        run = changed({"model": {"name": name}})
        execute(run, tmp_path / name)
        with (tmp_path / name / "tiny" / run.name / "evaluation.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["learner"] == "model"]
        found[name] = {(row["shift"], row["n_context"], row["metric"]): float(row["value"]) for row in rows}
    assert {shift for shift, _, _ in found["weighted"]} == {"none", *SHIFTS}
    assert found["weighted"] == pytest.approx(found["weighted_plain"], rel=1e-5)


def test_a_model_that_says_that_it_takes_no_queries_is_never_given_any() -> None:
    for way in ("ignores queries", "raises on queries"):
        assert probed({"model": {"name": "weighted_plain", "way": way}}) == []


def test_weights_that_no_gradient_reaches_are_said() -> None:
    [said] = probed({"model": {"name": "weighted", "way": "without a weight"}})
    assert said.startswith("no gradient reaches gate of the model 'weighted/way=without a weight'")


def test_what_only_the_trained_weights_let_through_is_found_after_training() -> None:
    run = changed({"model": {"name": "weighted", "way": "sees its label once trained"}})
    model = model_of(run)
    assert probe_components(run.experiment, model) == []
    probe_trained(run.experiment, model)
    with torch.no_grad():
        dict(model.named_parameters())["gate"].fill_(3.0)
    with pytest.raises(ComponentFailed, match=r"leaks: entry 0 changes by .* when its own label changes"):
        probe_trained(run.experiment, model)


@pytest.mark.parametrize(
    ("way", "message"),
    [
        (
            "targets",
            r"answers no prompt with a finite number; expected .*, as prompts\.targets are NaN for every learner",
        ),
        ("label", "leaks: entry 0 changes by .* when its own label changes"),
        ("changes its prompts", r"changed prompts\.ys in place; expected prompts that are left as they were"),
    ],
)
def test_a_baseline_that_misleads_fails_before_anything_is_trained(way: str, message: str) -> None:
    with pytest.raises(ComponentFailed, match=rf"'told/way={way}' .*{message}"):
        probed({"evaluation.baselines": ["zero", {"name": "told", "way": way}]})


def test_a_baseline_that_is_right_passes_and_one_that_hides_from_the_probe_is_said() -> None:
    assert probed({"evaluation.baselines": ["zero", "told"]}) == []
    [said] = probed({"evaluation.baselines": [{"name": "told", "way": "raises when it is probed"}]})
    assert "ValueError: too few" in said
    assert said.endswith("when it was asked a few prompts, so it cannot be told what its answers follow from")


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("an optimum that knows", r"the oracle of 'slopes/.*' .* reads prompts\.truth, which an optimum may not"),
        ("an optimum that sees its label", "leaks: entry 0 changes by .* when its own label changes"),
        (
            "follows its inputs",
            "draw returned functions that depend on their inputs: other inputs from the same streams",
        ),
    ],
)
def test_a_function_class_that_misleads_fails_before_anything_is_trained(way: str, message: str) -> None:
    with pytest.raises(ComponentFailed, match=message):
        probed({"function_classes": [{"name": "slopes", "way": way}]})


@pytest.mark.parametrize("way", ["right", "a lower bound that knows"])
def test_a_function_class_that_is_right_passes(way: str) -> None:
    assert probed({"function_classes": [{"name": "slopes", "way": way}]}) == []


def test_a_shift_whose_prompts_cannot_be_drawn_fails_before_anything_is_trained() -> None:
    message = r"'changed/.*' .*: draw \(xs\) returned torch\.float64, expected torch\.float32"
    with pytest.raises(ComponentFailed, match=message):
        probed({"evaluation.shifts": [{"name": "changed", "way": "double precision"}]})


def test_a_name_that_nothing_calls_is_said() -> None:
    [said] = probed({"evaluation.shifts": ["mistyped"]})
    assert said == "'mistyped' defines 'aply', which nothing calls; did you mean 'apply'?"


def test_nothing_is_asked_of_what_is_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    run = changed({"evaluation.baselines": ["zero", "least_squares"]})
    model = model_of(run)
    monkeypatch.setattr(type(model), "forward", None)
    for baseline in run.experiment.baselines_for(run.experiment.function_classes[0]):
        monkeypatch.setattr(type(baseline), "predict", None)
    assert probe_components(run.experiment, model) == []
    probe_trained(run.experiment, model)


@pytest.mark.parametrize(
    ("way", "changes"),
    [
        ("sees its label where labels are signs", {"function_classes": ["linear", "linear_classification"]}),
        ("sees its label where prompts are long", {"evaluation.shifts": ["longer_prompts"]}),
    ],
)
def test_a_model_is_probed_on_every_class_and_at_the_longest_prompts(way: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ComponentFailed, match=r"leaks: entry 0 changes by .* when its own label changes"):
        probed({"model": {"name": "weighted", "way": way}, **changes})
    assert probed({"model": {"name": "weighted", "way": way}}) == []


def test_a_baseline_is_probed_on_every_class() -> None:
    baseline = {"evaluation.baselines": [{"name": "told", "way": "label where labels are signs"}]}
    assert probed(baseline) == []
    with pytest.raises(ComponentFailed, match=r"'told/way=label where labels are signs' .* leaks: entry 0 changes"):
        probed({"function_classes": ["linear", "linear_classification"], **baseline})


@pytest.mark.parametrize(
    "changes",
    [
        {"function_classes": [{"name": "linear_map", "label_dims": 3}]},
        {"function_classes": ["multiclass_linear"], "evaluation.baselines": ["zero"]},
    ],
    ids=["vectors", "classes"],
)
def test_a_right_model_from_outside_trains_on_every_kind_of_label(changes: dict[str, Any], tmp_path: Path) -> None:
    run = tiny_run({**changes, "evaluation.shifts": [], "model": {"name": "own_transformer", "width": 8, "layers": 1}})
    execute(run, tmp_path)
    manifest = json.loads((tmp_path / "tiny" / run.name / "manifest.json").read_text())
    assert manifest["status"] == "finished"
