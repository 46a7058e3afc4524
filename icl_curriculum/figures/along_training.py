"""Errors with and without shifts against the training step: of weights that were kept, or from learning.csv."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from icl_curriculum.figures.categories import (
    UNSHIFTED,
    Category,
    CategoryErrors,
    category_labels,
    errors_by_category,
    in_order,
    several,
)
from icl_curriculum.figures.emphasis import MOST_ENTRIES, OTHER, others_entry
from icl_curriculum.figures.learning import class_colours, draw_blocks
from icl_curriculum.figures.names import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    LearnerStyle,
)
from icl_curriculum.figures.notes import has_several_steps
from icl_curriculum.figures.panels import FULL_WIDTH, PanelGrid, columns_for, styled
from icl_curriculum.figures.scales import (
    as_costs,
    bounded,
    count_scale,
    error_label,
    error_scale,
    range_label,
    without_empty_decades,
    zero_line,
)
from icl_curriculum.results.shown_metric import under_shifts
from icl_curriculum.results.tables import (
    Cell,
    NothingToDraw,
    blocks,
    distinct,
    evaluated_cells,
    of_variant,
    on_own_prompts,
    over_seeds,
)

#: The line of what the model was trained on, and those of shifts: any two differ by colour and line.
_OWN = LearnerStyle(BLUE, "-", "o", 2.2)
_SHIFTED = tuple(
    LearnerStyle(colour, line, marker, 1.3)
    for colour, line, marker in (
        (VERMILLION, (0, (5, 1.2)), "s"),
        (GREEN, (0, (1.2, 0.9)), "^"),
        (ORANGE, (0, (5, 1.2, 1, 1.2)), "D"),
        (PURPLE, (0, (3, 1)), "v"),
        (SKY, (0, (8, 1.2, 1, 1.2, 1, 1.2)), "P"),
    )
)

#: Up to so many steps are marked.
_FEW = 15


@dataclass(frozen=True)
class CellCourse:
    """A cell's errors along training, by the category of prompts, all at that category's number of examples."""

    cell: Cell
    found: Mapping[Category, CategoryErrors]

    @property
    def metric(self) -> str:
        return self.found[UNSHIFTED].metric


@styled
@without_empty_decades
def along_training(evaluation: pd.DataFrame, *, variant: str | None = None) -> Figure:
    """How a model's errors change along training, from evaluations of weights that were kept: a panel per cell.

    ``evaluation``: a table with several steps of a run, as ``icl evaluate RUN --step all`` writes it. A line for the
    prompts that the model was trained on, in a band over seeds, or of the interval over prompts where there is one; and
    one for each shift: those whose errors differ most from these have colours and names, as many as a legend of six
    entries has room for, and the others are grey. A marker is hollow where the cell had had no share
    in training yet. Raises NothingToDraw for a table of one step.
    """
    rows = of_variant(evaluation, variant)
    rows = rows[rows["learner_kind"] == "model"]
    names = distinct(rows["learner"])
    rows = rows[rows["learner"] == ("model" if "model" in names else next(iter(names), ""))]
    if not has_several_steps(rows):
        raise NothingToDraw("no errors of a model at several steps")
    courses = _courses(evaluated_cells(rows), rows)
    grid = _grid(courses)
    note, handles = _draw(grid, courses, rows["seed"].nunique())
    note += ["Hollow: not trained on yet."] * any(_before(course) for course in courses)
    return grid.finish("Errors along training", variant, note, handles)


@styled
@under_shifts()
@without_empty_decades
def learning_under_shifts(learning: pd.DataFrame, curriculum: pd.DataFrame, *, variant: str | None = None) -> Figure:
    """Errors under the shifts of `evaluation.learning_shifts` while training goes on: a panel per cell.

    Lines as in `along_training`, blocks as in `learning_curves`. Raises NothingToDraw if ``learning`` has no shifts.
    """
    colours = class_colours(curriculum)
    planned = of_variant(curriculum, variant)
    rows = of_variant(learning, variant).assign(learner_kind="model")
    own = on_own_prompts(rows, planned)
    if len(own) == len(rows):
        raise NothingToDraw("no errors under shifts during training")
    spans = blocks(planned)
    trained = {pair for block in spans for pair in block.cells}
    pairs = dict.fromkeys(zip(own["function_class"], own["input_distribution"], strict=True))
    courses = _courses([Cell(str(pair[0]), str(pair[1]), pair in trained) for pair in pairs], rows)
    grid = _grid(courses)
    for axes, course in zip(grid.axes, courses, strict=True):
        draw_blocks(axes, spans, course.cell, colours.get(course.cell.function_class, GREY))
    seeds = rows["seed"].nunique()
    note, handles = _draw(grid, courses, seeds)
    what = "class and inputs" if len({course.cell.inputs for course in courses}) > 1 else "class"
    note += [f"Shaded: the panel's {what} in training."] * bool(spans)
    note += ["Dotted: the curriculum moves on."] * (len(spans) > 1)
    return grid.finish("Errors under shifts during training", variant, note, handles)


def _courses(cells: Sequence[Cell], rows: pd.DataFrame) -> list[CellCourse]:
    """The errors of each cell that has any without a shift."""
    found = [
        CellCourse(cell, {errors.category: errors for errors in errors_by_category(cell, cells, rows)})
        for cell in cells
    ]
    found = [course for course in found if UNSHIFTED in course.found]
    if not found:
        raise NothingToDraw("no errors without a shift")
    return found


def _grid(courses: Sequence[CellCourse]) -> PanelGrid:
    # One panel is as wide as several, as its legend has as many entries.
    columns = columns_for(len(courses))
    return PanelGrid.of(len(courses), columns=columns, height=2.2 if columns == 1 else 1.6, width=FULL_WIDTH)


def _draw(grid: PanelGrid, courses: Sequence[CellCourse], seeds: int) -> tuple[list[str], dict[str, Artist]]:
    """Draw the lines of every cell into the first panels of the grid, and label these.

    Returns the note, and what the legend says beside the lines' own labels.
    """
    styles = _styles(courses)
    labels = _labels(courses)
    drawn = []
    last = 0
    for axes, course in zip(grid.axes, courses, strict=True):
        zero_line(axes, "y")
        for category in in_order(course.found):
            drawn.append(_line(axes, course, category, styles[category], labels[category]))
            last = max(last, int(course.found[category].errors["step"].max()))
    grid.title_cells([course.cell for course in courses])
    note = error_scale(grid.axes[0], "y", drawn)
    count_scale(grid.axes[0].xaxis, 4)
    grid.axes[0].set_xlim(0, last)
    grid.label("training step", [error_label(course.metric) for course in courses])
    said = [f"At k = {several(course.found[UNSHIFTED].k for course in courses)} in-context examples."]
    said += [f"Lines: mean of {seeds} seeds."] * (seeds > 1)
    own = pd.concat([course.found[UNSHIFTED].errors for course in courses])
    if seeds > 1 or "ci_low" in own:
        said.append(f"Band: {range_label(seeds)}.")
    others = sum(style == OTHER for style in styles.values())
    said += ["Grey: shifts whose errors keep closest to those without one."] * bool(others)
    return [*said, *note], others_entry(others)


def _line(axes: Axes, course: CellCourse, category: Category, style: LearnerStyle, label: str) -> pd.DataFrame:
    """Draw the errors in a category, those without a shift above the others and in a band. Returns what was drawn."""
    errors, own = course.found[category].errors, category == UNSHIFTED
    summary = over_seeds(errors, "step")
    marked = style.marker if len(summary) <= _FEW and style != OTHER else ""
    gid = f"{category.kind.name} {category.id}"
    axes.plot(
        summary.index, bounded(summary["mean"]), color=style.colour, linestyle=style.line, linewidth=style.width,
        marker=marked, markersize=4.5 if own else 3.0, label=None if style == OTHER else label, gid=gid,
        zorder=4 if own else 2.5 if style == OTHER else 3, clip_on=False,
    )  # fmt: skip
    if not own:
        return summary[["mean"]]
    if (before := _before(course)) and marked:
        early = summary.loc[before, "mean"]
        axes.plot(
            early.index, bounded(early), linestyle="none", marker=marked, markersize=4.5, color=style.colour,
            markerfacecolor="white", gid="not trained on yet", zorder=5, clip_on=False,
        )  # fmt: skip
    axes.fill_between(
        summary.index, bounded(summary["low"]), bounded(summary["high"]), color=style.colour, alpha=0.2, linewidth=0,
        gid=f"{gid} range", zorder=2,
    )  # fmt: skip
    return summary


def _before(course: CellCourse) -> list[int]:
    """The steps at which a cell that was trained on later had had no share in training."""
    errors = course.found[UNSHIFTED].errors
    if "in_distribution" not in errors or not course.cell.trained:
        return []
    known = errors.groupby("step")["in_distribution"].any()
    return [int(step) for step in known.index[~known.to_numpy(dtype=bool)]]


def _styles(courses: Sequence[CellCourse]) -> dict[Category, LearnerStyle]:
    """A style for each category; grey are those that keep closest to the unshifted, if there are too many."""
    categories = in_order(category for course in courses for category in course.found)
    shifted = [category for category in categories if category != UNSHIFTED]
    strays = {category: _stray(category, courses) for category in shifted}
    # One entry is that of the prompts without a shift, and one of all others.
    room = MOST_ENTRIES - (1 if len(shifted) < MOST_ENTRIES else 2)
    chosen = {*sorted(shifted, key=lambda category: -strays[category])[:room]}
    coloured = dict(zip([category for category in shifted if category in chosen], _SHIFTED, strict=False))
    return {UNSHIFTED: _OWN} | {category: coloured.get(category, OTHER) for category in shifted}


def _stray(category: Category, courses: Sequence[CellCourse]) -> float:
    """By how many powers of ten the errors in a category differ from those without a shift, over steps and cells."""
    found = []
    for course in courses:
        if category in course.found:
            means = [course.found[each].errors.groupby("step")["value"].mean() for each in (category, UNSHIFTED)]
            one, other = means[0].align(means[1], join="inner")
            found.append(float(np.abs(as_costs(one) - as_costs(other)).mean()) if len(one) else math.nan)
    # Rounded, so that what differs in the last digit alone stays in the order of the table.
    return round(float(np.nanmean(found)), 9) if not np.all(np.isnan(found)) else 0.0


def _labels(courses: Sequence[CellCourse]) -> dict[Category, str]:
    """The categories in words, with the metric of one that a panel shows in another than its first."""
    shown = [(errors, course.metric) for course in courses for errors in course.found.values()]
    labels = category_labels(
        [(errors.category, errors.k) for errors, _ in shown], all_trained=all(course.cell.trained for course in courses)
    )
    others = {errors.category for errors, metric in shown if errors.metric != metric}
    return {key: f"{label} (median error)" if key in others else label for key, label in labels.items()}
