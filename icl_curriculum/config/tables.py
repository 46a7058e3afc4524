"""The tables of an experiment file: strict, frozen pydantic models, every field with a documented default."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, PlainValidator
from pydantic_core import PydanticCustomError

from icl_curriculum.baselines.base import Baseline
from icl_curriculum.config.cadence import EARLIER, StepsOrTime, by_steps
from icl_curriculum.config.deciding import EVALUATION, EVALUATION_AND_RECORDING, RECORDING
from icl_curriculum.config.positions import Positions, check_positions
from icl_curriculum.core.component import ADDED_LATER, LARGEST, Component, Strict, default_was
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.machine import Precision
from icl_curriculum.core.registry import BASELINES, CURRICULA, METHODS, METRICS, MODELS, SHIFTS, Registered
from icl_curriculum.curricula import Curriculum, Growth
from icl_curriculum.evaluation.asking import CostlyConfig
from icl_curriculum.metrics import Metric
from icl_curriculum.models.adaptation import Adaptation
from icl_curriculum.models.base import Capability, ModelConfig
from icl_curriculum.shifts import Shift


class ConfiguredMethod(Component):
    """The part of a training method's contract, `TrainingMethod`, that is asked when an experiment file is read."""

    #: The abilities that a model must have to be trained by the method.
    needs: ClassVar[frozenset[Capability]] = frozenset()
    #: Whether its losses are those of `prompt_errors` on whole prompts, which honour masks, weights of positions and
    #: classes. A method that does not say so is refused where an experiment has any of these.
    weighs_entries: ClassVar[bool] = False

    def required(self) -> frozenset[Capability]:
        """The abilities that a model must have: ``needs``, unless they depend on the method's fields."""
        return self.needs

    def most_shards(self, training: TrainingConfig) -> int:
        """The most parts into which an update can be divided, each with gradients of its own (``training.shards``).

        By default 1: the gradient of an update is computed as a whole. A method that returns more computes all its
        gradients by `Session.shards`, or by `add_gradients` with these.
        """
        return 1

    def check(self, training: TrainingConfig, *, cells: int, draw: Literal["batch", "prompt"]) -> None:
        """Raise UserError for a ``[training]`` table that the method cannot train by, with the ``key`` to blame.

        For example ``key="training.batch_size"``.

        ``cells``: how many pairs of a function class and an input distribution there are. ``draw``: whether a cell is
        drawn for a whole batch or for every prompt.
        """


# Each may be written as a name, or as a table with a name and parameters.
AnyShift = Annotated[Shift, Registered(SHIFTS)]
AnyCurriculum = Annotated[Curriculum, Registered(CURRICULA)]
AnyBaseline = Annotated[Baseline, Registered(BASELINES)]
AnyModel = Annotated[ModelConfig, Registered(MODELS, "transformer")]
AnyMetric = Annotated[Metric, Registered(METRICS)]
AnyMethod = Annotated[ConfiguredMethod, Registered(METHODS, "in_context")]


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
    learning_rate: float = Field(3e-3, gt=0, le=1e6, description="peak rate of Adam")
    muon_learning_rate: float = Field(0.02, gt=0, le=1e6, description="peak rate of Muon, a step in spectral norm")
    betas: tuple[Decay, Decay] = Field((0.9, 0.98), strict=False, description="decays of Adam's moments")
    momentum: float = Field(0.9, ge=0, lt=1, description="Muon's momentum")
    weight_decay: float = Field(0.0, ge=0, le=1e6, description="decoupled weight decay (adamw, muon)")
    run_decay: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="weight decay of the whole run, instead: peak rate times weight_decay times steps, so that longer "
        "runs forget more slowly",
        json_schema_extra=ADDED_LATER,
    )

    def decay(self, rate: float, steps: int) -> float:
        """The decoupled weight decay of parameters with a peak rate, in a run of so many steps; none for Adam."""
        if self.name == "adam":
            return 0.0
        return self.run_decay / (rate * steps) if self.run_decay else self.weight_decay


class ScheduleConfig(Strict):
    """``[training.schedule]``: the factor on all learning rates, a pure function of the step."""

    name: Literal["constant", "linear", "cosine"] = Field("linear", description="how the rate falls to 0 at the end")
    warmup: float = Field(0.02, ge=0, le=1, description="share of the steps over which the rate rises from 0")
    decay: float = Field(0.4, gt=0, le=1, description="share of the steps, the last ones, over which it falls")


def _kept(value: object) -> object:
    if value is None or value == []:
        return None
    steps = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not all(type(step) is int and step >= 0 for step in steps) or value == 0:
        raise PydanticCustomError(
            "keep_checkpoints", "expected a number of steps from 1, or a list of steps, as in [100, 200]"
        )
    return tuple(value) if isinstance(value, list | tuple) else value


