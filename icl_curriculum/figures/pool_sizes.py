"""Error against the number of functions that the model was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.figures.categories import several
from icl_curriculum.figures.curves import ModelCurves, draw_model, draw_reference, look_alike, spread_note
from icl_curriculum.figures.names import BLUE, inputs_label, learner_label, learner_styles, pretty
from icl_curriculum.figures.panels import PanelGrid, styled
from icl_curriculum.figures.scales import bounded, error_label, error_scale, without_empty_decades, zero_line
from icl_curriculum.results.tables import Cell, NothingToDraw, distinct, final, with_metric

#: The learners that the model is compared with: the one that knows the pool, and those that expect fresh functions.
REFERENCES = ("dmmse", "ridge", "oracle")

#: The most labels of the axis.
_TICKS = 12


@dataclass(frozen=True)
class VariantPool:
    """A variant's pool: ``size`` functions of the class ``fresh``, together the class ``pooled``."""

    variant: str
    pooled: str
    inputs: str

    @property
    def size(self) -> int:
        return int(_size(self.pooled))

    @property
    def fresh(self) -> str:
        return str(Identifier.parse(self.pooled).without("pool_size", "pool_seed"))


@dataclass(frozen=True)
class PoolPanel:
    """Errors on the functions of pools, or on fresh ones, at ``k`` examples; ``errors`` has a column ``pool_size``.

    ``without_pool``: the mean error of models that were trained on fresh functions; NaN on those of a pool.
    """

    fresh: str
    inputs: str
    on_pool: bool
    k: int
    metric: str
    errors: pd.DataFrame
    without_pool: float


@styled
@without_empty_decades
def error_by_pool_size(evaluation: pd.DataFrame) -> Figure:
    """Error by the size of the pool of functions that a variant was trained on, with all variants in one figure.

    The left panel is on functions of the pool, the right one on fresh functions of its class. Both show the model,
    the posterior mean over the pool, ridge regression and the oracle, at the longest trained prompts.
    Source: Raventós et al. 2023. Raises NothingToDraw if there are fewer than two sizes.
    """
    styles = learner_styles(evaluation)
    rows = final(evaluation)
    plain = rows[rows["shift"] == "none"]
    panels = [panel for pools in _pools(plain) for panel in _panels(pools, plain)]
    if not panels:
        raise NothingToDraw("no errors of models trained on pools of two sizes")

    grid = PanelGrid.of(len(panels), columns=min(len(panels), 2), height=2.1)
    drawn: list[pd.Series | pd.DataFrame] = []
    hidden: list[str] = []
    for axes, panel in zip(grid.axes, panels, strict=True):
        models = panel.errors[panel.errors["learner_kind"] == "model"]
        for learner in distinct(models["learner"]):
            of_learner, model = models[models["learner"] == learner], ModelCurves(learner)
            drawn.append(draw_model(axes, of_learner, "pool_size", styles[learner], model, marker="o", spread=False))
        zero_line(axes, "y")
        if not math.isnan(panel.without_pool):
            drawn.append(pd.Series(panel.without_pool))
            axes.axhline(
                float(bounded(panel.without_pool)), color=BLUE, linewidth=1.2, linestyle=(0, (1, 1.5)),
                label="model trained on fresh functions", gid="without pool",
            )  # fmt: skip
        curves = _references(panel.errors)
        for learner, curve in curves.items():
            if learner == "oracle" and any(
                look_alike(curve, other) for name, other in curves.items() if name != learner
            ):
                hidden.append(learner)
                continue
            draw_reference(axes, curve, styles[learner], learner, marker=styles[learner].marker)
            drawn.append(curve)

    _title(grid, panels)
    variants = panels[0].errors.groupby("pool_size")["variant"].nunique()
    models = pd.concat([panel.errors[panel.errors["learner_kind"] == "model"] for panel in panels])
    note = [
        f"At k = {several(panel.k for panel in panels)} in-context examples.",
        *spread_note(models["seed"].nunique()),
    ]
    if hidden:
        note.append(f"Left out where indistinguishable from a line that is shown: {learner_label(hidden[0])}.")
    if (variants > 1).any():
        note.append("Variants whose pools are of one size are averaged.")
    note += error_scale(grid.axes[0], "y", drawn)
    _pool_size_scale(grid.axes[0], sorted({int(size) for panel in panels for size in panel.errors["pool_size"]}))
    grid.label("functions in the training pool", [error_label(panel.metric) for panel in panels])
    return grid.finish("Error by number of functions trained on", None, note)


