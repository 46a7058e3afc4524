"""The leaderboard on the terminal: a row for each learner, a column for each axis."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import pandas as pd
from rich.table import Table

from icl_curriculum.cli import output, rows
from icl_curriculum.core.errors import UserError
from icl_curriculum.results.scorecard.answer import TITLES
from icl_curriculum.results.scorecard.axes import MEAN
from icl_curriculum.results.scorecard.frozen import benchmark
from icl_curriculum.results.scorecard.leaderboard import LEARNER, LearnerKey
from icl_curriculum.scoring.benchmark import Leaderboard

#: What stands where there is nothing to say.
_MISSING = "—"


def show(board: Leaderboard) -> None:
    """Print the table, the remarks on learners, those that were refused, and where it was written."""
    table = board.table[board.table["seed"].isna()]
    made = Table(box=None, header_style="", pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column("learner", justify="left", no_wrap=True)
    for title in ("rank", *TITLES.values(), "operations", "seeds"):
        made.add_column(title, justify="right")
    rank, remarks = 0, []
    learners = [(_key(key), rows) for key, rows in table.groupby(LEARNER, sort=False, dropna=False)]
    several = Counter(learner for (_, learner, *_), _ in learners)
    for key, of_learner in learners:
        name = str(key[1]) if several[key[1]] == 1 else f"{key[0]}/{key[1]}"
        first, scores = of_learner.iloc[0], of_learner.set_index("axis")
        # Without a score on every axis of the mean there is nothing to rank it by.
        ranked = bool(first["ranked"]) and MEAN in scores.index
        rank += ranked
        seeds = int(of_learner["n_seeds"].max())
        made.add_row(
            f"{name}{' *' if key in board.own else ''}",
            str(rank) if ranked else _MISSING,
            *(short_score(scores, axis) or _MISSING for axis in TITLES),
            _MISSING if pd.isna(first["operations"]) else f"{float(first['operations']):.2g}",
            str(seeds) if seeds else _MISSING,
            style="bold" if key in board.own else None,
        )
        if not pd.isna(first["remark"]):
            remarks.append(f"{name}{'' if ranked else ' has no rank'}: {first['remark']}")
    output.show(made)
    output.show(
        "\nScores are shares of the attainable skill, (1 - e) / (1 - e*): 0 for predicting zero, 1 for the best "
        "predictions. ± is half of the 90% interval over seeds."
        + (" * yours; the others are those of the committed table." if board.own else "")
    )
    for text in remarks:
        output.note(text, label="note: ")
    for who, reason in board.refused.items():
        output.note(f"{who} is not in the table: {reason}", label="refused: ")
    if board.path is not None:
        output.written("table", board.path, asked=True)
    output.put(leaderboard=lambda: rows.as_rows(board.table, "leaderboard"))


def refuse_other_prompts(asked: Mapping[str, object]) -> None:
    """UserError for options beside ``--benchmark`` that ask for other prompts than its own. ``asked``: by option."""
    for name, value in asked.items():
        if value:
            raise UserError(
                f"{name} asks for other prompts, and those of {benchmark().name} are frozen; leave it out, or "
                "--benchmark"
            )


def _key(values: object) -> LearnerKey:
    """What tells a learner, as `Leaderboard.own` has it."""
    assert isinstance(values, tuple)
    return tuple(None if pd.isna(value) else str(value) for value in values)


def short_score(scores: pd.DataFrame, axis: str) -> str:
    """``.82 ±.03``: a score with half of its interval, from a learner's rows by axis; empty where it has none."""
    if axis not in scores.index:
        return ""
    cells = (scores[name].to_dict()[axis] for name in ("score", "ci_low", "ci_high"))
    score, low, high = (math.nan if pd.isna(cell) else float(cell) for cell in cells)
    half = (high - low) / 2
    text = f"{score:.2f}" if math.isnan(half) else f"{score:.2f} ±{half:.2f}"
    return text.replace("0.", ".")
