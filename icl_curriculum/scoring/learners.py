"""What can be scored, as learners: baselines, scikit-learn's regressors, functions, trained runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.baselines import Baseline
from icl_curriculum.baselines.base import each_number
from icl_curriculum.baselines.per_prompt import Answer, Array, answer_each
from icl_curriculum.baselines.scikit_learn import regressor_answer
from icl_curriculum.config.identifiers import component
from icl_curriculum.config.names import check_cell
from icl_curriculum.core.arguments import plain
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import BASELINES
from icl_curriculum.evaluation import NamedLearner
from icl_curriculum.function_classes import FunctionClass, labels_of, steps_of
from icl_curriculum.models import Model
from icl_curriculum.results.columns import RunColumns
from icl_curriculum.runs.evaluation import TrainedModel
from icl_curriculum.scoring.trained_runs import open_run
from icl_curriculum.tasks import Task

#: What the tables call the run of learners that have none.
NAME = "score"
#: Ids that mean something else in the tables.
TAKEN = ("oracle", "informed_oracle")


@dataclass(frozen=True)
class Each:
    """A learner that answers one prompt at one length at a time, so it is asked at few of them."""

    answer: Answer
    costly: ClassVar[bool] = True

    @each_number
    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        return answer_each(prompts, self.answer)


@dataclass(frozen=True)
class Contender:
    """A learner to be scored, and the training run it comes from, if it does."""

    entry: NamedLearner
    run: str = NAME
    seed: int = 0
    trained: TrainedModel | None = None
    #: What says in a manifest which learner it was.
    origin: Any = None

    def why_not(self, function_class: FunctionClass) -> str | None:
        """Why it cannot answer prompts of a class, whose inputs or labels are others; None: it can, or may try."""
        learner = self.entry.learner
        if isinstance(learner, Baseline):
            return learner.why_not(function_class)
        if isinstance(learner, Each):
            return (
                f"{self.entry.id} answers numbers, and the labels are classes" if function_class.class_valued else None
            )
        if self.trained is None:
            return None
        experiment = self.trained.run.experiment
        trained = experiment.function_classes[0]
        own, asked = labels_of(trained), labels_of(function_class)
        if own != asked:
            return f"{self.run} was trained on {own}, and the labels are {asked}"
        if function_class.shown_steps not in (0, trained.shown_steps):
            return f"{self.run} was trained on {steps_of(trained)}, and the prompts show {steps_of(function_class)}"
        reads, shown = experiment.shown_dims, function_class.read_dims(experiment.dims)
        return None if reads == shown else f"{self.run} reads inputs of {reads} numbers, and they are shown as {shown}"

    @property
    def columns(self) -> RunColumns:
        """What stands in the columns of a run."""
        return RunColumns(experiment=NAME, run=self.run, variant=NAME, seed=self.seed)

    @property
    def step(self) -> int:
        return 0 if self.trained is None else self.trained.step


def contender(learner: Any, name: str | None = None) -> Contender:
    """Something to be scored; ``name`` in the tables, by default its id or its own name.

    - the name or id of a baseline, such as ``"ridge"`` or ``"sklearn/SVR"``, or a `Baseline`;
    - the folder of a finished run, a `pathlib.Path` or its text;
    - a scikit-learn regressor, not fitted: anything with ``fit`` and ``predict``; a copy is fitted for every answer;
    - an object with ``predict(prompts)``, a `Learner`;
    - a function ``(xs, ys, x_query) -> y`` of arrays in float64: ``xs`` (k, dims), ``ys`` (k,), ``x_query`` (dims,).

    At k = 0 regressors and functions are not asked: they predict 0. UserError for anything else.
    """
    if isinstance(learner, str | os.PathLike) and Path(learner).is_dir():
        return trained_contender(Path(learner), name or "model")
    if isinstance(learner, str):
        learner = component(learner, BASELINES, "learner")
    if isinstance(learner, Baseline):
        return Contender(NamedLearner(name or learner.id, "baseline", learner, learner), origin=learner.spec())
    if isinstance(learner, type):
        learner = _made(learner)
    name = name or getattr(learner, "__name__", None) or type(learner).__name__
    if isinstance(learner, Model):
        return Contender(
            NamedLearner("model" if name == type(learner).__name__ else name, "model", learner), origin=name
        )
    if hasattr(learner, "fit") and hasattr(learner, "predict"):
        return Contender(NamedLearner(name, "baseline", Each(regressor_answer(learner))), origin=repr(learner))
    if hasattr(learner, "predict"):
        return Contender(NamedLearner(name, "baseline", learner), origin=type(learner).__qualname__)
    if callable(learner):
        return Contender(NamedLearner(name, "baseline", Each(_one_number(learner))), origin=name)
    raise UserError(
        f"{name}: expected a baseline's name, a run's folder, an object with predict(prompts), a scikit-learn "
        f"regressor or a function (xs, ys, x_query) -> y, found {type(learner).__name__}"
    )


def trained_contender(run_dir: Path, name: str, device: str = "cpu") -> Contender:
    """The model of a finished run."""
    opened = open_run(run_dir, device)
    entry = NamedLearner(name, "model", opened.trained.model, opened.run.experiment.model)
    origin = {"run": opened.run.name, "config_hash": opened.manifest["config_hash"]}
    run = f"{opened.run.experiment.name}/{opened.run.name}"
    return Contender(entry, run, opened.run.seed, opened.trained, origin | {"weights": opened.manifest.get("weights")})


def contenders(learners: Any) -> list[Contender]:
    """One learner, several, or several by name. UserError for names that cannot stand side by side."""
    learners = plain(learners)
    if isinstance(learners, Mapping):
        found = [contender(learner, str(name)) for name, learner in learners.items()]
    elif isinstance(learners, Sequence) and not isinstance(learners, str):
        found = [contender(learner) for learner in learners]
    else:
        found = [contender(learners)]
    check_names(found)
    return found


def check_names(found: Iterable[Contender]) -> None:
    """UserError for a name that is taken or stands twice; models of several seeds may share theirs."""
    names: dict[tuple[str, str], None] = {}
    for item in found:
        name = item.entry.id
        check_cell("learner", name)
        if name in TAKEN:
            raise UserError(f"the name {name!r} has a meaning of its own in the tables; choose another")
        if (name, item.run) in names or any(name == other and item.run == NAME for other, _ in names):
            raise UserError(f"two learners are called {name!r}; give each a name of its own")
        names[name, item.run] = None


def read_dims(tasks: Iterable[Task]) -> list[int]:
    """The dimensions in which baselines answer prompts of some tasks: reasoning steps are read as further inputs."""
    return sorted(
        {dims for task in tasks for dims in (task.shown_dims, task.shown_dims + task.function_class.shown_steps)}
    )


def for_training_on(
    found: Sequence[Contender], function_classes: Sequence[FunctionClass], dims: Iterable[int]
) -> list[Contender]:
    """The same learners; baselines that depend on the classes in question, such as `dmmse`, know them.

    UserError for a baseline that cannot answer in one of these numbers of dimensions.
    """
    for item in found:
        if isinstance(item.entry.learner, Baseline):
            for number in set(dims):
                item.entry.learner.check_dims(number)
    return [
        replace(item, entry=replace(item.entry, learner=item.entry.learner.for_training_on(function_classes)))
        if isinstance(item.entry.learner, Baseline)
        else item
        for item in found
    ]


def _made(cls: type) -> Any:
    try:
        return cls()
    except TypeError as error:
        raise UserError(f"{cls.__name__}: expected a learner or a class that needs no arguments: {error}") from error


def _one_number(function: Callable[..., Any]) -> Answer:
    def answer(xs: Array, ys: Array, query: Array) -> float:
        found = np.asarray(function(xs, ys, query), dtype=np.float64)
        if found.size != 1:
            raise ValueError(f"expected one number, found an array of shape {found.shape}")
        return float(found.reshape(()))

    return answer
