"""What became of every run in every cell: one row each, from the experiment's tables.

Errors are those of the primary metric: normalized (1 is predicting zero), or the median error where the mean is
infinite. All are at the longest prompt of training, ``n_context`` examples.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import given
from icl_curriculum.results.comparison.sources import (
    CELL,
    MODEL,
    RUN,
    Cell,
    Source,
    cells_of,
    in_cell,
    unshifted_models,
)
from icl_curriculum.results.comparison.wording import level
from icl_curriculum.results.device_kinds import DeviceKinds
from icl_curriculum.results.shown_metric import of_shown, shown_metric
from icl_curriculum.results.statistics.curves import first_below, plateau_end
from icl_curriculum.results.statistics.seeds import CONFIDENCE
from icl_curriculum.results.tables import final, with_metric


class OutcomeRow(NamedTuple):
    """What became of a run in a cell; a row of `Outcomes.rows`. After ``metric`` come the `QUANTITIES`."""

    experiment: str
    variant: str
    seed: int
    function_class: str
    input_distribution: str
    n_context: int
    metric: str
    #: Updates in all.
    steps: float
    #: Whether the run's curriculum ever gave the cell a share.
    trained: bool
    #: Whether it gave a share to no other of the experiment's cells.
    single: bool
    #: Prompts of the cell that the run has seen, as in exposure.csv; NaN without it.
    prompts: float
    #: Operations of the matrix products spent on them.
    flops: float
    #: On the evaluation bank, at the end of training, with the ends of its interval over prompts.
    error: float
    error_low: float
    error_high: float
    #: Step at which the error leaves the plateau (`statistics.curves.plateau_end`); inf: it never does.
    plateau_end: float
    #: Updates until the error is first at most the threshold; inf: never.
    steps_to_error: float
    #: Prompts of the cell until then; NaN for a cell that was not trained.
    prompts_to_error: float
    #: On the learning bank, when the cell last had a share; NaN where that was the end, or never.
    error_after_block: float
    #: How much higher the error is at the end of training; NaN likewise.
    forgotten: float
    #: The highest error under any shift that has the cell's metric, for a trained cell; inf: overflow.
    worst_error: float
    #: Under which.
    worst_shift: str


#: What is measured of a run in a cell, after the columns that say which run and cell.
QUANTITIES = OutcomeRow._fields[OutcomeRow._fields.index("metric") + 1 :]

#: ``shift``: as `shift_name` gives it; ``shift_kind``: "inputs" where the inputs are others, else "shift".
SHIFTED = [*RUN, *CELL, "shift", "shift_kind", "n_context", "metric", "value"]


@dataclass(frozen=True)
class Curve:
    """The error of a run in a cell while it trains: at ``steps``, after ``prompts`` of the cell, on a small bank.

    It is empty for an imported run.
    """

    steps: np.ndarray
    prompts: np.ndarray
    errors: np.ndarray

    @property
    def measured(self) -> bool:
        return len(self.steps) > 0


Key = tuple[str, int, str, str]


@dataclass(frozen=True)
class Outcomes:
    """``rows``, an `OutcomeRow` each, in the order of variants, cells and seeds, and the curve of each.

    ``shifted``: the errors of trained cells under each shift, a row per run, cell and shift with the columns `SHIFTED`.
    ``confidence``: of intervals over seeds, ``prompt_confidence`` of those over prompts, as evaluation.csv has them.
    ``own_names``: of several experiments, what each variant is called in its own. ``named``: the variants that were
    asked for by name, which are shown however many there are.
    """

    rows: pd.DataFrame
    curves: dict[Key, Curve]
    threshold: float
    confidence: float
    shifted: pd.DataFrame
    prompt_confidence: float = CONFIDENCE
    own_names: dict[str, str] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    #: By cell, the oracle's error at the length that errors are taken at; cells without an oracle are absent.
    optimum: dict[Cell, float] = field(default_factory=dict)
    #: The kind of device that each run was made on, by variant and seed.
    devices: DeviceKinds = field(default_factory=dict)

    @functools.cached_property
    def cells(self) -> list[Cell]:
        return cells_of(self.rows)

    @property
    def limit(self) -> str:
        """The threshold in words; empty where there is none."""
        return "" if math.isnan(self.threshold) else level(self.threshold)

    def trained_on(self, cell: Cell) -> pd.DataFrame:
        """The rows of the variants that were trained on a cell."""
        own = in_cell(self.rows, cell)
        return own[own["trained"].astype(bool)]

    def trained_variants(self, cell: Cell) -> dict[str, pd.DataFrame]:
        """The rows of each variant that was trained on a cell, in the order of the table."""
        return self._trained.get(cell, {})

    @functools.cached_property
    def _trained(self) -> dict[Cell, dict[str, pd.DataFrame]]:
        return {cell: by_variant(self.trained_on(cell)) for cell in self.cells}


def by_variant(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each variant, in the order of the table."""
    return {str(variant): own for variant, own in rows.groupby("variant", sort=False, observed=True)}


