"""Peak memory of a training step and of an evaluation, each measured in a fresh process.

On a CPU it is the most memory that the process held, less what it held when everything was imported and the prompts
were drawn; so weights, gradients and the optimizer's state count. On CUDA it is the most that torch allocated.
"""

from __future__ import annotations

import contextlib
import importlib.util
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from icl_curriculum.bench import competitors
from icl_curriculum.bench.children import in_children
from icl_curriculum.bench.competitors import HUGGING_FACE
from icl_curriculum.bench.tables import BenchTable, Column, Job, ModelSize, Row, Settings, measured_on
from icl_curriculum.core.machine import computing_threads, device_kind
from icl_curriculum.core.progress import Tell
from icl_curriculum.core.prompts import Prompts

COLUMNS = (
    Column("size"),
    Column("work", "work"),
    Column("competitor", "competitor"),
    Column("prompts", "prompts"),
    Column("peak_mib", "MiB", ",.0f"),
    Column("imported_mib", "imported", ",.0f"),
)
COMPETITORS = (HUGGING_FACE, "ours, gpt2", "ours, fast")
#: How many prompts are answered at once, as by `Model.prompts_per_pass`.
EVALUATED = 64
#: How many training steps are taken. The optimizer's state exists after the first.
STEPS = 2
MIB = 2**20
Work = Literal["step", "evaluation"]


@dataclass(frozen=True)
class Request:
    """What a fresh process measures."""

    size: ModelSize
    competitor: str
    work: Work
    threads: int
    device: str


def jobs(settings: Settings) -> list[Job]:
    """One table for each size, measured with the first of the numbers of threads."""
    return [Job(size.name, 40, partial(measure, size, settings.threads[0], settings.device)) for size in settings.sizes]


def measure(size: ModelSize, threads: int, device: str, tell: Tell) -> BenchTable:
    works: tuple[Work, ...] = ("step", "evaluation")
    known = [name for name in COMPETITORS if name != HUGGING_FACE or importlib.util.find_spec("transformers")]
    requests = [Request(size, name, work, threads, device) for work in works for name in known]
    rows = list[Row]()
    for number, request in enumerate(requests):
        tell(number / len(requests), f"{request.competitor}, {request.work}")
        ((peak, imported),) = in_children(peak_memory, [request])
        rows.append({
            "size": size.name, "work": request.work, "competitor": request.competitor,
            "prompts": size.batch if request.work == "step" else EVALUATED,
            "peak_mib": peak, "imported_mib": imported, **measured_on(threads, device),
        })  # fmt: skip
    notes = [] if HUGGING_FACE in known else [competitors.MISSING]
    notes.append("MiB: at its peak beyond what the process held, as imported, before it built the model")
    return BenchTable(f"{size}; {threads} {'thread' if threads == 1 else 'threads'}, {device}", rows, notes)


def peak_memory(request: Request, say: Callable[[Any], None]) -> tuple[float, float]:
    """The MiB that the work takes at its peak beyond the baseline, and the baseline. Call it in a fresh process."""
    with computing_threads(request.threads):
        # A tiny run first imports whatever is imported at first use, which is not part of the work.
        tiny = replace(request.size, width=2 * request.size.heads, layers=1, points=3, dims=2, batch=2)
        _work(replace(request, size=tiny), _prompts(tiny, request))
        prompts = _prompts(request.size, request)
        if device_kind(request.device) == "cuda":
            torch.cuda.reset_peak_memory_stats(request.device)
            before = torch.cuda.memory_allocated(request.device)
            _work(request, prompts)
            return (torch.cuda.max_memory_allocated(request.device) - before) / MIB, before / MIB
        before = forget_peak()
        _work(request, prompts)
        return (peak_resident() - before) / MIB, before / MIB


def _prompts(size: ModelSize, request: Request) -> list[Prompts]:
    batch = size.batch if request.work == "step" else EVALUATED
    return competitors.batches(replace(size, batch=batch), request.device, 1)


def _work(request: Request, prompts: Sequence[Prompts]) -> None:
    competitor = competitors.build(request.competitor, request.size, prompts, request.device)
    if request.work == "evaluation":
        competitor.predict(prompts[0])
        return
    for _ in range(STEPS):
        competitor.step()


def forget_peak() -> int:
    """Returns the bytes that this process holds. On Linux the peak starts anew from there; elsewhere it stays."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS") or peak_resident()


def peak_resident() -> int:
    """The most bytes that this process has held. Linux's ``ru_maxrss`` would start from what its parent held."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status("VmHWM") or largest * (1 if sys.platform == "darwin" else 1024)


def _status(key: str) -> int | None:
    """Reads a number of bytes from Linux's account of this process; None where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)
