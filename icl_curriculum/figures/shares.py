"""The share of each class in training by step, as planned and as drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from icl_curriculum.figures.learning import class_colours
from icl_curriculum.figures.names import CLASS_COLOURS, HATCHES, inputs_label, pretty
from icl_curriculum.figures.panels import PanelGrid, styled
from icl_curriculum.figures.scales import count_scale
from icl_curriculum.results.tables import NothingToDraw, blocks, distinct, of_variant, shares_by_step

#: Drawn shares are averaged over logged intervals until about this many remain.
POINTS = 60


@styled
def curriculum(curriculum: pd.DataFrame, *, variant: str | None = None) -> Figure:
    """Stacked shares of the classes by step, planned beside drawn, with a second row for several input distributions.

    Raises NothingToDraw if the table is empty.
    """
    rows = of_variant(curriculum, variant)
    planned, drawn = (shares_by_step(rows, column) for column in ("planned_share", "drawn_share"))
    if planned.empty:
        raise NothingToDraw("no logged steps")
    inputs = distinct(curriculum["input_distribution"])
    # Colours are taken from the other end of the palette, so that inputs do not look like the first classes.
    input_colours = {name: CLASS_COLOURS[-1 - i % len(CLASS_COLOURS)] for i, name in enumerate(inputs)}
    levels = [("function_class", class_colours(curriculum), "share of classes")]
    if len(inputs) > 1:
        levels.append(("input_distribution", input_colours, "share of inputs"))

    grid = PanelGrid.of(2 * len(levels), columns=2, height=1.5)
    window = -(-len(drawn) // POINTS)
    averaged = _averaged(drawn, window, [block.start for block in blocks(rows)])
    for row, (level, colours, _) in enumerate(levels):
        for axes, shares in zip(grid.axes[2 * row :], (planned, averaged), strict=False):
            by_name = shares.T.groupby(level=level, sort=False).sum().T
            _stack(axes, by_name, colours, inputs_label if row else pretty)

    seeds = rows["seed"].nunique()
    interval = int(np.median(np.diff(planned.index, prepend=0)))
    note = f"Each value is a mean over {interval:,} steps"
    note += f" as planned, over {window * interval:,} as drawn" if window > 1 else ""
    note += f", and over {seeds} seeds." if seeds > 1 else "."
    for axes, heading in zip(grid.axes, ("as planned", "as drawn"), strict=False):
        grid.title_panel(axes, heading)
    grid.axes[0].set(xlim=(0, planned.index.max()), ylim=(0, 1))
    grid.axes[0].set_yticks([0, 0.5, 1], ["0", "50%", "100%"])
    count_scale(grid.axes[0].xaxis, 6)
    grid.label("training step", [label for _, _, label in levels for _ in range(2)])
    return grid.finish("Curriculum: share of the training prompts", variant, [note])


def _averaged(shares: pd.DataFrame, window: int, starts: list[float]) -> pd.DataFrame:
    """Means over ``window`` logged intervals, weighted by length. None crosses the edge of a block."""
    ends = shares.index.to_numpy(dtype=float)
    lengths = np.diff(ends, prepend=0.0)
    block = pd.Series(np.searchsorted(starts, ends - lengths / 2))
    place = block.groupby(block).cumcount() // window
    groups = pd.Series(list(zip(block, place, strict=True))).factorize()[0]
    sums = shares.mul(lengths, axis=0).groupby(groups).sum()
    means = sums.div(pd.Series(lengths).groupby(groups).sum(), axis=0)
    return means.set_axis(pd.Series(ends).groupby(groups).last())


def _stack(axes: Axes, shares: pd.DataFrame, colours: dict[str, str], label: Callable[[str], str]) -> None:
    # Of consecutive equal shares, only the last is kept.
    shares = shares[(shares != shares.shift(-1)).any(axis=1)]
    steps = [0, *shares.index]
    tops = np.cumsum(shares.to_numpy(), axis=1).T
    for i, name in enumerate(shares.columns):
        # A share holds over the interval that ends at its step.
        low, high = (np.concatenate([values[:1], values]) for values in (tops[i] - shares.to_numpy().T[i], tops[i]))
        axes.fill_between(
            steps, low, high, step="pre", facecolor=colours[name], edgecolor="white", linewidth=0.5,
            hatch=HATCHES[i % len(HATCHES)], label=label(name), gid=str(name),
        )  # fmt: skip
