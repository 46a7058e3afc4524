"""Styles, cells and the sheet that all figures share which set variants side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from icl_curriculum.figures.categories import several
from icl_curriculum.figures.emphasis import OTHER, how_to_see_all, others_entry, variant_entries
from icl_curriculum.figures.lettering import TEXT, text_height, wrapped
from icl_curriculum.figures.names import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    LearnerStyle,
    inputs_label,
    plain,
    pretty,
)
from icl_curriculum.figures.panels import FULL_WIDTH, NARROW, PanelGrid, columns_for
from icl_curriculum.results.comparison.outcomes import Outcomes, by_variant
from icl_curriculum.results.comparison.shown import MOST_SHOWN, left_out, shown_variants
from icl_curriculum.results.comparison.sources import CELL, Cell, in_cell
from icl_curriculum.results.shown_metric import metric_titles
from icl_curriculum.results.tables import NothingToDraw, distinct

#: The most inches that the names of variants take.
_NAMES = 1.2

#: Styles of variants that train on several cells. Counting goes through both at once, as six and five share no factor.
_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
_LINES: tuple[Any, ...] = ("-", (0, (5, 1.2)), (0, (5, 1.2, 1, 1.2)), (0, (1.2, 0.9)), (0, (8, 1.2, 1, 1.2, 1, 1.2)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: Styles of the first, second, ... variant that trains on one cell alone.
_ALONE: tuple[tuple[str, Any], ...] = ((BLACK, "-"), ("#94714F", (0, (2.5, 1))), ("#5A4632", (0, (1, 1))))
_MARKERS_ALONE = ("d", "*", "<", ">", "p", "h", "H", "8")


def variant_styles(variants: Sequence[str], alone: Mapping[str, Cell] | None = None) -> dict[str, LearnerStyle]:
    """A style for each variant, by its place among the ``variants``.

    ``alone``: the cell of each variant that trains on one cell only. These are black or brown, as the coloured variants
    are compared with them: the first of each cell is black, the second brown, with a marker for each cell. So any two
    styles that can stand in one panel differ by colour and line, and any others at least by one of these or the marker.
    """
    alone = alone or {}
    cells = list(dict.fromkeys(alone[variant] for variant in variants if variant in alone))
    styles = {}
    seen: dict[Cell, int] = {}
    coloured = 0
    for variant in variants:
        if cell := alone.get(variant):
            rank = seen[cell] = seen.get(cell, -1) + 1
            colour, line = _ALONE[rank % len(_ALONE)]
            marker = _MARKERS_ALONE[(cells.index(cell) + rank // len(_ALONE)) % len(_MARKERS_ALONE)]
        else:
            colour, line = _COLOURS[coloured % len(_COLOURS)], _LINES[coloured % len(_LINES)]
            marker = _MARKERS[coloured % len(_MARKERS)]
            coloured += 1
        styles[variant] = LearnerStyle(colour, line, marker, 1.6)
    return styles


@dataclass(frozen=True)
class Shown:
    """The chosen cells of an experiment, and the style of each of its variants.

    ``narrow``: whether it is drawn as wide as a telephone and without a title, as one cell that was asked for is.
    ``drawn``: the variants that are drawn of each cell that has too many for all, see `shown_variants`. ``entries``:
    the legend's words for each variant that has a colour of its own; the others are grey, see `variant_entries`.
    """

    rows: pd.DataFrame
    cells: list[Cell]
    styles: dict[str, LearnerStyle]
    narrow: bool
    drawn: Mapping[Cell, Sequence[str]]
    entries: Mapping[str, str]

    @classmethod
    def of(cls, outcomes: Outcomes, cells: Sequence[Cell] | None, *, narrow: bool = False) -> Shown:
        """Choose the ``cells`` asked for, None for all. Raises NothingToDraw if the experiment has none of them."""
        rows = outcomes.rows
        chosen = [cell for cell in outcomes.cells if cells is None or cell in cells]
        if not chosen:
            raise NothingToDraw("no errors in any of the cells")
        single = rows[rows["single"].astype(bool)].drop_duplicates("variant")
        alone = {str(v): (str(c), str(i)) for v, c, i in single[["variant", *CELL]].itertuples(index=False)}
        names = distinct(rows["variant"])
        drawn: dict[Cell, Sequence[str]] = {}
        if len(names) > MOST_SHOWN:
            of_cells = {cell: shown_variants(outcomes, cell) for cell in outcomes.cells}
            drawn = {
                cell: shown for cell, shown in of_cells.items() if len(shown) < len(outcomes.trained_variants(cell))
            }
            # Only what is drawn somewhere takes up a style.
            names = [name for name in names if any(name in shown for shown in of_cells.values())]
        entries = variant_entries(outcomes, names, alone)
        coloured = variant_styles([name for name in names if name in entries], alone)
        styles = {name: coloured.get(name, OTHER) for name in names}
        return cls(rows, chosen, styles, narrow or (cells is not None and len(chosen) == 1), drawn, entries)

    def only(self, cells: Iterable[Cell], otherwise: str) -> Shown:
        """Keep the chosen cells that are in ``cells``. Raises NothingToDraw, saying ``otherwise``, if there is none."""
        kept = {*cells}
        left = [cell for cell in self.cells if cell in kept]
        if not left:
            raise NothingToDraw(otherwise)
        return dataclasses.replace(self, cells=left)

    def of_cell(self, cell: Cell) -> pd.DataFrame:
        return in_cell(self.rows, cell)

    def trained(self, cell: Cell) -> dict[str, pd.DataFrame]:
        """The rows of each variant that was trained on a cell and is drawn, in the order of the table."""
        own = self.of_cell(cell)
        own = own[own["trained"].astype(bool)]
        if cell in self.drawn:
            own = own[own["variant"].isin(self.drawn[cell])]
        return by_variant(own)

    @property
    def left_out(self) -> list[str]:
        """Sentences on the variants that are drawn, where a cell has too many for all, and on those that are grey."""
        counts = [
            (len(self.drawn[cell]), self.of_cell(cell).query("trained")["variant"].nunique())
            for cell in self.cells if cell in self.drawn
        ]  # fmt: skip
        said = left_out(*max(counts, key=lambda pair: pair[1])) if counts else []
        grey = len(self.entries) < len(self.styles)
        return said + [how_to_see_all(str(self.rows["experiment"].iloc[0]))] * grey

    def metric(self, cell: Cell) -> str:
        return str(self.of_cell(cell)["metric"].iloc[0])

    @property
    def first_metric(self) -> str:
        """The metric that most figures show: the normalized error if any panel has it."""
        return next(metric for metric in metric_titles() if any(self.metric(cell) == metric for cell in self.cells))

    @property
    def several_inputs(self) -> bool:
        return self.rows["input_distribution"].nunique() > 1

    @property
    def seeds(self) -> str:
        counts = self.rows.groupby("variant", observed=True)["seed"].nunique()
        return several(counts)

    @property
    def examples(self) -> str:
        k = several(int(n) for cell in self.cells for n in self.of_cell(cell)["n_context"])
        return f"At k = {k} in-context examples."

    def label(self, cell: Cell) -> str:
        """Words a cell, with its inputs only where the experiment has several."""
        return pretty(cell[0]) + (f"\n{inputs_label(cell[1])}" if self.several_inputs else "")

    def title_panels(self, grid: PanelGrid, *, metrics: bool = False) -> None:
        """Give panels their titles. ``metrics``: also name the metric of panels whose metric is not the first one."""
        for axes, cell in zip(grid.axes, self.cells, strict=True):
            other = metrics and self.metric(cell) != self.first_metric
            grid.title_panel(axes, *self.label(cell).split("\n"), *[f"({metric_titles()[self.metric(cell)]})"] * other)

    def grid(self, *, height: float, most: int = 3, right: float = 0.0, left: float = 0.65,
             shared_rows: bool = True, narrow: int = 1) -> PanelGrid:  # fmt: skip
        """A grid with a panel for each cell and at most ``most`` in a row, or ``narrow``; see `PanelGrid.of`."""
        if self.narrow:
            columns = min(len(self.cells), narrow)
            width: float | None = NARROW
        else:
            # One column of three panels would leave no gap, but half of the page empty.
            columns = min(len(self.cells), most) if most == 2 else columns_for(len(self.cells), most=most)
            width = FULL_WIDTH if columns > 1 else None
        return PanelGrid.of(
            len(self.cells), columns=columns, height=height, left=left, right=right, width=width,
            shared_rows=shared_rows,
        )  # fmt: skip

    def finish(self, grid: PanelGrid, title: str, note: Iterable[str], extra: Mapping[str, Artist]) -> Figure:
        return grid.finish(None if self.narrow else title, None, [*note, *self.left_out], extra)

    def legend(self, variants: Iterable[str], *, lines: bool) -> dict[str, Artist]:
        """Samples of the variants in the order of the table: lines that end in markers, or markers alone."""
        wanted = {*variants}
        made: dict[str, Artist] = {}
        for name, style in self.styles.items():
            if name in wanted and name in self.entries:
                made.setdefault(plain(self.entries[name]), sample(style, lines))
        return made | others_entry(len(wanted - self.entries.keys()))


def row_labels(variants: Sequence[str]) -> list[str]:
    """The names of variants, broken into lines that fit at the left of a panel."""
    return [wrapped(plain(variant), _NAMES, TEXT) for variant in variants]


def row_height(groups: Iterable[Iterable[str]], lowest: float) -> float:
    """The inches of a row that has room for the names of variants, at least ``lowest``."""
    labels = row_labels([variant for group in groups for variant in group])
    return max(lowest, *(text_height(label, TEXT) + 0.06 for label in labels))


def label_rows(axes: Axes, variants: Sequence[str], count: int) -> None:
    """Label rows from the top with the names of variants, with room for ``count`` rows."""
    axes.set_yticks(range(len(variants)), row_labels(variants))
    shade_rows(axes, len(variants))
    axes.set_ylim(count - 0.5, -0.5)


def shade_rows(axes: Axes, count: int) -> None:
    """Shade every other row, instead of lines between rows."""
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    for row in range(1, count, 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", linewidth=0, zorder=0)


def sample(style: LearnerStyle, line: bool) -> Line2D:
    """The artist that stands for a style in a legend."""
    return Line2D(
        [], [], color=style.colour, linestyle=style.line if line else "none", linewidth=style.width,
        marker=style.marker, markersize=4.5,
    )  # fmt: skip
