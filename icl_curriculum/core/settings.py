"""The settings of torch and numpy that a whole process shares: the suite computes with its own, whatever the caller's.

A notebook that computes in float64, or on a GPU by default, asks the same prompts and gets the same answers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from contextvars import ContextVar

import numpy as np
import torch

_OWN: ContextVar[bool] = ContextVar("own", default=False)
#: The defaults of numpy.
_NUMPY_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


@contextlib.contextmanager
def own_settings(*, training: bool = False) -> Iterator[None]:
    """Compute as in a fresh process during the block: in float32 on the CPU by default, with no inference mode,
    autocast or deterministic mode of the caller's, and with the errors of numpy as they are at first.

    Nor does cuDNN round what it multiplies. ``training``: gradients are recorded, too, which is otherwise left as it
    is. At the end, everything is as before.
    Within another such block nothing is changed: what the suite sets for a while is its own doing.
    """
    if _OWN.get():
        yield
        return
    with ExitStack() as undo:
        undo.callback(_OWN.reset, _OWN.set(True))
        if torch.get_default_dtype() != torch.float32:
            undo.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
        if torch.get_default_device().type != "cpu":
            undo.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            undo.enter_context(torch.inference_mode(False))
        if training and not torch.is_grad_enabled():
            undo.enter_context(torch.enable_grad())
        if torch.is_autocast_enabled("cpu"):
            undo.enter_context(torch.autocast("cpu", enabled=False))
        if torch.get_float32_matmul_precision() != "highest":
            undo.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision("highest")
        if torch.cuda.is_initialized() and torch.backends.cudnn.allow_tf32:  # type: ignore[no-untyped-call]
            # Which torch allows in a fresh process, too: recurrent layers on a GPU would be rounded, and nothing else.
            undo.callback(setattr, torch.backends.cudnn, "allow_tf32", True)
            torch.backends.cudnn.allow_tf32 = False
        if torch.are_deterministic_algorithms_enabled():
            warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
            undo.callback(torch.use_deterministic_algorithms, True, warn_only=warn_only)
            torch.use_deterministic_algorithms(False)
        if np.geterr() != _NUMPY_ERRORS:
            undo.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        yield
