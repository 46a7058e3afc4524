"""The posterior mean over a finite pool of functions (Raventos et al. 2023).

Dimensions: batch = prompts, points = K + 1, dims = d, members = functions of the pool, labels = the numbers of a label,
an axis that is only there if they are several.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.baselines.base import ALL_LABELS, Baseline, register_baseline
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.function_classes import AnyFunctionClass, FunctionClass, Parameters, labels_of

# How many numbers are held at once; and by which share of the members' root mean square a label may be off, as float32
# rounds, and still count as a member's value.
_CHUNK = 1 << 24
_ROUNDING = 1e-5
#: The probability of a class that no function of the pool gives: none that is 0 could be judged by its logarithm.
_IMPOSSIBLE = 1e-12


@register_baseline("dmmse")
class PoolPosteriorMean(Baseline):
    """The posterior mean over a pool of functions: each weighs as much as its likelihood given the k examples.

    Without noise, the functions that agree with all examples weigh the same (or the nearest ones where none
    does). If ``pool`` is left out, it is that of the experiment's first function class that has one.
    It is optimal on the functions of the pool if inputs say nothing about them, and a model trained on few
    functions comes to resemble it, on fresh functions too. Source: Raventos et al. 2023, "dMMSE".

    Of classes it is the posterior predictive: the probability of each class over the functions of the pool.
    """

    answers = ALL_LABELS

    pool: AnyFunctionClass | None = Field(None, description="a function class with a pool_size")

    def for_training_on(self, function_classes: Sequence[FunctionClass]) -> Baseline:
        if self.pool is not None:
            self._check(self.pool)
            return self
        with_pool = [item for item in function_classes if item.pool_size is not None]
        if not with_pool:
            raise UserError("dmmse: expected a function class with a pool_size to take the pool from, found none")
        return self.model_copy(update={"pool": with_pool[0], "given_id": self.id})

    def why_not(self, function_class: FunctionClass) -> str | None:
        if self.pool is not None and self.pool.drawn_labels:
            return f"the labels of {self.pool.id} are drawn with their inputs, and {self.id} knows values alone"
        if function_class.shows_itself or (self.pool is not None and self.pool.shows_by_method):
            return f"{self.id} reads inputs and values as functions have them, and {function_class.id} shows others"
        if function_class.shown_steps:
            return f"the baseline {self.id} goes by inputs and labels alone, and {function_class.id} shows steps, too"
        own = None if self.pool is None else labels_of(self.pool)
        if own in (None, labels_of(function_class)):
            return super().why_not(function_class)
        return f"the pool of the baseline {self.id} has {own}, and the labels are {labels_of(function_class)}"

    @staticmethod
    def _check(pool: FunctionClass) -> None:
        if pool.pool_size is None:
            raise UserError(f"dmmse: pool: expected a function class with a pool_size, found {pool.id}")

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points *labels"]:
        if self.pool is None:
            raise UserError("dmmse: expected a function class with a pool_size as its pool, found none")
        self._check(self.pool)
        return pool_posterior_mean(self.pool, prompts, self.pool.output_scale(prompts.dims))


def pool_posterior_mean(
    function_class: FunctionClass, prompts: Prompts, scale: float
) -> Float[Tensor, "batch points *labels"]:
    """The mean of f(query) over the class's pool, weighted by the likelihood of the first k labels, in float64.

    ``scale``: the factor that the pool's raw values are multiplied by. Inputs are taken to say nothing about the
    function. Of classes it is the logarithm of their mean; a class that no function gives has `_IMPOSSIBLE`.
    """
    members = function_class.pool(prompts.dims, prompts.xs.device)
    best = torch.full(prompts.xs.shape[:2], -math.inf, dtype=torch.float64, device=prompts.xs.device)
    total, mass = torch.zeros_like(prompts.ys, dtype=torch.float64), torch.zeros_like(best)

    def beside(entries: Tensor) -> Tensor:
        return entries if prompts.ys.ndim == 2 else entries.unsqueeze(-1)

    for likelihoods, answers in asked_members(function_class, members, prompts, scale):
        # The sum of exponentials over chunks is kept relative to the largest so far.
        largest = torch.maximum(best, likelihoods.amax(dim=0))
        kept = torch.exp(best - largest)
        weights = torch.exp(likelihoods - largest)
        mass = mass * kept + weights.sum(dim=0)
        total = total * beside(kept) + (beside(weights) * answers).sum(dim=0)
        best = largest
    mean = total / beside(mass)
    if not prompts.classes:
        return mean
    likely = mean.clamp_min(_IMPOSSIBLE)
    return (likely / likely.sum(dim=-1, keepdim=True)).log()


def asked_members(
    function_class: FunctionClass, members: Parameters, prompts: Prompts, scale: float
) -> Iterator[tuple[Float[Tensor, "members batch points"], Float[Tensor, "members batch points *labels"]]]:
    """For some members at a time: the log likelihood of the first k labels, and what they answer at query k.

    ``members``: the parameters of functions of the class. ``scale``: what their raw values are multiplied by.
    """
    size = len(next(iter(members.values())))
    # Each input takes as many numbers as a function has parameters for each coordinate, e.g. hidden units.
    parameters = sum(value[0].numel() for value in members.values())
    step = max(1, _CHUNK // (prompts.ys.numel() * max(prompts.dims, parameters // prompts.dims)))
    for start in range(0, size, step):
        part = {name: value[start : start + step] for name, value in members.items()}
        labels = _values(function_class, part, prompts.xs) * scale
        if prompts.queries is None and not function_class.asks_itself:
            answers = labels
        else:
            answers = _at_queries(function_class, part, prompts) * scale
        # (members, batch, points): the likelihood of the labels before each entry, so of none at entry 0.
        each = _log_likelihoods(function_class, labels, prompts, scale)
        yield F.pad(each[..., :-1].cumsum(dim=-1), (1, 0)), answers


def _values(
    function_class: FunctionClass,
    members: dict[str, Tensor],
    xs: Float[Tensor, "batch points dims"],
    *,
    asked: bool = False,
) -> Float[Tensor, "members batch points *labels"]:
    """The values of every member at every input of every prompt.

    All inputs are points of one long prompt, but for functions with memory, of which each member meets each prompt.
    """
    count = len(next(iter(members.values())))
    evaluate = function_class.ask if asked else function_class.evaluate
    if function_class.has_memory:
        each = {name: value.repeat_interleave(len(xs), dim=0) for name, value in members.items()}
        values = evaluate(each, xs.repeat(count, 1, 1)).double()
    else:
        flat = rearrange(xs, "b p d -> 1 (b p) d").expand(count, -1, -1)
        values = evaluate(members, flat).double()
    return values.reshape(count, len(xs), xs.shape[1], *values.shape[2:])


def _at_queries(
    function_class: FunctionClass, members: dict[str, Tensor], prompts: Prompts
) -> Float[Tensor, "members batch points *labels"]:
    """What every member is asked at the query of every entry; those with memory go by the inputs before it, too."""
    if prompts.queries is None or not function_class.has_memory:
        return _values(function_class, members, prompts.query(), asked=True)
    prefixes = (prompts.at_prefix(k).xs for k in range(prompts.points))
    found = [_values(function_class, members, xs, asked=True)[:, :, -1] for xs in prefixes]
    return torch.stack(found, dim=2)


def _log_likelihoods(
    function_class: FunctionClass, labels: Float[Tensor, "members batch points *labels"], prompts: Prompts, scale: float
) -> Float[Tensor, "members batch points"]:
    """The log likelihood of each shown label if a member made it, up to a term that all members share."""
    shown = prompts.ys.double()
    if function_class.sign_valued:
        p = prompts.flip_probability
        odds = math.log(max(p, 1e-12) / (1 - p))
        return (labels.sign() != shown.sign()).double() * odds
    if function_class.class_valued:
        p, others = prompts.label_noise, function_class.label_dims - 1
        odds = math.log(max(p, 1e-12) / others / (1 - p))
        return (labels != shown).any(dim=-1).double() * odds
    rounding = _ROUNDING * math.sqrt(function_class.trivial_error(prompts.dims)) * scale
    squares = (shown - labels).square()
    distances = squares if squares.ndim == 3 else squares.sum(dim=-1)
    return distances / (-2 * max(prompts.label_noise, rounding) ** 2)
