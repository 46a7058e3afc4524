"""Shifts of the query against the context. The context's inputs are in distribution, or moved into one orthant.

Dimensions: n = prompts, points = K + 1, dims = d; entry k has k examples before it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import Streams
from icl_curriculum.inputs import InOneOrthant, random_orthants
from icl_curriculum.shifts.base import Shift, register_shift
from icl_curriculum.tasks import MEMORY, Task

_OWNS = "it makes its own inputs"
_DRAWN = "labels are drawn with their inputs, so other queries have none"
_SIGNS = "every input is a corner of the cube"


class _QueryShift(Shift):
    """Prompts whose query at k is made from the unshifted inputs of the same streams."""

    oracle_holds: ClassVar[bool] = True

    def undefined(self, task: Task) -> str | None:
        if task.function_class.drawn_labels:
            return _DRAWN
        if task.function_class.has_memory:
            return MEMORY
        return _OWNS if task.has_own_inputs else None

    @abstractmethod
    def change(
        self, xs: Float[Tensor, "n points dims"], task: Task, streams: Streams
    ) -> tuple[Float[Tensor, "n points dims"], Float[Tensor, "n points dims"], Bool[Tensor, " points"] | None]:
        """Returns the context's inputs, the query at each k, and at which k it is defined (None: at all)."""

    def draw(self, task: Task, n: int, points: int, streams: Streams) -> Prompts:
        xs, values, truth = task.clean(n, points, streams)
        context, queries, defined = self.change(xs, task, streams)
        return task.label(
            context,
            values if context is xs else task.values(truth, context),
            truth,
            streams,
            queries=queries,
            mask=None if defined is None else defined.expand(n, points),
        )


class _Orthants(_QueryShift):
    def undefined(self, task: Task) -> str | None:
        if (reason := super().undefined(task)) is not None:
            return reason
        if task.function_class.owns_inputs:
            return _OWNS
        return _SIGNS if task.inputs.only_corners(task.dims) else None


@register_shift("random_quadrants")
class RandomQuadrants(_Orthants):
    """All context inputs in one random orthant, the query anywhere: distributed like the task's inputs.

    The query at k is the unshifted x_k, of which the context at k knows nothing. Source: Garg et al. 2022.
    """

    def change(
        self, xs: Float[Tensor, "n points dims"], task: Task, streams: Streams
    ) -> tuple[Float[Tensor, "n points dims"], Float[Tensor, "n points dims"], Bool[Tensor, " points"] | None]:
        signs = random_orthants(len(xs), task.dims, streams.generator("orthants"))
        return xs.abs() * signs, xs, None


@register_shift("opposite_quadrants")
class OppositeQuadrants(_Orthants):
    """All context inputs in one random orthant, the query in the opposite one.

    Even functions have the same values in both. A tree has one leaf for all of an orthant, so the context says
    nothing about the leaf of the other one. Source: Garg et al. 2022, appendix.
    """

    def apply(self, task: Task) -> Task:
        """Returns the task with the query's own inputs, which differ where the signs of inputs are not symmetric."""
        return replace(task, inputs=InOneOrthant(of=task.inputs))

    def change(
        self, xs: Float[Tensor, "n points dims"], task: Task, streams: Streams
    ) -> tuple[Float[Tensor, "n points dims"], Float[Tensor, "n points dims"], Bool[Tensor, " points"] | None]:
        context = xs.abs() * random_orthants(len(xs), task.dims, streams.generator("orthants"))
        return context, -context, None


@register_shift("orthogonal_queries")
class OrthogonalQueries(_QueryShift):
    """The query is x_k without its components along the k inputs of the context, at x_k's own length.

    Its marginal stays that of x_k if inputs are as likely as their rotations. It is defined for fewer
    examples than the inputs have dimensions. Every linear method has normalized error 1. Source: Garg et al. 2022.
    """

    def undefined(self, task: Task) -> str | None:
        if (reason := super().undefined(task)) is not None:
            return reason
        if task.inputs.only_corners(task.dims):
            return _SIGNS
        if task.inputs.rank(task.dims) < 2:
            return "nothing is orthogonal to an example in one dimension"
        if task.function_class.largest_input < float("inf"):
            return "the query could leave the domain"
        if not task.inputs.rotation_invariant(task.dims):
            return "turned inputs are distributed differently"
        return None

    def change(
        self, xs: Float[Tensor, "n points dims"], task: Task, streams: Streams
    ) -> tuple[Float[Tensor, "n points dims"], Float[Tensor, "n points dims"], Bool[Tensor, " points"] | None]:
        rank = min(task.inputs.rank(task.dims), xs.shape[1])
        # In QR, column k is what is left of x_k orthogonal to the inputs before it, up to its length and sign.
        q, r = torch.linalg.qr(xs[:, :rank].mT.double())
        signs = r.diagonal(dim1=1, dim2=2).sign().unsqueeze(1)
        lengths = xs[:, :rank].double().norm(dim=2, keepdim=True)
        queries = xs.clone()
        queries[:, :rank] = ((q * signs).mT * lengths).to(xs.dtype)
        return xs, queries, torch.arange(xs.shape[1], device=xs.device) < rank


@register_shift("overlapping_queries")
class OverlappingQueries(_QueryShift):
    """The query is one of the k inputs of the context, each as likely; defined from one example on.

    Least squares and the nearest neighbour have error 0 without label noise. Source: Garg et al. 2022.
    """

    def change(
        self, xs: Float[Tensor, "n points dims"], task: Task, streams: Streams
    ) -> tuple[Float[Tensor, "n points dims"], Float[Tensor, "n points dims"], Bool[Tensor, " points"] | None]:
        ks = torch.arange(xs.shape[1], device=xs.device)
        uniform = torch.rand(xs.shape[:2], generator=(made := streams.generator("overlap")), device=made.device)
        chosen = (uniform * ks).long().clamp(max=(ks - 1).clamp_min(0))
        queries = xs.gather(1, chosen.unsqueeze(-1).expand_as(xs))
        return xs, queries, ks > 0
