"""No legal plugin makes the end of a run fail, and what fails in showing it is said and takes nothing else with it."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
from fewer_pictures import draw_only
from mended_runs import a_python_of_its_own
from places import SUPPORT
from resealed import tables_alone
from tiny_runs import TINY, Icl, merge, nested, tiny_values, write_toml

from icl_curriculum.figures import drawing
from icl_curriculum.pages import content, findings
from icl_curriculum.results.comparison import command

#: Ids that mean something to a table, a page, a file system or a formula, or to nobody.
IDS = {
    "function_classes": [r"$\frac{a}$_{%&<script>alert(1)</script>\"", "nan"],
    "inputs": ["1.0"],
    "shifts": ["NA", "x" * 200],
    "baselines": ["true", 'a,b;c"d', "😀 שלום", "/", "\\", "{}", "inf", "   "],
}


def as_ids(kind: str, name: str) -> list[dict[str, Any]]:
    return [{"name": name, "id": each} for each in IDS[kind]]


#: Few steps and prompts, one seed, and a model that has no fields that others have.
SMALL: dict[str, Any] = {
    "points": 3, "training.steps": 2, "training.log_every": 2, "training.learning_every": 2,
    "evaluation.n_prompts": 5, "evaluation.learning_prompts": 2, "plugins": ["odd_plugin.py"],
    "model": {"name": "transformer_of_mine"}, "evaluation.shifts": [], "evaluation.baselines": ["zero"],
}  # fmt: skip


ODD: dict[str, dict[str, Any]] = {
    "ids": {
        "function_classes": as_ids("function_classes", "linear"),
        "inputs": as_ids("inputs", "gaussian"),
        "evaluation.shifts": as_ids("shifts", "scaled_inputs"),
        "evaluation.baselines": as_ids("baselines", "ridge"),
        "training.steps": 4,
    },
    "what is undefined, infinite or nought": {
        "function_classes": [r"${_%&\<b>"],
        "evaluation.shifts": ["one_point", "nothing_left"],
        "evaluation.baselines": ["never", "exact"],
        "variants": {"nan": {}, "1.0": {"model": {"name": "exploding"}}},
    },
    "no second moment": {
        "function_classes": ["linear"], "inputs": ["cauchy"], "evaluation.baselines": ["never"], "points": 2, "dims": 1,
    },
}  # fmt: skip


def write(folder: Path, changes: dict[str, Any]) -> Path:
    shutil.copy(SUPPORT / "odd_plugin.py", folder)
    values = merge(tiny_values({key: value for key, value in SMALL.items() if key != "model"}), nested(changes))
    return write_toml(folder / "tiny.toml", {"model": SMALL["model"], **without_model(values), **of_model(changes)})


def without_model(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != "model"}


def of_model(changes: dict[str, Any]) -> dict[str, Any]:
    return {"model": changes["model"]} if "model" in changes else {}


@pytest.fixture
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the figures of an experiment, the three that a test here looks for, and the one that it breaks."""
    draw_only(monkeypatch, "error_by_examples", "learning_curves", "curriculum", "heat_map")


@pytest.mark.parametrize("what", ODD)
def test_an_odd_experiment_is_run_shown_and_compared_to_the_end(icl: Icl, tmp_path: Path, what: str) -> None:
    file = write(tmp_path, ODD[what])
    options = ("--results", tmp_path / "results")
    with a_python_of_its_own(), warnings.catch_warnings():
        warnings.simplefilter("error")
        said = {"run": icl("run", file, *options, "--device", "cpu", "--jobs", "1")}
        said["compare"] = icl("compare", "tiny", *options)
    for name, (code, out, err) in said.items():
        assert (name, code) == (name, 0), err
        assert "could not be" not in out + err
    page = (tmp_path / "results/tiny/report.html").read_text()
    assert "the model transformer_of_mine" in page or "models that differ" in page
    assert "could not be" not in page
    assert "<script>alert" not in page


