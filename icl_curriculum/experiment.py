"""The strict config: what an experiment file may say, and the runs it resolves to."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, ValidationError
from pydantic_core import PydanticCustomError

from icl_curriculum.baselines.base import Baseline
from icl_curriculum.curricula import Curriculum, CurriculumPlan, Growth
from icl_curriculum.function_classes.base import FunctionClass
from icl_curriculum.inputs import InputDistribution
from icl_curriculum.models.base import ModelConfig
from icl_curriculum.registry import (
    BASELINES,
    CURRICULA,
    FUNCTION_CLASSES,
    INPUTS,
    METHODS,
    MODELS,
    SHIFTS,
    Component,
    Registry,
    UserError,
)
from icl_curriculum.shifts import Shift
from icl_curriculum.tasks import Task


class Strict(BaseModel):
    """No unknown keys, no silent conversions, nothing changed after reading."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def _builder(registry: Registry, default: str | None = None) -> Callable[[Any], Component]:
    """Read a component; a table without a name is of the ``default`` component."""

    def build(value: Any) -> Component:
        if default is not None and isinstance(value, dict):
            value = {"name": default, **value}
        try:
            return registry.build(value)
        except UserError as error:
            raise PydanticCustomError("component", "{message}", {"message": str(error)}) from None
        except ValidationError as error:
            name = value if isinstance(value, str) else value["name"]
            known = list(registry.get(name).model_fields)
            raise PydanticCustomError(
                "component_parameters", "bad parameters", {"errors": error.errors(), "known": known}
            ) from None

    return build


def _spec(component: Component) -> dict[str, Any]:
    return component.spec()


# Each may be written as a name, or as a table with a name and parameters.
_serialise = PlainSerializer(_spec, return_type=dict)
AnyFunctionClass = Annotated[FunctionClass, PlainValidator(_builder(FUNCTION_CLASSES)), _serialise]
AnyInputs = Annotated[InputDistribution, PlainValidator(_builder(INPUTS)), _serialise]
AnyShift = Annotated[Shift, PlainValidator(_builder(SHIFTS)), _serialise]
AnyCurriculum = Annotated[Curriculum, PlainValidator(_builder(CURRICULA)), _serialise]
AnyBaseline = Annotated[Baseline, PlainValidator(_builder(BASELINES)), _serialise]
AnyModel = Annotated[ModelConfig, PlainValidator(_builder(MODELS, "transformer")), _serialise]
AnyMethod = Annotated[Component, PlainValidator(_builder(METHODS, "in_context")), _serialise]


class CurriculumConfig(Strict):
    """``[curriculum]``."""

    function_classes: AnyCurriculum = Field("mixed", validate_default=True, description="curriculum over classes")
    inputs: AnyCurriculum = Field("random", validate_default=True, description="curriculum over input distributions")
    draw: Literal["batch", "prompt"] = Field("batch", description="draw the class once per batch, or per prompt")
    dims: Growth | None = Field(None, description="growth of the number of non-zero coordinates")
    points: Growth | None = Field(None, description="growth of the number of points")


Decay = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(Strict):
    """``[training.optimizer]``."""

    name: Literal["adam", "adamw", "muon"] = Field(
        "muon", description="'muon': block matrices by Muon, everything else by Adam"
    )
    learning_rate: float = Field(3e-3, gt=0, description="peak rate of Adam")
    muon_learning_rate: float = Field(0.02, gt=0, description="peak rate of Muon, a step in spectral norm")
    betas: tuple[Decay, Decay] = Field((0.9, 0.98), strict=False, description="decays of Adam's moments")
    momentum: float = Field(0.95, ge=0, lt=1, description="Muon's momentum")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay (adamw, muon)")


class ScheduleConfig(Strict):
    """``[training.schedule]``: the factor on all learning rates, a pure function of the step."""

    name: Literal["constant", "linear", "cosine"] = Field("linear", description="how the rate falls to 0 at the end")
    warmup: float = Field(0.02, ge=0, le=1, description="share of the steps over which the rate rises from 0")
    decay: float = Field(0.4, gt=0, le=1, description="share of the steps, the last ones, over which it falls")


class TrainingConfig(Strict):
    """``[training]``."""

    method: AnyMethod = Field("in_context", validate_default=True, description="what an update is")
    steps: int = Field(1000, ge=1, description="number of updates")
    batch_size: int = Field(64, ge=1, description="prompts per update")
    loss: Literal["squared", "normalized"] = Field(
        "squared", description="squared error, or divided by each class's trivial error"
    )
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig, description="optimizer and its rates")
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig, description="learning-rate schedule")
    clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; 'inf' clips nothing")
    divergence: float = Field(1000.0, gt=1, description="stop when the normalized loss exceeds this")
    log_every: int = Field(10, ge=1, description="steps between rows of training.csv and curriculum.csv")
    learning_every: int = Field(50, ge=1, description="steps between rows of learning.csv")
    checkpoint_every: int = Field(200, ge=1, description="steps between checkpoints")


class EvaluationConfig(Strict):
    """``[evaluation]``."""

    n_prompts: int = Field(1280, ge=2, description="prompts of each frozen bank")
    bank_seed: int = Field(0, ge=0, description="seed of the banks, independent of the runs' seeds")
    learning_prompts: int = Field(128, ge=1, description="prompts of the banks behind learning.csv")
    shifts: tuple[AnyShift, ...] = Field((), strict=False, description="out-of-distribution prompts, for every class")
    baselines: tuple[AnyBaseline, ...] | None = Field(
        None, strict=False, description="baselines; default: those that suit each class"
    )
    confidence: float = Field(0.9, gt=0, lt=1, description="level of the bootstrap intervals over prompts")


