"""Methods with two loops: their gradients against other ways to them, their roles, costs and killed runs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import Finished, assert_same_results
from one_update import OneUpdate, Parameters, Step, error, meta_loss, tiny_model
from tiny_runs import Icl, tiny_run, tiny_values, write_toml
from torch import Tensor

from icl_curriculum.config.loading import load
from icl_curriculum.core.errors import RunFailed
from icl_curriculum.models.base import Model
from icl_curriculum.models.flops import count
from icl_curriculum.runs.execution import execute
from icl_curriculum.training import Trainer
from icl_curriculum.training.methods import FirstOrderMaml, Maml, Reptile

RATE = 0.3
PLAIN = {"model.attention": "plain", "curriculum.function_classes": "random", "training.batch_size": 8}
MAML = {"name": "maml", "n_tasks": 2}


def own(model: Model) -> Parameters:
    return dict(model.named_parameters())


def descent(rate: float = RATE) -> Step:
    def step(parameters: Parameters, gradients: Sequence[Tensor]) -> Parameters:
        return {name: value - rate * g for (name, value), g in zip(parameters.items(), gradients, strict=True)}

    return step


def adam(update: OneUpdate) -> Callable[[], Step]:
    """Adam from the optimizer's moments, written as its formula, with the mean and square of a loop of its own."""

    def fresh() -> Step:
        kept = {name: update.moments[id(value)] for name, value in own(update.model).items()}
        state = {name: [m.mean, m.square, float(m.steps)] for name, m in kept.items()}

        def step(parameters: Parameters, gradients: Sequence[Tensor]) -> Parameters:
            moved = {}
            for (name, value), g in zip(parameters.items(), gradients, strict=True):
                mean, square, t = state[name]
                mean, square, t = 0.9 * mean + 0.1 * g, 0.99 * square + 0.01 * g * g, t + 1
                state[name] = [mean, square, t]
                moved[name] = value - RATE * (mean / (1 - 0.9**t)) / torch.sqrt(square / (1 - 0.99**t) + 1e-16)
            return moved

        return step

    return fresh


def assert_gradients(update: OneUpdate, loss: Tensor, tolerance: float = 1e-9) -> None:
    parameters = own(update.model)
    wanted = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, wanted, strict=True):
        expected = torch.zeros_like(parameters[name]) if gradient is None else gradient
        found = update.gradients.get(name, torch.zeros_like(expected))
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance, msg=name)


@pytest.mark.parametrize("steps", [1, 3])
def test_second_order_gradients_are_those_of_one_task_after_another(steps: int) -> None:
    update = OneUpdate(Maml(n_tasks=3, inner_steps=steps, inner_rate=RATE), tiny_model())
    assert_gradients(update, meta_loss(update.model, own(update.model), update, descent, steps))


@pytest.mark.parametrize("steps", [1, 2])
def test_shared_moments_are_forked_by_every_task(steps: int) -> None:
    method = Maml(n_tasks=3, inner_steps=steps, inner_rate=RATE, inner_rule="shared_adam")
    update = OneUpdate(method, tiny_model())
    before = {name: value.clone() for name, value in update.moments.items() for value in [value.mean]}
    assert_gradients(update, meta_loss(update.model, own(update.model), update, adam(update), steps), 1e-4)
    assert all(torch.equal(update.moments[name].mean, value) for name, value in before.items()), "forks are discarded"


def test_second_order_gradients_equal_central_differences() -> None:
    update = OneUpdate(Maml(n_tasks=3, inner_steps=2, inner_rate=0.02), tiny_model())
    made = torch.Generator().manual_seed(5)
    along = {name: torch.randn(value.shape, generator=made).double() for name, value in own(update.model).items()}

    def loss(step: float) -> float:
        moved = {name: value + step * along[name] for name, value in own(update.model).items()}
        return meta_loss(update.model, moved, update, lambda: descent(0.02), 2).item()

    slope = sum((update.gradients[name] * along[name]).sum().item() for name in update.gradients)
    assert slope == pytest.approx((loss(1e-5) - loss(-1e-5)) / 2e-5, rel=1e-6)


