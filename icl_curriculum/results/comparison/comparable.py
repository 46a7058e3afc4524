"""What may stand side by side: the same prompts, of the same length, with errors over the same denominator."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.printable import in_a_cell
from icl_curriculum.results.comparison.outcomes import Outcomes, outcomes
from icl_curriculum.results.comparison.sources import CELL, MODEL, Cell, Source, unshifted_models
from icl_curriculum.results.shown_metric import metric_titles

#: Why banks of other content cannot stand side by side.
OTHER_PROMPTS = "other prompts (banks of another evaluation.bank_seed, evaluation.n_prompts, number of dims or version)"


@dataclass(frozen=True)
class ComparedBank:
    """What tells the bank of a cell from another: its content hash, or what learners without training made of it.

    ``others``: the rows of learners without training; ``scale``: the denominator of the normalized error;
    ``learning``: number and seed of the prompts behind learning curves, where the run's config is there.
    """

    label: str
    n_context: int
    metric: str
    content: str | None
    others: pd.DataFrame
    scale: float
    learning: tuple[int, int] | None

    @functools.cached_property
    def answers(self) -> dict[tuple[str, int], float]:
        """Squared (or median) error by learner and length. Only asked where no hash tells banks apart."""
        usual = (self.others["metric"] == "squared_error").any()
        found = self.others[self.others["metric"] == ("squared_error" if usual else "median_error")]
        return {
            (str(learner), int(k)): float(value)
            for learner, k, value in found[["learner", "n_context", "value"]].itertuples(index=False)
            if not np.isnan(value)
        }


def problems(sources: Sequence[Source]) -> list[str]:
    """Why some of the sources' variants cannot be compared, one sentence each; nothing if all can."""
    banks = [bank for source in sources for bank in _banks(source)]
    found: dict[str, None] = {}
    for cell in dict.fromkeys(cell for cell, _ in banks):
        of_cell = [bank for other, bank in banks if other == cell]
        for one, other in itertools.pairwise(of_cell):
            if reason := _differ(one, other):
                found[f"{one.label} and {other.label} were asked {reason} ({cell[0]}, {cell[1]} inputs)"] = None
    for one_source, other_source in itertools.combinations(sources, 2):
        if not {*one_source.cells} & {*other_source.cells}:
            cells = (", ".join(f"{c} with {i} inputs" for c, i in source.cells) for source in sources[:2])
            found[f"{' and '.join(cells)} have nothing in common: no class with the same inputs is in both"] = None
    return list(found)


def _differ(one: ComparedBank, other: ComparedBank) -> str:
    if one.n_context != other.n_context:
        return f"prompts of {one.n_context} and of {other.n_context} examples"
    if one.metric != other.metric:
        return f"for other errors, {metric_titles()[one.metric]} and {metric_titles()[other.metric]}"
    if one.content is not None and other.content is not None:
        if one.content != other.content:
            return OTHER_PROMPTS
    else:
        common = one.answers.keys() & other.answers.keys()
        if any(not np.isclose(one.answers[key], other.answers[key], rtol=1e-6, atol=1e-12) for key in common):
            return "other prompts: what learners without training answered differs"
        if not common:
            return "prompts of which nothing tells whether they are the same: no manifest, and no baseline in common"
    if one.learning and other.learning and one.learning != other.learning:
        key, place = ("learning_prompts", 0) if one.learning[0] != other.learning[0] else ("bank_seed", 1)
        return f"other prompts while they trained (evaluation.{key} {one.learning[place]}, {other.learning[place]})"
    if not np.isclose(one.scale, other.scale, rtol=1e-5) and not np.isnan(one.scale + other.scale):
        return f"under another normalization: errors over {one.scale:.6g} and over {other.scale:.6g}"
    return ""


