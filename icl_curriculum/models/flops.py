"""Floating-point operations of a call, by the matrix products and convolutions that it executes.

torch's own ``FlopCounterMode`` knows neither products in place nor fused attention on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

#: Position of the two factors among the arguments, by the name of the operation; in place and ``out=`` alike.
_PRODUCTS = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1, "addbmm": 1, "_addmm_activation": 1}
_BY_VECTOR = {"mv": 0, "addmv": 1}
#: Fused recurrent layers; backward each product has two, for the gradients of its factors.
_RECURRENT = ("mkldnn_rnn_layer", "_cudnn_rnn")
#: Products of a fused attention: scores and mixed values; backward the scores anew, and four gradients.
_FORWARD, _BACKWARD = 2, 5


def count(call: Callable[[], object]) -> int:
    """Operations (a multiplication and an addition are two) of the products that a call executes in this thread.

    Fused attention counts every pair of tokens, as the plain products would; its backward recomputes the scores.
    """
    counter = _Counter()
    before = _counters.set((*_counters.get(), counter))
    try:
        with counter:
            call()
    finally:
        _counters.reset(before)
    return counter.total


def executed(operations: int) -> None:
    """Tell whoever counts of products that were executed without torch."""
    for counter in _counters.get():
        counter.total += operations


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total: int = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keeps torch from wrapping what follows for its compiler, whose import takes every run two seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::").removesuffix("_")
        found = func(*args, **(kwargs or {}))
        # Of a convolution, each number that comes out is a product with one filter.
        if name == "convolution":
            self.total += _convolution(found, args[1])
        self.total += operations(name, args)
        return found


#: Those that count in this thread.
_counters: ContextVar[tuple[_Counter, ...]] = ContextVar("_counters", default=())


def operations(name: str, args: Any) -> int:
    """The operations of one call of an aten operation; 0 unless it is a matrix product."""
    if name in _PRODUCTS:
        left, right = args[_PRODUCTS[name] : _PRODUCTS[name] + 2]
        return 2 * int(left.numel()) * int(right.shape[-1])
    if name in _BY_VECTOR:
        return 2 * int(args[_BY_VECTOR[name]].numel())
    if name.startswith("_scaled_dot_product_"):
        backward = "_backward" in name
        query, key, value = args[1:4] if backward else args[:3]
        return (_BACKWARD if backward else _FORWARD) * _attention_product(query, key, value)
    if name == "convolution_backward":
        # The gradients of input and filters are a product each.
        return 2 * _convolution(args[0], args[2])
    if name.removesuffix("_backward") in _RECURRENT:
        steps = int(args[0].shape[0] * args[0].shape[1])
        # oneDNN gets the weights of a layer one by one, cuDNN those of all layers in a list; biases are no matrices.
        given = args[1:5] if name.startswith("mkldnn") else args[1]
        products: int = sum(2 * steps * int(weight.numel()) for weight in given if weight.ndim == 2)
        return 2 * products if name.endswith("_backward") else products
    return 0


def _convolution(result: Tensor, filters: Tensor) -> int:
    return 2 * int(result.numel()) * int(filters[0].numel())


def _attention_product(query: Tensor, key: Tensor, value: Tensor) -> int:
    """The operations of one product of an attention; all three are (prompts, heads, tokens, head width)."""
    batch_and_heads, asking, width = query.shape[0] * query.shape[1], query.shape[2], query.shape[3]
    # Widths of keys and values are the same in every model here.
    assert value.shape[-1] == width
    return 2 * batch_and_heads * asking * key.shape[2] * width