KeptSteps = Annotated[int | tuple[int, ...] | None, PlainValidator(_kept)]


class TrainingConfig(Strict):
    """``[training]``."""

    method: AnyMethod = Field("in_context", validate_default=True, description="what an update is")
    steps: int = Field(1000, ge=1, description="number of updates")
    batch_size: int = Field(64, ge=1, le=LARGEST, description="prompts per update")
    shards: int = Field(
        1,
        ge=1,
        le=LARGEST,
        description="parts of a batch, whose gradients are computed apart and summed in their order; up to so many "
        "processes can train a run together",
        json_schema_extra=ADDED_LATER,
    )
    fixed_prompts: int | None = Field(
        None,
        ge=1,
        le=LARGEST,
        description="limited data: so many prompts of each cell, taken again and again; default: fresh ones always",
        json_schema_extra=ADDED_LATER,
    )
    loss: Literal["auto", "squared", "normalized", "cross_entropy"] = Field(
        "auto",
        description="'squared' error, or 'cross_entropy' where labels are classes; 'normalized': divided by that of "
        "predicting zero, or chance; 'auto': the plain one of the two",
        json_schema_extra=default_was("squared"),
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of each class label that is spread over all classes, in training alone",
        json_schema_extra=ADDED_LATER,
    )
    positions: Positions = Field(
        "all",
        description="which positions of a prompt count in the loss: 'all', 'last', a number of examples from which "
        "they do, a list of weights, or 'balanced': each by the inverse of its own error of late",
        json_schema_extra=ADDED_LATER,
    )
    shortest_prompt: int | None = Field(
        None,
        ge=2,
        le=LARGEST,
        description="prompts of random length: so many points to all, each as likely; default: all",
        json_schema_extra=ADDED_LATER,
    )
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig, description="optimizer and its rates")
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig, description="learning-rate schedule")
    precision: Precision = Field(
        "float32", description="of matrix products in training; 'tf32' (CUDA) and 'bfloat16' are faster on a GPU"
    )
    compile: bool = Field(
        False,
        description="torch.compile; on CUDA as a graph; takes half a minute, and seldom pays on a CPU",
    )
    clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; 'inf' clips nothing")
    divergence: float = Field(1000.0, gt=1, description="stop when the normalized loss exceeds this")
    log_every: int = Field(
        default_factory=by_steps(EARLIER["log_every"]),
        ge=1,
        description="steps between rows of training.csv and curriculum.csv; default: 10, and in runs of 20,000 steps "
        "and more as many as leave 1,000 to 2,500 rows",
        json_schema_extra=RECORDING,
    )
    learning_every: int = Field(
        default_factory=by_steps(EARLIER["learning_every"]),
        ge=1,
        description="steps between rows of learning.csv; default: 50, and from 100,000 steps on likewise more",
        json_schema_extra=RECORDING,
    )
    checkpoint_every: StepsOrTime = Field(
        "time",
        json_schema_extra={**default_was(200), **RECORDING},
        description="steps between checkpoints; 'time': every 15 seconds, and less often in long runs and where "
        "writing one takes long",
    )
    keep_checkpoints: KeptSteps = Field(
        None,
        description="steps whose weights are kept, or a number n: step 0 and every n steps; default: the last alone",
        json_schema_extra={**ADDED_LATER, **RECORDING},
    )

    def kept_steps(self) -> tuple[int, ...]:
        """The steps at which ``keep_checkpoints`` has weights kept in files of their own, in ascending order."""
        if isinstance(self.keep_checkpoints, int):
            return tuple(range(0, self.steps + 1, self.keep_checkpoints))
        return tuple(sorted(self.keep_checkpoints or ()))

    @property
    def weighs_entries(self) -> bool:
        """Whether positions of a prompt may count differently, or labels are smoothed."""
        return self.positions != "all" or self.shortest_prompt is not None or self.label_smoothing > 0

    def check_labels(self, labels: str, *, classes: bool) -> None:
        """Raise UserError for a loss that the labels, in words, do not have."""
        if self.loss == "cross_entropy" and not classes:
            raise UserError(
                f'expected "squared" or "normalized", as the labels are {labels} and no classes, found "cross_entropy"',
                key="training.loss",
            )
        if self.loss == "squared" and classes:
            raise UserError(
                f'expected "cross_entropy" or "normalized", as the labels are {labels}, found "squared"',
                key="training.loss",
            )
        if self.label_smoothing and not classes:
            raise UserError(
                f"only one-hot classes can be smoothed, and the labels are {labels}", key="training.label_smoothing"
            )

    def check(self, points: int, first_points: int) -> None:
        """Raise UserError for steps to keep that training does not reach, or positions that prompts do not have.

        ``points``: of a whole prompt; ``first_points``: of those that the curriculum begins with.
        """
        check_positions(self.positions, self.shortest_prompt, points, first_points)
        if self.optimizer.run_decay and self.optimizer.weight_decay:
            raise UserError(
                f"{self.optimizer.run_decay:g} beside weight_decay = {self.optimizer.weight_decay:g}; both say how "
                f"fast weights decay",
                key="training.optimizer.run_decay",
                way_out="set one of them to 0",
            )
        given = self.keep_checkpoints
        asked = (given,) if isinstance(given, int) else given or ()
        for step in asked:
            key, way_out = "training.keep_checkpoints", "keep fewer, or train for longer"
            if step > self.steps:
                raise UserError(f"{step} exceeds training.steps = {self.steps}", key=key, way_out=way_out)
            if asked.count(step) > 1:
                raise UserError(f"{step} stands there twice; expected every step once", key=key)


