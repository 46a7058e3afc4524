"""summary.csv: each number from the runs' outcomes, by hand, and the sentences that are made of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_outcomes import LINEAR, QUADRATIC, made_up, variant

from icl_curriculum.results.columns import TABLES
from icl_curriculum.results.comparison import sheets, wording
from icl_curriculum.results.comparison.answers import Answer, answers, cell_name
from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.pairs import single_task
from icl_curriculum.results.comparison.summary import (
    ALL,
    SINGLE_TASK,
    Numbers,
    summary,
    summary_rows,
    write_summary,
)
from icl_curriculum.results.statistics.seeds import estimate, paired_difference, probability_of_improvement

ALONE = [0.10, 0.12, 0.11, 0.13, 0.14]
MIXED = [0.30, 0.34, 0.31, 0.33, 0.52]


def curricula(**more: Any) -> Outcomes:
    """One class alone for 100 steps, alone for 25, and two classes mixed."""
    return made_up(
        {
            "alone": variant({QUADRATIC: ALONE}, asked={LINEAR: [1.5] * 5}),
            "brief": variant({QUADRATIC: [0.6] * 5}, asked={LINEAR: [1.5] * 5}, steps=25, prompts=1600.0),
            "mixed": variant({LINEAR: [0.01] * 5, QUADRATIC: MIXED}, prompts=1600.0, **more),
        }
    )


def asked(found: Outcomes) -> Numbers:
    return Numbers(summary(found))


def test_a_row_for_every_seed_and_the_statistics_over_them() -> None:
    table = summary(curricula())
    assert list(table.columns) == TABLES["summary"].header
    own = table[
        (table["variant"] == "mixed") & (table["function_class"] == "quadratic") & (table["quantity"] == "error")
    ]
    own = own[own["versus"].isna()]
    seeds = own[own["statistic"] == "seed"]
    assert list(seeds["seed"]) == [0, 1, 2, 3, 4]
    assert list(seeds["value"]) == MIXED
    found = own.set_index("statistic")
    assert found.loc["mean", "value"] == pytest.approx(np.mean(MIXED))
    assert found.loc["median", "value"] == 0.33
    assert found.loc["iqm", "value"] == pytest.approx((0.31 + 0.33 + 0.34) / 3)
    assert found.loc["iqm", ["ci_low", "ci_high"]].tolist() == [
        (made := estimate([MIXED])).low, made.high,
    ]  # fmt: skip
    assert found.loc["seed_sd", "value"] == pytest.approx(np.std(MIXED, ddof=1))
    # Intervals over prompts reach a tenth of the error to both sides: at 90%, 1.645 standard errors.
    assert found.loc["prompt_sd", "value"] == pytest.approx(0.1 * np.sqrt(np.mean(np.square(MIXED))) / 1.6449, rel=1e-3)


def test_convergence_is_the_share_at_or_below_the_threshold() -> None:
    numbers = asked(curricula())
    assert numbers("converged", "share", "mixed", QUADRATIC).value == 0.8
    assert numbers("converged", "share", "brief", QUADRATIC).value == 0.0
    assert 0.4 < numbers("converged", "share", "mixed", QUADRATIC).low < 0.8 < 1.0
    strict = made_up({"mixed": variant({QUADRATIC: MIXED})}, threshold=0.31)
    assert asked(strict)("converged", "share", "mixed", QUADRATIC).value == 0.4


def test_pairs_are_taken_seed_by_seed() -> None:
    numbers = asked(curricula())
    found = numbers("error", "paired_difference", "mixed", QUADRATIC, "alone")
    assert found == paired_difference(MIXED, ALONE)
    assert numbers("error", "paired_difference", "alone", QUADRATIC, "mixed").value == -found.value
    assert numbers("error", "seeds_better", "alone", QUADRATIC, "mixed").value == 5
    assert numbers("error", "probability_of_improvement", "alone", QUADRATIC, "mixed") == probability_of_improvement(
        ALONE, MIXED
    )
    # Of seeds that only one of them has, the pairs say nothing.
    lacking = made_up({"a": variant({LINEAR: [0.1, math.nan, 0.3]}), "b": variant({LINEAR: [0.2, 0.2, math.nan]})})
    found = asked(lacking)("error", "paired_difference", "a", LINEAR, "b")
    assert (found.value, found.n) == (pytest.approx(-0.1), 1)
    assert math.isnan(found.low)


def test_only_what_was_trained_on_a_cell_is_paired_there() -> None:
    table = summary(curricula())
    pairs = table[table["versus"].notna()]
    assert set(zip(pairs["variant"], pairs["versus"], strict=True)) == {
        (one, other) for one in ("alone", "brief", "mixed") for other in ("alone", "brief", "mixed") if one != other
    }
    assert set(pairs["function_class"]) == {"quadratic"}


def test_equal_exposure_takes_the_one_that_saw_more_where_it_had_seen_as_much() -> None:
    """Alone stood at 1 - 0.9 / 4 after the first quarter of its 6,400 prompts, by a straight line."""
    numbers = asked(curricula())
    assert numbers("equal_exposure", "mean", "mixed", QUADRATIC, "alone").value == 1600
    assert numbers("error_at_equal_exposure", "mean", "mixed", QUADRATIC, "alone").value == pytest.approx(
        np.mean(MIXED)
    )
    expected = np.mean([1 - (1 - error) / 4 for error in ALONE])
    assert numbers("error_at_equal_exposure", "versus_mean", "mixed", QUADRATIC, "alone").value == pytest.approx(
        expected
    )
    difference = numbers("error_at_equal_exposure", "paired_difference", "mixed", QUADRATIC, "alone")
    assert difference.value == pytest.approx(np.mean(MIXED) - expected)
    assert numbers("error_at_equal_exposure", "seeds_better", "mixed", QUADRATIC, "alone").value == 5


def test_equal_steps_are_only_asked_where_steps_differ() -> None:
    numbers = asked(curricula())
    assert numbers("error_at_equal_steps", "mean", "mixed", QUADRATIC, "alone").n == 0
    found = numbers("error_at_equal_steps", "versus_mean", "brief", QUADRATIC, "alone")
    assert found.value == pytest.approx(np.mean([1 - (1 - error) / 4 for error in ALONE]))


def test_without_a_ledger_there_is_no_equal_exposure() -> None:
    found = made_up({name: variant({LINEAR: [0.1, 0.2]}, prompts=math.nan) for name in ("a", "b")})
    quantities = set(summary(found)["quantity"])
    assert not quantities & {"error_at_equal_exposure", "equal_exposure", "prompts", "flops", "prompts_to_error"}
    assert "error" in quantities


def test_events_that_never_happened_are_infinite() -> None:
    found = made_up({"a": variant({LINEAR: [0.7, 0.8, 0.9]}, steps_to_error=math.inf)})
    assert asked(found)("steps_to_error", "median", "a", LINEAR).value == math.inf
    assert wording.count(math.inf) == "never"


def test_a_run_that_overflowed_spoils_means_but_not_the_median() -> None:
    numbers = asked(made_up({"a": variant({LINEAR: [0.1, 0.2, math.inf]}), "b": variant({LINEAR: [0.3, 0.3, 0.3]})}))
    assert numbers("error", "mean", "a", LINEAR).value == math.inf
    assert math.isnan(numbers("error", "mean", "a", LINEAR).low)
    assert numbers("error", "median", "a", LINEAR).value == 0.2
    assert numbers("error", "paired_difference", "a", LINEAR, "b").n == 0
    assert numbers("error", "seeds_better", "a", LINEAR, "b").value == 2


def test_over_all_cells_runs_keep_their_cells_together_and_single_tasks_are_strata() -> None:
    linear = [0.01, 0.02, 0.03]
    found = made_up(
        {
            "one": variant({LINEAR: linear}, asked={QUADRATIC: [1.0] * 3}),
            "two": variant({QUADRATIC: ALONE[:3]}, asked={LINEAR: [1.0] * 3}),
            "mixed": variant({LINEAR: linear, QUADRATIC: MIXED[:3]}),
        }
    )
    table = summary(found)
    over = table[table["function_class"] == ALL].set_index("variant")
    assert set(over.index) == {"mixed", SINGLE_TASK}
    whole = estimate([np.stack([linear, MIXED[:3]], axis=1)])
    assert over.loc["mixed", ["value", "ci_low", "ci_high"]].tolist() == [whole.value, whole.low, whole.high]
    strata = estimate([linear, ALONE[:3]])
    assert over.loc[SINGLE_TASK, ["value", "ci_low", "ci_high"]].tolist() == [strata.value, strata.low, strata.high]
    assert over["n_seeds"].tolist() == [3, 3]


def test_the_single_task_variant_is_the_one_with_the_most_steps() -> None:
    assert single_task(curricula().rows) == {QUADRATIC: "alone"}


def test_written_as_all_tables_are(tmp_path: Path) -> None:
    found = made_up({"a": variant({LINEAR: [0.7, 1 / 3]}, steps_to_error=math.inf)})
    table = summary(found)
    write_summary(tmp_path / "summary.csv", summary_rows(found))
    text = (tmp_path / "summary.csv").read_text()
    assert text.startswith(",".join(TABLES["summary"].header) + "\n")
    assert "made_up,a,,linear,gaussian,20,normalized_error,error,seed,1,0.333333333,,,1\n" in text
    assert "made_up,a,,linear,gaussian,20,normalized_error,steps_to_error,median,,inf,,,2\n" in text
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "summary.csv")[["value"]].astype(float), table[["value"]].astype(float), rtol=1e-8
    )


# Sentences


def said(found: Outcomes) -> dict[str, str]:
    given: list[Answer] = answers(found, asked(found))
    return {answer.heading: " ".join(answer.sentences) for answer in given}


def test_the_answer_ranks_and_compares() -> None:
    text = said(curricula())["quadratic"]
    assert "At 20 examples, after 100 steps, `alone` ends lowest, at 0.120" in text
    assert "; then `mixed` 0.327." in text
    assert (
        "Against `alone` after as many steps, the error is higher with `mixed` by 0.240 (0 of 5 seeds lower)." in text
    )
    assert "`mixed` 0.360 against 0.780 at 1,600 prompts (lower)" in text
    assert "a schedule of 25 steps (`brief`, 1,600 prompts), the error is 0.600" in text
    assert "`alone` keeps the lowest error, 0.240 (skewed), `brief` has the highest, 1.200 (skewed)" in text


def test_what_seeds_do_not_tell_apart_is_said_so() -> None:
    found = made_up(
        {
            "alone": variant({LINEAR: [0.1, 0.3, 0.2]}),
            "other": variant({LINEAR: [0.3, 0.1, 0.21], QUADRATIC: [0.1] * 3}),
        }
    )
    assert "not told apart with `other`" in said(found)["linear"]
    single = made_up({"alone": variant({LINEAR: [0.1]}), "other": variant({LINEAR: [0.3], QUADRATIC: [0.1]})})
    assert "not judged with `other`, of fewer than two seeds in common" in said(single)["linear"]


def test_seeds_that_did_not_converge_are_named() -> None:
    text = said(curricula())["All together"]
    assert "0.5 on what they were trained on: `brief` on quadratic (5 of 5) and `mixed` on quadratic (1 of 5)." in text
    assert (
        "Every run came down to an error of 0.5" in said(made_up({"a": variant({LINEAR: [0.1, 0.2]})}))["All together"]
    )


def test_forgetting_is_said_where_it_goes_beyond_what_seeds_differ_by() -> None:
    assert "the error rises with `mixed` on linear by 0.200" in said(curricula(forgotten=0.2))["All together"]
    assert "Nothing is forgotten" in said(curricula(forgotten=-0.01))["All together"]
    assert "forgotten" not in said(curricula())["All together"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([LINEAR, QUADRATIC], "linear"),
        ([LINEAR, ("linear", "skewed")], "Gaussian inputs"),
        ([LINEAR, ("quadratic", "skewed")], "linear, Gaussian inputs"),
    ],
)
def test_a_cell_is_called_by_what_tells_it_from_others(cells: list[tuple[str, str]], expected: str) -> None:
    assert cell_name(cells[0], cells) == expected


# Tables of texts


def test_below_ten_seeds_each_is_shown() -> None:
    numbers = asked(curricula())
    rows = curricula().rows
    own = rows[(rows["function_class"] == "quadratic") & rows["trained"]]
    made = sheets.errors(own, numbers, QUADRATIC)
    assert [row[0].text for row in made.rows] == ["alone", "brief", "mixed"]
    assert made.rows[2][-1].text == "0.300 0.340 0.310 0.330 0.520"
    many = made_up({"a": variant({LINEAR: [0.1] * 10})})
    assert sheets.errors(many.rows, asked(many), LINEAR).rows[0][-1].text == "10 seeds"


def test_the_ledger_has_a_row_per_run_and_two_columns_per_cell() -> None:
    made = sheets.ledger(curricula().rows)
    assert made.columns == ["run", "steps", "quadratic: prompts", "quadratic: FLOP", "linear: prompts", "linear: FLOP"]
    assert len(made.rows) == 15
    assert [entry.text for entry in made.rows[0]] == ["alone, seed 0", "100", "6,400", "6.4 M", "0", "0"]


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (wording.error, 0.0456, "0.046"),
        (wording.error, 0.00123, "0.0012"),
        (wording.error, -0.25, "−0.250"),
        (wording.error, 0.0, "0.000"),
        (wording.error, math.inf, "∞"),
        (wording.error, math.nan, "–"),
        (wording.error, 12345.6, "12,346"),
        (wording.count, 12800.0, "12,800"),
        (wording.operations, 5.31e11, "531 G"),
        (wording.operations, 999.6, "1 k"),
        (wording.operations, 0.0, "0"),
        (wording.operations, math.nan, "–"),
    ],
)
def test_numbers_as_readers_want_them(function: Any, value: float, expected: str) -> None:
    assert function(value) == expected
