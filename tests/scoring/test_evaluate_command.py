"""``icl evaluate``: a finished run on classes, inputs and shifts that its experiment never named."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pandas as pd
import pytest
from finished_runs import Finished
from places import EVERY_KIND
from resealed import reseal
from tiny_runs import Icl, tables

from icl_curriculum import figures
from icl_curriculum.cli.progress import View
from icl_curriculum.core.files import write_atomically
from icl_curriculum.core.locks import locked
from icl_curriculum.core.registry import KINDS
from icl_curriculum.evaluation import BANK_VERSION
from icl_curriculum.function_classes import Linear
from icl_curriculum.runs.execution import Progress
from icl_curriculum.shifts import STANDARD


@pytest.fixture
def icl(icl: Icl, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, fresh_registries: None) -> Icl:
    """``icl evaluate``, which draws its figure only where a test is about that."""
    if "figure" not in request.node.name:
        for name in ("draw_heat_map", "draw_prediction_differences"):
            monkeypatch.setattr(figures, name, lambda output: None)
    return functools.partial(icl, "evaluate")


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "evaluation.csv", keep_default_na=False, na_values=[""])


def cells(frame: pd.DataFrame) -> set[tuple[str, str, str]]:
    return set(zip(frame["function_class"], frame["input_distribution"], frame["shift"], strict=True))


def test_its_own_shifts_give_the_rows_of_the_run(icl: Icl, finished: Finished, tmp_path: Path) -> None:
    code, out, err = icl(finished.path, "--shift", "scaled_inputs/2", "--output", tmp_path / "out")
    assert code == 0, err
    assert set((tmp_path / "out/evaluation.csv").read_text().splitlines()) == set(
        (finished.path / "evaluation.csv").read_text().splitlines()
    )
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["banks"] == finished.manifest()["banks"]
    assert manifest["bank_version"] == finished.manifest()["bank_version"] == BANK_VERSION
    assert "scaled_inputs/2" in out


def test_the_run_itself_stays_as_it_was(icl: Icl, copied: Finished) -> None:
    before = tables(copied.path)
    assert icl(copied.path, "--shift", "label_noise")[0] == 0
    assert tables(copied.path) == before
    assert (copied.path / "evaluate/evaluation.csv").is_file()


def test_by_default_its_classes_under_the_whole_grid_and_a_figure(icl: Icl, finished: Finished, tmp_path: Path) -> None:
    code, out, err = icl(finished.path, "--output", tmp_path)
    assert code == 0, err
    frame = rows(tmp_path)
    assert len(cells(frame)) == 2 * (len(STANDARD) + 1)
    assert set(frame["learner_kind"]) == {"model", "baseline", "oracle"}
    assert set(frame.loc[frame["in_distribution"], "shift"]) == {"none"}
    assert set(frame.loc[frame["in_distribution"], "input_distribution"]) == {"gaussian"}
    assert "* median error, as the mean squared error is infinite" in out
    assert (tmp_path / "figures/heat_map.png").stat().st_size > 10_000
    assert f"figure:  {tmp_path / 'figures/heat_map.png'}" in err


def test_classes_and_inputs_that_it_never_saw(icl: Icl, finished: Finished, tmp_path: Path) -> None:
    code, _, err = icl(
        finished.path, "--output", tmp_path, "--function-class", "decision_tree", "--function-class",
        '{ name = "hermite", degree = 3 }', "--inputs", "laplace", "--inputs", "scaled/0.5", "--n-prompts", "32",
    )  # fmt: skip
    assert code == 0, err
    frame = rows(tmp_path)
    assert cells(frame) == {
        (name, inputs, "none") for name in ("decision_tree", "hermite/3") for inputs in ("laplace", "scaled/0.5")
    }
    assert set(frame["n_prompts"]) == {32}
    assert not frame["in_distribution"].any()


def test_every_class_there_is_and_why_some_are_left_out(icl: Icl, finished: Finished, tmp_path: Path) -> None:
    code, _, err = icl(finished.path, "--function-class", "all", "--shift", "random_quadrants", "--output", tmp_path)
    assert code == 0
    assert {"decision_tree", "sinusoid", "linear_dynamics"} <= {cell[0] for cell in cells(rows(tmp_path))}
    expected = "undefined: chebyshev with gaussian inputs: expected 1 dimension, found 2, the run's dimensions\n"
    assert expected in err
    assert "undefined: parity with gaussian inputs: expected inputs of -1 and 1; give --inputs rademacher\n" in err
    assert "undefined: linear_dynamics with gaussian inputs under random_quadrants: it makes its own inputs\n" in err


def test_a_table_grows_and_is_renewed_by_cell(icl: Icl, finished: Finished, tmp_path: Path) -> None:
    def evaluate(*options: str) -> str:
        assert icl(finished.path, "--output", tmp_path, *options)[0] == 0
        return (tmp_path / "evaluation.csv").read_text()

    first = evaluate("--shift", "label_noise")
    both = evaluate("--shift", "skewed")
    assert len(cells(rows(tmp_path))) == 6
    assert set(first.splitlines()) <= set(both.splitlines())
    assert evaluate("--shift", "label_noise") == both
    evaluate("--shift", "skewed", "--n-prompts", "8")
    frame = rows(tmp_path)
    assert set(frame.loc[frame["input_distribution"] == "skewed", "n_prompts"]) == {8}
    assert set(frame.loc[frame["shift"] == "label_noise/0.5", "n_prompts"]) == {16}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("manifest.json", {"weights": "another run's"}, "holds the evaluation of mixed-seed0 with other weights or"),
        ("manifest.json", {"bank_version": 1}, "holds the evaluation of mixed-seed0 with other weights or other banks"),
        ("manifest.json", {"confidence": 0.5}, "holds intervals of level 0.5, and evaluation.confidence is 0.9 now"),
        ("manifest.json", {"kind": "mine"}, "holds files that icl evaluate did not write; give another folder with"),
        ("manifest.json", None, "manifest.json is damaged: "),
        ("evaluation.csv", None, "evaluation.csv is damaged: it is not what icl evaluate wrote; restore it, or remove"),
    ],
    ids=["weights", "banks", "another level", "another program", "half a manifest", "damaged"],
)
def test_what_another_call_did_not_write_is_left_alone(
    icl: Icl, finished: Finished, tmp_path: Path, name: str, change: dict[str, object] | None, message: str
) -> None:
    assert icl(finished.path, "--output", tmp_path, "--shift", "skewed")[0] == 0
    path = tmp_path / name
    if change is None:
        path.write_text(path.read_text()[:-40])
    else:
        reseal(path, change)
    before = {file: file.read_bytes() for file in tmp_path.glob("[!.]*") if file.is_file()}
    code, _, err = icl(finished.path, "--output", tmp_path, "--shift", "label_noise")
    assert code == 2
    assert message in err
    assert {file: file.read_bytes() for file in before} == before


@pytest.mark.parametrize("where", ["run", "experiment"])
def test_a_folder_of_results_is_no_output(icl: Icl, copied: Finished, where: str) -> None:
    folder = copied.path if where == "run" else copied.path.parent
    if where == "experiment":
        (folder / "evaluation.csv").write_text("the experiment's own\n")
    before = tables(folder)
    code, _, err = icl(copied.path, "--output", folder, "--shift", "skewed")
    assert code == 2
    assert f"{folder} holds files that icl evaluate did not write" in err
    assert tables(folder) == before
    assert icl(copied.path, "--shift", "skewed")[0] == 0


def test_a_crash_between_the_table_and_the_manifest_is_no_damage(
    icl: Icl, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icl_curriculum.results import growing_table

    def evaluate(shift: str) -> int:
        return icl(finished.path, "--output", tmp_path, "--shift", shift)[0]

    def broken(path: Path, data: str) -> None:
        if path.name == "evaluation.csv":
            raise RuntimeError("killed")
        write_atomically(path, data)

    for shift in ("skewed", "label_noise"):
        with monkeypatch.context() as patch:
            patch.setattr(growing_table, "write_atomically", broken)
            assert evaluate(shift) == 1
        assert evaluate(shift) == 0
    assert len(cells(rows(tmp_path))) == 6


def test_a_plugin_s_class(icl: Icl, finished: Finished, tmp_path: Path) -> None:
    plugin = EVERY_KIND
    options = ("--plugin", plugin, "--function-class", "halved", "--shift", "as_gaussian", "--inputs", "wide")
    code, _, err = icl(finished.path, *options, "--output", tmp_path)
    assert code == 0, err
    assert cells(rows(tmp_path)) == {("halved", "wide", "none"), ("halved", "wide", "as_gaussian")}
    assert (tmp_path / "plugins/every_kind.py").read_bytes() == plugin.read_bytes()
    assert len(json.loads((tmp_path / "manifest.json").read_text())["plugins"]) == 1


def test_a_plugin_with_a_name_of_the_run_s_own_says_where_those_come_from(
    icl: Icl, finished: Finished, tmp_path: Path
) -> None:
    plugins = [tmp_path / name for name in ("one.py", "other.py")]
    for number, plugin in enumerate(plugins):
        plugin.write_text(EVERY_KIND.read_text() + f"\n# {number}\n")
    code, _, err = icl(finished.path, "--plugin", plugins[0], "--plugin", plugins[1])
    assert code == 2
    assert f"error: --plugin {plugins[1]}: " in err
    assert "is registered twice" in err
    assert err.endswith("rename one; the run's own plugins are loaded from its folder, as they were\n")


def test_an_edited_plugin_is_computed_anew(
    icl: Icl, copied: Finished, tmp_path: Path, fresh_registries: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The baselines' cache is by content, not by what a class is called."""
    plugin, found = tmp_path / "mine.py", {}
    source = EVERY_KIND.read_text()
    for number, stated in enumerate(("return dims / 4", "return dims * 25.0")):
        plugin.write_text(source.replace("return dims / 4", stated))
        for registry in KINDS.values():
            kept = {name: cls for name, cls in registry._classes.items() if "plugin" not in cls.__module__}
            monkeypatch.setattr(registry, "_classes", kept)
        output = tmp_path / str(number)
        options = ("--plugin", plugin, "--function-class", "halved", "--output", output)
        assert icl(copied.path, *options)[0] == 0
        frame = rows(output)
        zero = frame[(frame["learner"] == "zero") & (frame["metric"] == "normalized_error")]
        found[stated] = zero["value"].mean()
    assert found["return dims / 4"] == pytest.approx(100 * found["return dims * 25.0"])


