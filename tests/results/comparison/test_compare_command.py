"""`icl compare`: what it prints and writes, and what it refuses to set side by side."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from resealed import reseal, tables_alone
from several_variants import train, trained
from tiny_runs import Icl

from icl_curriculum.results.columns import TABLES

# Pictures are tested in tests/figures and tests/pages.
pytestmark = pytest.mark.usefixtures("unpictured")


@pytest.fixture
def several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return trained(tmp_path)


def summary(folder: Path | str) -> pd.DataFrame:
    return pd.read_csv(Path(folder) / "summary.csv", keep_default_na=False, na_values=[""])


def test_the_variants_of_an_experiment(several: Path, icl: Icl) -> None:
    code, printed, said = icl("compare", "several")
    assert code == 0
    assert "quadratic: normalized error at 4 examples, 90% intervals over seeds" in printed
    # Every seed's error, as the table has it.
    errors = pd.read_csv(several / "evaluation.csv")
    own = errors[(errors["variant"] == "mixed") & (errors["learner_kind"] == "model") & (errors["shift"] == "none")]
    own = own[(own["function_class"] == "quadratic") & (own["metric"] == "normalized_error") & (own["n_context"] == 4)]
    assert re.search(rf"^mixed .* {own['value'].iloc[0]:.3f} {own['value'].iloc[1]:.3f}$", printed, re.MULTILINE)
    assert "against alone" in printed
    assert "At 4 examples, after 12 steps, " in printed
    assert said.rstrip().endswith(f"summary: {several / 'summary.csv'}".replace(str(several.parent.parent) + "/", ""))
    table = summary(several)
    assert list(table.columns) == TABLES["summary"].header
    assert set(table["variant"]) == {"alone", "sequential", "mixed"}


def test_errors_at_fewer_examples(several: Path, icl: Icl) -> None:
    before = {path.name for path in several.iterdir()}
    code, printed, _ = icl("compare", "several", "--examples", "2")
    assert code == 0
    assert "quadratic: normalized error at 2 examples, 90% intervals over seeds" in printed
    errors = pd.read_csv(several / "evaluation.csv")
    own = errors[(errors["variant"] == "mixed") & (errors["learner"] == "model") & (errors["shift"] == "none")]
    own = own[(own["function_class"] == "quadratic") & (own["metric"] == "normalized_error") & (own["n_context"] == 2)]
    assert f"{own['value'].iloc[0]:.3f} {own['value'].iloc[1]:.3f}" in printed
    # The summary of the longest prompts stays what it was.
    assert {path.name for path in several.iterdir()} == {*before, "examples_2"}
    assert set(summary(several / "examples_2")["n_context"]) == {2}
    code, _, complaint = icl("compare", "several", "--examples", "5")
    assert (code, complaint) == (2, "error: --examples 5: several has linear with 0 to 4 examples\n")


def test_equal_tables_give_equal_bytes(several: Path, icl: Icl) -> None:
    icl("compare", "several")
    first = (several / "summary.csv").read_bytes()
    icl("compare", "several")
    assert (several / "summary.csv").read_bytes() == first


def test_the_variant_to_compare_with_can_be_chosen(several: Path, icl: Icl) -> None:
    _, printed, _ = icl("compare", "several", "--against", "sequential")
    assert "against sequential" in printed
    assert "\nagainst alone " not in printed
    code, _, complaint = icl("compare", "several", "--against", "sequentil", "--output", "elsewhere")
    assert (code, complaint) == (2, "error: --against: no variant 'sequentil'; did you mean 'sequential'?\n")
    assert not Path("elsewhere").exists()


def test_the_error_to_reach_can_be_chosen(several: Path, icl: Icl) -> None:
    for threshold, share in (("1000", 1.0), ("1e-9", 0.0)):
        code, printed, _ = icl("compare", "several", "--error", threshold)
        assert code == 0
        assert set(summary(several).query("quantity == 'converged'")["value"]) == {share}
        assert f"≤ {float(threshold):g}" in printed
    code, _, complaint = icl("compare", "several", "--error", "-1")
    assert (code, complaint) == (2, "error: --error: expected a number above 0, found -1\n")


def test_several_experiments_by_their_names(several: Path, icl: Icl, tmp_path: Path) -> None:
    shutil.copytree(several, several.with_name("again"))
    code, printed, _ = icl("compare", "several", "again", "--against", "again/mixed")
    assert code == 0
    assert "against again/mixed" in printed
    table = summary("results/compare")
    assert {"several/mixed", "again/mixed"} <= set(table["variant"])
    same = table[(table["variant"] == "several/mixed") & (table["versus"] == "again/mixed")]
    assert set(same[same["statistic"] == "paired_difference"]["value"]) == {0.0}


def test_experiments_of_one_variant_are_called_by_their_folders(tmp_path: Path, icl: Icl, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        changes = {} if name == "one" else {"training.batch_size": 4, "model.width": 4}
        train(tmp_path, name, variants={}, **changes)
    code, _, said = icl("compare", "one", "two")
    assert code == 0
    assert set(summary("results/compare")["variant"]) == {"one", "two"}
    assert "any of which may be the reason: model.width (8, 4), training.batch_size (8, 4)" in said


# What is refused


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"evaluation.bank_seed": 1},
            "other prompts (banks of another evaluation.bank_seed, evaluation.n_prompts, number of dims or v",
        ),
        ({"points": 6}, "prompts of 4 and of 5 examples (linear, gaussian inputs)"),
        ({"evaluation.learning_prompts": 4}, "other prompts while they trained (evaluation.learning_prompts 8, 4)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_other_prompts_are_refused(several: Path, icl: Icl, tmp_path: Path, changes: dict, reason: str) -> None:  # type: ignore[type-arg]
    train(tmp_path, "other", seeds=(0,), variants={}, **changes)
    code, _, complaint = icl("compare", "several", "other")
    assert code == 2
    assert complaint.startswith("error: not comparable: several/")
    assert reason in complaint
    assert not Path("results/compare").exists()


def test_a_run_that_was_evaluated_anew_learned_on_its_old_prompts(several: Path, icl: Icl, tmp_path: Path) -> None:
    """Its errors stand beside those of the same bank; its learning curves are of the bank that it was trained with."""
    train(tmp_path, "other", seeds=(0,), variants={}, **{"evaluation.bank_seed": 1})
    train(tmp_path, "other", seeds=(0,), variants={})
    code, _, complaint = icl("compare", "several", "other")
    assert (code, "other prompts while they trained (evaluation.bank_seed 0, 1)" in complaint) == (2, True)


def test_nothing_in_common_is_refused(several: Path, icl: Icl, tmp_path: Path) -> None:
    train(tmp_path, "other", seeds=(0,), variants={}, function_classes=["relu_network"])
    code, _, complaint = icl("compare", "several", "other")
    assert code == 2
    assert "have nothing in common: no class with the same inputs is in both" in complaint


def changed_table(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    file = folder / "evaluation.csv"
    table = change(pd.read_csv(file, keep_default_na=False, na_values=[""]))
    table.to_csv(file, index=False, lineterminator="\n")


def test_another_normalization_is_refused(several: Path, icl: Icl) -> None:
    other = tables_alone(several, several.with_name("other"))

    def halved(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[table["metric"] == "normalized_error", ["value", "ci_low", "ci_high"]] /= 2
        return table

    changed_table(other, halved)
    code, _, complaint = icl("compare", "several", "other")
    assert code == 2
    assert "another normalization: errors over 2 and over 4 (linear, gaussian inputs)" in complaint


def test_without_manifests_the_baselines_tell_the_banks_apart(several: Path, icl: Icl, tmp_path: Path) -> None:
    """A copy of the tables alone: equal answers of baselines mean equal prompts."""
    bare = several.with_name("bare")
    bare.mkdir()
    for table in several.glob("*.csv"):
        shutil.copy(table, bare)
    assert icl("compare", "several", "bare")[0] == 0

    def moved(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[table["learner"] == "zero", "value"] *= 1.001
        return table

    changed_table(bare, moved)
    code, _, complaint = icl("compare", "several", "bare")
    assert code == 2
    assert "what learners without training answered differs" in complaint

    changed_table(bare, lambda table: table[table["learner_kind"] == "model"])
    code, _, complaint = icl("compare", "several", "bare")
    assert code == 2
    assert "no manifest, and no baseline in common" in complaint


def test_the_same_twice_is_refused(several: Path, icl: Icl) -> None:
    code, _, complaint = icl("compare", "several", "results/several")
    assert (code, complaint) == (2, "error: results/several is named twice; expected every experiment once\n")


def test_two_folders_of_one_experiment_stand_side_by_side(several: Path, icl: Icl, tmp_path: Path) -> None:
    """As `--results` leaves them, which keeps both."""
    shutil.copytree(several, tmp_path / "old/several")
    code, _, _ = icl("compare", "several", tmp_path / "old/several")
    assert code == 0
    variants = set(summary("results/compare")["variant"])
    assert {"results/several/mixed", "old/several/mixed"} <= variants


def test_a_comparison_is_not_written_into_an_experiment_of_that_name(several: Path, icl: Icl) -> None:
    shutil.copytree(several, several.with_name("other"))
    taken = shutil.copytree(several, several.with_name("compare"))
    before = {
        path: path.read_bytes() for path in taken.rglob("*") if path.is_file() and not path.name.startswith(".lock")
    }
    code, _, complaint = icl("compare", "several", "other")
    assert (code, complaint) == (
        2, "error: results/compare is the folder of an experiment; say by --output where the comparison is to go\n"
    )  # fmt: skip
    assert icl("compare", "several", "other", "--output", "results/both")[0] == 0
    assert Path("results/both/summary.csv").is_file()
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("command", ["compare", "report"])
def test_what_is_not_there(several: Path, icl: Icl, command: str) -> None:
    code, _, complaint = icl(command, "sevral")
    assert (code, complaint) == (2, "error: no results for 'sevral' in results; did you mean 'several'?\n")


@pytest.mark.parametrize("command", ["compare", "report"])
def test_no_finished_run(several: Path, icl: Icl, command: str) -> None:
    for table in several.glob("*.csv"):
        table.unlink()
    for manifest in several.glob("*/manifest.json"):
        reseal(manifest, {"status": "running"})
    code, _, complaint = icl(command, "several")
    assert code == 2
    assert complaint.startswith("error: results/several holds no finished run (alone-seed0 is running, ")


@pytest.mark.parametrize("command", ["compare", "report"])
def test_a_damaged_table_is_collected_anew_where_its_runs_are_there(several: Path, icl: Icl, command: str) -> None:
    table, alone = several / "learning.csv", several.with_name("alone")
    whole = table.read_bytes()
    table.write_bytes(whole + b"half a li")
    alone_with_its_seal(several, alone)
    code, _, complaint = icl(command, "alone")
    assert code == 2
    assert complaint.startswith("error: results/alone/learning.csv is damaged: it is not what icl wrote")
    code, _, complaint = icl(command, "several")
    assert code == 0
    assert "note: results/several: learning.csv was not as collected, and was collected anew from the runs" in complaint
    assert table.read_bytes() == whole


def alone_with_its_seal(experiment: Path, copy: Path) -> None:
    """A copy of an experiment's tables without its runs, and with what says how they were collected."""
    shutil.copy(experiment / "collected.json", tables_alone(experiment, copy))


