"""The leaderboard on the terminal: a row for each learner, a column for each axis."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import pandas as pd
from rich.table import Table

from icl_curriculum.cli import output, rows
from icl_curriculum.core.errors import UserError
from icl_curriculum.results.scorecard.axes import AXES, MEAN
from icl_curriculum.results.scorecard.frozen import benchmark
from icl_curriculum.results.scorecard.leaderboard import LEARNER
from icl_curriculum.scoring.benchmark import Leaderboard

#: The half width of an interval is left out where there is none.
_MISSING = "—"


def show(board: Leaderboard) -> None:
    """Print the table, the remarks on learners, those that were refused, and where it was written."""
    table = board.table[board.table["seed"].isna()]
    made = Table(box=None, header_style="", pad_edge=False, padding=(0, 2, 0, 0))
    titles = {MEAN: "mean", **{axis.name: axis.title for axis in AXES.values()}}
    made.add_column("learner", justify="left", no_wrap=True)
    made.add_column("rank", justify="right")
    for title in (*titles.values(), "operations", "seeds"):
        made.add_column(title, justify="right")
    rank, remarks = 0, []
    learners = table.groupby(LEARNER, sort=False, dropna=False)
    several = Counter(str(key[1]) for key, _ in learners)
    for key, of_learner in learners:
        experiment, learner = str(key[0]), str(key[1])
        first = of_learner.iloc[0]
        ranked = bool(first["ranked"])
        rank += ranked
        hashes = None if pd.isna(first["config_hashes"]) else first["config_hashes"]
        own = (experiment, learner, first["command"], hashes) in board.own
        name = learner if several[learner] == 1 else f"{experiment}/{learner}"
        by_axis = of_learner.set_index("axis")
        operations = first["operations"]
        made.add_row(
            f"{name}{' *' if own else ''}",
            str(rank) if ranked else _MISSING,
            *(_cell(by_axis, axis) for axis in titles),
            _MISSING if pd.isna(operations) else f"{float(operations):.2g}",
            str(int(of_learner["n_seeds"].max())) if of_learner["n_seeds"].max() else _MISSING,
            style="bold" if own else None,
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


def _cell(by_axis: pd.DataFrame, axis: str) -> str:
    """``.82 ±.03``: a score with half of its interval."""
    if axis not in by_axis.index:
        return _MISSING
    cells = (by_axis[name].to_dict()[axis] for name in ("score", "ci_low", "ci_high"))
    score, low, high = (math.nan if pd.isna(cell) else float(cell) for cell in cells)
    text = f"{score:.2f}".removeprefix("0") if score < 1 else f"{score:.2f}"
    half = (high - low) / 2
    return text if math.isnan(half) else f"{text} ±{f'{half:.2f}'.removeprefix('0')}"
