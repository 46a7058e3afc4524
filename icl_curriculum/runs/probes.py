"""Learners of a run that are not built in, asked a few prompts before anything is trained or scored."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.config.experiment import Experiment
from icl_curriculum.core.component import Component
from icl_curriculum.core.contracts import ComponentFailed, at_work, broken_contract
from icl_curriculum.core.misspelling import misspelt
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import BUILT_IN, KINDS, origin_of
from icl_curriculum.core.steps import unrolled
from icl_curriculum.core.streams import generator
from icl_curriculum.evaluation import Bank, NamedLearner, oracle_entry
from icl_curriculum.evaluation.probing import PROMPTS, expect_causal, probe_prompts
from icl_curriculum.function_classes.apart import functions_depend_on_inputs
from icl_curriculum.function_classes.checked import showers
from icl_curriculum.function_classes.showing import shows_too_much
from icl_curriculum.models.base import Model, ModelConfig
from icl_curriculum.models.calling import check_shape, given, mean_errors
from icl_curriculum.models.descent import copied
from icl_curriculum.models.stirring import stir
from icl_curriculum.results.doubts import Doubt
from icl_curriculum.runs.banks import evaluation_banks, learning_banks
from icl_curriculum.tasks import Task

#: Numbers of prompts with which it is tried whether functions depend on inputs.
APART = (7, 64)
_TAKES_QUERIES = "a model that cannot take separate queries says so by takes_queries = False in its config"


def probe_components(experiment: Experiment, model: Model) -> list[Doubt]:
    """Hold the components of an experiment that are not built in to their contracts; returns what there is to doubt.

    ComponentFailed, naming the first entry that leaks, for a model, a baseline or an oracle whose answers follow from
    more than they may; for a model that cannot answer what it will be asked in evaluation, or that no gradient reaches;
    for a class whose functions depend on the inputs drawn with them; and for prompts that cannot be drawn. The model is
    left as it is.
    """
    banks = [*evaluation_banks(experiment), *learning_banks(experiment)]
    for bank in banks:
        foreign = [item for item in bank.components() if origin_of(item) != BUILT_IN]
        if foreign:
            replace(bank, n_prompts=PROMPTS).draw()
            _expect_denominators(bank, foreign[0])
    _expect_functions_apart(experiment, banks)
    _expect_shown_in_time(banks)
    found = [*_misspelt(experiment), *_doubts_on_model(experiment, model, banks)]
    for entry, task in _classical(experiment, banks):
        unknown = expect_causal(entry, task, experiment.points, experiment.evaluation.costly)
        if unknown is not None:
            found.append(Doubt("leak", f"{entry.wording}: {unknown}", entry.id))
    return found


def _expect_denominators(bank: Bank, component: Component) -> None:
    """ComponentFailed unless errors are divided by finite numbers above zero, where there are mean errors at all."""
    if not bank.drawn_task.has_second_moment():
        return
    with at_work(component, "trivial_error or second_moment"):
        stated = {"trivial_error": float(bank.reference_error), "E f(q)^2": float(bank.second_moment)}
    for name, value in stated.items():
        if not 0 < value < math.inf:
            raise broken_contract(
                component,
                f"{name} on {'/'.join(bank.key)}",
                found=value,
                expected="a finite number above 0, by which errors are divided",
            )


def _misspelt(experiment: Experiment) -> Iterator[Doubt]:
    """Names that the author of a component gave and nothing calls."""
    for component in {part.id: part for item in experiment.components() for part in item.parts()}.values():
        if origin_of(component) == BUILT_IN:
            continue
        base = next(registry.base for registry in KINDS.values() if isinstance(component, registry.base))
        for name, meant in misspelt(type(component), base).items():
            yield Doubt("names", f"{component.id!r} defines {name!r}, which nothing calls; did you mean {meant!r}?")


def _expect_functions_apart(experiment: Experiment, banks: Sequence[Bank]) -> None:
    for task in {bank.drawn_task.function_class.id: bank.drawn_task for bank in banks}.values():
        function_class = task.function_class
        if origin_of(function_class) == BUILT_IN:
            continue
        reason = functions_depend_on_inputs(
            function_class, task.inputs, task.dims, experiment.points, prompts=APART, several_points=False
        )
        if reason is not None:
            raise broken_contract(
                function_class, "draw", found=f"functions that depend on their inputs: {reason}",
                expected="functions from self.draw_functions(n, dims, streams) and inputs from inputs.sample alone",
            )  # fmt: skip


def _expect_shown_in_time(banks: Sequence[Bank]) -> None:
    """ComponentFailed for a class or an observation from outside that shows more than a prompt may."""
    for task in {bank.drawn_task: None for bank in banks}:
        foreign = [item for item in showers(task.function_class) if origin_of(item) != BUILT_IN]
        if not foreign:
            continue
        reason = shows_too_much(task.function_class, task.inputs, task.dims)
        if reason is not None:
            found = f"prompts that tell too much: {reason}"
            expected = "entries that depend on earlier ones of the same prompt alone, and questions on no label"
            raise broken_contract(foreign[-1], "show", found=found, expected=expected)


def probe_trained(experiment: Experiment, model: Model) -> None:
    """Hold a trained model that is not built in to the same, with the weights that it has."""
    if origin_of(experiment.model) != BUILT_IN:
        _expect_causal(experiment.model, model, [*evaluation_banks(experiment), *learning_banks(experiment)])


def _classical(experiment: Experiment, banks: Sequence[Bank]) -> Iterator[tuple[NamedLearner, Task]]:
    """The baselines and the oracle of every class, each once, with a task that it is asked about."""
    met: set[tuple[str, str]] = set()
    for bank in banks:
        task = bank.drawn_task
        baselines = experiment.baselines_for(task.function_class)
        for entry in [NamedLearner(item.id, "baseline", item, item) for item in baselines] + oracle_entry(bank):
            key = entry.id, task.function_class.id
            if key not in met:
                met.add(key)
                yield entry, task


def _doubts_on_model(experiment: Experiment, model: Model, banks: Sequence[Bank]) -> Iterator[Doubt]:
    """Whether the model keeps its contract, and what there is to say of it. Nothing of a built-in one."""
    config, task = experiment.model, banks[0].drawn_task
    if origin_of(config) == BUILT_IN:
        return
    tried = _stirred(config, model, task, experiment.points)
    entry = NamedLearner("model", "model", _Asked(config, tried), config)
    _expect_answers(entry, config, banks)
    _expect_causal(config, tried, banks)
    yield from _expect_gradients(config, tried, task, experiment.points)


def _expect_causal(config: ModelConfig, model: Model, banks: Sequence[Bank]) -> None:
    """ComponentFailed if a model leaks on any class, or on prompts of any length, that it will be asked about.

    Every length is looked at on one class, a few on the others and where prompts are longer.
    """
    entry = NamedLearner("model", "model", _Asked(config, model), config)
    met: set[str | int] = set()
    for bank in banks:
        new: set[str | int] = {bank.drawn_task.function_class.id, bank.length}
        if not new <= met:
            last = bank.length - 1
            expect_causal(entry, bank.drawn_task, bank.length, lengths=sorted({0, 1, last // 2, last}) if met else None)
            met |= new


@dataclass(frozen=True)
class _Asked:
    """A model as a learner whose errors say what it was asked."""

    config: ModelConfig
    model: Model
    reads_steps: ClassVar[bool] = True

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points *labels"]:
        separate = prompts.queries is not None
        try:
            with at_work(self.config, "predict of separate queries" if separate else "predict"):
                found = self.model.predict(prompts)
                check_shape(found, prompts.ys)
                return found
        except ComponentFailed as error:
            if not separate:
                raise
            raise ComponentFailed(f"{error}; {_TAKES_QUERIES}") from error


def _stirred(config: ModelConfig, model: Model, task: Task, points: int) -> Model:
    """A copy without special weights, as what is multiplied by zero at first would hide; as built if that is wild."""
    with at_work(config, "copying the model (copy.deepcopy)"):
        tried: Model = copied(model)
    stir(tried, generator(0, "probe/weights"))
    with at_work(config, "predict"):
        found = tried.predict(probe_prompts(task, points).without_answers())
    if not bool(found.isfinite().all()):
        tried.load_state_dict(model.state_dict())
    return tried


def _expect_answers(entry: NamedLearner, config: ModelConfig, banks: Sequence[Bank]) -> None:
    """ComponentFailed unless the model answers prompts of every kind and length that it will be asked with numbers."""
    asked: set[tuple[int, bool, int, bool]] = set()
    for bank in banks:
        prompts = replace(bank, n_prompts=PROMPTS).draw().without_answers()
        kind = prompts.points, prompts.queries is not None, prompts.n_steps, prompts.steps_given
        if kind in asked:
            continue
        asked.add(kind)
        found = entry.learner.predict(prompts.copy())
        wrong = (~found.isfinite()).any(dim=0).nonzero().flatten().tolist()
        if wrong:
            what = "/".join(bank.key)
            raise broken_contract(
                config, f"predict of prompts of {prompts.points} points ({what})",
                found=f"infinite or NaN answers, first at entry {wrong[0]}", expected="finite ones",
            )  # fmt: skip


def _labels(prompts: Prompts, made: torch.Generator) -> Tensor:
    """Random labels of the kind of a task's."""
    drawn = torch.randn(prompts.ys.shape, generator=made)
    if not prompts.classes:
        return drawn
    return torch.zeros_like(drawn).scatter_(-1, drawn.argmax(dim=-1, keepdim=True), 1.0)


