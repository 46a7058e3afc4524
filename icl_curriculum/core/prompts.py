"""The `Prompts` batch and the `Learner` protocol.

Dimensions: batch = prompts, points = K + 1 (entry k has k examples before it), dims = d, labels = the numbers of a
label, an axis that is only there if they are several, steps = S, the reasoning steps of a pair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Prompts:
    """A batch of prompts ``x_1, y_1, ..., x_K, y_K, x_query`` of one function class, at every prompt length.

    ``xs``: inputs. ``ys``: the labels shown in context, noise included. ``targets``: the clean values
    to predict, which no learner is shown: where one is asked, they are NaN. Entry k of a prediction answers
    ``queries[:, k]`` (``xs[:, k]`` where ``queries`` is None) from the first k pairs alone.

    Labels that are vectors stand on a last axis of ``ys``, ``targets`` and predictions. Where labels are ``classes``
    they are one-hot, and predictions are log-probabilities.

    ``mask``: True where an entry is defined; None if all are. ``loss_weights``: how much each entry counts in the loss
    of training, with a sum of 1 over each prompt that counts at all; None: every entry alike. ``label_noise``:
    standard deviation of the noise in ``ys``, in the units of ``ys``, with what an observation says that it adds; of
    classes, the probability that a label is another one, but for what an observation does. ``scale``: what the
    function class's raw values were multiplied by to give ``ys`` and ``targets``. ``truth``: the functions'
    parameters, for oracles only.

    ``steps``: the reasoning steps s_1, ..., s_S that each pair shows between its input and its label; None where it
    shows none. Like label k, the steps of pair k are for later entries only, and the learner is to find those of its
    query by itself; with ``steps_given``, entry k may use the steps of its own query, too, which is ``xs[:, k]`` then.

    ``input_rounding``: the share of an input's length up to which it may lie outside the span of the earlier ones by
    rounding alone, where some of its coordinates follow from others, as linear steps do; 0: nothing of it is rounding.

    ``function_class``, ``input_distribution``: the ids of what the prompts are of. ``instruction``: for models that
    read instructions, the row of the one that each prompt begins with, -1 for the neutral one; None: that of the ids.
    """

    xs: Float[Tensor, "batch points dims"]
    ys: Float[Tensor, "batch points *labels"]
    targets: Float[Tensor, "batch points *labels"]
    queries: Float[Tensor, "batch points dims"] | None = None
    mask: Bool[Tensor, "batch points"] | None = None
    function_class: str = ""
    input_distribution: str = ""
    instruction: Int[Tensor, " batch"] | None = None
    label_noise: float = 0.0
    scale: float = 1.0
    classes: bool = False
    loss_weights: Float[Tensor, "batch points"] | None = None
    truth: Mapping[str, Tensor] | None = field(default=None, repr=False)
    steps: Float[Tensor, "batch points steps"] | None = None
    steps_given: bool = False
    input_rounding: float = 0.0

    def __repr__(self) -> str:
        """What they are, without their numbers: ``Prompts(4 of 7 points in 3 dimensions, linear, gaussian inputs)``."""
        words = [f"{len(self)} of {self.points} points in {self.dims} dimension{'s' * (self.dims != 1)}"]
        words += [self.function_class] if self.function_class else []
        words += [f"{self.input_distribution} inputs"] if self.input_distribution else []
        if self.label_dims > 1:
            words.append(f"{self.label_dims} classes" if self.classes else f"labels of {self.label_dims} numbers")
        if self.n_steps:
            words.append(f"{self.n_steps} reasoning step{'s' * (self.n_steps != 1)}")
        given = [f"with {name}" for name in ("queries", "mask") if getattr(self, name) is not None]
        return f"Prompts({', '.join([*words, *given])})"

    def __post_init__(self) -> None:
        if self.steps_given and self.steps is None:
            raise ValueError("steps_given says that the steps of queries are given, and the prompts have no steps")
        if self.steps_given and self.queries is not None:
            raise ValueError("steps_given: the steps are those of xs, so that separate queries have none to be given")

    def __len__(self) -> int:
        return self.xs.shape[0]

    @property
    def points(self) -> int:
        return self.xs.shape[1]

    @property
    def dims(self) -> int:
        return self.xs.shape[2]

    @property
    def label_dims(self) -> int:
        """How many numbers a label is; of classes, how many classes there are."""
        return 1 if self.ys.ndim == 2 else self.ys.shape[2]

    @property
    def n_steps(self) -> int:
        """How many reasoning steps each pair shows, S."""
        return 0 if self.steps is None else self.steps.shape[2]

    @property
    def noise_variance(self) -> float:
        """The variance of the noise in ``ys``, in the units of the class's raw values."""
        return (self.label_noise / self.scale) ** 2

    @property
    def flip_probability(self) -> float:
        """The probability p that a label is flipped, where labels are signs: the noise is 2 sqrt(p (1 - p))."""
        return (1 - math.sqrt(max(0.0, 1 - self.label_noise**2))) / 2

    def query(self) -> Float[Tensor, "batch points dims"]:
        """The input asked about at each prompt length."""
        return self.xs if self.queries is None else self.queries

    def defined(self) -> Bool[Tensor, "batch points"]:
        """True where an entry is defined: the mask, or everywhere."""
        if self.mask is None:
            return torch.ones(self.xs.shape[:2], dtype=torch.bool, device=self.xs.device)
        return self.mask

    def counted(self) -> Float[Tensor, "batch points"] | None:
        """The `entry_weights`; None where every entry of every prompt counts alike."""
        return None if self.loss_weights is None and self.mask is None else self.entry_weights()

    def entry_weights(self) -> Float[Tensor, "batch points"]:
        """How much each entry counts in a prompt's loss: ``loss_weights``, or every defined entry alike.

        The weights of a prompt sum to 1, or to 0 where nothing of it counts.
        """
        defined = self.defined().to(self.xs.dtype)
        if self.loss_weights is None:
            return shares(defined)
        return self.loss_weights if self.mask is None else shares(self.loss_weights * defined)

    def without_truth(self) -> Prompts:
        return replace(self, truth=None)

    def without_answers(self) -> Prompts:
        """What a learner is shown: without the functions' parameters, and with NaN in the place of the targets."""
        return replace(self, targets=torch.full_like(self.targets, math.nan), truth=None)

    def copy(self) -> Prompts:
        """The same prompts with tensors of their own; the truth is shared."""
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        copied = {name: value.clone() for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **{**values, **copied})

    def unlike(self, other: Prompts) -> str | None:
        """The name of the first tensor of inputs, labels, queries and the like that is not as in other prompts."""
        for item in fields(self):
            one, another = getattr(self, item.name), getattr(other, item.name)
            if isinstance(one, Tensor) and not torch.equal(torch.nan_to_num(one), torch.nan_to_num(another)):
                return item.name
        return None

    def first_points(self, points: int) -> Prompts:
        """The same prompts cut to their first ``points`` entries."""

        def cut(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[:, :points]

        return replace(
            self,
            xs=self.xs[:, :points],
            ys=self.ys[:, :points],
            targets=self.targets[:, :points],
            queries=cut(self.queries),
            mask=cut(self.mask),
            steps=cut(self.steps),
            loss_weights=None if self.loss_weights is None else shares(self.loss_weights[:, :points]),
        )

    def __getitem__(self, rows: slice | Int[Tensor, " n"]) -> Prompts:
        """The prompts of these rows, a slice or their numbers in any order, truth included."""
        changed: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Tensor):
                changed[item.name] = value[rows]
        if self.truth is not None:
            changed["truth"] = {name: value[rows] for name, value in self.truth.items()}
        return replace(self, **changed)

    def at_prefix(self, k: int) -> Prompts:
        """The single question at k examples, written as plain prompts of k + 1 points.

        The last label and, unless they are given, the last steps belong to no question.
        """
        xs = torch.cat([self.xs[:, :k], self.query()[:, k : k + 1]], dim=1)
        return replace(self.first_points(k + 1), xs=xs, queries=None)


