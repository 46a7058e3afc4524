"""Whom models answer most like, as a table on the terminal, made from prediction_differences.csv alone."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from rich.table import Table

from icl_curriculum.results.closest import closest, final_differences, shown_lengths
from icl_curriculum.results.tables import distinct, read_table

TITLE = "whom the model answers most like: normalized difference of predictions (0 = alike)"
#: What a star in the table means.
_MEDIAN = "* median squared difference over the median of f²"


def closest_table(directory: Path, asked: Collection[tuple[str, str, str]], models: Collection[str]) -> Table | None:
    """The closest learner of each model at a few lengths, without a shift; None where no model was compared.

    ``asked``: the cells, each a function class, an input distribution and a shift. ``models``: their ids.
    """
    if not (directory / "prediction_differences.csv").is_file():
        return None
    rows = final_differences(read_table(directory, "prediction_differences"))
    rows = rows[(rows["shift"] == "none") & rows["learner"].isin(models)]
    keys = ["learner", "function_class", "input_distribution"]
    groups = {tuple(map(str, key)): own for key, own in rows.groupby(keys, sort=False, observed=True)}
    groups = {key: own for key, own in groups.items() if (key[1], key[2], "none") in asked}
    lengths = sorted({k for own in groups.values() for k in shown_lengths(own)})
    if not lengths:
        return None
    shown = {"learner": "model", "function_class": "function class", "input_distribution": "inputs"}
    places = [i for i, name in enumerate(keys) if name == "function_class" or len(distinct(rows[name])) > 1]
    table = Table(box=None, header_style="", pad_edge=False)
    for i in places:
        table.add_column(shown[keys[i]])
    for k in lengths:
        table.add_column(f"k={k}")
    for key, own in groups.items():
        found = [closest(own, k) for k in lengths]
        star = "*" if (own["metric"] == "median_difference").any() else ""
        if star:
            table.caption, table.caption_justify = _MEDIAN, "left"
        table.add_row(
            *(key[i] for i in places),
            *("–" if at is None else f"{at.difference.value:.3f}{star} {' = '.join(at.learners)}" for at in found),
        )
    return table
