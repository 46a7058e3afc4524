"""What a model's error in a cell is to be read against: the best baseline and the optimum, on the same prompts."""

from __future__ import annotations

from dataclasses import dataclass

from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.sources import Cell, Source, in_cell
from icl_curriculum.results.labels import learner_label
from icl_curriculum.results.shown_metric import of_shown, shown_metric
from icl_curriculum.results.tables import with_metric


@dataclass(frozen=True)
class Reference:
    """A learner that does not train, in words, and its error."""

    name: str
    value: float


def references(source: Source, found: Outcomes, cell: Cell) -> dict[str, Reference]:
    """``baseline``: the best one in a cell at the length that errors are taken at; ``oracle``: the optimum.

    Either is absent where there is none. The bound of an oracle that knows more is no reference. Who knows
    nothing is none either: its error is said where errors are.
    """
    own = in_cell(found.rows, cell)
    if own.empty:
        return {}
    evaluation = source.evaluation
    others = evaluation[(evaluation["learner_kind"] != "model") & (evaluation["shift"] == "none")]
    rows = of_shown(in_cell(others, cell))
    _, rows = with_metric(rows[rows["n_context"] == int(own["n_context"].iloc[0])])
    made = {}
    means = {str(name): float(own.mean()) for name, own in rows.groupby("learner", observed=True)["value"]}
    if "oracle" in means:
        made["oracle"] = Reference(learner_label("oracle"), means["oracle"])
    baselines = sorted({str(name) for name in rows.loc[rows["learner_kind"] == "baseline", "learner"]} - {"zero"})
    if baselines:
        best = min(baselines, key=lambda name: shown_metric().sign * means[name])
        made["baseline"] = Reference(learner_label(best), means[best])
    return made
