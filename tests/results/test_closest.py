"""Whom a model answers most like, from made-up differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest
from made_up_differences import differences

from icl_curriculum.results.closest import closest, final_differences, shown_lengths


def at_five(values: Mapping[str, list[float]], **options: Any) -> pd.DataFrame:
    """One cell at five examples; a value for each seed."""
    return final_differences(differences({name: {5: own} for name, own in values.items()}, **options))


def test_the_closest_over_seeds_and_those_that_answer_the_same() -> None:
    found = closest(at_five({"knn": [0.5, 0.6, 0.55], "ridge": [0.1, 0.2, 0.15], "oracle": [0.1, 0.2, 0.15]}), 5)
    assert found is not None
    assert found.learners == ("ridge", "oracle")
    assert found.difference.value == pytest.approx(0.15)
    assert found.difference.low < 0.15 < found.difference.high
    assert found.contested == ()
    assert (found.k, found.n_prompts) == (5, 640)


def test_what_differs_by_less_than_seeds_do_is_not_told_apart() -> None:
    """By the paired difference: a learner that is farther with every seed by about as much is told apart."""
    found = closest(at_five({"a": [0.1, 0.3, 0.2], "b": [0.2, 0.2, 0.25], "c": [0.15, 0.35, 0.25]}), 5)
    assert found is not None
    assert (found.learners, found.contested) == (("a",), ("b",))


def test_of_one_seed_the_intervals_are_those_over_prompts() -> None:
    found = closest(at_five({"a": [0.10], "b": [0.105], "c": [0.2]}), 5)
    assert found is not None
    assert (found.difference.low, found.difference.high) == pytest.approx((0.09, 0.11))
    assert (found.learners, found.contested) == (("a",), ("b",))


def test_a_learner_without_a_number_is_no_candidate() -> None:
    missing = float("nan")
    found = closest(at_five({"a": [0.4, missing], "b": [0.5, 0.5]}), 5)
    assert found is not None
    assert found.learners == ("b",)
    assert closest(at_five({"a": [missing]}), 5) is None
    assert closest(at_five({"a": [0.1]}), 4) is None


def test_only_models_at_their_last_step_and_learners_that_do_not_train_count() -> None:
    rows = differences({"ridge": {5: [0.1]}, "model": {5: [0.2]}})
    rows.loc[rows["other_learner"] == "model", "other_kind"] = "model"
    earlier = rows.assign(step=1, value=0.0)
    between = rows.assign(learner="knn", learner_kind="baseline")
    signs = rows.assign(metric="disagreement")
    kept = final_differences(pd.concat([earlier, rows, between, signs]))
    assert kept[["step", "learner", "other_learner"]].to_numpy().tolist() == [[100, "model", "ridge"]]


def test_lengths_are_those_of_costly_learners_or_else_a_few() -> None:
    every = {k: [0.1] for k in range(21)}
    few = {k: [0.1] for k in (2, 5, 10, 20)}
    assert shown_lengths(differences({"ridge": every, "greedy_tree": few})) == [2, 5, 10, 20]
    assert shown_lengths(differences({"ridge": every, "greedy_tree": {3: [0.1], 7: [0.1]}})) == [3, 7]
    assert shown_lengths(differences({"ridge": every})) == [2, 5, 10, 20]
    assert shown_lengths(differences({"ridge": every}).assign(in_distribution=False)) == [2, 5, 10, 20]
    assert shown_lengths(differences({"ridge": {0: [0.1]}})) == []
