"""The rows of every table: what each column is called and what it holds. And how a value is written."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NamedTuple

from icl_curriculum.results.differences import PredictionDifferenceRow
from icl_curriculum.results.fields import (
    CLASS,
    EXPERIMENT,
    IN_DISTRIBUTION,
    INPUTS,
    LEARNER_KIND,
    N_CONTEXT,
    PROMPTS_SEEN,
    SEED,
    SHIFT,
    STEP,
    VARIANT,
    ClassField,
    InputsField,
    StepField,
)
from icl_curriculum.results.head_rows import HeadsRow, MaskingRow
from icl_curriculum.results.prediction_rows import PredictionRow
from icl_curriculum.results.schema import TableColumn, TableDefinition
from icl_curriculum.results.scorecard.row import DifferenceColumns, ScoreColumns, StandingColumns
from icl_curriculum.results.sweep_rows import SweepRow
from icl_curriculum.results.transfer.row import TransferRow


class RunColumns(NamedTuple):
    """The run's own columns, with which the rows of its tables begin."""

    experiment: Annotated[str, EXPERIMENT]
    run: Annotated[str, TableColumn("the run's folder, `<variant>-seed<seed>`", key=True, joins="runs.csv")]
    variant: Annotated[str, VARIANT]
    seed: Annotated[int, SEED]


_MODELS_ALONE = "in an experiment's table for baselines and oracles, which stand there once for all runs"


class AskedRunColumns(NamedTuple):
    """The run's own columns where the rows of learners without training may stand for several runs."""

    experiment: Annotated[str, EXPERIMENT]
    run: Annotated[
        str,
        TableColumn("the run's folder, `<variant>-seed<seed>`", empty=_MODELS_ALONE, key=True, joins="runs.csv"),
    ]
    variant: Annotated[
        str,
        dataclasses.replace(
            VARIANT, key=True,
            empty=f"{_MODELS_ALONE}; there given where the variants differ in what was asked or answered",
        ),
    ]  # fmt: skip
    seed: Annotated[int, dataclasses.replace(SEED, empty="as `run`")]


class TrainingRow(NamedTuple):
    """The loss while training: every `training.log_every` updates, a row for each cell drawn since the rows before.

    A cell is a function class with an input distribution.
    """

    step: StepField
    function_class: ClassField
    input_distribution: InputsField
    role: Annotated[
        str,
        TableColumn(
            "what the prompts were drawn for: `training`, or `support` and `query` of methods with two loops, the "
            "first before any inner step and the second after inner steps; only where the training method names roles",
            absent="training", key=True,
        ),
    ]  # fmt: skip
    n_prompts: Annotated[int, TableColumn("prompts of this cell and role behind the loss", unit="prompts")]
    loss: Annotated[
        float,
        TableColumn(
            "mean squared error of the training prompts of this cell since the rows before, each before its update; "
            "where labels are classes their cross-entropy",
            unit="squared unit of the targets, of classes nats",
            empty="where it is not a number, with which the run ends",
        ),
    ]  # fmt: skip
    normalized_loss: Annotated[
        float,
        TableColumn(
            "the loss over the class's trivial error, that of predicting zero under its reference inputs, or over log "
            "C of C classes: 1 is no better than zero, or chance, there",
            empty="where E f^2 is infinite, so that no loss can be held against it; and where it is not a number, with "
            "which the run ends",
        ),
    ]
    learning_rate: Annotated[float, TableColumn("the learning rate of the last update")]
    prompts_seen: Annotated[int, PROMPTS_SEEN]
    class_prompts_seen: Annotated[
        int,
        TableColumn("those of them that are of this function class", unit="prompts", axis=True),
    ]

    def without_role(self) -> tuple[Any, ...]:
        """The row of a table that has no such column."""
        return tuple(value for name, value in self._asdict().items() if name != "role")