def test_carried_moments_pass_from_task_to_task_and_to_the_outer_step() -> None:
    method = Maml(n_tasks=3, inner_steps=1, inner_rate=RATE, inner_rule="shared_adam", carry=True)
    model = tiny_model()
    update = OneUpdate(method, model)
    start = {id(value): OneUpdate._moments(_Drawing(), value) for value in model.parameters()}
    parameters, total = own(model), torch.zeros((), dtype=torch.float64)
    state = {name: [start[id(value)].mean, start[id(value)].square] for name, value in parameters.items()}
    for number, (weight, support, query) in enumerate(update.tasks):
        gradients = torch.autograd.grad(
            weight * error(model, parameters, support), list(parameters.values()), create_graph=True
        )
        t, adapted = 4 + number, {}
        for (name, value), g in zip(parameters.items(), gradients, strict=True):
            mean, square = 0.9 * state[name][0] + 0.1 * g, 0.99 * state[name][1] + 0.01 * g * g
            state[name] = [mean.detach(), square.detach()]
            adapted[name] = value - RATE * (mean / (1 - 0.9**t)) / torch.sqrt(square / (1 - 0.99**t) + 1e-16)
        total = total + weight * error(model, adapted, query) / 3
    assert_gradients(update, total, 1e-4)
    for name, value in parameters.items():
        kept = update.moments[id(value)]
        torch.testing.assert_close(kept.mean, state[name][0], atol=1e-6, rtol=1e-5, msg=name)
        assert float(kept.steps) == 6


class _Drawing:
    """Draws the moments that `OneUpdate` begins with once more."""

    generator = torch.Generator().manual_seed(0)


def test_without_an_inner_step_it_is_plain_training_by_autograd_on_the_query_prompts() -> None:
    for method in (Maml(n_tasks=3, inner_steps=0), FirstOrderMaml(n_tasks=3, inner_steps=0)):
        update = OneUpdate(method, tiny_model())
        assert_gradients(update, meta_loss(update.model, own(update.model), update, descent, 0), 1e-6)


def test_first_order_equals_second_order_where_the_inner_rate_is_zero_and_nowhere_else() -> None:
    def gradients(method: Maml | FirstOrderMaml) -> list[Tensor]:
        return list(OneUpdate(method, tiny_model()).gradients.values())

    for rate, equal in ((0.0, True), (RATE, False)):
        first = gradients(FirstOrderMaml(n_tasks=3, inner_steps=2, inner_rate=rate))
        second = gradients(Maml(n_tasks=3, inner_steps=2, inner_rate=rate))
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(first, second, strict=True)) == equal


def test_first_order_takes_the_query_gradients_at_the_adapted_parameters() -> None:
    update = OneUpdate(FirstOrderMaml(n_tasks=3, inner_steps=2, inner_rate=RATE), tiny_model())
    wanted = {name: torch.zeros_like(value) for name, value in own(update.model).items()}
    for weight, support, query in update.tasks:
        adapted = own(update.model)
        for _ in range(2):
            gradients = torch.autograd.grad(weight * error(update.model, adapted, support), list(adapted.values()))
            adapted = descent()(adapted, gradients)
        leaves = {name: value.detach().requires_grad_() for name, value in adapted.items()}
        last = torch.autograd.grad(weight * error(update.model, leaves, query), list(leaves.values()))
        for total, g in zip(wanted.values(), last, strict=True):
            total += g / 3
    for name, value in wanted.items():
        torch.testing.assert_close(update.gradients[name], value, atol=1e-5, rtol=1e-5, msg=name)


def test_reptile_moves_towards_where_the_inner_steps_lead_each_on_prompts_of_its_own() -> None:
    update = OneUpdate(Reptile(n_tasks=2, inner_steps=3, inner_rate=RATE), tiny_model(), batch_size=12)
    wanted = {name: torch.zeros_like(value) for name, value in own(update.model).items()}
    queries = iter([part for drawn in update.drawn["query"] for part in (drawn[:2], drawn[2:])])
    for weight, first in zip((0.5, 2.0), update.drawn["support"], strict=True):
        adapted = own(update.model)
        for batch in (first, next(queries), next(queries)):
            gradients = torch.autograd.grad(weight * error(update.model, adapted, batch), list(adapted.values()))
            adapted = descent()(adapted, gradients)
        for name, value in own(update.model).items():
            wanted[name] += ((value - adapted[name]) / (RATE * 3 * 2)).detach()
    for name, value in wanted.items():
        torch.testing.assert_close(update.gradients[name], value, atol=1e-5, rtol=1e-5, msg=name)


