"""--json, --quiet and --verbose: one document on standard output, results alone, or details beside them."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from finished_runs import Finished, executed
from made_up_transfer import ladder, write_folder
from places import EXAMPLE
from tiny_runs import TINY, Icl, merge, tiny_values, write_toml

from icl_curriculum import bench, verify
from icl_curriculum.bench.tables import BenchSection, BenchTable, Column, Job
from icl_curriculum.cli import output
from icl_curriculum.cli.rows import as_rows
from icl_curriculum.config.loading import load
from icl_curriculum.results.columns import TABLES
from icl_curriculum.runs import cost as costing
from icl_curriculum.testing.checking import COLUMNS


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    changes = {"training.steps": 4, "evaluation.shifts": [], "model.tokens": "alternate"}
    return executed(tmp_path_factory.mktemp("run"), changes)


@pytest.fixture
def example() -> Path:
    """The committed example in a place where it may be written to."""
    shutil.copytree(EXAMPLE, "results/example")
    return Path("results/example")


def document(icl: Icl, *arguments: str | Path, code: int = 0) -> Any:
    """What a command prints with --json: one document, and nothing beside it."""
    ended, out, err = icl(*arguments, "--json")
    assert ended == code, err

    def refuse(text: str) -> None:
        raise ValueError(f"{text} is not JSON")

    found = json.loads(out, parse_constant=refuse)
    assert found["command"] == arguments[0]
    assert isinstance(found["files"], list)
    assert isinstance(found["notes"], list)
    assert [note for note in found["notes"] if note not in err] == []
    return found


def header(table: str) -> list[str]:
    return list(TABLES[table].header)


# Each command


def test_run(icl: Icl, undrawn: None) -> None:
    write_toml(Path("my.toml"), merge(TINY, {"evaluation": {"shifts": []}, "training": {"steps": 4}}))
    found = document(icl, "run", "my.toml", "--jobs", "1", "--device", "cpu")
    assert (found["folder"], found["finished"], found["failures"]) == ("results/tiny", ["mixed-seed0"], [])
    rows = pd.DataFrame(found["evaluation"])
    assert list(rows.columns) == header("evaluation")
    # The numbers of the file, and whole ones as such.
    table = pd.read_csv("results/tiny/evaluation.csv")
    table = table[(table["metric"] == "normalized_error") & (table["shift"] == "none")]
    assert rows["value"].tolist() == table["value"].tolist()
    of_model = [row for row in found["evaluation"] if row["learner"] == "model"]
    # As in the file, baselines and oracles stand once.
    of_run = {(row["run"], row["seed"], row["step"]) for row in found["evaluation"] if row["learner"] != "model"}
    assert of_run == {(None, None, None)}
    assert {(row["seed"], row["step"]) for row in of_model} == {(0, 4)}
    assert all(type(row["step"]) is int for row in of_model)
    assert {"kind": "tables", "path": "results/tiny/*.csv"} in found["files"]
    assert document(icl, "run", "my.toml", "--jobs", "1", "--device", "cpu")["kept"] == ["mixed-seed0"]


def test_a_failed_run_is_in_the_document(icl: Icl) -> None:
    rate = {"training.optimizer": {"name": "adam", "learning_rate": 1e6}, "training.clip": float("inf")}
    write_toml(Path("my.toml"), tiny_values(rate))
    found = document(icl, "run", "my.toml", "--jobs", "1", "--device", "cpu", code=1)
    assert [failure["run"] for failure in found["failures"]] == ["mixed-seed0"]
    assert "training diverged" in found["failures"][0]["message"]
    assert found["evaluation"] == []


def test_evaluate(icl: Icl, run: Finished) -> None:
    found = document(icl, "evaluate", run.path, "--shift", "scaled_inputs/2", "--output", "out", "--n-prompts", "8")
    assert {row["shift"] for row in found["evaluation"]} == {"none", "scaled_inputs/2"}
    assert {row["learner"] for row in found["evaluation"]} == {"model"}
    assert list(found["evaluation"][0]) == header("evaluation")
    assert list(found["prediction_differences"][0]) == header("prediction_differences")
    assert {"kind": "table", "path": "out/evaluation.csv"} in found["files"]


def test_score(icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icl_curriculum.figures.draw_scores", lambda directory, **options: [])
    asked = ("--function-class", "linear", "--n-prompts", "8", "--dims", "2", "--points", "5")
    found = document(icl, "score", "ridge", "zero", *asked)
    assert {row["learner"] for row in found["evaluation"]} == {"ridge", "zero", "oracle"}
    assert found["folder"] == "results/score"


def test_heads(icl: Icl, run: Finished) -> None:
    found = document(icl, "heads", run.path, "--n", "1", "--controls", "1", "--n-prompts", "4", "--output", "heads")
    assert list(found["heads"][0]) == header("heads")
    assert list(found["masking"][0]) == header("masking")


@pytest.mark.usefixtures("unpictured")
def test_plot_and_report_print_where_their_files_lie(icl: Icl, example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icl_curriculum.figures.draw_all", lambda directory, **options: [Path("a.png")])
    assert document(icl, "plot", example)["files"] == [{"kind": "figure", "path": "a.png"}]
    assert icl("plot", example) == (0, "figure:  a.png\n", "")
    files = document(icl, "report", example)["files"]
    assert [each["kind"] for each in files] == ["summary", "report"]
    # Without notes and progress, what was asked for is still said.
    _, out, err = icl("report", example, "-q")
    assert (out, err) == ("".join(f"{each['kind'] + ':':<8} {each['path']}\n" for each in files), "")


def test_compare(icl: Icl, example: Path) -> None:
    found = document(icl, "compare", example)
    assert list(found["summary"][0]) == header("summary")
    assert len(found["summary"]) == len(pd.read_csv(example / "summary.csv"))
    assert {"heading", "sentences"} == set(found["answers"][0])


def test_transfer(icl: Icl) -> None:
    found = document(icl, "transfer", write_folder(Path("meta"), ladder()))
    assert list(found["transfer"][0]) == header("transfer")


def test_clean(icl: Icl, run: Finished) -> None:
    shutil.copytree(run.results, "results/one")
    found = document(icl, "clean", "results/one")
    assert {each["kind"] for each in found["removable"]} >= {"state"}
    assert (found["removed"], found["freed_bytes"]) == (False, 0)
    removed = document(icl, "clean", "results/one", "--remove")
    assert removed["freed_bytes"] == sum(each["bytes"] for each in found["removable"]) > 0
    assert document(icl, "clean", "results/one")["removable"] == []


def test_list(icl: Icl) -> None:
    names = [each["name"] for each in document(icl, "list", "inputs")["components"]]
    assert {"gaussian", "laplace"} <= {*names}
    assert {each["kind"] for each in document(icl, "list")["components"]} >= {"experiments", "inputs", "models"}
    columns = document(icl, "list", "columns")["columns"]
    assert {each["column"] for each in columns if each["table"] == "evaluation"} == {*header("evaluation")}
    undefined = {(each["function_class"], each["shift"]): each["undefined"] for each in
                 document(icl, "list", "coverage")["coverage"]}  # fmt: skip
    assert None in undefined.values()
    assert any(undefined.values())


def test_show(icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toml(Path("my.toml"), TINY | {"variants": {"one": {"dims": 3}, "two": {"dims": 4}}})
    found = document(icl, "show", "my.toml")
    assert [(each["variant"], each["config"]["dims"]) for each in found["configs"]] == [("one", 3), ("two", 4)]
    write_toml(Path("shown.toml"), found["configs"][0]["config"])
    assert load("shown.toml")[0].experiment.dims == 3
    monkeypatch.setattr(costing, "SECONDS", 0.0)
    costs = document(icl, "show", "my.toml", "--cost", "--device", "cpu")["costs"]
    assert [each["variant"] for each in costs] == ["one", "two"]
    assert all(type(each["parameters"]) is int and each["written_bytes"] > 0 for each in costs)


def test_check(icl: Icl, fewer_prompts: None) -> None:
    found = document(icl, "check", "laplace")
    assert [*found["rules"][0]] == COLUMNS
    assert {each["status"] for each in found["rules"]} <= {"ok", "does not apply"}


def test_verify(icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    section = verify.SECTIONS["denominators"]
    few = verify.VerifySection(section.title, lambda: list(section.checks())[:2])
    monkeypatch.setitem(verify.SECTIONS, "denominators", few)
    found = document(icl, "verify", "denominators")["checks"]
    assert [(each["section"], each["holds"]) for each in found] == [("denominators", True)] * 2
    assert type(found[0]["expected"]) is float


def test_bench(icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    table = BenchTable("a table", [{"name": "a", "value": 1 / 3, "missing": None}])
    section = BenchSection("a title", (Column("name", "name"), Column("value")), lambda settings: [
        Job("a job", 1.0, lambda tell: table)])  # fmt: skip
    monkeypatch.setitem(bench.SECTIONS, "step", section)
    assert document(icl, "bench", "step")["measurements"] == [
        {"section": "step", "table": "a table", "recorded": False, "name": "a", "value": 1 / 3, "missing": None}
    ]


# What all have in common


def test_a_mistake_leaves_standard_output_empty(icl: Icl) -> None:
    for arguments in (["list", "inputz"], ["show", "mixxed"], ["run"], ["--sed"]):
        code, out, err = icl("--json", *arguments)
        assert (code, out) == (2, "")
        assert err


def test_the_flags_stand_before_the_command_or_after_it(icl: Icl) -> None:
    assert icl("--json", "list", "inputs") == icl("list", "inputs", "--json")
    assert icl("list", "inputs") == icl("-q", "list", "inputs")
    # What one command was told, the next is not.
    assert not icl("list", "inputs")[1].startswith("{")
    code, out, err = icl("-q", "list", "-v")
    assert (code, out) == (2, "")
    assert "--quiet and --verbose contradict each other" in " ".join(err.replace("│", " ").split())


def test_what_is_no_finite_number_is_null() -> None:
    frame = pd.DataFrame({"step": [4.0, float("nan")], "value": [float("inf"), 0.5], "learner": ["a", None]})
    assert output.plain_json(as_rows(frame, "evaluation")) == [
        {"step": 4, "value": None, "learner": "a"}, {"step": None, "value": 0.5, "learner": None},
    ]  # fmt: skip


def test_quiet_leaves_results_and_errors_alone(icl: Icl, run: Finished) -> None:
    asked = ("evaluate", run.path, "--function-class", "linear", "--n-prompts", "8", "--output")
    _, out, err = icl(*asked, "one")
    assert "1 bank of 8 prompts" in err
    assert "table:   one/evaluation.csv" in err
    assert icl(*asked, "two", "-q") == (0, out, "")
    assert icl("list", "inputz", "-q")[2].startswith("error: unknown kind")


def test_verbose_says_what_is_written_and_on_which_banks(icl: Icl, undrawn: None) -> None:
    write_toml(Path("my.toml"), merge(TINY, {"evaluation": {"shifts": []}, "training": {"steps": 4}}))
    code, out, err = icl("run", "my.toml", "--jobs", "1", "-v")
    assert code == 0
    hashed = load("my.toml")[0].hash()
    for words in (
        "device: cpu, of cpu", f"mixed-seed0: config hash {hashed}, in results/tiny/mixed-seed0",
        "mixed-seed0: wrote results/tiny/mixed-seed0/model.safetensors", "mixed-seed0: bank linear/gaussian/none: ",
        "wrote results/tiny/evaluation.csv", "run took ",
    ):  # fmt: skip
        assert words in err
    assert icl("run", "my.toml", "--jobs", "1", "-q") == (0, out, "")


def test_the_config_is_clean_toml_and_costs_are_a_table(icl: Icl) -> None:
    code, out, err = icl("show", "smoke")
    assert (code, err) == (0, "")
    assert tomllib.loads(out)["name"] == "smoke"


def test_help_shows_flags_as_flags(icl: Icl) -> None:
    for command in ("run", "bench", "compare", "evaluate", "check", "import", "clean"):
        _, out, _ = icl(command, "--help")
        assert not re.search(r"<\w+>", out), command
    assert not re.search(r"<\w+>", icl("--help")[1])
