"""A function class's draws, held to the contract: whoever draws for training, banks or moments does it here.

Dimensions: n = prompts, points = K + 1, dims = d, labels = the numbers of a label, if they are several, steps = S, the
reasoning steps of a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from icl_curriculum.core.component import Component
from icl_curriculum.core.contracts import at_work, broken_contract, expect_shape
from icl_curriculum.core.registry import is_built_in
from icl_curriculum.core.streams import Streams
from icl_curriculum.core.transfers import free_to_look
from icl_curriculum.observations import Pairs


def checked_draw(
    function_class: Any, inputs: Any, n: int, points: int, dims: int, streams: Streams, *, sampler: Any = None
) -> tuple[Float[Tensor, "n points dims"], Float[Tensor, "n points *labels"], dict[str, Tensor]]:
    """What `FunctionClass.draw` gives. ComponentFailed, naming whose fault it is, for what breaks the contract.

    ``sampler``: what inputs are sampled from instead of the distribution ``inputs``, which errors name.
    """
    with at_work(function_class, "draw"):
        drawn = function_class.draw(n, points, dims, _Checked(inputs if sampler is None else sampler, inputs), streams)
    xs, values, truth = drawn
    expect_shape(function_class, "draw (inputs)", xs, (n, points, dims), "prompts, points, dims")
    expect_shape(function_class, "draw (values)", values, *function_class.label_shape(n, points))
    return xs, values, truth


def checked_counts(
    function_class: Any, truth: dict[str, Tensor], asked: Float[Tensor, "n points dims"]
) -> Bool[Tensor, "n points"] | None:
    """What `FunctionClass.counts` gives."""
    with at_work(function_class, "counts"):
        counting: Tensor | None = function_class.counts(truth, asked)
    if counting is not None:
        expect_shape(function_class, "counts", counting, tuple(asked.shape[:2]), "prompts, points", torch.bool)
    return counting


def checked_steps(
    function_class: Any, truth: dict[str, Tensor], xs: Float[Tensor, "n points dims"]
) -> Float[Tensor, "n points steps"] | None:
    """What `FunctionClass.steps` gives; None where no steps are shown."""
    shown = function_class.shown_steps
    if not shown:
        return None
    with at_work(function_class, "steps"):
        steps: Tensor = function_class.steps(truth, xs)
    expect_shape(function_class, "steps", steps, (*xs.shape[:2], shown), "prompts, points, steps", xs.dtype)
    if _to_be_looked_at(function_class, steps) and not bool(steps.isfinite().all()):
        raise broken_contract(
            function_class, "steps", found="values that are not finite", expected="finite values at every input"
        )
    return steps


def checked_values(
    function_class: Any, truth: dict[str, Tensor], xs: Float[Tensor, "n points dims"], *, asked: bool
) -> Float[Tensor, "n points *labels"]:
    """What `FunctionClass.evaluate` gives; if ``asked``, `FunctionClass.ask`."""
    method = "ask" if asked and function_class.asks_itself else "evaluate"
    with at_work(function_class, method):
        values: Tensor = getattr(function_class, method)(truth, xs)
    shape, axes = function_class.label_shape(xs.shape[0], xs.shape[1])
    expect_shape(function_class, method, values, shape, axes, xs.dtype)
    return values


def checked_show(
    function_class: Any, pairs: Pairs, truth: dict[str, Tensor], dims: int, generator: torch.Generator
) -> Pairs:
    """What the class's `show` gives, and then its observation: finite numbers of the shapes that they state."""
    own = function_class
    if own.shows_by_method:
        show = partial(own.show, parameters=truth, generator=generator)
        pairs = _expect_shown(own, show, pairs, own.label_shape(*pairs.xs.shape[:2]), partial(own.shown_dims, dims))
    if own.observation is not None:
        show, seen = partial(own.observation.show, generator=generator), pairs.xs.shape[2]
        width = partial(own.observation.shown_dims, seen)
        pairs = _expect_shown(own.observation, show, pairs, own.label_shape(*pairs.xs.shape[:2]), width)
    return pairs


def _expect_shown(
    by: Component,
    show: Callable[[Pairs], Any],
    pairs: Pairs,
    labels: tuple[tuple[int, ...], str],
    width: Callable[[], int],
) -> Pairs:
    """The pairs as ``by`` shows them; ComponentFailed unless they are so many numbers, and labels of their kind."""
    with at_work(by, "show"):
        # Labels may be the very tensor of the targets, which code from outside might change in place.
        shown: Any = show(pairs if is_built_in(type(by)) else pairs.copy())
        numbers = width()
    if not isinstance(shown, Pairs):
        raise broken_contract(by, "show", found=f"a {type(shown).__name__}", expected="Pairs")
    if (shown.queries is None) != (pairs.queries is None):
        found = "queries where there were none" if pairs.queries is None else "no queries where there were some"
        raise broken_contract(by, "show", found=found, expected="queries where there are some, and only there")
    inputs = (*pairs.xs.shape[:2], numbers), "prompts, points, shown numbers"
    wanted = {"xs": inputs, "ys": labels} if shown.queries is None else {"xs": inputs, "ys": labels, "queries": inputs}
    for name, (shape, axes) in wanted.items():
        value = getattr(shown, name)
        expect_shape(by, f"show ({name})", value, shape, axes)
        if not _to_be_looked_at(by, value):
            continue
        if not bool(value.isfinite().all()) and bool(getattr(pairs, name).isfinite().all()):
            raise broken_contract(by, f"show ({name})", found="values that are not finite", expected="finite ones")
    if not _to_be_looked_at(by, shown.ys):
        return shown
    if pairs.kind == "signs" and not bool((shown.ys.abs() == 1).all()):
        raise broken_contract(by, "show (ys)", found="labels that are no signs", expected="-1 and 1")
    if pairs.kind == "classes" and not bool(((shown.ys == 0) | (shown.ys == 1)).all() & (shown.ys.sum(-1) == 1).all()):
        found = "labels that are not one-hot"
        raise broken_contract(by, "show (ys)", found=found, expected="1 at the class and 0 elsewhere")
    return shown


def _to_be_looked_at(by: Component, value: Tensor) -> bool:
    """Whether numbers are held to the contract: the package's own are believed where they would be waited for."""
    return free_to_look(value) or not is_built_in(type(by))


def showers(function_class: Any) -> list[Component]:
    """Whose code says what is shown: the class where it overrides `show`, and its observation."""
    found = [function_class] if function_class.shows_by_method else []
    return found if function_class.observation is None else [*found, function_class.observation]


@dataclass(frozen=True)
class _Checked:
    """A sampler whose results are checked against the contract; errors name the distribution ``inputs``."""

    sampler: Any
    inputs: Any

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        with at_work(self.inputs, "sample"):
            xs: Tensor = self.sampler.sample(n, points, dims, generator)
        expect_shape(self.inputs, "sample", xs, (n, points, dims), "prompts, points, dims")
        return xs
