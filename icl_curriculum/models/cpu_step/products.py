"""Matrix products inside compiled functions, by the BLAS that torch computes with, or else SciPy's.

A product is one call of the Fortran routine ``sgemm`` through its address. The address is an argument of the compiled
functions, as code that is kept on disk must hold none.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numba.core.cgutils
import torch
from llvmlite import ir
from numba import types
from numba.extending import get_cython_function_address, intrinsic

from icl_curriculum.models.cpu_step.compiling import part

cgutils: Any = numba.core.cgutils


@cache
def sgemm_address() -> int | None:
    """The address of ``sgemm`` in torch's library, or in SciPy's where torch's exports none; None where neither has it.

    Torch's comes first: its MKL is faster in the gradients by weights, 77 to 86 GFLOP/s where OpenBLAS had 65 to 72.
    """
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        library = Path(torch.__file__).parent / "lib" / name
        if library.exists():
            try:
                return ctypes.cast(ctypes.CDLL(str(library)).sgemm_, ctypes.c_void_p).value
            except (AttributeError, OSError):
                break
    try:
        found: int = get_cython_function_address("scipy.linalg.cython_blas", "sgemm")
    except (ImportError, ValueError):
        return None
    return found


@intrinsic
def _sgemm(typing_context: Any, address: Any, left: Any, right: Any, keep: Any, out: Any) -> Any:
    """Calls ``sgemm``: ``out`` = left right + keep out. Factors are contiguous by rows, or (``x.T``) by columns."""
    arrays = (left, right, out)
    if not all(isinstance(one, types.Array) and one.ndim == 2 and one.dtype == types.float32 for one in arrays):
        return None
    if out.layout != "C" or left.layout not in "CF" or right.layout not in "CF":
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def opened(place: int) -> Any:
            array = context.make_array(signature.args[place])(context, builder, arguments[place])
            return array.data, cgutils.unpack_tuple(builder, array.shape, 2)

        pointer = ir.IntType(8).as_pointer()

        def at(value: Any) -> Any:
            # Whole numbers are of 64 bits, whose lower half is what a library reads that expects 32.
            return builder.bitcast(cgutils.alloca_once_value(builder, value), pointer)

        def letter(array: Any) -> Any:
            return at(ir.Constant(ir.IntType(8), ord("N" if array.layout == "C" else "T")))

        (a, (rows, inner)), (b, (inner_too, columns)), (c, _) = opened(1), opened(2), opened(4)
        # Fortran's matrices are by columns: it computes out^T = right^T left^T.
        values = [
            letter(right), letter(left), at(columns), at(rows), at(inner), at(ir.Constant(ir.FloatType(), 1.0)),
            builder.bitcast(b, pointer), at(columns if right.layout == "C" else inner_too),
            builder.bitcast(a, pointer), at(inner if left.layout == "C" else rows),
            at(arguments[3]), builder.bitcast(c, pointer), at(columns),
        ]  # fmt: skip
        routine = ir.FunctionType(ir.VoidType(), [pointer] * len(values)).as_pointer()
        builder.call(builder.inttoptr(arguments[0], routine), values)
        return context.get_dummy_value()

    return types.void(types.int64, left, right, types.float32, out), generate


@part
def multiply_matrices(sgemm: Any, left: Any, right: Any, keep: Any, out: Any) -> int:
    """``out`` (i, j) = left (i, k) right (k, j) + keep out; returns the operations of the product."""
    if left.shape[1] != right.shape[0] or left.shape[0] != out.shape[0] or right.shape[1] != out.shape[1]:
        raise ValueError("shapes of a product do not fit")
    _sgemm(sgemm, left, right, keep, out)  # type: ignore[call-arg]
    operations: int = 2 * left.shape[0] * left.shape[1] * right.shape[1]
    return operations
