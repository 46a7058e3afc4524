"""The run directory: CSV format, atomic writes, the lock, cutting back, and the experiment's tables."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.files import atomic_path, write_atomically
from icl_curriculum.core.locks import Locked
from icl_curriculum.results.collecting import collect
from icl_curriculum.results.columns import COLUMNS, csv_text
from icl_curriculum.results.directory import RunDirectory, find_results
from icl_curriculum.results.manifests import read_manifest

RUN = ("experiment", "run", "variant", "seed")


def run_directory(path: Path, *, variant: str = "mixed", seed: int = 0) -> RunDirectory:
    return RunDirectory(path / f"{variant}-seed{seed}", experiment="mine", variant=variant, seed=seed)


def made_up_run(
    path: Path, *, variant: str = "mixed", seed: int = 0, config_hash: str = "h", status: str = "finished"
) -> RunDirectory:
    """A run's directory with one row in every table, in evaluation.csv of a model."""
    run = run_directory(path, variant=variant, seed=seed)
    run.path.mkdir(parents=True)
    run.start_tables()
    for name in COLUMNS:
        row = [f"{name} of {variant} {seed}"] + [0] * (len(COLUMNS[name]) - len(RUN) - 1)
        run.write_table(name, [row if name != "evaluation" else [0, row[0], "model", *row[3:]]])
    run.write_config({"dims": 1, "points": 2})
    weights = run.write("model.safetensors", b"weights")
    run.write_manifest(
        {
            "weights": weights, "tables": run.table_hashes(), **run.deciding_hashes(),
            "status": status, "config_hash": config_hash, "experiment": "mine", "run": run.path.name,
            "variant": variant, "seed": seed, "device": "cpu", "threads": 1,
            "package_version": "1", "torch_version": "2",
        }
    )  # fmt: skip
    return run


# Format


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (1 / 3, "0.333333333"),
        (np.float64(2 / 3), "0.666666667"),
        (1e-12, "1.0e-12"),
        (123456789012.0, "1.23456789e+11"),
        (5.0, "5.0"),
        (-2e9, "-2.0e+09"),
        (np.float64(100.0), "100.0"),
        (math.nan, ""),
        (np.float64("nan"), ""),
        (None, ""),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (7, "7"),
        (True, "TRUE"),
        (False, "FALSE"),
        ("a,b", '"a,b"'),
        ("é", "é"),
    ],
)
def test_cells(value: object, cell: str) -> None:
    assert csv_text([[value, "end"]]) == f"{cell},end\n"


def test_tables_are_utf8_with_lf_and_start_with_the_runs_own_columns(tmp_path: Path) -> None:
    run = run_directory(tmp_path, variant="größer", seed=3)
    run.path.mkdir()
    run.start_tables()
    row = [10, "linear", "gaussian", 64, 1 / 3, math.nan, 1e-3, 640, 640]
    run.append("training", [row])
    run.append("training", [row])
    run.flush()
    raw = run.table("training").read_bytes()
    lines = raw.decode("utf-8").split("\n")
    assert b"\r" not in raw
    assert lines[0] == ",".join(COLUMNS["training"])
    cells = "mine,größer-seed3,größer,3,10,linear,gaussian,64,0.333333333,,0.001,640,640"
    assert lines[1:] == [cells, cells, ""]


def test_numbers_survive_to_nine_digits(tmp_path: Path) -> None:
    values = np.random.default_rng(0).lognormal(sigma=20, size=50)
    write_atomically(tmp_path / "t.csv", csv_text([["value"], *([value] for value in values)]))
    np.testing.assert_allclose(pd.read_csv(tmp_path / "t.csv")["value"], values, rtol=5e-9)


def test_starting_anew_empties_every_table(tmp_path: Path) -> None:
    run = made_up_run(tmp_path)
    run.start_tables()
    for name in ("training", "learning", "curriculum", "timing"):
        assert run.table(name).read_text() == ",".join(COLUMNS[name]) + "\n"
    assert not run.table("evaluation").exists()


