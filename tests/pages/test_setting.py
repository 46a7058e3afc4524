"""The paragraph of a report on what was run: true whatever the model and its fields are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from icl_curriculum.pages.setting import what_was_run

CONFIG: dict[str, Any] = {
    "points": 21, "dims": 5, "training": {"steps": 1000, "batch_size": 64},
    "model": {"name": "transformer", "width": 64, "layers": 3, "tokens": "paired", "bias": True, "scale": 0.5},
}  # fmt: skip


def said(*configs: dict[str, Any], seeds: tuple[int, ...] = (0, 1)) -> str:
    variants = [f"variant{number}" for number in range(max(1, len(configs)))]
    source = SimpleNamespace(seeds=list(seeds), variants=variants, configs=dict(zip(variants, configs, strict=False)))
    return what_was_run(cast(Any, source), cast(Any, SimpleNamespace(confidence=0.9)))


def test_a_model_is_described_by_what_its_table_says() -> None:
    assert said(CONFIG) == (
        "1 variant, 2 training seeds (0, 1); prompts of 20 examples and a query in 5 dimensions; 1,000 steps of 64 "
        "prompts; the model transformer (width 64, layers 3). Error: normalized, 1 is that of predicting zero. "
        "Intervals: 90%, over seeds."
    )


def test_one_of_everything_is_in_the_singular() -> None:
    config = {**CONFIG, "points": 2, "dims": 1, "training": {"steps": 1, "batch_size": 1}}
    assert "1 variant, 1 training seed (0); prompts of 1 example and a query in 1 dimension; 1 step of 1 prompt;" in (
        said(config, seeds=(0,))
    )


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"name": "recurrent"}, "; the model recurrent. Error"),
        ({"name": "recurrent", "hidden_units": 7}, "; the model recurrent (hidden units 7). Error"),
        ({"name": "transformer", "layers": "many"}, "; the model transformer. Error"),
        ({"name": "transformer", "layers": [1, 2], "width": {"a": 1}}, "; the model transformer. Error"),
        ({}, "prompts. Error"),
        (None, "prompts. Error"),
        ({"layers": 3}, "prompts. Error"),
    ],
)
def test_no_field_of_a_model_is_taken_for_granted(model: Any, words: str) -> None:
    config = {key: value for key, value in CONFIG.items() if key != "model"}
    text = said(config if model is None else {**config, "model": model})
    assert words in text
    assert "layers of" not in text


def test_nothing_is_claimed_of_all_variants_that_holds_for_one() -> None:
    other = {**CONFIG, "dims": 3, "model": {"name": "recurrent"}, "training": {"steps": 10, "batch_size": 8}}
    text = said(CONFIG, other)
    assert "; 10 or 1,000 steps; models that differ between variants. Error" in text
    assert "dimensions" not in text
    assert said() == "1 variant, 2 training seeds (0, 1). Error: normalized, 1 is that of predicting zero. " + (
        "Intervals: 90%, over seeds."
    )
