"""Updates and draws on a device that is pretended on the CPU: what waits for it, and which operations it is given.

All cases run in one process of their own, `pretended_updates`, since torch must know of the device from the start.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pretended_updates
import pytest
import torch
from pretended_updates import ADAPTIVE, ASKING, LOOKING

Found = dict[str, dict[str, Any]]

#: The waits of updates that can't but wait: for the losses by which a curriculum decides, once and late; and whether
#: anything counts in the later batch of each of two tasks.
KNOWN = {name: ["_to_copy at core/transfers.py in numbers_of"] for name in ADAPTIVE} | {
    ASKING: ["_local_scalar_dense at training/counting.py in counting_prompts"] * 2
}
CASES = [name for name in pretended_updates.CASES if name != LOOKING]
DRAWS = list(pretended_updates.tasks())

#: torch's own list of what has no deterministic kernel on CUDA, and the operations behind each of its names.
REFUSED: dict[str, set[str]] = {
    "torch.nn.AvgPool3d": {"avg_pool3d", "avg_pool3d_backward"},
    "torch.nn.AdaptiveAvgPool2d": {"_adaptive_avg_pool2d", "_adaptive_avg_pool2d_backward"},
    "torch.nn.AdaptiveAvgPool3d": {"_adaptive_avg_pool3d", "_adaptive_avg_pool3d_backward"},
    "torch.nn.AdaptiveMaxPool2d": {"adaptive_max_pool2d", "adaptive_max_pool2d_backward"},
    "torch.nn.FractionalMaxPool2d": {"fractional_max_pool2d", "fractional_max_pool2d_backward"},
    "torch.nn.FractionalMaxPool3d": {"fractional_max_pool3d", "fractional_max_pool3d_backward"},
    "torch.nn.MaxUnpool1d": {"max_unpool2d"},
    "torch.nn.MaxUnpool2d": {"max_unpool2d"},
    "torch.nn.MaxUnpool3d": {"max_unpool3d"},
    "torch.nn.functional.interpolate": {
        "upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d",
    },
    "torch.nn.ReflectionPad1d": {"reflection_pad1d", "reflection_pad1d_backward"},
    "torch.nn.ReflectionPad2d": {"reflection_pad2d", "reflection_pad2d_backward"},
    "torch.nn.ReflectionPad3d": {"reflection_pad3d", "reflection_pad3d_backward"},
    "torch.nn.NLLLoss": {"nll_loss", "nll_loss_forward", "nll_loss2d_forward", "nll_loss_backward"},
    "torch.nn.CTCLoss": {"_ctc_loss", "_ctc_loss_backward", "_cudnn_ctc_loss"},
    "torch.nn.EmbeddingBag": {"_embedding_bag", "_embedding_bag_backward"},
    "torch.Tensor.put_": {"put", "put_"},
    "torch.histc": {"histc"},
    "torch.bincount": {"bincount"},
    "torch.median": {"median"},
    "torch.nn.functional.grid_sample": {"grid_sampler_2d", "grid_sampler_3d"},
    # Of numbers with fractions: `PretendedDevice` calls that of whole numbers by another name.
    "torch.cumsum": {"cumsum", "cumsum_"},
    "torch.Tensor.scatter_reduce": {"scatter_reduce", "scatter_reduce_"},
    "torch.Tensor.resize_": {"resize_"},
}  # fmt: skip
#: What CUDA's kernels say of themselves though the list leaves it out.
UNLISTED = {"kthvalue", "nanmedian", "logcumsumexp", "cumprod", "index_reduce"}


@pytest.fixture(scope="module")
def found() -> Found:
    script = Path(pretended_updates.__file__)
    printed = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=300
    )  # fmt: skip
    assert printed.returncode == 0, printed.stderr
    result: Found = json.loads(printed.stdout)
    return result


@pytest.mark.parametrize("name", CASES)
def test_an_update_waits_for_no_device(name: str, found: Found) -> None:
    assert found[name]["waits"] == KNOWN.get(name, [])


@pytest.mark.parametrize("name", DRAWS)
def test_a_draw_waits_for_no_device(name: str, found: Found) -> None:
    assert found[name]["waits"] == []


def test_whoever_waits_is_noticed(found: Found) -> None:
    """So the tests above can fail."""
    assert "_to_copy at training/trainer.py in update" in found[LOOKING]["waits"]


@pytest.mark.parametrize("name", [*CASES, *DRAWS])
def test_what_is_computed_elsewhere_is_what_the_cpu_computes(name: str, found: Found) -> None:
    """Losses and prompts of the same streams, although sums are taken in other ways where nobody may look."""
    assert found[name]["difference"] < 1e-5


def test_no_operation_is_one_whose_sums_depend_on_timing(found: Found) -> None:
    used = {operation for case in found.values() for operation in case["operations"]}
    assert {"mm", "native_layer_norm_backward", "_fused_adamw_", "cumsum of whole numbers"} <= used
    assert not used & (set().union(*REFUSED.values()) | UNLISTED)


def test_the_list_is_that_of_torch() -> None:
    """A later torch may name more; whoever pins it says here which operations these are."""
    documented = torch.use_deterministic_algorithms.__doc__ or ""
    part = documented.split(":class:`RuntimeError` when ``mode=True``:")[1].split("In addition")[0]
    assert set(re.findall(r"\* :\w+:`([\w.]+)`", part)) == set(REFUSED)
