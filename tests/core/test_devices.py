"""Data are made on the device, and accelerators are asked for kernels whose results repeat.

No accelerator is needed: tensors are marked as lying on a pretended one, and mixing raises as PyTorch would.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_runs import tiny_run
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.machine import is_out_of_memory, never_waiting, reproducible, resolve_device, waiting_for
from icl_curriculum.core.registry import FUNCTION_CLASSES
from icl_curriculum.function_classes import Parameters
from icl_curriculum.function_classes.linear import Linear
from icl_curriculum.runs.launch import default_jobs, launch
from icl_curriculum.testing.devices import MixedDevices, PretendedAccelerator
from icl_curriculum.training import Trainer

#: Where a tensor was made is asked of the subject under check; here it is the trainer, and nobody asks.
NOBODY: Any = SimpleNamespace(where_called=lambda: "")


def train_on_a_pretended_accelerator(changes: dict[str, Any], updates: int = 3) -> None:
    trainer = Trainer(tiny_run(changes))
    # As on an accelerator: the pass by hand is for the CPU alone.
    trainer.model.gradients = None
    with PretendedAccelerator(NOBODY):
        for _ in range(updates):
            trainer.update()


@pytest.mark.parametrize(
    "changes",
    [
        {
            "function_classes": ["linear", "sparse_linear", "quadratic"],
            "dims": 3,
            "curriculum.function_classes": "random",
        },
        {"function_classes": ["relu_network", {"name": "hermite", "degree": 3}], "curriculum.draw": "prompt"},
        {
            "function_classes": [{"name": "linear", "label_noise": 0.5, "outputs": "unit"}],
            "inputs": ["skewed", "student_t"],
        },
        {
            "function_classes": [{"name": "quadratic", "pool_size": 3}],
            "inputs": [{"name": "skewed", "basis": "shared"}],
        },
        {"curriculum.dims": {"start": 1, "every": 1}, "curriculum.points": {"start": 2, "every": 1}},
        {"training.loss": "normalized", "training.optimizer": {"name": "adam"}, "model.attention": "plain"},
    ],
    ids=["classes", "drawn per prompt", "noise and units", "pool and shared basis", "growth", "normalized loss"],
)
def test_an_update_mixes_no_tensors_of_two_devices(changes: dict[str, Any]) -> None:
    train_on_a_pretended_accelerator(changes, updates=6)


def test_a_class_that_forgets_the_device_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the test above can fail."""

    class Forgetful(Linear):
        """f(x) = w·x with w made on the CPU whatever the generator's device."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            w: Tensor = torch.randn(n, dims, generator=generator)
            return {"w": w}

    monkeypatch.setattr(FUNCTION_CLASSES, "_classes", dict(FUNCTION_CLASSES._classes))
    monkeypatch.setattr(FUNCTION_CLASSES, "_origins", dict(FUNCTION_CLASSES._origins))
    FUNCTION_CLASSES.register("forgetful")(Forgetful)
    with pytest.raises(Exception, match="meets tensors on the inputs' device and on the CPU") as caught:
        train_on_a_pretended_accelerator({"function_classes": ["forgetful"]})
    assert isinstance(caught.value.__cause__, MixedDevices)


def determinism() -> tuple[bool, bool, bool, bool]:
    """Whether kernels must repeat, whether that is but a warning, whether memory is filled, whether cuDNN rounds."""
    memory: Any = torch.utils.deterministic
    return (
        torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
        memory.fill_uninitialized_memory, torch.backends.cudnn.allow_tf32,
    )  # fmt: skip


@pytest.fixture
def no_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says nothing of CUDA's workspaces, and is left so."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@pytest.mark.parametrize(
    ("device", "within"),
    [
        ("cpu", (False, False, True, True)),
        ("cuda", (True, False, False, False)),
        ("mps", (True, True, False, True)),
    ],
)
def test_accelerators_use_deterministic_kernels_and_leave_the_settings_as_they_were(
    device: str, within: tuple[bool, ...], no_workspace: None
) -> None:
    """On CUDA what does not repeat is an error: as a mere warning, torch's fused attention goes on as it likes."""
    before = determinism()
    assert before == (False, False, True, True)
    with reproducible(device):
        assert determinism() == within
    assert determinism() == before


def test_a_device_with_a_number_is_the_current_one(monkeypatch: pytest.MonkeyPatch, no_workspace: None) -> None:
    """Pinned memory and CUDA's own libraries would else be of the first one."""
    current: list[str] = []

    @contextlib.contextmanager
    def on(device: str) -> Iterator[None]:
        current.append(device)
        yield
        current.append("as before")

    monkeypatch.setattr(torch.cuda, "device", on)
    with reproducible("cuda"):
        assert not current
    with reproducible("cuda:1"):
        assert current == ["cuda:1"]
    assert current == ["cuda:1", "as before"]


def test_workspaces_are_of_a_fixed_size_from_python_too(no_workspace: None) -> None:
    for own, then in ((None, ":4096:8"), (":16:8", ":16:8")):
        if own is not None:
            os.environ["CUBLAS_WORKSPACE_CONFIG"] = own
        with reproducible("cuda"):
            assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == then