@pytest.mark.parametrize(("shift", "message"), [("no_text", "two printable texts"), ("no_task", "failed in apply")])
def test_a_shift_of_which_no_bank_can_be_made_is_refused_before_anything_is_trained(
    icl: Icl, tmp_path: Path, shift: str, message: str
) -> None:
    file = write(tmp_path, {"evaluation.shifts": [shift]})
    with a_python_of_its_own():
        code, out, err = icl("run", file, "--results", tmp_path / "results", "--device", "cpu", "--jobs", "1")
    assert code == 1
    assert "failed: " in out + err
    assert f"'{shift}'" in out + err
    assert message in out + err
    assert "error of icl itself" not in out + err
    assert not (tmp_path / "results/tiny/mixed-seed0/training.csv").exists()


# What fails in showing results


def fails(*arguments: object, **options: object) -> None:
    raise IndexError("nowhere")


@pytest.fixture
def broken_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heat map fails, and in the report the learning curves and the section on exposure."""
    monkeypatch.setitem(drawing.FIGURES, "heat_map", drawing.Drawing(fails, ("evaluation",)))
    monkeypatch.setattr(content.sheets, "ledger", fails)

    def learning_curves(*arguments: object, **options: object) -> None:
        fails()

    monkeypatch.setattr(findings.figures, "learning_curves", learning_curves)


def test_a_figure_or_section_that_fails_is_said_and_takes_nothing_with_it(
    icl: Icl, tmp_path: Path, few_figures: None, broken_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, options = write_toml(tmp_path / "tiny.toml", TINY), ("--results", tmp_path)
    code, out, err = icl("run", file, *options, "--device", "cpu", "--jobs", "1")
    assert code == 0, err
    notices = [
        "the figure heat_map could not be drawn: IndexError: nowhere",
        "the figure learning_curves of While training could not be drawn: IndexError: nowhere",
        "the section on all runs could not be made: IndexError: nowhere",
    ]
    for notice in notices:
        assert f"note: {notice}\n" in err
    assert "Traceback" not in out + err
    there = {path.stem for path in (tmp_path / "tiny/figures").glob("*.png")}
    assert {"error_by_examples", "learning_curves", "curriculum"} <= there
    assert "heat_map" not in there
    page = (tmp_path / "tiny/report.html").read_text()
    assert all(notice in page for notice in notices[1:])
    assert "at the end of training by the number of examples" in page
    assert "Each error beside that of the optimum" in page
    assert "Where every run came from" in page
    draw_only(monkeypatch, "curriculum", "heat_map")
    code, out, err = icl("plot", "tiny", *options, "--debug")
    assert code == 0, err
    assert "in fails\n" in err
    assert "figure:  " in out


def test_statistics_that_fail_leave_the_figures_and_the_run(
    icl: Icl, tmp_path: Path, few_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "summary_rows", fails)
    monkeypatch.setattr("icl_curriculum.cli.display.error_table", fails)
    file = write_toml(tmp_path / "tiny.toml", TINY)
    code, _, err = icl("run", file, "--results", tmp_path, "--device", "cpu", "--jobs", "1")
    assert code == 0, err
    assert "note: summary and report could not be written: IndexError: nowhere\n" in err
    assert "note: the table of errors could not be shown: IndexError: nowhere\n" in err
    assert "figure:  " in err


@pytest.mark.usefixtures("unpictured")
def test_answers_that_fail_are_missing_from_a_page_that_says_so(
    icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: None
) -> None:
    file = write_toml(tmp_path / "tiny.toml", TINY)
    assert icl("run", file, "--results", tmp_path, "--device", "cpu", "--jobs", "1")[0] == 0
    monkeypatch.setattr(command, "answers", fails)
    for name in ("report", "compare"):
        code, _, err = icl(name, "tiny", "--results", tmp_path)
        assert code == 0
        assert "note: the answers in words could not be given: IndexError: nowhere\n" in err
    assert "the answers in words could not be given" in (tmp_path / "tiny/report.html").read_text()


def test_a_damaged_table_alone_is_still_a_mistake_to_be_mended(icl: Icl, tmp_path: Path, undrawn: None) -> None:
    file = write_toml(tmp_path / "tiny.toml", TINY)
    assert icl("run", file, "--results", tmp_path, "--device", "cpu", "--jobs", "1")[0] == 0
    alone = tables_alone(tmp_path / "tiny", tmp_path / "alone")
    (alone / "learning.csv").write_text("nonsense\n")
    for name in ("report", "compare"):
        code, _, err = icl(name, "alone", "--results", tmp_path)
        assert code == 2
        assert "learning.csv" in err
