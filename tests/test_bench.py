"""``icl bench``: the command, how times, ratios and operations are found, and what is written. No test of speed."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from tiny_runs import Icl

from icl_curriculum import bench
from icl_curriculum.bench import children, competitors, flops, memory, step, tables, throughput, timing, view
from icl_curriculum.bench.competitors import HUGGING_FACE
from icl_curriculum.bench.tables import Column, Job, Section, Settings, Size, Table, Tell
from icl_curriculum.models import TransformerConfig
from icl_curriculum.registry import UserError

ROOT = Path(__file__).parent.parent
SECTIONS = ["step", "quality", "throughput", "memory"]
TINY = Size("tiny", width=8, layers=2, heads=2, points=5, dims=3, batch=4)


def quiet(share: float, detail: str = "") -> None:
    """Nobody is told how far it is."""


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


# The command


def test_an_unknown_section_is_exit_code_2(icl: Icl, tmp_path: Path) -> None:
    assert icl("bench", "step", "qualty", "--results", tmp_path) == (
        2, "", "error: unknown section 'qualty'; did you mean 'quality'?\n",
    )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_without_names_every_section_is_meant_in_order() -> None:
    assert list(bench.chosen([], Settings())) == list(bench.SECTIONS) == SECTIONS
    assert list(bench.chosen(["memory", "step"], Settings())) == ["step", "memory"]


def test_help_names_every_section(icl: Icl) -> None:
    _, out, _ = icl("bench", "--help")
    assert all(name in out for name in SECTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["step", "--set", "training.steps=3"], "--set is for the section quality, which is not among step"),
        (["step", "--full"], "--full is for the section quality, which is not among step"),
        (["quality", "--record"], "--record records what --full measures: give both"),
        (["step", "--threads", "1,two"], "--threads 1,two: expected numbers of threads from 1 to 1024 with commas "
         "between, e.g. --threads 1,2"),
        (["step", "--threads", "0"], "--threads 0: expected numbers of threads from 1 to 1024 with commas between, "
         "e.g. --threads 1,2"),
        (["quality", "--set", "points=4"], "quality: prompts of 4 points have no k = 2 d = 10"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said_before_anything_is_measured(
    icl: Icl, tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert icl("bench", *arguments, "--results", tmp_path) == (2, "", f"error: {message}\n")


def test_an_unknown_key_of_the_recipe_is_named(icl: Icl, tmp_path: Path) -> None:
    code, out, err = icl("bench", "quality", "--set", "training.stepz=3", "--results", tmp_path)
    assert (code, out) == (2, "")
    assert err.endswith("training.stepz: unknown key; did you mean 'steps'?\n")


def test_make_bench_calls_it_with_arguments() -> None:
    command = ["make", "-n", "--no-print-directory", "-o", ".venv/.ready", "bench", "ARGS=step"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ".venv/bin/icl bench step\n"


def test_the_command_passes_its_options_on(icl: Icl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Settings] = []

    def jobs(settings: Settings) -> list[Job]:
        seen.append(settings)
        return []

    monkeypatch.setitem(bench.SECTIONS, "step", Section("a title", (), jobs))
    assert icl("bench", "step", "--results", tmp_path, "--threads", "2,1,2", "--rounds", "7", "--device", "cpu") == (
        0, "step: a title\n", "",
    )  # fmt: skip
    assert seen == [Settings(threads=(2, 1), device="cpu", rounds=7, results=tmp_path)]


# Times


class Clock:
    """A clock that only the competitors advance."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def taking(self, name: str, seconds: float) -> Callable[[], None]:
        def call() -> None:
            self.calls.append(name)
            self.now += seconds

        return call


def test_competitors_take_turns_after_a_warm_up_of_each() -> None:
    clock = Clock()
    given = {"a": clock.taking("a", 2.0), "b": clock.taking("b", 3.0), "c": clock.taking("c", 1.0)}
    found = timing.interleaved(given, 3, clock=clock)
    assert clock.calls == ["a", "b", "c"] * 4
    assert found == {"a": [2.0] * 3, "b": [3.0] * 3, "c": [1.0] * 3}


def test_what_is_short_is_repeated_as_often_in_every_turn() -> None:
    clock = Clock()
    given = {"short": clock.taking("short", 0.01), "long": clock.taking("long", 5.0)}
    found = timing.interleaved(given, 2, turn=0.05, clock=clock)
    # Warm-up: twice what may have set things up, once what is long anyway.
    assert clock.calls == ["short"] * 2 + ["long"] + (["short"] * 5 + ["long"]) * 2
    assert found["short"] == pytest.approx([0.01] * 2)


