"""Files that a field names: hashed into the config, copied into the run, and read from the copy."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from finished_runs import Finished, assert_same_results
from helpers import task_of
from tiny_runs import Icl, tables, tiny_values, write_toml

from icl_curriculum import RunFailed, UserError
from icl_curriculum.config.loading import build, load, load_run
from icl_curriculum.core.component import Component
from icl_curriculum.core.named_files import LARGEST_FILE, File, NamedFile, files_lie_in
from icl_curriculum.evaluation import Bank, content_hash
from icl_curriculum.runs.checkpoints import load_model
from icl_curriculum.runs.execution import directory_of, execute

PLUGIN = '''
import io

import numpy as np
import torch
from pydantic import Field

from icl_curriculum import File, FunctionClass, register_function_class


@register_function_class("lines")
class Lines(FunctionClass):
    """f(x) = w·x with w a line of a file."""

    rows: File | None = Field(None, description="vectors of weights")

    def sample(self, n, dims, generator):
        rows = torch.tensor(np.loadtxt(io.BytesIO(self.rows.data), ndmin=2)).float()
        return {"w": rows[torch.randint(len(rows), (n,), generator=generator)]}

    def evaluate(self, parameters, xs):
        return torch.einsum("npd,nd->np", xs, parameters["w"])

    def trivial_error(self, dims):
        return 1.0
'''


class Holder(Component):
    """Names a file."""

    rows: File | None = None
    more: tuple[File, ...] = ()


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registries: None) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "lines.py").write_text(PLUGIN)
    (folder / "weights.txt").write_text("1 0\n0 1\n")
    changes = {
        "plugins": ["lines.py"], "function_classes": [{"name": "lines", "rows": "weights.txt"}],
        "evaluation.shifts": [], "evaluation.baselines": ["zero"],
    }  # fmt: skip
    return write_toml(folder / "tiny.toml", tiny_values(changes))


def test_the_run_has_a_copy_and_needs_no_other(experiment: Path, tmp_path: Path) -> None:
    (run,) = load(experiment)
    execute(run, tmp_path / "results")
    path = directory_of(run, tmp_path / "results").path
    (copy,) = (path / "files").iterdir()
    assert copy.read_text() == "1 0\n0 1\n"
    assert f'rows = "files/{copy.name}"' in (path / "config.toml").read_text()
    shutil.rmtree(experiment.parent)
    shutil.move(path.parent, tmp_path / "elsewhere")
    again = load_run(tmp_path / "elsewhere" / path.name / "config.toml")
    assert again.hash() == run.hash()
    assert again.files() == run.files()
    assert load_model(tmp_path / "elsewhere" / path.name) is not None
    moved = tmp_path / "elsewhere" / path.name / "files" / copy.name
    moved.write_text("2 0\n0 1\n")
    with pytest.raises(UserError, match=r"files/\w{16}-weights.txt is damaged: it is not what the run wrote"):
        load_model(moved.parents[1])
    moved.unlink()
    with pytest.raises(UserError, match=r"-weights.txt is damaged: it is missing"):
        load_model(moved.parents[1])


def test_the_content_decides_and_not_the_place(experiment: Path, tmp_path: Path) -> None:
    (run,) = load(experiment)
    execute(run, tmp_path / "one")
    shutil.move(experiment.parent, tmp_path / "other")
    (same,) = load(tmp_path / "other/tiny.toml")
    assert same.hash() == run.hash()
    execute(same, tmp_path / "two")
    assert_same_results(Finished(same, tmp_path / "two", []), Finished(run, tmp_path / "one", []))
    (tmp_path / "other/weights.txt").write_text("1 0\n0 -1\n")
    (edited,) = load(tmp_path / "other/tiny.toml")
    assert edited.hash() != run.hash()
    with pytest.raises(UserError, match=r"holds a run of another config; changed: function_classes.0.rows"):
        execute(edited, tmp_path / "two")


@pytest.mark.usefixtures("undrawn")
def test_workers_read_the_copy_that_they_are_given(experiment: Path, tmp_path: Path, icl: Icl) -> None:
    (run,) = load(experiment)
    execute(run, tmp_path / "here")
    code, _, complaint = icl("run", experiment, "--device", "cpu", "--results", tmp_path / "there")
    assert code == 0, complaint
    assert tables(tmp_path / "there/tiny/mixed-seed0") == tables(tmp_path / "here/tiny/mixed-seed0")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere.txt", r"^error: --set .*: function_classes.0.rows: expected a file that is there, found none called "
                        r"'nowhere.txt' in \S+$"),
        (3, "function_classes.0.rows: expected the path of a file, found 3$"),
        (".", "function_classes.0.rows: expected a file, found .*, which is a folder$"),
        ("fifo", "function_classes.0.rows: expected a file, found .*/fifo, which is no plain file$"),
        ("x" * 220, "function_classes.0.rows: expected a file name of at most 200 bytes, as runs copy it, found "),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_message(experiment: Path, icl: Icl, value: object, message: str) -> None:
    shown = f'"{value}"' if isinstance(value, str) else value
    os.mkfifo("fifo")
    Path("x" * 220).touch()
    code, out, complaint = icl("run", experiment, "--set", f'function_classes=[{{name="lines", rows={shown}}}]')
    assert (code, out) == (2, "")
    assert complaint.count("\n") == 1
    assert re.search(message, complaint.strip())


def test_a_file_too_large_to_be_copied_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(ValueError, match="expected a file of at most 256 MiB, as runs copy it"):
        Holder(rows=tmp_path / "large.bin")  # type: ignore[arg-type]


def test_values_are_equal_by_name_and_content(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.csv").write_text("1")
    with files_lie_in(tmp_path / "a"):
        one = Holder.model_validate({"rows": "x.csv", "more": ("../b/x.csv",)})
    assert isinstance(one.rows, NamedFile)
    assert one.rows == one.more[0]
    assert (one.rows.name, one.rows.data, one.rows.place) == ("x.csv", b"1", str(tmp_path / "a/x.csv"))
    assert one.id == "/rows=x.csv/more=('x.csv',)"
    assert Holder.model_validate({key: value for key, value in one.spec().items() if key != "name"}) == one
    assert one.model_dump(mode="json")["rows"] == one.rows.hash
    assert one.deciding()["rows"] == f"x.csv/{one.rows.hash}"
    # No path and no name is in what names streams.
    assert one.canonical_id == f"/rows={one.rows.hash}/more=('{one.rows.hash}',)"
    assert one.spec(by_content=True)["rows"] == one.rows.hash


def test_a_path_is_relative_to_the_file_that_says_it(experiment: Path, tmp_path: Path) -> None:
    """On the command line to the working directory, as plugins are."""
    for folder, content in ((tmp_path / "child", "3 0\n"), (tmp_path, "4 0\n")):
        folder.mkdir(exist_ok=True)
        (folder / "weights.txt").write_text(content)
    child = tmp_path / "child/child.toml"
    child.write_text('extends = "../mine/tiny.toml"\n')
    (run,) = load(child)
    assert list(run.files().values()) == [b"1 0\n0 1\n"]
    (run,) = load(child, overrides=['function_classes=[{name="lines", rows="weights.txt"}]'])
    assert list(run.files().values()) == [b"4 0\n"]
    child.write_text('extends = "../mine/tiny.toml"\nfunction_classes = [{ name = "lines", rows = "weights.txt" }]\n')
    (run,) = load(child)
    assert list(run.files().values()) == [b"3 0\n"]


def test_neither_name_nor_folder_decides_what_is_drawn(tmp_path: Path) -> None:
    """A name stands in the tables, and is part of the config; streams, moments and caches are of the content."""
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    for path in (first, second):
        path.write_text("p,q,y\n1,2,3\n2,1,5\n0,4,1\n")

    def drawn(path: Path) -> object:
        task = task_of({"name": "table", "rows": str(path)}, dims=2)
        bank = Bank(task, None, 5, 3, 0)
        experiment = build({"function_classes": [task.function_class.spec()], "dims": 2}, source="test")
        return task.function_class.family, content_hash(bank.draw()), experiment.stream_names().popitem()[1]

    assert drawn(first) == drawn(second)
    before = drawn(first)
    first.write_text("p,q,y\n1,2,3\n2,1,5\n0,4,2\n")
    assert drawn(first) != before


SHIFT = '''

@register_shift("late")
class Late(Shift):
    """Fails where the final bank is drawn, until it is mended."""

    def draw(self, task, n, points, streams):
        if n == 16:
            raise KeyError("not yet")
        return replace(task.draw(n, points, streams), xs=task.draw(n, points, streams).xs * 1)

    def columns(self, task):
        return "late", "none"
'''


def test_a_mended_run_keeps_its_training_and_the_file(experiment: Path, tmp_path: Path) -> None:
    plugin = experiment.parent / "lines.py"
    imports = "from dataclasses import replace\nfrom icl_curriculum import Shift, register_shift\n"
    plugin.write_text(imports + PLUGIN + SHIFT)
    (run,) = load(experiment, overrides=['evaluation.shifts=["late"]'])
    with pytest.raises(RunFailed, match="not yet"):
        execute(run, tmp_path / "results")
    path = directory_of(run, tmp_path / "results").path
    trained = (path / "training.csv").read_bytes()
    plugin.write_text(imports + PLUGIN + SHIFT.replace("n == 16", "n == 0"))
    (mended,) = load(experiment, overrides=['evaluation.shifts=["late"]'])
    assert mended.hash() != run.hash()
    execute(mended, tmp_path / "results")
    assert (path / "training.csv").read_bytes() == trained
    copies = [file.relative_to(path).as_posix() for file in path.rglob("*-weights.txt")]
    assert sorted(copies) == [*mended.files(), *(f"trained_with/{name}" for name in run.files())]
    assert load_model(path) is not None
