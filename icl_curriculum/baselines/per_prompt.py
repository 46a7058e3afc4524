"""Estimators that fit one prompt at one length at a time.

Dimensions: batch = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from icl_curriculum.core.prompts import Prompts

Array = NDArray[np.float64]
#: Predicts at the query (dims,) from the first k examples, (k, dims) and (k,), with k at least 1.
Answer = Callable[[Array, Array, Array], float]


def answer_each(prompts: Prompts, answer: Answer) -> Float[Tensor, "batch points"]:
    """The predictions of ``answer`` for every prompt at every length that the mask leaves, in float64; 0 at k = 0."""
    predictions = torch.zeros(prompts.ys.shape, dtype=torch.float64)
    xs, ys, queries = (value.double().cpu().numpy() for value in (prompts.xs, prompts.ys, prompts.query()))
    asked = prompts.defined()
    for i, k in asked.nonzero().tolist():
        if k > 0:
            predictions[i, k] = float(answer(xs[i, :k], ys[i, :k], queries[i, k]))
    return predictions.to(prompts.ys.device)
