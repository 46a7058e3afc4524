"""The strict config: what an experiment file may say, and the runs it resolves to."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from icl_curriculum.baselines.base import Baseline
from icl_curriculum.config.deciding import NOTHING, part_hash, plugins_behind
from icl_curriculum.config.names import check_folder
from icl_curriculum.config.sweeps import Sweep, check_sweep
from icl_curriculum.config.tables import (
    AnyModel,
    CurriculumConfig,
    EvaluationConfig,
    InstructionConfig,
    TrainingConfig,
)
from icl_curriculum.core.component import ADDED_LATER, LARGEST, Component, Strict
from icl_curriculum.core.contracts import ComponentFailed, at_work
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.named_files import files_in, files_written_as
from icl_curriculum.core.plugins import copies_of
from icl_curriculum.core.registry import BASELINES
from icl_curriculum.curricula import CurriculumPlan
from icl_curriculum.function_classes.base import AnyFunctionClass, FunctionClass, labels_of, steps_of
from icl_curriculum.inputs import AnyInputs
from icl_curriculum.models.adapting import NO_STEPS_PER_PROMPT
from icl_curriculum.models.base import Capability, Model, build_model, expect_model
from icl_curriculum.models.initial import expect_same_model, start_from
from icl_curriculum.models.instructions import Instruction
from icl_curriculum.tasks import Task


def _usual_inputs(given: dict[str, Any]) -> tuple[str | dict[str, Any], ...]:
    """The inputs where a file names none: Gaussian, but for classes that all make their own, and the same ones."""
    classes, dims = given.get("function_classes", ()), given.get("dims", 1)
    try:
        stated = [item.reference(dims) for item in classes if item.owns_inputs]
    except Exception:  # A plugin's own mistake is named where the class is looked at.
        stated = []
    alike = len(stated) == len(classes) and all(one == stated[0] for one in stated)
    return (stated[0] if stated and alike else "gaussian",)


class Experiment(Strict):
    """One experiment file, resolved: every field has a value."""

    name: str = Field(
        "experiment", description="name in the tables and of the folder under results/", json_schema_extra=NOTHING
    )
    description: str = Field("", description="one sentence on what is asked", json_schema_extra=NOTHING)
    recipe: Literal["fast", "decayed", "reference"] = Field(
        "fast",
        description="defaults of model and optimizer: 'fast', what findings and leaderboard rest on; 'decayed', the "
        "fastest found in 20 dimensions; 'reference', as published",
    )
    dims: int = Field(5, ge=1, le=LARGEST, description="dimensions of the inputs, d")
    points: int = Field(21, ge=2, le=LARGEST, description="points of a prompt, K examples and a query: K + 1")
    seeds: tuple[Annotated[int, Field(ge=0, le=2**63 - 1)], ...] = Field(
        (0, 1, 2),
        strict=False,
        min_length=1,
        description="training seeds",
        json_schema_extra=NOTHING,
    )
    threads: int = Field(
        1, ge=1, le=1024, description="CPU threads of a run; part of the hash, since results differ in the last bits"
    )
    function_classes: tuple[AnyFunctionClass, ...] = Field(
        ("linear",),
        strict=False,
        min_length=1,
        validate_default=True,
        description="function classes, in curriculum order",
    )
    inputs: tuple[AnyInputs, ...] = Field(
        default_factory=_usual_inputs,
        strict=False,
        min_length=1,
        validate_default=True,
        description="input distributions, in order; default: Gaussian, or those that the classes make themselves",
    )
    curriculum: CurriculumConfig = Field(default_factory=CurriculumConfig, description="what to train on when")
    model: AnyModel = Field("transformer", validate_default=True, description="the model")
    instruction: InstructionConfig = Field(
        default_factory=InstructionConfig,
        description="what the model is told before every prompt",
        json_schema_extra=ADDED_LATER,
    )
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="the training loop")
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig, description="banks, shifts and baselines")
    variants: dict[str, dict[str, Any]] = Field(
        {}, description="name = changed keys; one run per variant and seed", json_schema_extra=NOTHING
    )
    plugins: tuple[str, ...] = Field(
        (), strict=False, description="plugin files, relative to the experiment file", json_schema_extra=NOTHING
    )
    sweep: Sweep = Field(
        {},
        description="key = list of values; a variant for each combination of values, and of every variant",
        json_schema_extra=ADDED_LATER | NOTHING,
    )

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

    @property
    def shown_dims(self) -> int:
        """How many numbers an input is shown as in the prompts, which is what the model reads."""
        return next(iter(self.tasks().values())).shown_dims

    def stream_names(self) -> dict[tuple[str, str], str]:
        """What the streams of each cell (function class id, input distribution id) are called: ``linear/gaussian``.

        A name is made of the ids that the components have without ``id = "..."``, so an id of one's own doesn't change
        what is drawn. Of two components that differ in nothing else the second is ``linear#2``: each has its own data.
        """
        classes, inputs = _stream_parts(self.function_classes), _stream_parts(self.inputs)
        return {cell: f"{classes[cell[0]]}/{inputs[cell[1]]}" for cell in itertools.product(classes, inputs)}

    @property
    def shown_steps(self) -> int:
        """The reasoning steps of each pair, which all function classes have in common; 0 where they have none."""
        return self.function_classes[0].shown_steps

    def read_points(self, points: int) -> int:
        """The positions that the model reads of a prompt of so many points: S + 1 for each, with S reasoning steps."""
        return points * (self.shown_steps + 1)

    def why_too_long(self, points: int) -> str | None:
        """Why the model cannot take prompts of so many points, with their reasoning steps; None: it can."""
        read = self.read_points(points)
        reason = self.model.why_too_long(read, points=self.read_points(self.points))
        if reason is None or read == points:
            return reason
        return f"prompts of {points} points with {self.shown_steps} reasoning steps each, so {reason}"

    def told(self) -> Instruction | None:
        """What models of this experiment are told before every prompt; None: nothing."""
        config = self.instruction
        if config.kind == "none":
            return None
        told_apart: Sequence[Component] = self.function_classes if config.of == "function_class" else self.inputs
        return Instruction(config.kind, config.tokens, config.of, tuple(item.id for item in told_apart))

    def build_model(self, generator: torch.Generator) -> Model:
        """A freshly initialised model of this experiment, on the CPU, that draws from ``generator`` alone."""
        first = self.function_classes[0]
        model = build_model(
            self.model, dims=self.shown_dims, points=self.read_points(self.points), generator=generator,
            instruction=self.told(),
            label_dims=first.label_dims, classes=first.class_valued,
        )  # fmt: skip
        expect_model(self.model, model)
        return model

    def check(self) -> None:
        """Raise UserError for a combination that cannot work, naming the keys."""
        by_key: dict[str, Sequence[Component]] = {
            "function_classes": self.function_classes,
            "inputs": self.inputs,
            "curriculum.function_classes": (self.curriculum.function_classes,),
            "curriculum.inputs": (self.curriculum.inputs,),
            "evaluation.shifts": self.evaluation.shifts,
            "evaluation.learning_shifts": self.evaluation.learning_shifts,
            "evaluation.baselines": self.evaluation.baselines or (),
            "evaluation.metrics": self.evaluation.metrics,
        }
        for key, components in by_key.items():
            ids = [component.id for component in components]
            for item in ids:
                if not item.isprintable():
                    raise UserError(f"the id {item!r} holds characters that no table or figure can show", key=key)
                if ids.count(item) > 1:
                    raise UserError(
                        f"two components have the id {item!r}", key=key, way_out='give one of them id = "..."'
                    )
                if item in _TAKEN_IDS.get(key, ()):
                    raise UserError(
                        f"the id {item!r} has a meaning of its own in the tables", key=key, way_out="choose another"
                    )
        met: set[int] = set()
        for seed in self.seeds:
            if seed in met:
                raise UserError(f"{seed} stands there twice; expected every seed once", key="seeds")
            met.add(seed)
        check_folder("name", self.name)
        for variant, changes in self.variants.items():
            check_folder("variants", variant)
            for key in ("seeds", "name", "variants", "sweep", "plugins"):
                if key in changes:
                    raise UserError(
                        "belongs to the whole experiment, not to a variant", key=f"variants.{variant}.{key}"
                    )
        check_sweep(self.sweep, self.variants)
        for number, function_class in enumerate(self.function_classes):
            with _located(f"function_classes.{number}", function_class):
                function_class.check_dims(self.dims)
                for baseline in self.baselines_for(function_class):
                    # What is not told of steps reads them as further inputs.
                    shown = function_class.read_dims(self.dims)
                    for dims in {shown, shown + function_class.shown_steps}:
                        baseline.check_dims(dims)
                self._check_growth(function_class)
        for number, inputs in enumerate(self.inputs):
            with _located(f"inputs.{number}", inputs):
                inputs.check_dims(self.dims)
        self._check_unnamed_inputs()
        for number, function_class in enumerate(self.function_classes):
            for inputs in self.inputs:
                with _located(f"function_classes.{number}", function_class):
                    Task(function_class, inputs, self.dims).check()
        with _located("model", self.model):
            self.model.check(dims=self.shown_dims, points=self.read_points(self.points))
        self._check_steps()
        if self.model.starts_from is not None:
            expect_same_model(self.model, self.model.starts_from)
            start_from(self.build_model(torch.Generator().manual_seed(0)), self.model.starts_from)
        self._check_labels()
        self._check_method()
        self._check_instruction()
        growth = self.curriculum.points
        self.training.check(self.points, self.points if growth is None else growth.start)
        self.evaluation.check()
        for key, growth, full in (
            ("curriculum.dims", self.curriculum.dims, self.dims),
            ("curriculum.points", self.curriculum.points, self.points),
        ):
            if growth is not None and growth.start > full:
                raise UserError(f"{growth.start} exceeds the experiment's own {full}", key=f"{key}.start")
        longest = max([self.points, *(shift.points(self.points) for shift in self.evaluation.shifts)]) - 1
        self.evaluation.costly.check(longest, "evaluation.costly.lengths")
        shifts = [("evaluation.shifts", shift) for shift in self.evaluation.shifts]
        shifts += [("evaluation.learning_shifts", shift) for shift in self.evaluation.learning_shifts]
        for key, shift in shifts:
            with _located(key, shift):
                asked = shift.points(self.points)
                too_long = self.why_too_long(asked)
            if too_long is not None:
                raise UserError(
                    f"{shift.id!r} asks for {too_long}",
                    key=key,
                    way_out=f"set model.max_points = {self.read_points(asked)}"
                    if "max_points" in type(self.model).model_fields
                    else "leave the shift out, or override longest_prompt in the model's config",
                )
        for key, curriculum, items in (
            ("curriculum.function_classes", self.curriculum.function_classes, self.function_classes),
            ("curriculum.inputs", self.curriculum.inputs, self.inputs),
        ):
            with _located(key, curriculum):
                curriculum.check([item.id for item in items], self.training.steps)

    def _check_unnamed_inputs(self) -> None:
        """UserError for a class whose inputs are ``own`` beside one whose are not: all classes share the inputs."""
        for number, item in enumerate(self.function_classes):
            with _located(f"function_classes.{number}", item):
                others = [each for each in self.function_classes if not each.names_no_inputs(self.dims)]
            if others and item not in others:
                raise UserError(
                    f"{item.id!r} makes inputs that have no name, {others[0].id!r} has others, and all classes of an "
                    f"experiment have the same inputs",
                    key=f"function_classes.{number}",
                    way_out="train on them apart, and ask about the other by the shift other_class",
                )

    def _check_labels(self) -> None:
        """UserError for classes whose labels differ in kind, and for what cannot train on them, or measure it."""
        first, labels = self.function_classes[0], labels_of(self.function_classes[0])
        for number, other in enumerate(self.function_classes[1:], start=1):
            if labels_of(other) != labels:
                raise UserError(
                    f"the labels of {other.id!r} are {labels_of(other)}, those of {first.id!r} {labels}; one model "
                    f"predicts labels of one kind",
                    key=f"function_classes.{number}",
                )
            if other.read_dims(self.dims) != first.read_dims(self.dims):
                raise UserError(
                    f"{other.id!r} shows inputs as {other.read_dims(self.dims)} numbers, {first.id!r} as "
                    f"{first.read_dims(self.dims)}; one model reads inputs of one kind",
                    key=f"function_classes.{number}",
                    way_out="give all of them an observation, such as missing_features with share = 0",
                )
        if first.label_dims > 1:
            with _located("model", self.model):
                lack = self.model.lacks(Capability.VECTOR_LABELS)
            if lack is not None:
                raise UserError(
                    f"{self.model.id!r} cannot {Capability.VECTOR_LABELS.wording}, and the labels of {first.id!r} are "
                    f"{labels}: {lack}",
                    key="model",
                    way_out="choose another model",
                )
        self.training.check_labels("signs" if first.sign_valued else labels, classes=first.class_valued)
        self._check_weighing(first)
        for baseline in self.evaluation.baselines or ():
            reasons = [baseline.why_not(item) for item in self.function_classes]
            if None not in reasons:
                raise UserError(str(reasons[0]), key="evaluation.baselines", way_out="leave it out")
        for number, metric in enumerate(self.evaluation.metrics):
            with _located(f"evaluation.metrics.{number}", metric):
                reasons = [metric.undefined(task) for task in self.tasks().values()]
            if None not in reasons:
                raise UserError(
                    f"{metric.id!r} means nothing for {first.id!r}: {reasons[0]}", key=f"evaluation.metrics.{number}"
                )

    def _check_steps(self) -> None:
        """UserError for classes that show different numbers of reasoning steps, and for what they cannot be asked."""
        first = self.function_classes[0]
        for number, other in enumerate(self.function_classes):
            if other.shown_steps != first.shown_steps:
                raise UserError(
                    f"{other.id!r} shows {steps_of(other)}, and {first.id!r} {steps_of(first)}; one model reads pairs "
                    f"of one length",
                    key=f"function_classes.{number}",
                    way_out="set show_steps = false for the classes that have some",
                )
        if self.shown_steps and any(item.per_prompt for item in self.evaluation.adaptations()):
            raise UserError(NO_STEPS_PER_PROMPT, key="evaluation.adapt", way_out="leave it out")

    def _check_weighing(self, first: FunctionClass) -> None:
        """UserError for a training method that would not honour what counts in a prompt."""
        masked = [item for item in self.function_classes if type(item).counts is not FunctionClass.counts]
        what = (
            f"the labels of {first.id!r} are classes" if first.class_valued
            else f"{masked[0].id!r} says which positions count" if masked
            else "training.positions, shortest_prompt or label_smoothing says which positions count, and how"
            if self.training.weighs_entries
            else ""
        )  # fmt: skip
        if what and not self.training.method.weighs_entries:
            raise UserError(
                f"{what}, and the training method {self.training.method.id!r} does not say that it honours that, by "
                f"weighs_entries = True",
                key="training.method",
            )

    def _check_method(self) -> None:
        """UserError for a training method that cannot train this model in this way."""
        method, model = self.training.method, self.model
        cells = len(self.function_classes) * len(self.inputs)
        with _located("training.method", method):
            method.check(self.training, cells=cells, draw=self.curriculum.draw)
            self._check_shards()
            needed = method.required()
            if not isinstance(needed, frozenset | set) or not all(isinstance(item, Capability) for item in needed):
                raise UserError(f"{method.id!r} needs {needed!r}, expected a set of Capability")
        told = self.told()
        if Capability.INSTRUCTION in needed and told is None:
            raise UserError(
                f'expected "one_hot", "preset" or "learned" for the training method {method.id!r}, which tells the '
                f'model the task, found "none"',
                key="instruction.kind",
            )
        if Capability.INSTRUCTION in needed and cells > 1 and told is not None and len(told.names) == 1:
            raise UserError(
                f"{told.names[0]!r} is the only one of its kind, so the training method {method.id!r} would tell the "
                f"model nothing",
                key="instruction.of",
                way_out="tell it the other of function_class and inputs",
            )
        for capability in sorted(needed):
            with _located("training.method", model):
                lack = model.lacks(capability)
            if lack is not None:
                raise UserError(
                    f"{method.id!r} needs a model that can {capability.wording}, and {model.id!r} cannot: {lack}. "
                    f"Otherwise choose another model or training.method",
                    key="training.method",
                )
        if Capability.SECOND_DERIVATIVES in needed:
            # Neither torch's compiler nor products in half precision give second derivatives that can be trusted.
            for key, found, expected in (
                ("compile", self.training.compile, False),
                ("precision", self.training.precision, "float32"),
            ):
                if found != expected:
                    raise UserError(
                        f"expected {json.dumps(expected)} for second derivatives, which the training "
                        f"method {method.id!r} takes, found {json.dumps(found)}",
                        key=f"training.{key}",
                    )

    def _check_shards(self) -> None:
        """UserError for more shards than the training method can divide an update into."""
        method, shards = self.training.method, self.training.shards
        if shards == 1:
            return
        most = method.most_shards(self.training)
        if not isinstance(most, int) or most < 1:
            raise UserError(f"{method.id!r} says that most_shards is {most!r}, expected a whole number from 1")
        if most == 1:
            raise UserError(
                f"expected 1, as the training method {method.id!r} computes the gradient of an update as a whole, "
                f"found {shards}",
                key="training.shards",
            )
        if shards > most:
            raise UserError(
                f"expected at most {most}, as the training method {method.id!r} can divide an update into no more "
                f"parts, found {shards}",
                key="training.shards",
            )

    def _check_instruction(self) -> None:
        """UserError for an instruction that the model cannot read, or that cannot tell its names apart."""
        told = self.told()
        if told is None:
            return
        with _located("instruction.kind", self.model):
            lack = self.model.lacks(Capability.INSTRUCTION)
        if lack is not None:
            raise UserError(
                f"{self.model.id!r} cannot {Capability.INSTRUCTION.wording}: {lack}",
                key="instruction.kind",
                way_out='choose another model, or set instruction.kind = "none"',
            )
        self.instruction.check(len(told.names), self.shown_dims)

    def _check_growth(self, function_class: FunctionClass) -> None:
        """UserError if growing dimensions, whose other coordinates are zero, would leave the class's domain."""
        if self.curriculum.dims is not None and (function_class.sign_inputs or function_class.owns_inputs):
            what = "is defined for inputs of -1 and 1" if function_class.sign_inputs else "makes its own inputs"
            raise UserError(f"curriculum.dims sets coordinates to zero, and {function_class.id} {what}")

    def baselines_for(self, function_class: FunctionClass) -> tuple[Baseline, ...]:
        """The baselines to evaluate on a class: those that the experiment names, else those that suit the class."""
        chosen: Sequence[Component] | None = self.evaluation.baselines
        if chosen is None:
            built = [BASELINES.build(name, beside=function_class) for name in function_class.suited_baselines()]
            chosen = list({item.id: item for item in built}.values())
        able = [item for item in chosen if isinstance(item, Baseline) and item.why_not(function_class) is None]
        return tuple(item.for_training_on(self.function_classes) for item in able)

    def components(self) -> list[Component]:
        """Everything registered that the experiment is made of."""
        baselines = [baseline for item in self.function_classes for baseline in self.baselines_for(item)]
        return [
            *self.training_components(), *self.evaluation.shifts, *self.evaluation.learning_shifts, *baselines,
            *self.evaluation.metrics,
        ]  # fmt: skip

    def training_components(self) -> list[Component]:
        """Those of the `components` that training is made of."""
        curriculum = self.curriculum
        return [
            *self.function_classes, *self.inputs, curriculum.function_classes, curriculum.inputs, self.model,
            self.training.method,
        ]  # fmt: skip

    def resolved(self) -> dict[str, Any]:
        """The experiment as plain TOML values, defaults included."""
        return self.model_dump(mode="python", exclude_none=True)


