"""``icl bench``: the command, how times, ratios and operations are found, and what is written. No test of speed."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_doubles import TINY, Clock, quiet
from places import ROOT
from tiny_runs import Icl

from icl_curriculum import bench
from icl_curriculum.bench import competitors, memory, step, tables
from icl_curriculum.bench.competitors import HUGGING_FACE
from icl_curriculum.bench.tables import BenchSection, BenchTable, Column, Job, Settings
from icl_curriculum.cli import measuring, output
from icl_curriculum.cli.screen import Screen
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.progress import Tell
from icl_curriculum.core.provenance import package_version
from icl_curriculum.models.cpu_step.strategy import CpuStep

SECTIONS = ["step", "methods", "quality", "throughput", "memory", "growth"]


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
        (["memory", "--compile"], "--compile is for the section step, which is not among memory"),
        (["quality", "--precision", "bfloat16"], "--precision is for the section step, which is not among quality"),
        (["step", "--precision", "tf32", "--device", "cpu"], "--precision: tf32 is of CUDA devices, found cpu; "
         "expected float32 or bfloat16"),
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

    monkeypatch.setitem(bench.SECTIONS, "step", BenchSection("a title", (), jobs))
    assert icl("bench", "step", "--results", tmp_path, "--threads", "2,1,2", "--rounds", "7", "--device", "cpu") == (
        0, "step: a title\n", "",
    )  # fmt: skip
    assert icl("bench", "step", "--results", tmp_path, "--threads", "1", "--device", "cpu", "--precision", "bfloat16",
               "--compile")[0] == 0  # fmt: skip
    assert seen == [
        Settings(threads=(2, 1), device="cpu", rounds=7, results=tmp_path),
        Settings(threads=(1,), device="cpu", results=tmp_path, precision="bfloat16", compiled=True),
    ]


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
    assert (row["torch_version"], row["package_version"]) == (torch.__version__, package_version())
    assert row["python_version"] == sys.version.split()[0]


def made_up(tmp_path: Path, *jobs: Job, terminal: bool = False) -> str:
    columns = (Column("name", "name"), Column("share", "of it", ".0%"), Column("hidden"))
    section = BenchSection("a title", columns, lambda settings: jobs)
    return shown({"mine": section}, Settings(results=tmp_path), terminal=terminal)


def shown(sections: dict[str, BenchSection], settings: Settings, *, terminal: bool = False) -> str:
    """What is printed of sections, results and progress together."""
    written = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        for stream in ("results", "messages"):
            patch.setattr(output, stream, Screen(file=written, width=200, force_terminal=terminal))
        measuring.show(sections, settings)
    return written.getvalue()


def test_tables_are_shown_whole_and_written(tmp_path: Path) -> None:
    rows = [{"name": "a name longer than the terminal is " * 2, "share": 0.25, "hidden": 1.0}, {"name": "b"}]
    old = BenchTable("recorded on a day", [{"name": "old", "share": 1.0}], recorded=True)
    out = made_up(
        tmp_path, Job("one", 1, lambda tell: BenchTable("now", rows, ["a note"])), Job("", 0, lambda tell: old)
    )
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
        f"table:   {tmp_path}/bench/mine.csv",
    ]
    assert [(row["name"], row["share"], row["hidden"]) for row in read(tmp_path / "bench" / "mine.csv")] == [
        (rows[0]["name"], "0.25", "1.0"), ("b", "", ""),
    ]  # fmt: skip


def test_what_was_measured_before_a_failure_stays(tmp_path: Path) -> None:
    def fails(tell: Tell) -> BenchTable:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        made_up(tmp_path, Job("one", 1, lambda tell: BenchTable("now", [{"name": "a"}])), Job("two", 1, fails))
    assert [row["name"] for row in read(tmp_path / "bench" / "mine.csv")] == ["a"]


def test_progress_has_an_estimate_and_without_a_terminal_a_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()

    def measure(tell: Tell) -> BenchTable:
        for tenth in range(1, 11):
            clock.now += 1.5
            tell(tenth / 10, f"round {tenth}")
        return BenchTable("", [])

    jobs = [Job("one", 10, measure), Job("two", 30, measure)]
    measuring._Progress(jobs, clock).measure("step", jobs[0])
    assert capsys.readouterr().err.splitlines() == [
        "  step, one: round 4; about 54s left",
        "  step, one: round 8; about 48s left",
    ]


def test_a_terminal_shows_how_far_it_is(tmp_path: Path) -> None:
    def measure(tell: Tell) -> BenchTable:
        tell(0.5, "round 1 of 2")
        time.sleep(0.2)
        return BenchTable("now", [{"name": "a"}])

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
    out = shown({"step": section}, Settings(rounds=2, results=tmp_path, sizes=(TINY,)))
    rows = read(tmp_path / "bench" / "step.csv")
    assert [row["competitor"] for row in rows] == [HUGGING_FACE, *competitors.OURS]
    assert rows[0]["speedup"] == "1.0"
    for row in rows:
        times = float(row["seconds_per_step"]), float(row["seconds_per_step_min"])
        assert times[0] >= times[1] > 0
        assert float(row["prompts_per_second"]) == pytest.approx(TINY.batch / times[0])
        assert float(row["flop_per_second"]) == pytest.approx(int(row["flop_per_step"]) / times[0])
        assert float(row["speedup_low"]) <= float(row["speedup"]) <= float(row["speedup_high"])
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


def test_steps_are_timed_in_the_precision_that_is_asked_for_and_compiled_ones_beside_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    rounded: list[bool] = []

    def made_up(given: dict[str, Any], rounds: int, **rest: Any) -> dict[str, list[float]]:
        rounded.append(torch.is_autocast_enabled("cpu"))
        return {name: [1.0] * rounds for name in given}

    def compiled(self: torch.nn.Module, *, mode: str, dynamic: bool) -> None:
        self._compiled_call_impl = self._call_impl

    monkeypatch.setattr(step, "interleaved", made_up)
    monkeypatch.setattr(torch.nn.Module, "compile", compiled)
    settings = Settings(rounds=2, sizes=(TINY,), precision="bfloat16", compiled=True)
    table = step.measure(TINY, 1, settings, (8,), quiet)
    assert rounded == [True]
    assert table.title.endswith("; 1 thread, cpu, bfloat16")
    assert [row["competitor"] for row in table.rows] == [*competitors.OURS, *competitors.COMPILED]
    assert {row["precision"] for row in table.rows} == {"bfloat16"}
    operations = {row["competitor"]: row["flop_per_step"] for row in table.rows}
    assert all(operations[name] == operations[like] > 0 for name, like in competitors.COMPILED.items())


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
    assert table.notes[0] == "Hugging Face GPT-2 is left out: pip install 'icl_curriculum[bench]'"
    assert [row["competitor"] for row in table.rows] == list(competitors.OURS)
    assert all("speedup" not in row for row in table.rows)
    monkeypatch.setattr(memory, "in_children", lambda work, requests: [(1.0, 2.0) for _ in requests])
    table = memory.measure(TINY, 1, "cpu", quiet)
    assert table.notes[0].endswith("pip install 'icl_curriculum[bench]'")
    assert HUGGING_FACE not in [row["competitor"] for row in table.rows]


def test_autograd_takes_the_same_step_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    own = CpuStep.backward
    monkeypatch.setattr(CpuStep, "backward", lambda *args: asked.append(True) or own(*args))
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