# Atomic writes


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError("no space left on device")

    file = tmp_path / "table.csv"
    write_atomically(file, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(file, "new")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_writer_that_fails_halfway_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "state.pt"
    write_atomically(file, b"old")
    with pytest.raises(TypeError), atomic_path(file) as temporary, temporary.open("wb") as half:
        half.writelines([b"ne", "w"])  # type: ignore[list-item]
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_a_write_replaces_the_file_and_makes_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "table.csv"
    write_atomically(file, "old")
    write_atomically(file, "new")
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o044 == 0o044, "others may read it"


# Lock


def test_a_run_has_one_holder_at_a_time(tmp_path: Path) -> None:
    first, second = run_directory(tmp_path), run_directory(tmp_path)
    with (
        first.locked(),
        pytest.raises(Locked, match=r"mixed-seed0 is in use by process \d+ on .*write to another folder"),
        second.locked(),
    ):
        pass
    with second.locked():
        pass


def test_a_lock_is_released_by_an_error(tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    with pytest.raises(ZeroDivisionError), run.locked():
        _ = 1 // 0
    with run.locked():
        pass


def test_other_runs_are_free_meanwhile(tmp_path: Path) -> None:
    with run_directory(tmp_path, seed=0).locked(), run_directory(tmp_path, seed=1).locked():
        pass


# Cutting back


def test_tables_are_cut_back_to_a_checkpoint(tmp_path: Path) -> None:
    run = made_up_run(tmp_path)
    lengths, before = run.table_lengths(), run.table("training").read_bytes()
    run.append("training", [[1, "x"]])
    run.flush()
    with run.table("training").open("a") as handle:
        handle.write("a torn li")
    run.cut_tables(lengths)
    assert run.table("training").read_bytes() == before


@pytest.mark.parametrize("damage", ["shorter", "missing"])
def test_a_table_shorter_than_its_checkpoint_is_damaged(tmp_path: Path, damage: str) -> None:
    run = made_up_run(tmp_path)
    lengths = run.table_lengths()
    table = run.table("learning")
    table.unlink() if damage == "missing" else os.truncate(table, 10)
    found = 0 if damage == "missing" else 10
    with pytest.raises(UserError) as error:
        run.cut_tables(lengths)
    for part in (str(table), "damaged", f"{lengths['learning']} bytes", f"found {found}", "fresh=True"):
        assert part in str(error.value)


# Manifest


@pytest.mark.parametrize("text", ["{", "[]", '{"status": "finished"}', "", "\udcff"])
def test_a_damaged_manifest_is_named_with_the_way_out(tmp_path: Path, text: str) -> None:
    run = made_up_run(tmp_path)
    (run.path / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"manifest\.json is damaged.*fresh=True"):
        read_manifest(run.path)


def test_no_manifest_is_no_error(tmp_path: Path) -> None:
    assert read_manifest(run_directory(tmp_path).path) is None


# The experiment's tables


def runs_in(path: Path, table: str = "runs") -> list[str]:
    return list(pd.read_csv(path / f"{table}.csv")["run"])


def test_collecting_puts_variants_in_the_configs_order_and_seeds_in_numeric_order(tmp_path: Path) -> None:
    for variant, seed in [("a", 10), ("b", 0), ("a", 2), ("a", 1)]:
        made_up_run(tmp_path, variant=variant, seed=seed)
    assert collect(tmp_path, {"b": "h", "a": "h"}).left_out == []
    expected = ["b-seed0", "a-seed1", "a-seed2", "a-seed10"]
    for table in ("runs", *COLUMNS):
        assert runs_in(tmp_path, table) == expected, table


def test_a_collected_table_is_its_runs_under_one_header(tmp_path: Path) -> None:
    runs = [made_up_run(tmp_path, seed=seed) for seed in (0, 1)]
    collect(tmp_path, {"mixed": "h"})
    for name, columns in COLUMNS.items():
        header = runs[0].table(name).read_text().split("\n")[0] + "\n"
        assert [column for column in header.strip().split(",") if column in columns] == columns
        bodies = [run.table(name).read_text().removeprefix(header) for run in runs]
        assert (tmp_path / f"{name}.csv").read_text() == header + "".join(bodies)


def test_runs_csv_has_a_row_per_run_and_no_clock(tmp_path: Path) -> None:
    made_up_run(tmp_path, seed=4)
    collect(tmp_path, {"mixed": "h"})
    (row,) = pd.read_csv(tmp_path / "runs.csv").to_dict("records")
    assert row == {
        "experiment": "mine", "run": "mixed-seed4", "variant": "mixed", "seed": 4, "status": "finished",
        "config_hash": "h", "device": "cpu", "threads": 1, "package_version": 1, "torch_version": 2,
    }  # fmt: skip


def contents(path: Path) -> Mapping[str, bytes]:
    return {file.name: file.read_bytes() for file in path.glob("*.csv")}


def test_collecting_twice_changes_no_byte(tmp_path: Path) -> None:
    for seed in (0, 1):
        made_up_run(tmp_path, seed=seed)
    collect(tmp_path, {"mixed": "h"})
    before = contents(tmp_path)
    collect(tmp_path, {"mixed": "h"})
    assert contents(tmp_path) == before
    assert len(before) == 7


def test_unfinished_runs_are_left_out_and_runs_of_other_configs_named(tmp_path: Path) -> None:
    made_up_run(tmp_path, seed=0)
    made_up_run(tmp_path, seed=1, status="running")
    made_up_run(tmp_path, seed=2, status="diverged")
    made_up_run(tmp_path, seed=3, config_hash="other")
    made_up_run(tmp_path, variant="gone", seed=0)
    made_up_run(tmp_path / "aside", seed=0)
    assert sorted(collect(tmp_path, {"mixed": "h"}).left_out) == ["gone-seed0", "mixed-seed3"]
    assert runs_in(tmp_path) == runs_in(tmp_path, "training") == ["mixed-seed0"]


def test_nothing_to_collect_is_an_error(tmp_path: Path) -> None:
    made_up_run(tmp_path, status="running")
    with pytest.raises(UserError, match="holds no finished run of this experiment"):
        collect(tmp_path, {"mixed": "h"})


def damage(table: Path, how: str) -> None:
    text = table.read_text()
    if how == "missing":
        table.unlink()
    elif how == "another header":
        table.write_text(text.replace("step", "time", 1))
    elif how == "empty":
        table.write_text("")
    else:
        table.write_text(text[:-3])


@pytest.mark.parametrize("how", ["another header", "empty", "missing", "cut within a line"])
def test_a_run_with_a_damaged_table_is_left_out_and_named(tmp_path: Path, how: str) -> None:
    made_up_run(tmp_path, seed=0)
    run = made_up_run(tmp_path, seed=1)
    damage(run.table("learning"), how)
    problem = collect(tmp_path, {"mixed": "h"}).damaged["mixed-seed1"]
    assert problem.startswith(f"{run.table('learning')} is damaged: ")
    assert runs_in(tmp_path) == runs_in(tmp_path, "learning") == ["mixed-seed0"]
    with pytest.raises(UserError, match=r"mixed-seed1/learning\.csv is damaged: "):
        collect(tmp_path, {"gone": "h"})


# NAME


def test_results_are_an_existing_folder_or_a_name_under_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "results"
    for path in (results / "mixed", tmp_path / "elsewhere" / "mine"):
        path.mkdir(parents=True)
    assert find_results("mixed", results) == results / "mixed"
    assert find_results("elsewhere/mine", results) == Path("elsewhere/mine")
    with pytest.raises(UserError, match=r"no results for 'mixxed' in .*results; did you mean 'mixed'?"):
        find_results("mixxed", results)
    with pytest.raises(UserError, match="no results for 'mixed' in nowhere"):
        find_results("mixed", Path("nowhere"))


def test_the_columns_are_those_that_readers_were_promised() -> None:
    expected: dict[str, Any] = {
        "training": "step function_class input_distribution n_prompts loss normalized_loss learning_rate prompts_seen "
        "class_prompts_seen",
        "learning": "step prompts_seen function_class input_distribution n_context metric value",
        "evaluation": "step learner learner_kind function_class input_distribution shift in_distribution n_context "
        "metric value ci_low ci_high n_prompts",
        "exposure": "step function_class input_distribution prompts flops",
        "curriculum": "step function_class input_distribution planned_share drawn_share",
    }
    for name, columns in expected.items():
        assert COLUMNS[name] == [*RUN, *columns.split()]
    assert COLUMNS["timing"][:4] == [*RUN]
