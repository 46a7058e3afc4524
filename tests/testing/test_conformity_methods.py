"""The conformity check of training methods: the suite's and those of plugins pass, and one broken for every rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from places import EVERY_KIND, SUPPORT
from pydantic import PrivateAttr
from testing_classes import failures, finding_of, result_of
from testing_models import ReaderConfig

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.models import (
    Capability,
    DeepSetsConfig,
    HuggingFaceConfig,
    ModelConfig,
    RecurrentConfig,
    StateSpaceConfig,
    TransformerConfig,
    prompt_errors,
    register_model,
)
from icl_curriculum.testing import check
from icl_curriculum.training import Losses, Session, TrainingMethod, add_gradients


@pytest.mark.parametrize("name", ["in_context", "maml", "reptile", "meta_ict", "twice", "two_loops"])
def test_methods_of_the_suite_and_of_plugins_keep_the_contract(name: str, fresh_registries: None) -> None:
    for file in (EVERY_KIND, SUPPORT / "two_loops.py"):
        load_plugin(file)
    assert failures(name) == {}


class InContextAgain(TrainingMethod):
    """Plain in-context training, in which tests break one thing."""

    def update(self, session: Session) -> Losses:
        losses = add_gradients(session.model, session.batch())
        self.before_the_step(session)
        session.step_optimizers()
        return {"training": losses}

    def before_the_step(self, session: Session) -> None:
        pass


def having(**members: Any) -> type[TrainingMethod]:
    """The method with other members."""
    return type("Broken", (InContextAgain,), {"__doc__": "Broken.", "__module__": __name__, **members})


def returning(change: Callable[[Session, Losses], Any]) -> type[TrainingMethod]:
    """The method with what an update returns changed."""
    return having(update=lambda self, session: change(session, InContextAgain.update(self, session)))


def before_the_step(do: Callable[[Any, Session], Any], **members: Any) -> type[TrainingMethod]:
    """The method with something done between its gradients and its step."""
    return having(before_the_step=do, **members)


def turned(session: Session, by: float) -> None:
    for value in session.model.parameters():
        if value.grad is not None:
            value.grad += by


def refusing(self: TrainingMethod, training: Any, *, cells: int, draw: str) -> None:
    raise UserError("training.batch_size: never enough")


def failing(self: TrainingMethod, training: Any, *, cells: int, draw: str) -> None:
    raise KeyError(draw)


class Forgetful(InContextAgain):
    """Keeps its number of updates where no checkpoint finds it."""

    _updates: int = PrivateAttr(0)

    def before_the_step(self, session: Session) -> None:
        self._updates += 1
        turned(session, 1e-2 * self._updates)


EVER: list[int] = []


def without_a_step(session: Session) -> dict[Any, torch.Tensor]:
    losses = add_gradients(session.model, session.batch())
    session.model.zero_grad()
    return losses


def counting(self: Any, session: Session) -> None:
    EVER.append(session.step)
    turned(session, 1e-3 * len(EVER))


def moving(self: Any, model: Any) -> dict[str, Any]:
    with torch.no_grad():
        next(model.parameters()).add_(1)
    return {}


def drawing_first(self: Any, model: Any) -> dict[str, Any]:
    return {"start": torch.rand(3)}


def told_nothing(self: Any, session: Session) -> Losses:
    session.draw = lambda cell, n, draw=session.draw, **how: replace(draw(cell, n, **how), instruction=None)
    return InContextAgain.update(self, session)


def told_another(self: Any, session: Session) -> Losses:
    model, portions = session.model, session.batch()
    found = {}
    for portion in portions:
        prompts = portion.prompts
        more = {} if prompts.instruction is None else {"instruction": 1 - prompts.instruction}
        errors = prompt_errors(model(prompts.xs, prompts.ys, **more), prompts.targets)
        (errors.mean() * portion.weight / len(portions)).backward()
        found[portion.cell] = errors.detach().mean()
    session.step_optimizers()
    return {"training": found}


def first_scaled(session: Session, losses: Losses) -> Losses:
    return {"training": {cell: 2 * loss for cell, loss in losses["training"].items()}}


BROKEN: dict[str, tuple[type[TrainingMethod], str, str]] = {
    # Its name: a method, what was found, what mends it.
    "construction": (type("Empty", (TrainingMethod,), {"__doc__": "Empty."}), "Empty lacks update", "define update"),
    "needs/text": (
        having(required=lambda self: {"second_derivative"}),
        "'second_derivative'; did you mean Capability.SECOND_DERIVATIVES?",
        "frozenset({Capability.",
    ),
    "needs/signal": (having(signal="The loss"), "'The loss'", 'signal = "support"'),
    "needs/roles": (having(roles=("query",)), "('query',)", "roles = ('training', \"query\")"),
    "check/refuses": (having(check=refusing), "128 with: training.batch_size: never enough", "let check raise"),
    "check/fails": (having(check=failing), "KeyError: 'batch' (", "test_conformity_methods.py"),
    "operations": (having(operations=lambda self, role, forward: -1.0), "-1.0", "count the passes"),
    "operations/not finite": (having(operations=lambda self, role, forward: float("nan")), "nan", "count the passes"),
    "update/no step": (
        having(update=lambda self, session: {"training": without_a_step(session)}),
        "the weights that the run began with",
        "call session.step_optimizers()",
    ),
    "update/gradients left": (
        having(update=lambda self, session: {"training": add_gradients(session.model, session.batch())}),
        "with gradients left in read_in",
        "session.step_optimizers",
    ),
    "update/no losses": (returning(lambda session, losses: {}), "{}", "and return {role: {cell: scalar tensor}}"),
    "update/another role": (
        returning(lambda session, losses: {**losses, "query": losses["training"]}),
        "a loss of 'query' for ",
        "and return {role: {cell: scalar tensor}}",
    ),
    "update/signal not drawn": (having(signal="support"), "without drawing prompts under the role 'support'", "signal"),
    "update/not finite": (
        returning(lambda session, losses: {"training": {c: v / 0 for c, v in losses["training"].items()}}),
        "inf of role 'training' for ",
        "look for steps that diverge",
    ),
    "losses": (returning(first_scaled), " from update at step 0, ", "before the first step of the optimizers"),
    "instructions/left out": (
        having(update=told_nothing),
        "ValueError: the model reads instructions, and got none",
        "pass instruction=prompts.instruction to backward and forward_with",
    ),
    "instructions/another": (having(update=told_another), " from update at step 0, ", "where the prompts have one"),
    "global generators/update": (
        before_the_step(lambda self, session: turned(session, float(torch.rand(())))),
        "torch's global generator changed during update",
        "session.generator",
    ),
    "global generators/initial state": (
        having(initial_state=drawing_first),
        "torch's global generator changed during initial_state",
        "session.generator",
    ),
    "determinism": (before_the_step(counting), "model['", "keep nothing outside session.state"),
    "resuming": (Forgetful, "model['", "keep everything that one update leaves for the next in session.state"),
    "state/objects": (
        before_the_step(lambda self, session: session.state.update(generator=object())),
        "state['generator'] holds something of the type object",
        "objects as dicts of what they hold",
    ),
    "state/a model moved": (having(initial_state=moving), "initial_state changed ", "value.detach().clone()"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_method_is_told_what_is_wrong_and_how_to_mend_it(case: str) -> None:
    method, found, mend = BROKEN[case]
    finding = finding_of(method, case.split("/")[0])
    assert found in finding.found
    assert mend in finding.mend


def test_what_update_raises_names_its_line() -> None:
    def update(self: Any, session: Session) -> Losses:
        raise KeyError("support")

    finding = finding_of(having(update=update), "operations")
    assert finding.expected.startswith("no exception in update at step 0")
    assert f"test_conformity_methods.py:{update.__code__.co_firstlineno + 1}, in update)" in finding.found


class OnlyPrompts(InContextAgain):
    """Refuses batches of one cell, and small ones."""

    def check(self, training: Any, *, cells: int, draw: str) -> None:
        if draw == "batch" or training.batch_size < 16:
            raise UserError(f"found {draw} and {training.batch_size}")


def test_what_could_not_be_looked_at_is_noted() -> None:
    results = {result.rule: result for result in check(OnlyPrompts, rules=["check", "update", "state"])}
    assert {result.status for result in results.values()} == {"ok"}
    assert results["check"].note.endswith("the defaults of [training] are refused: found batch and 64")
    assert results["update"].note == 'not tried, as check refuses it: curriculum.draw = "batch"'
    assert results["state"].note.startswith("session.state is empty")


def test_the_model_is_one_that_can_do_what_the_method_needs(
    fresh_registries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = having(needs=frozenset({Capability.INSTRUCTION}))
    assert result_of(reading, "instructions").status == "ok"
    for config in (TransformerConfig, RecurrentConfig, StateSpaceConfig, DeepSetsConfig, HuggingFaceConfig):
        monkeypatch.setattr(config, "capabilities", ModelConfig.capabilities)
    result = result_of(InContextAgain, "instructions")
    assert (result.status, result.note.split(":")[0]) == (
        "does not apply",
        "not a model that can read instruction tokens",
    )
    result = result_of(reading, "update")
    assert (result.status, result.note.split(",")[0]) == (
        "does not apply",
        "no registered model can read instruction tokens",
    )
    register_model("reader")(ReaderConfig)
    assert result_of(reading, "update").status == "ok"
