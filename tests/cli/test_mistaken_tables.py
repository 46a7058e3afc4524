"""Damaged tables: ``icl plot`` names the file and exits with code 2; the figures that were there stay."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistaken import Answer, files, icl, steady
from resealed import tables_alone
from tiny_runs import tiny_run

from icl_curriculum import figures
from icl_curriculum.figures import drawing
from icl_curriculum.results.collecting import collect
from icl_curriculum.runs.execution import execute

TABLES = ("learning", "evaluation", "curriculum")


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """``whole``: an experiment with its figures; ``here``: a copy to damage."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("tables"))
    run = tiny_run({"training.steps": 4, "points": 3, "function_classes": ["linear"], "evaluation.baselines": ["zero"]})
    execute(run, Path())
    collect(Path("tiny"), {run.variant: run.hash()})
    # Beside the folder of their run, they would be collected anew.
    tables_alone(Path("tiny"), Path("whole"))
    figures.draw_all(Path("whole"))
    shutil.copytree("whole", "here")
    yield
    os.chdir(before)


def plotted(table: str, content: bytes) -> Answer:
    """``icl plot`` with one table replaced; after a mistake all else is as it was."""
    for name in TABLES:
        shutil.copy(f"whole/{name}.csv", "here")
    Path(f"here/{table}.csv").write_bytes(content)
    before = files(Path("here"))
    answer = icl("plot", "here")
    if answer.code:
        assert answer.code == 2, answer.err
        assert answer.out == ""
        assert answer.err.startswith("error: here"), answer.err
        assert f"{table}.csv " in answer.err, answer.err
        assert answer.err.count("\n") == 1
        assert len(answer.err) < 500
        assert files(Path("here")) == before
    return answer


JUNK = [
    "", "x", "nan", "inf", "-inf", "-1", "1e400", "9" * 30, "0.5", "None", "True", "é∑线", "\x00", "a\tb", "a\rb", '"',
    "none", "zero", "model",
]  # fmt: skip


@pytest.fixture(scope="module")
def _no_files() -> Iterator[None]:
    """Rendering is most of the time, and no business of the tables'."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "_save", lambda figure, stem: Path(f"{stem}.png"))
        yield


@given(data=st.data())
@settings(steady, max_examples=20)
@pytest.mark.usefixtures("_no_files")
def test_a_damaged_table_is_drawn_or_named(data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(TABLES))
    content = Path(f"whole/{table}.csv").read_bytes()
    rows = list(csv.reader(io.StringIO(content.decode())))
    damage = data.draw(st.sampled_from(["bytes", "bytes", "cell", "cell", "cell", "column", "rows"]))
    if damage == "bytes":
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.one_of(st.just(start), st.just(len(content)), st.integers(start, len(content))))
        content = content[:start] + data.draw(st.binary(max_size=6)) + content[end:]
    else:
        row, column = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, len(rows[0]) - 1))
        junk = data.draw(st.sampled_from(JUNK))
        if damage == "cell":
            rows[row][column] = junk
        elif damage == "column":
            for cells in rows[1:]:
                cells[column] = junk
        else:
            rows = rows[:1] + rows[row + 1 :]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        content = text.getvalue().encode()
    with pytest.MonkeyPatch.context() as patch:
        # No other figure takes anything from it.
        reading = {name: each for name, each in drawing.FIGURES.items() if table in each.tables}
        patch.setattr(drawing, "FIGURES", reading)
        plotted(table, content)


def edited(line: int, column: str, value: str) -> Callable[[bytes], bytes]:
    """A change of one cell, ``line`` counted from the header's 0."""

    def edit(content: bytes) -> bytes:
        lines = content.decode().splitlines()
        cells = lines[line].split(",")
        cells[lines[0].split(",").index(column)] = value
        lines[line] = ",".join(cells)
        return ("\n".join(lines) + "\n").encode()

    return edit


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "empty": ("learning", lambda content: b"", "is damaged: its first line is not the table's header"),
    "binary": ("learning", lambda content: bytes(range(128, 256)), "is damaged: 'utf-8' codec can't decode byte 0x80"),
    "null bytes": ("evaluation", lambda content: bytes(99), "is damaged: it holds the control character '\\x00'"),
    "a row cut in half": ("evaluation", lambda content: content[:-30], "cells, expected 17"),
    "a number cut in half": ("curriculum", lambda content: content[:-2], "is damaged: its last line is cut off"),
    "a row too long": ("curriculum", lambda content: content + b"1,2,3,4,5,6,7,8,9,10\n", "has 10 cells, expected 9"),
    "a blank line": ("learning", lambda content: content + b"\n", "has 0 cells, expected 11"),
    "an open quote": ("learning", lambda content: content + b'"', "is damaged: unexpected end of data"),
    "other columns": ("learning", lambda content: b"a,b\n1,2\n", "lacks the column 'variant'; found: a, b"),
    "a column twice": ("learning", edited(0, "step", "seed"), "its first line is not the table's header"),
    "text for a number": ("learning", edited(3, "value", "x"), "is damaged: could not convert string to float"),
    "a fraction for a whole number": ("learning", edited(3, "seed", "0.5"), "is damaged: "),
    "no step": ("learning", edited(3, "step", ""), "row 3 of column 'step': expected a number from 0 to"),
    "an infinite step": ("curriculum", edited(2, "step", "inf"), "row 2 of column 'step': expected a number from 0 to"),
    "a step before the first": (
        "evaluation",
        edited(1, "step", "-1"),
        "row 1 of column 'step': expected a number fro",
    ),
    "no name": ("evaluation", edited(5, "learner", ""), "row 5 of column 'learner': expected text, found nothing"),
    "another kind": (
        "evaluation",
        edited(5, "learner_kind", "x"),
        "row 5 of column 'learner_kind': expected model or baseline or oracle, found 'x'",
    ),
    "a learner of two kinds": ("evaluation", edited(1, "learner", "zero"), "the learner 'zero' is of two kinds"),
    "no truth value": ("evaluation", edited(5, "in_distribution", "x"), "'in_distribution': expected True or False"),
    "another variant": ("curriculum", edited(1, "variant", "x"), "here: learning.csv holds the variants mixed, curri"),
    "more than all": (
        "curriculum",
        edited(1, "planned_share", "1.5"),
        "'planned_share': expected a number from 0 to 1",
    ),
}