def outcomes(source: Source, *, threshold: float | None = None, examples: int | None = None) -> Outcomes:
    """Every run's outcome in each of the experiment's cells, by the metric that is shown at this moment.

    ``threshold``: what counts as learned, by default `ShownMetric.usual_threshold`.

    ``examples``: the prompt length at which errors are taken, by default the longest of each cell. UserError for one
    that a cell's learning curves do not have.
    """
    threshold = shown_metric().usual_threshold if threshold is None else threshold
    models = final(source.evaluation[source.evaluation["learner"] == MODEL])
    sign = shown_metric().sign
    spent = _spent(source)
    planned = _last_trained(source)
    oracles = of_shown(source.evaluation[source.evaluation["learner"] == "oracle"])
    oracles = oracles[oracles["shift"] == "none"]
    optimum: dict[Cell, float] = {}
    curves: dict[Key, Curve] = {}
    rows = []
    under_shifts = []
    cells = source.cells
    inputs_of = {name: {i for c, i in cells if c == name} for name, _ in cells}
    for cell in cells:
        function_class, inputs = cell
        of_class = models[models["function_class"] == function_class]
        learning = of_shown(in_cell(source.on_own_prompts, cell))
        # A metric that was asked for after training is in evaluation.csv alone.
        along = source.knows_training and (len(learning) > 0 or shown_metric().chosen is None)
        measured = learning if along else in_cell(unshifted_models(models), cell)
        if not len(measured):
            continue
        longest = int(measured["n_context"].max()) if examples is None else examples
        if longest not in set(measured["n_context"]):
            known = f"0 to {int(measured['n_context'].max())}"
            raise UserError(f"{given('--examples', longest)}: {source.name} has {function_class} with {known} examples")
        metric, at_longest = with_metric(measured[measured["n_context"] == longest])
        learned = at_longest if along else learning
        of_class = of_class[(of_class["n_context"] == longest) & (of_class["metric"] == metric)]
        own = of_class[(of_class["input_distribution"] == inputs) & (of_class["shift"] == "none")]
        shifted = _shifted(of_class, inputs, inputs_of[function_class])
        best = in_cell(oracles[(oracles["n_context"] == longest) & (oracles["metric"] == metric)], cell)["value"]
        if best.notna().any():
            optimum[cell] = float(best.mean())
        curves_of, shifted_of = _by_run(learned), _by_run(shifted)
        tidy = []
        for run, found in _by_run(own).items():
            key = (*run, function_class, inputs)
            curve = _curve(curves_of.get(run, learned.iloc[:0]), spent.get(key))
            curves[key] = curve
            last = planned.get(key, 0.0)
            steps = float(found["step"].iloc[0])
            after = _after_block(curve, last, steps)
            single = last > 0 and not any(
                planned.get((key[0], key[1], *other), 0.0) > 0 for other in cells if other != cell
            )
            worst_error, worst_shift = math.nan, ""
            if last > 0 and run in shifted_of:
                worst_error, worst_shift = _worst(shifted_of[run])
                tidy.append(shifted_of[run])
            ledger = spent.get(key)
            error, low, high = _finite_error(found)
            rows.append(
                OutcomeRow(
                    experiment=source.name, variant=key[0], seed=key[1], function_class=function_class,
                    input_distribution=inputs, n_context=longest, metric=metric, steps=steps, trained=last > 0,
                    single=single, prompts=ledger[-1].prompts if ledger else math.nan,
                    flops=ledger[-1].flops if ledger else math.nan, error=error, error_low=low, error_high=high,
                    # Where nothing says what knowing nothing is, there is no plateau to leave.
                    plateau_end=plateau_end(curve.steps, curve.errors)
                    if curve.measured and shown_metric().chosen is None else math.nan,
                    steps_to_error=(
                        first_below(curve.steps, sign * curve.errors, sign * threshold)
                        if curve.measured and not math.isnan(threshold) else math.nan
                    ),
                    prompts_to_error=(
                        first_below(curve.prompts, sign * curve.errors, sign * threshold)
                        if last > 0 and ledger and curve.measured and not math.isnan(threshold) else math.nan
                    ),
                    error_after_block=after,
                    forgotten=_difference(curve.errors[-1], after) if curve.measured else math.nan,
                    worst_error=worst_error, worst_shift=worst_shift,
                )
            )  # fmt: skip
        if tidy:
            under_shifts.append(_tidy(pd.concat(tidy), inputs))
    table = pd.DataFrame(rows, columns=OutcomeRow._fields)
    shifted = pd.concat(under_shifts) if under_shifts else pd.DataFrame(columns=SHIFTED)
    order = {variant: i for i, variant in enumerate(source.variants)}
    table, shifted = (
        frame.sort_values(
            ["variant"], key=lambda column: column.astype(object).map(order), kind="stable", ignore_index=True
        )
        for frame in (table, shifted)
    )
    return Outcomes(
        table, curves, threshold, CONFIDENCE, shifted, source.confidence, optimum=optimum, devices=source.devices
    )


