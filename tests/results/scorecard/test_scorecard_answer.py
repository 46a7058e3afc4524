"""What is said of a scorecard: who is first, whether the second is told apart, and what so many seeds resolve."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from made_up_scorecard import ABOVE_MEAN, RULE, card_of, told

from icl_curriculum.results.scorecard.answer import best_on, learner_scores, resolvable, scorecard_answer

LEVEL = "0 is predicting zero, 1 the best predictions known"


def test_learners_stand_in_the_order_of_the_table_with_their_seeds(tmp_path: Path) -> None:
    learners = {learner.name: learner for learner in learner_scores(card_of(tmp_path))}
    assert list(learners) == ["gru", "knn", "lstm", "partial", "cheat"]
    assert [name for name, learner in learners.items() if not learner.ranked] == ["cheat"]
    assert (learners["cheat"].remark, learners["gru"].remark) == (RULE, "")
    gru = learners["gru"]
    assert gru.of_seeds["mean"] == pytest.approx(np.array([0.6, 0.62, 0.64]) + ABOVE_MEAN)
    assert gru.mean is not None
    assert (gru.mean.value, gru.mean.n) == (pytest.approx(0.62 + ABOVE_MEAN), 3)
    assert learners["partial"].mean is None
    assert "kept" not in learners["lstm"].over_seeds
    assert learners["knn"].of_seeds == {}
    best = best_on(list(learners.values()), "linear_functions")
    assert best is not None
    assert best.name == "partial"


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        # Seed by seed the same distance.
        ({0: 0.5, 1: 0.52, 2: 0.54}, r"the difference, 0\.100 \(0\.100–0\.100\), is resolved \("),
        # Of Student's t: 0.037 ± 0.256.
        ({0: 0.7, 1: 0.42, 2: 0.63}, r"the difference, 0\.037 \(−0\.2\d\d to 0\.29\d\), is not resolved \("),
        ({3: 0.5, 4: 0.5}, r", of no seed in common on one kind of device, so that the difference is not resolved \("),
        ({1: 0.5, 4: 0.5}, r"the difference, 0\.120, is not resolved, which takes two seeds or more \("),
    ],
)
def test_the_difference_to_the_second_is_resolved_or_not(
    second: dict[int, float], expected: str, tmp_path: Path
) -> None:
    card = card_of(tmp_path, told("lstm", second), told("gru", {0: 0.6, 1: 0.62, 2: 0.64}))
    said = scorecard_answer(card)
    assert said.startswith("`gru` has the highest mean score, 0.660 (0.6")
    assert "next is `lstm` at 0." in said
    assert re.search(expected, said)
    assert said.endswith(f"{LEVEL}).")


def test_who_broke_a_rule_or_lacks_an_axis_is_not_first(tmp_path: Path) -> None:
    said = scorecard_answer(card_of(tmp_path))
    assert said.startswith("`gru` has the highest mean score, 0.660")
    assert "next is `knn` (a baseline) at 0.490; the difference, 0.170 (" in said
    assert "cheat" not in said
    only = card_of(tmp_path, told("cheat", {0: 0.5}, broken=[RULE]))
    assert scorecard_answer(only).startswith("No learner that kept to the rules")


def test_the_best_model_is_named_behind_baselines(tmp_path: Path) -> None:
    said = scorecard_answer(card_of(tmp_path, told("knn", 0.5), told("ridge", 0.4), told("gru", {0: 0.2, 1: 0.3})))
    assert said.startswith(
        "`knn` (a baseline) has the highest mean score, 0.540; next is `ridge` (a baseline) at 0.440;"
    )
    # Cut off at zero; of Student's t up to 0.606.
    assert re.search(
        r"; the best trained model is `gru` at 0\.290 \(0\.000–0\.6\d\d\) \(90% intervals over 2 seeds;", said
    )


def test_of_one_learner_its_highest_and_its_lowest_score_are_named(tmp_path: Path) -> None:
    assert scorecard_answer(card_of(tmp_path, told("gru", {0: 0.5}))) == (
        "`gru` has a mean score of 0.540; its highest score is that on what is kept, 0.600, its lowest that on linear "
        f"functions, 0.500 (one seed, and so no interval; {LEVEL})."
    )


def test_what_is_resolvable_is_the_median_over_pairs(tmp_path: Path) -> None:
    card = card_of(tmp_path)
    pairs = card[card["versus"].notna() & (card["axis"] == "kept")]
    # gru, cheat and partial have the axis: three pairs.
    halves = sorted((pairs["ci_high"] - pairs["ci_low"]) / 2)
    assert len(halves) == 3
    assert resolvable(card)["kept"] == pytest.approx(halves[1])
    assert next(iter(resolvable(card))) == "mean"
    assert resolvable(card_of(tmp_path, told("gru", {0: 0.5}), told("lstm", {0: 0.4}))) == {}
