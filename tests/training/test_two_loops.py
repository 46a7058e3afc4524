"""The training method's contract holds something else than plain training: two loops, roles, a state that survives."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import Finished, assert_same_results
from places import SUPPORT
from tiny_runs import Icl, Killed, killed_at, tiny_run, tiny_values, write_toml

from icl_curriculum.config.loading import load
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.registry import METHODS
from icl_curriculum.models import Capability, Model, ModelConfig, Transformer, TransformerConfig, register_model
from icl_curriculum.runs.execution import execute
from icl_curriculum.training import InContext, Losses, Portion, Session, Trainer, TrainingMethod, add_gradients

PLUGIN = SUPPORT / "two_loops.py"
METHOD = {"name": "two_loops", "inner_steps": 2}
CHANGES: dict[str, Any] = {
    "training.method": METHOD,
    "curriculum.function_classes": "random",
    "evaluation.shifts": [],
    "plugins": [str(PLUGIN)],
}


@pytest.fixture(autouse=True)
def registered(fresh_registries: None) -> None:
    load_plugin(PLUGIN)


@pytest.fixture
def whole(tmp_path: Path) -> Finished:
    (run,) = load(str(write_toml(tmp_path / "tiny.toml", tiny_values(CHANGES))))
    execute(run, tmp_path / "whole")
    return Finished(run, tmp_path / "whole", [])


def test_tables_show_the_signal_and_the_ledger_counts_every_role(whole: Finished) -> None:
    """Two tasks an update with two support and two query prompts each: 2 (1 + 3 · 2) + 2 · 3 passes a task."""
    training = whole.table("training")
    assert training.groupby("step")["n_prompts"].sum().eq(2 * 2 * 2).all(), "support prompts of two updates"
    assert (training.groupby("step")["prompts_seen"].first().diff().dropna() == 16).all()
    spent = whole.table("exposure").query("step == 12")
    assert spent["prompts"].sum() == 12 * 8
    trainer = Trainer(tiny_run(CHANGES))
    assert spent["flops"].sum() == 12 * 4 * (7 + 3) * trainer.forward_operations(5)


@pytest.mark.parametrize("step", [4, 8])
def test_killed_and_resumed_it_ends_at_the_same_bytes(
    whole: Finished, tmp_path: Path, quick_python: Path, step: int
) -> None:
    """Before the first checkpoint, and after it. A real kill, so nothing is tidied up."""
    killed = f"""
import os, signal
import icl_curriculum as icl

def report(progress):
    if (progress.phase, progress.done) == ("training", {step}):
        os.kill(os.getpid(), signal.SIGKILL)

icl.run({str(tmp_path / "tiny.toml")!r}, results={str(tmp_path)!r}, device="cpu", report=report)
"""
    assert subprocess.run([str(quick_python), "-c", killed], capture_output=True).returncode == -9
    execute(whole.run, tmp_path)
    assert_same_results(Finished(whole.run, tmp_path, []), whole)


def test_the_state_is_what_is_resumed(whole: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above would fail for a state that is not restored: here it is thrown away, and the weights differ."""
    load = Trainer.load_state_dict
    with pytest.raises(Killed):
        execute(whole.run, tmp_path, report=killed_at("training", 8))

    def forgetful(self: Trainer, state: dict[str, Any]) -> None:
        load(self, {**state, "method": self.method_state})

    monkeypatch.setattr(Trainer, "load_state_dict", forgetful)
    execute(whole.run, tmp_path)
    found = Finished(whole.run, tmp_path, []).path / "model.safetensors"
    assert found.read_bytes() != (whole.path / "model.safetensors").read_bytes()


