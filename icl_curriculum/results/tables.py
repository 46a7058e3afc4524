"""Reading result tables and cutting them down to what figures and comparisons take."""

from __future__ import annotations

import csv
import io
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from icl_curriculum.core.errors import UserError
from icl_curriculum.results.adaptation import without_adapted
from icl_curriculum.results.columns import TABLES, csv_text
from icl_curriculum.results.csv_blocks import csv_blocks
from icl_curriculum.results.derived import check_derived
from icl_curriculum.results.for_each_run import for_each_run, needs_run
from icl_curriculum.results.shown_metric import metric_titles, of_shown, shown_metric

# The tables that are read, with those of their columns that no figure and no comparison looks at.
_UNUSED: dict[str, tuple[str, ...]] = {
    "learning": ("experiment", "run"),
    "evaluation": (),
    "prediction_differences": (),
    "exposure": ("experiment", "run"),
    "curriculum": ("experiment", "run"),
    "heads": ("experiment",),
    "transfer": ("experiment",),
    "sweep": ("experiment",),
    "scorecard": (),
}

#: What a reader may rely on; tables may hold more columns.
COLUMNS: dict[str, list[str]] = {
    name: [column for column in TABLES[name].header if column not in unused] for name, unused in _UNUSED.items()
}


class NothingToDraw(ValueError):
    """The tables hold no rows for this figure."""


def read_table(directory: Path, name: str) -> pd.DataFrame:
    """The table ``name`` as figures and comparisons take it: as `read_as_written`, and each run has all of its rows.

    What stands once in an experiment's evaluation.csv is repeated `for_each_run`.
    """
    table = read_as_written(directory, name)
    return for_each_run(table) if name == "evaluation" else table


def read_as_written(directory: Path, name: str) -> pd.DataFrame:
    """The experiment's table ``name``, row by row.

    Texts are categorical columns, whose categories are in order: tables of thousands of runs have few distinct ones. A
    column that only some runs' tables have is filled in. Raises UserError if the file is missing, damaged, edited since
    it was computed of others, or lacks any other column.
    """
    path = directory / f"{name}.csv"
    if not path.is_file():
        raise UserError(
            f"{path} is missing: figures are drawn from the experiment's tables, so run the experiment first"
        )
    check_derived(path)
    try:
        with path.open("rb") as file:
            header, blocks = csv_blocks(file)
            columns = TABLES[name].columns
            lacking = [column for column in COLUMNS.get(name, columns) if column not in header]
            if needed := [column for column in lacking if not columns[column].absent]:
                raise UserError(f"{path} lacks the column {needed[0]!r}; found: {', '.join(header)}")
            # Of a table without rows, its header alone tells the types of its columns.
            parts = [_parsed(name, header, block) for block in blocks] or [_parsed(name, header, b"")]
        table = _joined(parts)
        constant = np.zeros(len(table), dtype=np.int8)
        filled = {column: pd.Categorical.from_codes(constant, pd.Index([columns[column].absent])) for column in lacking}
        table = table.assign(**filled)
        _check_cells(name, table)
    except (ValueError, FloatingPointError, csv.Error, pd.errors.ParserError) as error:
        raise UserError(f"{path} is damaged: {error}; restore it, or run the experiment again") from None
    return table


