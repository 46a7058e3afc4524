"""The shards of an update decide what is trained, and how many processes share them out decides nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pretended_crew import trained_by
from tiny_runs import tiny_run
from torch import Tensor, nn

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import RunFailed
from icl_curriculum.models import Model, ModelConfig
from icl_curriculum.training import Trainer
from icl_curriculum.training.shards import Shards

MAML = {"model.attention": "plain", "training.batch_size": 16}
#: Changes of a tiny run with four shards of eight prompts, or of four tasks.
RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "several cells, and shards of other sizes": {"curriculum.draw": "prompt", "training.batch_size": 10},
    "positions that count": {"training.positions": [0, 1, 2, 0, 1], "training.shortest_prompt": 3},
    "balanced positions": {"training.positions": "balanced"},
    "fixed prompts": {"training.fixed_prompts": 9},
    "instruction": {"instruction.kind": "learned"},
    "classes": {
        "function_classes": [{"name": "multiclass_linear", "n_classes": 3}], "training.loss": "cross_entropy",
        "evaluation.baselines": ["zero"], "evaluation.shifts": [],
    },
    "adaptive": {"curriculum.function_classes": "bandit", "curriculum.draw": "prompt"},
    "last position": {"training.method": "meta_icl"},
    "maml": {"training.method": "maml", **MAML},
    "fomaml": {
        "training.method": {"name": "fomaml", "inner_rule": "shared_adam"}, **MAML, "training.optimizer.name": "adam",
    },
    "reptile": {"training.method": {"name": "reptile", "inner_steps": 2}, **MAML},
}  # fmt: skip


@pytest.mark.parametrize("changes", RUNS.values(), ids=RUNS)
def test_any_number_of_processes_comes_to_the_same_bits(changes: dict[str, Any]) -> None:
    """One of three has two of the four shards, and a process by itself has all of them."""
    run = tiny_run({"training.shards": 4, **changes})
    expect_equal(run, 3)


def test_each_of_four_processes_has_a_shard_and_each_of_two_has_two() -> None:
    run = tiny_run({"training.shards": 4})
    expect_equal(run, 4)
    expect_equal(run, 2)


def expect_equal(run: Run, processes: int) -> None:
    """Weights, states and losses of all are those of one process, bit by bit."""
    alone = Trainer(run)
    losses = [repr(alone.update().losses) for _ in range(2)]
    told: dict[int, list[str]] = {rank: [] for rank in range(processes)}
    trainers = trained_by(run, processes, updates=2, after=lambda update, rank: told[rank].append(repr(update.losses)))
    assert list(told.values()) == [losses] * processes
    for trainer in trainers:
        assert repr(trainer.state_dict()) == repr(alone.state_dict())
        weights = trainer.model.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in alone.model.state_dict().items())


@pytest.mark.parametrize("name", ["several cells, and shards of other sizes", "last position", "maml", "reptile"])
def test_shards_add_up_to_the_gradient_of_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[dict[str, Tensor]] = []
    losses = []
    for shards in (1, 4):
        trainer = Trainer(tiny_run({**RUNS[name], "training.shards": shards}))
        monkeypatch.setattr(
            trainer.optimizers, "step",
            lambda factor, model=trainer.model: found.append(
                {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
            ) or model.zero_grad(),
        )  # fmt: skip
        losses.append({(loss.role, loss.cell): loss.value for loss in trainer.update().losses})
    torch.testing.assert_close(found[1], found[0], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(losses[1], losses[0])


def test_each_update_sends_gradients_once() -> None:
    """As one tensor, not parameter by parameter."""
    for trainer in trained_by(tiny_run({"training.shards": 4}), 2, updates=3):
        assert trainer.shards.crew.sent == ["numbers", "gradients"] * 3  # type: ignore[union-attr]


def test_rows_that_cannot_be_divided() -> None:
    assert [(part.start, part.stop) for part in Shards(4).rows(10)] == [(0, 3), (3, 6), (6, 8), (8, 10)]
    with pytest.raises(ValueError, match="3 processes for 2 shards: each needs one of its own"):
        trained_by(tiny_run({"training.shards": 2}), 3, updates=1)


class Halves(Model):
    """Predicts by one weight where a prompt begins on the left, by another where it begins on the right."""

    def __init__(self) -> None:
        super().__init__()
        self.max_points = 100
        self.weights = nn.ParameterList(nn.Parameter(torch.zeros(2)) for _ in range(3))
        self.register_buffer("asked", torch.zeros(()))
        self.register_buffer("kept", torch.ones(2))
        self.counts = False

    def before_update(self, step: int, steps: int, generator: torch.Generator) -> None:
        self.kept.copy_(torch.rand(2, generator=generator))

    def forward(self, xs: Tensor, ys: Tensor, queries: Tensor | None = None) -> Tensor:
        if self.counts:
            self.asked += 1
        inputs = (xs if queries is None else queries) * self.kept
        sides = inputs[:, :1, 0] > 0
        if not torch.is_grad_enabled() or (sides.any() and not sides.all()):
            return torch.where(sides, inputs @ self.weights[0], inputs @ self.weights[1])
        return inputs @ self.weights[0 if sides.all() else 1]


class HalvesConfig(ModelConfig):
    """Two weights for two halves, and one for nothing."""

    def build(self, *, dims: int, points: int, generator: torch.Generator) -> Model:
        return Halves()


HALVES = {"model": HalvesConfig(), "training.shards": 8, "training.optimizer.name": "adamw"}


def test_a_parameter_moves_that_some_shards_use_and_rests_where_none_does() -> None:
    run = tiny_run(HALVES)
    alone = Trainer(run)
    alone.update()
    for trainer in trained_by(run, 8, updates=1):
        for one, other in zip(alone.model.state_dict().values(), trainer.model.state_dict().values(), strict=True):
            assert torch.equal(one, other)
        moved = [bool(value.any()) for value in trainer.model.parameters()]
        assert moved == [True, True, False]
        assert [int(steps) for steps in trainer.optimizers.state_dict()[1]["steps"]] == [1, 1, 0]


def test_a_model_that_changes_while_it_is_asked_is_refused() -> None:
    trainer = Trainer(tiny_run(HALVES))
    trainer.model.counts = True  # type: ignore[assignment]
    message = "asked of Halves was changed while gradients were computed, so that they depend on how many processes do"
    with pytest.raises((ComponentFailed, RuntimeError), match=message):
        trainer.update()


def test_processes_with_different_weights_are_noticed() -> None:
    """As those come to that compute on different kinds of processors."""

    def spoil(trainer: Trainer, rank: int) -> None:
        with torch.no_grad():
            next(trainer.model.parameters()).flatten()[0].mul_(1 + rank * 1e-6)

    with pytest.raises(RunFailed, match="the processes have come to different weights"):
        trained_by(tiny_run({"training.shards": 2}), 2, updates=1, before=spoil)


def test_gradients_that_are_there_are_added_to() -> None:
    """As of a method that computes several in one update."""
    trainer = Trainer(tiny_run({"training.shards": 2}))
    weight = next(trainer.model.parameters())

    def of(rows: slice) -> Tensor:
        (weight.sum() * (rows.stop - rows.start)).backward()  # type: ignore[no-untyped-call]
        return torch.arange(rows.start, rows.stop).float()

    weight.grad = torch.ones_like(weight)
    found = trainer.shards.gradients(trainer.model, 5, of)
    assert torch.equal(weight.grad, torch.full_like(weight, 6.0))
    assert found.tolist() == [0, 1, 2, 3, 4]