@pytest.mark.usefixtures("two_figures")
@pytest.mark.parametrize("command", ["compare", "report", "plot"])
def test_a_damaged_run_is_left_out_and_named(several: Path, icl: Icl, command: str) -> None:
    table = several / "mixed-seed1/evaluation.csv"
    data = bytearray(table.read_bytes())
    data[-2] ^= 1
    table.write_bytes(data)
    only = ["--variant", "mixed"] if command == "plot" else []
    code, _, complaint = icl(command, "several", *only)
    assert code == 1
    assert complaint.count("damaged: mixed-seed1 is left out: ") == 1
    assert "mixed-seed1/evaluation.csv is damaged: it is not what the run wrote" in complaint
    assert "mixed-seed1" not in set(pd.read_csv(several / "evaluation.csv")["run"].dropna())
    if command == "report":
        page = " ".join((several / "report.html").read_text().split())
        assert "Left out, since a file of it is damaged" in page
        assert "mixed-seed1/evaluation.csv is damaged" in page


def test_a_run_that_is_whole_again_is_collected_again(several: Path, icl: Icl) -> None:
    before = (several / "evaluation.csv").read_bytes()
    manifest = several / "mixed-seed1/manifest.json"
    kept = manifest.read_bytes()
    manifest.unlink()
    code, _, complaint = icl("compare", "several")
    assert code == 1
    assert "mixed-seed1/manifest.json is damaged: it is missing" in complaint
    manifest.write_bytes(kept)
    code, _, complaint = icl("compare", "several")
    assert code == 0
    assert "note: results/several: mixed-seed1 had not been collected yet, and is in the tables now" in complaint
    assert (several / "evaluation.csv").read_bytes() == before