def _parsed(name: str, header: list[str], block: bytes) -> pd.DataFrame:
    # Read as categories, texts such as "1.0" would become numbers.
    texts = [column for column, kind in TABLES[name].dtypes.items() if kind == "category" and column in header]
    # Only an empty cell is missing: "None" or "NA" may be somebody's name for a component.
    with np.errstate(invalid="raise"):
        kinds: dict[Hashable, Any] = {**TABLES[name].dtypes, **dict.fromkeys(texts, "str")}
        table = pd.read_csv(
            io.BytesIO(block or csv_text([header]).encode()), names=header, header=None if block else 0,
            index_col=False, dtype=kinds, keep_default_na=False,
            na_values=[""], low_memory=False,
        )  # fmt: skip
    return table.astype(dict.fromkeys(texts, "category"))


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One table of its parts, column by column, as whole tables side by side would take much memory."""
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {}
    for name in parts[0].columns:
        of_parts = [part.pop(name) for part in parts]
        if all(isinstance(part.dtype, pd.CategoricalDtype) for part in of_parts):
            columns[name] = _joined_texts(of_parts)
        else:
            columns[name] = pd.concat(of_parts, ignore_index=True)
    return pd.DataFrame(columns, copy=False)


def _joined_texts(parts: list[pd.Series]) -> pd.Categorical:
    """A column of texts, of which each is held once. They are in order, as groups by them are."""
    texts = pd.Index(sorted({str(text) for part in parts for text in part.cat.categories}), dtype="str")
    codes = []
    for part in parts:
        places = np.append(texts.get_indexer(part.cat.categories.astype("str")), -1)
        codes.append(places[part.cat.codes.to_numpy()])
    return pd.Categorical.from_codes(np.concatenate(codes), texts)


def _check_cells(name: str, table: pd.DataFrame) -> None:
    """ValueError naming the first cell that the suite cannot have written."""
    for key in COLUMNS.get(name, TABLES[name].columns):
        column, cells = TABLES[name].columns[key], table[key]
        if column.empty and (column.kind is float or column.negative):
            continue
        if column.one_of:
            wrong, expected = ~cells.isin(column.one_of), " or ".join(map(str, column.one_of))
        elif column.kind is str:
            wrong, expected = cells.isna(), "text"
        else:
            least = -column.greatest if column.negative else 0
            wrong, expected = ~cells.between(least, column.greatest), f"a number from {least:g} to {column.greatest:g}"
        if column.empty:
            wrong &= cells.notna() | (needs_run(table, key) if name == "evaluation" else False)
        if wrong.any():
            line = int(wrong.to_numpy().argmax())
            found = "nothing" if pd.isna(cells.iloc[line]) else repr(cells.iloc[line])
            raise ValueError(f"row {line + 1} of column {key!r}: expected {expected}, found {found}")
    if "learner_kind" in table:
        kinds = table.drop_duplicates(["learner", "learner_kind"])["learner"]
        if kinds.duplicated().any():
            raise ValueError(f"the learner {kinds[kinds.duplicated()].iloc[0]!r} is of two kinds")


def with_rows_of_all(table: pd.DataFrame) -> pd.DataFrame:
    """A table in which each run has all of its rows: evaluation.csv may be given as it is written, see `read_table`."""
    return for_each_run(table) if "learner_kind" in table and table["run"].isna().any() else table


def distinct(values: Iterable[Hashable]) -> list[str]:
    """The distinct values as text, in order of appearance."""
    if isinstance(values, pd.Series):
        values = values.unique()
    return [str(value) for value in dict.fromkeys(values)]


def of_variant(table: pd.DataFrame, variant: str | None) -> pd.DataFrame:
    """The rows of one variant, which need not be named where there is only one; also those that stand for all of them.

    Raises ValueError if it is not named and there are several.
    """
    table = with_rows_of_all(table)
    variants = distinct(table["variant"])
    if variant is None and len(variants) > 1:
        raise ValueError(f"name one of the table's {len(variants)} variants: {', '.join(variants)}")
    return table if variant is None else table[table["variant"] == variant]


def on_own_prompts(learning: pd.DataFrame, curriculum: pd.DataFrame) -> pd.DataFrame:
    """The rows of learning.csv on the prompts of training: without a shift, and of cells that curriculum.csv has.

    A run with `evaluation.learning_shifts` has others; under a shift that changes the inputs, they differ from these in
    ``input_distribution`` alone. A table without the column ``shift`` has none of them.
    """
    if "shift" not in learning:
        return learning
    keys = ["function_class", "input_distribution"]
    plain = learning[learning["shift"] == "none"]
    own = set(curriculum[keys].drop_duplicates().itertuples(index=False, name=None))
    kept = [not own or cell in own for cell in zip(*(plain[key] for key in keys), strict=True)]
    # As an array: an empty list would choose columns, none of them.
    return plain[np.array(kept, dtype=bool)]


def with_metric(rows: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """The metric to show and its rows: the first of `metric_titles` that there is, so usually the normalized error.

    An error of a model that is missing or infinite is that of one that overflowed: infinitely bad. Other learners
    have no error where it is missing.
    """
    # Called for every cell of a heat map, and numpy is much the faster on few rows.
    metrics, values = rows["metric"].to_numpy(dtype=object), rows["value"].to_numpy(dtype=np.float64)
    metric = next((metric for metric in metric_titles() if (metrics == metric).any()), "")
    if not metric:
        return next(iter(metric_titles())), rows.iloc[:0]
    kept, missing = metrics == metric, np.isnan(values)
    if "learner_kind" in rows:
        kept &= ~missing | (rows["learner_kind"].to_numpy(dtype=object) == "model")
    return metric, rows[kept].assign(value=np.where(missing, shown_metric().sign * np.inf, values)[kept])


def over_seeds(rows: pd.DataFrame, by: str | list[str]) -> pd.DataFrame:
    """``mean``, ``low`` and ``high`` by columns: the range over seeds, or one seed's interval over prompts."""
    groups = rows.groupby(by, observed=True)
    values = groups["value"].agg(["mean", "min", "max"]).set_axis(["mean", "low", "high"], axis=1)
    if rows["seed"].nunique() == 1 and "ci_low" in rows:
        values[["low", "high"]] = groups[["ci_low", "ci_high"]].first()
    return values


