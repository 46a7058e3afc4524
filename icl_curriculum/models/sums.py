"""Sums over the tokens so far, on every device by kernels that repeat to the bit.

Dimensions: b = prompts, t = tokens, w = width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def prefix_sums(values: Float[Tensor, "b t w"]) -> Float[Tensor, "b t w"]:
    """Entry t: the sum of the values up to it.

    On the CPU by one pass. On CUDA the sums of torch's own kernel depend on timing, so that it refuses to run where
    results are to repeat; there, and on other accelerators, it takes about log2(t) passes, in each of which an entry
    comes to twice as many values.
    """
    if values.device.type == "cpu":
        return values.cumsum(dim=1)
    stride = 1
    while stride < values.shape[1]:
        values = torch.cat([values[:, :stride], values[:, stride:] + values[:, :-stride]], dim=1)
        stride *= 2
    return values
