"""The tables that ``icl heads`` ends with, made from what it wrote alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from rich.table import Table

from icl_curriculum.results.masking import masking_rows
from icl_curriculum.results.shown_metric import USUAL
from icl_curriculum.results.tables import distinct, read_table

#: Heads of each score that are shown.
_SHOWN = 3


def head_tables(folder: Path) -> Iterator[Table]:
    """The heads of the highest scores, if the folder is of one run; and the errors with heads masked."""
    heads = read_table(folder, "heads")
    heads = heads[heads["step"] == heads.groupby("run", observed=True)["step"].transform("max")]
    if heads["run"].nunique() == 1:
        yield _highest(heads)
    evaluation = read_table(folder, "evaluation")
    if len(evaluation):
        yield _masked(pd.DataFrame(masking_rows(evaluation)), USUAL.of(evaluation).nothing)


def _highest(heads: pd.DataFrame) -> Table:
    table = _table("Highest-scoring heads, layer.head counted from 1, means over classes")
    for column in ("score", *("head", "value") * _SHOWN):
        table.add_column(column, justify="right" if column == "value" else "left")
    for score in distinct(heads["score"]):
        means = heads[heads["score"] == score].groupby(["layer", "head"], as_index=False)["value"].mean()
        top = pd.DataFrame(means).sort_values("value", ascending=False, kind="stable").head(_SHOWN)
        found = zip(top["layer"], top["head"], top["value"], strict=True)
        cells = [text for layer, head, value in found for text in (f"{layer}.{head}", f"{value:.2f}")]
        table.add_row(score.replace("_", " "), *cells)
    return table


def _masked(rows: pd.DataFrame, nothing: str) -> Table:
    k = ", ".join(str(k) for k in sorted({*rows["n_context"]}))
    seeds = int(rows["n_seeds"].max())
    of = f", mean over {seeds} seeds and its interval" if seeds > 1 else ""
    table = _table(f"Normalized error at k = {k} with heads masked (1 = {nothing}{of})")
    columns = ("variant", "class", "masked", "none masked", "masked heads", "control sets", "worst control", "below")
    for column in columns:
        table.add_column(column, no_wrap=True)
    keys = ["variant", "function_class", "input_distribution", "mask"]
    for (variant, function_class, _, mask), found in rows.groupby(keys, sort=False, observed=True):
        values = found.set_index("quantity")
        shown = [_shown(values, name) for name in ("error", "masked", "control", "worst_control")]
        below = _shown(values, "controls_below", share=True)
        table.add_row(str(variant), str(function_class), str(mask), *shown, below)
    table.caption = "below: the share of control sets with a lower error than with the masked heads"
    table.caption_justify = "left"
    return table


def _shown(values: pd.DataFrame, quantity: str, *, share: bool = False) -> str:
    """A number with its interval; a dash where there is none."""
    if quantity not in values.index:
        return "–"
    value, low, high = values.loc[[quantity], ["value", "ci_low", "ci_high"]].to_numpy(dtype=float)[0]
    if share:
        return f"{value:.0%}"
    return f"{value:.3f}" + ("" if math.isnan(low) else f" ({low:.3f}–{high:.3f})")


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=None, header_style="", pad_edge=False)