def test_without_inner_steps_and_memory_its_gradient_is_that_of_the_query_prompts() -> None:
    found: dict[str, torch.Tensor] = {}
    changes = {
        "training.method": {"name": "two_loops", "inner_steps": 0, "memory": 0.0, "tasks": 1}, "training.clip": 1e9,
    }  # fmt: skip
    trainer = Trainer(tiny_run({**CHANGES, **changes}))
    model, kept = trainer.model, {name: value.clone() for name, value in trainer.model.named_parameters()}
    for member in trainer.optimizers.members:
        member.step = lambda: found.update(  # type: ignore[method-assign]
            {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
        )
    update = trainer.update()
    (cell,) = update.losses_of("query")
    assert all(torch.equal(value, kept[name]) for name, value in model.named_parameters())
    trainer.step = 0
    session = trainer.session()
    session.draw(cell, 4, role="support", prompts_per_function=4)
    query = session.draw(cell, 4, role="query", prompts_per_function=4, functions_of="support")
    model.zero_grad()
    ((model(query.xs, query.ys) - query.targets) ** 2).mean().backward()
    for name, value in model.named_parameters():
        torch.testing.assert_close(found[name], value.grad, atol=1e-6, rtol=1e-5)


class Unable(TransformerConfig):
    """A model that keeps what it computed from its parameters, and so cannot be called with others."""

    capabilities = frozenset()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": {"name": "unable"}},
            "training.method: 'two_loops/inner_steps=2' needs a model that can be called with explicit parameters, and "
            "'unable/width=8/layers=1' cannot: unable does not declare Capability.EXPLICIT_PARAMETERS. "
            "Otherwise choose another model or training.method",
        ),
        (
            {"training": {"batch_size": 3}},
            "training.batch_size: 3 is too few for a support and a query prompt of each of 2 tasks; "
            "expected at least 4",
        ),
        (
            {"training": {"method": "misspelt"}},
            "training.method: 'misspelt' needs frozenset({'second_derivatives'}), expected a set of Capability",
        ),
        (
            {"training": {"method": "twice_differentiated"}},
            "training.method: 'twice_differentiated' needs a model that can be differentiated twice, and "
            "'transformer/width=8/layers=1' cannot: fused attention has no second derivatives; set model.attention = "
            '"plain". Otherwise choose another model or training.method',
        ),
        (
            {"training": {"method": "twice_differentiated", "compile": True}, "model": {"attention": "plain"}},
            "training.compile: expected false for second derivatives, which the training method 'twice_differentiated' "
            "takes, found true",
        ),
        (
            {"training": {"method": "twice_differentiated", "precision": "bfloat16"}, "model": {"attention": "plain"}},
            'training.precision: expected "float32" for second derivatives, which the training method '
            "'twice_differentiated' takes, found \"bfloat16\"",
        ),
    ],
)
def test_a_model_is_not_asked_for_what_it_cannot_do(
    icl: Icl, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    register_model("unable")(Unable)

    @METHODS.register("twice_differentiated")
    class TwiceDifferentiated(TrainingMethod):
        """Needs what fused attention lacks."""

        needs = frozenset({Capability.SECOND_DERIVATIVES})

        def update(self, session: Session) -> Losses:
            raise AssertionError

    @METHODS.register("misspelt")
    class Misspelt(TwiceDifferentiated):
        """Says what it needs in words."""

        needs = frozenset({"second_derivatives"})  # type: ignore[arg-type]

    values = tiny_values(CHANGES)
    for table, keys in changes.items():
        values[table] = {**values[table], **keys}
    file = write_toml(tmp_path / "mine.toml", values)
    code, _, complaint = icl("run", file, "--results", tmp_path)
    assert (code, complaint.strip()) == (2, f"error: {file}: {message}")


def keeping(make: Callable[[Session], Any]) -> Callable[..., Losses]:
    """What an update does that keeps something and returns a loss."""

    def returned(session: Session, batch: list[Portion], loss: torch.Tensor) -> Losses:
        session.state["kept"] = make(session)
        return {"training": {batch[0].cell: loss}}

    return returned


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda session, batch, loss: {}, r"update at step 0 returned \{\}, expected losses by role and cell, of"),
        (
            lambda session, batch, loss: {"training": {batch[0].cell: loss}, "query": {batch[0].cell: loss}},
            "a loss of 'query' for linear/gaussian, expected losses of cells that were drawn under their role",
        ),
        (
            lambda session, batch, loss: {"training": {batch[0].cell: 1.0}},
            "a float as a loss, expected a scalar tensor",
        ),
        (lambda session, batch, loss: {"training": 5}, r"returned \{'training': 5\}, expected losses by role and cell"),
        (
            lambda session, batch, loss: {"training": {batch[0].cell: loss, 3: loss}},
            "a loss of 'training' for 3, expected losses of cells that were drawn",
        ),
        (
            lambda session, batch, loss: {"training": add_gradients(session.model, batch)},
            r"update at step 0 returned with gradients left in read_in, expected a call of session\.step_optimizers",
        ),
        (
            keeping(lambda session: {Capability.ATTENTION: 1.0}),
            r"its state returned state\['kept'\] has a key of the type Capability, expected tensors",
        ),
        (
            keeping(lambda session: session.state),
            r"its state returned state\['kept'\] holds what holds it, expected tensors",
        ),
        (
            keeping(lambda session: session.model.read_in * 2),
            r"its state returned state\['kept'\] holds a tensor with a graph, expected tensors without a graph",
        ),
        (
            keeping(lambda session: {"list": [object()]}),
            r"its state returned state\['kept'\]\['list'\]\[0\] holds something of the type object, expected tensors",
        ),
    ],
)
def test_a_method_that_breaks_its_contract_is_named(returned: Callable[..., Losses], message: str) -> None:
    class Careless(TrainingMethod):
        """Returns what it should not."""

        def update(self, session: Session) -> Losses:
            return returned(session, session.batch(), torch.zeros(()))

    trainer = Trainer(tiny_run({"training.method": Careless()}))

    def checkpointed() -> None:
        trainer.update()
        trainer.state_dict()

    with pytest.raises(ComponentFailed, match=message):
        checkpointed()


