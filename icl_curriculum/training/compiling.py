"""A model's compiled forward pass, which stands in its place during updates and at no other time.

What is asked of a model otherwise (errors while training, evaluation, attention, heads, probes) has other shapes and no
gradients: each would be compiled anew, and answers would depend on whether training was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from icl_curriculum.core.machine import device_kind
from icl_curriculum.curricula import CurriculumPlan
from icl_curriculum.models.base import Model

#: The most ways in which an update calls a model on prompts of one number of points: numbers of prompts, with gradients
#: and without.
_WAYS = 8


class CompiledForward:
    """The forward pass of a model, compiled for each size of prompts by itself.

    One graph for all sizes would be compiled when the second one comes, so a run that was resumed there would compute
    otherwise than one that was not. ``sizes``: how many numbers of points there are. torch goes on without a word, and
    without what it compiled, where there are more than a limit; here there never are, and if there were it would be an
    error.
    """

    def __init__(self, model: Model, device: str, sizes: int) -> None:
        self._cuda = device_kind(device) == "cuda"
        # A graph spares a GPU the launching of every kernel, which for small models is most of a step.
        model.compile(mode="reduce-overhead" if self._cuda else "default", dynamic=False)
        self._call: Callable[..., Any] | None = model._compiled_call_impl
        model._compiled_call_impl = None
        self._limit = _WAYS * sizes

    @contextlib.contextmanager
    def in_place(self, model: Model) -> Iterator[None]:
        """Calls of the model, but no `Model.forward`, go by what was compiled during the block, an update."""
        from torch._dynamo import config  # With all of torch's compiler, which takes seconds.

        limits = {"recompile_limit": self._limit, "accumulated_recompile_limit": self._limit}
        kept = {name: max(limit, getattr(config, name)) for name, limit in limits.items()}
        if self._cuda:
            # What a graph returned in the update before may be overwritten from here on.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        model._compiled_call_impl = self._call
        try:
            with config.patch(fail_on_recompile_limit_hit=True, **kept):
                yield
        finally:
            model._compiled_call_impl = None


def sizes_of(plan: CurriculumPlan) -> int:
    """How many numbers of points the prompts of a run have, one after another."""
    growth = plan.points_growth
    if growth is None:
        return 1
    return len(growth.spans(plan.points, plan.steps))
