"""Sums over the tokens so far, as they are taken on an accelerator."""

from __future__ import annotations

import pytest
import torch

from icl_curriculum.models import sums


class _There:
    """Stands for a tensor's device."""

    type = "cuda"


@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 7, 16, 33])
def test_sums_of_doubling_strides_are_the_sums(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(2, tokens, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(tokens))
    weights = torch.randn_like(values)
    expected = values.cumsum(dim=1)
    # The gradient of entry i is the sum of the weights from i on.
    wanted = weights.flip(1).cumsum(dim=1).flip(1)
    assert torch.equal(sums.prefix_sums(values), expected)
    monkeypatch.setattr(torch.Tensor, "device", _There)
    monkeypatch.setattr(torch.Tensor, "cumsum", None)
    values.requires_grad_()
    found = sums.prefix_sums(values)
    (found * weights).sum().backward()  # type: ignore[no-untyped-call]
    monkeypatch.undo()
    torch.testing.assert_close(found.detach(), expected)
    assert values.grad is not None
    torch.testing.assert_close(values.grad, wanted)
