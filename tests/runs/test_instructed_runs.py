"""Runs with instruction tokens: interrupted and resumed, evaluated, loaded and asked, and known by their keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from finished_runs import Finished, assert_same_results, executed, weights
from places import SUPPORT
from tiny_runs import Killed, killed_at, tiny_run

from icl_curriculum import load_model
from icl_curriculum.config.loading import read_toml
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.streams import Streams
from icl_curriculum.models.instructions import NEUTRAL
from icl_curriculum.runs.execution import execute, is_finished
from icl_curriculum.shifts.queries import OppositeQuadrants
from icl_curriculum.training import Trainer

QUICK = {"evaluation.baselines": [], "evaluation.shifts": ["opposite_quadrants"], "training.learning_every": 12}
CASES: dict[str, dict[str, Any]] = {
    "one_hot": {
        "instruction.kind": "one_hot", "curriculum.draw": "prompt", "curriculum.function_classes": "random",
    },
    "preset": {"instruction.kind": "preset", "instruction.tokens": 2, "model.tokens": "alternate"},
    "learned": {
        "instruction": {"kind": "learned", "tokens": 2, "of": "inputs"}, "inputs": ["gaussian", "skewed"],
        "training.method": {"name": "two_loops", "inner_steps": 2}, "plugins": [str(SUPPORT / "two_loops.py")],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    return {}


@pytest.fixture
def whole(
    request: pytest.FixtureRequest, fresh_registries: None, tmp_path_factory: pytest.TempPathFactory,
    finished: dict[str, Finished],
) -> Finished:  # fmt: skip
    loaded = load_plugin(SUPPORT / "two_loops.py")
    kind = request.param
    if kind not in finished:
        run = tiny_run({**QUICK, **CASES[kind]})
        run = replace(run, plugin_hashes=(loaded,) if run.experiment.plugins else ())
        finished[kind] = Finished(run, tmp_path_factory.mktemp(kind), [])
        execute(run, finished[kind].results)
    return finished[kind]


def of(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("whole", kinds, indirect=True)


@of(*CASES)
def test_killed_and_resumed_a_run_ends_at_the_same_bytes(whole: Finished, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        execute(whole.run, tmp_path, report=killed_at("training", 8))
    execute(whole.run, tmp_path)
    assert_same_results(Finished(whole.run, tmp_path, []), whole)


@of(*CASES)
def test_it_is_evaluated_with_separate_queries_too(whole: Finished) -> None:
    table = whole.table("evaluation").query("learner_kind == 'model'")
    assert set(table["shift"]) == {"none", "opposite_quadrants"}
    assert table["value"].notna().all()


@of("preset", "learned")
def test_a_loaded_model_is_told_what_prompts_are_of_and_the_neutral_instruction_for_what_it_does_not_know(
    whole: Finished,
) -> None:
    model, tasks = load_model(whole.path), whole.run.experiment.tasks()
    assert model.instruction is not None
    by_class = model.instruction.of == "function_class"
    for cell, task in tasks.items():
        plain = task.draw(4, 5, Streams(0, "asked", 0))
        separate = OppositeQuadrants().draw(task, 4, 5, Streams(0, "asked", 1))
        for prompts in (plain, separate):
            wrong = {"function_class": "a stranger"} if by_class else {"input_distribution": "a stranger"}
            rows = [(prompts, model.instruction.names.index(cell[0 if by_class else 1]))]
            rows += [(replace(prompts, **wrong), NEUTRAL)]
            rows += [(replace(prompts, instruction=torch.full((4,), row)), row) for row in (0, 1, NEUTRAL)]
            found = []
            for asked, row in rows:
                with torch.no_grad():
                    wanted = model(asked.xs, asked.ys, asked.queries, instruction=torch.full((4,), row))
                found.append(model.predict(asked))
                torch.testing.assert_close(found[-1], wanted)
            assert (found[0] - found[1]).abs().max() > 1e-4
            assert (found[2] - found[3]).abs().max() > 1e-4


@of("preset", "learned")
def test_preset_vectors_stay_as_they_were_drawn_and_learned_ones_move(whole: Finished) -> None:
    """The file holds them: a loaded model was built by another generator."""
    drawn = Trainer(whole.run).model.state_dict()["instruction_vectors"]
    saved = weights(whole)["instruction_vectors"]
    assert torch.equal(load_model(whole.path).state_dict()["instruction_vectors"], saved)
    assert torch.equal(drawn, saved) == (whole.run.experiment.instruction.kind == "preset")
    assert torch.equal(drawn[:, 0], drawn[:, -1]) == (drawn.shape[1] == 1)


@of("one_hot")
def test_every_prompt_of_a_batch_is_told_its_own_class(whole: Finished) -> None:
    session = Trainer(whole.run).session()
    told = {portion.cell[0]: portion.prompts.instruction for portion in session.batch()}
    assert len(told) == 2
    for row, name in enumerate(("linear", "quadratic")):
        assert told[name] is not None
        assert set(told[name].tolist()) == {row}  # type: ignore[union-attr]


# A run of a version that knew no instructions


@pytest.fixture
def from_before(tmp_path: Path) -> Finished:
    run = executed(tmp_path, {**QUICK, "evaluation.shifts": []})
    file = run.path / "config.toml"
    values = read_toml(file)
    del values["instruction"]
    file.write_text(tomli_w.dumps(values), encoding="utf-8")
    return run


def test_a_run_from_before_instructions_is_the_same_run_and_only_what_changed_is_named(from_before: Finished) -> None:
    unchanged: dict[str, Any] = {**QUICK, "evaluation.shifts": []}
    assert is_finished(tiny_run(unchanged), from_before.results)
    for changes, keys in (
        ({"training.batch_size": 9}, "training.batch_size"),
        ({"instruction.kind": "one_hot"}, "instruction.kind"),
        ({"instruction.kind": "preset", "instruction.tokens": 3}, "instruction.kind, instruction.tokens"),
    ):
        with pytest.raises(UserError) as refused:
            is_finished(tiny_run({**unchanged, **changes}), from_before.results)
        assert f"changed: {keys}. " in str(refused.value)
