"""``icl verify``: golden numbers hold, wrong ones are found, and recorded banks notice a changed generator."""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tiny_runs import Icl

from icl_curriculum import evaluation, verify
from icl_curriculum.evaluation import Bank
from icl_curriculum.function_classes import Hermite, Linear, Quadratic
from icl_curriculum.inputs import HalfSubspace
from icl_curriculum.prompts import Prompts
from icl_curriculum.registry import FUNCTION_CLASSES, SHIFTS, UserError
from icl_curriculum.shifts import OverlappingQueries, why_undefined
from icl_curriculum.verify import Check, Outcome, Section, banks, cases, checks, monte_carlo
from icl_curriculum.verify import trivial_errors as golden_trivial_errors
from icl_curriculum.verify.record import main as record_main
from icl_curriculum.verify.record import record

ROOT = Path(__file__).parent.parent
RECORD = "python -m icl_curriculum.verify.record"
CHANGED = f"the generator has changed: raise BANK_VERSION in evaluation/banks.py and record anew with {RECORD}"


def outcomes(section: str, pattern: str) -> dict[str, Outcome]:
    """What the checks of a section find whose names match."""
    found = {
        check.name: check.outcome() for check in verify.SECTIONS[section].checks() if re.fullmatch(pattern, check.name)
    }
    assert found
    return found


def failed(section: str, pattern: str) -> set[str]:
    return {name for name, outcome in outcomes(section, pattern).items() if not outcome.holds}


# The command


def test_the_banks_are_the_recorded_ones_and_the_command_says_so(icl: Icl) -> None:
    code, out, err = icl("verify", "banks")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "banks: evaluation banks: the same prompts as recorded"
    assert lines[-1] == f"{len(lines) - 2} checks, all hold"
    assert all(
        re.fullmatch(r"  ok      .+, d = \d, \w+ +same (bytes|prompts, other last bits)", x) for x in lines[1:-1]
    )


def test_an_unknown_section_is_exit_code_2(icl: Icl) -> None:
    assert icl("verify", "banks", "denominator") == (
        2, "", "error: unknown section 'denominator'; did you mean 'denominators'?\n",
    )  # fmt: skip


def test_without_names_every_section_is_meant_in_order() -> None:
    assert list(verify.chosen([])) == list(verify.SECTIONS) == ["trivial_errors", "denominators", "banks"]
    assert list(verify.chosen(["banks", "trivial_errors"])) == ["trivial_errors", "banks"]


def test_help_names_every_section(icl: Icl) -> None:
    _, out, _ = icl("verify", "--help")
    assert all(name in out for name in verify.SECTIONS)


def _broken() -> Iterator[Check]:
    def raises() -> Outcome:
        raise ValueError("no such moment")

    yield Check("first", raises)
    yield Check("second", lambda: checks.exact(1.0, 1.0, "one"))
    yield Check("third", lambda: checks.exact(20.0, 21.0, "d"))


@pytest.mark.parametrize("debug", [False, True])
def test_what_fails_is_named_and_stops_nothing(icl: Icl, monkeypatch: pytest.MonkeyPatch, debug: bool) -> None:
    monkeypatch.setitem(verify.SECTIONS, "banks", Section("a title", _broken))
    code, out, err = icl("verify", "banks", *(["--debug"] if debug else []))
    assert (code, err) == (1, "")
    assert ("Traceback" in out) is debug
    assert [line for line in out.splitlines() if not debug or line.startswith(("  ok", "  failed"))][not debug :][
        :3
    ] == [
        "  failed  first   ValueError: no such moment, expected an answer",
        "  ok      second  1, expected 1 (one)",
        "  failed  third   21, expected 20 (d)",
    ]
    assert out.splitlines()[-3:] == ["3 checks, 2 failed:", "  banks: first", "  banks: third"]


def test_a_terminal_shows_how_far_it_is() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=100)
    assert not verify.show({"mine": Section("a title", _broken)}, console)
    assert "0/3" in written.getvalue()
    assert "  ok      second  1, expected 1 (one)" in re.sub(r"\x1b\[[\d;?]*\w", "", written.getvalue())


