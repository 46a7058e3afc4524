"""The training loop: what is drawn, what the loss is, and that a loaded state continues to the last bit."""

from __future__ import annotations

import copy
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
import torch
from helpers import errors_of
from pydantic import Field
from tiny_runs import tiny_run
from torch import Tensor

from icl_curriculum.config.tables import OptimizerConfig
from icl_curriculum.core.machine import computing_threads
from icl_curriculum.core.streams import generator
from icl_curriculum.curricula import Curriculum, State
from icl_curriculum.evaluation import Bank
from icl_curriculum.models import Model
from icl_curriculum.training import Diverged, Losses, Portion, Session, Trainer, TrainingMethod, add_gradients
from icl_curriculum.training.optimizers import Optimizers

LINEAR, QUADRATIC = ("linear", "gaussian"), ("quadratic", "gaussian")


def trainer(changes: Mapping[str, Any] | None = None, *, seed: int = 0) -> Trainer:
    return Trainer(tiny_run(changes, seed=seed))


@dataclass
class Seen:
    """A copy of the model from before an update, and the batch."""

    model: Model
    batch: list[Portion]


class Watched(TrainingMethod):
    """In-context training that keeps what it drew."""

    seen: list[Any] = Field(default_factory=list)

    def update(self, session: Session) -> Losses:
        batch = session.batch()
        self.seen.append(Seen(copy.deepcopy(session.model), batch))
        losses = add_gradients(session.model, batch)
        session.step_optimizers()
        return {"training": losses}


def watched(changes: Mapping[str, Any] | None = None, *, seed: int = 0) -> tuple[Trainer, list[Seen]]:
    method = Watched()
    return trainer({"training.method": method, **(changes or {})}, seed=seed), method.seen


class Adaptive(Curriculum):
    """Moves to the item whose loss was last the highest; remembers what it was told."""

    def initial_state(self) -> State:
        return {"shares": [0.5, 0.5], "told": []}

    def shares(self, step: int, state: State, *, items: Sequence[str], steps: int) -> list[float]:
        return list(state["shares"])

    def update(self, state: State, signals: Mapping[str, float]) -> State:
        hardest = signals.get("linear", 0.0) > 0.5
        return {"shares": [0.7, 0.3] if hardest else [0.2, 0.8], "told": [*state["told"], dict(signals)]}


def losses_by_hand(seen: Seen) -> list[Tensor]:
    """Squared errors of each portion, summed in a loop and divided by prompts and positions."""
    losses = []
    for portion in seen.batch:
        predicted = seen.model(portion.prompts.xs, portion.prompts.ys)
        squares = [
            (predicted[i, k] - portion.prompts.targets[i, k]) ** 2
            for i, k in product(range(len(portion.prompts)), range(portion.prompts.points))
        ]
        losses.append(sum(squares, torch.zeros(())) / len(squares))
    return losses


@pytest.mark.parametrize("draw", ["batch", "prompt"])
def test_loss_is_the_mean_squared_error_over_prompts_and_all_positions(draw: str) -> None:
    made, seen = watched({"curriculum.function_classes": "random", "curriculum.draw": draw})
    updates = [made.update() for _ in range(4)]
    for update, before in zip(updates, seen, strict=True):
        assert update.n_prompts == {(p.prompts.function_class, "gaussian"): len(p.prompts) for p in before.batch}, (
            "a loss per cell"
        )
        for found, expected in zip(update.losses_of("training").values(), losses_by_hand(before), strict=True):
            torch.testing.assert_close(found, expected.detach(), atol=0, rtol=1e-5)


@pytest.mark.parametrize("loss", ["squared", "normalized"])
def test_an_update_descends_the_mean_over_prompts_of_the_weighted_losses(loss: str) -> None:
    """Linear has the trivial error d = 2, sparse linear s = 1: normalising doubles the second's weight."""
    made, seen = watched(
        {
            "function_classes": ["linear", {"name": "sparse_linear", "sparsity": 1}],
            "curriculum.function_classes": "random",
            "curriculum.draw": "prompt",
            "training.loss": loss,
            "training.clip": math.inf,
            "training.optimizer": {"name": "adam", "learning_rate": 1e-3, "betas": [0.9, 0.99]},
            "training.schedule": {"name": "constant", "warmup": 0.0},
            "model.initialization": "reference",
        }
    )
    made.update()
    before = seen[0]
    assert len(before.batch) == 2
    trivial = {"linear": 2.0, "sparse_linear/sparsity=1": 1.0}
    total = sum(
        value * len(portion.prompts) / (trivial[portion.prompts.function_class] if loss == "normalized" else 1.0)
        for value, portion in zip(losses_by_hand(before), before.batch, strict=True)
    )
    (total / 8).backward()
    expected = before.model
    torch.optim.Adam(expected.parameters(), lr=1e-3, betas=(0.9, 0.99)).step()
    for name, value in made.model.named_parameters():
        torch.testing.assert_close(value, expected.get_parameter(name), atol=2e-6, rtol=0)


