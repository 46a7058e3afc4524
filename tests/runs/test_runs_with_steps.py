"""Runs on reasoning steps: from the file to the tables, given, predicted and left out, and on pairs held out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from finished_runs import Finished, assert_same_results, executed
from helpers import bank_of
from tiny_runs import Icl, Killed, killed_at, tiny_run, tiny_values, write_toml

import icl_curriculum as icl_package
from icl_curriculum.config.loading import load
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import SHIFTS
from icl_curriculum.evaluation import Bank
from icl_curriculum.results.collecting import collect
from icl_curriculum.runs.checkpoints import load_model, usual_prompts
from icl_curriculum.runs.execution import execute
from icl_curriculum.shifts import Shift
from icl_curriculum.tasks import Task

POOLED: dict[str, Any] = {"name": "composition", "first_functions": 3, "second_functions": 3, "held_out": 0.34}
SHIFTS_OF_STEPS: list[Any] = [
    "steps_given", "steps_left_out",
    {"name": "other_functions", "id": "held_out_pairs", "function_class": {**POOLED, "pairs": "held_out"}},
]  # fmt: skip
STEPS: dict[str, Any] = {
    "function_classes": [{**POOLED, "id": "pairs"}],
    "evaluation.shifts": [*SHIFTS_OF_STEPS, "random_quadrants", "longer_prompts"],
    "evaluation.learning_shifts": ["steps_given"],
}


@pytest.fixture(scope="module")
def stepwise(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return executed(tmp_path_factory.mktemp("steps"), STEPS)


def test_the_tables_tell_given_predicted_and_left_out_apart(stepwise: Finished) -> None:
    table = stepwise.table("evaluation")
    assert {*table["function_class"]} == {"pairs"}
    own = table[(table["learner"] == "model") & (table["metric"] == "normalized_error")]
    assert [*own["shift"].unique()] == [
        "none", "steps_given", "steps_left_out", "held_out_pairs", "random_quadrants", "longer_prompts/2",
    ]  # fmt: skip
    inside = own[own["in_distribution"].astype(str).str.upper() == "TRUE"]
    assert {*inside["shift"]} == {"none"}
    assert [*own[own["shift"] == "longer_prompts/2"]["n_context"]] == [*range(9)]
    first = own[own["n_context"] == 3].set_index("shift")["value"]
    assert first["none"] != first["steps_given"]
    assert first["none"] != first["steps_left_out"]
    solved = table[(table["learner"] == "least_squares") & (table["metric"] == "normalized_error")]
    assert (solved[(solved["shift"] == "none") & (solved["n_context"] >= 2)]["value"] < 1e-4).all()
    learning = stepwise.table("learning")
    assert {*learning["shift"]} == {"none", "steps_given"}
    manifest = stepwise.manifest()
    assert len({*manifest["banks"].values()}) == len(manifest["banks"]) == 6


def test_the_model_of_a_run_predicts_its_own_steps(stepwise: Finished) -> None:
    model = load_model(stepwise.path)
    assert model.max_points == 2 * 15 - 1
    task = next(iter(stepwise.run.experiment.tasks().values()))
    table = stepwise.table("evaluation")
    own = table[(table["learner"] == "model") & (table["metric"] == "squared_error") & (table["shift"] == "none")]
    prompts = Bank(task, None, 16, 5, 0).draw()
    errors = (model.predict(prompts).double() - prompts.targets.double()).square().mean(dim=0)
    np.testing.assert_allclose(own["value"], errors, rtol=1e-6)
    (usual,) = usual_prompts(stepwise.run, model.max_points)
    assert usual.points == 9
    assert model.masked("1.1", by="mean").predict(prompts).isfinite().all()


def test_a_killed_run_resumes_to_the_same_bytes(tmp_path: Path, stepwise: Finished) -> None:
    with pytest.raises(Killed):
        execute(stepwise.run, tmp_path, report=killed_at("training", 6))
    execute(stepwise.run, tmp_path)
    assert_same_results(Finished(stepwise.run, tmp_path, []), stepwise)


def test_from_the_command_line(icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icl_curriculum.figures.drawing._drawn", lambda *about: [])
    monkeypatch.chdir(tmp_path)
    changes = {**STEPS, "variants": {"steps": {}, "none": {"function_classes": [{**POOLED, "show_steps": False}]}}}
    write_toml(tmp_path / "mine.toml", tiny_values(changes))
    runs = load("mine.toml")
    for run in runs:
        execute(run, tmp_path / "results")
    collect(tmp_path / "results/tiny", {run.variant: run.hash() for run in runs})
    table = pd.read_csv("results/tiny/evaluation.csv", keep_default_na=False)
    assert {*table[table["variant"] == "steps"]["shift"]} >= {"none", "steps_given", "steps_left_out"}
    assert not {"steps_given", "steps_left_out"} & {*table[table["variant"] == "none"]["shift"]}
    code, _, err = icl("evaluate", "results/tiny/steps-seed0", "--shift", "steps_given", "--adapt", "steps=1")
    assert code == 0, err
    found = pd.read_csv("results/tiny/steps-seed0/evaluate/evaluation.csv", keep_default_na=False)
    assert {*found["learner"]} >= {"model", "model/adapted=1"}
    asked = ("evaluate", "results/tiny/steps-seed0", "--shift", "steps_given")
    code, _, err = icl(*asked, "--adapt", "per_prompt,steps=1")
    assert code == 2
    assert "per_prompt leaves out pairs of x and y, and the pairs of these prompts have reasoning steps" in err
    # On prompts without steps both can be asked; on those with steps only who has read some.
    told = ("--function-class", "pairs", "--shift", "steps_left_out", "--n-prompts", "16", "--output", "results/scored")
    code, out, err = icl("score", "results/tiny/steps-seed0", "results/tiny/none-seed0", *told)
    assert code == 0, err
    scored = pd.read_csv("results/scored/evaluation.csv", keep_default_na=False)
    of_models = scored[scored["learner_kind"] == "model"][["run", "shift"]].drop_duplicates()
    assert {*of_models.itertuples(index=False, name=None)} == {
        ("tiny/steps-seed0", "none"), ("tiny/steps-seed0", "steps_left_out"), ("tiny/none-seed0", "steps_left_out"),
    }  # fmt: skip
    assert (
        "left out: tiny/none-seed0 was trained on no reasoning steps, and the prompts show 2 reasoning steps"
        in out + err
    )


def test_adapting_is_left_out_where_queries_stand_apart_and_that_is_said(tmp_path: Path) -> None:
    changes = {**STEPS, "evaluation.adapt": ["steps=1", "steps=2"], "evaluation.shifts": ["orthogonal_queries"]}
    run = tiny_run({**changes, "training.steps": 2})
    execute(run, tmp_path)
    finished = Finished(run, tmp_path, [])
    table = finished.table("evaluation")
    adapted = table[table["learner"].str.startswith("model/")]
    assert {*adapted["learner"]} == {"model/adapted=1", "model/adapted=2"}
    assert {*adapted["shift"]} == {"none"}
    said = (finished.path / "manifest.json").read_text()
    assert "the adaptation prompts have separate queries, whose reasoning steps are unknown" in said


def test_an_instruction_stands_before_the_steps(tmp_path: Path) -> None:
    run = tiny_run({"function_classes": ["composition"], "instruction.kind": "learned", "training.steps": 2})
    execute(run, tmp_path)
    model = load_model(Finished(run, tmp_path, []).path)
    prompts = bank_of("composition", n=3)
    task = replace(prompts.task, dims=2)
    told, untold = (
        model.predict(replace(replace(prompts, task=task).draw(), instruction=torch.full((3,), row))) for row in (0, -1)
    )
    assert told.isfinite().all()
    assert not torch.allclose(told, untold)


def test_an_old_config_is_what_it_was() -> None:
    shown = tiny_run({"function_classes": ["composition"]})
    assert tiny_run({"function_classes": [{"name": "composition", "show_steps": True}]}).hash() == shown.hash()
    assert tiny_run({"function_classes": [{"name": "composition", "show_steps": False}]}).hash() != shown.hash()
    assert "show_steps" not in json.dumps(tiny_run().experiment.deciding())
    assert "show_steps" not in json.dumps(shown.config())


ERRORS = {
    "classes with other numbers of steps": (
        {"function_classes": ["composition", "linear"]},
        "function_classes.1: 'linear' shows no reasoning steps, and 'composition' 2 reasoning steps; one model reads "
        "pairs of one length; set show_steps = false for the classes that have some",
    ),
    "adapting to each prompt": (
        {"function_classes": ["composition"], "evaluation.adapt": ["per_prompt,steps=1"]},
        "evaluation.adapt: per_prompt leaves out pairs of x and y, and the pairs of these prompts have reasoning steps",
    ),
    "positions that the model has not": (
        {"function_classes": ["composition"], "model.max_points": 5}, "model.max_points: 5 is less than the 15 points",
    ),
    "longer prompts than it reads": (
        {"function_classes": ["composition"], "model.max_points": 16, "evaluation.shifts": ["longer_prompts"]},
        "'longer_prompts/2' asks for prompts of 9 points with 2 reasoning steps each, so prompts of 27 points, the "
        "model reads at most 16; set model.max_points = 27",
    ),
    "no steps to leave out": (
        {"function_classes": [{"name": "linear", "show_steps": False}]},
        "show_steps: linear has no reasoning steps to leave out",
    ),
    "a composition of what has no number": (
        {"function_classes": [{"name": "composition", "first": "multiclass_linear"}]},
        "first: the labels of multiclass_linear/3 are 3 classes; expected numbers, which are the inputs of linear",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_what_cannot_be_is_one_message(case: str) -> None:
    changes, message = ERRORS[case]
    with pytest.raises(UserError) as caught:
        tiny_run(changes)
    assert message in str(caught.value)


PLUGIN = '''
import torch

from icl_curriculum import Baseline, FunctionClass, register_baseline, register_function_class


@register_function_class("halves")
class Halves(FunctionClass):
    """f(x) = w·x, in two steps."""

    n_steps = 2

    def sample(self, n, dims, generator):
        return {"w": torch.randn(n, dims, generator=generator, device=generator.device)}

    def evaluate(self, parameters, xs):
        return torch.einsum("npd,nd->np", xs, parameters["w"])

    def steps(self, parameters, xs):
        terms = xs * parameters["w"].unsqueeze(1)
        return torch.stack([terms[..., 0], terms[..., 1:].sum(dim=-1)], dim=-1)


@register_function_class("wrong_shape")
class WrongShape(Halves):
    """Steps of another number."""

    n_steps = 3


@register_function_class("no_number")
class NoNumber(Halves):
    """Steps that are no numbers."""

    def steps(self, parameters, xs):
        return super().steps(parameters, xs) / 0


@register_baseline("cheating")
class Cheating(Baseline):
    """Adds up the steps of its own query."""

    reads_steps = True

    def predict(self, prompts):
        return prompts.ys * 0 if prompts.steps is None else prompts.steps.sum(dim=-1)
'''


def test_plugins_are_held_to_what_they_may_know(fresh_registries: None, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    load_plugin(tmp_path / "mine.py")
    small = {"training.steps": 2, "evaluation.shifts": ["steps_given"]}
    execute(tiny_run({**small, "function_classes": ["halves"]}), tmp_path / "right")
    for spec, message in (
        ({"function_classes": ["wrong_shape"]}, r"'wrong_shape' .* steps returned shape \(2, 5, 2\), expected shape "),
        ({"function_classes": ["no_number"]}, "steps returned values that are not finite"),
        (
            {"function_classes": ["halves"], "evaluation.baselines": ["cheating"]},
            "'cheating' .* leaks: entry 0 changes by .* when its own label or its own steps change",
        ),
    ):
        with pytest.raises(Exception, match=message):
            execute(tiny_run({**small, **spec}), tmp_path / next(iter(spec["function_classes"])) / str(len(spec)))


def test_a_shift_must_give_as_many_steps() -> None:
    class Losing(Shift):
        """It loses the steps."""

        def draw(self, task: Task, n: int, points: int, streams: Any) -> Prompts:
            return replace(task.draw(n, points, streams), steps=None)

    class Adding(Shift):
        """It makes some."""

        def draw(self, task: Task, n: int, points: int, streams: Any) -> Prompts:
            return replace(task.draw(n, points, streams), steps=torch.zeros(n, points, 1))

    for shift, name, found in ((Losing(), "composition", "a NoneType"), (Adding(), "linear", "1 reasoning steps")):
        with pytest.raises(ComponentFailed, match=found):
            replace(bank_of(name), shift=shift).draw()


def test_scoring_says_how_long_prompts_are(stepwise: Finished) -> None:
    task = next(iter(stepwise.run.experiment.tasks().values()))
    with pytest.raises(UserError, match="prompts of 10 points with 2 reasoning steps each, the model reads at most 29"):
        icl_package.score([stepwise.path], task, shifts=[SHIFTS.build("steps_given")], points=10)  # type: ignore[list-item]
