"""``icl verify``: the command, the table it prints, and how numbers are compared."""

from __future__ import annotations

import io
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from places import ROOT
from tiny_runs import Icl

from icl_curriculum import verify
from icl_curriculum.cli import output, verifying
from icl_curriculum.cli.screen import Screen
from icl_curriculum.verify import Check, CheckOutcome, VerifySection, checks, monte_carlo, running

SECTIONS = ["trivial_errors", "denominators", "banks", "benchmark", "oracles", "baselines", "published"]


# The command


def test_the_banks_are_the_recorded_ones_and_the_command_says_so(icl: Icl) -> None:
    code, out, err = icl("verify", "banks")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "banks: evaluation banks: the same prompts as recorded"
    rows = [line for line in lines if line.startswith("    ")]
    assert all(re.fullmatch(r"    ok     \w+ +same (bytes|prompts, other last bits)", row) for row in rows)
    assert re.fullmatch(rf"  {len(rows)} rows in \d+\.\d s", lines[-2])
    assert lines[-1] == f"{len(rows)} checks, all hold"


def test_an_unknown_section_is_exit_code_2(icl: Icl) -> None:
    assert icl("verify", "banks", "denominator") == (
        2, "", "error: unknown section 'denominator'; did you mean 'denominators'?\n",
    )  # fmt: skip


def test_without_names_every_section_is_meant_in_order() -> None:
    assert list(verify.chosen([])) == list(verify.SECTIONS) == SECTIONS
    assert list(verify.chosen(["banks", "trivial_errors"])) == ["trivial_errors", "banks"]


def test_help_names_every_section(icl: Icl) -> None:
    _, out, _ = icl("verify", "--help")
    assert all(name in out for name in SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_check_has_a_name_of_its_own(section: str) -> None:
    names = [str(check) for check in verify.SECTIONS[section].checks()]
    assert len(names) == len(set(names)) > 20


def test_make_verify_calls_it_with_arguments() -> None:
    # Also where the tests were started by make, which then says which folder it is in.
    command = ["make", "-n", "--no-print-directory", "-o", ".venv/.ready", "verify", "ARGS=banks"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ".venv/bin/icl verify banks\n"


# The table


def _broken() -> Iterator[Check]:
    def raises() -> CheckOutcome:
        raise ValueError("no such moment")

    yield Check("one case", "first", raises)
    yield Check("one case", "second", lambda: checks.exact(1.0, 1.0, "one"))
    yield Check("another, d = 20", "the third check", lambda: checks.exact(20.0, 21.0, "d"))
    yield Check("another, d = 20", "fourth", lambda: CheckOutcome(True, "bytes", "a file", "same bytes"))


TABLE = [
    "                            expected  measured difference  allowed  source; note",
    "  one case",
    "    failed first           ValueError: no such moment, expected an answer",
    "    ok     second                  1         1          0    1e-09  one",
    "  another, d = 20",
    "    failed the third check        20        21         +1    2e-08  d",
    "    ok     fourth          same bytes",
]


@pytest.mark.parametrize("debug", [False, True])
def test_what_fails_is_named_and_stops_nothing(icl: Icl, monkeypatch: pytest.MonkeyPatch, debug: bool) -> None:
    monkeypatch.setitem(verify.SECTIONS, "banks", VerifySection("a title", _broken))
    code, out, err = icl("verify", "banks", *(["--debug"] if debug else []))
    assert code == 1
    lines = out.splitlines()
    assert lines[0] == "banks: a title"
    assert ("Traceback (most recent call last):" in err.splitlines()) is debug
    assert [line for line in lines if line in TABLE] == TABLE
    assert lines[1:-4] == TABLE
    assert lines[-3:] == [
        "4 checks, 2 failed:",
        "  banks: one case: first",
        "  banks: another, d = 20: the third check",
    ]


def test_columns_keep_their_places_whatever_the_numbers() -> None:
    numbers = [0.0006, -1.23456789e-17, 8933.1, 123456.789, float("inf")]
    rows = [
        verifying.described(
            Check("", "x", CheckOutcome), CheckOutcome(True, a, "source", b, tolerance=abs(a) / 7, note="note"), 28
        )
        for a in numbers
        for b in numbers
    ]
    # All but source and note fit into 80 columns.
    assert {row.index("  source; note") for row in rows} == {79}


def test_nothing_is_cut_and_lines_in_a_pipe_may_be_longer_than_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = CheckOutcome(True, 1.0, "a source of some length " * 5, 1.0, note="a note " * 10)
    section = VerifySection("a title " * 20, lambda: [Check("a case " * 20, "name", lambda: outcome)])
    assert verifying.show({"mine": section})
    printed = capsys.readouterr().out
    assert f"mine: {section.title}\n" in printed
    assert f"  {'a case ' * 20}\n" in printed
    assert f"  {outcome.source}; {outcome.note.strip()}\n" in printed


def test_a_terminal_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    for stream in ("results", "messages"):
        monkeypatch.setattr(output, stream, Screen(file=written, force_terminal=True, width=100))
    assert not verifying.show({"mine": VerifySection("a title", _broken)})
    plain = re.sub(r"\x1b\[[\d;?]*\w", "", written.getvalue())
    assert "0/4 one case" in plain
    assert all(line in plain for line in TABLE)


def test_what_stands_side_by_side_is_counted_apart(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        CheckOutcome(None, 0.02, "printed", 0.05),
        CheckOutcome(None, 0.3, "printed", checks.NOT_RUN),
        CheckOutcome(None, "a finished run", "", "config.toml is gone"),
    ]
    section = VerifySection("a title", lambda: [Check("case", str(row.expected), lambda row=row: row) for row in rows])
    assert verifying.show({"mine": section})
    assert re.sub(r"in \d+\.\d s", "in 0.0 s", capsys.readouterr().out).splitlines()[3:] == [
        "    -      0.02                0.02      0.05      +0.03           printed",
        "    -      0.3                  0.3   not run                      printed",
        "    -      a finished run config.toml is gone",
        "  3 rows in 0.0 s",
        "1 published results beside ours, 1 not run",
    ]


# Looking


def test_cases_are_looked_at_side_by_side_and_told_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "available_cores", lambda: 2)
    together = threading.Barrier(2, timeout=30)

    def meets() -> CheckOutcome:
        together.wait()  # passes only when two cases are looked at at once
        return checks.exact(1.0, 1.0, f"{torch.get_num_threads()} {threading.get_ident()}")

    def follows() -> CheckOutcome:
        return checks.exact(1.0, 1.0, f"{torch.get_num_threads()} {threading.get_ident()}")

    looks = {"1": meets, "2": follows}
    checks_ = [Check(case, name, look) for case in "ab" for name, look in looks.items()]
    found = list(running.outcomes(checks_))
    assert [[f"{check.case}{check.name}" for check, _ in case] for case in found] == [["a1", "a2"], ["b1", "b2"]]
    sources = [{outcome.source for _, outcome in case} for case in found]
    # Each case on a thread of its own, which computes by itself.
    assert [len(source) for source in sources] == [1, 1]
    assert sources[0] != sources[1]
    assert all(source.startswith("1 ") for case in sources for source in case)


def test_whoever_stops_listening_stops_the_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "available_cores", lambda: 1)
    looked: list[int] = []

    def look(number: int) -> CheckOutcome:
        looked.append(number)
        # So that a busy machine, too, hears of the end before all are done.
        time.sleep(0.005)
        return checks.exact(1.0, 1.0, "")

    listening = running.outcomes([Check(str(i), "", lambda i=i: look(i)) for i in range(1000)])
    next(listening)
    listening.close()
    assert len(looked) < 1000


