"""Every figure of an experiment, written to its folder."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from icl_curriculum.core.arguments import as_path
from icl_curriculum.core.errors import UserError, closest_and_known
from icl_curriculum.core.files import write_atomically
from icl_curriculum.core.notices import said_if_not_shown
from icl_curriculum.figures.adaptation import adaptation
from icl_curriculum.figures.along_training import along_training, learning_under_shifts
from icl_curriculum.figures.by_operations import error_by_operations
from icl_curriculum.figures.choosing import Baselines
from icl_curriculum.figures.differences import prediction_differences
from icl_curriculum.figures.examples import error_by_examples
from icl_curriculum.figures.heads import head_scores, masked_heads
from icl_curriculum.figures.heads_along_training import heads_along_training
from icl_curriculum.figures.heat_maps import heat_map
from icl_curriculum.figures.learning import learning_curves
from icl_curriculum.figures.panels import styled
from icl_curriculum.figures.pool_sizes import error_by_pool_size
from icl_curriculum.figures.published import published
from icl_curriculum.figures.scorecard_bars import scorecard
from icl_curriculum.figures.scorecard_radar import scorecard_radar
from icl_curriculum.figures.shares import curriculum
from icl_curriculum.figures.shifted import out_of_distribution
from icl_curriculum.figures.sweep import error_by_parameter
from icl_curriculum.figures.sweep_heat_map import heat_map_by_parameters
from icl_curriculum.figures.trained_asked import trained_by_asked
from icl_curriculum.figures.transfer import transfer
from icl_curriculum.figures.variant_curves import curves_by_variant, error_by_exposure
from icl_curriculum.figures.variant_rows import errors_by_seed, forgetting
from icl_curriculum.figures.variant_shifts import errors_under_shifts
from icl_curriculum.results.adaptation import without_adapted
from icl_curriculum.results.chosen_metric import choose_metric
from icl_curriculum.results.collecting import refresh
from icl_curriculum.results.comparison.outcomes import outcomes
from icl_curriculum.results.comparison.shown import MOST_SHOWN
from icl_curriculum.results.comparison.sources import Source, is_unknown
from icl_curriculum.results.directory import find_results
from icl_curriculum.results.run_setting import settings_of_variants
from icl_curriculum.results.shown_metric import showing, shown_metric
from icl_curriculum.results.tables import COLUMNS, distinct, read_table
from icl_curriculum.results.tables import NothingToDraw as NothingToDraw

DPI = 150


@dataclass(frozen=True)
class Drawing:
    """A figure's function, the tables that it takes, whether it shows all variants at once, and its own options."""

    draw: Callable[..., Figure]
    tables: tuple[str, ...]
    across_variants: bool = False
    options: tuple[str, ...] = ()


FIGURES: dict[str, Drawing] = {
    "error_by_parameter": Drawing(error_by_parameter, ("evaluation", "sweep"), across_variants=True),
    "heat_map_by_parameters": Drawing(heat_map_by_parameters, ("evaluation", "sweep"), across_variants=True),
    "error_by_examples": Drawing(error_by_examples, ("evaluation",), options=("baselines",)),
    "published": Drawing(published, ("evaluation", "exposure"), options=("settings",)),
    "learning_curves": Drawing(learning_curves, ("learning", "curriculum", "evaluation")),
    "learning_under_shifts": Drawing(learning_under_shifts, ("learning", "curriculum")),
    "along_training": Drawing(along_training, ("evaluation",)),
    "out_of_distribution": Drawing(out_of_distribution, ("evaluation",)),
    "heat_map": Drawing(heat_map, ("evaluation",)),
    "prediction_differences": Drawing(prediction_differences, ("prediction_differences",)),
    "adaptation": Drawing(adaptation, ("evaluation",), across_variants=True, options=("named",)),
    "error_by_pool_size": Drawing(error_by_pool_size, ("evaluation",), across_variants=True),
    "curriculum": Drawing(curriculum, ("curriculum",)),
    "error_by_operations": Drawing(
        error_by_operations, ("learning", "exposure", "curriculum"), across_variants=True, options=("named",)
    ),
    "transfer": Drawing(transfer, ("transfer",), across_variants=True),
    "scorecard": Drawing(scorecard, ("scorecard",), across_variants=True),
    "scorecard_radar": Drawing(scorecard_radar, ("scorecard",), across_variants=True),
}


