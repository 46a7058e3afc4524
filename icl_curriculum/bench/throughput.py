"""Prompts per second: drawing them, answering them with the default model, answering them with baselines.

Everything is timed on 1,280 prompts of 41 points in 20 dimensions, or in fewer where a class is not defined there.
Baselines that fit every prompt anew answer a few prompts at a few lengths, as they do by default in experiments, and
their time is scaled.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import cast

import torch

from icl_curriculum.baselines import Baseline
from icl_curriculum.bench.tables import BenchTable, Column, Job, Row, Settings, measured_on
from icl_curriculum.bench.timing import interleaved, ratios
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.machine import computing_threads, waiting_for
from icl_curriculum.core.progress import Tell
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import BASELINES, FUNCTION_CLASSES, INPUTS, SHIFTS
from icl_curriculum.core.streams import Streams, generator
from icl_curriculum.evaluation.asking import CostlyConfig
from icl_curriculum.inputs import InputDistribution
from icl_curriculum.models import TransformerConfig
from icl_curriculum.shifts import Shift
from icl_curriculum.tasks import Task
from icl_curriculum.verify.cases import Spec, built_in, task_of

COLUMNS = (
    Column("work"),
    Column("name", "name"),
    Column("function_class", "class"),
    Column("dims", "d"),
    Column("points", "points"),
    Column("timed_prompts", "timed"),
    Column("prompts_per_second", "prompts/s", ",.0f"),
    Column("seconds_per_1280", "s per 1,280", ".3g"),
    Column("seconds_per_1280_min", "min", ".3g"),
    Column("ratio", "ratio", ".2f"),
    Column("note", "note"),
)
PER = 1280
MODEL = TransformerConfig(width=128, layers=6, heads=4)
#: The most rounds of work that takes seconds.
SLOW_ROUNDS = 3
#: The prompts on which baselines that fit every prompt anew are timed.
COSTLY_PROMPTS = 2
#: Baselines that no class names as its own: a class for each, and the prompts on which it is timed.
ON_REQUEST: tuple[tuple[Spec, Spec], ...] = (
    ("sparse_posterior", "sparse_linear"),
    ("dmmse", {"name": "linear", "pool_size": 1024}),
    ("gradient_descent", "linear"),
    ("preconditioned_gradient_descent", "linear"),
)
ON_REQUEST_PROMPTS = 64


@dataclass(frozen=True)
class Extent:
    """How many prompts, of how many points, in how many dimensions."""

    prompts: int = PER
    points: int = 41
    dims: int = 20
    costly_prompts: int = COSTLY_PROMPTS
    model: TransformerConfig = MODEL


@dataclass(frozen=True)
class Timed:
    """Work to time: ``call`` handles ``prompts`` prompts. ``beside``: the name of the work that it is compared with."""

    name: str
    call: Callable[[], object]
    prompts: int
    points: int
    dims: int
    function_class: str | None = None
    note: str | None = None
    beside: str | None = None


def jobs(settings: Settings, extent: Extent | None = None) -> list[Job]:
    extent = extent or Extent()
    threads = settings.threads[0]
    slow = min(settings.rounds, SLOW_ROUNDS)
    found = [
        ("drawing", 2.0, settings.rounds, partial(drawing, extent, settings.device), settings.device),
        ("the default model", 11.0, slow, partial(answering, extent, settings.device), settings.device),
        ("baselines", 10.0, slow, partial(baselines, extent), "cpu"),
    ]
    return [
        Job(name, seconds * rounds, partial(measure, name, timed, rounds, threads, device))
        for name, seconds, rounds, timed, device in found
    ]


def measure(
    work: str, list_timed: Callable[[], list[Timed]], rounds: int, threads: int, device: str, tell: Tell
) -> BenchTable:
    """Time all work of one kind, in turns."""
    with computing_threads(threads):
        timed = list_timed()
        times = interleaved(
            {item.name: item.call for item in timed}, rounds, tell=tell, wait=waiting_for(device)
        )  # fmt: skip
    rows = []
    for item in timed:
        seconds = statistics.median(times[item.name])
        row: Row = {
            "work": work, "name": item.name, "function_class": item.function_class, "dims": item.dims,
            "points": item.points, "timed_prompts": item.prompts, "prompts_per_second": item.prompts / seconds,
            "seconds_per_1280": seconds * PER / item.prompts,
            "seconds_per_1280_min": min(times[item.name]) * PER / item.prompts, "note": item.note,
        }  # fmt: skip
        if item.beside is not None:
            row["ratio"] = ratios(times[item.name], times[item.beside]).median
            row["note"] = f"ratio: its time over that of {item.beside}"
        rows.append({**row, **measured_on(threads, device)})
    return BenchTable(f"{work}; {threads} {'thread' if threads == 1 else 'threads'}, {device}", rows)


def drawing(extent: Extent, device: str) -> list[Timed]:
    """Drawing of every built-in function class, of every input distribution for the linear class, and of queries."""
    n, points = extent.prompts, extent.points
    timed = []
    for name in built_in(FUNCTION_CLASSES):
        task = living_in(name, extent.dims)
        timed.append(Timed(name, _draws(task, n, points, device), n, points, task.dims, name))
    linear = task_of("linear", extent.dims)
    for name in built_in(INPUTS):
        inputs = cast(InputDistribution, INPUTS.build(name))
        call = _draws(replace(linear, inputs=inputs), n, points, device)
        timed.append(Timed(f"{name} inputs", call, n, points, linear.dims, "linear"))
    for name in ("random_quadrants", "orthogonal_queries"):
        shift = cast(Shift, SHIFTS.build(name))
        timed.append(Timed(name, _draws_shifted(shift, linear, n, points, device), n, points, linear.dims, "linear"))
    return timed


def living_in(spec: Spec, dims: int) -> Task:
    """A class in ``dims`` dimensions, or in the first number of them for which it is defined."""
    try:
        return task_of(spec, dims)
    except UserError:
        return task_of(spec)


def _draws(task: Task, n: int, points: int, device: str) -> Callable[[], object]:
    numbers = count()
    return lambda: task.draw(n, points, Streams(0, "bench/drawing", next(numbers), device))


def _draws_shifted(shift: Shift, task: Task, n: int, points: int, device: str) -> Callable[[], object]:
    numbers = count()
    return lambda: shift.draw(task, n, points, Streams(0, "bench/drawing", next(numbers), device))


def answering(extent: Extent, device: str) -> list[Timed]:
    """Answers of the default model at the size ``small``, to prompts with and without separate queries."""
    task = task_of("linear", extent.dims)
    plain = task.draw(extent.prompts, extent.points, Streams(0, "bench/answering", 0, device)).without_truth()
    others = task.draw(extent.prompts, extent.points, Streams(0, "bench/answering", 1, device))
    separate = replace(plain, queries=others.xs)
    made = generator(0, "bench/weights")
    model = extent.model.build(dims=extent.dims, points=extent.points, generator=made).to(device)
    return [
        Timed(name, partial(model.predict, prompts), len(prompts), extent.points, extent.dims, "linear", beside=beside)
        for name, prompts, beside in (("predict", plain, None), ("predict, separate queries", separate, "predict"))
    ]


def baselines(extent: Extent) -> list[Timed]:
    """Answers of every built-in baseline, on a class that it suits."""
    suited: dict[str, tuple[Baseline, Task]] = {}
    for name in ("linear", *built_in(FUNCTION_CLASSES)):
        task = living_in(name, extent.dims)
        for spec in task.function_class.suited_baselines():
            baseline = cast(Baseline, BASELINES.build(spec))
            suited.setdefault(spec if isinstance(spec, str) else str(spec["name"]), (baseline, task))
    timed = []
    on_request = []
    for spec, function_class in ON_REQUEST:
        task = living_in(function_class, extent.dims)
        baseline = cast(Baseline, BASELINES.build(spec)).for_training_on([task.function_class])
        on_request.append((baseline, task))
    for baseline, task in [*suited.values(), *on_request]:
        prompts = task.draw(extent.prompts, extent.points, Streams(0, "bench/baselines")).without_truth()
        note = None
        if (baseline, task) in on_request and len(prompts) > ON_REQUEST_PROMPTS:
            prompts, note = prompts[:ON_REQUEST_PROMPTS], "scaled"
        if baseline.costly:
            prompts, lengths = few(prompts, extent.costly_prompts)
            note = f"k = {', '.join(map(str, lengths))} alone; scaled"
        call = partial(baseline.predict, prompts)
        known_as = task.function_class.id
        timed.append(Timed(baseline.id, call, len(prompts), extent.points, task.dims, known_as, note=note))
    return timed


def few(prompts: Prompts, n: int) -> tuple[Prompts, list[int]]:
    """The first ``n`` prompts, to be answered at the lengths that costly baselines have by default."""
    asked = CostlyConfig().asked(prompts.dims, prompts.points)
    lengths = [k for k in asked if k < prompts.points]
    part = prompts[:n]
    mask = torch.zeros_like(part.targets, dtype=torch.bool)
    mask[:, lengths] = True
    return replace(part, mask=mask), lengths