def _stream_parts(components: Sequence[Component]) -> dict[str, str]:
    """For each component's id the one that names its streams, numbered from the second component that has it on."""
    parts: dict[str, str] = {}
    met: Counter[str] = Counter()
    for component in components:
        plain = component.canonical_id
        met[plain] += 1
        parts[component.id] = plain if met[plain] == 1 else f"{plain}#{met[plain]}"
    return parts


@contextlib.contextmanager
def _located(key: str, component: Component) -> Iterator[None]:
    """Name the key in a UserError that knows only the component; what a plugin raises becomes one."""
    try:
        with at_work(component, "check"):
            yield
    except ComponentFailed as error:
        raise UserError(str(error), key=key) from error
    except UserError as error:
        # A component that holds the mistake in one of its own fields knows the key better.
        raise UserError(error.reason, key=error.key or key, subject=error.subject, way_out=error.way_out) from error


# Ids that mean something else in the tables.
_TAKEN_IDS = {
    "evaluation.shifts": ("none",),
    "evaluation.learning_shifts": ("none",),
    "evaluation.baselines": ("model", "oracle", "informed_oracle"),
}

#: Keys of a run's config.toml that its hash leaves out.
NOT_HASHED = ("name", "description", "plugins", "variant", "seed")


@dataclass(frozen=True)
class Run:
    """One run: an experiment with its variant applied, and a training seed."""

    experiment: Experiment
    variant: str
    seed: int
    #: The hashes of the plugin files, in their order, then those of the installed packages.
    plugin_hashes: tuple[str, ...] = ()
    #: Of a combination of a sweep: its values as tables show them, by key, and the entry of ``[variants]`` that they
    #: were set in, if there are some. Neither is part of the hash.
    swept: Mapping[str, str] = field(default_factory=dict)
    swept_variant: str = ""

    @property
    def name(self) -> str:
        return f"{self.variant}-seed{self.seed}"

    def plugin_copies(self) -> dict[str, bytes]:
        """The content of the plugin files by the names of their copies, as it was when they were loaded."""
        return copies_of(self.experiment.plugins, self.plugin_hashes)

    def files(self) -> dict[str, bytes]:
        """The content of the files that the config names, as it was read, by the paths of their copies."""
        return {file.copy: file.data for file in files_in(self.experiment)}

    def config(self) -> dict[str, Any]:
        """What is written as the run's config.toml. Files that it names are named as their copies (`files`)."""
        with files_written_as("copy"):
            values = self.experiment.resolved()
        for key in ("seeds", "variants", "sweep"):
            values.pop(key, None)
        return {"variant": self.variant, "seed": self.seed, **values}

    def hash(self) -> str:
        """SHA-256 over what decides the results of all seeds: config and plugin contents, not names or paths."""
        left_out = {*NOT_HASHED, "seeds", "variants", "sweep"}
        deciding = {key: value for key, value in self.experiment.deciding().items() if key not in left_out}
        text = json.dumps([deciding, sorted(self.plugin_hashes)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def training_plugins(self) -> list[str]:
        """Those of the plugin hashes that are of the code that trains the run."""
        return plugins_behind(self.experiment.training_components(), self.plugin_hashes)

    def training_hash(self) -> str:
        """The hash of what decides the weights: two runs that have it in common are trained alike, seed by seed."""
        return part_hash(self.experiment, "training", self.training_plugins())

    def evaluation_hash(self) -> str:
        """The hash of what decides, beside the weights, what the evaluation after training asks, and of whom."""
        trained_by = {*self.training_plugins()}
        others = [digest for digest in self.plugin_hashes if digest not in trained_by]
        return part_hash(self.experiment, "evaluation", others)


def variant_name(experiment: Experiment) -> str:
    """The variant's name where a file names none: the curriculum's id, fit for a folder."""
    return experiment.curriculum.function_classes.id.replace("/", "-")
