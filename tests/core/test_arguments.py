"""Numbers of numpy and paths of any kind are taken, and what cannot be meant is one message that names the argument."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import class_of, inputs_of, shift_of
from tiny_runs import TINY, write_toml

import icl_curriculum as icl
from icl_curriculum.config.experiment import Run
from icl_curriculum.core.arguments import as_path, as_paths, as_texts, plain, whole_number


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    return write_toml(tmp_path / "my.toml", TINY)


def named(runs: list[Run]) -> list[tuple[str, str]]:
    return [(run.name, run.hash()) for run in runs]


def test_seeds_of_every_kind_are_the_same_runs(experiment: Path) -> None:
    usual = named(icl.load(str(experiment), seeds=[0, 1]))
    for seeds in (np.arange(2), range(2), (0, 1), np.array([0, 1], dtype=np.int32), iter([0, 1]), [np.int64(0), 1]):
        assert named(icl.load(experiment, seeds=seeds)) == usual
    assert named(icl.load(str(experiment).encode(), seeds=range(2))) == usual  # type: ignore[arg-type]
    one = icl.load(np.str_(experiment), overrides="dims=3")[0].experiment
    assert one.dims == 3


def test_components_take_numbers_of_numpy() -> None:
    assert class_of({"name": "hermite", "degree": np.int64(3)}).id == "hermite/3"
    made = type(class_of("hermite"))(degree=np.int8(3))  # type: ignore[call-arg]
    assert type(made.degree) is int  # type: ignore[attr-defined]
    assert shift_of({"name": "scaled_inputs", "factor": np.float64(2)}).id == "scaled_inputs/2"


def test_tasks_and_streams_take_numbers_of_numpy() -> None:
    task = icl.Task(class_of("linear"), inputs_of("gaussian"), 3)
    usual = task.draw(4, 5, icl.Streams(1, "x", 2))
    same = icl.Task(task.function_class, task.inputs, np.int64(3)).draw(
        np.int64(4), np.int32(5), icl.Streams(np.int64(1), "x", np.uint8(2))
    )
    assert same.xs.equal(usual.xs)
    scored = icl.score("ridge", task, n_prompts=4, points=3, costly_prompts=2)
    assert icl.score(
        np.array(["ridge"]), task, n_prompts=np.int64(4), points=np.int64(3), costly_prompts=np.int64(2), shifts=()
    ).equals(scored)


TASK = icl.Task(class_of("linear"), inputs_of("gaussian"), 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: icl.load("smoke", seeds=3), r"seeds: expected several whole numbers, as in \[0, 1, 2\], found 3"),
        (lambda: icl.load("smoke", seeds=np.ones(2)), r"seeds.0: expected a whole number, found 1.0"),
        (lambda: icl.load("smoke", seeds="0,1"), "seeds: expected several whole numbers"),
        (lambda: icl.load("smoke", overrides={"dims": 3}), "overrides: expected a list, found {'dims': 3}"),
        (lambda: icl.load("smoke", overrides=[3]), "overrides: expected texts, found 3"),
        (lambda: icl.load(3), "experiment: expected a path, found 3"),
        (lambda: icl.run("smoke", jobs=-1), "jobs: expected a whole number of at least 0, found -1"),
        (lambda: icl.run("smoke", jobs=2.0), "jobs: expected a whole number of at least 0, found 2.0"),
        (lambda: icl.run("smoke", device=None), "device 'None': not on this machine"),
        (lambda: icl.Task(3, TASK.inputs, 3), 'function_class: expected a FunctionClass, such as "linear"'),
        (lambda: icl.Task("linaer", "gaussian", 3), r"function_class: unknown function class 'linaer'; did you mean"),
        (lambda: icl.Task("linear", "gausian", 3), r"inputs: unknown input distribution 'gausian'; did you mean"),
        (lambda: icl.Task("hermite/degre=3", "gaussian", 1), "function_class: hermite: degre: unknown parameter; did"),
        (lambda: icl.Task({"name": "hermite", "degree": "x"}, "gaussian", 1), "hermite: degree: .*found 'x'"),
        (lambda: icl.Task("linear", {"nam": 3}, 1), "inputs: an input distribution is a name or a table with a 'name'"),
        (lambda: TASK.draw(4, 5, "mine"), r'streams: expected Streams\(seed=7, name="mine"\), found \'mine\''),
        (lambda: TASK.draw(4, 2.5, icl.Streams(1, "x")), "points: expected a whole number of at least 1, found 2.5"),
        (lambda: TASK.draw("4", 2, icl.Streams(1, "x")), "n: expected a whole number of at least 0, found '4'"),
        (
            lambda: icl.Task(TASK.function_class, TASK.inputs, 3.0),
            "dims: expected a whole number of at least 1, found 3",
        ),
        (lambda: icl.Streams(0.5, "x").generator("x"), "seed or index of a stream: expected a whole number, found 0.5"),
        (
            lambda: icl.score("ridge", TASK, n_prompts=0),
            "n_prompts: expected a whole number from 2 to 1000000, found 0",
        ),
        (lambda: icl.score("ridge", TASK, points="5"), "points: expected a whole number from 2 to 1000000, found '5'"),
        (lambda: icl.score("ridge", TASK, shifts=["skwed"]), "shifts: unknown shift 'skwed'; did you mean 'skewed'"),
        (lambda: icl.score("ridge", TASK, shifts=TASK), "shifts: expected"),
        (lambda: icl.score("ridge", "linear"), "tasks: expected tasks, such as"),
        (lambda: icl.score("ridge", TASK, confidence=2), "confidence: expected a number between 0 and 1, found 2"),
        (lambda: icl.load_model("nowhere", "3"), "step: expected a whole number, found '3'"),
        (lambda: icl.import_checkpoint("nowhere", seed=-1), "seed: expected a whole number of at least 0, found -1"),
    ],
)
def test_what_cannot_be_meant_is_one_message(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(icl.UserError, match=message):
        call()


def test_the_helpers_leave_what_is_right_and_make_the_rest_plain() -> None:
    assert plain({"a": [np.float32(0.5), (np.bool_(True), "x")]}) == {"a": [0.5, (True, "x")]}
    assert whole_number(np.int64(3), "dims") == 3
    assert as_path(b"r\xe9", "results") == Path("r\udce9")
    assert as_paths("a.py", "plugins") == [Path("a.py")]
    assert as_texts(("a", np.str_("b")), "log") == ["a", "b"]
