"""Error against the operations that training took: which method learns the most from as much computation?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from icl_curriculum.figures.categories import several
from icl_curriculum.figures.emphasis import OTHER, emphasised, how_to_see_all, others_entry
from icl_curriculum.figures.names import plain
from icl_curriculum.figures.panels import NARROW, PanelGrid, columns_for, styled
from icl_curriculum.figures.scales import (
    error_label,
    error_scale,
    log_count_scale,
    without_empty_decades,
    zero_line,
)
from icl_curriculum.figures.variant_curves import draw_curve
from icl_curriculum.figures.variants import sample, variant_styles
from icl_curriculum.results.comparison.sources import CELL, Cell
from icl_curriculum.results.comparison.wording import operations
from icl_curriculum.results.shown_metric import shown_metric
from icl_curriculum.results.tables import NothingToDraw, distinct, with_metric
from icl_curriculum.results.transfer.domains import domain_of

Array = NDArray[np.float64]
#: The titles of panels, in their order; the last is of shifts that keep class and inputs.
_TITLES = {
    "seen": "seen cells", "unseen_classes": "unseen classes", "unseen_inputs": "unseen inputs",
    "shifted": "other shifts",
}  # fmt: skip
#: Updates whose operations differ by no more than this factor are alike: how long prompts were, and on how many errors
#: were measured, may depend on what was drawn.
_ALIKE = 1.05
#: Up to so many variants have bands; of more, these would hide one another.
_MOST_BANDS = 6


@styled
@without_empty_decades
def error_by_operations(
    learning: pd.DataFrame, exposure: pd.DataFrame, curriculum: pd.DataFrame, *, named: Sequence[str] = (),
    narrow: bool = False,
) -> Figure:  # fmt: skip
    """Error while training against the floating-point operations that training took so far: a line per variant.

    Errors are means over the cells that a variant was trained on; with `evaluation.learning_shifts`, further panels are
    means over unseen classes, unseen inputs, and other shifts. Lines are means over seeds. Of more than six variants
    the best, the worst, the first and those that are ``named`` have colours and entries of the legend, and the others
    are grey. ``narrow``: as wide as a telephone, without a title. Raises NothingToDraw for
    fewer than two variants, and where an update takes as many operations in all: `curves_by_variant` shows the same.
    """
    spent = exposure.groupby(["variant", "seed", "step"], as_index=False, observed=True)["flops"].sum()
    spent = spent.groupby(["variant", "step"], as_index=False, observed=True)["flops"].mean()
    spent = spent[spent["flops"] > 0]
    ends = spent.sort_values("step").groupby("variant", observed=True).last(numeric_only=True).reset_index()
    per_update = ends["flops"] / ends["step"]
    variants = distinct(learning["variant"])
    if len(variants) < 2 or not per_update.max() > _ALIKE * per_update.min():
        raise NothingToDraw("variants whose updates take different numbers of operations")
    errors = _errors(learning, curriculum)
    panels = [panel for panel in _TITLES if (errors["panel"] == panel).any()]
    if not panels:
        raise NothingToDraw("no errors during training")
    shown = _emphasised(errors, variants, named)
    styles = dict.fromkeys(variants, OTHER) | variant_styles(shown)
    columns = 1 if narrow else columns_for(len(panels), most=3)
    grid = PanelGrid.of(
        len(panels), columns=columns, height=1.2 if narrow else 2.0, width=NARROW if narrow else None
    )  # fmt: skip
    drawn: list[Array] = []
    places: list[Array] = []
    for axes, panel in zip(grid.axes, panels, strict=True):
        for variant in variants:
            own = errors[(errors["panel"] == panel) & (errors["variant"] == variant)]
            by_seed = own.pivot(index="seed", columns="step", values="value").dropna(axis=1)
            taken = spent[spent["variant"] == variant].set_index("step")["flops"]
            steps = [step for step in by_seed.columns if step in taken.index]
            if not steps:
                continue
            xs, values = taken[steps].to_numpy(np.float64), by_seed[steps].to_numpy(np.float64)
            if len(variants) > _MOST_BANDS:
                values = values.mean(axis=0, keepdims=True)
            draw_curve(axes, xs, values, variant, styles[variant], singles=len(variants) * len(values))
            drawn.append(values)
            places.append(xs)
        zero_line(axes, "y")
        grid.title_panel(axes, _TITLES[panel])
    note = error_scale(grid.axes[0], "y", drawn)
    log_count_scale(grid.axes[0], places)
    grid.axes[0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: operations(value)))
    label = error_label(str(errors["metric"].iloc[0]))
    if narrow:  # Panels are too low for two lines, and too narrow for the words.
        label = label.split("\n")[0]
    grid.label("operations" if narrow else "floating-point operations of training", [label] * len(panels))
    handles: dict[str, Artist] = {plain(variant): sample(styles[variant], line=True) for variant in shown}
    handles |= others_entry(len(variants) - len(shown))
    seeds = several(learning.groupby("variant", observed=True)["seed"].nunique())
    bands = "; bands: from the least to the greatest" if len(variants) <= _MOST_BANDS and seeds != "1" else ""
    plural = "seed" if seeds == "1" else "seeds"
    k = int(errors["n_context"].iloc[0])
    said = f"At k = {k} in-context examples, mean over cells and {seeds} {plural}{bands}."
    grey = [how_to_see_all(str(learning["experiment"].iloc[0]))] * (len(shown) < len(variants))
    return grid.finish(None if narrow else "Error by the operations of training", None, [said, *grey, *note], handles)


def _emphasised(errors: pd.DataFrame, variants: Sequence[str], named: Sequence[str]) -> list[str]:
    """The variants that have colours of their own, by their errors at the end in the first panel that they are in."""
    first = errors[errors["panel"] == errors["panel"].iloc[0]]
    last = first[first["step"] == first.groupby("variant", observed=True)["step"].transform("max")]
    ends = last.groupby("variant", observed=True)["value"].mean() * shown_metric().sign
    ranked = sorted(variants, key=lambda name: float(np.nan_to_num(ends.get(name, np.inf), nan=np.inf)))
    kept = emphasised(ranked, first=variants[:1], always=[name for name in named if name in variants])
    return [name for name in variants if name in kept]


def _errors(learning: pd.DataFrame, curriculum: pd.DataFrame) -> pd.DataFrame:
    """The mean over cells of each panel, variant, seed and step, at the longest prompts that all variants have."""
    drawn = curriculum[curriculum["planned_share"] > 0][["variant", *CELL]].drop_duplicates()
    trained: dict[str, set[Cell]] = {}
    for variant, function_class, inputs in drawn.itertuples(index=False):
        trained.setdefault(str(variant), set()).add((str(function_class), str(inputs)))
    longest = int(learning.groupby("variant", observed=True)["n_context"].max().min())
    metric, rows = with_metric(learning[learning["n_context"] == longest])
    shifts = rows["shift"] if "shift" in rows else ["none"] * len(rows)
    keys = zip(rows["variant"], *(rows[column] for column in CELL), shifts, strict=True)
    panels = [
        domain_of((str(name), str(inputs)), trained.get(str(variant), ())) if shift == "none" else "shifted"
        for variant, name, inputs, shift in keys
    ]
    rows = rows.assign(panel=pd.Series(panels, index=rows.index, dtype=object))
    means = rows.groupby(["panel", "variant", "seed", "step"], observed=True)["value"].mean().reset_index()
    return means.assign(n_context=longest, metric=metric)
