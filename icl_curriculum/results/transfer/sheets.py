"""transfer.csv as tables of texts: one for each domain and adaptation, limited data apart, with what notes say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from icl_curriculum.results.adaptation import AdaptedId
from icl_curriculum.results.comparison.sheets import Sheet, SheetEntry
from icl_curriculum.results.comparison.wording import between, error
from icl_curriculum.results.shown_metric import metric_titles
from icl_curriculum.results.statistics.seeds import CONFIDENCE, Estimate
from icl_curriculum.results.tables import distinct
from icl_curriculum.results.transfer.row import COMPARISONS, UNADAPTED

#: What each domain is called.
DOMAIN_LABELS = {"seen": "seen cells", "unseen_classes": "unseen classes", "unseen_inputs": "unseen inputs"}
#: What each comparison is called where it heads a column, in two lines, as a terminal is narrow.
COMPARED_AT = {
    "equal_updates": "at equal\nupdates", "equal_operations": "at equal\noperations",
    "equal_seen_error": "at equal\nseen error",
}  # fmt: skip
EXPLAINED = {
    "IQM": "interquartile mean of the error over cells and seeds",
    "interval": f"{CONFIDENCE:.0%}, over seeds",
    "seeds": "how many seeds it has; where fewer are compared, a note says why",
    COMPARED_AT[
        "equal_updates"
    ]: "difference to plain training of as many steps, seed by seed; below 0: better than plain",
    COMPARED_AT[
        "equal_operations"
    ]: "difference to plain training that took as many operations, between plain runs of several lengths",
    COMPARED_AT[
        "equal_seen_error"
    ]: "difference to plain training that is as good on seen cells, between plain runs of several lengths",
}
#: One sentence on how to read the tables.
READING = (
    "Each difference is the variant's error less that of plain training, seed by seed, ± half the width of its "
    f"{CONFIDENCE:.0%} interval, the least difference that so many seeds resolve: below 0 the variant is better, and "
    "where the number is smaller than what follows it, nothing is shown."
)


@dataclass(frozen=True)
class TransferSheet:
    """The table of one domain and adaptation, what it is of, and notes on comparisons that it lacks."""

    title: str
    sheet: Sheet
    notes: list[str]


def adaptation_label(adaptation: str) -> str:
    """An adaptation in words.

    >>> adaptation_label("unadapted"), adaptation_label("adapted=20"), adaptation_label("adapted=20/rate=0.1")
    ('unadapted', 'adapted = 20', 'adapted = 20, rate = 0.1')
    """
    return adaptation.replace("/", ", ").replace("=", " = ")


def data_label(fixed_prompts: float) -> str:
    """What a variant has to train on: nothing where every update draws new prompts (NaN)."""
    return "" if math.isnan(fixed_prompts) else f"{fixed_prompts:,.0f} fixed prompts a cell"


def of_most_steps(table: pd.DataFrame) -> pd.DataFrame:
    """The rows without those adaptations of which others go further, with the same options otherwise."""
    parsed = {
        name: AdaptedId.parse(f"model/{name}") for name in distinct(table["adaptation"]) if name != UNADAPTED
    }  # fmt: skip
    most: dict[str, int] = {}
    for adapted in parsed.values():
        most[adapted.options] = max(adapted.steps, most.get(adapted.options, 0))
    kept = {UNADAPTED, *(name for name, adapted in parsed.items() if adapted.steps == most[adapted.options])}
    return table[table["adaptation"].isin(kept)]


def transfer_sheets(table: pd.DataFrame) -> Iterator[TransferSheet]:
    """The tables of transfer.csv in its order, then those of the variants of each limited data."""
    keys = ["fixed_prompts", "domain", "adaptation", "metric", "n_context"]
    limited = table["fixed_prompts"].fillna(np.inf)
    ordered = table.assign(limited=-limited).sort_values("limited", kind="stable")
    for _, rows in ordered.groupby(keys, sort=False, dropna=False, observed=True):
        first = rows.iloc[0]
        parts = [
            DOMAIN_LABELS[first["domain"]], adaptation_label(first["adaptation"]), data_label(first["fixed_prompts"])
        ]  # fmt: skip
        least, most = int(rows["n_cells"].min()), int(rows["n_cells"].max())
        cells = f"{most} cell{'s' * (most > 1)}" if least == most else f"{least} to {most} cells"
        if (few := int(rows["n_prompts"].min())) < int(table["n_prompts"].max()):
            cells += f", on {few} prompts"
        title = ", ".join(filter(None, parts))
        title += f": {metric_titles()[first['metric']]} at {first['n_context']} examples, {cells}"
        yield TransferSheet(title, *_sheet(rows))


def reading(table: pd.DataFrame) -> list[str]:
    """How to read the comparisons, where there are any, and what is left to transfer.csv."""
    fewer = len(of_most_steps(table)) < len(table)
    said = ["Adaptations of fewer steps than others are in transfer.csv alone."] if fewer else []
    return [*[READING] * bool((table["comparison"] != "none").any()), *said]


def _sheet(rows: pd.DataFrame) -> tuple[Sheet, list[str]]:
    compared = [name for name in COMPARISONS[1:] if (rows["comparison"] == name).any()]
    columns = ["variant", "IQM", "interval", "median", "seeds", *(COMPARED_AT[name] for name in compared)]
    made = Sheet(columns, explained={name: what for name, what in EXPLAINED.items() if name in columns})
    notes: dict[str, dict[str, None]] = {}
    for variant, own in rows.groupby("variant", sort=False, observed=True):
        by_comparison = {str(row["comparison"]): row for _, row in own.iterrows()}
        alone = by_comparison["none"]
        interval = Estimate(alone["error"], alone["ci_low"], alone["ci_high"], 0)
        made.add(
            str(variant), _error(interval.value),
            SheetEntry(between(interval, least=0.0), interval.high - interval.low), _error(alone["median"]),
            SheetEntry(str(alone["n_seeds"]), alone["n_seeds"]),
            *(_difference(by_comparison.get(name)) for name in compared),
        )  # fmt: skip
        for name in compared:
            if name in by_comparison and isinstance(note := by_comparison[name]["note"], str):
                what = COMPARED_AT[name].replace("\n", " ")
                notes.setdefault(f"{what}: {note}", {})[str(variant)] = None
    return made, [f"{', '.join(variants)} {note}" for note, variants in notes.items()]


def _error(value: float) -> SheetEntry:
    return SheetEntry(error(value), value)


def _difference(row: Any) -> SheetEntry:
    if row is None or math.isnan(row["difference"]):
        return SheetEntry("–")
    reach = "" if math.isnan(row["resolvable"]) else f" ±{row['resolvable']:.3f}"
    return SheetEntry(f"{row['difference']:+.3f}".replace("-", "−") + reach, row["difference"])
