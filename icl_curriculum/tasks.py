"""A task: a function class, an input distribution, a number of dimensions and a label noise.

Training, evaluation and scoring draw their prompts here and nowhere else.
Dimensions: n = prompts, points = K + 1, dims = d, labels = the numbers of a label, an axis that is only there if they
are several.
"""

from __future__ import annotations

import json
import math
import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from icl_curriculum.core.arguments import whole_number
from icl_curriculum.core.contracts import as_number
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.named_components import as_component
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import FUNCTION_CLASSES, INPUTS
from icl_curriculum.core.settings import own_settings
from icl_curriculum.core.streams import Streams
from icl_curriculum.function_classes import table_of
from icl_curriculum.function_classes.base import FunctionClass, InputSampler, labels_of, steps_of
from icl_curriculum.function_classes.checked import (
    checked_counts,
    checked_draw,
    checked_show,
    checked_steps,
    checked_values,
)
from icl_curriculum.function_classes.estimates import estimated_moment
from icl_curriculum.inputs import InputDistribution, Own
from icl_curriculum.observations import OF_NUMBERS, Pairs

#: Why a class with memory has no values at queries other than the next inputs.
MEMORY = "a value follows from the inputs before its own, too"
_SUCH_AS = {"function_class": '"linear" or "hermite/3"', "inputs": '"gaussian"'}