class LearningRow(NamedTuple):
    """Errors on a small fixed bank of each cell while training, every `training.learning_every` updates.

    Step 0 and the last step are always among them. Under the shifts of `evaluation.learning_shifts`, too, with which
    the table gains a column.
    """

    step: StepField
    prompts_seen: Annotated[int, PROMPTS_SEEN]
    function_class: ClassField
    input_distribution: InputsField
    shift: Annotated[
        str,
        dataclasses.replace(
            SHIFT, absent="none", meaning=f"{SHIFT.meaning}; only where a run has `evaluation.learning_shifts`"
        ),
    ]
    n_context: Annotated[int, N_CONTEXT]
    metric: Annotated[
        str,
        TableColumn(
            "`normalized_error`, or `median_error` where the mean squared error is infinite; and those of "
            "`evaluation.metrics`",
            key=True,
        ),
    ]
    value: Annotated[
        float,
        TableColumn(
            "the error: mean over the bank's prompts, or median; 1 is no better than zero, or chance",
            empty="where the model's answers are not numbers", negative=True,
        ),
    ]  # fmt: skip

    def without_shift(self) -> tuple[Any, ...]:
        """The row of a table that has no such column."""
        return tuple(value for name, value in self._asdict().items() if name != "shift")


class EvaluationRow(NamedTuple):
    """Errors on frozen banks of every learner at every prompt length, after training.

    `icl evaluate` and `icl score` write the same columns. In the table of `icl score`, experiment and variant are
    `score`, and run is `score` too, or `<experiment>/<run>` for a trained model.

    In an experiment's table baselines and oracles stand once, after the models of all runs, with run, variant, seed and
    step empty; where variants have other numbers, as they ask other banks, once for each variant, with variant given.
    In a run's own table they have the run's columns.
    """

    step: Annotated[int, dataclasses.replace(STEP, empty="as `run`")]
    learner: Annotated[
        str,
        TableColumn(
            "id of who answers: `model`, or `model/adapted=20` and the like; a baseline's id, `oracle` or "
            "`informed_oracle`",
            key=True,
        ),
    ]
    learner_kind: Annotated[str, LEARNER_KIND]
    function_class: ClassField
    input_distribution: InputsField
    shift: Annotated[str, SHIFT]
    in_distribution: Annotated[bool, IN_DISTRIBUTION]
    n_context: Annotated[int, N_CONTEXT]
    metric: Annotated[
        str,
        TableColumn(
            "`squared_error`, `normalized_error`, `error_over_reference`; `accuracy` (signs and classes), "
            "`negative_log_likelihood` (classes, which have no `squared_error`); `median_error` alone where the mean "
            "squared error is infinite; and those that were asked for",
            key=True,
        ),
    ]
    value: Annotated[
        float,
        TableColumn(
            "the error: mean over the bank's prompts, or median",
            unit="squared unit of the targets for `squared_error`, else none",
            empty="where it is undefined, as after an overflow", negative=True,
        ),
    ]  # fmt: skip
    ci_low: Annotated[
        float,
        TableColumn(
            "lower end of the error's bootstrap interval over prompts, at the level `evaluation.confidence`",
            unit="as `value`", empty="where the squared error has no finite variance", negative=True,
        ),
    ]  # fmt: skip
    ci_high: Annotated[
        float,
        TableColumn("upper end of the same interval", unit="as `value`", empty="as `ci_low`", negative=True),
    ]
    n_prompts: Annotated[int, TableColumn("prompts that the error is taken over", unit="prompts")]


class ExposureRow(NamedTuple):
    """What was spent on each cell so far, at the steps of learning.csv."""

    step: StepField
    function_class: ClassField
    input_distribution: InputsField
    prompts: Annotated[
        int,
        TableColumn(
            "prompts of this cell that the model was trained on, or measured errors on to balance positions",
            unit="prompts",
            axis=True,
        ),
    ]
    flops: Annotated[
        int,
        TableColumn(
            "operations of the matrix products in passes on them: forward and backward, or forward alone where errors "
            "are measured",
            unit="floating-point operations", most=math.inf, axis=True,
        ),
    ]  # fmt: skip