def _expect_gradients(config: ModelConfig, model: Model, task: Task, points: int) -> Iterator[Doubt]:
    """ComponentFailed unless gradients reach the weights; says which weights none reaches."""
    prompts = unrolled(probe_prompts(task, points))
    device = next(model.parameters()).device
    rows = None if model.instruction is None else model.instruction.rows(prompts).to(device)
    made = generator(0, "probe/labels")
    # Not those of the task: where functions are zero, so are errors.
    ys, targets = (_labels(prompts, made).to(device) for _ in range(2))
    xs = prompts.xs.to(device)
    model.zero_grad(set_to_none=True)
    with at_work(config, "predict"):
        answers = model.predict(replace(prompts, ys=ys.cpu()).without_answers()).to(device)
    wanted = mean_errors(answers, targets, classes=prompts.classes)
    try:
        with at_work(config, "backward"):
            errors = model.backward(xs, ys, targets, torch.ones(len(prompts), device=device), **given(instruction=rows))
        if not torch.allclose(errors.detach().float(), wanted, rtol=0.02, atol=1e-4):
            raise broken_contract(
                config, "backward", found="other errors than those of its predictions", expected="what forward says, "
                "whether gradients are taken or not: it must see the same in training as in evaluation",
            )  # fmt: skip
    except ComponentFailed as error:
        if "does not require grad" not in str(error.__cause__):
            raise
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    still = [name for name, value in trained.items() if value.grad is None or not bool((value.grad != 0).any())]
    if len(still) == len(trained):
        raise broken_contract(
            config, "backward", found="no gradient for any weight",
            expected="gradients of its errors in .grad: let no detach, no_grad or constant stand between weights and "
            "predictions",
        )  # fmt: skip
    # Of a model that changes from update to update it cannot be known.
    if still and not model.changes_between_updates:
        what = f"no gradient reaches {', '.join(still)} of the model {config.id!r}: they stay as they were built"
        yield Doubt("weights", what)
