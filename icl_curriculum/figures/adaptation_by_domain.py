"""Errors of many adapted models against the number of steps that they took, by domain instead of by cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from icl_curriculum.figures.categories import several
from icl_curriculum.figures.emphasis import OTHER, emphasised, how_to_see_all, others_entry
from icl_curriculum.figures.names import plain
from icl_curriculum.figures.panels import FULL_WIDTH, NARROW, PanelGrid
from icl_curriculum.figures.scales import error_label, error_scale, short_count, zero_line
from icl_curriculum.figures.variant_curves import draw_curve
from icl_curriculum.figures.variants import sample, variant_styles
from icl_curriculum.results.adaptation import ADAPTED, AdaptedId
from icl_curriculum.results.statistics.seeds import interquartile_mean
from icl_curriculum.results.tables import NothingToDraw, distinct
from icl_curriculum.results.transfer.domains import domain_of, trained_cells
from icl_curriculum.results.transfer.row import DOMAINS
from icl_curriculum.results.transfer.sheets import DOMAIN_LABELS

_METRIC = "normalized_error"


def adaptation_by_domain(rows: pd.DataFrame, named: Sequence[str] = (), *, narrow: bool = False) -> Figure:
    """The errors of adapted models against their steps: a panel for each domain and way to adapt, a line per variant.

    ``rows``: those of models, adapted or not, at their last step. Lines are means over seeds of the interquartile
    mean over the cells of a domain, at the longest trained prompts. Of more than six variants the best, the worst,
    the first and those that are ``named`` have colours. ``narrow``: one panel in a row, without a title. Raises
    NothingToDraw where no cell is of a domain.
    """
    errors = _by_domain(rows)
    panels = [
        (options, domain)
        for options in distinct(errors.loc[errors["steps"] > 0, "options"])
        for domain in DOMAINS
        if ((errors["options"] == options) & (errors["domain"] == domain)).any()
    ]
    if not panels:
        raise NothingToDraw("no adapted model in any domain")
    variants = distinct(errors["variant"])
    shown = _emphasised(errors, variants, named)
    styles = dict.fromkeys(variants, OTHER) | variant_styles(shown)
    columns = 1 if narrow else len({domain for _, domain in panels})
    grid = PanelGrid.of(
        len(panels), columns=columns, height=1.0 if narrow else 1.8, width=NARROW if narrow else FULL_WIDTH
    )  # fmt: skip
    drawn, most = [], 1
    for axes, (options, domain) in zip(grid.axes, panels, strict=True):
        zero_line(axes, "y")
        for variant in variants:
            own = errors[(errors["variant"] == variant) & (errors["domain"] == domain)]
            own = own[(own["steps"] == 0) | (own["options"] == options)]
            by_seed = own.pivot(index="seed", columns="steps", values="value").dropna(axis=1)
            if len(by_seed.columns) < 2:
                continue
            values = by_seed.to_numpy(np.float64).mean(axis=0, keepdims=True)
            draw_curve(axes, by_seed.columns.to_numpy(np.float64), values, variant, styles[variant], singles=0)
            drawn.append(values)
            most = max(most, int(by_seed.columns[-1]))
        grid.title_panel(axes, DOMAIN_LABELS[domain], AdaptedId(0, options).words)
    note = error_scale(grid.axes[0], "y", drawn)
    grid.axes[0].set_xlim(0, most)
    grid.axes[0].xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
    grid.axes[0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
    # Narrow panels are too low for two lines.
    label = error_label(_METRIC).split("\n")[0] if narrow else error_label(_METRIC)
    grid.label("adaptation steps", [label] * len(panels))
    handles: dict[str, Artist] = {plain(variant): sample(styles[variant], line=True) for variant in shown}
    handles |= others_entry(len(variants) - len(shown))
    k, seeds = several(errors["n_context"]), several(errors.groupby("variant", observed=True)["seed"].nunique())
    said = (
        f"At k = {k} in-context examples; 0 steps: the model as it is. Mean over {seeds} "
        f"seed{'s' * (seeds != '1')} of the interquartile "
        f"mean over cells."
    )
    grey = [how_to_see_all(str(rows["experiment"].iloc[0]))] * (len(shown) < len(variants))
    title = None if narrow else "Errors after adaptation at test time"
    return grid.finish(title, None, [said, *grey, *note], handles)


def _emphasised(errors: pd.DataFrame, variants: Sequence[str], named: Sequence[str]) -> list[str]:
    """The variants that have colours of their own, by the least mean error over domains that they come to."""
    means = errors.groupby(["variant", "steps"], observed=True)["value"].mean().groupby("variant", observed=True).min()
    ranked = sorted(variants, key=lambda name: float(np.nan_to_num(means.get(name, np.inf), nan=np.inf)))
    kept = emphasised(ranked, first=variants[:1], always=[name for name in named if name in variants])
    return [name for name in variants if name in kept]


def _by_domain(rows: pd.DataFrame) -> pd.DataFrame:
    """An error for each variant, seed, domain, number of steps and other options of the adaptation."""
    trained = trained_cells(rows)
    rows = rows[(rows["metric"] == _METRIC) & (rows["shift"] == "none")]
    inside = rows[rows["in_distribution"].astype(bool)]
    longest = inside.groupby("variant", observed=True)["n_context"].max()
    rows = rows[rows["n_context"] == rows["variant"].astype(object).map(longest)]
    return pd.DataFrame(
        _errors(rows, trained), columns=["variant", "seed", "domain", "steps", "options", "value", "n_context"]
    )


def _errors(rows: pd.DataFrame, trained: dict[str, frozenset[tuple[str, str]]]) -> Iterator[tuple[object, ...]]:
    places = zip(rows["variant"], rows["function_class"], rows["input_distribution"], strict=True)
    domains = [domain_of((str(c), str(i)), trained[str(variant)]) for variant, c, i in places]
    rows = rows.assign(domain=pd.Series(domains, index=rows.index, dtype=object)).dropna(subset="domain")
    for key, group in rows.groupby(["variant", "seed", "domain", "learner"], sort=False, observed=True):
        variant, seed, domain, learner = key
        parsed = AdaptedId.parse(str(learner)) if str(learner).startswith(ADAPTED) else AdaptedId(0, "")
        k = group["n_context"].iloc[0]
        values = group["value"].fillna(np.inf).to_numpy(np.float64)
        yield variant, seed, domain, parsed.steps, parsed.options, float(interquartile_mean(values)), k
