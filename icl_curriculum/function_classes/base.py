"""The contract of a function class, the suite's main plugin.

Dimensions: n = functions (one per prompt), points = K + 1, dims = d, labels = the numbers of a label, an axis that is
only there if they are several, steps = S, the reasoning steps of a pair.
"""

from __future__ import annotations

import functools
import json
import math
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Protocol

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from icl_curriculum.core.component import ADDED_LATER, ONE_VALUE, Component, code_of
from icl_curriculum.core.contracts import as_number, broken_contract, expect_shape, kind_of
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import FUNCTION_CLASSES, Registered
from icl_curriculum.core.streams import Streams
from icl_curriculum.core.streams import generator as stream_generator
from icl_curriculum.function_classes.estimates import estimated_trivial_error
from icl_curriculum.observations import AnyObservation, LabelKind, Pairs

Parameters = dict[str, Tensor]
OracleKind = Literal["optimum", "lower bound"] | None


class OutsideDomain(UserError, ValueError):
    """An input for which a function class is not defined."""


class InputSampler(Protocol):
    """The part of an input distribution that a function class needs."""

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]: ...


class FunctionClass(Component):
    """A family of functions from R^d to R, to vectors or to classes, with a distribution over them.

    A subclass gives `sample`, `evaluate` and best also `trivial_error`; the rest has defaults. Register it with
    ``@register_function_class("name")``; its pydantic fields become parameters in experiment files.
    """

    #: The input distribution for which `trivial_error` is stated: a registered name, or a table with parameters.
    reference_inputs: ClassVar[str | dict[str, Any]] = "gaussian"
    #: Whether all values are -1 or 1. Errors are then also misclassifications, and noise flips labels.
    sign_valued: ClassVar[bool] = False
    #: How many numbers a label is. If several, values, labels and predictions have a last axis of so many. It may also
    #: be a field or a property.
    label_dims: ClassVar[int] = 1
    #: Whether labels are classes, `label_dims` of them, as one-hot vectors. Predictions are then log-probabilities,
    #: errors are wrong answers, and noise makes another class of a label. `ClassValued` completes it.
    class_valued: ClassVar[bool] = False
    #: Whether labels are drawn together with the inputs, and no function of these: `draw` gives them, and `evaluate`
    #: the most probable one. For classes that make their own inputs.
    drawn_labels: ClassVar[bool] = False
    #: How many reasoning steps `steps` gives between an input and its label, S. It may also be a field or a property.
    n_steps: ClassVar[int] = 0
    #: Inputs with a coordinate beyond this are outside the domain.
    largest_input: ClassVar[float] = math.inf
    #: Whether the domain is the inputs whose coordinates are all -1 or 1.
    sign_inputs: ClassVar[bool] = False
    #: Whether the class makes its own inputs, by overriding `draw`. `reference_inputs` is then the distribution of each
    #: single input, or ``own`` where that has no name: points chosen given the function, earlier values, a fixed set.
    owns_inputs: ClassVar[bool] = False
    #: Whether a value depends on earlier inputs of its prompt, as that of a filter does: `evaluate` at a point is then
    #: a function of the inputs up to it. It may also be a property.
    has_memory: ClassVar[bool] = False
    #: Whether whole prompts repeat within a batch, as they are drawn from a fixed set. For classes that make their own
    #: inputs. It may also be a property.
    repeats_prompts: ClassVar[bool] = False
    #: The baselines that suit the class: registered names, or tables with parameters.
    baselines: ClassVar[tuple[str | dict[str, Any], ...]] = ("zero", "averaging", "least_squares", "ridge", "knn")
    outputs: Literal["raw", "unit"] = Field(
        "raw", description="'unit' divides the labels by the root of the trivial error"
    )
    label_noise: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="standard deviation of the noise on context labels, raw units"
    )
    pool_size: int | None = Field(
        None,
        ge=1,
        le=100_000_000,
        description="draw functions, with replacement, from this many fixed ones; none: a fresh one each time",
    )
    pool_seed: int = Field(0, ge=0, description="seed of the pool, which all runs share whatever their own seed")
    observation: AnyObservation | None = Field(
        None,
        description="how the context shows the examples, such as 'outliers'; none: each input and its label",
        json_schema_extra={**ADDED_LATER, **ONE_VALUE},
    )
    show_steps: bool | None = Field(
        None,
        description="false: prompts of x and y alone; default: with the reasoning steps of a class that has some",
        json_schema_extra=ADDED_LATER,
    )

    def __init_subclass__(cls, **options: Any) -> None:
        # It may be a field of a class, as the contract says, which pydantic doubts.
        warnings.filterwarnings("ignore", 'Field name "(label_dims|n_steps|steps)" in .* shadows', UserWarning)
        super().__init_subclass__(**options)

    @field_validator("show_steps", mode="before")
    @classmethod
    def _shown_by_default(cls, value: object) -> object:
        return None if value is True else value  # One class, one id, and no key in the files of those without steps.

    @model_validator(mode="after")
    def _steps_to_leave_out(self) -> FunctionClass:
        if self.show_steps is False and not (self.n_steps and type(self).defines_steps()):
            raise ValueError(f"show_steps: {self.name or type(self).__name__} has no reasoning steps to leave out")
        return self

    @property
    def shown_steps(self) -> int:
        """How many reasoning steps its prompts show in each pair: `n_steps`, or 0 where ``show_steps`` is false.

        Also 0 for a class that has a field of this name for something else and defines no `steps`.
        """
        return self.n_steps if self.show_steps is not False and type(self).defines_steps() else 0

    @classmethod
    def defines_steps(cls) -> bool:
        """Whether the class, or one that it inherits from, defines `steps`."""
        return callable(cls.steps) and cls.steps is not FunctionClass.steps

    @property
    def growth(self) -> float:
        """The g for which f(c x) grows like c^g (the degree of a polynomial). It decides which moments exist."""
        return 1.0

    def names_no_inputs(self, dims: int) -> bool:
        """Whether its reference inputs are ``own``: it makes them itself, and they have no distribution with a name."""
        reference: object = self.reference(dims)
        return (reference.get("name") if isinstance(reference, Mapping) else reference) == "own"

    def positions_differ(self, dims: int) -> bool:
        """Whether E f(x)^2 may be another at another position of a prompt: with memory, or with inputs ``own``."""
        return self.has_memory or self.names_no_inputs(dims)

    @property
    def oracle_kind(self) -> OracleKind:
        """The kind of `oracle`: the best that any learner can do, or a lower bound that knows more; None: no oracle."""
        return None

    def reference(self, dims: int) -> str | dict[str, Any]:
        """The reference inputs in ``dims`` dimensions: `reference_inputs`, unless they depend on the dimensions."""
        return self.reference_inputs

    def oracle_for(self, dims: int, label_noise: float) -> OracleKind:
        """The kind of `oracle` in ``dims`` dimensions under this noise: `oracle_kind`, unless it depends on these."""
        return self.oracle_kind

    def check_dims(self, dims: int) -> None:
        """Raise UserError, whose ``subject`` is the class's name, if it is not defined in ``dims`` dimensions."""

    @abstractmethod
    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        """Draw ``n`` functions and return their parameters: tensors whose leading axis is ``n``."""

    @abstractmethod
    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points *labels"]:
        """The clean values f_i(x_ij). A pure function: it draws nothing at random and changes no tensor in place.

        Shape (n, points), and (n, points, label_dims) where a label is several numbers. A value follows from its own
        input alone, or with `has_memory` from the inputs x_i1 to x_ij.
        """

    def ask(self, parameters: Parameters, queries: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points *labels"]:
        """What is to be predicted at each query, in raw units: by default the clean value there, `evaluate`.

        A class that asks for something else than it shows (a slope, the next value, the best action) overrides it. It
        is a pure function with values of the same shape as `evaluate`; `trivial_error` and `second_moment` are of it.
        """
        return self.evaluate(parameters, queries)

    @property
    def asks_itself(self) -> bool:
        """Whether the class asks for something else than the values that it shows."""
        return type(self).ask is not FunctionClass.ask

    @property
    def moment_is_of_what_is_asked(self) -> bool:
        """Whether `second_moment` may be believed: not where a class has changed `ask` and `trivial_error` alone."""
        places = {}
        for name in ("ask", "trivial_error", "second_moment"):
            places[name] = next(number for number, cls in enumerate(type(self).__mro__) if name in vars(cls))
        return places["second_moment"] <= places["ask"] or places["trivial_error"] > places["ask"]

    def show(self, pairs: Pairs, parameters: Parameters, generator: torch.Generator) -> Pairs:
        """What the context shows of pairs of inputs and labels, noise included: by default the pairs as they are.

        A class whose context is of its own kind (rewards in the place of values, comparisons) overrides it, under the
        rules of `Observation.show`, and `shown_dims` if inputs are shown as more or fewer numbers. ``parameters``: the
        functions. ``generator``: the only source of chance, on the device of the tensors. What ``observation`` says is
        done to what this gives.
        """
        return pairs

    @property
    def shows_by_method(self) -> bool:
        """Whether the class overrides `show`."""
        return type(self).show is not FunctionClass.show

    @property
    def shows_itself(self) -> bool:
        """Whether the context shows something else than each input and its label."""
        return self.observation is not None or self.shows_by_method

    def shown_dims(self, dims: int) -> int:
        """How many numbers `show` makes of an input of ``dims`` coordinates."""
        return dims

    def read_dims(self, dims: int) -> int:
        """How many numbers models and baselines read of an input: what `show` gives, as the observation shows it."""
        shown = self.shown_dims(dims)
        return shown if self.observation is None else self.observation.shown_dims(shown)

    @property
    def label_kind(self) -> LabelKind:
        """What the labels are, for what shows them."""
        if self.class_valued:
            return "classes"
        if self.label_dims > 1:
            return "vectors"
        return "signs" if self.sign_valued else "numbers"

    def suited_baselines(self) -> tuple[str | dict[str, Any], ...]:
        """The baselines that suit the class and what it shows: ``baselines``, then those of its observation."""
        suited = [*self.baselines, *(() if self.observation is None else self.observation.baselines)]
        # Averaging multiplies labels by inputs, and with steps its own answers by one another.
        return tuple(spec for number, spec in enumerate(suited) if spec not in suited[:number]
                     and not (spec == "averaging" and self.shown_steps))  # fmt: skip

    @property
    def form(self) -> tuple[object, ...]:
        """What makes values, questions and contexts of parameters: classes of one form differ in their functions alone.

        The methods themselves, so that a class has the form of those that it inherits all of them from.
        """
        return tuple(getattr(type(self), name, None) for name in _FORM)

    def steps(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points steps"]:
        """The reasoning steps of each pair, in the order in which they are shown between x and y, for ``n_steps`` > 0.

        A pure function like `evaluate`: those of an entry follow from its function and its own x alone. Neither the
        unit of the labels nor a factor on them nor noise changes the steps, so a class scales them itself, to about
        the size of its labels. The class's labels are one number each.
        """
        raise NotImplementedError(f"{self.name} has no reasoning steps")

    def trivial_error(self, dims: int) -> float:
        """E[f(x)^2] under the reference inputs, in raw units: the squared error of predicting zero.

        Summed over the numbers of a label, so E|f(x)|^2 of vectors. Where positions of a prompt may differ, as with
        `has_memory` and ``own`` inputs, it is the mean over the entries of prompts of 21 points, or of as many as there
        may be. A class that does not
        override it has a Monte Carlo estimate from 2^18 functions (2^15 of such prompts), which `icl check`, the
        manifest and the report name as one.
        """
        return estimated_trivial_error(self, dims).mean

    @property
    def states_trivial_error(self) -> bool:
        """Whether the class, or one that it inherits from, gives a trivial error; else it is an estimate."""
        return type(self).trivial_error is not FunctionClass.trivial_error

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        """E[f(x)^2] for other inputs, in raw units, or None where there is no closed form.

        ``squared_norm`` is E|x|^2. ``spectrum``, if not None, says that the inputs are N(0, U diag(spectrum) U^T)
        with a uniformly random rotation U per prompt.
        """
        return None

    def oracle(self, prompts: Prompts) -> Float[Tensor, "batch points *labels"]:
        """The predictions of the class's oracle: log-probabilities of classes. Nothing else reads ``prompts.truth``."""
        raise NotImplementedError(f"{self.name} has no oracle")

    def draw(
        self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams
    ) -> tuple[Float[Tensor, "n points dims"], Float[Tensor, "n points *labels"], Parameters]:
        """Draw inputs, clean raw values and parameters.

        A class that makes its own inputs overrides this. It takes its functions from `draw_functions`, so
        that pools work, and makes its inputs from streams with other names than ``functions``, so that it can be told
        that no function looks at them.
        """
        xs = inputs.sample(n, points, dims, streams.generator("inputs"))
        parameters = self.draw_functions(n, dims, streams)
        values = self.evaluate(parameters, xs)
        expect_shape(self, "evaluate", values, *self.label_shape(n, points))
        return xs, values, parameters

    def label_shape(self, n: int, points: int) -> tuple[tuple[int, ...], str]:
        """The shape of the labels of ``n`` prompts of so many points, and the names of its axes."""
        if self.label_dims == 1:
            return (n, points), "prompts, points"
        return (n, points, self.label_dims), "prompts, points, numbers of a label"

    def counts(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Bool[Tensor, "n points"] | None:
        """True where a value counts, in training as in evaluation; None: everywhere.

        Every label is still shown in context. A pure function, like `evaluate`, of what stands at the entry itself.
        """
        return None

    def draw_functions(self, n: int, dims: int, streams: Streams) -> Parameters:
        """Draw functions for ``n`` prompts from the stream ``functions``: fresh ones, or of the pool with replacement.

        With ``streams.prompts_per_function = m`` these are n / m draws, each m times one after another.
        """
        functions, each = streams.generator("functions"), streams.prompts_per_function
        different = n // each
        if self.pool_size is None:
            drawn = _expect_parameters(self, self.sample(different, dims, functions), different)
        else:
            rows = torch.randint(self.pool_size, (different,), generator=functions, device=functions.device)
            drawn = {name: value[rows] for name, value in self.pool(dims, functions.device).items()}
        return drawn if each == 1 else {name: value.repeat_interleave(each, dim=0) for name, value in drawn.items()}

    def pool(self, dims: int, device: str | torch.device = "cpu") -> Parameters:
        """The functions of the pool: tensors with leading axis ``pool_size``, which must not be changed in place.

        A pool depends on ``pool_seed``, ``pool_size``, ``dims`` and the class's name and own parameters, but
        not on the run's seed, the id, the outputs' unit or the noise. Pools of different sizes have nothing
        in common. It is drawn on the CPU and then moved, so that training on an accelerator and evaluation on
        the CPU mean the same functions. `trivial_error`, `second_moment` and `oracle` stay those of the whole
        class. Raises ValueError without a ``pool_size``.
        """
        if self.pool_size is None:
            raise ValueError(f"{self.id} has no pool: its pool_size is not set")
        stream = f"pool/{self.family}/dims={dims}/size={self.pool_size}"
        return _drawn_pool(_Pool(code_of(self), stream, self.pool_seed, self.pool_size, dims, str(device), self))

    @property
    def family(self) -> str:
        """The class's name and own parameters, which decide its functions, without its id, unit, noise and pool.

        Whether it shows steps is not among them either.
        """
        own = self.without_given_ids().model_dump(mode="json", exclude_defaults=True, exclude=_NOT_IN_A_POOL)
        return f"{self.name or type(self).__qualname__}/{json.dumps(own, sort_keys=True)}"

    def output_scale(self, dims: int) -> float:
        """The factor that raw values are multiplied by: 1, or 1 / sqrt(trivial_error) for ``outputs = "unit"``."""
        return (
            1.0
            if self.outputs == "raw"
            else 1.0 / math.sqrt(as_number(self, "trivial_error", self.trivial_error(dims)))
        )


class SignValued(FunctionClass):
    """A class whose values are -1 or 1; a subclass gives `sample` and `evaluate`. Trivial error 1 under any inputs."""

    sign_valued: ClassVar[bool] = True
    label_noise: float = Field(0.0, ge=0, le=0.5, description="probability that a context label is flipped")

    @property
    def growth(self) -> float:
        return 0.0

    def trivial_error(self, dims: int) -> float:
        return 1.0

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        return 1.0


class ClassValued(FunctionClass):
    """A class whose values are one of ``n_classes`` classes; a subclass gives `sample` and `classify`.

    The classes should be equally likely, as predicting chance is the trivial level of all its metrics. As one-hot
    vectors its values have E|f|^2 = 1 under any inputs.
    """

    class_valued: ClassVar[bool] = True
    baselines: ClassVar[tuple[str | dict[str, Any], ...]] = ("zero", "knn", "logistic_regression")
    id_fields: ClassVar[tuple[str, ...]] = ("n_classes",)

    n_classes: int = Field(3, ge=2, le=1000, description="number of classes, C")
    label_noise: float = Field(0.0, ge=0, le=0.5, description="probability that a context label is another class")

    @property
    def label_dims(self) -> int:  # type: ignore[override]
        return self.n_classes

    @property
    def growth(self) -> float:
        return 0.0

    @abstractmethod
    def classify(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Int[Tensor, "n points"]:
        """The class of every point, from 0 to C - 1. A pure function, like `evaluate`."""

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points classes"]:
        return one_hot(self.classify(parameters, xs), self.n_classes).to(xs.dtype)

    def trivial_error(self, dims: int) -> float:
        return 1.0

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        return 1.0


def labels_of(function_class: FunctionClass) -> str:
    """What the labels of a class are, in words; one model can only learn classes that agree in it."""
    if function_class.class_valued:
        return f"{function_class.label_dims} classes"
    return "numbers" if function_class.label_dims == 1 else f"vectors of {function_class.label_dims} numbers"


def steps_of(function_class: FunctionClass) -> str:
    """The reasoning steps that a class's prompts show, in words; one model can only learn classes that agree in it."""
    n = function_class.shown_steps
    return f"{n or 'no'} reasoning step{'s' * (n != 1)}"


def one_hot(classes: Int[Tensor, "*shape"], n_classes: int) -> Float[Tensor, "*shape classes"]:
    """Classes as vectors of floats, 1 at the class and 0 elsewhere."""
    return torch.nn.functional.one_hot(classes, n_classes).to(torch.float32)


register_function_class = FUNCTION_CLASSES.of(FunctionClass)

#: A field that holds a function class.
AnyFunctionClass = Annotated[FunctionClass, Registered(FUNCTION_CLASSES)]


#: The methods that make values, questions, steps and contexts of parameters.
_FORM = ("evaluate", "classify", "draw", "counts", "ask", "show", "shown_dims", "steps")

#: Fields that don't change the functions of a pool, or that enter its stream in another way.
_NOT_IN_A_POOL = {"outputs", "label_noise", "pool_size", "pool_seed", "observation", "show_steps"}


@dataclass(frozen=True)
class _Pool:
    """All that decides a pool, hashable whatever the class's fields are."""

    code: tuple[type, ...]
    stream: str
    seed: int
    size: int
    dims: int
    device: str
    function_class: FunctionClass = field(compare=False)


def _expect_parameters(function_class: FunctionClass, drawn: Parameters, n: int) -> Parameters:
    """The parameters that a class drew; ComponentFailed unless they are tensors of ``n`` rows, floats in float32."""
    if not isinstance(drawn, Mapping):
        expected = "a dict of tensors: the functions' parameters by name"
        raise broken_contract(function_class, "sample", found=f"a {type(drawn).__name__}", expected=expected)
    for name, value in drawn.items():
        what, axis = f"sample ({name!r})", f"a tensor with leading axis {n}, a row for each function"
        if not isinstance(value, Tensor):
            raise broken_contract(function_class, what, found=kind_of(value), expected=axis)
        if value.ndim == 0 or value.shape[0] != n:
            raise broken_contract(function_class, what, found=f"shape {tuple(value.shape)}", expected=axis)
        if (value.is_floating_point() or value.is_complex()) and value.dtype != torch.float32:
            raise broken_contract(function_class, what, found=value.dtype, expected=torch.float32)
    return drawn


@functools.lru_cache(maxsize=16)
def _drawn_pool(pool: _Pool) -> Parameters:
    drawn = pool.function_class.sample(pool.size, pool.dims, stream_generator(pool.seed, pool.stream))
    _expect_parameters(pool.function_class, drawn, pool.size)
    return {name: value.to(torch.device(pool.device)) for name, value in drawn.items()}
