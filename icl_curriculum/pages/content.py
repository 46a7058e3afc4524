"""What stands in a report: sections of sentences, figures and tables, from an experiment's tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import tomli_w

from icl_curriculum import figures
from icl_curriculum.core.notices import NotShown, said_if_not_shown
from icl_curriculum.pages.adaptation import adaptation_sections
from icl_curriculum.pages.other_metrics import other_metrics_sections
from icl_curriculum.pages.sections import PageSection, PageTable, drawn
from icl_curriculum.pages.setting import what_was_run
from icl_curriculum.pages.similarity import similarity_sections
from icl_curriculum.pages.transfer import transfer_sections
from icl_curriculum.results.comparison import sheets
from icl_curriculum.results.comparison.answers import Answer, cell_name
from icl_curriculum.results.comparison.command import Compared
from icl_curriculum.results.comparison.comparable import problems
from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.pairs import reference_of
from icl_curriculum.results.comparison.shown import left_out, shown_variants
from icl_curriculum.results.comparison.sources import Cell, Source
from icl_curriculum.results.comparison.summary import Numbers
from icl_curriculum.results.comparison.wording import count, error
from icl_curriculum.results.doubts import doubts_in, worded
from icl_curriculum.results.shown_metric import shown_metric

T = TypeVar("T")


@dataclass(frozen=True)
class Content:
    """The content of the page."""

    name: str
    question: str
    setting: str
    notices: Sequence[str]
    answers: Sequence[Answer]
    sections: Sequence[PageSection]
    asked: AskedTable | None
    configs: Sequence[tuple[str, str]]
    provenance: PageTable | None
    #: What could not be shown, which is among the notices, too.
    missed: Sequence[NotShown] = ()
    downloads: Sequence[tuple[str, str]] = field(default_factory=tuple)
    #: Tables of more rows are folded, and those of still more are cut off.
    most_unfolded: int = 100
    most_rows: int = 2000


def _warnings(source: Source) -> list[str]:
    """What is to be doubted of the runs, as their manifests say."""
    return worded({run: doubts_in(manifest) for run, manifest in source.manifests.items()})


@dataclass(frozen=True)
class AskedTable:
    """Trained x asked, with a colour from the error for every entry."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Shade]]]


@dataclass(frozen=True)
class Shade:
    """An error, ``weight`` from 0 (perfect) to 1 (no better than predicting zero), and whether it was trained on."""

    text: str
    weight: float
    trained: bool


#: What each table of an experiment holds, for the list of files.
FILES = {
    "summary.csv": "every statistic on this page",
    "transfer.csv": "how training methods carry over to unseen classes and inputs",
    "runs.csv": "a row per run",
    "evaluation.csv": "errors after training, with and without shifts",
    "prediction_differences.csv": "how far the models' predictions are from those of other learners",
    "learning.csv": "errors while training",
    "training.csv": "losses",
    "exposure.csv": "prompts and operations spent on each class",
    "curriculum.csv": "planned and drawn shares",
    "timing.csv": "seconds",
}


def gather(compared: Compared) -> Content:
    """Everything for the page of one experiment."""
    source, found, numbers = compared.sources[0], compared.found, compared.numbers
    cells = found.cells
    config = next(iter(source.configs.values()), {})
    missed: list[NotShown] = list(compared.missed)

    def made(what: str, make: Callable[[], T], otherwise: T) -> T:
        with said_if_not_shown(what, "made", missed=missed.append):
            return make()
        return otherwise

    sections: list[PageSection] = []
    for cell in cells:
        sections += made(
            f"the section on {cell_name(cell, cells)}", partial(_cell_sections, found, numbers, cell, cells), []
        )
    sections += made("the section on other metrics", partial(other_metrics_sections, source, found), [])
    sections += made("the section on training methods", partial(transfer_sections, source), [])
    sections += made("the section on adapted models", partial(adaptation_sections, source), [])
    sections += made("the section on whom models answer like", partial(similarity_sections, source, found), [])
    sections += made("the section on all runs", partial(_whole_sections, found), [])
    said = made("the paragraph on what was run", partial(what_was_run, source, found), "")
    asked = made("the table of what was trained and asked", partial(_asked, found, cells), None)
    configs: list[tuple[str, str]] = made("the configs", partial(_configs, source), [])
    provenance = made("the table of where runs came from", partial(_provenance, source), None)
    missed += [picture.of(section.heading) for section in sections for picture in section.missed]
    return Content(
        name=source.name,
        question=str(config.get("description", "")),
        setting=said,
        notices=[*_warnings(source), *source.missing, *problems([source]), *map(str, missed)],
        answers=compared.answers,
        sections=[section for section in sections if section.pictures or section.tables or section.sentences],
        asked=asked,
        configs=configs,
        provenance=provenance,
        missed=missed,
        downloads=[(name, what) for name, what in FILES.items() if (source.directory / name).is_file()],
    )