def test_a_model_that_cannot_be_vectorised_trains_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    together = OneUpdate(Maml(n_tasks=3, inner_rate=RATE), tiny_model()).gradients
    model = tiny_model()
    forward = type(model).forward

    def by_value(self: Model, xs: Tensor, ys: Tensor, *others: Any, **more: Any) -> Tensor:
        assert float(xs.detach().sum()) < 1e9  # no such thing inside vmap
        return forward(self, xs, ys, *others, **more)

    monkeypatch.setattr(type(model), "forward", by_value)
    alone = OneUpdate(Maml(n_tasks=3, inner_rate=RATE), model).gradients
    for name, value in together.items():
        torch.testing.assert_close(alone[name], value, msg=name)


@pytest.mark.parametrize(
    "method", [MAML, {**MAML, "inner_steps": 2}, {"name": "fomaml", "n_tasks": 2, "inner_steps": 2},
               {"name": "reptile", "n_tasks": 2, "inner_steps": 2}, {"name": "meta_icl"}], ids=str,
)  # fmt: skip
def test_operations_are_those_that_are_computed(method: dict[str, Any]) -> None:
    """Within 5%: the first layer's inputs need no gradient, and a query's own inputs no second one."""
    trainer = Trainer(tiny_run({**PLAIN, "training.method": method, "model.layers": 3}))
    trainer.optimizers.step = lambda factor: trainer.model.zero_grad(set_to_none=True)  # type: ignore[method-assign]
    assert count(trainer.update) == pytest.approx(sum(trainer.flops.values()), rel=0.05)


def test_the_table_tells_support_from_query_and_curricula_hear_of_the_unadapted_model(tmp_path: Path) -> None:
    heard: list[dict[Any, float]] = []
    run = tiny_run({**PLAIN, "training.method": {**MAML, "inner_rate": 0.1}, "curriculum.function_classes": "bandit"})
    trainer = Trainer(run)
    told = trainer.plan.update
    object.__setattr__(trainer.plan, "update", lambda state, signals: heard.append(signals) or told(state, signals))
    update = trainer.update()
    trainer.session()  # The next one, for which the curriculum decides.
    assert heard[0] == {c: float(v) / trainer.trivial[c] for c, v in update.losses_of("support").items()}
    execute(run, tmp_path)
    table = Finished(run, tmp_path, []).table("training")
    assert set(table["role"]) == {"support", "query"}
    both = table.groupby(["step", "role"])["n_prompts"].sum().unstack()
    assert (both["support"] == both["query"]).all()


def test_tasks_of_functions_share_them_between_support_and_query() -> None:
    method = {**MAML, "tasks": "functions", "n_tasks": 4}
    trainer = Trainer(tiny_run({**PLAIN, "training.method": method, "training.batch_size": 16}))
    session = trainer.session()
    tasks = trainer.method.drawn_tasks(session)  # type: ignore[attr-defined]
    parameters = []
    for task in tasks:
        (support,), query = task.support, task.query
        truths = [next(iter(prompts.truth.values())) for prompts in (support, query)]
        assert all(torch.equal(row, truths[0][0]) for truth in truths for row in truth)
        assert not torch.equal(support.xs, query.xs)
        parameters.append(truths[0][0])
    assert len({tuple(value.flatten().tolist()) for value in parameters}) == 4


EVERY: dict[str, dict[str, Any]] = {
    "maml": {"training.method": MAML},
    "carried": {
        "training.method": {**MAML, "inner_rule": "shared_adam", "inner_rate": 0.001, "carry": True},
        "training.optimizer.name": "adam",
    },
    "functions": {"training.method": {**MAML, "tasks": "functions"}},
    "limited": {"training.method": MAML, "training.fixed_prompts": 6},
    "fomaml": {"training.method": {"name": "fomaml", "n_tasks": 2}},
    "reptile": {"training.method": {"name": "reptile", "n_tasks": 2, "inner_steps": 2}},
    "meta_icl": {"training.method": "meta_icl"},
    "meta_ict": {"training.method": "meta_ict", "instruction.kind": "learned"},
}