#: Figures that set the variants of an experiment side by side. They are drawn from its outcomes.
ACROSS_VARIANTS: Sequence[Callable[..., Figure]] = (
    curves_by_variant, errors_by_seed, error_by_exposure, trained_by_asked, forgetting, errors_under_shifts,
)  # fmt: skip

#: Up to so many variants have figures of their own without being asked for.
MOST_VARIANTS = 6

#: Tables that older results lack.
_OPTIONAL = ("exposure", "heads", "prediction_differences", "transfer", "sweep", "scorecard")


def plot(
    name: str | os.PathLike[str],
    *,
    baselines: Baselines = "best",
    variants: str | Sequence[str] | None = None,
    metric: str | None = None,
    results: str | os.PathLike[str] = "results",
) -> list[Path]:
    """Redraw the figures of an experiment, or those of scores, from its CSV files alone, as ``icl plot`` does.

    ``name``: an experiment's folder of results, or its name in ``results``; the other arguments are those of
    `figures.draw_all`, which is what is called. Returns the paths of the PNG files; beside each lies an SVG.
    """
    directory = find_results(os.fsdecode(as_path(name, "name")), as_path(results, "results"))
    return draw_all(directory, baselines=baselines, variants=variants, metric=metric)


def draw_all(
    directory: Path, *, baselines: Baselines = "best", variants: str | Sequence[str] | None = None,
    metric: str | None = None, say: Callable[[str], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Path]:  # fmt: skip
    """Draw what the tables in ``directory`` allow into ``directory/figures``, as PNG and SVG. Returns the PNG paths.

    ``metric``: the id of one in evaluation.csv that is shown in the place of the normalized error; its figures go into
    a folder of their own there, ``metric_<id>``.

    With several variants each has a file of its own, ``<figure>_<variant>``, except in figures that show all
    variants at once, as those of `ACROSS_VARIANTS` do. ``variants``: the names of those that have figures of their
    own, or ``"all"``; by default all of up to six, and none of more, which ``say`` is told; those that are named
    also have colours and entries in the legends of figures that show more variants at once than these have room
    for, and are never left out of them. ``tell`` hears the name of each figure before it is written. A directory
    with evaluation.csv alone holds scores, see `draw_scores`. ``baselines``: those in `error_by_examples`. Equal
    tables give equal bytes. A figure that fails is warned of (`NotShown`), and the others are drawn; a run whose
    files are damaged is left out, which is warned of, too (`results.collecting.refresh`). Raises UserError, before
    anything is drawn, if a table is missing, damaged or lacks a column, for a baseline or a variant that is in
    none, and if there is nothing to draw.
    """
    refresh(directory)
    with showing(choose_metric(directory, metric)):
        return _draw_shown(directory, baselines, variants, say, tell)


def _draw_shown(
    directory: Path, baselines: Baselines, variants: str | Sequence[str] | None, say: Callable[[str], None],
    tell: Callable[[str], None],
) -> list[Path]:  # fmt: skip
    """Draw the figures of the metric that is shown at this moment."""
    if (directory / "evaluation.csv").is_file() and not any((directory / f"{name}.csv").exists() for name in _TRAINING):
        tables = _scores(directory)
        drawn = _draw(directory, tables, baselines, _with_own_figures(directory, tables, variants or "all"), tell)
    else:
        there = [name for name in COLUMNS if name not in _OPTIONAL or (directory / f"{name}.csv").is_file()]
        tables = {name: read_table(directory, name) for name in there}
        _check_variants(directory, tables)
        own = _with_own_figures(directory, tables, variants)
        # Hundreds cannot be told apart: of these, the figures show some.
        named = own if variants not in (None, "all") or (variants == "all" and len(own) <= MOST_SHOWN) else []
        drawn = _draw(directory, tables, baselines, own, tell, named) + _draw_across(directory, tables, named, tell)
        if not own and drawn:
            say(f"figures of each variant alone are left out; icl plot {directory} --variant all draws them")
        if drawn and is_unknown(tables["learning"], tables["curriculum"]):
            say("figures of training are left out: the runs were imported, and their tables of it hold no rows")
    if not any(len(table) for table in tables.values()):
        raise UserError(f"{directory}: its tables hold nothing to draw; run the experiment again")
    return drawn


def _with_own_figures(
    directory: Path, tables: Mapping[str, pd.DataFrame], asked: str | Sequence[str] | None
) -> list[str]:
    """The variants that have figures of their own. UserError for one that the tables do not have."""
    of_variants = [table for table in tables.values() if "variant" in table]
    known = list(dict.fromkeys(name for table in of_variants for name in distinct(table["variant"])))
    if asked is None:
        return known if len(known) <= MOST_VARIANTS else []
    names = [asked] if isinstance(asked, str) else list(asked)
    if names == ["all"]:
        return known
    for name in names:
        if name not in known:
            raise UserError(f"{directory} has no variant {name!r}{closest_and_known(name, known)}")
    return names


def _draw_across(
    directory: Path, tables: Mapping[str, pd.DataFrame], named: Sequence[str], tell: Callable[[str], None]
) -> list[Path]:
    """Draw the figures that set variants side by side, where there are several. ``named``: never left out of them."""
    evaluation = without_adapted(tables["evaluation"])
    models = evaluation[evaluation["learner_kind"] == "model"]
    if models["variant"].nunique() < 2:
        return []
    source = Source(
        directory, str(models["experiment"].iloc[0]), tables["learning"], evaluation, tables["curriculum"],
        tables.get("exposure"),
    )  # fmt: skip
    drawn: list[Path] = []
    with showing(shown_metric().of(evaluation)), said_if_not_shown("the figures that compare variants"):
        found = dataclasses.replace(outcomes(source), named=tuple(named))
        for draw in ACROSS_VARIANTS:
            drawn += _drawn(directory, draw.__name__, partial(draw, found), tell)
    return drawn


def draw_scores(directory: Path, *, baselines: Baselines = "best") -> list[Path]:
    """Draw what evaluation.csv alone allows; it need not hold a model. Returns the PNG paths, which may be none.

    Raises UserError if the table is missing, damaged or lacks a column, and for a baseline that it does not have.
    """
    tables = _scores(directory)
    return _draw(directory, tables, baselines, distinct(tables["evaluation"]["variant"]))


def _scores(directory: Path) -> dict[str, pd.DataFrame]:
    """The tables of a directory that holds no training."""
    there = [name for name in ("prediction_differences", "scorecard") if (directory / f"{name}.csv").is_file()]
    return {name: read_table(directory, name) for name in ("evaluation", *there)}


#: The tables that only training writes.
_TRAINING = ("learning", "curriculum")


def _draw(
    directory: Path, tables: Mapping[str, pd.DataFrame], baselines: Baselines, own: Collection[str],
    tell: Callable[[str], None] = lambda _: None, named: Sequence[str] = (),
) -> list[Path]:  # fmt: skip
    """Draw every figure that needs these tables alone. ``own``: the variants that have figures of their own.

    ``named``: those that have colours of their own in figures of all.
    """
    with showing(shown_metric().of(tables["evaluation"])):
        settings = settings_of_variants(directory, tables["evaluation"], own)
        return _draw_each(directory, tables, {"baselines": baselines, "named": named, "settings": settings}, own, tell)


def _draw_each(
    directory: Path, tables: Mapping[str, pd.DataFrame], given: Mapping[str, Any], own: Collection[str],
    tell: Callable[[str], None],
) -> list[Path]:  # fmt: skip
    drawn: list[Path] = []
    for name, drawing in FIGURES.items():
        if not tables.keys() >= {*drawing.tables}:
            continue
        if shown_metric().chosen is not None and not {"evaluation", "learning"} & {*drawing.tables}:
            continue  # It holds no such metric.
        sources = [tables[table] for table in drawing.tables]
        options = {name: given[name] for name in drawing.options}
        variants = distinct(sources[0]["variant"]) if "variant" in sources[0] else []
        # Quoting keeps distinct variants distinct, whatever their names hold.
        calls: dict[str, dict[str, str]] = {
            f"{name}_{quote(each, safe='=,+')}": {"variant": each} for each in variants if each in own
        }
        if drawing.across_variants or len(variants) == 1:
            calls = {name: {}}
        for stem, of_variant in calls.items():
            drawn += _drawn(directory, stem, partial(drawing.draw, *sources, **of_variant, **options), tell)
    return drawn


def _drawn(
    directory: Path, stem: str, draw: Callable[[], Figure], tell: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Draw one figure into a folder's ``figures``: its PNG's path, or none where there is nothing to draw.

    A figure that fails is warned of (`NotShown`) and does not take the others with it. ``tell`` hears of a figure when
    it is known that there is something to draw; most of the time goes into its files.
    """
    with said_if_not_shown(f"the figure {stem}"), contextlib.suppress(NothingToDraw), _any_script():
        figure = draw()
        tell(stem)
        return [_save(figure, directory / "figures" / shown_metric().folder / stem)]
    return []


def draw_heat_map(directory: Path) -> Path | None:
    """Draw the heat map of a directory that may hold evaluation.csv alone. Returns its PNG's path, None if it is empty.

    Raises UserError if the table is missing, damaged or lacks a column.
    """
    return _draw_one(directory, "heat_map")


def draw_along_training(directory: Path) -> Path | None:
    """Draw `along_training` of a directory that may hold evaluation.csv alone. Returns its PNG's path, or None.

    Raises UserError if the table is missing, damaged or lacks a column.
    """
    return _draw_one(directory, "along_training")


def draw_adaptation(directory: Path) -> Path | None:
    """Draw `adaptation` of a directory that may hold evaluation.csv alone. Returns its PNG's path, or None.

    Raises UserError if the table is missing, damaged or lacks a column.
    """
    return _draw_one(directory, "adaptation")


def draw_prediction_differences(directory: Path) -> Path | None:
    """Draw whom a model answers like, from prediction_differences.csv alone, as `draw_heat_map` draws its errors."""
    return _draw_one(directory, "prediction_differences")


def _draw_one(directory: Path, name: str) -> Path | None:
    tables = [read_table(directory, table) for table in FIGURES[name].tables]
    with showing(shown_metric().of(tables[0])):
        return next(iter(_drawn(directory, name, partial(FIGURES[name].draw, *tables))), None)


def draw_heads(directory: Path, run_dir: Path | None = None) -> list[Path]:
    """Draw what `icl heads` wrote into a directory: scores of heads, and errors with masks. Returns the PNG paths.

    ``run_dir``: the folder of the one run that was looked at, whose learning curves stand beside the scores at several
    steps. Raises UserError if a table is missing, damaged or lacks a column.
    """
    heads, evaluation = read_table(directory, "heads"), read_table(directory, "evaluation")
    drawn: list[Path] = []
    calls: list[tuple[Callable[..., Figure], tuple[pd.DataFrame, ...]]] = [
        (head_scores, (heads,)), (masked_heads, (evaluation,)),
    ]  # fmt: skip
    if run_dir is not None:
        calls.append((heads_along_training, (heads, *(read_table(run_dir, name) for name in _TRAINING))))
    with showing(shown_metric().of(evaluation)):
        for draw, tables in calls:
            drawn += _drawn(directory, draw.__name__, partial(draw, *tables))
    return drawn


def _check_variants(directory: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Raise UserError unless all tables that have rows hold the same variants."""
    # Runs of earlier versions, which lack optional tables, may stand beside others; transfer.csv may be an older one.
    others = ("prediction_differences", "transfer", "sweep", "scorecard")
    whole = {name: table for name, table in tables.items() if len(table) and name not in others}
    found = {name: sorted(distinct(table["variant"])) for name, table in whole.items()}
    first = next(iter(found), "")
    for name, variants in found.items():
        if variants != found[first]:
            raise UserError(
                f"{directory}: {first}.csv holds the variants {', '.join(found[first])}, {name}.csv "
                f"{', '.join(variants)}; restore them, or run the experiment again"
            )


@contextlib.contextmanager
def _any_script() -> Iterator[None]:
    """Let letters that the font lacks be drawn as boxes, without a Python warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


@styled
def _save(figure: Figure, stem: Path) -> Path:
    """Write ``stem``.svg and ``stem``.png; returns the latter."""
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI)
    figure.set_dpi(DPI)  # The resolution of what SVG holds as pixels.
    FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})  # type: ignore[no-untyped-call]
    write_atomically(Path(f"{stem}.png"), png.getvalue())
    write_atomically(Path(f"{stem}.svg"), svg.getvalue())
    return Path(f"{stem}.png")