def test_whoever_asks_for_cuda_sets_them_in_time(
    accelerators: Callable[..., None], monkeypatch: pytest.MonkeyPatch, no_workspace: None
) -> None:
    """Before a model is moved there, as whoever evaluates does, and not where it would change nothing."""
    accelerators(cuda=2)
    resolve_device("cpu")
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    resolve_device("cuda")
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    for device in ("cuda:1", "auto"):
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
        resolve_device(device)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with reproducible("cuda"):
        """It was set in time."""


def test_a_workspace_with_which_products_do_not_repeat_is_refused(no_workspace: None) -> None:
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":0:0"
    with pytest.raises(UserError) as error, reproducible("cuda"):
        raise AssertionError("the block was entered")
    assert str(error.value) == (
        "CUDA's matrix products repeat with CUBLAS_WORKSPACE_CONFIG=:4096:8 or :16:8 alone, found ':0:0'; unset it"
    )


def test_it_is_said_where_workspaces_come_too_late(monkeypatch: pytest.MonkeyPatch, no_workspace: None) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(UserError) as error, reproducible("cuda"):
        raise AssertionError("the block was entered")
    assert str(error.value) == (
        "CUDA was used in this process before CUBLAS_WORKSPACE_CONFIG was set, without which its matrix products do "
        "not repeat; set CUBLAS_WORKSPACE_CONFIG=:4096:8 before Python starts, or let worker processes execute the "
        "runs, as they do by default"
    )


def test_waiting_for_cuda_is_an_error_within_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int | str] = [0]
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: modes[-1])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    with never_waiting("cpu"):
        assert modes == [0]
    with never_waiting("cuda:1"):
        assert modes == [0, "error"]
    assert modes == [0, "error", 0]


@pytest.mark.parametrize(
    ("error", "ran_out"),
    [
        (torch.OutOfMemoryError("whatever it says"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
    ],
)
def test_a_device_without_memory_is_recognised(error: RuntimeError, ran_out: bool) -> None:
    assert is_out_of_memory(error) == ran_out


def test_workers_are_started_with_what_repeatable_products_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUBLAS_WORKSPACE_CONFIG must stand before CUDA is first used; what the user has set stays."""
    seen: list[dict[str, str]] = []

    def refuse(*arguments: Any, env: dict[str, str], **options: Any) -> None:
        seen.append(env)
        raise InterruptedError

    monkeypatch.setattr(subprocess, "Popen", refuse)
    for own in (None, ":16:8"):
        if own is not None:
            monkeypatch.setitem(os.environ, "CUBLAS_WORKSPACE_CONFIG", own)
        with pytest.raises(InterruptedError):
            launch([tiny_run()], tmp_path, report=lambda progress: None)
    assert [environment["CUBLAS_WORKSPACE_CONFIG"] for environment in seen] == [":4096:8", ":16:8"]


# Devices and jobs


@pytest.mark.parametrize(
    ("runs", "cores", "jobs"),
    [(1, 2, 1), (2, 2, 2), (3, 2, 3), (4, 2, 2), (5, 2, 3), (6, 2, 2), (1, 1, 1), (3, 1, 1), (3, 8, 3), (9, 4, 5)],
)
def test_default_jobs(runs: int, cores: int, jobs: int) -> None:
    assert default_jobs(runs, cores) == jobs


def test_default_jobs_keep_every_core_busy_and_none_overcrowded() -> None:
    for number in range(1, 30):
        for cores in range(1, 9):
            assert min(number, cores) <= default_jobs(number, cores) < 2 * cores


@pytest.fixture
def accelerators(monkeypatch: pytest.MonkeyPatch, no_workspace: None) -> Callable[..., None]:
    def has(*, cuda: int, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return has


@pytest.mark.parametrize(
    ("cuda", "mps", "asked", "found"),
    [
        (0, False, "auto", "cpu"),
        (2, False, "auto", "cuda"),
        (0, True, "auto", "mps"),
        (2, False, "cpu", "cpu"),
        (2, False, "cuda", "cuda"),
        (2, False, "cuda:1", "cuda:1"),
    ],
)
def test_devices(accelerators: Callable[..., None], cuda: int, mps: bool, asked: str, found: str) -> None:
    accelerators(cuda=cuda, mps=mps)
    assert resolve_device(asked) == found


@pytest.mark.parametrize(
    ("cuda", "asked"), [(0, "cuda"), (0, "cuda:0"), (2, "cuda:2"), (2, "cuda:x"), (2, "mps"), (2, "tpu"), (2, "")]
)
def test_a_device_that_is_not_there_is_refused(accelerators: Callable[..., None], cuda: int, asked: str) -> None:
    accelerators(cuda=cuda)
    with pytest.raises(UserError) as error:
        resolve_device(asked)
    available = "auto, cpu, cuda" if cuda else "auto, cpu"
    assert f"device {asked!r}: not on this machine; available: {available}" in str(error.value)


def test_waiting_for_a_cuda_device_synchronizes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", asked.append)
    waiting_for("cuda:1")()
    waiting_for("cpu")()
    assert asked == ["cuda:1"]
