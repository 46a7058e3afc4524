"""The tables of errors that commands end with, made from result tables alone."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table

from icl_curriculum.cli.screen import Name
from icl_curriculum.results.adaptation import without_adapted
from icl_curriculum.results.shown_metric import of_shown, shown_metric
from icl_curriculum.results.tables import read_table

#: What a star in a table of errors means.
MEDIAN = "* median error, as the mean squared error is infinite"


def error_table(directory: Path) -> Table:
    """Errors of the trained models without a shift, beside the best baseline and the oracle.

    The best baseline is chosen among those that were asked at the longest prompts. A dagger marks it if it was
    asked on fewer prompts than the model.
    """
    frame = without_adapted(read_table(directory, "evaluation"))
    # Of imported runs, whose table of it is empty, nothing was evaluated but what they were trained on.
    inputs = [*read_table(directory, "curriculum")["input_distribution"].unique()] or [
        *frame["input_distribution"].unique()
    ]
    scale = _scale_of(frame)
    frame = of_shown(frame)
    frame = frame[(frame["shift"] == "none") & frame["input_distribution"].isin(inputs)]
    longest = int(frame.loc[frame["learner_kind"] == "model", "n_context"].max())
    lengths = sorted({max(1, longest // 4), max(1, longest // 2), longest})
    seeds = frame["seed"].nunique()
    several = {"variant": frame["variant"].nunique() > 1, "input_distribution": len(inputs) > 1}
    title = f"Normalized error ({scale}, k = examples{f'; seeds: {seeds}, their mean' if seeds > 1 else ''})"
    table = Table(
        title=title, min_width=len(title),
        title_justify="left", box=None, header_style="", pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for column, shown in several.items():
        if shown:
            table.add_column(column.split("_")[0])
    table.add_column("function class")
    for length in lengths:
        table.add_column(f"k={length}", justify="right")
    if seeds > 1:
        table.add_column("min–max", justify="right")
    table.add_column(f"best baseline, k={longest}")
    table.add_column("oracle", justify="right")
    notes: dict[str, None] = {}
    for (variant, function_class, input_distribution), cell in frame.groupby(
        ["variant", "function_class", "input_distribution"], sort=False, observed=True
    ):
        model = cell[cell["learner_kind"] == "model"]
        at_end = cell[cell["n_context"] == longest]
        final = at_end.loc[at_end["learner_kind"] == "model", "value"]
        oracle = at_end.loc[at_end["learner_kind"] == "oracle", "value"]
        best, note = _best_baseline(at_end)
        names = {"variant": str(variant), "input_distribution": str(input_distribution)}
        trained = bool(model["in_distribution"].any())
        star = "*" if _by_median(model) else ""
        notes |= dict.fromkeys(filter(None, [MEDIAN if star else "", note]))
        table.add_row(
            *(Name(name) for column, name in names.items() if several[column]),
            Name(f"{function_class}{star}{'' if trained else ' (not trained on)'}"),
            *(f"{model.loc[model['n_context'] == length, 'value'].mean():.3f}" for length in lengths),
            *[f"{final.min():.3f}–{final.max():.3f}"] * (seeds > 1),
            Name(best),
            f"{oracle.mean():.3f}" if len(oracle) else "–",
        )
    if notes:
        table.caption, table.caption_justify = "\n".join(notes), "left"
    return table


def _scale_of(evaluation: pd.DataFrame) -> str:
    """What the numbers of a table of errors are to be read against, in a few words."""
    shown = shown_metric().of(evaluation)
    if shown.chosen is not None:
        return "more is better" if shown.improves == "up" else "less is better"
    return f"1 = {shown.nothing}"


def _best_baseline(errors: pd.DataFrame) -> tuple[str, str]:
    """The baseline with the least error, of several the first by name, and a note on it, which may be empty."""
    # A baseline's errors may be undefined everywhere.
    rows = errors[(errors["learner_kind"] == "baseline") & errors["value"].notna()]
    if rows.empty:
        return "–", ""
    means = rows.groupby("learner", observed=True)["value"].mean()
    best = means.idxmin()
    asked, most = int(rows.loc[rows["learner"] == best, "n_prompts"].min()), int(errors["n_prompts"].max())
    fewer = asked < most
    return f"{means.min():.3f} {best}{'†' * fewer}", f"† on {asked} prompts instead of {most}" * fewer


def grid_table(
    directory: Path, asked: Collection[tuple[str, str, str]], step: int, models: Sequence[str] = ("model",)
) -> Table:
    """The model's errors in the cells that were asked for: a row for each inputs and shift, a column for each class.

    ``asked``: the cells, each a function class, an input distribution and a shift. ``step``: of the model. ``models``:
    the ids of the model in each way in which it was asked; of several, each has rows of its own.
    """
    frame, scale = _asked_of_models(directory, asked, [step], models)
    plain = frame[frame["shift"] == "none"]
    longest = int((plain if len(plain) else frame)["n_context"].max())
    classes = list(dict.fromkeys(frame["function_class"]))
    table = Table(
        title=_title_of_models(longest, scale),
        title_justify="left", box=None, header_style="", pad_edge=False,
    )  # fmt: skip
    several = len(models) > 1
    for column in ("inputs", "shift", *["learner"] * several):
        table.add_column(column, no_wrap=True)
    for column in classes:
        table.add_column(column.replace("_", " "), overflow="fold", justify="right")
    for (inputs, shift, learner), rows in frame.groupby(
        ["input_distribution", "shift", "learner"], sort=False, observed=True
    ):
        # A shift that is defined for fewer examples than the others, or only for more, has its own longest prompt.
        within = rows[rows["n_context"] <= longest]
        last = within if len(within) else rows
        last = last[last["n_context"] == last["n_context"].max()]
        k = int(last["n_context"].iloc[0])
        if _by_median(last):
            table.caption, table.caption_justify = MEDIAN, "left"
        numbers = [_shown(last[last["function_class"] == name]) for name in classes]
        shown = str(shift) if k == longest else f"{shift} (k = {k})"
        table.add_row(str(inputs), shown, *[str(learner)] * several, *numbers)
    return table


def step_table(
    directory: Path, asked: Collection[tuple[str, str, str]], steps: Collection[int], models: Sequence[str] = ("model",)
) -> tuple[str, Table]:
    """The model's errors in cells at several steps, with a title: a row for each step, a column for each cell.

    ``models``: as in `grid_table`.
    """
    frame, scale = _asked_of_models(directory, asked, steps, models)
    longest = int(frame["n_context"].max())
    keys = ["step", "learner", "function_class", "input_distribution"]
    at = frame[frame["n_context"] == longest].groupby(keys, observed=True)
    title = _title_of_models(longest, scale)
    table = Table(box=None, header_style="", pad_edge=False)
    table.add_column("step", justify="right")
    if len(models) > 1:
        table.add_column("learner")
    several_inputs = len({inputs for _, inputs, _ in asked}) > 1
    for name, inputs, _ in asked:
        table.add_column(name.replace("_", " ") + (f", {inputs}" if several_inputs else ""), justify="right")
    if _by_median(frame):
        table.caption, table.caption_justify = MEDIAN, "left"
    for step, learner in itertools.product(steps, models):
        cells = ((step, learner, name, inputs) for name, inputs, _ in asked)
        shown = (_shown(at.get_group(cell)) if cell in at.groups else "–" for cell in cells)
        table.add_row(str(step), *[learner] * (len(models) > 1), *shown)
    return title, table


def _by_median(rows: pd.DataFrame) -> bool:
    """Whether medians stand in the place of means that are infinite."""
    return shown_metric().chosen is None and bool((rows["metric"] == "median_error").any())


def _title_of_models(longest: int, scale: str) -> str:
    title = shown_metric().title
    return f"{title[:1].upper()}{title[1:]} of the model at k = {longest} examples ({scale})"


def _asked_of_models(
    directory: Path, asked: Collection[tuple[str, str, str]], steps: Collection[int], models: Sequence[str]
) -> tuple[pd.DataFrame, str]:
    """The errors of models at some steps in some cells, as far as tables show them, and what to read them against."""
    frame = read_table(directory, "evaluation")
    frame = frame[frame["learner"].isin(models) & frame["step"].isin(steps)]
    cells = zip(frame["function_class"], frame["input_distribution"], frame["shift"], strict=True)
    frame = frame[[cell in asked for cell in cells]]
    return of_shown(frame), _scale_of(frame)


def _shown(errors: pd.DataFrame) -> str:
    """A cell of `grid_table`, with a star where it is a median."""
    if not len(errors):
        return "–"
    return f"{errors['value'].mean():.3g}{'*' if _by_median(errors) else ''}"


#: Prompt lengths that are shown, as shares of the longest.
SHARES = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)


def score_tables(
    directory: Path, asked: Sequence[tuple[str, str, str]], learners: Collection[str]
) -> Iterator[tuple[str, Table]]:
    """Errors of the learners and the oracle: a title and a table for each cell of class, inputs and shift."""
    frame = read_table(directory, "evaluation")
    frame = frame[frame["learner"].isin(learners) | (frame["learner_kind"] == "oracle")]
    for function_class, inputs, shift in asked:
        cell = frame[
            (frame["function_class"] == function_class)
            & (frame["input_distribution"] == inputs)
            & (frame["shift"] == shift)
        ]
        scale, cell = _scale_of(cell), of_shown(cell)
        if len(cell):
            names = ", ".join([function_class, f"{inputs} inputs", *[shift] * (shift != "none")])
            median = _by_median(cell)
            kind = "median error (the mean is infinite)" if median else f"{shown_metric().title} ({scale})"
            yield f"{names}: {kind}", _score_table(cell)


def _score_table(cell: pd.DataFrame) -> Table:
    table = Table(box=None, header_style="", pad_edge=False)
    table.add_column("learner")
    lengths = _shown_lengths(cell)
    for k in lengths:
        table.add_column(f"k={k}", justify="right")
    table.add_column("prompts", justify="right")
    for learner, rows in cell.groupby("learner", sort=False, observed=True):
        values = rows.groupby("n_context")["value"].mean()
        counts = rows["n_prompts"]
        few, many = int(counts.min()), int(counts.max())
        table.add_row(
            Name(str(learner)),
            *(f"{values[k]:.3f}" if k in values.index else "–" for k in lengths),
            f"{few}" if few == many else f"{few}–{many}",
        )
    return table


def _shown_lengths(cell: pd.DataFrame) -> list[int]:
    """Prompt lengths to show: those that all learners have, or else a few of the longest learner's, evenly."""
    by_learner = [set(rows["n_context"]) for _, rows in cell.groupby("learner", observed=True)]
    common = sorted(set.intersection(*by_learner) - {0}) or sorted(set.union(*by_learner))
    if len(common) <= len(SHARES):
        return common
    return sorted({common[int(np.abs(np.asarray(common) - share * common[-1]).argmin())] for share in SHARES})
