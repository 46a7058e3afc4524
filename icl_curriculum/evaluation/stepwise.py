"""Asking a learner that knows nothing of reasoning steps for one after another: baselines see what the model sees.

Dimensions: batch = prompts, points = K + 1 (entry k has k examples before it), dims = d, steps = S, the reasoning steps
of a pair.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.prompts import Learner, Prompts
from icl_curriculum.models.calling import check_shape

#: `Prompts.input_rounding` of inputs with steps beside them: steps that are linear in x are so up to the rounding of
#: float32, about 1e-7, times how nearly the examples depend on one another.
ROUNDING = 1e-4


def predicted(learner: Learner, prompts: Prompts) -> Tensor:
    """What a learner predicts, which is shown the reasoning steps that the model is shown, where there are any.

    One with the attribute ``reads_steps = True`` is given prompts with steps as they are. Any other is asked for the
    label of the inputs [x, s_1, ..., s_S], as many more as there are steps: one question where the query's steps are
    given. Where they are not, it is asked S + 1 of them: for s_1 from x, for s_2 from [x, s_1], with its own answer in
    the query's place and the true steps in the examples', and so on until y. An answer that is no finite number is one
    to no later question. ValueError for an answer of a wrong shape.
    """
    if prompts.steps is None or getattr(learner, "reads_steps", False):
        return learner.predict(prompts)
    xs, steps = prompts.xs, prompts.steps.to(prompts.xs.dtype)
    plain = replace(prompts, steps=None, steps_given=False)
    if prompts.steps_given:
        return learner.predict(replace(plain, xs=torch.cat([xs, steps], dim=-1), input_rounding=ROUNDING))
    nothing = torch.full_like(prompts.ys, torch.nan)
    found: list[Tensor] = []
    for number in range(prompts.n_steps):
        # Steps are shown without noise, in a unit of their own.
        of_step = replace(plain, ys=steps[..., number], targets=nothing, label_noise=0.0, scale=1.0)
        answer = learner.predict(_beside(of_step, steps[..., :number], found))
        check_shape(answer, of_step.ys)
        found.append(answer.detach().to(xs))
    answer = learner.predict(_beside(plain, steps, found))
    check_shape(answer, prompts.ys)
    unknown = ~torch.stack(found).isfinite().all(dim=0)
    return torch.where(unknown.to(answer.device), torch.full_like(answer, torch.nan), answer)


def _beside(prompts: Prompts, steps: Float[Tensor, "batch points shown"], found: list[Tensor]) -> Prompts:
    """Plain prompts whose examples have these steps beside their inputs, and whose queries what was found of them."""
    if not found:
        return prompts
    queries = torch.cat([prompts.query(), torch.stack(found, dim=-1).nan_to_num(0.0, 0.0, 0.0)], dim=-1)
    return replace(prompts, xs=torch.cat([prompts.xs, steps], dim=-1), queries=queries, input_rounding=ROUNDING)