def _banks(source: Source) -> list[tuple[Cell, ComparedBank]]:
    """The bank that each variant answered in each cell."""
    # The shifts' rows are the most by far, and are left out once.
    unshifted = source.evaluation[source.evaluation["shift"] == "none"]
    measured = source.on_own_prompts if source.knows_training else unshifted_models(source.evaluation)
    longest = measured.groupby([*CELL, "variant"], observed=True)["n_context"].max()
    hashes = {(str(manifest["variant"]), str(name)): content for manifest in source.manifests.values()
              for name, content in manifest.get("banks", {}).items()}  # fmt: skip
    of_cells = {
        tuple(map(str, key)): rows for key, rows in unshifted.groupby([*CELL, "variant"], sort=False, observed=True)
    }
    found = []
    for cell, variant in itertools.product(source.cells, source.variants):
        own = of_cells.get((*cell, variant), unshifted.iloc[:0])
        own = own[own["seed"] == own["seed"].min()] if len(own) else own
        models = own[own["learner"] == MODEL]
        if models.empty or (*cell, variant) not in longest.index:
            continue
        n_context = int(longest[(*cell, variant)])
        metric = next((metric for metric in metric_titles() if (models["metric"] == metric).any()), "")
        others = own[own["learner_kind"] != "model"]
        label = f"{source.name_beside}/{variant}" if len(source.variants) > 1 else source.name_beside
        content = hashes.get((variant, f"{cell[0]}/{cell[1]}/none"))
        # A run that was evaluated anew may have been asked other prompts while it learned.
        config = source.trained_configs.get(variant, {}).get("evaluation", {})
        there = {"learning_prompts", "bank_seed"} <= config.keys() and source.knows_training
        learning = (config["learning_prompts"], config["bank_seed"]) if there else None
        bank = ComparedBank(label, n_context, metric, content, others, _scale(models, n_context), learning)
        found.append((cell, bank))
    return found


def _scale(models: pd.DataFrame, n_context: int) -> float:
    """Squared over normalized error: the second moment that errors are divided by; NaN where it isn't finite."""
    at = models[models["n_context"] == n_context]
    errors = dict(zip(at["metric"], at["value"], strict=True))
    if {"squared_error", "normalized_error"} <= errors.keys() and 0 < errors["normalized_error"] < np.inf:
        return float(errors["squared_error"] / errors["normalized_error"])
    return float("nan")


def check(sources: Sequence[Source]) -> None:
    """UserError, saying why, unless everything in the sources may stand side by side."""
    if found := problems(sources):
        more = f"\nand {len(found) - 5} more reasons of the kind" if len(found) > 5 else ""
        raise UserError("not comparable: " + "\nnot comparable: ".join(found[:5]) + more)


def together(sources: Sequence[Source], *, threshold: float | None = None, examples: int | None = None) -> Outcomes:
    """The outcomes of several experiments as if they were one; their variants are named so that all differ."""
    parts = [outcomes(source, threshold=threshold, examples=examples) for source in sources]
    if len(sources) == 1:
        return parts[0]
    # Two folders may hold runs of one experiment's name.
    alone = all(len(source.variants) == 1 for source in sources)
    renamed = []
    own_names: dict[str, str] = {}
    devices: dict[tuple[str, int], str] = {}
    for source, part in zip(sources, parts, strict=True):
        folder = in_a_cell(source.name_beside)
        names = {variant: folder if alone else f"{folder}/{variant}" for variant in source.variants}
        own_names |= {name: variant for variant, name in names.items()}
        rows = part.rows.assign(variant=part.rows["variant"].map(names))
        curves = {(names[v], seed, name, inputs): curve for (v, seed, name, inputs), curve in part.curves.items()}
        renamed.append((rows, curves))
        devices |= {(names[variant], seed): kind for (variant, seed), kind in part.devices.items() if variant in names}
    rows = pd.concat([rows for rows, _ in renamed], ignore_index=True)
    curves = {key: curve for _, curves in renamed for key, curve in curves.items()}
    return dataclasses.replace(parts[0], rows=rows, curves=curves, own_names=own_names, devices=devices)
