"""`icl bench throughput` and `icl bench memory`, and the processes that measure."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from bench_doubles import TINY, Clock, quiet

from icl_curriculum.bench import children, memory, throughput, timing
from icl_curriculum.bench.tables import Settings
from icl_curriculum.models import TransformerConfig

# Throughput


def test_everything_that_is_registered_is_timed() -> None:
    from icl_curriculum.core.registry import BASELINES, FUNCTION_CLASSES, INPUTS
    from icl_curriculum.verify.cases import built_in

    model = TransformerConfig(width=8, layers=1, heads=2)
    extent = throughput.Extent(prompts=4, points=9, dims=4, costly_prompts=1, model=model)
    jobs = throughput.jobs(Settings(rounds=2), extent)
    assert [job.name for job in jobs] == ["drawing", "the default model", "baselines"]
    drawn = throughput.drawing(extent, "cpu")
    names = {item.name for item in drawn}
    assert {*built_in(FUNCTION_CLASSES), *(f"{name} inputs" for name in built_in(INPUTS))} <= names
    assert {"random_quadrants", "orthogonal_queries"} <= names
    assert {item.dims for item in drawn if item.name != "chebyshev"} == {4}
    timed = throughput.baselines(extent)
    kinds = {item.name.partition("/")[0] for item in timed}
    assert kinds == set(built_in(BASELINES)) - {"sklearn"}
    costly = {item.name: item.note for item in timed if item.prompts == 1}
    assert set(costly.values()) == {"k = 2, 4, 8 alone; scaled"}
    assert {"greedy_tree", "gradient_boosting", "mlp_gd"} == {name.partition("/")[0] for name in costly}


def test_times_are_scaled_to_1280_prompts_and_set_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    items = [
        throughput.Timed("plain", clock.taking("plain", 0.5), 64, 41, 20),
        throughput.Timed("queries", clock.taking("queries", 1.0), 64, 41, 20, beside="plain"),
    ]
    real = timing.interleaved
    monkeypatch.setattr(
        throughput, "interleaved", lambda given, rounds, **rest: real(given, rounds, **{**rest, "clock": clock})
    )
    plain, queries = throughput.measure("answering", lambda: items, 3, 1, "cpu", quiet).rows
    assert plain["prompts_per_second"] == 128
    assert plain["seconds_per_1280"] == plain["seconds_per_1280_min"] == 10
    assert queries["ratio"] == 2.0
    assert queries["note"] == "ratio: its time over that of plain"


# Memory and children


def test_peaks_of_memory_are_of_fresh_processes() -> None:
    size = replace(TINY, width=256, layers=6, heads=4)
    request = memory.Request(size, "ours, fast", "step", 1, "cpu")
    ((peak, imported),) = children.in_children(memory.peak_memory, [request])
    weights = 4 * 12 * size.layers * size.width**2 / memory.MIB
    # Weights, their gradients and the momentum, and not the interpreter with torch.
    assert 3 * weights < peak < 12 * weights
    assert imported > 100


def test_the_rows_of_memory_name_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[memory.Request] = []

    def answered(work: Any, requests: list[memory.Request]) -> list[tuple[float, float]]:
        asked.extend(requests)
        return [(float(len(asked)), 300.0)]

    monkeypatch.setattr(memory, "in_children", answered)
    table = memory.measure(TINY, 1, "cpu", quiet)
    found = [(row["work"], row["competitor"], row["prompts"], row["peak_mib"]) for row in table.rows]
    assert found == [
        (work, name, prompts, float(number))
        for number, (work, prompts, name) in enumerate(
            ((work, n, name) for work, n in (("step", 4), ("evaluation", 64)) for name in memory.COMPETITORS), 1
        )
    ]
    assert [request.threads for request in asked] == [1] * 6


def _work(request: str, say: Callable[[str], None]) -> str:
    say(f"about {request}")
    if request == "bad":
        raise ValueError("a bad request")
    if request == "gone":
        os._exit(3)
    return request.upper()


def test_a_child_that_ends_without_an_answer_is_an_error_and_the_others_are_heard() -> None:
    heard: list[tuple[int, str]] = []
    with pytest.raises(children.ChildFailed, match="ended with code 3"):
        children.in_children(_work, ["gone"], lambda *said: heard.append(said))
    assert heard == [(0, "about gone")]


@pytest.mark.parametrize(
    ("request_", "last"), [("a", ("answered", "A")), ("bad", ("failed", "ValueError: a bad request"))]
)
def test_a_child_answers_or_says_why_not(monkeypatch: pytest.MonkeyPatch, request_: str, last: tuple[str, str]) -> None:
    monkeypatch.setattr(children.signal, "signal", lambda *args: None)
    mine, theirs = multiprocessing.Pipe(duplex=False)
    children._child(_work, request_, theirs)
    assert mine.recv() == ("said", f"about {request_}")
    kind, message = mine.recv()
    assert (kind, message.partition("\n")[0]) == last
