"""Errors under shifts with the variants side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from icl_curriculum.figures.names import GREY, inputs_label, shift_label
from icl_curriculum.figures.panels import styled
from icl_curriculum.figures.scales import bounded, error_label, error_scale, without_empty_decades, zero_line
from icl_curriculum.figures.variants import Shown, shade_rows
from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.sources import Cell, in_cell
from icl_curriculum.results.shown_metric import under_shifts
from icl_curriculum.results.statistics.seeds import interquartile_mean

#: The share of a row's height over which markers of variants are spread, the inches for each, and the least of a row.
_SPREAD, _EACH, _LOWEST = 0.72, 0.075, 0.26

#: Inches that the names of shifts take.
_LEFT = 1.2

#: Kind and name of a shift; None for none.
Shift = tuple[str, str] | None


@styled
@under_shifts()
@without_empty_decades
def errors_under_shifts(outcomes: Outcomes, cells: Sequence[Cell] | None = None, *, narrow: bool = False) -> Figure:
    """The error under each shift: a panel per cell, a row per shift, a marker per variant that was trained on the cell.

    The markers are interquartile means over seeds at the longest trained prompts, in the first row without a shift.
    ``cells`` and ``narrow``: as in `curves_by_variant`. Raises NothingToDraw if the experiment evaluated under no
    shift.
    """
    shown = Shown.of(outcomes, cells, narrow=narrow)
    table = outcomes.shifted
    found = {cell: errors for cell in shown.cells if len(errors := _errors(shown, table, cell)) > 1}
    shown = shown.only(found, "no errors under a shift")
    shifts: list[Shift] = list(dict.fromkeys(shift for errors in found.values() for shift in errors))
    # As everywhere, changed inputs come before other shifts, and both are in the order of the table.
    shifts.sort(key=lambda shift: (shift is not None, shift is not None and shift[0] != "inputs"))
    variants = list(
        dict.fromkeys(name for errors in found.values() for of_shift in errors.values() for name in of_shift)
    )
    most = max(len(errors[None]) for errors in found.values())

    grid = shown.grid(height=len(shifts) * max(_LOWEST, _EACH * most), left=_LEFT)
    grid.axes[0].set_yticks(range(len(shifts)), list(map(_label, shifts)))
    grid.axes[0].set_ylim(len(shifts) - 0.5, -0.5)
    for axes, cell in zip(grid.axes, shown.cells, strict=True):
        errors = found[cell]
        shade_rows(axes, len(shifts))
        for row, shift in enumerate(shifts):
            if shift not in errors:
                axes.text(0.02, row, "n/a", transform=axes.get_yaxis_transform(), va="center", color=GREY)
        own = list(errors[None])
        for i, variant in enumerate(own):
            offset = _SPREAD * ((i + 0.5) / len(own) - 0.5)
            rows = [row for row, shift in enumerate(shifts) if variant in errors.get(shift, {})]
            style = shown.styles[variant]
            axes.plot(
                bounded([errors[shifts[row]][variant] for row in rows]), np.array(rows) + offset, linestyle="none",
                marker=style.marker, markersize=4.2, color=style.colour, gid=variant, clip_on=False, zorder=3,
            )  # fmt: skip
        zero_line(axes, "x")

    values = [list(of_shift.values()) for errors in found.values() for of_shift in errors.values()]
    note = [shown.examples]
    note += [f"Interquartile means of {shown.seeds} seeds."] * (shown.seeds != "1")
    wide = grid.figure.get_figwidth() / grid.columns > 3
    note += error_scale(grid.axes[0], "x", values, across=5 if wide else 3)
    shown.title_panels(grid, metrics=True)
    grid.label(error_label(shown.first_metric), [""] * len(shown.cells))
    return shown.finish(grid, "Error under shifts", note, shown.legend(variants, lines=False))


def _errors(shown: Shown, table: pd.DataFrame, cell: Cell) -> dict[Shift, dict[str, float]]:
    """By shift, the statistic of each variant that was trained on the cell; first that of errors without a shift."""
    trained = shown.trained(cell)
    if not trained:
        return {}
    errors: dict[Shift, dict[str, float]] = {
        None: {name: _statistic(rows["error"]) for name, rows in trained.items()}
    }  # fmt: skip
    own = in_cell(table, cell)
    own = own[own["variant"].isin(list(trained))]
    for (kind, name, variant), rows in own.groupby(["shift_kind", "shift", "variant"], sort=False, observed=True):
        errors.setdefault((str(kind), str(name)), {})[str(variant)] = _statistic(rows["value"])
    return errors


def _statistic(errors: pd.Series) -> float:
    return float(interquartile_mean(errors))


def _label(shift: Shift) -> str:
    if shift is None:
        return "no shift"
    kind, name = shift
    return inputs_label(name) if kind == "inputs" else shift_label(name)
