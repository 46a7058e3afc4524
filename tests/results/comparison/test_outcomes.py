"""What comparisons say of every run, from tables whose every number is known, and what they say is missing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_runs import FLOPS, MISSING, K, Told, write_manifest, write_runs

from icl_curriculum.core.errors import UserError
from icl_curriculum.results.comparison.outcomes import QUANTITIES, Outcomes, outcomes
from icl_curriculum.results.comparison.sources import open_source
from icl_curriculum.results.comparison.summary import Numbers, summary
from icl_curriculum.results.tables import read_table

NAN, INF = math.nan, math.inf

#: Linear in the first half, quadratic in the second, measured at every quarter.
FIRST = Told(
    "sequential",
    errors={0: 1.0, 25: 0.8, 50: 0.3, 75: 0.5, 100: 0.7},
    shares={25: 1.0, 50: 1.0, 75: 0.0, 100: 0.0},
    error=(0.72, 0.6, 0.9),
    shifts={"scaled_inputs/2": 2.0, "label_noise/0.5": 0.4},
    inputs={"skewed": 3.0},
)
SECOND = Told(
    "sequential",
    function_class="quadratic",
    errors={0: 1.2, 25: 1.1, 50: 1.0, 75: 0.85, 100: 0.4},
    shares={25: 0.0, 50: 0.0, 75: 1.0, 100: 1.0},
    error=(0.45, 0.4, 0.5),
    shifts={"scaled_inputs/2": 5.0},
    inputs={"skewed": 0.6},
)


def found_in(directory: Path, *told: Told, exposure: bool = True, **options: Any) -> Outcomes:
    return outcomes(open_source(write_runs(directory, told, exposure=exposure)), **options)


def only(found: Outcomes, **where: Any) -> dict[str, Any]:
    """The one row of these columns, but for those that it was found by."""
    rows = found.rows
    for column, value in where.items():
        rows = rows[rows[column] == value]
    (row,) = rows.to_dict("records")
    return {str(name): value for name, value in row.items() if name not in where}


def one(directory: Path, **changes: Any) -> dict[str, Any]:
    return only(found_in(directory, Told("alone", **changes)))


# Every quantity by hand


def test_what_became_of_a_class_that_was_trained_first(tmp_path: Path) -> None:
    assert only(found_in(tmp_path, FIRST, SECOND), function_class="linear") == pytest.approx(
        {
            "experiment": "made_up", "variant": "sequential", "seed": 0, "input_distribution": "gaussian",
            "n_context": K, "metric": "normalized_error", "steps": 100.0, "trained": True, "single": False,
            "prompts": 400.0, "flops": 400.0 * FLOPS, "error": 0.72, "error_low": 0.6, "error_high": 0.9,
            "plateau_end": 25.0, "steps_to_error": 50.0, "prompts_to_error": 400.0,
            "error_after_block": 0.3, "forgotten": 0.7 - 0.3, "worst_error": 3.0, "worst_shift": "skewed",
        }
    )  # fmt: skip


def test_what_became_of_a_class_that_was_trained_last(tmp_path: Path) -> None:
    found = only(found_in(tmp_path, FIRST, SECOND), function_class="quadratic")
    assert math.isnan(found.pop("error_after_block"))
    assert math.isnan(found.pop("forgotten")), "it was trained to the end"
    assert found == pytest.approx(
        {
            "experiment": "made_up", "variant": "sequential", "seed": 0, "input_distribution": "gaussian",
            "n_context": K, "metric": "normalized_error", "steps": 100.0, "trained": True, "single": False,
            "prompts": 400.0, "flops": 400.0 * FLOPS, "error": 0.45, "error_low": 0.4, "error_high": 0.5,
            "plateau_end": 75.0, "steps_to_error": 100.0, "prompts_to_error": 400.0,
            "worst_error": 5.0, "worst_shift": "scaled_inputs/2",
        }
    )  # fmt: skip


def test_columns_are_those_that_are_explained(tmp_path: Path) -> None:
    columns = list(found_in(tmp_path, FIRST).rows.columns)
    head = ["experiment", "variant", "seed", "function_class", "input_distribution", "n_context", "metric"]
    assert columns == [*head, *QUANTITIES]


def test_the_tables_pass_for_real_ones(tmp_path: Path) -> None:
    write_runs(tmp_path, [FIRST, SECOND])
    written = {path.stem for path in tmp_path.glob("*.csv")}
    assert len(written) == 4
    for name in written:
        assert len(read_table(tmp_path, name)) > 0


def test_curves_are_the_measurements_with_what_had_been_spent(tmp_path: Path) -> None:
    curves = found_in(tmp_path, FIRST, SECOND).curves
    assert set(curves) == {("sequential", 0, name, "gaussian") for name in ("linear", "quadratic")}
    curve = curves["sequential", 0, "linear", "gaussian"]
    np.testing.assert_array_equal(curve.steps, [0, 25, 50, 75, 100])
    np.testing.assert_array_equal(curve.prompts, [0, 200, 400, 400, 400])
    np.testing.assert_array_equal(curve.errors, [1.0, 0.8, 0.3, 0.5, 0.7])


def test_rows_are_in_the_order_of_variants_then_cells_then_seeds(tmp_path: Path) -> None:
    told = [
        Told(variant, seed, function_class)
        for variant in ("b", "a")
        for seed in (2, 10)
        for function_class in ("quadratic", "linear")
    ]
    rows = found_in(tmp_path, *told).rows
    assert rows[["variant", "function_class", "seed"]].to_numpy().tolist() == [
        [variant, function_class, seed]
        for variant in ("b", "a")
        for function_class in ("quadratic", "linear")
        for seed in (2, 10)
    ]
    assert list(rows.index) == list(range(8))


def test_every_run_has_its_own_numbers(tmp_path: Path) -> None:
    """Another seed, and a variant that trained for fewer steps."""
    brief = Told("brief", errors={0: 1.0, 50: 0.55}, shares={50: 1.0}, error=(0.6, 0.5, 0.7))
    found = found_in(tmp_path, Told("long"), Told("long", 1, errors={0: 1.0, 50: 0.4, 100: 0.1}), brief)
    assert found.rows["steps"].tolist() == [100, 100, 50]
    assert found.rows["steps_to_error"].tolist() == [100, 50, INF]
    assert found.rows["prompts"].tolist() == [800, 800, 400]
    assert found.rows["error"].tolist() == [0.25, 0.25, 0.6]


# Trained, and on what


@pytest.mark.parametrize(
    ("shares", "trained", "single"),
    [
        ({50: 1.0, 100: 1.0}, True, True),
        ({50: 1.0, 100: 0.5}, True, False),
        ({50: 0.0, 100: 1e-6}, True, False),
        ({50: 0.0, 100: 0.0}, False, False),
    ],
)
def test_a_cell_is_trained_where_it_ever_had_a_share(
    tmp_path: Path, shares: dict[int, float], trained: bool, single: bool
) -> None:
    rest = {step: 1 - share for step, share in shares.items()}
    row = only(
        found_in(tmp_path, Told("a", shares=shares), Told("a", function_class="quadratic", shares=rest)),
        function_class="linear",
    )
    assert (row["trained"], row["single"]) == (trained, single)


def test_other_inputs_of_the_class_are_not_nothing_else(tmp_path: Path) -> None:
    half = {50: 0.5, 100: 0.5}
    found = found_in(tmp_path, Told("a", shares=half), Told("a", input_distribution="skewed", shares=half))
    assert found.rows["single"].tolist() == [False, False]


def test_what_another_run_was_trained_on_is_no_matter(tmp_path: Path) -> None:
    none = {50: 0.0, 100: 0.0}
    found = found_in(
        tmp_path,
        *(Told("a"), Told("a", function_class="quadratic", shares=none)),
        *(Told("b", shares=none), Told("b", function_class="quadratic")),
        *(Told("a", 1, shares={50: 1.0, 100: 0.0}), Told("a", 1, "quadratic", shares={50: 0.0, 100: 1.0})),
    )
    single = found.rows.set_index(["variant", "seed", "function_class"])["single"].to_dict()
    assert single == {
        ("a", 0, "linear"): True, ("a", 0, "quadratic"): False, ("b", 0, "linear"): False,
        ("b", 0, "quadratic"): True, ("a", 1, "linear"): False, ("a", 1, "quadratic"): False,
    }  # fmt: skip


def test_a_cell_that_was_never_trained_has_an_error_and_no_more(tmp_path: Path) -> None:
    shares = {50: 0.0, 100: 0.0}
    row = one(tmp_path, shares=shares, errors={0: 1.0, 50: 0.4, 100: 0.45}, shifts={"scaled_inputs/2": 9.0})
    assert (row["prompts"], row["flops"]) == (0, 0)
    assert (row["error"], row["plateau_end"], row["steps_to_error"]) == (0.25, 50, 50)
    for missing in ("prompts_to_error", "error_after_block", "forgotten", "worst_error"):
        assert math.isnan(row[missing]), missing
    assert row["worst_shift"] == ""


# Reaching the threshold


@pytest.mark.parametrize(
    ("threshold", "steps", "prompts"), [(0.8, 25, 200), (0.5, 50, 400), (0.3, 50, 400), (0.2, INF, INF), (1.0, 0, 0)]
)
def test_the_threshold_can_be_told(tmp_path: Path, threshold: float, steps: float, prompts: float) -> None:
    found = found_in(tmp_path, FIRST, SECOND, threshold=threshold)
    row = only(found, function_class="linear")
    assert (row["steps_to_error"], row["prompts_to_error"]) == (steps, prompts)
    assert found.threshold == threshold


def test_the_level_of_intervals_over_prompts_is_the_runs_own(tmp_path: Path) -> None:
    """evaluation.confidence of the config: intervals of another level are no other spread over prompts."""
    directory = write_runs(tmp_path, [FIRST])
    assert outcomes(open_source(directory)).prompt_confidence == 0.9
    folder = write_manifest(directory, FIRST.variant)
    (folder / "config.toml").write_text("[evaluation]\nconfidence = 0.5\n", encoding="utf-8")
    found = outcomes(open_source(directory))
    assert found.prompt_confidence == 0.5
    spread = Numbers(summary(found))("error", "prompt_sd", FIRST.variant, found.cells[0]).value
    row = only(found, function_class=found.cells[0][0])
    assert spread == pytest.approx((row["error_high"] - row["error_low"]) / 2 / 0.67449, rel=1e-4)


def test_a_model_that_learned_nothing_reached_nothing(tmp_path: Path) -> None:
    row = one(tmp_path, errors={0: 1.0, 50: 1.1, 100: 0.99})
    assert (row["plateau_end"], row["steps_to_error"], row["prompts_to_error"]) == (INF, INF, INF)


# Forgetting


def test_what_is_trained_again_at_the_end_is_not_forgotten(tmp_path: Path) -> None:
    row = one(tmp_path, errors={0: 1.0, 50: 0.5, 75: 0.9, 100: 0.4}, shares={50: 1.0, 75: 0.0, 100: 1.0})
    assert math.isnan(row["error_after_block"])
    assert math.isnan(row["forgotten"])


def test_the_last_of_several_blocks_counts(tmp_path: Path) -> None:
    errors = {0: 1.0, 25: 0.5, 50: 0.8, 75: 0.3, 100: 0.2}
    row = one(tmp_path, errors=errors, shares={25: 1.0, 50: 0.0, 75: 1.0, 100: 0.0})
    assert row["error_after_block"] == 0.3
    assert row["forgotten"] == pytest.approx(-0.1), "others may help"


def test_where_the_block_ends_between_measurements_the_one_before_counts(tmp_path: Path) -> None:
    shares = {10 * n: float(n <= 6) for n in range(1, 11)}
    row = one(tmp_path, errors={0: 1.0, 25: 0.8, 50: 0.3, 75: 0.5, 100: 0.7}, shares=shares)
    assert row["error_after_block"] == 0.3


def test_a_model_that_overflowed_forgot_infinitely_much(tmp_path: Path) -> None:
    shares = {50: 1.0, 100: 0.0}
    row = one(tmp_path / "after", errors={0: 1.0, 50: 0.5, 100: MISSING}, shares=shares)
    assert (row["error_after_block"], row["forgotten"]) == (0.5, INF)
    row = one(tmp_path / "before", errors={0: 1.0, 50: INF, 100: INF}, shares=shares)
    assert row["error_after_block"] == INF
    assert math.isnan(row["forgotten"]), "how much of it cannot be said"


# Errors and shifts


@pytest.mark.parametrize("value", [MISSING, INF])
def test_an_error_that_is_missing_is_infinite(tmp_path: Path, value: float) -> None:
    row = one(tmp_path, error=(value, MISSING, MISSING), errors={0: 1.0, 50: value, 100: 0.3})
    assert row["error"] == INF
    assert math.isnan(row["error_low"])
    assert math.isnan(row["error_high"])
    assert (row["plateau_end"], row["steps_to_error"]) == (100, 100)


def test_a_shift_that_overflows_is_the_worst(tmp_path: Path) -> None:
    row = one(tmp_path, shifts={"scaled_inputs/2": 5.0, "label_noise/0.5": MISSING}, inputs={"skewed": 7.0})
    assert (row["worst_error"], row["worst_shift"]) == (INF, "label_noise/0.5")


def test_without_shifts_there_is_no_worst_one(tmp_path: Path) -> None:
    row = one(tmp_path)
    assert math.isnan(row["worst_error"])
    assert row["worst_shift"] == ""


def test_a_cell_of_the_experiment_is_no_shift_of_another(tmp_path: Path) -> None:
    """Where it trains on both inputs; shifts count for the inputs that they change."""
    half = {50: 0.5, 100: 0.5}
    found = found_in(
        tmp_path,
        Told("a", shares=half, shifts={"scaled_inputs/2": 2.0}),
        Told("a", input_distribution="skewed", shares=half, error=(9.0, 8.0, 10.0), shifts={"scaled_inputs/2": 4.0}),
    )
    assert only(found, input_distribution="gaussian")["worst_error"] == 2.0
    assert only(found, input_distribution="skewed")["worst_error"] == 4.0


def test_a_shift_belongs_to_its_class_and_run(tmp_path: Path) -> None:
    found = found_in(
        tmp_path,
        Told("a", shifts={"scaled_inputs/2": 2.0}),
        Told("a", 1, shifts={"scaled_inputs/2": 3.0}),
        Told("b", function_class="quadratic", shifts={"scaled_inputs/2": 4.0}),
    )
    assert found.rows["worst_error"].tolist() == [2.0, 3.0, 4.0]


def test_longer_prompts_count_at_the_trained_length(tmp_path: Path) -> None:
    """At which all errors are taken: beyond it, the made up errors are fifty times as high."""
    row = one(tmp_path, shifts={"longer_prompts/2": 1.5})
    assert (row["worst_error"], row["worst_shift"]) == (1.5, "longer_prompts/2")


def test_where_the_mean_is_infinite_the_median_error_stands_in(tmp_path: Path) -> None:
    heavy = Told(
        "a", input_distribution="student_t", shares={50: 0.5, 100: 0.5}, metric="median_error", error=(0.35, 0.3, 0.4)
    )
    found = found_in(tmp_path, Told("a", shares={50: 0.5, 100: 0.5}), heavy)
    assert found.rows["metric"].tolist() == ["normalized_error", "median_error"]
    assert only(found, input_distribution="student_t")["error"] == 0.35


# What is missing


def test_without_a_ledger_everything_but_exposure_is_there(tmp_path: Path) -> None:
    source = open_source(write_runs(tmp_path, [FIRST, SECOND, Told("sequential", 1)], exposure=False))
    assert source.exposure is None
    assert source.missing == (
        "There is no exposure.csv: the runs are of an earlier version of icl_curriculum, so what was spent on each "
        "class, and every comparison at equal exposure, is left out.",
    )
    found = outcomes(source)
    row = only(found, function_class="linear", seed=0)
    for missing in ("prompts", "flops", "prompts_to_error"):
        assert math.isnan(row[missing]), missing
    assert (row["steps_to_error"], row["forgotten"], row["worst_error"]) == (50, pytest.approx(0.4), 3.0)
    assert np.isnan(found.curves["sequential", 0, "linear", "gaussian"].prompts).all()


ONE_SEED = "There is one training seed only: nothing can be said on how another would end; intervals need two or more."


def missing_in(directory: Path, *told: Told) -> tuple[str, ...]:
    return open_source(write_runs(directory, told)).missing


def test_complete_runs_lack_nothing(tmp_path: Path) -> None:
    told = [Told(variant, seed) for variant in ("a", "b") for seed in (0, 1)]
    for each in told:
        write_manifest(tmp_path, each.variant, each.seed)
    assert missing_in(tmp_path, *told) == ()


def test_one_seed_is_named(tmp_path: Path) -> None:
    assert missing_in(tmp_path, Told("a", 3), Told("b", 3)) == (ONE_SEED,)


def test_a_seed_that_other_variants_have_is_missed(tmp_path: Path) -> None:
    assert missing_in(tmp_path, Told("a", 0), Told("a", 1), Told("b", 1), Told("c", 0)) == (
        "Missing, though other variants have that seed: b-seed0, c-seed1.",
    )


def test_runs_that_were_begun_are_named_and_not_missed_twice(tmp_path: Path) -> None:
    write_manifest(tmp_path, "b", 1, status="diverged")
    write_manifest(tmp_path, "a", 2, status="running")
    assert missing_in(tmp_path, Told("a", 0), Told("a", 1), Told("b", 0), Told("c", 0)) == (
        "Missing, though other variants have that seed: c-seed1.",
        "Begun but not finished, and so left out: a-seed2 (running), b-seed1 (diverged).",
    )


def test_what_was_moved_aside_is_no_run(tmp_path: Path) -> None:
    write_manifest(tmp_path / "aside", "a", 5, status="running")
    assert missing_in(tmp_path, Told("a", 0), Told("a", 1)) == ()


def test_different_versions_are_named(tmp_path: Path) -> None:
    write_manifest(tmp_path, "a", 0, version="0.2.1")
    write_manifest(tmp_path, "a", 1, version="0.2.0")
    assert missing_in(tmp_path, Told("a", 0), Told("a", 1)) == (
        "The runs were made by different versions of icl_curriculum: 0.2.0, 0.2.1.",
    )


def test_the_version_of_a_run_that_is_not_in_the_tables_is_no_matter(tmp_path: Path) -> None:
    """A variant that the experiment no longer has, or a seed of another config, stays in the folder."""
    for seed in (0, 1):
        write_manifest(tmp_path, "a", seed)
    write_manifest(tmp_path, "gone", 0, version="0.1.0")
    source = open_source(write_runs(tmp_path, [Told("a", 0), Told("a", 1)]))
    assert source.missing == ()
    assert set(source.manifests) == {"a-seed0", "a-seed1"}


def test_a_folder_of_unfinished_runs_says_how_far_they_are(tmp_path: Path) -> None:
    write_manifest(tmp_path, "a", 1, status="diverged")
    write_manifest(tmp_path, "a", 0, status="running")
    with pytest.raises(UserError) as error:
        open_source(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} holds no finished run (a-seed0 is running, a-seed1 is diverged); the command that began them "
        "goes on with them"
    )


def test_an_empty_folder_has_no_tables(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"evaluation\.csv is missing: .* run the experiment first"):
        open_source(tmp_path)


def test_scores_without_a_model_are_no_experiment(tmp_path: Path) -> None:
    write_runs(tmp_path, [FIRST])
    table = pd.read_csv(tmp_path / "evaluation.csv", keep_default_na=False)
    table[table["learner_kind"] != "model"].to_csv(tmp_path / "evaluation.csv", index=False)
    with pytest.raises(UserError) as error:
        open_source(tmp_path)
    assert str(error.value) == (f"{tmp_path}: its tables hold no trained model; expected the results of an experiment")


@pytest.mark.parametrize("table", ["learning", "curriculum"])
def test_other_tables_that_are_missing_are_named(tmp_path: Path, table: str) -> None:
    write_runs(tmp_path, [FIRST])
    (tmp_path / f"{table}.csv").unlink()
    with pytest.raises(UserError, match=rf"{table}\.csv is missing"):
        open_source(tmp_path)


def test_a_damaged_ledger_is_named_and_not_left_out(tmp_path: Path) -> None:
    write_runs(tmp_path, [FIRST])
    ledger = tmp_path / "exposure.csv"
    ledger.write_text(ledger.read_text().replace("made_up,sequential-seed0,sequential,0,25,", "a,b,c,0,-25,", 1))
    with pytest.raises(UserError, match=r"exposure\.csv is damaged: row 2 of column 'step'"):
        open_source(tmp_path)


def test_a_source_knows_its_variants_seeds_and_cells(tmp_path: Path) -> None:
    told = [Told("b", 10, "quadratic"), Told("b", 10), Told("a", 2, input_distribution="skewed")]
    source = open_source(write_runs(tmp_path, told))
    assert (source.name, source.directory) == ("made_up", tmp_path)
    assert (source.variants, source.seeds) == (["b", "a"], [2, 10])
    assert source.cells == [("quadratic", "gaussian"), ("linear", "gaussian"), ("linear", "skewed")]