class Experiment(Strict):
    """One experiment file, resolved: every field has a value."""

    name: str = Field("experiment", description="name in the tables and of the folder under results/")
    description: str = Field("", description="one sentence on what is asked")
    recipe: Literal["fast", "reference"] = Field(
        "fast", description="defaults of model and optimizer: fastest found, or as published"
    )
    dims: int = Field(5, ge=1, description="dimensions of the inputs, d")
    points: int = Field(21, ge=1, description="points of a prompt, K examples and a query: K + 1")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0, 1, 2), strict=False, min_length=1, description="training seeds"
    )
    threads: int = Field(
        1, ge=1, description="CPU threads of a run; part of the hash, since results differ in the last bits"
    )
    function_classes: tuple[AnyFunctionClass, ...] = Field(
        ("linear",),
        strict=False,
        min_length=1,
        validate_default=True,
        description="function classes, in curriculum order",
    )
    inputs: tuple[AnyInputs, ...] = Field(
        ("gaussian",),
        strict=False,
        min_length=1,
        validate_default=True,
        description="input distributions, in order",
    )
    curriculum: CurriculumConfig = Field(default_factory=CurriculumConfig, description="what to train on when")
    model: AnyModel = Field("transformer", validate_default=True, description="the model")
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="the training loop")
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig, description="banks, shifts and baselines")
    variants: dict[str, dict[str, Any]] = Field({}, description="name = changed keys; one run per variant and seed")
    plugins: tuple[str, ...] = Field((), strict=False, description="plugin files, relative to the experiment file")

    def plan(self) -> CurriculumPlan:
        """The curricula over this experiment's function classes and input distributions."""
        return CurriculumPlan(
            over_function_classes=self.curriculum.function_classes,
            over_inputs=self.curriculum.inputs,
            function_classes=tuple(item.id for item in self.function_classes),
            inputs=tuple(item.id for item in self.inputs),
            steps=self.training.steps,
            dims=self.dims,
            points=self.points,
            dims_growth=self.curriculum.dims,
            points_growth=self.curriculum.points,
        )

    def tasks(self) -> dict[tuple[str, str], Task]:
        """The task of each cell (function class id, input distribution id)."""
        return {
            (function_class.id, inputs.id): Task(function_class, inputs, self.dims)
            for function_class in self.function_classes
            for inputs in self.inputs
        }

    def check(self) -> None:
        """Raise UserError for a combination that cannot work, naming the keys."""
        by_key: dict[str, Sequence[Component]] = {
            "function_classes": self.function_classes,
            "inputs": self.inputs,
            "evaluation.shifts": self.evaluation.shifts,
            "evaluation.baselines": self.evaluation.baselines or (),
        }
        for key, components in by_key.items():
            ids = [component.id for component in components]
            for item in ids:
                if ids.count(item) > 1:
                    raise UserError(f'{key}: two components have the id {item!r}; give one of them id = "..."')
        for number, seed in enumerate(self.seeds):
            if seed in self.seeds[:number]:
                raise UserError(f"seeds: {seed} stands there twice; expected every seed once")
        _check_folder("name", self.name)
        for variant, changes in self.variants.items():
            _check_folder("variants", variant)
            for key in ("seeds", "name", "variants", "plugins"):
                if key in changes:
                    raise UserError(f"variants.{variant}.{key}: belongs to the whole experiment, not to a variant")
        for number, function_class in enumerate(self.function_classes):
            with _located(f"function_classes.{number}"):
                function_class.check_dims(self.dims)
        self.model.check(dims=self.dims, points=self.points)
        for shift in self.evaluation.shifts:
            asked, allowed = shift.points(self.points), self.model.longest_prompt(self.points)
            if asked > allowed:
                raise UserError(
                    f"evaluation.shifts: {shift.id!r} asks for prompts of {asked} points, the model's positions allow "
                    f"{allowed}; set model.max_points = {asked}"
                )
        self.plan().check()

    def resolved(self) -> dict[str, Any]:
        """The experiment as plain TOML values, defaults included."""
        return self.model_dump(mode="python", exclude_none=True)


@contextlib.contextmanager
def _located(key: str) -> Iterator[None]:
    """Name the key in a UserError that knows only the component."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def _check_folder(key: str, name: str) -> None:
    if not re.fullmatch(r"[\w=,+%-][\w=,+%. -]*", name):
        raise UserError(
            f"{key}: {name!r} cannot name a folder; expected letters, digits and any of - _ . = , + %, no dot in front"
        )


#: Keys of a run's config.toml that its hash leaves out.
NOT_HASHED = ("name", "description", "plugins", "variant", "seed")


@dataclass(frozen=True)
class Run:
    """One run: an experiment with its variant applied, and a training seed."""

    experiment: Experiment
    variant: str
    seed: int
    plugin_hashes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.variant}-seed{self.seed}"

    def config(self) -> dict[str, Any]:
        """What is written as the run's config.toml."""
        values = self.experiment.resolved()
        for key in ("seeds", "variants"):
            values.pop(key, None)
        return {"variant": self.variant, "seed": self.seed, **values}

    def hash(self) -> str:
        """SHA-256 over what decides the results of all seeds: config and plugin contents, not names or paths."""
        deciding = {key: value for key, value in self.config().items() if key not in NOT_HASHED}
        text = json.dumps([deciding, sorted(self.plugin_hashes)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def variant_name(experiment: Experiment) -> str:
    """The variant's name where a file names none: the curriculum's id, fit for a folder."""
    return experiment.curriculum.function_classes.id.replace("/", "-")
