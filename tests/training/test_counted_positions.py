"""Which positions of training prompts count: the options of ``[training]`` and what classes say themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import Finished, assert_same_results
from helpers import assert_mean, draw, task_of
from tiny_runs import Killed, killed_at, tiny_run
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import generator
from icl_curriculum.function_classes import Linear
from icl_curriculum.models.calling import prompt_errors
from icl_curriculum.runs.execution import execute
from icl_curriculum.training import Trainer
from icl_curriculum.training.counting import Counting

POINTS = 5
CLASSES = {"function_classes": [{"name": "multiclass_linear", "n_classes": 3}], "evaluation.baselines": ["zero", "knn"]}
MASK = torch.tensor([[True] * 5, [True, True, False, True, False], [False, True, False, False, False], [False] * 5])


def weights(counting: Counting, *, mask: Tensor | None = None, n: int = 4) -> Tensor:
    prompts = replace(draw(task_of("linear", dims=2), n, POINTS), mask=mask)
    return counting.weighed(prompts, generator(0, "lengths"))[0].entry_weights()


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ("last", [[0, 0, 0, 0, 1]] * 4),
        (2, [[0, 0, 1 / 3, 1 / 3, 1 / 3]] * 4),
        ((0.0, 3.0, 0.0, 1.0, 0.0), [[0, 0.75, 0, 0.25, 0]] * 4),
    ],
)
def test_positions_share_the_weight_of_a_prompt(positions: Any, expected: list[list[float]]) -> None:
    assert torch.allclose(weights(Counting(positions)), torch.tensor(expected).float())


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ("all", [[0.2] * 5, [1 / 3, 1 / 3, 0, 1 / 3, 0], [0, 1, 0, 0, 0], [0] * 5]),
        ("last", [[0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 1, 0, 0, 0], [0] * 5]),
        (2, [[0, 0, 1 / 3, 1 / 3, 1 / 3], [0, 0, 0, 1, 0], [0] * 5, [0] * 5]),
        ((1.0, 1.0, 0.0, 2.0, 0.0), [[0.25, 0.25, 0, 0.5, 0], [0.25, 0.25, 0, 0.5, 0], [0, 1, 0, 0, 0], [0] * 5]),
    ],
)
def test_among_what_a_class_counts(positions: Any, expected: list[list[float]]) -> None:
    assert torch.allclose(weights(Counting(positions), mask=MASK), torch.tensor(expected).float())


def test_nothing_asked_changes_nothing() -> None:
    prompts = draw(task_of("linear", dims=2), 3, POINTS)
    assert Counting().weighed(prompts, None)[0] is prompts


def test_lengths_are_uniform_and_their_last_position_is_theirs() -> None:
    whole = weights(Counting(shortest=3), n=3000)
    lengths = (whole > 0).sum(dim=1)
    assert {*lengths.tolist()} == {3, 4, 5}
    for length in (3, 4, 5):
        assert_mean((lengths == length).double(), 1 / 3)
        assert torch.allclose(whole[lengths == length][0], (torch.arange(5) < length) / length)
    last = weights(Counting("last", shortest=3), n=3000)
    assert torch.equal(last.argmax(dim=1), lengths - 1)
    assert torch.equal(last.sum(dim=1), torch.ones(3000))


def test_smoothed_labels_are_spread_over_all_classes_in_training_alone(tmp_path: Path) -> None:
    run = tiny_run({**CLASSES, "training.label_smoothing": 0.3})
    trainer = Trainer(run)
    (portion,) = trainer.session().batch()
    labels, targets = portion.prompts.ys, portion.prompts.targets
    assert torch.allclose(targets, 0.7 * labels + 0.1)
    assert {*labels.unique().tolist()} == {0.0, 1.0}
    execute(run, tmp_path)
    table = Finished(run, tmp_path, []).table("evaluation")
    told = table[(table["learner"] == "zero") & (table["metric"] == "negative_log_likelihood")]
    assert told["value"].to_numpy() == pytest.approx(math.log(3)), "evaluation knows nothing of it"


CHANGES: Mapping[str, Mapping[str, Any]] = {
    "last": {"training.positions": "last"},
    "late": {"training.positions": 2},
    "weights": {"training.positions": [0, 1, 0, 2, 1]},
    "lengths": {"training.shortest_prompt": 2},
    "vectors": {"function_classes": [{"name": "linear_map", "label_dims": 3}]},
    "classes": {**CLASSES, "training.label_smoothing": 0.1},
    "alternate": {"function_classes": [{"name": "linear_map", "label_dims": 4}], "model.tokens": "alternate"},
}


@pytest.mark.parametrize("method", ["in_context", "meta_icl"])
@pytest.mark.parametrize("change", CHANGES)
def test_an_update_descends_what_counts(change: str, method: str) -> None:
    """The gradients of the loss written out, whatever pass the model has; and the losses of training.csv."""
    changes = dict(CHANGES[change])
    if method == "meta_icl" and "training.positions" in changes:
        changes = {"training.shortest_prompt": 3}
    trainer = Trainer(tiny_run({**changes, "training.method": method, "training.loss": "auto"}))
    session = trainer.session()
    ((cell, prompts),) = [(portion.cell, portion.prompts) for portion in session.batch()]
    entries = prompts.entry_weights()
    if method == "meta_icl":
        later = (entries > 0).flip(1).cumsum(dim=1).flip(1)
        entries = ((entries > 0) & (later == 1)).float()
    expected = torch.autograd.grad((by_entry(trainer, prompts) * entries).sum(1).mean(), trainer.model.parameters())
    found: list[Tensor] = []
    trainer.optimizers.step = lambda factor: (
        found.extend(  # type: ignore[method-assign]
            value.grad.clone()
            for value in trainer.model.parameters()  # type: ignore[union-attr]
        )
        or trainer.model.zero_grad(set_to_none=True)
    )
    update = trainer.update()
    for own, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(own, wanted, atol=1e-6, rtol=2e-4)
    errors = (by_entry(trainer, prompts) * prompts.entry_weights()).sum(1)
    (loss,) = update.losses
    assert loss.cell == cell
    assert float(loss.value) == pytest.approx(errors.mean().item(), rel=1e-4)


def by_entry(trainer: Trainer, prompts: Prompts) -> Tensor:
    """The loss of every entry, by its formula."""
    found = trainer.model(prompts.xs, prompts.ys)
    if prompts.classes:
        return -(prompts.targets * found.log_softmax(-1)).sum(-1)
    squares = (found - prompts.targets) ** 2
    return squares if squares.ndim == 2 else squares.sum(-1)


class Seldom(Linear):
    """Linear functions of which few values count."""

    def counts(self, parameters: Any, xs: Tensor) -> Tensor:
        return xs[..., 0] > 1.5


@pytest.mark.parametrize("method", ["in_context", "meta_icl", "reptile", "fomaml", "maml"])
def test_every_method_trains_where_few_values_count(method: str, tmp_path: Path) -> None:
    """Each draw has something that counts, nothing is lost in silence, and the loss is of what counts alone."""
    meta = {"name": method, "n_tasks": 2, **({"inner_steps": 2} if method != "maml" else {})}
    run = tiny_run({
        "training.method": meta if method in ("reptile", "fomaml", "maml") else method, "model.attention": "plain",
        "curriculum.function_classes": "random", "training.positions": "all",
    })  # fmt: skip
    trainer = Trainer(run)
    for cell, task in list(trainer.tasks.items()):
        if cell[0] == "linear":
            trainer.tasks[cell] = replace(task, function_class=Seldom())
    for _ in range(12):
        session = trainer.session()
        drawn = session.draw(("linear", "gaussian"), 2, role="elsewhere")
        assert bool((drawn.entry_weights().sum(dim=1) > 0).any())
        update = trainer.update()
        assert all(bool(loss.value.isfinite()) for loss in update.losses)
        assert all(loss.n_prompts > 0 for loss in update.losses)
    assert prompt_errors(trainer.model(drawn.xs, drawn.ys), drawn).isfinite().all()


def test_fixed_prompts_are_those_in_which_something_counts() -> None:
    run = tiny_run({
        "training.fixed_prompts": 8, "curriculum.draw": "prompt", "training.batch_size": 4,
        "curriculum.function_classes": "random", "instruction.kind": "learned",
    })  # fmt: skip
    trainer = Trainer(run)
    trainer.tasks["linear", "gaussian"] = replace(trainer.tasks["linear", "gaussian"], function_class=Seldom())
    assert trainer.setting.fixed is not None
    kept = trainer.setting.fixed.all_of(("linear", "gaussian"))
    assert len(kept) == 8
    assert kept.mask is not None
    assert bool(kept.mask.any(dim=1).all())
    assert kept.function_class == Seldom().id
    for _ in range(12):
        assert all(bool(loss.value.isfinite()) for loss in trainer.update().losses)


def test_a_class_of_which_nothing_ever_counts_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Never(Seldom):
        def counts(self, parameters: Any, xs: Tensor) -> Tensor:
            return xs[..., 0] > 1e9

    monkeypatch.setattr("icl_curriculum.training.session._MOST_DRAWS", 5)
    trainer = Trainer(tiny_run({"function_classes": ["linear"]}))
    trainer.tasks["linear", "gaussian"] = replace(trainer.tasks["linear", "gaussian"], function_class=Never())
    with pytest.raises(Exception, match="counts returned nothing that counts in the loss in 5 draws of 8 prompts"):
        trainer.update()


@pytest.mark.parametrize("change", ["lengths", "classes"])
def test_a_killed_run_resumes_to_the_same_bytes(tmp_path: Path, change: str) -> None:
    changes = {**CHANGES[change], "training.shortest_prompt": 2}
    run = tiny_run(changes)
    with pytest.raises(Killed):
        execute(run, tmp_path / "resumed", report=killed_at("training", 8))
    for place in ("resumed", "whole"):
        execute(run, tmp_path / place)
    assert_same_results(Finished(run, tmp_path / "resumed", []), Finished(run, tmp_path / "whole", []))


def test_the_normalized_loss_stands_only_where_a_loss_can_be_held_against_a_trivial_one(tmp_path: Path) -> None:
    inputs = {"inputs": [{"name": "student_t", "df": 1.5}], "evaluation.shifts": []}
    for name, change, trivial in (("heavy", inputs, None), ("classes", {**inputs, **CLASSES}, math.log(3))):
        run = tiny_run({**change, "curriculum.function_classes": "single"})
        execute(run, tmp_path / name)
        table = Finished(run, tmp_path / name, []).table("training")
        assert table["loss"].notna().all()
        if trivial is None:
            assert table["normalized_loss"].isna().all()
        else:
            assert table["normalized_loss"].to_numpy() == pytest.approx(table["loss"] / trivial, rel=1e-6)
