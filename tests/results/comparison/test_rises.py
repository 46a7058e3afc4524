"""Classes that grew worse when others joined them in training, from made-up learning curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_outcomes import LINEAR, QUADRATIC, made_up, variant

from icl_curriculum.results.comparison.outcomes import Curve, Outcomes
from icl_curriculum.results.comparison.rises import rises, rises_in_words
from icl_curriculum.results.comparison.sources import Source

STEPS = np.arange(0.0, 101.0, 10.0)


def curriculum(seeds: int, *, stays: bool = True) -> pd.DataFrame:
    """Linear alone until step 50, then quadratic joins it, or takes its place."""
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        for step in STEPS[1:]:
            late = step > 50
            shares = {LINEAR: (0.5 if stays else 0.0) if late else 1.0, QUADRATIC: (0.5 if stays else 1.0) * late}
            rows += [
                {"variant": "mixed", "seed": seed, "step": int(step), "function_class": cell[0],
                 "input_distribution": cell[1], "planned_share": share, "drawn_share": share}
                for cell, share in shares.items()
            ]  # fmt: skip
    return pd.DataFrame(rows)


def outcomes(after: list[float]) -> Outcomes:
    """Linear at 0.1 before step 50, then at ``after`` by seed, and at 0.05 in the end; quadratic falls."""
    found = made_up({"mixed": variant({LINEAR: [0.05] * len(after), QUADRATIC: [0.3] * len(after)})})
    for seed, level in enumerate(after):
        linear = np.where(STEPS <= 50, 0.1, level)
        linear[-1] = 0.05
        found.curves["mixed", seed, *LINEAR] = Curve(STEPS, STEPS * 64, linear)
        found.curves["mixed", seed, *QUADRATIC] = Curve(STEPS, STEPS * 64, 1.0 - 0.007 * STEPS)
    return found


def source(table: pd.DataFrame) -> Source:
    none = pd.DataFrame()
    return Source(Path("made_up"), "made_up", none, none, table, None)


def test_a_class_that_rises_when_another_joins_is_named_with_its_numbers() -> None:
    found = outcomes([0.4, 0.42, 0.44])
    (rise,), ever = rises(source(curriculum(3)), found)
    assert ever
    assert (rise.variant, rise.cell, rise.joined, rise.step) == ("mixed", LINEAR, (QUADRATIC,), 50.0)
    assert rise.before == pytest.approx(0.1)
    assert rise.after == pytest.approx((0.42 * 4 + 0.05) / 5)
    assert rise.by.value == pytest.approx(rise.after - rise.before)
    (sentence,) = rises_in_words(source(curriculum(3)), found)
    assert sentence.startswith("Linear rose from 0.100 to 0.346 (by 0.246, ")
    assert sentence.endswith(" when quadratic joined at step 50, and ended at 0.050.")


def test_what_seeds_do_not_agree_on_is_no_rise() -> None:
    assert rises_in_words(source(curriculum(3)), outcomes([0.4, 0.05, 0.11])) == [
        "No class grew worse, beyond what seeds differ by, when another joined it in training."
    ]


def test_of_one_seed_a_rise_by_a_fifth_counts() -> None:
    assert rises_in_words(source(curriculum(1)), outcomes([0.14])) == [
        "Linear rose from 0.100 to 0.122 when quadratic joined at step 50, and ended at 0.050."
    ]
    assert rises_in_words(source(curriculum(1)), outcomes([0.11])) == [
        "No class grew worse, by 20% or more, when another joined it in training."
    ]


def test_a_class_that_leaves_training_is_none_that_others_join() -> None:
    assert rises_in_words(source(curriculum(3, stays=False)), outcomes([0.4, 0.42, 0.44])) == []