def test_killed_and_resumed_every_method_ends_at_the_same_bytes(tmp_path: Path, quick_python: Path) -> None:
    """A real kill, between two checkpoints. All methods in one file, so that it is one process that is started."""
    values = tiny_values({**PLAIN, "evaluation.shifts": [], "variants": {name: {} for name in EVERY}})
    values["variants"] = {name: _nested(changes) for name, changes in EVERY.items()}
    runs = load(str(write_toml(tmp_path / "tiny.toml", values)))
    killed = f"""
import os, signal
from pathlib import Path
from icl_curriculum.config.loading import load
from icl_curriculum.runs.execution import execute

class Stop(Exception):
    pass

def report(progress):
    if (progress.phase, progress.done) == ("training", 8):
        if progress.run.startswith("meta_ict"):
            os.kill(os.getpid(), signal.SIGKILL)
        raise Stop

for run in load({str(tmp_path / "tiny.toml")!r}):
    try:
        execute(run, Path({str(tmp_path / "resumed")!r}), report=report)
    except Stop:
        pass
"""
    assert subprocess.run([str(quick_python), "-c", killed], capture_output=True).returncode == -9
    for run in runs:
        execute(run, tmp_path / "whole")
        execute(run, tmp_path / "resumed")
        assert_same_results(Finished(run, tmp_path / "resumed", []), Finished(run, tmp_path / "whole", []))


def _nested(dotted: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in dotted.items():
        table, last = values, key.split(".")
        for part in last[:-1]:
            table = table.setdefault(part, {})
        table[last[-1]] = value
    return values


def test_a_diverging_inner_loop_is_named_with_step_and_rate(tmp_path: Path) -> None:
    run = tiny_run({**PLAIN, "training.method": {**MAML, "inner_rate": 3000.0, "inner_steps": 2}})
    with pytest.raises(RunFailed) as failed:
        execute(run, tmp_path)
    message = str(failed.value)
    assert "training diverged at step 1: the query loss on" in message
    assert (
        "the inner loop diverges, 2 steps by gradient_descent at training.method.inner_rate = 3000; a lower one "
        "usually helps" in message
    )


MISTAKES: list[tuple[dict[str, Any], str]] = [
    (
        {"model.attention": "fused"},
        "training.method: 'maml/n_tasks=2' needs a model that can be differentiated twice",
    ),
    ({"training.compile": True}, "training.compile: expected false for second derivatives"),
    ({"training.precision": "bfloat16"}, 'training.precision: expected "float32" for second derivatives'),
    (
        {"training.method.inner_rule": "shared_adam"},
        "training.optimizer.name: expected 'adam' or 'adamw' for inner steps that share its moments, found 'muon'",
    ),
    ({"training.method.carry": True}, "training.method.carry: there are no moments to carry with inner_rule = "),
    ({"training.batch_size": 2}, "training.batch_size: 2 is too few for a support and a query prompt of each of 2"),
    ({"training.batch_size": 7}, "training.batch_size: expected a multiple of training.method.n_tasks = 2, since"),
    ({"training.fixed_prompts": 3}, "training.fixed_prompts: 3 is less than the 4 support and query prompts of a task"),
    (
        {"training.fixed_prompts": 30, "training.method.tasks": "functions"},
        "training.fixed_prompts: a fixed set has one prompt of every function",
    ),
    ({"curriculum.draw": "prompt"}, 'curriculum.draw: expected "batch", found "prompt": maml draws a cell for every'),
    ({"training.method.inner_step": 1}, "training.method.inner_step: unknown key; did you mean 'inner_steps'?"),
    (
        {"training.method": {"name": "reptile", "n_tasks": 2, "inner_steps": 3}},
        "training.batch_size: 4 prompts a task cannot be divided over training.method.inner_steps = 3 batches",
    ),
    ({"training.method": {"name": "meta_ict"}}, 'instruction.kind: expected "one_hot", "preset" or "learned"'),
    (
        {"training.method": {"name": "meta_ict"}, "instruction.kind": "learned", "instruction.of": "inputs"},
        "instruction.of: 'gaussian' is the only one of its kind, so the training method 'meta_ict' would tell",
    ),
    (
        {"training.method": {"name": "meta_ict"}, "instruction.kind": "learned", "curriculum.draw": "prompt"},
        'curriculum.draw: expected "batch", one cell for all prompts of an update',
    ),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_what_cannot_work_is_refused_when_the_file_is_read(
    changes: dict[str, Any], message: str, tmp_path: Path, icl: Icl
) -> None:
    """One message, exit code 2, nothing written."""
    whole = {} if "training.method" in changes else {"training.method": MAML}
    file = write_toml(tmp_path / "tiny.toml", tiny_values({**PLAIN, **whole, **changes}))
    code, _, complaint = icl("run", str(file), "--results", str(tmp_path / "results"))
    assert code == 2
    assert message in " ".join(complaint.split())
    assert not (tmp_path / "results").exists()