def test_the_device_is_waited_for_around_every_turn() -> None:
    events: list[str] = []
    timing.interleaved({"a": lambda: events.append("a")}, 2, turn=0.0, wait=lambda: events.append("wait"))
    assert events[-6:] == ["wait", "a", "wait"] * 2
    assert events.count("wait") == 2 * (2 + len(events) // 3 - 2)


def test_waiting_for_a_cuda_device_synchronizes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", asked.append)
    timing.waiting_for("cuda:1")()
    timing.waiting_for("cpu")()
    assert asked == ["cuda:1"]


def test_ratios_are_taken_round_by_round() -> None:
    # A slow second round that hits both changes nothing.
    ratio = timing.ratios([10.0, 40.0, 12.0, 9.0, 11.0], [5.0, 20.0, 4.0, 9.0, 5.0])
    assert ratio == timing.Spread(median=2.0, low=2.0, high=2.2)
    assert timing.spread([1.0, 2.0, 3.0, 4.0, 5.0]) == timing.Spread(3.0, 2.0, 4.0)


def test_the_share_of_the_peak_is_of_the_same_round() -> None:
    assert step.share_of_peak(6.0, [1.0, 2.0, 1.0], [12.0, 6.0, 10.0]) == 0.5
    assert flops.peak({512: [1.0, 5.0], 1024: [3.0, 4.0]}) == [3.0, 5.0]


# Operations


def test_operations_of_matrix_products_are_those_of_the_closed_form() -> None:
    a, b, c = torch.randn(3, 4), torch.randn(4, 5), torch.randn(5, 7)
    one, out = torch.zeros(3, 5), torch.empty(3, 5)
    assert flops.count(lambda: a @ b @ c) == 2 * (3 * 4 * 5 + 3 * 5 * 7)
    assert flops.count(lambda: torch.mm(a, b, out=out)) == 2 * 3 * 4 * 5
    assert flops.count(lambda: one.addmm_(a, b)) == 2 * 3 * 4 * 5
    assert flops.count(lambda: torch.addmm(one, a, b)) == 2 * 3 * 4 * 5
    assert flops.count(lambda: F.linear(a, b.mT, torch.zeros(5))) == 2 * 3 * 4 * 5
    assert flops.count(lambda: torch.mv(a, torch.randn(4))) == 2 * 3 * 4
    assert flops.count(lambda: torch.zeros(3).addmv_(a, torch.randn(4))) == 2 * 3 * 4
    stacked, other = torch.randn(6, 3, 4), torch.randn(6, 4, 5)
    assert flops.count(lambda: torch.bmm(stacked, other)) == 6 * 2 * 3 * 4 * 5
    assert flops.count(lambda: torch.zeros(6, 3, 5).baddbmm_(stacked, other)) == 6 * 2 * 3 * 4 * 5
    assert flops.count(lambda: stacked.exp().sum()) == 0


def test_operations_of_a_backward_pass_are_counted() -> None:
    a, b = (torch.randn(3, 4, requires_grad=True), torch.randn(4, 5, requires_grad=True))
    assert flops.count(lambda: (a @ b).sum().backward()) == 3 * 2 * 3 * 4 * 5


def test_fused_attention_is_two_products_forward_and_five_backward() -> None:
    q, k, v = (torch.randn(2, 3, n, 4, requires_grad=True) for n in (5, 6, 6))
    product = 2 * 2 * 3 * 5 * 6 * 4
    assert flops.count(lambda: F.scaled_dot_product_attention(q.detach(), k.detach(), v.detach())) == 2 * product
    assert flops.count(lambda: F.scaled_dot_product_attention(q, k, v).sum().backward()) == 7 * product


def test_a_training_step_of_the_models_is_counted_whichever_way_gradients_are_made() -> None:
    prompts = competitors.batches(TINY, "cpu")
    counted = {name: flops.count(competitors.build(name, TINY, prompts, "cpu").step) for name in competitors.OURS}
    weights = 12 * TINY.layers * TINY.width**2
    tokens = TINY.batch * (2 * TINY.points - 1)
    # Three products a weight and token; attention and what is folded come on top, what the last block spares goes off.
    for name in ("ours, gpt2", "ours, gpt2, autograd"):
        assert 0.6 < counted[name] / (6 * weights * tokens) < 1.8


# Tables


def test_rows_are_written_with_what_they_were_measured_on(tmp_path: Path) -> None:
    path = tmp_path / "bench" / "step.csv"
    columns = (Column("name", "name"), Column("value"), Column("missing"))
    tables.write(path, columns, [{"name": "a", "value": 1 / 3, "missing": None, **tables.measured_on(2, "cpu")}])
    assert b"\r" not in path.read_bytes()
    (row,) = read(path)
    assert list(row) == [
        "name", "value", "missing", "date", "cpu", "cores", "threads", "device", "python_version", "torch_version",
        "package_version", "git_commit", "git_dirty",
    ]  # fmt: skip
    assert (row["name"], row["value"], row["missing"]) == ("a", "0.333333333", "")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", row["date"])
    assert row["cpu"]
    assert (row["cores"], row["threads"], row["device"]) == (str(os.cpu_count()), "2", "cpu")
    assert (row["torch_version"], row["package_version"]) == (torch.__version__, "0.1.0")
    assert row["python_version"] == sys.version.split()[0]


def made_up(tmp_path: Path, *jobs: Job, terminal: bool = False) -> str:
    columns = (Column("name", "name"), Column("share", "of it", ".0%"), Column("hidden"))
    section = Section("a title", columns, lambda settings: jobs)
    written = io.StringIO()
    console = Console(file=written, width=40, force_terminal=terminal)
    bench.show({"mine": section}, Settings(results=tmp_path), console)
    return written.getvalue()


def test_tables_are_shown_whole_and_written(tmp_path: Path) -> None:
    rows = [{"name": "a name longer than the terminal is " * 2, "share": 0.25, "hidden": 1.0}, {"name": "b"}]
    old = Table("recorded on a day", [{"name": "old", "share": 1.0}], recorded=True)
    out = made_up(tmp_path, Job("one", 1, lambda tell: Table("now", rows, ["a note"])), Job("", 0, lambda tell: old))
    assert out.splitlines() == [
        "mine: a title",
        "  now",
        f"    name{' ' * 66}  of it",
        f"    {rows[0]['name']}    25%",
        "    b",
        "  a note",
        "  recorded on a day",
        "    name  of it",
        "    old    100%",
        f"  table: {tmp_path}/bench/mine.csv",
    ]
    assert [(row["name"], row["share"], row["hidden"]) for row in read(tmp_path / "bench" / "mine.csv")] == [
        (rows[0]["name"], "0.25", "1"), ("b", "", ""),
    ]  # fmt: skip


def test_what_was_measured_before_a_failure_stays(tmp_path: Path) -> None:
    def fails(tell: Tell) -> Table:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        made_up(tmp_path, Job("one", 1, lambda tell: Table("now", [{"name": "a"}])), Job("two", 1, fails))
    assert [row["name"] for row in read(tmp_path / "bench" / "mine.csv")] == ["a"]


def test_progress_has_an_estimate_and_without_a_terminal_a_line_every_few_seconds() -> None:
    clock, written = Clock(), io.StringIO()

    def measure(tell: Tell) -> Table:
        for tenth in range(1, 11):
            clock.now += 1.5
            tell(tenth / 10, f"round {tenth}")
        return Table("", [])

    jobs = [Job("one", 10, measure), Job("two", 30, measure)]
    view._Progress(jobs, Console(file=written), clock).measure("step", jobs[0])
    assert written.getvalue().splitlines() == [
        "  step, one: round 4; about 54 s left",
        "  step, one: round 8; about 48 s left",
    ]


def test_a_terminal_shows_how_far_it_is(tmp_path: Path) -> None:
    def measure(tell: Tell) -> Table:
        tell(0.5, "round 1 of 2")
        time.sleep(0.2)
        return Table("now", [{"name": "a"}])

    plain = re.sub(r"\x1b\[[\d;?]*\w", "", made_up(tmp_path, Job("one", 1, measure), terminal=True))
    assert "mine, one: round 1 of 2" in plain


def test_a_graphics_card_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    assert tables.measured_on(1, "cuda:1")["device"] == "cuda:1 (a card)"
    assert bench.default_threads("cuda:1") == (1,)
    assert bench.default_threads("cpu")[0] == 1


# Steps


def test_a_step_table_has_every_competitor_beside_hugging_face(tmp_path: Path) -> None:
    section = replace(bench.SECTIONS["step"], jobs=lambda settings: step.jobs(settings, (8, 16)))
    written = io.StringIO()
    bench.show(
        {"step": section}, Settings(rounds=2, results=tmp_path, sizes=(TINY,)), Console(file=written, width=200)
    )  # fmt: skip
    rows = read(tmp_path / "bench" / "step.csv")
    assert [row["competitor"] for row in rows] == [HUGGING_FACE, *competitors.OURS]
    assert rows[0]["speedup"] == "1"
    for row in rows:
        times = float(row["seconds_per_step"]), float(row["seconds_per_step_min"])
        assert times[0] >= times[1] > 0
        assert float(row["prompts_per_second"]) == pytest.approx(TINY.batch / times[0])
        assert float(row["flop_per_second"]) == pytest.approx(int(row["flop_per_step"]) / times[0])
        assert float(row["speedup_low"]) <= float(row["speedup"]) <= float(row["speedup_high"])
    out = written.getvalue()
    assert "tiny: width 8, 2 layers, 2 heads, 4 prompts of 5 points, d = 3; 1 thread, cpu" in out
    assert re.search(r"Hugging Face GPT-2: gelu_\w+, (fused )?Adam, the fastest of four", out)
    assert re.search(r"peak: [\d.]+ GFLOP/s, the best of torch.mm with n = 8, 16", out)


def test_every_number_of_threads_has_a_table_and_computes_with_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    seen: list[int] = []

    def made_up(given: dict[str, Any], rounds: int, **rest: Any) -> dict[str, list[float]]:
        seen.append(torch.get_num_threads())
        return {name: [1.0] * rounds for name in given}

    monkeypatch.setattr(step, "interleaved", made_up)
    before = torch.get_num_threads()
    jobs = step.jobs(Settings(threads=(3, 1), rounds=2, sizes=(TINY,)), (8,))
    rows = [row for job in jobs for row in job.measure(quiet).rows]
    assert seen == [3, 1]
    assert torch.get_num_threads() == before
    assert [row["threads"] for row in rows] == [3] * len(competitors.OURS) + [1] * len(competitors.OURS)


def test_the_fastest_variant_of_hugging_face_takes_part() -> None:
    clock = Clock()
    variants = [
        competitors.Competitor("theirs", clock.taking("", seconds), lambda prompts: prompts.ys, str(seconds))
        for seconds in (0.9, 0.3, 0.6)
    ]
    times = {each.variant: [float(each.variant)] * 3 for each in variants}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "interleaved", lambda *args, **kwargs: times)
        assert step._fastest(variants, "cpu", quiet).variant == "0.3"