@pytest.mark.parametrize(("table", "damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_named_and_the_figures_stay(table: str, damage: Callable[[bytes], bytes], message: str) -> None:
    answer = plotted(table, damage(Path(f"whole/{table}.csv").read_bytes()))
    assert answer.code == 2
    assert message in answer.err
    assert len(list(Path("here/figures").iterdir())) == 12


def test_a_directory_in_place_of_a_table_is_named() -> None:
    Path("folder/learning.csv").mkdir(parents=True)
    answer = icl("plot", "folder")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert answer.err.startswith("error: folder/learning.csv is missing: figures are drawn from")


def test_tables_without_any_row_are_nothing_to_draw() -> None:
    Path("bare").mkdir()
    for name in TABLES:
        header = Path(f"whole/{name}.csv").read_text().splitlines()[0]
        Path(f"bare/{name}.csv").write_text(header + "\n")
    answer = icl("plot", "bare")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: bare: its tables hold nothing to draw; run the experiment again\n"


@pytest.mark.usefixtures("_no_files")
def test_errors_under_shifts_alone_cost_only_their_own_figure() -> None:
    header, *rows = Path("whole/evaluation.csv").read_text().splitlines()
    shifted = [row for row in rows if ",none," not in row]
    answer = plotted("evaluation", ("\n".join([header, *shifted]) + "\n").encode())
    assert answer.code == 0
    assert [Path(line).stem for line in answer.out.splitlines()] == [
        "learning_curves",
        "prediction_differences",
        "curriculum",
    ]


@pytest.mark.usefixtures("_no_files")
def test_names_in_any_script_are_drawn() -> None:
    """Warnings are errors here; a user would see one for every letter that the font lacks."""
    content = Path("whole/evaluation.csv").read_text().replace("linear", "线性")
    assert plotted("evaluation", content.encode()).code == 0


def test_whole_tables_are_drawn() -> None:
    answer = plotted("learning", Path("whole/learning.csv").read_bytes())
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.count("figure: ") == 6