def test_a_plugin_that_fails_is_named(icl: Icl, finished: Finished, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    source = EVERY_KIND.read_text()
    plugin.write_text(source.replace('parameters["w"]) / 2', 'parameters["v"]) / 2'))
    out = tmp_path / "out"
    code, _, err = icl(finished.path, "--plugin", plugin, "--function-class", "halved", "--output", out)
    assert code == 1
    assert err.splitlines()[-1] == (
        f"failed: halved/gaussian/none: 'halved' ({plugin}) failed in draw: KeyError: 'v' (mine.py, line 23); "
        "nothing was written"
    )


def test_two_components_of_one_id_are_refused(icl: Icl, finished: Finished, tmp_path: Path) -> None:
    options = ("--shift", "scaled_inputs/1.001", "--shift", "scaled_inputs/1.004", "--output", tmp_path / "out")
    assert icl(finished.path, *options) == (
        2,
        "",
        'error: two different cells are called linear/gaussian/scaled_inputs/1; give one of them id = "...", in a '
        "TOML table\n",
    )
    # A shift and the inputs that it names are one cell.
    assert icl(finished.path, "--shift", "skewed", "--shift", "other_inputs/skewed", "--output", tmp_path)[0] == 0
    assert len(cells(rows(tmp_path))) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shift", "skewd"], "error: --shift skewd: unknown shift 'skewd'; did you mean 'skewed'?\n"),
        (
            ["--function-class", "chebyshev"],
            "error: nothing to evaluate: chebyshev with gaussian inputs: expected 1 dimension, found 2, the run's "
            "dimensions\n",
        ),
        (
            ["--inputs", "{ name = 'student_t', df = -1 }"],
            "error: --inputs { name = 'student_t', df = -1 }: df: expected greater than or equal to 0.5, found -1\n",
        ),
    ],
)
def test_mistakes(icl: Icl, finished: Finished, tmp_path: Path, options: list[str], message: str) -> None:
    assert icl(finished.path, "--output", tmp_path / "out", *options) == (2, "", message)
    assert not (tmp_path / "out").exists()