@dataclass(frozen=True)
class Task:
    """A function class, inputs, dimensions and noise, from which prompts are drawn.

    ``function_class`` and ``inputs``: components, or what names them as on the command line: ``Task("linear",
    "gaussian", dims=3)``, an id such as ``"hermite/3"``, or a dict such as ``{"name": "hermite", "degree": 3}``.
    ``label_noise``: its standard deviation in raw units, or for sign-valued classes the probability that a label
    is flipped; None: the class's own. ``factor``: multiplies the functions, but not the noise. ``unit``: what raw
    values and noise are multiplied by to give labels; None: what the class's ``outputs`` say.
    """

    function_class: FunctionClass
    inputs: InputDistribution
    dims: int
    label_noise: float | None = None
    factor: float = 1.0
    unit: float | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            function_class: FunctionClass | str | dict[str, Any],
            inputs: InputDistribution | str | dict[str, Any],
            dims: int,
            label_noise: float | None = None,
            factor: float = 1.0,
            unit: float | None = None,
        ) -> None: ...

    def __repr__(self) -> str:
        """The call that makes it: ``Task('linear', 'gaussian', dims=3)``."""
        given = [repr(self.function_class.id), repr(self.inputs.id), f"dims={self.dims}"]
        usual = {"label_noise": None, "factor": 1.0, "unit": None}
        more = [f"{name}={getattr(self, name)!r}" for name, value in usual.items() if getattr(self, name) != value]
        return f"Task({', '.join([*given, *more])})"

    def __post_init__(self) -> None:
        registries = {"function_class": FUNCTION_CLASSES, "inputs": INPUTS}
        for name, kind in (("function_class", FunctionClass), ("inputs", InputDistribution)):
            if isinstance(getattr(self, name), str | dict):
                object.__setattr__(self, name, as_component(getattr(self, name), registries[name], name))
            if not isinstance(getattr(self, name), kind):
                raise UserError(
                    f"expected a {kind.__name__}, such as {_SUCH_AS[name]}, found {reprlib.repr(getattr(self, name))}",
                    key=name,
                )
        object.__setattr__(self, "dims", whole_number(self.dims, "dims", least=1))

    @property
    def raw_noise(self) -> float:
        return self.function_class.label_noise if self.label_noise is None else self.label_noise

    @property
    def output_unit(self) -> float:
        return self.function_class.output_scale(self.dims) if self.unit is None else self.unit

    def check(self) -> None:
        """Raise UserError if the function class is not defined for these inputs or dimensions."""
        self.function_class.check_dims(self.dims)
        self.inputs.check_dims(self.dims)
        if (unseen := self.not_to_be_shown()) is not None:
            raise UserError(unseen, key="observation")
        expect_steps(self.function_class)
        reason = self.outside_domain()
        if reason is not None:
            raise UserError(
                f"{reason}, found {self.inputs.id}", subject=self.function_class.id, way_out=self._way_out()
            )

    def outside_domain(self) -> str | None:
        """What the function class requires of its inputs, if these inputs do not satisfy it; else None."""
        function_class, inputs = self.function_class, self.inputs
        if function_class.owns_inputs and not self._has_reference_inputs():
            stated = self.reference_inputs()
            return "it makes its own inputs" + ("" if isinstance(stated, Own) else f", each of which is {stated.id}")
        if not function_class.owns_inputs and any(isinstance(part, Own) for part in inputs.parts()):
            return "it makes no inputs of its own"
        if self.has_own_inputs:
            return None
        if function_class.sign_inputs and not inputs.only_signs(self.dims):
            return "expected inputs of -1 and 1"
        if inputs.largest(self.dims) > function_class.largest_input:
            return f"expected inputs within ±{function_class.largest_input:g}"
        return None

    def not_to_be_shown(self) -> str | None:
        """Why the class's labels cannot be shown as its observation does; None: they can."""
        observation, kind = self.function_class.observation, self.function_class.label_kind
        if observation is None or kind in observation.kinds:
            return None
        able = " and ".join(sorted(observation.kinds))
        return (
            f"the observation {observation.id!r} changes {able}, and the labels of {self.function_class.id} are {kind}"
        )

    @property
    def has_own_inputs(self) -> bool:
        """Whether the inputs are those that the class makes itself, of which nothing is stated."""
        return isinstance(self.inputs, Own)

    def _way_out(self) -> str:
        reference = self.function_class.reference(self.dims)
        if isinstance(reference, str):
            return f"set inputs = [{json.dumps(reference)}]"
        items = ", ".join(f"{key} = {json.dumps(value)}" for key, value in reference.items())
        return f"set inputs = [{{ {items} }}]"

    @own_settings()
    def draw(self, n: int, points: int, streams: Streams, *, active_dims: int | None = None) -> Prompts:
        """Draw ``n`` prompts of ``points`` points. If ``active_dims`` is given, coordinates from there on are zero."""
        if not isinstance(streams, Streams):
            raise UserError(f'expected Streams(seed=7, name="mine"), found {reprlib.repr(streams)}', key="streams")
        n, points = whole_number(n, "n", least=0), whole_number(points, "points", least=1)
        xs, values, truth = self.clean(n, points, streams, active_dims=active_dims)
        return self.label(xs, values, truth, streams)

    @own_settings()
    def clean(
        self, n: int, points: int, streams: Streams, *, active_dims: int | None = None
    ) -> tuple[Float[Tensor, "n points dims"], Float[Tensor, "n points *labels"], dict[str, Tensor]]:
        """Draw inputs, clean raw values and the functions' parameters, which `draw` then labels."""
        sampler = None if active_dims is None else _Truncated(self.inputs, active_dims)
        return checked_draw(self.function_class, self.inputs, n, points, self.dims, streams, sampler=sampler)

    def values(self, truth: dict[str, Tensor], xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points *labels"]:
        """The clean raw values of functions at inputs other than their own; with memory, at those of whole prompts."""
        return checked_values(self.function_class, truth, xs, asked=False)

    def asked(
        self, truth: dict[str, Tensor], queries: Float[Tensor, "n points dims"]
    ) -> Float[Tensor, "n points *labels"]:
        """What is to be predicted at queries, in raw units: the clean values there, unless the class asks otherwise."""
        return checked_values(self.function_class, truth, queries, asked=True)

    def label(
        self,
        xs: Float[Tensor, "n points dims"],
        values: Float[Tensor, "n points *labels"],
        truth: dict[str, Tensor],
        streams: Streams,
        *,
        queries: Float[Tensor, "n points dims"] | None = None,
        query_values: Float[Tensor, "n points *labels"] | None = None,
        mask: Bool[Tensor, "n points"] | None = None,
    ) -> Prompts:
        """Make prompts of clean raw values: what is asked, and what is shown of them.

        Label noise comes from its own stream, then the class's unit and the factor, and then what the class's `show`
        makes of the pairs, from a stream of its own. Entries that don't count for the function class are left out of
        the mask. ``query_values``: the clean values at ``queries``; None: what the class asks there. UserError for
        separate ``queries`` of a class with memory: what `evaluate` gives at them is not the value after the context's
        inputs.

        The reasoning steps of the pairs, for a class that shows some, are clean and stay as the class gives them.
        """
        if queries is not None and self.function_class.has_memory:
            raise UserError(f"expected no queries beside the inputs: {MEMORY}", subject=self.function_class.id)
        asked = xs if queries is None else queries
        mask = self._counting(truth, asked, mask)
        unit, noise = self.output_unit, self.raw_noise
        scale = unit * self.factor
        targets = query_values
        if self.function_class.asks_itself or (targets is None and queries is not None):
            targets = self.asked(truth, asked)
        elif targets is None:
            targets = values
        targets, ys = (value * scale if scale != 1 else value for value in (targets, values))
        deviation = noise * unit
        if noise > 0:
            made = streams.generator("noise")
            if self.function_class.sign_valued:
                flipped = torch.rand(values.shape, generator=made, device=values.device) < noise
                ys = torch.where(flipped, -ys, ys)
                deviation = 2 * math.sqrt(noise * (1 - noise))
            elif self.function_class.class_valued:
                ys = _other_classes(ys, noise, made)
                deviation = noise
            else:
                ys = ys + deviation * torch.randn(values.shape, generator=made, device=values.device)
        steps = checked_steps(self.function_class, truth, xs)
        if self.function_class.shows_itself:
            xs, ys, queries, deviation = self._shown(xs, ys, queries, truth, deviation, streams)
        return Prompts(
            xs=xs,
            ys=ys,
            targets=targets,
            queries=queries,
            mask=mask,
            function_class=self.function_class.id,
            input_distribution=self.inputs.id,
            label_noise=deviation,
            scale=scale,
            classes=self.function_class.class_valued,
            truth=truth,
            steps=steps,
        )

    def _shown(
        self,
        xs: Float[Tensor, "n points dims"],
        ys: Float[Tensor, "n points *labels"],
        queries: Float[Tensor, "n points dims"] | None,
        truth: dict[str, Tensor],
        deviation: float,
        streams: Streams,
    ) -> tuple[Tensor, Tensor, Tensor | None, float]:
        """Inputs, labels and queries as the class shows them, and the standard deviation of all noise in labels."""
        function_class = self.function_class
        kind = function_class.label_kind
        power = as_number(function_class, "trivial_error", function_class.trivial_error(self.dims))
        size = math.sqrt(power / (function_class.label_dims if kind == "vectors" else 1)) * self.output_unit
        pairs = Pairs(xs, ys, queries, size=size, scale=self.output_unit * self.factor, kind=kind)
        shown = checked_show(function_class, pairs, truth, self.dims, streams.generator("shown"))
        observation = function_class.observation
        if observation is not None and kind in OF_NUMBERS:
            added = as_number(observation, "noise_variance", observation.noise_variance) * size**2
            if math.isfinite(added):
                deviation = math.sqrt(deviation**2 + added)
        return shown.xs, shown.ys, shown.queries, deviation

    @property
    def shown_dims(self) -> int:
        """How many numbers an input is shown as, which is what models and baselines read."""
        shown = self.function_class.read_dims(self.dims)
        return whole_number(shown, f"{self.function_class.id}: shown_dims({self.dims})", least=1)

    def _counting(
        self, truth: dict[str, Tensor], asked: Float[Tensor, "n points dims"], mask: Bool[Tensor, "n points"] | None
    ) -> Bool[Tensor, "n points"] | None:
        """The mask without the entries that don't count for the function class."""
        counting = checked_counts(self.function_class, truth, asked)
        if counting is None:
            return mask
        return counting if mask is None else counting & mask

    def trivial_error(self) -> float:
        """The squared error of predicting zero under the reference inputs, in the units of the class's outputs."""
        stated = as_number(self.function_class, "trivial_error", self.function_class.trivial_error(self.dims))
        return stated * self.output_unit**2

    def trivial_loss(self) -> float:
        """The loss of training of who knows nothing: the trivial error, or log C of C classes, that of chance."""
        if self.function_class.class_valued:
            return math.log(self.function_class.label_dims)
        return self.trivial_error()

    def second_moment(self) -> float:
        """E f(x)^2 under this task's inputs, in the units of the targets; infinite where it does not exist.

        It is the class's closed form where there is one, the trivial error under the reference inputs, and else a
        Monte Carlo estimate from 2^18 functions and inputs of a stream of its own, the same for every bank; always that
        where a class says which values count, of which it is the moment then. Where positions of a prompt differ it is
        their mean over prompts of 21 points.
        """
        if not self.has_second_moment():
            return float("inf")
        closed = None
        all_count = type(self.function_class).counts is FunctionClass.counts
        if all_count and not self.has_own_inputs and self.function_class.moment_is_of_what_is_asked:
            closed = self.function_class.second_moment(
                self.dims,
                squared_norm=self.inputs.squared_norm(self.dims),
                spectrum=self.inputs.spectrum(self.dims),
            )
        if closed is None and all_count and self._has_reference_inputs():
            closed = self.function_class.trivial_error(self.dims)
        if closed is None:
            closed = estimated_moment(self.function_class, self.inputs, self.dims).mean
        closed = as_number(self.function_class, "second_moment", closed)
        return closed * (self.output_unit * self.factor) ** 2

    def _has_reference_inputs(self) -> bool:
        return bool(self.inputs.without_given_ids() == self.reference_inputs())

    def reference_inputs(self) -> InputDistribution:
        """The class's own reference inputs in these dimensions."""
        built = INPUTS.build(self.function_class.reference(self.dims), beside=self.function_class)
        assert isinstance(built, InputDistribution)
        return built

    def has_second_moment(self) -> bool:
        """Whether E f(x)^2 is finite: the tail index must exceed twice the class's growth."""
        return self.inputs.tail_index > 2 * self.function_class.growth

    def has_error_variance(self) -> bool:
        """Whether the squared error has a finite variance, so that intervals of its mean make sense."""
        return self.inputs.tail_index > 4 * self.function_class.growth


def from_table(frame: Any, *, target: str | None = None, dims: int | None = None) -> Task:
    """A task of a data frame: every prompt has rows of its own, and ``dims`` of the features, in a random order.

    Rows are drawn without replacement; features and target are standardised over the frame. ``frame``: a pandas data
    frame of numbers, or what makes one. ``target``: the column to predict; None: the last one. ``dims``: as many as a
    model reads; where the frame has fewer features the last coordinates are zero; None: as many as it has. UserError
    for what is no such frame. See `function_classes.Table`.
    """
    table = table_of(frame, target)
    return Task(table, Own(), table.numbers()[0].shape[1] if dims is None else dims)


def expect_steps(function_class: FunctionClass) -> None:
    """UserError for a class that shows reasoning steps of a number that cannot be, or beside labels of other kinds."""
    n: object = function_class.n_steps
    if not type(function_class).defines_steps():
        if n and "n_steps" not in type(function_class).model_fields:
            raise UserError(f"n_steps is {n!r}, and it defines no steps(parameters, xs)", subject=function_class.id)
        return
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise UserError(f"n_steps is {n!r}, expected a whole number from 0 on", subject=function_class.id)
    if function_class.shown_steps and (function_class.label_dims > 1 or function_class.class_valued):
        raise UserError(
            f"it shows {steps_of(function_class)}, and its labels are {labels_of(function_class)}; expected labels of "
            f"one number each beside reasoning steps",
            subject=function_class.id,
            way_out="set show_steps = false",
        )
    if function_class.shown_steps and function_class.drawn_labels:
        raise UserError(
            "its labels are drawn with their inputs, so that no reasoning steps lead to them",
            subject=function_class.id,
            way_out="set show_steps = false",
        )


def _other_classes(
    labels: Float[Tensor, "n points classes"], probability: float, made: torch.Generator
) -> Float[Tensor, "n points classes"]:
    """One-hot labels, each with this probability that of another class, each of which is as likely."""
    n_classes = labels.shape[-1]
    wrong = torch.rand(labels.shape[:2], generator=made, device=labels.device) < probability
    turns = torch.randint(1, n_classes, labels.shape[:2], generator=made, device=labels.device)
    turned = (labels.argmax(dim=-1) + turns * wrong) % n_classes
    return torch.zeros_like(labels).scatter_(-1, turned.unsqueeze(-1), 1.0)


@dataclass(frozen=True)
class _Truncated:
    """An input distribution whose coordinates from ``active`` on are set to zero (Garg et al.'s curriculum)."""

    inputs: InputSampler
    active: int

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        xs = self.inputs.sample(n, points, dims, generator)
        xs[:, :, self.active :] = 0
        return xs
