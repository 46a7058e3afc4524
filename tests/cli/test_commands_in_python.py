"""What commands do in Python: the same files, and what they print as data."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from places import EVERY_KIND
from tiny_runs import Icl, tiny_values

import icl_curriculum as package
from icl_curriculum import figures
from icl_curriculum.function_classes import Linear
from icl_curriculum.inputs import Gaussian, Laplace
from icl_curriculum.runs.launch import launch
from icl_curriculum.shifts import ScaledInputs

#: What says when and for how long something ran, in a manifest and on a page.
CLOCK = re.compile(rb'\d{4}-\d\d-\d\dT[\d:+]+(</td>\s*<td data-value="[\d.]+">\d+</td>)?|"seal": "\w+"')


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two variants of one seed, whose heads can be looked at; nothing is drawn."""
    single = {"curriculum": {"function_classes": {"name": "single", "only": "linear"}}}
    values = tiny_values({
        "variants": {"single": single, "both": {}}, "training.steps": 4, "model.tokens": "alternate",
        "training.keep_checkpoints": [2],
    })  # fmt: skip
    folder = tmp_path_factory.mktemp("trained")
    launch(package.load(values), folder, jobs=0, report=lambda progress: None)
    return folder / "tiny"


@pytest.fixture
def two(trained: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The same twice: for the command, and for Python."""
    typed, called = tmp_path / "typed/tiny", tmp_path / "called/tiny"
    return Path(shutil.copytree(trained, typed)), Path(shutil.copytree(trained, called))


def assert_same_files(typed: Path, called: Path) -> None:
    def contents(folder: Path) -> dict[str, bytes]:
        files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".lock")]
        found = {str(path.relative_to(folder)): CLOCK.sub(b"", path.read_bytes()) for path in files}
        return {name: data.replace(b"typed", b"called") for name, data in found.items() if ".lock" not in name}

    one, other = contents(typed), contents(called)
    assert set(one) == set(other)
    assert [name for name in one if one[name] != other[name]] == []


@pytest.fixture
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """One figure, drawn plainly: the others take longer than the rest."""
    for name in ("draw_prediction_differences", "draw_along_training", "draw_adaptation"):
        monkeypatch.setattr(figures, name, lambda folder: None)
    monkeypatch.setattr(figures, "draw_heads", lambda *folders: [])


@pytest.mark.usefixtures("few_figures")
def test_evaluate_asks_what_the_command_asks(icl: Icl, two: tuple[Path, Path]) -> None:
    typed, called = (folder / "both-seed0" for folder in two)
    asked = ["--shift", "scaled_inputs/3", "--shift", "steps_given", "--function-class", "linear", "--n-prompts", "8"]
    asked += ["--step", "2", "--step", "4", "--mask", "retrospective/n=1"]
    code, _, complaint = icl("evaluate", typed, *asked)
    assert code == 0
    results = package.evaluate(
        called, shifts=[ScaledInputs(factor=3.0), "steps_given"], function_classes=Linear(), n_prompts=8,
        steps=[2, "4"], masks="retrospective/n=1",
    )  # fmt: skip
    assert_same_files(typed, called)
    assert (results.path, [path.name for path in results.figures]) == (called / "evaluate", ["heat_map.png"])
    assert set(results.evaluation["step"].dropna()) == {2, 4}
    assert {"model", "model/masked=retrospective/n=1", "oracle"} <= set(results.evaluation["learner"])
    told = [line for line in complaint.splitlines() if line.startswith("undefined: ")]
    assert told
    assert [note for note in results.notes if note.startswith("undefined: ")] == told


@pytest.mark.usefixtures("few_figures")
def test_evaluate_returns_what_this_call_asked(two: tuple[Path, Path]) -> None:
    run = two[0] / "both-seed0"
    package.evaluate(run, shifts="scaled_inputs/3", n_prompts=8)
    results = package.evaluate(run, function_classes="quadratic", shifts="scaled_inputs/5", n_prompts=8)
    assert set(results.evaluation["function_class"]) == {"quadratic"}
    for table in (results.evaluation, results.prediction_differences):
        assert set(table["shift"]) == {"none", "scaled_inputs/5"}
    assert set(package.Results.open(results).evaluation["shift"]) == {"none", "scaled_inputs/3", "scaled_inputs/5"}


@pytest.mark.usefixtures("few_figures")
def test_heads_are_looked_at_as_by_the_command(icl: Icl, two: tuple[Path, Path]) -> None:
    typed, called = two
    assert icl("heads", typed, "--n", "0,1", "--controls", "1", "--n-prompts", "4", "--by", "mean")[0] == 0
    results = package.heads(called, n=[0, 1], controls=1, n_prompts=4, by="mean")
    assert_same_files(typed, called)
    assert set(results.heads["run"]) == {"single-seed0", "both-seed0"}
    assert len(results.masking) > 0
    assert results.path == called / "heads"


def test_compare_says_what_the_command_says(icl: Icl, two: tuple[Path, Path]) -> None:
    typed, called = two
    code, printed, complaint = icl("compare", typed, "--against", "both", "--examples", "2", "--error", "0.7")
    assert code == 0
    compared = package.compare(called, against="both", examples=2, threshold=0.7)
    assert_same_files(typed, called)
    assert compared.path == called / "examples_2/summary.csv"
    assert len(compared.summary) == len(pd.read_csv(compared.path))
    for line in repr(compared).splitlines()[1:]:
        assert line in printed
    for note in compared.notes:
        assert f"note: {note}" in complaint
    assert compared.notes
    assert package.compare("tiny", results=called.parent).path == called / "summary.csv"


@pytest.mark.usefixtures("two_figures")
def test_plot_and_report_leave_what_the_commands_leave(icl: Icl, two: tuple[Path, Path]) -> None:
    typed, called = two
    code, printed, _ = icl("plot", typed, "--variant", "single", "--baselines", "all")
    assert code == 0
    drawn = package.plot(called, variants="single", baselines="all")
    assert [path.name for path in drawn] == [Path(line).name for line in re.findall(r"^figure: +(.+)$", printed, re.M)]
    code, _, said = icl("report", "tiny", "--results", typed.parent, "--error", "0.8")
    assert code == 0
    written = package.report("tiny", results=called.parent, threshold=0.8)
    assert [f"note: {text}" for text in written.missing] == [line for line in said.splitlines() if "note: " in line]
    assert (written.page, written.summary) == (called / "report.html", called / "summary.csv")
    assert_same_files(typed, called)


@pytest.mark.usefixtures("fresh_registries", "fewer_prompts")
def test_check_gives_what_the_command_prints_as_a_table(icl: Icl) -> None:
    _, printed, _ = icl("check", "laplace")
    found = package.check("laplace")
    said = [line.split("  ")[0].strip() for line in printed.splitlines()[1:-1] if line[0] != " "]
    assert said == list(found["status"])
    assert (set(found["kind"]), set(found["component"])) == ({"inputs"}, {"laplace"})
    for component in (Laplace, Laplace()):
        assert list(package.check(component)["rule"]) == list(found["rule"])
    of_file = package.check(EVERY_KIND, kind="metrics")
    assert set(of_file["kind"]) == {"metrics"}
    assert len(of_file["component"].unique()) >= 1


@pytest.mark.usefixtures("fresh_registries", "fewer_prompts")
def test_check_says_how_a_broken_component_is_mended() -> None:
    class Wide(Gaussian):
        """Not of the variance that it states."""

        def sample(self, n: int, points: int, dims: int, generator: Any) -> Any:
            return 3 * super().sample(n, points, dims, generator)

    found = package.check(Wide)
    failed = found[found["status"] == "failed"]
    assert len(failed) > 0
    assert (failed[["expected", "found", "mend"]] != "").all(axis=None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (package.check, "component: expected the name of a function class.*or everything=True"),
        (lambda: package.check(3), "component: expected an instance of FunctionClass"),  # type: ignore[arg-type]
        (lambda: package.check("linaer"), "did you mean 'linear'"),
        (lambda: package.report("nowhere"), "no results for 'nowhere'"),
        (lambda: package.plot("nowhere"), "no results for 'nowhere'"),
        (lambda: package.compare(3), "names: expected a list, found 3"),  # type: ignore[arg-type]
        (lambda: package.evaluate("nowhere"), "nowhere"),
        (lambda: package.heads("nowhere"), "nowhere: expected the folder of a finished run"),
        (lambda: package.heads("nowhere", n="two"), "n: expected several whole numbers"),
    ],
)
def test_a_mistake_is_one_message(call: Callable[[], object], message: str) -> None:
    with pytest.raises(package.UserError, match=message):
        call()


def test_mistakes_about_a_run_name_what_was_meant(trained: Path) -> None:
    ask = functools.partial(package.evaluate, trained / "both-seed0")
    for options, message in (
        ({"shifts": "skwed"}, "did you mean 'skewed'"),
        ({"shifts": [Gaussian()]}, "shifts: expected the name of a shift, or one itself, found Gaussian"),
        ({"n_prompts": 1}, "n_prompts: expected a whole number from 2"),
        ({"steps": 3}, "step 3 were not kept"),
    ):
        with pytest.raises(package.UserError, match=message):
            ask(**options)  # type: ignore[arg-type]
    assert not (trained / "both-seed0/evaluate").exists()