def _size(function_class: str) -> str:
    """The size of the pool that an id names, or nothing."""
    size = Identifier.parse(function_class).settings.get("pool_size", "")
    return size if size.isdecimal() else ""


def _pools(plain: pd.DataFrame) -> list[list[VariantPool]]:
    """The pools trained on, by their class and inputs, where there are pools of two sizes or more.

    A variant with several pools of one class is left out, as it says nothing about either size.
    """
    inside = plain[plain["in_distribution"] == True]  # noqa: E712 (a column that may hold missing values)
    found: dict[tuple[str, str], dict[str, list[VariantPool]]] = {}
    keys = ["variant", "function_class", "input_distribution"]
    for variant, pooled, inputs in inside[keys].drop_duplicates().itertuples(index=False):
        if _size(pooled):
            pool = VariantPool(variant, pooled, inputs)
            found.setdefault((pool.fresh, inputs), {}).setdefault(variant, []).append(pool)
    groups = [[pools[0] for pools in of_class.values() if len(pools) == 1] for of_class in found.values()]
    return [pools for pools in groups if len({pool.size for pool in pools}) > 1]


def _panels(pools: Sequence[VariantPool], plain: pd.DataFrame) -> list[PoolPanel]:
    """The panels: errors on functions of the pools and on fresh ones, each if a model has any."""
    panels = []
    for on_pool in (True, False):
        parts = []
        for pool in pools:
            cell = Cell(pool.pooled if on_pool else pool.fresh, pool.inputs, trained=on_pool)
            parts.append(cell.of(plain[plain["variant"] == pool.variant]).assign(pool_size=pool.size))
        metric, errors = with_metric(pd.concat(parts))
        models = errors[errors["learner_kind"] == "model"]
        if len(models):
            k = int(models["n_context"].max())
            at_k = errors[errors["n_context"] == k]
            without_pool = math.nan if on_pool else _without_pool(pools[0], plain, k)
            panels.append(PoolPanel(pools[0].fresh, pools[0].inputs, on_pool, k, metric, at_k, without_pool))
    return panels


def _without_pool(pool: VariantPool, plain: pd.DataFrame, k: int) -> float:
    """Mean error at ``k`` of the models that were trained on the fresh functions of a class, and on no pool."""
    inside = plain[plain["in_distribution"] == True]  # noqa: E712
    pooled = inside.loc[inside["function_class"].map(_size) != "", "variant"]
    cell = Cell(pool.fresh, pool.inputs, trained=True)
    models = cell.of(inside[(inside["learner_kind"] == "model") & ~inside["variant"].isin(pooled)])
    _, errors = with_metric(models[models["n_context"] == k])
    return float(errors["value"].mean())


def _references(errors: pd.DataFrame) -> dict[str, pd.Series]:
    """The errors by pool size of each learner that the model is compared with, in their order."""
    heads = errors["learner"].map(lambda learner: Identifier.parse(learner).name)
    return {
        learner: errors[errors["learner"] == learner].groupby("pool_size")["value"].mean()
        for reference in REFERENCES
        for learner in distinct(errors.loc[heads == reference, "learner"])
    }


def _title(grid: PanelGrid, panels: Sequence[PoolPanel]) -> None:
    """Give the panels titles, which name class and inputs only where there are several to tell apart."""
    several_classes = len({panel.fresh for panel in panels}) > 1
    several_inputs = len({panel.inputs for panel in panels}) > 1
    for axes, panel in zip(grid.axes, panels, strict=True):
        lines = [pretty(panel.fresh)] * several_classes + [inputs_label(panel.inputs)] * several_inputs
        grid.title_panel(axes, *lines, "functions of the pool" if panel.on_pool else "fresh functions")


def _pool_size_scale(axes: Axes, sizes: Sequence[int]) -> None:
    """Set a logarithmic axis whose ticks are powers of two, or the sizes themselves where it spans too few of these."""
    axes.set_xscale("log", base=2)
    axes.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.25)
    powers = range(math.ceil(math.log2(sizes[0])), math.floor(math.log2(sizes[-1])) + 1)
    shown = powers[:: math.ceil(len(powers) / _TICKS)] if len(powers) > 1 else []
    ticks = {2**power: f"$2^{{{power}}}$" for power in shown} or {size: str(size) for size in (sizes[0], sizes[-1])}
    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.xaxis.set_major_formatter(FixedFormatter(list(ticks.values())))
    axes.xaxis.set_minor_locator(NullLocator())
