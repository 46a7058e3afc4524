"""The statistics as tables of texts, each with the number it stands for: for the terminal and for the page alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pandas as pd

from icl_curriculum.results.comparison.outcomes import Outcomes, by_variant
from icl_curriculum.results.comparison.sources import CELL, Cell, cells_of
from icl_curriculum.results.comparison.summary import Numbers
from icl_curriculum.results.comparison.wording import between, count, error, level, operations
from icl_curriculum.results.labels import shift_label
from icl_curriculum.results.shown_metric import shown_metric
from icl_curriculum.results.statistics.seeds import Estimate, interquartile_mean

#: From so many seeds on, single ones are not listed.
MANY = 10


@dataclass(frozen=True)
class SheetEntry:
    """A table cell: what is shown, and the number by which to sort (NaN: after all others)."""

    text: str
    value: float = math.nan


@dataclass(frozen=True)
class Sheet:
    """A table whose first column names its rows; ``explained``: what columns mean, for who asks."""

    columns: list[str]
    rows: list[list[SheetEntry]] = field(default_factory=list)
    explained: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, *entries: SheetEntry) -> None:
        self.rows.append([SheetEntry(name), *entries])


def _error(value: float) -> SheetEntry:
    return SheetEntry(error(value), value)


def _count(value: float) -> SheetEntry:
    return SheetEntry(count(value), value)


def _interval(made: Estimate, least: float = -math.inf) -> SheetEntry:
    return SheetEntry(between(made, least=least), made.high - made.low)


def _of(part: float, whole: int) -> SheetEntry:
    return SheetEntry("–") if math.isnan(part) else SheetEntry(f"{part:.0f}/{whole}", part / whole)


def errors(rows: pd.DataFrame, numbers: Numbers, cell: Cell) -> Sheet:
    """Final errors of the variants in ``rows``, one cell's: statistics over seeds, two spreads, and every seed's."""
    made = Sheet(
        ["variant", "IQM", "interval", "mean", "median", "SD, seeds", "SD, prompts", "each seed"],
        explained={
            "IQM": "interquartile mean over seeds",
            "interval": "of the interquartile mean, by bootstrap over seeds",
            "SD, seeds": "standard deviation over training seeds, on the same prompts",
            "SD, prompts": "standard deviation of one run's error over banks of that many prompts",
        },
    )
    for variant, own in by_variant(rows).items():
        found = {
            name: numbers("error", name, variant, cell) for name in ("iqm", "mean", "median", "seed_sd", "prompt_sd")
        }
        each = " ".join(error(value) for value in own["error"]) if len(own) < MANY else f"{len(own)} seeds"
        made.add(
            variant, _error(found["iqm"].value), _interval(found["iqm"], shown_metric().least),
            *(_error(found[name].value) for name in ("mean", "median", "seed_sd", "prompt_sd")),
            SheetEntry(each, float(own["error"].min())),
        )  # fmt: skip
    return made


def _at_most(threshold: float) -> str:
    sign = "≤" if shown_metric().improves == "down" else "≥"
    return f"{sign} {level(threshold)}"


def spent(rows: pd.DataFrame, numbers: Numbers, cell: Cell, threshold: float) -> Sheet:
    """What variants spent on a cell, how many seeds came down to the threshold and when, and what was lost."""
    shown = shown_metric()
    most = "most" if shown.improves == "down" else "least"
    there = not math.isnan(threshold)
    made = Sheet(
        ["variant", "steps", "prompts", "FLOP",
         *([_at_most(threshold), "interval", "plateau", "steps to it", "prompts to it"] if there else []),
         "forgotten", "worst shift"],
        explained={
            "prompts": "of this cell, mean over seeds",
            "FLOP": "operations of the products on them, forward and backward",
            _at_most(threshold): f"seeds whose final {shown.noun} is at {most} that",
            "interval": "of that share, binomial",
            "plateau": "median step at which the error leaves 0.9",
            "steps to it": f"median step at which the {shown.noun} is first at {most} {level(threshold)}",
            "prompts to it": "median number of prompts of this cell until then",
            "forgotten": f"by how much the {shown.noun} {shown.grows_worse} from the end of its block to the end of "
            "training, mean",
            "worst shift": f"{shown.worst} {shown.noun} under any shift, IQM",
        },
    )  # fmt: skip
    for variant, own in by_variant(rows).items():
        share = numbers("converged", "share", variant, cell)
        events = ("plateau_end", "steps_to_error", "prompts_to_error")
        flops = numbers("flops", "mean", variant, cell).value
        made.add(
            variant, _count(float(own["steps"].iloc[0])),
            _count(numbers("prompts", "mean", variant, cell).value),
            SheetEntry(operations(flops), flops),
            *([
                _of(share.value * share.n, share.n), _interval(share),
                *(_count(numbers(name, "median", variant, cell).value) for name in events),
            ] if there else []),
            _error(numbers("forgotten", "mean", variant, cell).value),
            _error(numbers("worst_error", "iqm", variant, cell).value),
        )  # fmt: skip
    return made


def pairs(rows: pd.DataFrame, numbers: Numbers, cell: Cell, reference: str) -> Sheet:
    """Every other variant against one: at the end of training, and after as many prompts of the cell."""
    better = shown_metric().better
    made = Sheet(
        [f"against {reference}", "difference", "interval", f"seeds {better}", f"P({better})", "interval of P",
         "at prompts", "difference there", "interval there", f"seeds {better} there"],
        explained={
            "difference": f"of the final {shown_metric().noun}, seed by seed, mean; below 0 it is lower than the "
            "reference's",
            f"P({better})": f"probability that a run ends {better} than one of the reference",
            "at prompts": "as many prompts of this cell as the one that saw fewer has seen; on the small bank",
        },
    )  # fmt: skip
    for variant in dict.fromkeys(rows.loc[rows["variant"] != reference, "variant"]):
        entries = []
        for quantity in ("error", "error_at_equal_exposure"):
            difference = numbers(quantity, "paired_difference", variant, cell, reference)
            won = numbers(quantity, "seeds_better", variant, cell, reference)
            entries.append((_error(difference.value), _interval(difference), _of(won.value, won.n)))
        chance = numbers("error", "probability_of_improvement", variant, cell, reference)
        made.add(
            variant, *entries[0], SheetEntry(f"{chance.value:.2f}", chance.value), _interval(chance),
            _count(numbers("equal_exposure", "mean", variant, cell, reference).value), *entries[1],
        )  # fmt: skip
    return made


def ledger(rows: pd.DataFrame) -> Sheet:
    """Prompts and operations that each run spent on each cell: a row per run, a pair of columns per cell."""
    cells = cells_of(rows)
    several = len({inputs for _, inputs in cells}) > 1
    names = [f"{name}, {inputs}" if several else str(name) for name, inputs in cells]
    made = Sheet(["run", "steps", *(f"{name}: {what}" for name in names for what in ("prompts", "FLOP"))])
    runs: dict[tuple[str, int], dict[Cell, tuple[float, float]]] = {}
    steps: dict[tuple[str, int], float] = {}
    for row in rows[["variant", "seed", *CELL, "steps", "prompts", "flops"]].itertuples(index=False):
        run, cell, (of_run, prompts, flops) = (row[0], row[1]), (row[2], row[3]), map(float, row[4:])
        runs.setdefault(run, {}).setdefault(cell, (prompts, flops))
        steps.setdefault(run, of_run)
    for (variant, seed), spent_on in runs.items():
        entries = []
        for cell in cells:
            prompts, flops = spent_on.get(cell, (math.nan, math.nan))
            entries += [_count(prompts), SheetEntry(operations(flops), flops)]
        made.add(f"{variant}, seed {seed}", _count(steps[variant, seed]), *entries)
    return made


def seeds(rows: pd.DataFrame, threshold: float) -> Sheet:
    """Every run in every cell that it was trained on."""
    noun, there = shown_metric().noun, not math.isnan(threshold)
    made = Sheet(
        ["run", "class", "inputs", noun, "interval over prompts",
         *(["plateau", f"steps to {level(threshold)}", f"prompts to {level(threshold)}"] if there else []),
         "after its block", "forgotten", f"worst {noun}", "under"]
    )  # fmt: skip
    for row in rows[rows["trained"]].to_dict("records"):
        over_prompts = Estimate(row["error"], row["error_low"], row["error_high"], 1)
        events = (row["plateau_end"], row["steps_to_error"], row["prompts_to_error"])
        made.add(
            f"{row['variant']}, seed {row['seed']}",
            SheetEntry(row["function_class"]), SheetEntry(row["input_distribution"]),
            _error(row["error"]), _interval(over_prompts), *map(_count, events if there else ()),
            _error(row["error_after_block"]),
            _error(row["forgotten"]), _error(row["worst_error"]),
            SheetEntry(shift_label(row["worst_shift"]) if row["worst_shift"] else "–"),
        )  # fmt: skip
    return made


@dataclass(frozen=True)
class CellError:
    """An interquartile mean over seeds, and whether the variant was trained on the cell."""

    value: float
    trained: bool


def asked(found: Outcomes) -> dict[str, dict[Cell, CellError]]:
    """Trained x asked: for every variant its error in every cell, trained on or not."""
    given: dict[str, dict[Cell, CellError]] = {}
    for (variant, *cell), rows in found.rows.groupby(["variant", *CELL], sort=False, observed=True):
        one = CellError(float(interquartile_mean(rows["error"])), bool(rows["trained"].any()))
        given.setdefault(str(variant), {})[str(cell[0]), str(cell[1])] = one
    return given