class CurriculumRow(NamedTuple):
    """The share of each cell since the rows before, at the steps of training.csv."""

    step: StepField
    function_class: ClassField
    input_distribution: InputsField
    planned_share: Annotated[float, TableColumn("mean probability that the curriculum gave this cell", most=1)]
    drawn_share: Annotated[float, TableColumn("share of the prompts that were drawn of this cell", most=1)]


class TimingRow(NamedTuple):
    """All that a clock says, so that equal runs give equal bytes everywhere else."""

    step: StepField
    phase: Annotated[
        str,
        TableColumn("`training`, since the row before, or `evaluation`", one_of=("training", "evaluation"), key=True),
    ]
    seconds: Annotated[float, TableColumn("how long it took", unit="seconds")]
    prompts_per_second: Annotated[float, TableColumn("prompts trained on, or answered", unit="prompts per second")]


class RunsRow(NamedTuple):
    """The finished runs of the experiment, a row each, from their manifests."""

    status: Annotated[str, TableColumn("what became of the run", one_of=("finished",))]
    config_hash: Annotated[str, TableColumn("hash of what decides the run's results: resolved config and plugins")]
    device: Annotated[str, TableColumn("where it was computed, as `cpu` or `cuda`")]
    threads: Annotated[int, TableColumn("threads of the CPU that computed it")]
    package_version: Annotated[str, TableColumn("version of icl_curriculum")]
    torch_version: Annotated[str, TableColumn("version of torch")]


class SummaryRow(NamedTuple):
    """Statistics over seeds of every variant in every cell, and of variants that are compared: one row is one number.

    Up to twelve variants that were trained on a cell, and with `icl compare --all-pairs` any number, are each compared
    with each of the others; of more, each with the cell's reference (`--against`, else the single-task variant, else
    the first), with single-task variants, and with the variant of its name in other experiments.

    Intervals over seeds: by bootstrap, Wilson's for shares, Newcombe's for probabilities of improvement.
    """

    experiment: Annotated[str, EXPERIMENT]
    variant: Annotated[
        str,
        dataclasses.replace(
            VARIANT, key=True, meaning="the variant, or `(single-task)`: for each cell the one trained on it alone"
        ),
    ]
    versus: Annotated[
        str | None,
        TableColumn("the variant that it is compared with", empty="where the number is of one variant alone", key=True),
    ]
    function_class: Annotated[str, dataclasses.replace(CLASS, meaning=f"{CLASS.meaning}; `all`: of all cells together")]
    input_distribution: Annotated[str, dataclasses.replace(INPUTS, meaning=f"{INPUTS.meaning}, or `all`")]
    n_context: Annotated[
        int, dataclasses.replace(N_CONTEXT, key=False, meaning="examples of the longest prompt trained on")
    ]
    metric: Annotated[str, TableColumn("`normalized_error`, or `median_error` where the mean is infinite")]
    quantity: Annotated[
        str,
        TableColumn(
            "of what: `error` at the end of training, `forgotten`, `worst_error` under any shift, `plateau_end`, "
            "`steps_to_error`, `prompts_to_error`, `steps`, `prompts`, `flops`, `converged`; of two variants also "
            "`error_at_equal_steps`, `error_at_equal_exposure` and `equal_exposure`",
            key=True,
        ),
    ]
    statistic: Annotated[
        str,
        TableColumn(
            "`seed`: of one seed; `mean`, `median`, `iqm` (interquartile mean): over seeds; `seed_sd`, `prompt_sd`: "
            "spread over seeds, and over banks of prompts; `share`: of seeds; `versus_mean`: the mean of `versus`; "
            "`paired_difference`: `variant` less `versus`, seed by seed; `seeds_better`: seeds that end lower; "
            "`probability_of_improvement`: that a run of `variant` ends lower",
            key=True,
        ),
    ]
    seed: Annotated[
        int | None, TableColumn("the training seed", empty="in all rows but those of the statistic `seed`", key=True)
    ]
    value: Annotated[
        float | None,
        TableColumn(
            "the number; `inf` for an event that never happened",
            unit="that of the quantity: steps, prompts, floating-point operations, else none",
            empty="where it is undefined, as the spread of one seed", negative=True,
        ),
    ]  # fmt: skip
    ci_low: Annotated[
        float | None, TableColumn("lower end of its interval", unit="as `value`", empty="without one", negative=True)
    ]
    ci_high: Annotated[
        float | None, TableColumn("upper end of its interval", unit="as `value`", empty="without one", negative=True)
    ]
    n_seeds: Annotated[int, TableColumn("seeds that it is taken over", unit="seeds")]


