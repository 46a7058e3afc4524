"""Statistics over seeds of every variant in every cell, and of the variants that are compared: summary.csv.

One row, a `SummaryRow`, is one number: its ``quantity`` says of what, its ``statistic`` which; ``seed_sd`` and
``prompt_sd`` are `statistics.seeds.spreads`. Which variants are compared with each other: `pairs.compared_with`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from icl_curriculum.core.files import write_atomically
from icl_curriculum.results.columns import TABLES, SummaryRow, csv_text
from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.pairs import compared_with, of_pairs, single_task
from icl_curriculum.results.comparison.sources import CELL, Cell, cells_of, in_cell
from icl_curriculum.results.comparison.subjects import Subject
from icl_curriculum.results.shown_metric import shown_metric
from icl_curriculum.results.statistics.seeds import STATISTICS, Estimate, estimate, share_below, spreads

#: In the place of a class and of inputs: all cells together.
ALL = "all"
#: In the place of a variant: for each cell the variant that was trained on it alone.
SINGLE_TASK = "(single-task)"

#: Quantities that are errors or differences of them, and those that may be infinite where something never happened.
_ERRORS = ("error", "forgotten", "worst_error")
_EVENTS = ("plateau_end", "steps_to_error", "prompts_to_error")
_SPENT = ("steps", "prompts", "flops")


def summary(found: Outcomes, *, against: str | None = None, all_pairs: bool = False) -> pd.DataFrame:
    """The rows of summary.csv as a table; arguments as those of `summary_rows`."""
    return as_table(summary_rows(found, against=against, all_pairs=all_pairs))


def as_table(rows: Iterable[SummaryRow]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=TABLES["summary"].header)


def summary_rows(found: Outcomes, *, against: str | None = None, all_pairs: bool = False) -> Iterator[SummaryRow]:
    """The rows of summary.csv; ``against`` and ``all_pairs`` as in `compared_with`."""
    for _, rows in found.rows.groupby(["variant", *CELL], sort=False, observed=True):
        yield from _of_variant(rows, found)
    for cell in found.cells:
        yield from of_pairs(found, cell, compared_with(found, cell, against=against, all_pairs=all_pairs))
    yield from _over_cells(found.rows, found.confidence)


#: The rows that are held as text at once: all pairs of hundreds of variants are millions.
_AT_ONCE = 100_000


def write_summary(path: Path, rows: Iterable[SummaryRow]) -> None:
    """Write atomically, in the form of all tables: missing values are empty, infinite ones ``inf``."""
    left = iter(rows)
    parts = [csv_text([TABLES["summary"].header]).encode()]
    while some := [*itertools.islice(left, _AT_ONCE)]:
        parts.append(csv_text(some).encode())
    write_atomically(path, b"".join(parts))


def _where(table: pd.DataFrame, variant: str, cell: Cell) -> pd.DataFrame:
    return in_cell(table[table["variant"] == variant], cell)


def _of_variant(rows: pd.DataFrame, found: Outcomes) -> Iterator[SummaryRow]:
    """What one variant did in one cell."""
    first = rows.iloc[0]
    subject = Subject(
        experiment=first["experiment"], variant=first["variant"], versus=None, function_class=first["function_class"],
        input_distribution=first["input_distribution"], n_context=first["n_context"], metric=first["metric"],
    )  # fmt: skip
    n = len(rows)
    for quantity in (*_ERRORS, *_EVENTS, *_SPENT):
        values = rows[quantity].to_numpy(np.float64)
        if np.isnan(values).all():
            continue
        for seed, value in zip(rows["seed"], values, strict=True):
            yield subject.number(quantity, "seed", value, 1, seed=seed)
        kept = values[~np.isnan(values)]
        if quantity in _ERRORS:
            for statistic in STATISTICS:
                made = estimate([kept], statistic, confidence=found.confidence)
                yield subject.estimate(quantity, statistic, made)
        else:
            # Of events, some of which may never have happened, only the median is a number.
            statistic = "median" if quantity in _EVENTS else "mean"
            middle = float(np.median(kept)) if statistic == "median" else float(kept.mean())
            yield subject.number(quantity, statistic, middle, len(kept))
    apart = spreads(rows["error"], rows["error_low"], rows["error_high"], confidence=found.prompt_confidence)
    yield subject.number("error", "seed_sd", apart.seeds, n)
    yield subject.number("error", "prompt_sd", apart.prompts, n)
    if not math.isnan(found.threshold):
        sign = shown_metric().sign
        below = share_below(sign * rows["error"], sign * found.threshold, confidence=found.confidence)
        yield subject.estimate("converged", "share", below)


def _over_cells(rows: pd.DataFrame, confidence: float) -> Iterator[SummaryRow]:
    """The interquartile mean over seeds and cells: of variants trained on all of them, and of the single-task ones."""
    cells = cells_of(rows)
    if len(cells) < 2 or rows["metric"].nunique() > 1:
        return
    metric, longest = rows["metric"].iloc[0], rows["n_context"].max()

    def subject(experiment: str, variant: str) -> Subject:
        return Subject(experiment, variant, None, ALL, ALL, n_context=longest, metric=metric)

    for variant, own in rows.groupby("variant", sort=False, observed=True):
        errors = own[own["trained"]].pivot(index="seed", columns=CELL, values="error")
        if errors.shape[1] == len(cells) and len(whole := errors.dropna()):
            made = estimate([whole.to_numpy()], confidence=confidence)
            yield subject(own["experiment"].iloc[0], str(variant)).estimate("error", "iqm", made, len(whole))
    alone = single_task(rows)
    if len(alone) == len(cells):
        strata = [_where(rows, alone[cell], cell)["error"].to_numpy(np.float64) for cell in cells]
        made = estimate(strata, confidence=confidence)
        yield subject(rows["experiment"].iloc[0], SINGLE_TASK).estimate("error", "iqm", made, min(map(len, strata)))


class Numbers:
    """A summary, to be asked for single numbers."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        keys = ["quantity", "statistic", "variant", "versus", *CELL]
        over_seeds = table[table["statistic"] != "seed"]
        self._found: dict[tuple[str | None, ...], Estimate] = {}
        for *key, value, low, high, n in over_seeds[[*keys, "value", "ci_low", "ci_high", "n_seeds"]].itertuples(
            index=False
        ):
            plain = tuple(None if pd.isna(part) else str(part) for part in key)
            self._found[plain] = Estimate(_plain(value), _plain(low), _plain(high), int(n))

    def __call__(self, quantity: str, statistic: str, variant: str, cell: Cell, versus: str | None = None) -> Estimate:
        """A number of a variant in a cell, or against another variant; NaN where there is none."""
        return self._found.get((quantity, statistic, variant, versus, *cell), Estimate(math.nan, math.nan, math.nan, 0))


def _plain(value: Any) -> float:
    return math.nan if value is None else float(value)
