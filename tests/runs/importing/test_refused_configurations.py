"""A configuration that says something else, too much or the impossible is refused in one message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import BHASIN, GARG, changed, foreign_weights, write_state
from tiny_runs import Icl

NAN = torch.full((8,), torch.nan)


def model(**keys: Any) -> dict[str, Any]:
    return {**GARG, "model": {**GARG["model"], **keys}}


def tasks(**arguments: Any) -> dict[str, Any]:
    return changed(BHASIN, task_kwargs={"task_0": arguments})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (model(n_head=3), "n_head: 3 heads do not divide the width of the weights, 8"),
        (model(n_head="two"), "model.n_head: expected a whole number from 1, found 'two'"),
        (model(n_layer=True), "model.n_layer: expected a whole number from 1, found True"),
        (model(family="lstm"), "model.family: expected gpt2, found 'lstm'"),
        ({**GARG, "n_head": 4}, "n_head: found n_head = 4 and model.n_head = 2; expected one of them alone"),
        (
            changed(GARG, task="seq_linear"),
            "training.task: no counterpart of 'seq_linear' here; known: decision_tree, hermite_regression, "
            "linear_classification, linear_regression, noisy_linear_regression, quadratic_regression, "
            "relu_2nn_regression, sparse_linear_regression; --function-class CLASS says what stands for it here",
        ),
        (
            changed(GARG, task="linear_regresion"),
            "training.task: no counterpart of 'linear_regresion' here; did you mean 'linear_regression'?; "
            "--function-class CLASS says what stands for it here",
        ),
        (changed(GARG, task=None), "task: expected the task that the model was trained on; --function-class CLASS"),
        (
            changed(GARG, task_kwargs={"scale": 2}),
            "training.task, scale: expected 1, for linear_regression (--function-class CLASS says what stands for it "
            "here), found 2",
        ),
        (
            changed(GARG, task_kwargs={"sparsity": 2}),
            "training.task, sparsity: expected no such argument, for linear_regression (",
        ),
        (
            changed(GARG, task="decision_tree", task_kwargs={"depth": "deep"}),
            "training.task, depth: expected a number, found 'deep'",
        ),
        (changed(GARG, data="sobol"), "training.data: no counterpart of 'sobol' here; known: cauchy, gaussian, "),
        (changed(GARG, data=None), "data: expected the inputs that the model was trained on; --inputs INPUTS says"),
        (
            changed(GARG, curriculum={"points": {"end": 13}}),
            "curriculum.points.end: expected from 2 to 12 points, which the positions allow, found 13",
        ),
        (
            changed(GARG, curriculum={"points": {"end": "all"}}),
            "training.curriculum.points.end: expected a whole number from 1, found 'all'",
        ),
        (changed(GARG, curriculum={"points": 7}), "training.curriculum.points: expected a table, found 7"),
        (changed(GARG, learning_rate=-1), "training.learning_rate: expected a positive number, found -1"),
        (changed(BHASIN, n_points=1), "n_points: expected from 2 to 12 points, which the positions allow, found 1"),
        (
            changed(BHASIN, task_schedule="backwards"),
            "training.task_schedule: expected sequential or random or mixed_sequential, found 'backwards'",
        ),
        (tasks(degree=2), "training.task_kwargs.task_0.task: expected a name, found None"),
        (
            changed(BHASIN, task_kwargs={"first": {"task": "hermite_regression"}}),
            "training.task_kwargs.first: expected tables task_0, task_1, ..., found {'task': 'hermite_regression'}",
        ),
        (
            changed(tasks(task="decision_tree"), weight_type="normalized"),
            "training.weight_type: expected standard, for the task decision_tree (--function-class CLASS says what",
        ),
        (
            changed(BHASIN, data_kwargs={"data_0": {"data": "laplace", "type": "skewed"}}),
            "training.data_kwargs.data_0.data: expected gaussian, for skewed inputs (--inputs INPUTS says what stands",
        ),
        (["model"], ": expected the tables of a configuration, such as model, found ['model']"),
    ],
)  # fmt: skip
def test_configurations_that_say_something_else_or_too_much(
    config: Any, message: str, icl: Icl, tmp_path: Path
) -> None:
    folder = write_state(tmp_path / "theirs", foreign_weights(), config)
    code, out, err = icl("import", folder, "--results", tmp_path / "results")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {folder / 'config.yaml'}: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "results").exists()


PROMPT = {"encoding": "dynamic", "type": "task", "position": 0}


@pytest.mark.parametrize(
    ("keys", "options", "message"),
    [
        (
            {"prompt_type": "model_one"}, (),
            "{config}: training.prompt_type: found 'model_one', which tells nothing certain of the tokens before a "
            "prompt; expected standard, model_two, model_three, model_four",
        ),
        (
            {"prompt_type": "model_four", "prompt_kwargs": PROMPT}, (),
            "model_four puts a preset vector before every prompt, read from a file for each function class, as "
            "instruction/linear_instruction.pt of their code; give 2 times --instruction-file FILE, in the order of "
            "their rows, found 0",
        ),
        (
            {"prompt_type": "model_four"}, (),
            "model_four puts a preset vector before every prompt, read from a file for each input distribution, as "
            "instruction/linear_instruction.pt of their code; give 1 times --instruction-file FILE, in the order of "
            "their rows, found 0",
        ),
        (
            {"prompt_type": "model_two", "prompt_kwargs": {**PROMPT, "position": 3}}, (),
            "{config}: training.prompt_kwargs.position: expected 0, found 3",
        ),
        (
            {"prompt_type": "model_two", "prompt_kwargs": {**PROMPT, "encoding": "odd"}}, (),
            "{config}: training.prompt_kwargs.encoding: expected static or dynamic, found 'odd'",
        ),
        (
            {
                "prompt_type": "model_two",
                "data_kwargs": {"data_0": {"data": "gaussian"}, "data_1": {"data": "laplace"}},
            }, (),
            "{config}: prompt_kwargs: every prompt began with the same token, whatever its class and its inputs, and "
            "with several of both no instruction here is like that",
        ),
        (
            {"prompt_type": "model_two", "prompt_kwargs": PROMPT}, ("--function-class", "linear"),
            "--function-class: the instruction has a row for each of the 2 in {config}; give as many, in their order, "
            "found 1",
        ),
        (
            {}, ("--prompt-type", "model_two"),
            "--prompt-type model_two: {config} says training.prompt_type = 'standard'; leave the option out",
        ),
        (
            {}, ("--instruction-file", "some.pt"),
            "--instruction-file: the model reads no preset instruction, its prompt_type is standard",
        ),
        (
            {"prompt_type": "model_three", "prompt_kwargs": PROMPT, "n_points": 12}, (),
            "{config}: n_points: expected from 2 to 11 points, which the positions allow, found 12",
        ),
    ],
    ids=[
        "unknown", "no files", "one file", "in the middle", "encoding", "always the same", "fewer classes",
        "contradicted", "files for nothing", "no room",
    ],
)  # fmt: skip
def test_instructions_that_cannot_be_had(
    keys: dict[str, Any], options: tuple[str, ...], message: str, icl: Icl, tmp_path: Path
) -> None:
    """Without them, every one of the model's tokens would stand at another's position."""
    folder = write_state(tmp_path / "theirs", foreign_weights(), changed(BHASIN, **keys))
    code, out, err = icl("import", folder, "--results", tmp_path / "results", *options)
    assert (code, out) == (2, "")
    assert err == f"error: {message.format(config=folder / 'config.yaml')}\n"


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (torch.ones(7), "expected a vector of 8 numbers, as wide as the model, found shape (7,)"),
        ({"w": torch.ones(8)}, "expected a vector of 8 numbers, as wide as the model, found a dict"),
        (NAN, "holds values that are not finite"),
        (b"", "is damaged, or no checkpoint of torch's"),
    ],
    ids=["another width", "no vector", "not finite", "damaged"],
)
def test_files_that_hold_no_instruction(vector: Any, message: str, icl: Icl, tmp_path: Path) -> None:
    folder = write_state(tmp_path / "theirs", foreign_weights(), changed(BHASIN, prompt_type="model_four"))
    file = tmp_path / "linear_instruction.pt"
    if isinstance(vector, bytes):
        file.write_bytes(vector)
    else:
        torch.save(vector, file)
    code, _, err = icl("import", folder, "--instruction-file", file)
    assert code == 2
    assert err.startswith(f"error: {file}")
    assert message in err


def test_layers_beyond_all_memory_are_refused_at_the_first_that_is_missing(icl: Icl, tmp_path: Path) -> None:
    folder = write_state(tmp_path / "theirs", foreign_weights(), model(n_layer=2**62))
    code, _, err = icl("import", folder)
    assert code == 2
    assert "state.pt: _backbone.h.2.ln_1.weight: expected among the weights of the 4611686018427387904 layers" in err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model: [1, 2", "expected ',' or ']', but got '<stream end>'"),
        ("model: !!python/object/apply:os.getcwd []", "could not determine a constructor for the tag"),
        ("model: !munch.Munch {}", "could not determine a constructor for the tag '!munch.Munch'"),
        ("a: " + "[" * 600, ""),
        ("a: 2020-99-99", "ValueError"),
        ("\x00", ""),
    ],
    ids=["damaged", "code", "an object", "deep", "an impossible date", "binary"],
)
def test_a_configuration_that_is_no_yaml_of_plain_values(text: str, reason: str, icl: Icl, tmp_path: Path) -> None:
    folder = write_state(tmp_path / "theirs", foreign_weights())
    (folder / "config.yaml").write_text(text)
    code, _, err = icl("import", folder)
    assert code == 2
    assert err.startswith(f"error: {folder / 'config.yaml'}: not a valid YAML file of plain values: ")
    assert reason in err


def test_a_file_of_aliases_of_aliases_is_read_at_once(icl: Icl, tmp_path: Path) -> None:
    folder = write_state(tmp_path / "theirs", foreign_weights())
    levels = [f"a{i}: &a{i} {{x: *a{i - 1}, y: *a{i - 1}}}" for i in range(1, 60)]
    (folder / "config.yaml").write_text("\n".join(["a0: &a0 {n_head: 3}", *levels]))
    options = ("--function-class", "linear", "--inputs", "gaussian")
    code, _, err = icl("import", folder, *options)
    assert code == 2
    assert err.endswith("config.yaml: n_head: 3 heads do not divide the width of the weights, 8\n")