@pytest.mark.parametrize("clip", [0.01, None, math.inf])
def test_clip_limits_the_norm_of_the_whole_gradient(clip: float | None) -> None:
    made, seen = watched({"model.initialization": "reference"})
    made.update()
    model, batch = seen[0].model, seen[0].batch
    optimizers, norms = Optimizers(model, OptimizerConfig(), clip), []

    def noted() -> None:
        norms.append(math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None)))

    for member in optimizers.members:
        member.step = noted  # type: ignore[method-assign]
    add_gradients(model, batch)
    optimizers.step(1.0)
    assert norms[0] == pytest.approx(0.01, rel=1e-3) if clip == 0.01 else norms[0] > 0.1


def counts_of(made: Trainer, updates: int) -> list[dict[tuple[str, str], int]]:
    return [made.update().n_prompts for _ in range(updates)]


def test_one_class_per_batch_or_one_per_prompt() -> None:
    by_batch = counts_of(trainer({"curriculum.function_classes": "random"}), 12)
    assert all(list(counts.values()) == [8] for counts in by_batch)
    assert {cell for counts in by_batch for cell in counts} == {LINEAR, QUADRATIC}
    by_prompt = counts_of(trainer({"curriculum.function_classes": "random", "curriculum.draw": "prompt"}), 12)
    assert all(sum(counts.values()) == 8 for counts in by_prompt)
    assert sum(len(counts) == 2 for counts in by_prompt) > 6
    drawn = sum((Counter(counts) for counts in by_prompt), Counter())
    assert 0.3 < drawn[LINEAR] / drawn.total() < 0.7


@pytest.mark.parametrize("draw", ["batch", "prompt"])
def test_draws_repeat_with_the_seed_and_differ_without(draw: str) -> None:
    changes = {"curriculum.function_classes": "random", "curriculum.draw": draw}
    first, second, other = (counts_of(trainer(changes, seed=seed), 12) for seed in (0, 0, 1))
    assert first == second != other


def test_the_class_is_drawn_from_the_curriculum_stream_of_the_step() -> None:
    made = trainer({"curriculum.function_classes": "random"}, seed=3)
    for step in range(12):
        expected = torch.multinomial(
            torch.tensor([0.5, 0.5], dtype=torch.float64), 1, generator=generator(3, "curriculum", step)
        )
        assert list(made.update().n_prompts) == [(LINEAR, QUADRATIC)[int(expected)]]


def test_no_two_steps_share_their_prompts() -> None:
    made, seen = watched()
    for _ in range(4):
        made.update()
    batches = [before.batch[0].prompts for before in seen]
    assert not any(torch.equal(a.xs, b.xs) for i, a in enumerate(batches) for b in batches[:i])
    assert not any(torch.equal(a.targets, b.targets) for i, a in enumerate(batches) for b in batches[:i])


def test_a_class_with_share_zero_is_never_drawn() -> None:
    single = trainer({"curriculum.function_classes": {"name": "single", "only": "quadratic"}})
    counts_of(single, 12)
    assert single.prompts_seen == {QUADRATIC: 96}
    assert single.offered == {QUADRATIC}
    changes = {"curriculum.function_classes": "sequential", "curriculum.draw": "prompt", "training.steps": 6}
    sequential = trainer(changes)
    assert counts_of(sequential, 6) == [{LINEAR: 8}] * 3 + [{QUADRATIC: 8}] * 3


def test_cells_are_every_class_with_every_input_distribution() -> None:
    made = trainer(
        {
            "inputs": ["gaussian", "skewed"],
            "curriculum.function_classes": "random",
            "curriculum.draw": "prompt",
            "training.batch_size": 64,
        }
    )
    expected = set(product(("linear", "quadratic"), ("gaussian", "skewed")))
    assert set(made.update().n_prompts) == made.offered == expected


def test_dimensions_and_points_grow() -> None:
    made, seen = watched(
        {
            "dims": 3,
            "points": 7,
            "curriculum.dims": {"start": 1, "add": 1, "every": 2},
            "curriculum.points": {"start": 3, "add": 2, "every": 3},
        }
    )
    found = []
    for _ in range(8):
        shares = made.update().shares
        prompts = seen[-1].batch[0].prompts
        active = int((prompts.xs.abs().amax(dim=(0, 1)) > 0).sum())
        assert (prompts.xs[..., active:] == 0).all()
        assert prompts.dims == 3
        assert (active, prompts.points) == (shares.dims, shares.points)
        found.append((active, prompts.points, made.trained_points))
    dims, points = [1, 1, 2, 2, 3, 3, 3, 3], [3, 3, 3, 5, 5, 5, 7, 7]
    assert found == list(zip(dims, points, points, strict=True))


def test_a_shorter_prompt_is_the_start_of_the_full_one() -> None:
    """A batch is drawn whole and then cut, so growth changes lengths and not data."""
    (grown, of_grown), (full, of_full) = watched({"curriculum.points": {"start": 2, "every": 100}}), watched()
    grown.update(), full.update()
    short, whole = of_grown[0].batch[0].prompts, of_full[0].batch[0].prompts
    assert torch.equal(short.xs, whole.xs[:, :2])
    assert torch.equal(short.ys, whole.ys[:, :2])


