"""What attention heads attend to, head by head; and the errors of models some of whose heads are masked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from icl_curriculum.figures.coloured_cells import COLOURS
from icl_curriculum.figures.names import BLUE, GREY, VERMILLION, plain
from icl_curriculum.figures.panels import PanelGrid, columns_for, styled
from icl_curriculum.figures.scales import bounded, error_label, error_scale, without_empty_decades, zero_line
from icl_curriculum.results.masking import MASKED, controls_of, masks_of
from icl_curriculum.results.tables import Cell, NothingToDraw, distinct, with_metric

#: The scores in the order of the panels, and what each is called.
SCORES = {
    "retrospective": "y_i to its own x_i",
    "previous_label": "y_i to y_(i-1)",
    "start": "to the first token",
    "earlier_labels": "x_k to earlier labels",
    "nearest": "x_k to labels of similar x (rank correlation)",
}
#: Inches of a layer's row, and of what stands for one learner in the figure of errors.
_ROW, _LINE = 0.26, 0.24
_JITTER = 0.17


@styled
def head_scores(heads: pd.DataFrame, *, score: str = "retrospective") -> Figure:
    """Scores of every head, layers by heads, means over the cells that are in the table.

    For one run a panel for each score; for several a panel for each run with the one named ``score``. Raises
    NothingToDraw if the table is empty.
    """
    # Scores along training are another figure's.
    heads = heads[heads["step"] == heads.groupby("run", observed=True)["step"].transform("max")]
    runs = distinct(heads["run"])
    if not runs:
        raise NothingToDraw("no scores of heads")
    alone = len(runs) == 1
    panels = {
        (SCORES[name] if alone else plain(run)): of_run[of_run["score"] == name]
        for run in runs
        for name in (SCORES if alone else (score,))
        for of_run in [heads[heads["run"] == run]]
    }
    grids = {title: _by_head(rows) for title, rows in panels.items()}
    layers, across = max(grid.shape[0] for grid in grids.values()), max(grid.shape[1] for grid in grids.values())
    columns = columns_for(len(grids), 5 if across <= 4 else 3)
    grid = PanelGrid.of(len(grids), columns=columns, height=_ROW * layers, left=0.5, shared_rows=False)
    for axes, (title, numbers) in zip(grid.axes, grids.items(), strict=True):
        _draw_heads(axes, numbers)
        grid.title_panel(axes, title)
    grid.axes[0].set(xlim=(0.5, across + 0.5), xticks=range(1, across + 1))
    grid.label("head", ["layer"] * len(grids))
    prompts = int(heads["n_prompts"].max())
    cells = len(heads[["function_class", "input_distribution"]].drop_duplicates())
    what = (
        "Scores from 0 (dark) to 1 (light)" if alone else f"Mean attention from {SCORES[score]}, 0 (dark) to 1 (light)"
    )
    note = f"{what}: means over {prompts} prompts" + (f" of each of {cells} classes and inputs." if cells > 1 else ".")
    name = "What attention heads attend to" if alone else f"{score.capitalize()} attention heads".replace("_", " ")
    return grid.finish(name, None, [note])


def _by_head(rows: pd.DataFrame) -> NDArray[np.float64]:
    means = rows.pivot_table(index="layer", columns="head", values="value", dropna=False)
    return means.to_numpy(dtype=np.float64)


def _draw_heads(axes: Axes, numbers: NDArray[np.float64]) -> None:
    layers, heads = numbers.shape
    axes.grid(visible=False)
    for i, j in np.ndindex(layers, heads):
        value = float(numbers[i, j])
        shade = 0.0 if np.isnan(value) else min(max(value, 0.0), 1.0)
        axes.add_patch(Rectangle((j + 0.5, i + 0.5), 1, 1, facecolor=COLOURS(shade), edgecolor="white", linewidth=0.8))
        text = "n/a" if np.isnan(value) else f"{value:.2f}"
        axes.text(
            j + 1, i + 1, text, ha="center", va="center", fontsize=6.5, color="black" if shade > 0.55 else "white"
        )
    axes.set(ylim=(layers + 0.5, 0.5), yticks=range(1, layers + 1))


@styled
@without_empty_decades
def masked_heads(evaluation: pd.DataFrame) -> Figure:
    """Errors at the longest trained prompt: of models as they are, with heads masked, and with control sets masked.

    A panel for each class and inputs, a line for each variant and mask. Raises NothingToDraw without a masked model.
    """
    evaluation = evaluation[evaluation["step"] == evaluation.groupby("run", observed=True)["step"].transform("max")]
    inside = evaluation[evaluation["in_distribution"].astype(bool)]
    masks = masks_of(pd.Index(distinct(inside["learner"])))
    if not masks:
        raise NothingToDraw("no model with masked heads")
    variants = distinct(inside["variant"])
    lines = [(variant, mask) for variant in variants for mask in masks]
    pairs = dict.fromkeys(zip(inside["function_class"], inside["input_distribution"], strict=True))
    cells = [Cell(str(pair[0]), str(pair[1]), True) for pair in pairs]
    columns = columns_for(len(cells), 4)
    grid = PanelGrid.of(len(cells), columns=columns, height=_LINE * len(lines) + 0.15, left=1.6)
    drawn: list[Any] = []
    metrics, lengths, controls = [], set(), 0
    for axes, cell in zip(grid.axes, cells, strict=True):
        rows = cell.of(inside)
        rows = rows[rows["n_context"] == rows["n_context"].max()]
        metric, rows = with_metric(rows)
        metrics.append(metric)
        lengths |= {*rows["n_context"]}
        zero_line(axes, "x")
        for place, (variant, mask) in enumerate(lines):
            errors = list(_errors(rows[rows["variant"] == variant], mask))
            drawn += [values for values, *_ in errors]
            controls = max([controls, *(values.size for values, label, _ in errors if label.startswith("control"))])
            for values, label, style in errors:
                spread = place + _JITTER * np.linspace(-1, 1, values.size) * label.startswith("control")
                axes.plot(bounded(values), spread, linestyle="none", label=label, gid=label, **style)
    note = error_scale(grid.axes[0], "x", drawn, across=4)
    labels = [variant if len(masks) == 1 else f"{variant}, {_short(mask)}" for variant, mask in lines]
    grid.axes[0].set(ylim=(len(lines) - 0.5, -0.5))
    grid.axes[0].set_yticks(range(len(lines)), [plain(label) for label in labels])
    grid.title_cells(cells)
    grid.label(error_label(metrics[0]), [""] * len(cells))
    seeds = inside["seed"].nunique()
    said = f"Masked: {_short(masks[0])} heads. " if len(masks) == 1 else ""
    said += f"At k = {', '.join(map(str, sorted(lengths)))} in-context examples."
    marks = [f"each of {seeds} seeds"] * (seeds > 1) + ["each control set of as many other heads"] * bool(controls)
    said += f" One mark for {' and for '.join(marks)}." if marks else ""
    return grid.finish("Errors with attention heads masked", None, [said, *note])


def _short(mask: str) -> str:
    """A mask in few words.

    >>> _short("retrospective/n=2"), _short("4.1+4.5/by=mean")
    ('2 retrospective', '4.1+4.5 (by mean)')
    """
    name, *settings = mask.split("/")
    given = dict(setting.split("=", 1) for setting in settings if "=" in setting)
    words = f"{given['n']} {name.replace('_', ' ')}" if "n" in given else name
    return words + (" (by mean)" if given.get("by") == "mean" else "")


def _errors(rows: pd.DataFrame, mask: str) -> Iterator[tuple[NDArray[np.float64], str, dict[str, Any]]]:
    """Errors of a variant, what they are called, and how they are drawn."""
    learners = pd.Index(distinct(rows["learner"]))

    def values(names: Sequence[str]) -> NDArray[np.float64]:
        return rows.loc[rows["learner"].isin(names), "value"].to_numpy(dtype=np.float64)

    if controls := controls_of(mask, learners):
        style: dict[str, Any] = {"marker": ".", "color": GREY, "markersize": 2.5, "alpha": 0.8}
        yield values(controls), "control: other heads masked", style
    if "model" in learners:
        style = {"marker": "o", "color": BLUE, "markersize": 4.5, "markerfacecolor": "white"}
        yield values(["model"]), "no head masked", style
    if MASKED + mask in learners:
        style = {"marker": "X", "color": VERMILLION, "markersize": 5}
        yield values([MASKED + mask]), "heads of the highest score masked", style