def test_make_verify_calls_it_with_arguments() -> None:
    # Also where the tests were started by make, which then says which folder it is in.
    command = ["make", "-n", "--no-print-directory", "-o", ".venv/.ready", "verify", "ARGS=banks"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ".venv/bin/icl verify banks\n"


# Trivial errors


def test_declared_trivial_errors_are_the_catalogue_s_for_every_class() -> None:
    found = outcomes("trivial_errors", ".*: (declared|by quadrature)")
    assert [name for name, outcome in found.items() if not outcome.holds] == []
    named = {re.split("[/,]", name)[0] for name in found}
    assert named == set(cases.built_in(FUNCTION_CLASSES))
    assert found["hermite/3/weights=gaussian, d = 20: declared"].found == pytest.approx(20 * 446.655)


@pytest.mark.parametrize("name", ["sparse_linear", "chebyshev", "linear_dynamics", "hermite/2/weights=gaussian"])
def test_drawn_trivial_errors_are_the_declared_ones(name: str) -> None:
    (outcome,) = outcomes("trivial_errors", f"{name}, .*: drawn").values()
    assert outcome.holds
    assert outcome.error is not None
    assert outcome.tolerance == pytest.approx(6 * outcome.error + 1e-4 * float(outcome.expected))


def test_a_wrong_trivial_error_is_found_twice(icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Linear, "trivial_error", lambda self, dims: dims + 3.0)
    monkeypatch.setattr(golden_trivial_errors, "CATALOGUE", golden_trivial_errors.CATALOGUE[:1])
    monkeypatch.setattr(golden_trivial_errors, "built_in", lambda registry: ["linear", "mine"])
    code, out, _ = icl("verify", "trivial_errors")
    lines = out.splitlines()
    assert code == 1
    assert lines[1] == "  failed  linear, d = 20: declared  23, expected 20 (d)"
    assert re.fullmatch(
        r"  failed  linear, d = 20: drawn     (19\.\d+|20\.\d+) ± 0\.0\d+, expected 23 ± 0\.\d+ \(as declared\); "
        "the expected number is too large by more than 6 standard errors",
        lines[2],
    )
    assert lines[3] == (
        "  failed  mine                      none, expected a golden number (every built-in class has one); "
        "add it to CATALOGUE in icl_curriculum/verify/trivial_errors.py"
    )


def test_wrong_draws_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Linear.sample
    monkeypatch.setattr(Linear, "sample", lambda *args: {"w": 1.1 * sample(*args)["w"]})
    assert failed("trivial_errors", "linear, .*") == {"linear, d = 20: drawn"}


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_quadrature_agrees_with_the_moments_of_the_class(degree: int) -> None:
    hermite = Hermite(degree=degree, weights="gaussian")
    for dims in (2, 8, 20):
        found = golden_trivial_errors.gaussian_projection(hermite, dims)
        assert found == pytest.approx(hermite.trivial_error(dims), rel=1e-10)


def test_quadrature_sees_a_wrong_polynomial(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = Hermite.evaluate
    monkeypatch.setattr(Hermite, "evaluate", lambda *args: 1.001 * evaluate(*args))
    name = "hermite/3/weights=gaussian, d = 20: by quadrature"
    assert failed("trivial_errors", ".*by quadrature") == {name}


# Denominators


def test_ratios_are_the_catalogue_s() -> None:
    found = outcomes("denominators", ".*: ratio")
    assert [name for name, outcome in found.items() if not outcome.holds] == []
    assert found["quadratic, d = 20, skewed: ratio"].found == pytest.approx(1.681, abs=5e-4)
    assert found["hermite/2, d = 20, half_subspace: ratio"].found == pytest.approx(47 / 44)
    assert found["hermite/3, d = 20, skewed: ratio"].found == pytest.approx(3.89, abs=5e-3)
    assert found["quadratic, d = 20, other_inputs/student_t: ratio"].found == math.inf


def test_every_class_and_every_defined_shift_is_drawn() -> None:
    names = {check.name for check in verify.SECTIONS["denominators"].checks() if check.name.endswith(": drawn")}
    expected = set()
    for name, task in cases.tasks().items():
        defined = [shift for shift in SHIFTS.names() if why_undefined(SHIFTS.build(shift), task) is None]
        expected |= {f"{name}, {shift}: drawn" for shift in ["none", *defined]}
    assert names == expected


@pytest.mark.parametrize("name", ["linear", "sinusoid", "parity"])
def test_drawn_denominators_are_the_computed_ones(name: str) -> None:
    assert failed("denominators", f"{name}, d = 5, .*: drawn") == set()


def test_an_infinite_denominator_is_expected_not_drawn() -> None:
    (outcome,) = outcomes("denominators", "quadratic, d = 5, other_inputs: drawn").values()
    assert outcome == Outcome(
        True, math.inf, "moments exist below order 4, f grows like |x|^2", math.inf, note="nothing to draw"
    )


def test_a_wrong_closed_form_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quadratic, "second_moment", lambda self, dims, *, squared_norm, spectrum: squared_norm)
    assert failed("denominators", "quadratic, .*(skewed|half_subspace|label_noise): .*") == {
        "quadratic, d = 20, skewed: ratio", "quadratic, d = 5, skewed: drawn",
        "quadratic, d = 20, half_subspace: ratio", "quadratic, d = 5, half_subspace: drawn",
    }  # fmt: skip


def test_wrongly_scaled_inputs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = HalfSubspace.sample
    monkeypatch.setattr(HalfSubspace, "sample", lambda *args: sample(*args) * 0.9)
    names = "linear, .*(half_subspace|skewed): .*"
    assert failed("denominators", names) == {"linear, d = 5, half_subspace: drawn"}


def test_a_denominator_that_is_wrong_at_one_length_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    change = OverlappingQueries.change

    def larger_at_last(*args: Any) -> Any:
        xs, queries, defined = change(*args)
        queries[:, -1] *= 1.06
        return xs, queries, defined

    monkeypatch.setattr(OverlappingQueries, "change", larger_at_last)
    (outcome,) = outcomes("denominators", "linear, d = 5, overlapping_queries: drawn").values()
    assert not outcome.holds
    assert outcome.source == "closed form, at k = 4"


def test_without_a_shift_the_denominator_is_the_trivial_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Linear, "second_moment", lambda self, dims, *, squared_norm, spectrum: squared_norm * 1.001)
    (outcome,) = outcomes("denominators", "linear, d = 5, none: drawn").values()
    assert (outcome.holds, outcome.expected, outcome.found) == (False, 5, pytest.approx(5.005))
    assert outcome.source == "the trivial error, without a shift"


