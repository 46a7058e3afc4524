"""Prompts of another form than a model was built for are refused in its words, not in torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from icl_curriculum import Prompts, Streams, Task, UserError
from icl_curriculum.models import Model, ModelConfig, TransformerConfig, build_model, head_scores

CONFIG = TransformerConfig(width=8, layers=1, heads=2, tokens="alternate")


def drawn(name: str, dims: int, points: int = 5) -> Prompts:
    return Task(name, "gaussian", dims=dims).draw(2, points, Streams(seed=0, name="test"))


@pytest.fixture
def model() -> Model:
    generator = torch.Generator().manual_seed(0)
    return build_model(CONFIG, dims=2, points=5, generator=generator, instruction=None)


OTHER: dict[str, tuple[Callable[[Model], Any], str]] = {
    "dims": (lambda model: model.predict(drawn("linear", 3)), "prompts with inputs of 3 numbers; .* built for 2"),
    "one": (lambda model: model.predict(drawn("linear", 1)), "prompts with inputs of 1 number; .* built for 2"),
    "labels": (lambda model: model.predict(drawn("linear_map", 2)), "prompts with labels of 2 numbers; .* built for 1"),
    "points": (lambda model: model.predict(drawn("linear", 2, 90)), "prompts of 90 points, the model reads at most"),
    "no prompts": (lambda model: model.predict("linear"), "expected Prompts, as Task.draw gives them, found 'linear'"),
    "heads": (lambda model: head_scores(model, drawn("linear", 3)), "prompts with inputs of 3 numbers"),
    "masked": (lambda model: model.masked("start", n=1, prompts=drawn("linear", 3)), "with inputs of 3 numbers"),
    "adapted": (
        lambda model: model.adapted("steps=1,rate=0.1,prompts=2", prompts=drawn("linear", 3)), "inputs of 3 numbers"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHER)
def test_other_prompts_are_one_message(model: Model, case: str) -> None:
    ask, message = OTHER[case]
    with pytest.raises(UserError, match=message):
        ask(model)


def test_the_forward_pass_says_it_too(model: Model) -> None:
    prompts = drawn("linear", 3)
    with pytest.raises(ValueError, match="inputs of 3 numbers; the model was built for 2"):
        model(prompts.xs, prompts.ys)


def test_models_of_plugins_are_spared_wrong_prompts() -> None:
    """Whoever calls `build_model` need not look at the dimensions; a model that is made otherwise looks itself."""

    class Zeros(Model):
        def forward(self, xs: Any, ys: Any, queries: Any = None) -> Any:
            return torch.zeros_like(ys)

    class ZerosConfig(ModelConfig):
        """Zeros."""

        def build(self, *, dims: int, points: int, generator: torch.Generator) -> Model:
            zeros = Zeros()
            zeros.max_points = points
            zeros.weight = torch.nn.Parameter(torch.zeros(1))
            return zeros

    config = ZerosConfig()
    generator = torch.Generator().manual_seed(0)
    built = build_model(config, dims=2, points=5, generator=generator, instruction=None)
    assert built.predict(drawn("linear", 2)).shape == (2, 5)
    with pytest.raises(UserError, match="inputs of 3 numbers"):
        built.predict(drawn("linear", 3))
    assert config.build(dims=2, points=5, generator=generator).predict(drawn("linear", 3)).shape == (2, 5)


def test_a_task_takes_names_ids_and_tables() -> None:
    task = Task("hermite/2", {"name": "student_t", "df": 5.0}, 1)
    assert (task.function_class.id, task.inputs.id) == ("hermite/2", "student_t/df=5")
    built = Task(task.function_class, task.inputs, 1)
    assert built == task
    streams = Streams(seed=3, name="test")
    assert torch.equal(built.draw(3, 4, streams).ys, task.draw(3, 4, streams).ys)


def test_tasks_prompts_and_models_are_shown_in_a_line(model: Model) -> None:
    task = Task("hermite/2", "student_t/df=5", 1, label_noise=0.5)
    assert repr(task) == "Task('hermite/2', 'student_t/df=5', dims=1, label_noise=0.5)"
    assert eval(repr(task)) == task
    assert repr(drawn("linear", 2)) == "Prompts(2 of 5 points in 2 dimensions, linear, gaussian inputs)"
    assert repr(drawn("linear_map", 2)).endswith("labels of 2 numbers)")
    number = sum(parameter.numel() for parameter in model.parameters())
    longest = model.max_points
    assert repr(model) == f"Transformer({number:,} parameters, prompts of up to {longest} points, 2 dimensions)"