class _Spent(NamedTuple):
    """What a run has spent on a cell by a step."""

    step: float
    prompts: float
    flops: float


def _spent(source: Source) -> dict[Key, list[_Spent]]:
    """What was spent so far, by run and cell; nothing without a ledger."""
    if source.exposure is None:
        return {}
    found: dict[Key, list[_Spent]] = {}
    columns = ["variant", "seed", *CELL, "step", "prompts", "flops"]
    ordered = source.exposure.sort_values("step", kind="stable")[columns]
    for variant, seed, function_class, inputs, *numbers in ordered.itertuples(index=False):
        found.setdefault((variant, seed, function_class, inputs), []).append(_Spent(*map(float, numbers)))
    return found


def _last_trained(source: Source) -> dict[Key, float]:
    """The last step at which a run's curriculum gave a cell a share; cells that it never did are absent.

    Of an imported run nothing tells when: all cells that it was trained on count as in training to the end.
    """
    if source.knows_training:
        drawn = source.curriculum[source.curriculum["planned_share"] > 0].sort_values("step", kind="stable")
    else:
        models = unshifted_models(source.evaluation)
        drawn = models[models["in_distribution"] == True].assign(step=models["step"].clip(lower=1))  # noqa: E712
    columns = ["variant", "seed", *CELL, "step"]
    return {(v, s, c, i): float(step) for v, s, c, i, step in drawn[columns].itertuples(index=False)}


def _by_run(rows: pd.DataFrame) -> dict[tuple[str, int], pd.DataFrame]:
    """The rows of each run, in the order of the table."""
    of_run = rows.groupby(["variant", "seed"], sort=False, observed=True)
    return {(str(key[0]), int(str(key[1]))): own for key, own in of_run}


def _curve(learned: pd.DataFrame, ledger: list[_Spent] | None) -> Curve:
    own = learned.sort_values("step")
    steps, errors = own["step"].to_numpy(np.float64), own["value"].to_numpy(np.float64)
    if ledger is None:
        return Curve(steps, np.full(len(steps), np.nan), errors)
    at, prompts, _ = (np.asarray(column, dtype=np.float64) for column in zip(*ledger, strict=True))
    return Curve(steps, np.interp(steps, at, prompts), errors)


def _after_block(curve: Curve, last: float, steps: float) -> float:
    """The error at the last measurement while the cell was in training; NaN if that lasted to the end, or never was."""
    before = curve.errors[curve.steps <= last]
    return float(before[-1]) if 0 < last < steps and len(before) else math.nan


def _difference(last: float, after: float) -> float:
    """By how much it got worse; NaN where both are infinite."""
    return math.nan if math.isinf(last) and math.isinf(after) else shown_metric().sign * float(last - after)


def _shifted(of_class: pd.DataFrame, inputs: str, trained: set[str]) -> pd.DataFrame:
    """The rows of a cell's shifts: its own inputs shifted, or inputs that are none of the experiment's."""
    shift, given = of_class["shift"], of_class["input_distribution"]
    return of_class[((shift != "none") & (given == inputs)) | ((shift == "none") & ~given.isin(trained))]


def _tidy(rows: pd.DataFrame, inputs: str) -> pd.DataFrame:
    """The rows of a cell's shifts, with the columns `SHIFTED`: ``inputs`` are the cell's."""
    changed = rows["shift"] == "none"
    names = [shift_name(*pair) for pair in zip(rows["shift"], rows["input_distribution"], strict=True)]
    return rows.assign(
        input_distribution=inputs, shift=names, shift_kind=np.where(changed, "inputs", "shift"), value=_errors(rows)
    )[SHIFTED]


def _errors(rows: pd.DataFrame) -> np.ndarray:
    """An error that is missing is that of a model that overflowed: infinitely bad."""
    return np.where(rows["value"].isna(), shown_metric().sign * np.inf, rows["value"])


def _worst(rows: pd.DataFrame) -> tuple[float, str]:
    values = _errors(rows)
    place = int((shown_metric().sign * values).argmax())
    worst = rows.iloc[place]
    return float(values[place]), shift_name(str(worst["shift"]), str(worst["input_distribution"]))


def shift_name(shift: str, inputs: str) -> str:
    """What a shift is called where changed inputs stand in a column of their own."""
    return inputs if shift == "none" else shift


def _finite_error(found: pd.DataFrame) -> tuple[float, float, float]:
    row = found.iloc[0]
    return float(_errors(found)[0]), float(row["ci_low"]), float(row["ci_high"])