def test_entries_that_are_undefined_are_left_out() -> None:
    targets = torch.tensor([[1.0, 100.0], [3.0, 100.0]] * 4096)
    mask = torch.tensor([True, False]).expand(8192, 2)
    found = monte_carlo.second_moments(lambda index: Prompts(torch.zeros(8192, 2, 1), targets, targets, mask=mask))
    assert found.at.keys() == {0}
    assert found.overall == found.at[0]
    assert (found.overall.mean, found.overall.prompts) == (5.0, 4 * 8192)
    assert found.overall.error == pytest.approx(4 / math.sqrt(4 * 8192))


def test_heavy_tails_are_said_not_failed() -> None:
    estimate = monte_carlo.Estimate(mean=8.0, error=0.1, skew=0.5, prompts=1000)
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


# Banks


def test_the_record_is_complete_and_ships_with_the_package() -> None:
    golden = banks.read()
    assert golden["bank_version"] == evaluation.BANK_VERSION
    assert {name: set(row) for name, row in golden["banks"].items()} == {
        name: set(row) for name, row in banks.banks().items()
    }
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert any(banks.GOLDEN.match(pattern) for pattern in setuptools["package-data"]["icl_curriculum.verify"])


def test_a_changed_generator_fails(icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Quadratic.sample
    monkeypatch.setattr(Quadratic, "sample", lambda *args: {"w": sample(*args)["w"].flip(0)})
    code, out, _ = icl("verify", "banks")
    assert code == 1
    lines = [line for line in out.splitlines() if line.startswith("  failed")]
    assert len(lines) == len(banks.read()["banks"]["quadratic, d = 5"]) - 1  # other_class is linear
    pattern = (
        rf"  failed  quadratic, d = 5, \w+ +\w{{16}}, expected \w{{16}} \(golden_banks.json\); {re.escape(CHANGED)}"
    )
    assert all(re.fullmatch(pattern, line) for line in lines)


def shaken(monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> Outcome:
    """What the check of the linear class's bank says where its labels come out otherwise."""
    draw = Bank.draw
    monkeypatch.setattr(Bank, "draw", lambda self: replace(made := draw(self), ys=change(made.ys)))
    return outcomes("banks", "linear, d = 5, none")["linear, d = 5, none"]


def test_other_last_bits_are_the_same_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = shaken(monkeypatch, lambda ys: ys * (1 + 1e-6))
    assert (outcome.holds, outcome.found) == (True, "same prompts, other last bits")


def _one_value(ys: torch.Tensor) -> torch.Tensor:
    ys[17, 3] += 0.05
    return ys


@pytest.mark.parametrize(
    "change",
    [_one_value, lambda ys: ys.flip(0), lambda ys: ys.double(), lambda ys: ys * 1.001, lambda ys: -ys],
    ids=["one value", "order", "type", "scale", "sign"],
)
def test_other_prompts_are_not(monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    outcome = shaken(monkeypatch, change)
    assert (outcome.holds, outcome.note) == (False, CHANGED)


def test_a_raised_bank_version_wants_a_new_record(icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    version = evaluation.banks.BANK_VERSION
    monkeypatch.setattr(evaluation.banks, "BANK_VERSION", version + 1)
    code, out, _ = icl("verify", "banks")
    assert code == 1
    assert out.splitlines()[1:] == [
        f"  failed  bank version  bank version {version + 1}, expected bank version {version} (golden_banks.json); "
        f"BANK_VERSION was raised: record the banks anew with {RECORD}",
        "1 checks, 1 failed:",
        "  banks: bank version",
    ]


def test_new_and_lost_banks_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    golden = banks.read()
    row = golden["banks"]["linear, d = 5"]
    row["lost"] = row.pop("skewed")
    monkeypatch.setattr(banks, "read", lambda: golden)
    found = outcomes("banks", "linear, d = 5, (lost|skewed|none)")
    assert found["linear, d = 5, none"].holds
    lost, new = found["linear, d = 5, lost"], found["linear, d = 5, skewed"]
    assert (lost.holds, lost.found) == (False, "no such bank")
    assert lost.note.endswith(f"if that is meant, record anew with {RECORD}")
    assert (new.holds, new.note) == (False, f"a new class or shift: record it with {RECORD}")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Banks of the linear class alone."""
    monkeypatch.setattr(cases, "built_in", lambda registry: ["linear"] if registry is FUNCTION_CLASSES else ["skewed"])


@pytest.mark.usefixtures("few")
def test_recording_writes_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "golden.json"
    assert record(path) == 2
    written = banks.read(path)
    assert written["banks"].keys() == {"linear, d = 5"}
    assert {key: written[key] for key in ("prompts", "points", "seed")} == {"prompts": 64, "points": 11, "seed": 0}
    golden = banks.read()["banks"]["linear, d = 5"]
    for shift, bank in written["banks"]["linear, d = 5"].items():
        assert banks.same_prompts(golden[shift], bank)
    before = path.read_bytes()
    record(path)
    assert path.read_bytes() == before


@pytest.mark.usefixtures("few")
def test_a_changed_bank_is_recorded_under_a_new_version_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "golden.json"
    record(path)
    before = path.read_bytes()
    sample, version = Linear.sample, evaluation.banks.BANK_VERSION
    monkeypatch.setattr(Linear, "sample", lambda *args: {"w": -sample(*args)["w"]})
    with pytest.raises(UserError) as error:
        record(path)
    assert str(error.value) == (
        f"linear, d = 5, none; linear, d = 5, skewed: not what bank version {version} was recorded with; raise "
        "BANK_VERSION in evaluation/banks.py, or use --replace if nobody has used that version yet"
    )
    assert path.read_bytes() == before
    record(path, replace=True)
    assert path.read_bytes() != before
    monkeypatch.setattr(Linear, "sample", sample)
    monkeypatch.setattr(evaluation.banks, "BANK_VERSION", version + 1)
    record(path)
    assert banks.read(path)["bank_version"] == version + 1


@pytest.mark.usefixtures("few")
def test_the_maintainer_s_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "golden.json"
    monkeypatch.setattr("icl_curriculum.verify.record.GOLDEN", path)
    record_main([])
    version = evaluation.BANK_VERSION
    assert capsys.readouterr().out == f"2 banks of version {version} recorded in {path}\n"
    golden = json.loads(path.read_text())
    golden["banks"]["linear, d = 5"]["none"]["xs"][1] *= 2
    path.write_text(json.dumps(golden))
    with pytest.raises(SystemExit, match="error: linear, d = 5, none: not what bank version"):
        record_main([])
    record_main(["--replace"])
    assert banks.read(path) != golden