def test_without_transformers_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    table = step.measure(TINY, 1, Settings(rounds=2), (8,), quiet)
    assert table.notes[0] == "Hugging Face GPT-2 is left out: pip install 'icl-curriculum[bench]'"
    assert [row["competitor"] for row in table.rows] == list(competitors.OURS)
    assert all("speedup" not in row for row in table.rows)
    monkeypatch.setattr(memory, "in_children", lambda work, requests: [(1.0, 2.0) for _ in requests])
    table = memory.measure(TINY, 1, "cpu", quiet)
    assert table.notes[0].endswith("pip install 'icl-curriculum[bench]'")
    assert HUGGING_FACE not in [row["competitor"] for row in table.rows]


def test_autograd_takes_the_same_step_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    from icl_curriculum.models import Transformer

    own = Transformer.backward
    monkeypatch.setattr(Transformer, "backward", lambda *args: asked.append(True) or own(*args))
    prompts = competitors.batches(TINY, "cpu")
    by_name = {name: competitors.build(name, TINY, prompts, "cpu") for name in competitors.OURS}
    before = {name: each.predict(prompts[0]) for name, each in by_name.items()}
    for name, each in by_name.items():
        each.step()
        assert len(asked) == (1 if name == "ours, gpt2" else 1 + (name != "ours, gpt2, autograd")), name
    after = {name: each.predict(prompts[0]) for name, each in by_name.items()}
    for name in ("ours, gpt2", "ours, fast"):
        assert (after[name] - before[name]).abs().max() > 1e-6
        torch.testing.assert_close(after[f"{name}, autograd"], after[name], atol=1e-4, rtol=1e-3)


def test_an_unknown_competitor_is_an_error() -> None:
    with pytest.raises(UserError, match="unknown competitor"):
        competitors.build("theirs", TINY, [], "cpu")


def test_products_are_in_full_precision_while_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    during: list[str] = []

    def noted(*arguments: Any) -> Any:
        during.append(torch.get_float32_matmul_precision())
        return batches(*arguments)

    batches = competitors.batches
    monkeypatch.setattr(competitors, "batches", noted)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        step.measure(TINY, 1, Settings(rounds=2), (8,), quiet)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert during == ["highest"]


# Throughput


def test_everything_that_is_registered_is_timed() -> None:
    from icl_curriculum.registry import BASELINES, FUNCTION_CLASSES, INPUTS
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
