"""Which errors are of what a variant was trained on, of unseen classes, and of unseen inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd

from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.results.adaptation import ADAPTED
from icl_curriculum.results.comparison.sources import CELL, MODEL, Cell
from icl_curriculum.results.shown_metric import metric_titles
from icl_curriculum.results.tables import at_last_step
from icl_curriculum.results.transfer.row import UNADAPTED

#: What `domain_errors` returns: an error of one run in one cell.
ERRORS = ["variant", "seed", "domain", "adaptation", "learner", *CELL, "n_context", "n_prompts", "metric", "value"]


def domain_of(cell: Cell, trained: Collection[Cell]) -> str | None:
    """The domain of an unshifted cell for a model that was trained on others; None: of none.

    >>> trained = {("linear", "gaussian"), ("quadratic", "uniform")}
    >>> domain_of(("relu_network", "uniform"), trained), domain_of(("linear", "skewed"), trained)
    ('unseen_classes', 'unseen_inputs')

    A trained class under inputs that it met never, but another class did, is neither:

    >>> domain_of(("linear", "uniform"), trained)
    """
    if cell in trained:
        return "seen"
    class_seen, inputs_seen = (any(cell[i] == other[i] for other in trained) for i in (0, 1))
    if inputs_seen and not class_seen:
        return "unseen_classes"
    return "unseen_inputs" if class_seen and not inputs_seen else None


def trained_cells(evaluation: pd.DataFrame) -> dict[str, frozenset[Cell]]:
    """The cells that had a share in training, by variant."""
    inside = evaluation[(evaluation["learner"] == MODEL) & evaluation["in_distribution"].astype(bool)]
    found: dict[str, set[Cell]] = {str(variant): set() for variant in evaluation["variant"].unique()}
    for variant, function_class, inputs in inside[["variant", *CELL]].drop_duplicates().itertuples(index=False):
        found[str(variant)].add((str(function_class), str(inputs)))
    return {variant: frozenset(cells) for variant, cells in found.items()}


def domain_errors(evaluation: pd.DataFrame, dims: dict[str, int]) -> pd.DataFrame:
    """The errors of trained models in their domains, a row each, with the columns `ERRORS`, in an order of their own.

    ``dims``: by variant; variants without are left out. Errors are at 4 d examples, or the longest trained number
    below. A missing error is that of a model that overflowed: infinite.
    """
    trained = trained_cells(evaluation)
    rows = at_last_step(evaluation)
    rows = rows[(rows["learner_kind"] == "model") & (rows["shift"] == "none") & rows["variant"].isin(list(dims))]
    asked = (rows["learner"] == MODEL) | rows["learner"].str.startswith(ADAPTED)
    rows = rows[asked]
    inside = rows[(rows["learner"] == MODEL) & rows["in_distribution"].astype(bool)]
    most = inside["variant"].map(dims).astype(float) * 4
    lengths = inside[inside["n_context"] <= most].groupby("variant", observed=True)["n_context"].max()
    rows = rows[rows["n_context"] == rows["variant"].map(lengths)]
    places = zip(rows["variant"], rows["function_class"], rows["input_distribution"], strict=True)
    domains = [domain_of((str(name), str(inputs)), trained[str(variant)]) for variant, name, inputs in places]
    names = adaptation_names(rows[["variant", "learner"]].drop_duplicates().itertuples(index=False, name=None))
    rows = rows.assign(
        domain=pd.Series(domains, index=rows.index, dtype=object),
        adaptation=rows["learner"].astype(object).map(names),
        value=np.where(rows["value"].isna(), np.inf, rows["value"].astype(float)),
    )
    rows = rows[rows["domain"].notna()]
    # Of each answer the metric that comes first: the median where the mean is infinite.
    rank = rows["metric"].astype(object).map({metric: number for number, metric in enumerate(metric_titles())})
    keys = [name for name in ERRORS if name not in ("metric", "value")]
    rows = rows.assign(rank=rank).sort_values([*keys, "rank"], kind="stable")
    return rows.drop_duplicates(keys)[ERRORS].reset_index(drop=True)


def adaptation_names(learners: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What adaptations are called, by the learner's id: without the rate, unless a variant has two that differ in it.

    ``learners``: pairs of a variant and a learner's id, each pair once. Rates are tuned for each method, so the same
    adaptation of two variants may have two.

    >>> adaptation_names([("plain", "model/adapted=20/rate=0.1"), ("maml", "model/adapted=20/rate=0.01")])
    {'model/adapted=20/rate=0.1': 'adapted=20', 'model/adapted=20/rate=0.01': 'adapted=20'}
    """
    pairs = list(learners)
    parts = {name: Identifier.parse(name) for _, name in pairs}
    brief = {name: _after_model(parsed.without("rate")) for name, parsed in parts.items()}
    counts = Counter((variant, brief[name]) for variant, name in pairs)
    twice = {name for (_, name), count in counts.items() if count > 1}
    return {name: _after_model(parts[name]) if short in twice else short for name, short in brief.items()}


def _after_model(identifier: Identifier) -> str:
    return "/".join(map(str, identifier.parts)) or UNADAPTED