def _cell_sections(found: Outcomes, numbers: Numbers, cell: Cell, cells: list[Cell]) -> list[PageSection]:
    """A cell's figures and tables; none where no run was trained on it."""
    own = found.trained_on(cell)
    anchor = f"cell-{cells.index(cell) + 1}"
    name = cell_name(cell, cells)
    if own.empty:
        return []
    made = sheets.errors(own, numbers, cell)
    shown = shown_variants(found, cell)
    drawn_rows = [row for row in made.rows if row[0].text in shown]
    ends = "; ".join(f"{row[0].text} {row[1].text}" for row in drawn_rows)
    by_seed = "; ".join(f"{row[0].text} {row[-1].text}" for row in drawn_rows)
    sentences = [f"{text} The tables have all." for text in left_out(len(shown), len(made.rows))]
    k = int(own["n_context"].iloc[0])
    pictures = [
        *drawn(
            partial(figures.curves_by_variant, found, cells=[cell]),
            f"Error at {k} examples while training: mean of the seeds, and their range.",
            f"Error on {name} against training step. At the end: {ends}.",
        ),
        *drawn(
            partial(figures.errors_by_seed, found, cells=[cell]),
            "Final error of every seed; bars: interquartile mean with its interval"
            + (f"; the line is {found.limit}." if found.limit else "."),
            f"Final errors on {name} by variant and seed: {by_seed}.",
        ),
        *drawn(
            partial(figures.error_by_exposure, found, cells=[cell]),
            "Error against the prompts of this class alone that had been seen: data efficiency at equal exposure.",
            f"Error on {name} against prompts of it seen. The table below gives the comparison at equal exposure.",
        ),
        *drawn(
            partial(figures.forgetting, found, cells=[cell]),
            "From the end of the class's block to the end of training.",
            f"Errors on {name} at the end of its block and at the end of training, seed by seed; see the tables.",
        ),
        *drawn(
            partial(figures.errors_under_shifts, found, cells=[cell]),
            "Out of distribution: the error under each shift.",
            f"Errors on {name} under each shift by variant; the highest of each run stand in the tables.",
        ),
    ]
    tables = [
        PageTable(f"{name}: errors at the end of training", made),
        PageTable(
            f"{name}: what was spent, and when it was learned", sheets.spent(own, numbers, cell, found.threshold)
        ),
    ]
    if reference := reference_of(found, cell):
        tables.append(PageTable(f"{name}: against {reference}", sheets.pairs(own, numbers, cell, reference)))
    return [PageSection(anchor, name, sentences if pictures else (), pictures, tables)]


def _whole_sections(found: Outcomes) -> list[PageSection]:
    """What is not of one cell alone."""
    made = []
    if found.rows["prompts"].notna().any():
        text = (
            "Prompts of each class that each run was trained on, and the floating-point operations of the matrix "
            "products in forward and backward passes on them; optimizer and evaluation are not counted."
        )
        made.append(
            PageSection("exposure", "Exposure", [text], tables=[PageTable("Exposure", sheets.ledger(found.rows))])
        )
    listed = sheets.seeds(found.rows, found.threshold)
    made.append(PageSection("seeds", "Every seed", tables=[PageTable("Every run on what it was trained on", listed)]))
    return made


def _asked(found: Outcomes, cells: list[Cell]) -> AskedTable | None:
    given = sheets.asked(found)
    if len(given) < 2 and len(cells) < 2:
        return None
    rows = []
    for variant, by_cell in given.items():
        shades = []
        for cell in cells:
            one = by_cell.get(cell)
            shades.append(Shade("–", np.nan, False) if one is None else _shade(one))
        rows.append((variant, shades))
    return AskedTable([cell_name(cell, cells) for cell in cells], rows)


#: Errors at and below this have the lightest shade.
_LIGHTEST = 0.003


def _shade(one: sheets.CellError) -> Shade:
    """The shade goes by the logarithm of the error, as a share of that of who knows nothing; none where it has none."""
    shown = shown_metric()
    if shown.trivial is None:
        return Shade(error(one.value), np.nan, one.trained)
    up = shown.improves == "up"  # to 1, if perfect
    share = (1 - one.value) / (1 - shown.trivial) if up else one.value / shown.trivial
    bounded = min(1.0, max(_LIGHTEST, share)) if not np.isnan(share) else 1.0
    return Shade(error(one.value), 1 - float(np.log(bounded) / np.log(_LIGHTEST)), one.trained)


def _configs(source: Source) -> list[tuple[str, str]]:
    """The first variant's config whole, and of the others what differs from it."""
    made: list[tuple[str, str]] = []
    first: dict[str, Any] = {}
    for variant in [variant for variant in source.variants if variant in source.configs]:
        config = {key: value for key, value in source.configs[variant].items() if key not in ("variant", "seed")}
        if not first:
            first = config
            made.append((variant, tomli_w.dumps(config)))
        else:
            made.append((variant, tomli_w.dumps(_changed(config, first)) or "# as above\n"))
    return made


def _changed(config: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and isinstance(first.get(key), dict):
            if inner := _changed(value, first[key]):
                changed[key] = inner
        elif value != first.get(key):
            changed[key] = value
    return changed


def _provenance(source: Source) -> PageTable:
    """A row per run: hashes, versions, device and time."""
    made = sheets.Sheet(["run", "config", "weights", "package", "Python", "torch", "commit", "device", "threads",
                         "started", "seconds"])  # fmt: skip
    for run, manifest in source.manifests.items():
        commit = str(manifest.get("git_commit") or "–")[:10] + (" (changed)" if manifest.get("git_dirty") else "")
        seconds = float(manifest.get("wall_seconds", np.nan))
        keys = ("config_hash", "weights", "package_version", "python_version", "torch_version")
        made.add(
            run, *(sheets.SheetEntry(str(manifest.get(key, "–"))) for key in keys), sheets.SheetEntry(commit),
            sheets.SheetEntry(str(manifest.get("device", "–"))), sheets.SheetEntry(str(manifest.get("threads", "–"))),
            sheets.SheetEntry(str(manifest.get("started", "–"))), sheets.SheetEntry(count(seconds), seconds),
        )  # fmt: skip
    return PageTable("Where every run came from", made)
