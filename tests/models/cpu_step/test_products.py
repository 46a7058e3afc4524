"""Products inside compiled functions, by each library that may compute them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
import torch

from icl_curriculum.models.cpu_step import blocks, products

LIBRARIES = ["torch", "scipy"]


@pytest.fixture
def sgemm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    if request.param == "scipy":
        hide_torchs(monkeypatch)
    address = products.sgemm_address.__wrapped__()
    assert address is not None
    return address


def hide_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where torch's library exports no products."""
    monkeypatch.setattr(products.ctypes, "CDLL", lambda path: object())


def drawn(rows: int, columns: int, seed: int) -> Any:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).numpy()


@pytest.mark.parametrize("sgemm", LIBRARIES, indirect=True)
@pytest.mark.parametrize(("left_turned", "right_turned"), [(False, False), (False, True), (True, False)])
@pytest.mark.parametrize(("rows", "inner", "columns"), [(3, 4, 5), (1, 7, 2), (6, 1, 1)])
def test_products(sgemm: int, left_turned: bool, right_turned: bool, rows: int, inner: int, columns: int) -> None:
    left = drawn(inner, rows, 0).T if left_turned else drawn(rows, inner, 0)
    right = drawn(columns, inner, 1).T if right_turned else drawn(inner, columns, 1)
    expected = left.astype(np.float64) @ right
    # What stood there is not read at all, even if it is no number.
    out = np.full((rows, columns), math.nan, np.float32)
    assert blocks.product(sgemm, left, right, np.float32(0), out) == 2 * rows * inner * columns
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    blocks.product(sgemm, left, right, np.float32(1), out)
    np.testing.assert_allclose(out, 2 * expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shapes", [((3, 4), (5, 2), (3, 2)), ((3, 4), (4, 2), (2, 2)), ((3, 4), (4, 2), (3, 3))])
def test_what_does_not_fit_is_refused(shapes: tuple[tuple[int, int], ...]) -> None:
    left, right, out = (np.zeros(shape, np.float32) for shape in shapes)
    with pytest.raises(ValueError, match="do not fit"):
        blocks.product(products.sgemm_address(), left, right, np.float32(0), out)


@pytest.mark.parametrize(
    "spoil", [lambda x: x.astype(np.float64), lambda x: np.repeat(x, 2, axis=1)[:, ::2]], ids=["float64", "with gaps"]
)
def test_memory_of_another_form_is_never_read(spoil: Callable[[Any], Any]) -> None:
    left = np.zeros((3, 3), np.float32)
    with pytest.raises(numba.TypingError):
        blocks.product(products.sgemm_address(), spoil(left), left, np.float32(0), left.copy())


def test_without_any_library_there_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_torchs(monkeypatch)

    def missing(module: str, name: str) -> int:
        raise ImportError(module)

    monkeypatch.setattr(products, "get_cython_function_address", missing)
    assert products.sgemm_address.__wrapped__() is None