EXPECTED = "expected the directory of a finished run, found"


def test_an_unfinished_run(icl: Icl, interrupted: Finished) -> None:
    path = interrupted.path
    assert icl(path) == (2, "", f"error: {path}: {EXPECTED} a run that is running\n")


def test_what_is_no_run_or_a_damaged_one(icl: Icl, copied: Finished) -> None:
    experiment = copied.path.parent
    assert icl(experiment) == (2, "", f"error: {experiment}: {EXPECTED} no run; its runs are mixed-seed0\n")
    (copied.path / "evaluation.csv").write_text("nothing\n")
    code, _, err = icl(copied.path)
    assert code == 2
    assert err.startswith(f"error: {copied.path / 'evaluation.csv'} is damaged: its first line is not")


def test_a_longer_prompt_than_the_positions_allow(icl: Icl, finished: Finished, tmp_path: Path) -> None:
    code, _, err = icl(finished.path, "--shift", "longer_prompts/3", "--shift", "skewed", "--output", tmp_path)
    assert code == 0
    reason = (
        "undefined: linear with gaussian inputs under longer_prompts/3: prompts of 13 points, the model reads at most"
    )
    assert reason in err


def test_a_class_that_breaks_leaves_the_table_alone(
    icl: Icl, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert icl(finished.path, "--output", tmp_path, "--shift", "skewed")[0] == 0
    before = (tmp_path / "evaluation.csv").read_bytes()

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no numbers today")

    monkeypatch.setattr(Linear, "evaluate", broken)
    assert icl(finished.path, "--output", tmp_path, "--shift", "label_noise")[0] == 1
    assert (tmp_path / "evaluation.csv").read_bytes() == before


def test_of_an_interrupted_call_what_was_answered_is_kept(
    icl: Icl, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = View.report

    def stop(view: View, progress: Progress) -> None:
        report(view, progress)
        if progress.done == 2:
            raise RuntimeError("stop")

    with monkeypatch.context() as patch:
        patch.setattr(View, "report", stop)
        assert icl(finished.path, "--output", tmp_path, "--shift", "label_noise")[0] == 1
    assert cells(rows(tmp_path)) == {("linear", "gaussian", "none"), ("linear", "gaussian", "label_noise/0.5")}
    partial = (tmp_path / "evaluation.csv").read_text()
    assert icl(finished.path, "--output", tmp_path, "--shift", "label_noise")[0] == 0
    assert (tmp_path / "evaluation.csv").read_text().startswith(partial)


def test_a_second_call_at_the_same_time_is_told(icl: Icl, finished: Finished, tmp_path: Path) -> None:
    with locked(tmp_path / ".lock"):
        code, _, err = icl(finished.path, "--output", tmp_path, "--shift", "skewed")
    assert code == 2
    assert err.splitlines()[-1].startswith(f"error: {tmp_path} is in use by ")