def final(evaluation: pd.DataFrame) -> pd.DataFrame:
    """The errors that are drawn: of trained models at each run's last step, and of learners that do not train.

    Adapted models are left out: they have a figure of their own, `figures.adaptation`.
    """
    return at_last_step(without_adapted(evaluation))


def at_last_step(evaluation: pd.DataFrame) -> pd.DataFrame:
    """The errors that are shown of all models at each run's last step, and of learners that do not train."""
    evaluation = of_shown(with_rows_of_all(evaluation))
    last = evaluation.groupby(["experiment", "run"], observed=True)["step"].transform("max")
    return evaluation[(evaluation["learner_kind"] != "model") | (evaluation["step"] == last)]


@dataclass(frozen=True)
class Cell:
    """A function class with an input distribution; ``trained``: whether training could draw it, or nothing trained."""

    function_class: str
    inputs: str
    trained: bool

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows[(rows["function_class"] == self.function_class) & (rows["input_distribution"] == self.inputs)]


def evaluated_cells(evaluation: pd.DataFrame) -> list[Cell]:
    """The cells in distribution, and each class that was not trained on, with inputs that were where it has them.

    A trained class with other inputs is out of distribution and no cell of its own. Without a model, all cells.
    """
    plain = evaluation[evaluation["shift"] == "none"]
    keys = ["function_class", "input_distribution"]
    pairs = list(plain[keys].drop_duplicates().itertuples(index=False, name=None))
    models = plain[plain["learner_kind"] == "model"]
    if models.empty:
        return [Cell(name, inputs, trained=True) for name, inputs in pairs]
    inside = models[models["in_distribution"] == True]  # noqa: E712 (a column that may hold missing values)
    trained = set(inside[keys].drop_duplicates().itertuples(index=False, name=None))
    trained_classes = set(inside["function_class"])
    training_inputs = set(inside["input_distribution"])
    cells = []
    for function_class in distinct(plain["function_class"]):
        offered = [inputs for name, inputs in pairs if name == function_class]
        if function_class in trained_classes:
            chosen = [inputs for inputs in offered if (function_class, inputs) in trained]
        else:
            chosen = [inputs for inputs in offered if inputs in training_inputs] or offered[:1]
        cells += [Cell(function_class, inputs, function_class in trained_classes) for inputs in chosen]
    return cells


@dataclass(frozen=True)
class CurriculumBlock:
    """A span of training, from after ``start`` updates to ``end``, in which the same cells could be drawn."""

    start: float
    end: float
    cells: frozenset[tuple[str, str]]


def shares_by_step(curriculum: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean share over seeds: a row per logged step, a column per (function class, inputs) in table order."""
    keys = ["function_class", "input_distribution"]
    order = list(dict.fromkeys(zip(*(curriculum[key] for key in keys), strict=True)))
    by_seed = curriculum.pivot_table(index=["step", "seed"], columns=keys, values=column, fill_value=0.0, observed=True)
    shares = by_seed.groupby("step").mean()[order]
    return shares[shares.index > 0]


def blocks(curriculum: pd.DataFrame) -> list[CurriculumBlock]:
    """The curriculum's blocks, from the planned shares.

    A row at a step averages over the updates since the row before. Where a block ends between two
    rows, the mixture of shares in that interval tells when.
    """
    shares = shares_by_step(curriculum, "planned_share")
    if shares.empty:
        return []
    values = shares.to_numpy()
    ends = shares.index.to_numpy(dtype=float)
    starts = np.concatenate([[0.0], ends[:-1]])
    pairs = [(str(pair[0]), str(pair[1])) for pair in shares.columns]
    active = [frozenset(pair for pair, share in zip(pairs, row, strict=True) if share > 0) for row in values]
    begun = [(0.0, active[0])]
    for i in range(1, len(values)):
        if active[i] == begun[-1][1]:
            continue
        straddles = i + 1 < len(values) and active[i] == active[i - 1] | active[i + 1]
        after = i + 1 if straddles else i
        change = values[i - 1] - values[after]
        most = np.abs(change).argmax()
        before = np.clip((values[i] - values[after])[most] / change[most], 0, 1)
        begun.append((float(round(starts[i] + before * (ends[i] - starts[i]), 6)), active[after]))
    stops = [start for start, _ in begun[1:]] + [float(ends[-1])]
    return [CurriculumBlock(start, stop, cells) for (start, cells), stop in zip(begun, stops, strict=True)]
