"""Readers with any colour vision tell apart what stands in one figure, and readers of a grey print do so, too."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from colour_vision import VISIONS, closest, distance, lab
from made_up_tables import STEPS, make_tables
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from outcomes_to_draw import LINEAR, QUADRATIC, make_outcomes
from reading_figures import drawn

from icl_curriculum import figures
from icl_curriculum.figures.coloured_cells import COLOURS
from icl_curriculum.figures.names import _BASELINE_COLOURS, BLACK, BLUE, CLASS_COLOURS

#: Six times what is just noticed side by side: lines are thin and lie apart.
APART = 14.0


def _of(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"icl_curriculum.figures.{module}"), name)


PALETTES = {
    "baselines beside the model and the oracle": [*_BASELINE_COLOURS, BLUE, BLACK],
    "variants": [*_of("variants", "_COLOURS"), BLACK],
    "shifts": [BLUE, *(style.colour for style in _of("along_training", "_SHIFTED"))],
    "adaptations": [colour for colour, _ in _of("transfer", "_LOOKS")],
    "numbers of examples": [colour for colour, *_ in _of("learning", "_LOOKS")],
    "heads": [colour for colour, _ in _of("heads_along_training", "_NAMED")],
    "six classes": CLASS_COLOURS[:6],
}


@pytest.mark.parametrize("vision", [name for name in VISIONS if name != "grey"])
@pytest.mark.parametrize("palette", PALETTES)
def test_colours_keep_apart(palette: str, vision: str) -> None:
    least, one, other = closest(PALETTES[palette], vision)
    assert least > APART, (one, other)


def test_the_measure_knows_what_is_confused() -> None:
    """Red and green of one lightness are alike without the cones for long or for middle wavelengths."""
    assert distance("#FF0000", "#FF0000", "usual") == 0
    assert lab("#FFFFFF") == pytest.approx([100, 0, 0], abs=0.01)
    assert lab("#0072B2", "tritanopia") != pytest.approx(lab("#0072B2"), abs=5)
    reddish, greenish = "#A06E3C", "#7B7B3C"
    assert distance(reddish, greenish) > 20
    assert distance(reddish, greenish, "deuteranopia") < APART < distance(reddish, greenish, "tritanopia")
    for matrix in VISIONS.values():
        assert matrix.sum(axis=1) == pytest.approx(1, abs=1e-5)


def along_training() -> Figure:
    shifts = [f"scaled_outputs/{factor}" for factor in range(2, 9)]
    table = make_tables(["linear"], (0,), shifts=shifts)["evaluation"]
    return figures.along_training(pd.concat([table.assign(step=step) for step in (0, STEPS)], ignore_index=True))


def heads_along_training() -> Figure:
    tables = make_tables(["linear", "quadratic", "relu_network", "sparse_linear"], (0,), shifts=())
    scores = [(step, head, step / STEPS / head) for step in (0, STEPS) for head in (1, 2)]
    heads = pd.DataFrame(scores, columns=["step", "head", "value"]).assign(layer=1, score="retrospective")
    return figures.heads_along_training(heads, tables["learning"], tables["curriculum"])


def many_variants() -> Figure:
    both = {LINEAR: (0.0, 400.0), QUADRATIC: (0.0, 400.0)}
    alone = {f"{kind}_linear": {LINEAR: (0.0, 400.0)} for kind in ("single", "brief", "third")}
    return figures.curves_by_variant(make_outcomes({**alone, **dict.fromkeys("abc", both)}, errors=(0.1,)))


FIGURES: dict[str, Callable[[], Figure]] = {
    "error_by_examples": lambda: drawn("error_by_examples"), "learning_curves": lambda: drawn("learning_curves"),
    "out_of_distribution": lambda: drawn("out_of_distribution"), "along_training": along_training,
    "heads_along_training": heads_along_training,
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_entries_of_a_legend_differ_without_colour(name: str) -> None:
    """By lightness, line, width or marker."""
    for axes in FIGURES[name]().axes:
        shown = list(
            {item.get_label(): item for item in axes.lines if not str(item.get_label()).startswith("_")}.values()
        )
        assert len(shown) > 1
        for i, one in enumerate(shown):
            for other in shown[i + 1 :]:
                assert _differ(one, other), (one.get_label(), other.get_label())


def _differ(one: Line2D, other: Line2D) -> bool:
    looks = [
        (str(each._dash_pattern) if each.get_linestyle() != "None" else "", str(each.get_marker()))  # type: ignore[attr-defined]
        for each in (one, other)
    ]
    colours = [to_hex(each.get_color()) for each in (one, other)]  # type: ignore[arg-type]
    return looks[0] != looks[1] or distance(*colours, "grey") > APART


def test_variants_in_a_panel_differ_without_colour() -> None:
    axes = many_variants().axes[0]
    found = {str(item.get_gid()): item for item in axes.lines if str(item.get_gid()) not in ("threshold", "zero")}
    assert len(found) == 6
    items = list(found.values())
    for i, one in enumerate(items):
        for other in items[i + 1 :]:
            assert _differ(one, other), (one.get_gid(), other.get_gid())


def test_the_colours_of_cells_grow_lighter_for_everybody() -> None:
    shades = [to_hex(COLOURS(share)) for share in np.linspace(0, 1, 9)]
    for vision in VISIONS:
        lightness = [float(lab(shade, vision)[0]) for shade in shades]
        assert all(np.diff(lightness) > 2), vision
