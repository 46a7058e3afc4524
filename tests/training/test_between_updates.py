"""Models that are told the step before every update, and after it: schedules, drop-out, costs that change."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import Finished, assert_same_results
from tiny_runs import Killed, killed_at, tiny_run
from torch import Tensor, nn

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.registry import MODELS
from icl_curriculum.models import Model, ModelConfig
from icl_curriculum.runs.execution import execute
from icl_curriculum.training import Trainer
from icl_curriculum.training.balance import N_PROMPTS

#: What a test's model was told: (the step, the steps, a first random number), and "after".
told: list[object] = []


class Growing(Model):
    """Layers that join one after another; half of the units are dropped."""

    max_points = 1000

    def __init__(self, dims: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layers = nn.ParameterList(torch.randn(2 * dims, 2 * dims, generator=generator) for _ in range(3))
        self.register_buffer("used", torch.tensor(1))
        self.register_buffer("kept", torch.ones(2 * dims))

    def forward(self, xs: Tensor, ys: Tensor, queries: Tensor | None = None) -> Tensor:
        products = xs * ys.unsqueeze(-1)
        hidden = torch.cat([xs if queries is None else queries, products.cumsum(dim=1) - products], dim=-1)
        for number in range(int(self.used)):
            hidden = hidden + (hidden @ self.layers[number]).tanh() * self.kept
        return hidden.sum(dim=-1)

    def before_update(self, step: int, steps: int, generator: torch.Generator) -> None:
        drawn = torch.rand(self.kept.shape, generator=generator)
        told.append((step, steps, float(drawn[0])))
        self.used.fill_(1 + 3 * step // steps)
        self.kept.copy_(2 * (drawn > 0.5))

    def after_update(self) -> None:
        told.append("after")
        self.kept.fill_(1)

    def cost_key(self) -> int:
        return int(self.used)


class GrowingConfig(ModelConfig):
    """Layers that join."""

    def build(self, *, dims: int, points: int, generator: torch.Generator) -> Model:
        return Growing(dims, generator)


@pytest.fixture(autouse=True)
def _growing(fresh_registries: None) -> None:
    MODELS.of(ModelConfig)("growing_in_a_test")(GrowingConfig)
    told.clear()


def growing_run(**changes: Any) -> Run:
    run = tiny_run({"function_classes": ["linear"], **changes})
    experiment = run.experiment.model_copy(update={"model": GrowingConfig()})
    return Run(experiment, run.variant, run.seed)


def test_it_is_told_every_step_and_its_end_with_random_numbers_of_the_step() -> None:
    for _ in range(2):
        trainer = Trainer(growing_run())
        for _ in range(3):
            trainer.update()
    steps = [item for item in told if item != "after"]
    assert [item[:2] for item in steps] == [(step, 12) for step in (0, 1, 2)] * 2  # type: ignore[index]
    assert steps[:3] == steps[3:]
    assert len({item[2] for item in steps}) == 3  # type: ignore[index]
    assert told[1::2] == ["after"] * 6
    assert trainer.model.kept.eq(1).all()


def test_operations_are_counted_anew_where_the_cost_changes() -> None:
    trainer, flops = Trainer(growing_run()), [0]
    for _ in range(12):
        trainer.update()
        flops.append(sum(trainer.flops.values()))
    each = [after - before for before, after in itertools.pairwise(flops)]
    assert each == [share * each[0] for share in [1] * 4 + [2] * 4 + [3] * 4]


def test_what_is_measured_before_an_update_is_counted_as_the_model_was_then(monkeypatch: pytest.MonkeyPatch) -> None:
    def put_back(self: Growing) -> None:
        self.used.fill_(3)

    monkeypatch.setattr(Growing, "after_update", put_back)
    trainer = Trainer(growing_run(**{"training.positions": "balanced"}))
    forward = trainer.forward_operations(trainer.plan.points)
    trainer.update()
    assert sum(trainer.flops.values()) == (3 * trainer.config.batch_size + N_PROMPTS) * forward


def test_killed_and_resumed_it_ends_at_the_same_bytes(tmp_path: Path) -> None:
    run = growing_run()
    whole = Finished(run, tmp_path / "whole", [])
    execute(run, whole.results)
    for step in (4, 8):
        with pytest.raises(Killed):
            execute(run, tmp_path / "killed", report=killed_at("training", step))
    execute(run, tmp_path / "killed")
    assert_same_results(Finished(run, tmp_path / "killed", []), whole)


def test_a_cost_that_can_be_no_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Growing, "cost_key", lambda self: [int(self.used)])
    with pytest.raises(ComponentFailed, match=r"cost_key returned a list, expected what can be a key, as a number"):
        Trainer(growing_run()).update()


def test_a_model_of_a_plugin_may_have_a_field_called_initial() -> None:
    class Own(GrowingConfig):
        """Its field has nothing to do with weights."""

        initial: float = 0.5  # type: ignore[assignment]

    run = growing_run()
    experiment = run.experiment.model_copy(update={"model": Own()})
    assert Own().starts_from is None
    experiment.check()
    assert Trainer(Run(experiment, run.variant, run.seed)).step == 0
