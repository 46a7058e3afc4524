"""Baselines and oracles stand once in an experiment's evaluation.csv, and each run has them again where it is read."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from places import EXAMPLE
from several_variants import trained

from icl_curriculum.core.errors import UserError
from icl_curriculum.results.columns import TABLES
from icl_curriculum.results.standing_once import standing_once
from icl_curriculum.results.tables import final, of_variant, read_as_written, read_table
from icl_curriculum.runs.results import Results

HEADER = TABLES["evaluation"].header
OF_RUN = ["run", "variant", "seed", "step"]


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """The results of three variants with two seeds each."""
    return trained(tmp_path)


def rows_of(text: str) -> list[dict[str, str]]:
    return [dict(zip(HEADER, row, strict=True)) for row in csv.reader(io.StringIO(text))]


def row(variant: str, seed: int, learner: str, value: str, *, inside: str = "FALSE", function_class: str = "f") -> str:
    kind = "model" if learner == "model" else "baseline"
    run = f"e,{variant}-seed{seed},{variant},{seed},9"
    return f"{run},{learner},{kind},{function_class},gaussian,none,{inside},0,error,{value},,,4\n"


def test_they_stand_once_after_the_models_of_all_runs(several: Path) -> None:
    table = pd.read_csv(several / "evaluation.csv")
    shared = table["run"].isna()
    assert shared.equals(table["learner_kind"] != "model")
    assert table.loc[shared, OF_RUN].isna().all(axis=None)
    assert table.loc[~shared, OF_RUN].notna().all(axis=None)
    assert shared.is_monotonic_increasing
    assert (
        not table[shared]
        .duplicated(["learner", "function_class", "input_distribution", "shift", "n_context", "metric"])
        .any()
    )
    own = pd.read_csv(several / "alone-seed1/evaluation.csv").query("learner_kind != 'model'")
    known = [column for column in HEADER if column not in (*OF_RUN, "in_distribution")]
    pd.testing.assert_frame_equal(table.loc[shared, known].reset_index(drop=True), own[known].reset_index(drop=True))


def test_the_table_of_three_seeds_is_hardly_larger_than_that_of_one() -> None:
    whole = (EXAMPLE / "evaluation.csv").stat().st_size
    assert whole < 1.15 * (EXAMPLE / "mixed-seed0/evaluation.csv").stat().st_size
    # Two fifths of what it was when it stood there once for each seed.
    assert whole < 0.4 * 8_273_556


def test_they_are_in_distribution_where_any_variants_model_is(several: Path) -> None:
    # One variant is trained on one class, the others on both.
    table = pd.read_csv(several / "evaluation.csv")
    of_zero = table[(table["learner"] == "zero") & (table["shift"] == "none")]
    models = table[table["learner_kind"] == "model"]
    assert not models.query("variant == 'alone' and function_class == 'linear'")["in_distribution"].any()
    keys = ["function_class", "input_distribution", "shift", "n_context"]
    expected = models.groupby(keys)["in_distribution"].any()
    found = of_zero.groupby(keys)["in_distribution"].any()
    assert found.any()
    pd.testing.assert_series_equal(found, expected.loc[found.index])


def test_comparisons_get_the_tables_of_all_runs_one_after_the_other(several: Path) -> None:
    runs = [f"{variant}-seed{seed}" for variant in ("alone", "sequential", "mixed") for seed in (0, 1)]
    expected = pd.concat([pd.read_csv(several / run / "evaluation.csv") for run in runs], ignore_index=True)
    found = read_table(several, "evaluation")
    assert str(found["seed"].dtype) == "int64"
    for column in HEADER:
        pd.testing.assert_series_equal(
            found[column].astype(expected[column].dtype), expected[column], check_names=False
        )


def test_python_gets_the_table_as_it_is_written(several: Path) -> None:
    found, expected = Results.open(several).evaluation, pd.read_csv(several / "evaluation.csv")
    assert len(found) == len(expected)
    assert list(found["run"].isna()) == list(expected["run"].isna())


def test_figures_take_the_table_as_it_is_written(several: Path) -> None:
    """Without the variant, baselines would be of none, and a table of one variant would seem to have two."""
    full = read_table(several, "evaluation")
    for written in (Results(several).evaluation, pd.read_csv(several / "evaluation.csv")):
        for variant in ("alone", None):
            found, expected = (
                final(table if variant is None else of_variant(table, variant)) for table in (written, full)
            )
            pd.testing.assert_frame_equal(
                found.astype(object).reset_index(drop=True), expected.astype(object).reset_index(drop=True)
            )
    example = Results(EXAMPLE).evaluation
    assert set(of_variant(example, None)["learner_kind"]) == {"model", "baseline", "oracle"}


def test_variants_with_other_numbers_have_their_own() -> None:
    runs = [
        row("a", seed, "model", "1.0") + row("a", seed, "zero", "2.0") + row("a", seed, "knn", "3.0") for seed in (0, 1)
    ] + [row("b", 0, "model", "1.5") + row("b", 0, "zero", "2.5")]
    found = [
        (one["variant"], one["run"], one["step"], one["learner"], one["value"])
        for one in rows_of("".join(standing_once(runs)))
    ]
    assert found == [
        ("a", "a-seed0", "9", "model", "1.0"),
        ("a", "a-seed1", "9", "model", "1.0"),
        ("b", "b-seed0", "9", "model", "1.5"),
        ("a", "", "", "zero", "2.0"),
        ("b", "", "", "zero", "2.5"),
        ("a", "", "", "knn", "3.0"),
    ]


def test_seeds_with_other_numbers_have_their_own() -> None:
    runs = [row("a", seed, "model", "1.0") + row("a", seed, "zero", f"2.{seed}") for seed in (0, 1)]
    runs += [row("b", seed, "model", "1.0") + row("b", seed, "zero", "2.0") for seed in (0, 1)]
    found = rows_of("".join(standing_once(runs)))[4:]
    assert [(one["variant"], one["run"], one["seed"], one["step"], one["value"]) for one in found] == [
        ("a", "a-seed0", "0", "9", "2.0"),
        ("a", "a-seed1", "1", "9", "2.1"),
        ("b", "", "", "", "2.0"),
    ]


def test_each_variant_gets_its_own_rows_again(tmp_path: Path) -> None:
    runs = [
        "".join(row(variant, 0, who, value, inside="TRUE" if name == variant else "FALSE", function_class=name)
                for name in order for who, value in (("model", "1.0"), (learner, f"{base}.0")))
        for variant, order, learner, base in (("f", "fg", "zero", 2), ("g", "gf", "zero", 3), ("h", "gf", "knn", 4))
    ]  # fmt: skip
    (tmp_path / "evaluation.csv").write_text(",".join(HEADER) + "\n" + "".join(standing_once(runs)))
    whole = pd.read_csv(io.StringIO(",".join(HEADER) + "\n" + "".join(runs)))
    found = read_table(tmp_path, "evaluation")
    for column in HEADER:
        pd.testing.assert_series_equal(found[column].astype(whole[column].dtype), whole[column], check_names=False)


def test_names_with_commas_and_quotes() -> None:
    name = '"knn, ""k"", 3"'
    text = (
        row("a", 0, "model", "1.0")
        + row("a", 0, name, "2.0")
        + row("a", 0, name, "2.0").replace(",0,error", ",1,error")
    )
    found = rows_of("".join(standing_once([text, text.replace("a-seed0,a,0", "a-seed1,a,1")])))
    assert [(one["learner"], one["n_context"]) for one in found[2:]] == [('knn, "k", 3', "0"), ('knn, "k", 3', "1")]


@pytest.mark.parametrize(
    ("column", "expected"),
    [("run", "text, found nothing"), ("step", "a number"), ("variant", "text, found nothing"), ("seed", "a number")],
)
def test_a_model_without_its_run_is_damage(tmp_path: Path, column: str, expected: str) -> None:
    cells = row("a", 0, "model", "1.0").split(",")
    cells[HEADER.index(column)] = ""
    (tmp_path / "evaluation.csv").write_text(",".join(HEADER) + "\n" + ",".join(cells))
    with pytest.raises(UserError, match=rf"row 1 of column '{column}': expected {expected}"):
        read_as_written(tmp_path, "evaluation")