#: Every table, in the order of the documentation.
TABLES: dict[str, TableDefinition] = {
    table.name: table
    for table in (
        TableDefinition("training", RunColumns, TrainingRow),
        TableDefinition("learning", RunColumns, LearningRow),
        TableDefinition("evaluation", AskedRunColumns, EvaluationRow),
        TableDefinition("prediction_differences", RunColumns, PredictionDifferenceRow),
        TableDefinition("predictions", RunColumns, PredictionRow),
        TableDefinition("exposure", RunColumns, ExposureRow),
        TableDefinition("curriculum", RunColumns, CurriculumRow),
        TableDefinition("timing", RunColumns, TimingRow),
        TableDefinition("runs", RunColumns, RunsRow),
        TableDefinition("sweep", SweepRow),
        TableDefinition("summary", SummaryRow),
        TableDefinition("heads", RunColumns, HeadsRow),
        TableDefinition("masking", MaskingRow),
        TableDefinition("transfer", TransferRow),
        TableDefinition("scorecard", ScoreColumns, DifferenceColumns),
        TableDefinition("leaderboard", ScoreColumns, StandingColumns),
    )
}

#: Tables that a run writes and that runs of earlier versions lack.
OPTIONAL = ("prediction_differences",)
#: Tables that are no run's own: those of an experiment, those that another command writes, and what is asked for.
_OTHERS = ("runs", "sweep", "predictions", "summary", "heads", "masking", "transfer", "scorecard", "leaderboard")

#: The columns of each table that every finished run has, in order, without those that only some runs have.
COLUMNS: dict[str, list[str]] = {
    name: table.plain_header for name, table in TABLES.items() if name not in (*_OTHERS, *OPTIONAL)
}

#: Tables that grow during training and are cut back on resuming.
GROWING = ("training", "learning", "exposure", "curriculum", "timing")


def format_value(value: Any) -> str:
    """A table cell: nine significant digits of a fraction, always with a point; TRUE or FALSE; empty for missing.

    Readers tell a column's type by its first cells: without the point, 1.0 would stand there as a whole number.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return "" if math.isnan(value) else with_point(f"{value:.9g}")
    return str(value)


def with_point(number: str) -> str:
    """A number's text with a decimal point: ``1.0`` for ``1``, ``1.0e-12`` for ``1e-12``; others as they are."""
    if "." in number or not number.lstrip("-")[:1].isdigit():
        return number
    digits, exponent, power = number.partition("e")
    return f"{digits}.0{exponent}{power}"


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([format_value(value) for value in row] for row in rows)
    return buffer.getvalue()


def of_run(run: RunColumns, rows: Iterable[Sequence[Any]]) -> Iterable[tuple[Any, ...]]:
    """The rows of a run's table as they are written: with the run's own columns in front."""
    return ((*run, *row) for row in rows)


def text_hash(text: str) -> str:
    return bytes_hash(text.encode())


def bytes_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
