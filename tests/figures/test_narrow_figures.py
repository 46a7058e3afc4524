"""Figures for a page on a telephone: as wide as it, without a title, and nothing overlaps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pandas as pd
import pytest
from made_up_tables import make_tables
from matplotlib.figure import Figure
from outcomes_to_draw import LINEAR, QUADRATIC, VARIANTS, make_outcomes
from reading_figures import check_layout, legend_labels, panels

from icl_curriculum import figures
from icl_curriculum.figures.panels import NARROW

LONG = {
    **VARIANTS, "a_name_that_is_longer_than_most": VARIANTS["mixed"], "brief_quadratic": {QUADRATIC: (0.0, 200.0)},
    **dict.fromkeys(("when_converged", "random"), VARIANTS["sequential"]),
}  # fmt: skip
SHIFTS = ["scaled_inputs/2", "label_noise/0.5", "random_quadrants", "longer_prompts/2"]


def across(name: str) -> Callable[[], Figure]:
    draw: Callable[..., Figure] = getattr(figures, name)
    found = dataclasses.replace(make_outcomes(LONG, errors=(0.01, 0.2, 0.9)), optimum={LINEAR: 0.02})
    return lambda: draw(found, narrow=True)


def out_of_distribution() -> Figure:
    tables = make_tables(["linear", "quadratic", "relu_network", "sparse_linear"], (0, 1), shifts=SHIFTS)
    return figures.out_of_distribution(tables["evaluation"], narrow=True)


def adaptation() -> Figure:
    table = make_tables(["linear", "quadratic"], (0,), shifts=())["evaluation"]
    models = table[table["learner"] == "model"]
    adapted = [models.assign(learner=f"model/adapted={steps}{rate}", value=models["value"] / steps)
               for steps in (5, 20) for rate in ("", "/optimizer=adam", "/rate=0.02", "/rate=0.03")]  # fmt: skip
    return figures.adaptation(pd.concat([table, *adapted], ignore_index=True), narrow=True)


def adaptation_of_many() -> Figure:
    """By domain, as a panel for each cell would have too many lines."""
    variants = [f"variant_{i}" for i in range(10)]
    table = make_tables(["linear", "quadratic"], (0,), variants=variants, shifts=())["evaluation"]
    models = table[table["learner"] == "model"]
    return figures.adaptation(pd.concat([table, models.assign(learner="model/adapted=20")]), narrow=True)


def transfer() -> Figure:
    row = {"comparison": "none", "metric": "normalized_error", "fixed_prompts": float("nan"), "n_context": 10,
           "n_seeds": 2}  # fmt: skip
    rows = [
        row | {"variant": name, "adaptation": adaptation, "domain": domain, "steps": 1, "error": error,
               "ci_low": error / 2, "ci_high": 2 * error}
        for name in ("plain", "maml", "a_method_with_a_name") for domain in ("seen", "unseen_classes", "unseen_inputs")
        for adaptation, error in (("unadapted", 0.4), ("adapted=20", 0.2), ("adapted=20/optimizer=adam", 0.1))
    ]  # fmt: skip
    return figures.transfer(pd.DataFrame(rows), narrow=True)


DRAWN: dict[str, Callable[[], Figure]] = {
    **{name: across(name) for name in ("curves_by_variant", "errors_by_seed", "error_by_exposure", "forgetting",
                                       "errors_under_shifts")},
    "out_of_distribution": out_of_distribution, "adaptation": adaptation, "transfer": transfer,
    "adaptation_by_domain": adaptation_of_many,
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_it_is_as_wide_as_a_telephone_and_everything_can_be_read(name: str) -> None:
    figure = DRAWN[name]()
    assert figure.get_figwidth() == NARROW
    assert figure.get_suptitle() == ""
    assert len(panels(figure)) > 1 or name == "forgetting"
    assert len(legend_labels(figure)) <= 6
    # Letters of eight points are eleven pixels on a window of 380.
    check_layout(figure, name, lowest=0.25)