# Comparing


def test_heavy_tails_are_said_not_failed() -> None:
    estimate = monte_carlo.MomentEstimate(mean=8.0, error=0.1, skew=0.5, prompts=1000)
    outcome = checks.drawn(10.0, estimate, "a formula")
    assert outcome.holds
    assert outcome.note == "heavy tails: too large an expected number would not show"
    assert not checks.drawn(5.0, estimate, "a formula").holds
    assert not checks.drawn(10.0, replace(estimate, skew=0.01), "a formula").holds


@pytest.mark.parametrize(
    ("value", "found", "printed", "holds"),
    [(1.0909, 1.0909, "1.091", True), (1.0909, 1.091, "1.091", False), (1.0926, 1.0926, "1.091", False)],
)
def test_exact_numbers_agree_with_the_formula_and_with_print(
    value: float, found: float, printed: str, holds: bool
) -> None:
    outcome = checks.exact(value, found, "formula", printed=printed)
    assert outcome.holds is holds
    assert ("the catalogue prints 1.091" in outcome.note) is (value == 1.0926)


def test_printed_digits_are_rounded() -> None:
    assert checks.rounded("4.4609", 4.46094, "printed").holds
    assert not checks.rounded("4.4609", 4.46096, "printed").holds


@pytest.mark.parametrize(
    ("expected", "found", "holds"),
    [
        (checks.Figure(0.5), 0.539, True),
        (checks.Figure(0.5), 0.541, False),
        (checks.Figure(0.5), 0.459, False),
        (checks.printed(".50"), 0.544, True),
        (checks.printed(".50"), 0.546, False),
        (checks.between(0.4, 0.6), 0.361, True),
        (checks.between(0.4, 0.6), 0.641, False),
    ],
)
def test_errors_may_be_off_by_four_standard_errors_and_what_the_figure_leaves_open(
    expected: checks.Figure, found: float, holds: bool
) -> None:
    estimate = monte_carlo.MomentEstimate(mean=found, error=0.01, skew=0.0, prompts=1000)
    outcome = checks.measured(expected, estimate, "a formula")
    assert outcome.holds is holds
    assert outcome.tolerance == pytest.approx(0.04 + expected.margin)