@pytest.mark.parametrize("amount", [float("inf"), float("nan"), -1.0])
def test_operations_that_are_no_amount_name_the_method(amount: float) -> None:
    class Boundless(InContext):
        """Costs what nothing can."""

        def operations(self, role: str, forward: int) -> float:
            return amount

    with pytest.raises(ComponentFailed, match=f"operations returned {amount}, expected a finite number of at least 0"):
        Trainer(tiny_run({"training.method": Boundless()})).update()


def small(**fields: Any) -> Transformer:
    config = TransformerConfig(width=8, layers=2, heads=2, **fields)
    return config.build(dims=2, points=4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tokens", ["joint", "alternate"])
def test_explicit_parameters_stand_in_for_the_models_own(tokens: str) -> None:
    model, other = small(tokens=tokens), small(tokens=tokens)
    with torch.no_grad():
        for value in other.parameters():
            value.mul_(1.1)
    xs, ys = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(1)), torch.ones(3, 4)
    kept = {name: value.clone() for name, value in model.named_parameters()}
    for queries in (None, xs.flip(0)):
        found = model.forward_with(dict(other.named_parameters()), xs, ys, queries)
        torch.testing.assert_close(found, other(xs, ys, queries))
    assert all(torch.equal(value, kept[name]) for name, value in model.named_parameters())
    torch.testing.assert_close(model.forward_with({}, xs, ys), model(xs, ys))
    with pytest.raises(KeyError, match="Transformer has no parameter 'reed_in'; did you mean 'read_in'"):
        model.forward_with({"reed_in": kept["read_in"]}, xs, ys)


@pytest.mark.parametrize("activation", ["gelu", "relu_squared"])
def test_what_is_declared_twice_differentiable_is(activation: str) -> None:
    """The change of the gradient along a direction against central differences, in float64."""
    assert TransformerConfig(attention="plain").lacks(Capability.SECOND_DERIVATIVES) is None
    model = small(attention="plain", activation=activation).double()
    made = torch.Generator().manual_seed(2)
    xs = torch.randn(3, 4, 2, generator=made, dtype=torch.float64)
    ys = xs.sum(dim=-1)
    values = {name: value.detach() for name, value in model.named_parameters()}
    along = {name: torch.randn(value.shape, generator=made, dtype=torch.float64) for name, value in values.items()}

    def gradient(shift: float, *, graph: bool = False) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        moved = {name: (value + shift * along[name]).requires_grad_() for name, value in values.items()}
        error = (model.forward_with(moved, xs, ys) - ys).square().mean()
        return list(moved.values()), list(torch.autograd.grad(error, list(moved.values()), create_graph=graph))

    leaves, first = gradient(0.0, graph=True)
    dotted = sum((g * a).sum() for g, a in zip(first, along.values(), strict=True))
    second = torch.autograd.grad(dotted, leaves)
    after, before = gradient(1e-5)[1], gradient(-1e-5)[1]
    for found, up, down in zip(second, after, before, strict=True):
        torch.testing.assert_close(found, (up - down) / 2e-5, atol=1e-6, rtol=1e-4)


def test_a_config_declares_what_its_models_can_do() -> None:
    can = {capability for capability in Capability if TransformerConfig(attention="plain").lacks(capability) is None}
    assert can == set(Capability)
    assert {capability for capability in Capability if TransformerConfig().lacks(capability) is not None} == {
        Capability.SECOND_DERIVATIVES
    }
    assert ModelConfig.capabilities == {Capability.EXPLICIT_PARAMETERS}
    with pytest.raises(NotImplementedError, match="Model gives no attention maps"):
        Model().attention(torch.zeros(1, 2, 2), torch.zeros(1, 2))
