"""Which files are drawn from which tables, and what is said of tables that are damaged."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from made_up_tables import make_tables, write
from reading_figures import draw, panels, small

from icl_curriculum import figures
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.notices import NotShown
from icl_curriculum.figures import drawing
from icl_curriculum.figures.lettering import wrapped


def test_figures_are_written_alike_every_time(tmp_path: Path) -> None:
    directory = write(small(), tmp_path / "made_up")
    before = dict(matplotlib.rcParams)
    drawn = figures.draw_all(directory)
    folder = directory / "figures"
    stems = ["error_by_examples", "learning_curves", "out_of_distribution", "heat_map", "curriculum"]
    assert drawn == [folder / f"{stem}.png" for stem in stems]
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(files) == sorted(f"{stem}{suffix}" for stem in stems for suffix in (".png", ".svg"))
    assert all(content.startswith(b"\x89PNG") for name, content in files.items() if name.endswith("png"))
    assert all(b"</svg>" in content for name, content in files.items() if name.endswith("svg"))
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.hashsalt": None}):
        figures.draw_all(directory)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_several_variants_have_files_of_their_own(tmp_path: Path) -> None:
    tables = make_tables(["linear"], [0], variants=["single-linear", "a/b"], shifts=())
    tables |= {name: tables[name].iloc[:0] for name in ("evaluation", "learning")}
    drawn = figures.draw_all(write(tables, tmp_path))
    assert [path.stem for path in drawn] == ["curriculum_single-linear", "curriculum_a%2Fb"]
    assert all(path.parent == tmp_path / "figures" for path in drawn)


def test_errors_of_a_model_are_needed_out_of_distribution() -> None:
    evaluation = small()["evaluation"]
    with pytest.raises(figures.NothingToDraw, match="of a model"):
        figures.out_of_distribution(evaluation[evaluation["learner"] != "model"])
    with pytest.raises(figures.NothingToDraw, match="out of distribution"):
        figures.out_of_distribution(evaluation[evaluation["in_distribution"]])
    with pytest.raises(figures.NothingToDraw, match="without a shift"):
        figures.error_by_examples(evaluation[evaluation["shift"] != "none"])


@pytest.fixture
def unsaved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing files is most of the time, and says nothing of which they are."""
    monkeypatch.setattr(drawing, "_save", lambda figure, stem: Path(f"{stem}.png"))


@pytest.mark.usefixtures("unsaved")
@pytest.mark.parametrize("table", ["learning", "evaluation", "curriculum"])
def test_a_table_without_rows_costs_only_its_own_figures(table: str, tmp_path: Path) -> None:
    empty = {name: rows.iloc[:0] for name, rows in small().items() if name != table}
    of_errors = ["error_by_examples", "out_of_distribution", "heat_map"]
    expected = {"learning": ["learning_curves"], "evaluation": of_errors}
    drawn = figures.draw_all(write(small() | empty, tmp_path))
    assert [path.stem for path in drawn] == expected.get(table, ["curriculum"])


@pytest.mark.usefixtures("unsaved")
def test_an_evaluation_alone_is_drawn_as_far_as_it_goes(tmp_path: Path) -> None:
    evaluation = small()["evaluation"]
    write({"evaluation": evaluation}, tmp_path)
    stems = ["error_by_examples", "out_of_distribution", "heat_map"]
    assert [path.stem for path in figures.draw_all(tmp_path)] == stems
    write({"evaluation": evaluation[evaluation["learner"] != "model"]}, tmp_path)
    assert [path.stem for path in figures.draw_scores(tmp_path)] == stems[:1]
    write({"evaluation": evaluation.iloc[:0]}, tmp_path)
    assert figures.draw_scores(tmp_path) == []
    with pytest.raises(UserError, match="nothing to draw"):
        figures.draw_all(tmp_path)


@pytest.mark.parametrize("table", ["learning", "evaluation", "curriculum"])
def test_a_missing_table_is_named(table: str, tmp_path: Path) -> None:
    directory = write(small(), tmp_path)
    (directory / f"{table}.csv").unlink()
    with pytest.raises(UserError, match=rf"{table}\.csv is missing: figures are drawn from"):
        figures.draw_all(directory)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    directory = write(small() | {"learning": small()["learning"].drop(columns="value")}, tmp_path)
    with pytest.raises(UserError, match=r"learning\.csv lacks the column 'value'; found: experiment, run"):
        figures.draw_all(directory)


def test_names_that_look_like_missing_values_or_numbers_are_kept(tmp_path: Path) -> None:
    tables = make_tables(["None", "7"], [0], shifts=())
    write(tables, tmp_path)
    from icl_curriculum.results.tables import read_table

    figure = draw("error_by_examples", {"evaluation": read_table(tmp_path, "evaluation")})
    assert list(panels(figure)) == ["None", "7"]


def test_a_failed_write_leaves_the_old_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write(small(), tmp_path)
    folder = directory / "figures"
    folder.mkdir()
    (folder / "error_by_examples.png").write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        figures.draw_all(directory)
    assert [path.name for path in folder.iterdir()] == ["error_by_examples.png"]
    assert (folder / "error_by_examples.png").read_bytes() == b"old"


def test_drawing_needs_no_torch_and_no_pyplot() -> None:
    code = "import sys, icl_curriculum.figures; print({'torch', 'matplotlib.pyplot'} & {*sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_long_names_are_broken_behind_their_underscores() -> None:
    assert wrapped("plain_limited_quarter", 1.2, 8) == "plain_limited_\nquarter"
    assert wrapped("short_name and k = 10", 9, 8) == "short_name and k = 10"


def test_a_figure_that_fails_is_warned_of_wherever_it_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `icl plot`, `icl score` and `icl evaluate` draw it; the others are drawn."""
    tables = write(small(), tmp_path)
    whole = [path.stem for path in figures.draw_all(tables)]

    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(drawing.FIGURES, "heat_map", dataclasses.replace(drawing.FIGURES["heat_map"], draw=fails))
    with pytest.warns(NotShown, match="the figure heat_map could not be drawn: ZeroDivisionError"):
        assert [path.stem for path in figures.draw_all(tables)] == [stem for stem in whole if stem != "heat_map"]
    with pytest.warns(NotShown, match="the figure heat_map could not be drawn"):
        assert "error_by_examples" in {path.stem for path in figures.draw_scores(tables)}
    with pytest.warns(NotShown, match="the figure heat_map could not be drawn"):
        assert figures.draw_heat_map(tables) is None