def test_an_update_reports_its_step_and_learning_rate() -> None:
    made = trainer({"training.optimizer.learning_rate": 0.12})
    found = [(update.step, update.learning_rate) for update in (made.update() for _ in range(12))]
    assert [step for step, _ in found] == list(range(1, 13))
    assert [rate for _, rate in found] == pytest.approx([0.01 * left for left in range(12, 0, -1)])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
@pytest.mark.parametrize("curriculum", ["random", "sequential", Adaptive()], ids=["random", "sequential", "adaptive"])
def test_a_loaded_state_continues_to_the_last_bit(optimizer: str, curriculum: str | Curriculum) -> None:
    changes = {
        "curriculum.function_classes": curriculum,
        "curriculum.draw": "prompt",
        "training.optimizer": {"name": optimizer, "weight_decay": 0.1},
    }
    whole = trainer(changes)
    updates = [whole.update() for _ in range(10)]
    first = trainer(changes)
    for _ in range(7):
        first.update()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = trainer(changes)
    second.load_state_dict(torch.load(file, weights_only=True))
    for expected in updates[7:]:
        found = second.update()
        assert (found.step, found.n_prompts, found.shares) == (expected.step, expected.n_prompts, expected.shares)
        assert all(torch.equal(a.value, b.value) for a, b in zip(found.losses, expected.losses, strict=True))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value), name
    assert second.prompts_seen == whole.prompts_seen
    assert second.curriculum_state == whole.curriculum_state
    assert (second.offered, second.trained_points) == (whole.offered, whole.trained_points)


def test_an_adaptive_curriculum_is_told_normalized_losses_and_heeded() -> None:
    made = trainer({"curriculum.function_classes": Adaptive(), "curriculum.draw": "prompt"})
    updates = [made.update() for _ in range(6)]
    told = made.curriculum_state["function_classes"]["told"]
    for update, signals in zip(updates, told, strict=True):
        normalized = {
            function_class: float(loss) / 2 for (function_class, _), loss in update.losses_of("training").items()
        }
        assert signals == pytest.approx(normalized)
    for update, signals in zip(updates[1:], told, strict=False):
        expected = [0.7, 0.3] if signals.get("linear", 0.0) > 0.5 else [0.2, 0.8]
        assert list(update.shares.function_classes.values()) == expected


@pytest.mark.parametrize("loss", [math.nan, math.inf, 2001.0])
def test_divergence_names_the_cell_the_step_and_the_limit(loss: float) -> None:
    made = trainer()
    made.update()
    with pytest.raises(Diverged) as error:
        made.check_loss(QUADRATIC, loss)
    for part in ("by step 1", "quadratic with gaussian inputs", "training.divergence = 1000", "learning rate"):
        assert part in str(error.value)


def test_a_loss_within_the_limit_is_no_divergence() -> None:
    trainer().check_loss(LINEAR, 1999.0)
    trainer({"training.divergence": 3000.0}).check_loss(LINEAR, 2001.0)


def test_heavy_tails_may_exceed_any_limit_but_not_be_nan() -> None:
    """Student-t inputs with 4 degrees of freedom: the squared error of a quadratic has no mean."""
    made = trainer({"inputs": ["student_t"]})
    made.check_loss(("quadratic", "student_t"), 1e9)
    with pytest.raises(Diverged):
        made.check_loss(("quadratic", "student_t"), math.nan)
    with pytest.raises(Diverged):
        made.check_loss(("linear", "student_t"), 1e9)


def test_a_tiny_model_learns_linear_functions_in_context() -> None:
    made = trainer(
        {
            "points": 9,
            "function_classes": ["linear"],
            "model": {"width": 32, "layers": 2, "heads": 2},
            "training": {"steps": 250, "batch_size": 32, "schedule": {"warmup": 0.02, "decay": 0.4}},
        }
    )
    for _ in range(250):
        made.update()
    task = made.tasks[LINEAR]
    prompts = Bank(task, None, 2000, 9, 0).draw()
    zero = prompts.targets.double().square().mean(dim=0).numpy()
    errors = errors_of(made.model, prompts).mean(axis=0) / zero
    assert errors[0] == pytest.approx(1.0, abs=0.1), "nothing can be known before the first example"
    assert errors[8] < 0.5


@pytest.mark.parametrize(("attention", "expected"), [("fused", 1), ("plain", 2)])
def test_an_update_by_hand_leaves_all_threads_but_one_to_the_pass(
    attention: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the drawing to the optimizers; whatever goes by autograd keeps torch's."""
    made, seen = trainer({"model.attention": attention}), []

    def noting(owner: Any, name: str) -> None:
        whole = getattr(owner, name)

        def noted(*arguments: Any, **named: Any) -> Any:
            seen.append(torch.get_num_threads())
            return whole(*arguments, **named)

        monkeypatch.setattr(owner, name, noted)

    noting(Session, "batch")
    noting(Optimizers, "step")
    with computing_threads(2):
        made.update()
        assert torch.get_num_threads() == 2
    assert seen == [expected, expected]