def test_a_run_whose_folder_is_gone_is_said_once(several: Path, icl: Icl) -> None:
    shutil.rmtree(several / "mixed-seed1")
    gone = "note: results/several: mixed-seed1, which stood in the tables, is gone"
    code, _, complaint = icl("compare", "several")
    assert (code, gone in complaint) == (0, True)
    code, _, complaint = icl("compare", "several")
    assert (code, gone in complaint) == (0, False)


def leave_out(file: Path, column: str, value: str) -> None:
    """The rows of a table where a column has a value; the others keep their bytes."""
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table[table[column] != value].to_csv(file, index=False, lineterminator="\n")


@pytest.mark.parametrize("command", ["compare", "report"])
@pytest.mark.parametrize("name", ["learning", "curriculum", "exposure"])
def test_tables_that_were_not_collected_together(several: Path, icl: Icl, command: str, name: str) -> None:
    bare = tables_alone(several, several.with_name("bare"))
    leave_out(bare / f"{name}.csv", "variant", "mixed")
    code, _, complaint = icl(command, "bare")
    assert code == 2
    assert complaint.startswith(
        f"error: results/bare: evaluation.csv holds the run mixed-seed0, {name}.csv does not; restore the tables"
    )
    assert not (bare / "summary.csv").exists()


@pytest.mark.parametrize("command", ["compare", "report"])
@pytest.mark.parametrize("name", ["evaluation", "learning"])
def test_a_class_without_results_is_said(several: Path, icl: Icl, command: str, name: str) -> None:
    bare = tables_alone(several, several.with_name("bare"))
    leave_out(bare / f"{name}.csv", "function_class", "linear")
    code, _, complaint = icl(command, "bare")
    assert code == 0
    assert f"note: {name}.csv holds no error of linear with gaussian inputs, which curriculum.csv has" in complaint
    assert set(summary(bare)["function_class"]) == {"quadratic"}


@pytest.mark.parametrize("command", ["compare", "report"])
def test_what_is_missing_is_said_and_the_rest_is_shown(several: Path, icl: Icl, command: str) -> None:
    bare = tables_alone(several, several.with_name("bare"))
    (bare / "exposure.csv").unlink()
    for name in ("evaluation", "learning", "curriculum"):
        file = bare / f"{name}.csv"
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        table[(table["variant"] != "mixed") | (table["seed"] != "1")].to_csv(file, index=False, lineterminator="\n")
    code, _, complaint = icl(command, "bare")
    assert code == 0
    assert "note: There is no exposure.csv" in complaint
    assert "note: Missing, though other variants have that seed: mixed-seed1." in complaint
    assert not math.isnan(summary(bare).query("variant == 'mixed' and statistic == 'iqm'")["value"].iloc[0])


def test_one_seed_only_is_said(tmp_path: Path, icl: Icl, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    train(tmp_path, "single", seeds=(3,))
    code, printed, said = icl("compare", "single")
    assert code == 0
    assert "There is one training seed only" in said
    assert "of fewer than two seeds in common" in printed
    intervals = summary("results/single").query("statistic == 'iqm'")[["ci_low", "ci_high"]]
    assert intervals.isna().all(axis=None)