def shares(weights: Float[Tensor, "batch points"]) -> Float[Tensor, "batch points"]:
    """Weights over each prompt's sum of them; zeros where the sum is zero, as no entry counts."""
    total = weights.sum(dim=1, keepdim=True)
    return weights / torch.where(total > 0, total, 1.0)


def concatenate(batches: Sequence[Prompts]) -> Prompts:
    """Join batches of equal shape, with their masks, the weights of their entries, their instructions and their steps.

    What belongs to one batch alone (truth, ids) is dropped. Raises ValueError for prompts with separate queries, for
    classes beside numbers, and for prompts with steps beside others without, or with other numbers of them.
    """
    if any(batch.queries is not None for batch in batches):
        raise ValueError("only prompts without separate queries can be concatenated")
    if len({batch.classes for batch in batches}) > 1:
        raise ValueError("prompts whose labels are classes cannot be concatenated with prompts of other labels")
    if len({(batch.n_steps, batch.steps_given) for batch in batches}) > 1:
        raise ValueError("prompts with reasoning steps can be concatenated only with prompts of as many")
    if len(batches) == 1:
        return batches[0]
    steps = [batch.steps for batch in batches if batch.steps is not None]
    instructions = [batch.instruction for batch in batches if batch.instruction is not None]
    masked = any(batch.mask is not None for batch in batches)
    weighted = any(batch.loss_weights is not None for batch in batches)
    return Prompts(
        xs=torch.cat([batch.xs for batch in batches]),
        ys=torch.cat([batch.ys for batch in batches]),
        targets=torch.cat([batch.targets for batch in batches]),
        mask=torch.cat([batch.defined() for batch in batches]) if masked else None,
        instruction=torch.cat(instructions) if len(instructions) == len(batches) else None,
        classes=batches[0].classes,
        loss_weights=torch.cat([batch.entry_weights() for batch in batches]) if weighted or masked else None,
        steps=torch.cat(steps) if steps else None,
        steps_given=batches[0].steps_given,
    )


@runtime_checkable
class Learner(Protocol):
    """Anything that answers prompts: a trained model, a classical estimator, an oracle."""

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points *labels"]:
        """Entry k: the prediction at the query of k, a function of the first k pairs and that query only.

        Where the labels of the prompts are classes, it is the logarithm of each class's probability. A learner with
        the attribute ``reads_steps = True`` is given prompts with reasoning steps as they are; any other is asked for
        one step after another, as `evaluation.stepwise.predicted` says.
        """
        ...
