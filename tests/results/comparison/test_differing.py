"""In what the configs of experiments differ that stand side by side (`differing_settings`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from icl_curriculum.results.comparison.differing import differing_settings
from icl_curriculum.results.comparison.sources import Source

PLAIN: dict[str, Any] = {
    "name": "plain", "seed": 0, "dims": 5, "function_classes": [{"name": "linear"}, {"name": "quadratic"}],
    "model": {"name": "transformer", "width": 8}, "curriculum": {"function_classes": {"name": "mixed"}},
    "training": {"steps": 10, "log_every": 5, "optimizer": {"name": "muon", "momentum": 0.9}},
    "evaluation": {"n_prompts": 64},
}  # fmt: skip


def source(*configs: dict[str, Any], version: str = "1", imported: bool = False) -> Source:
    none, some = pd.DataFrame(), pd.DataFrame({"step": [0]})
    variants = {f"variant{number}": config for number, config in enumerate(configs)}
    learning = none if imported else some
    manifests = {"variant0-seed0": {"package_version": version}}
    return Source(Path("results/any"), "any", learning, none, none, None, manifests, trained_configs=variants)


def changed(**changes: Any) -> dict[str, Any]:
    """A copy of the config with other values, by keys with __ for the dot."""
    made = {key: dict(value) if isinstance(value, dict) else value for key, value in PLAIN.items()}
    for key, value in changes.items():
        table, _, name = key.rpartition("__")
        (made[table] if table else made)[name] = value
    return made


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"training__steps": 20}, "training.steps (10, 20)"),
        ({"curriculum__function_classes": {"name": "random"}}, "curriculum.function_classes (mixed, random)"),
        ({"function_classes": [{"name": "linear"}, {"name": "sparse_linear"}]}, "function_classes."),
        ({"training__optimizer": {"name": "muon", "momentum": 0.95}}, "training.optimizer.momentum (0.9, 0.95)"),
        ({"training__optimizer": {"name": "adam", "beta": 0.5}}, "training.optimizer (muon, adam)."),
        ({"training__fixed_prompts": 100}, "training.fixed_prompts (unset, 100)."),
        ({"model__reset_every": 3}, "model.reset_every (unset, 3)."),
        ({"curriculum__points": {"start": 3, "every": 100}}, "curriculum.points (unset, "),
    ],
)
def test_all_settings_are_named_with_their_values(changes: dict[str, Any], named: str) -> None:
    (sentence,) = differing_settings([source(PLAIN), source(changed(dims=8, **changes))])
    assert sentence.startswith(
        "The experiments differ in more than one setting of training, any of which may be the reason: dims (5, 8), "
    )
    assert named in sentence


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training__steps": 20},
        # What decides nothing of the weights.
        {"name": "other", "seed": 1, "training__log_every": 7, "evaluation": {"n_prompts": 32}, "dims": 8},
        # Its values are what it decides.
        {"recipe": "decayed", "dims": 8},
    ],
)
def test_one_setting_or_none_is_what_is_asked_for(changes: dict[str, Any]) -> None:
    assert differing_settings([source(PLAIN), source(changed(**changes))]) == []


def test_what_one_experiment_compares_itself_is_not_named_where_a_value_is_in_both() -> None:
    swept = source(PLAIN, changed(training__steps=20))
    assert differing_settings([swept, source(changed(dims=8))]) == []
    (sentence,) = differing_settings([swept, source(changed(dims=8, model__width=4))])
    assert "steps" not in sentence
    (sentence,) = differing_settings([swept, source(changed(dims=8, training__steps=30))])
    assert "training.steps (10, 20, 30)" in sentence


def test_nothing_is_said_of_one_experiment_or_of_one_without_its_config() -> None:
    other = changed(dims=8, training__steps=20)
    assert differing_settings([source(PLAIN, other)]) == []
    assert differing_settings([source(PLAIN), source()]) == []
    assert len(differing_settings([source(PLAIN), source(), source(other)])) == 1


def test_what_a_config_of_another_version_lacks_may_be_what_it_did_not_know() -> None:
    newer = changed(dims=8, training__positions="all")
    assert differing_settings([source(PLAIN, version="0"), source(newer)]) == []


def test_of_an_imported_model_only_its_own_sizes_are_known() -> None:
    """Its config has defaults where nobody knows how it was trained."""
    other = changed(training__steps=20, training__optimizer={"name": "adam"}, dims=8, model__width=4)
    (sentence,) = differing_settings([source(PLAIN), source(other, imported=True)])
    assert sentence.endswith(": dims (5, 8), model.width (8, 4).")


def test_many_settings_are_counted() -> None:
    many = {f"training__key{number}": number for number in range(15)}
    sentence = differing_settings([source(changed(**many)), source(changed(**dict.fromkeys(many, -1)))])[0]
    assert sentence.endswith("training.key11 (11, -1) and 3 more.")