class InstructionConfig(Strict):
    """``[instruction]``: what the model is told before every prompt (Bhasin et al. 2024)."""

    kind: Literal["none", "one_hot", "preset", "learned"] = Field(
        "none",
        description="'one_hot': a token as wide as x with 1 at the row of the class; 'preset': a fixed N(0, I) vector "
        "of the class in the residual stream; 'learned': a trained one",
    )
    tokens: int = Field(1, ge=1, le=64, description="tokens before the prompt; all equal, but for learned ones")
    of: Literal["function_class", "inputs"] = Field(
        "function_class", description="what is told apart: function classes, or input distributions"
    )

    def check(self, names: int, dims: int) -> None:
        """Raise UserError for more names than a one-hot token of so many dimensions tells apart."""
        if self.kind == "one_hot" and names > dims:
            what = "function classes" if self.of == "function_class" else "input distributions"
            raise UserError(
                f"a one-hot token is as wide as x, dims = {dims}, and there are {names} {what}",
                key="instruction.kind",
                way_out='set instruction.kind = "learned", or more dims',
            )


def _adaptation(text: str) -> str:
    try:
        Adaptation.parse(text)
    except UserError as error:
        # Like those of a component, the message says itself what was found.
        raise PydanticCustomError("component", "{message}", {"message": str(error)}) from None
    return text


AdaptationText = Annotated[str, AfterValidator(_adaptation)]


class EvaluationConfig(Strict):
    """``[evaluation]``."""

    n_prompts: int = Field(
        1280, ge=2, le=LARGEST, description="prompts of each frozen bank", json_schema_extra=EVALUATION
    )
    bank_seed: int = Field(
        0,
        ge=0,
        description="seed of the banks, independent of the runs' seeds",
        json_schema_extra=EVALUATION_AND_RECORDING,
    )
    learning_prompts: int = Field(
        128, ge=1, le=LARGEST, description="prompts of the banks behind learning.csv", json_schema_extra=RECORDING
    )
    shifts: tuple[AnyShift, ...] = Field(
        (), strict=False, description="out-of-distribution prompts, for every class", json_schema_extra=EVALUATION
    )
    learning_shifts: tuple[AnyShift, ...] = Field(
        (),
        strict=False,
        description="shifts whose errors stand in learning.csv, too, in a column of their own",
        json_schema_extra={**ADDED_LATER, **RECORDING},
    )
    baselines: tuple[AnyBaseline, ...] | None = Field(
        None,
        strict=False,
        description="baselines; default: those that suit each class",
        json_schema_extra=EVALUATION,
    )
    metrics: tuple[AnyMetric, ...] = Field(
        (),
        strict=False,
        description="metrics beside those that every evaluation has; also in learning.csv",
        json_schema_extra={**ADDED_LATER, **EVALUATION_AND_RECORDING},
    )
    adapt: tuple[AdaptationText, ...] = Field(
        (),
        strict=False,
        description="how the model is adapted before it is asked again, as in 'steps=20,rate=0.1' or "
        "'per_prompt,steps=1'",
        json_schema_extra={**ADDED_LATER, **EVALUATION},
    )
    costly: CostlyConfig = Field(
        default_factory=CostlyConfig,
        description="trees, boosting, networks, scikit-learn",
        json_schema_extra=EVALUATION,
    )
    confidence: float = Field(
        0.9, gt=0, lt=1, description="level of the bootstrap intervals over prompts", json_schema_extra=EVALUATION
    )

    def adaptations(self) -> list[Adaptation]:
        """The ways to adapt the model that ``adapt`` names."""
        return [Adaptation.parse(text) for text in self.adapt]

    def check(self) -> None:
        """Raise UserError for two texts in ``adapt`` that mean the same."""
        ids = [item.id for item in self.adaptations()]
        for item in ids:
            if ids.count(item) > 1:
                raise UserError(f"two texts mean {item!r}; expected every adaptation once", key="evaluation.adapt")
