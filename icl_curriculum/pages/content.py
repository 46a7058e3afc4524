"""What stands in a report: sections of sentences, figures and tables, from an experiment's tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import tomli_w

from icl_curriculum.core.notices import NotShown, said_if_not_shown
from icl_curriculum.pages.adaptation import adaptation_sections
from icl_curriculum.pages.drawn_before import other_figures
from icl_curriculum.pages.findings import (
    curricula_section,
    efficiency_section,
    forgetting_section,
    shifts_section,
    training_section,
)
from icl_curriculum.pages.headline import ErrorTable, error_table, main_figure
from icl_curriculum.pages.other_metrics import other_metrics_sections
from icl_curriculum.pages.scorecard import ScorecardOnPage, scorecard_on_page
from icl_curriculum.pages.sections import DrawnFile, PageSection, PageTable, Picture
from icl_curriculum.pages.setting import what_was_run
from icl_curriculum.pages.similarity import similarity_sections
from icl_curriculum.pages.transfer import transfer_sections
from icl_curriculum.results.comparison import sheets
from icl_curriculum.results.comparison.answers import Answer, cell_name
from icl_curriculum.results.comparison.command import Compared
from icl_curriculum.results.comparison.comparable import problems
from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.pairs import reference_of
from icl_curriculum.results.comparison.sources import Cell, Source
from icl_curriculum.results.comparison.summary import Numbers
from icl_curriculum.results.comparison.verdict import Verdict, verdict
from icl_curriculum.results.comparison.wording import count
from icl_curriculum.results.doubts import doubts_in, worded

T = TypeVar("T")


@dataclass(frozen=True)
class Content:
    """The content of the page: the first screen, the findings in order of importance, and details to be opened."""

    name: str
    question: str
    verdict: Verdict | None
    main: Sequence[Picture | DrawnFile]
    errors: ErrorTable | None
    setting: str
    notices: Sequence[str]
    findings: Sequence[PageSection]
    details: Sequence[PageSection]
    configs: Sequence[tuple[str, str]]
    provenance: PageTable | None
    #: What stands before the table of errors, since the first screen is about it.
    first: Sequence[PageSection] = ()
    #: What could not be shown, which is among the notices, too.
    missed: Sequence[NotShown] = ()
    downloads: Sequence[tuple[str, str]] = field(default_factory=tuple)
    #: Tables of more rows are folded, and those of still more are cut off.
    most_unfolded: int = 100
    most_rows: int = 2000

    @property
    def definitions(self) -> list[tuple[str, str]]:
        """What the columns of the tables mean, each once."""
        tables = [table for section in [*self.first, *self.findings, *self.details] for table in section.tables]
        return sorted({pair for table in tables for pair in table.sheet.explained.items()})


def _warnings(source: Source) -> list[str]:
    """What is to be doubted of the runs, as their manifests say."""
    return worded({run: doubts_in(manifest) for run, manifest in source.manifests.items()})


#: What each table of an experiment holds, for the list of files.
FILES = {
    "summary.csv": "every statistic on this page",
    "scorecard.csv": "what each learner scores on the axes of the benchmark",
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
    question = str(config.get("description", ""))
    missed: list[NotShown] = list(compared.missed)

    def made(what: str, make: Callable[[], T], otherwise: T) -> T:
        with said_if_not_shown(what, "made", missed=missed.append):
            return make()
        return otherwise

    def section(what: str, make: Callable[[], PageSection]) -> list[PageSection]:
        return made(f"the section on {what}", lambda: [make()], [])

    answered = compared.answers
    nothing: list[PageSection] = []
    no_picture: list[Picture | NotShown] = []
    headline = made("the main figure", partial(main_figure, source, found, numbers), no_picture)
    answer = made("the verdict", partial(verdict, found, numbers, question), None)
    nothing_scored: ScorecardOnPage | None = None
    card = made("the section on the scorecard", partial(scorecard_on_page, source), nothing_scored)
    first: list[PageSection] = []
    behind: list[PageSection] = []
    if card is not None:
        # What is the first screen of any other experiment follows the table of errors.
        behind = [PageSection("behind", "The errors behind the scores", _said(answer), headline)]
        answer, headline, first = card.answer, card.main, [card.section]
    findings = [
        *behind,
        *section("training", partial(training_section, source, found)),
        *section("curricula", partial(curricula_section, source, found, numbers, answered)),
        *made("the section on training methods", partial(transfer_sections, source), nothing),
        *section("data efficiency", partial(efficiency_section, source, found, numbers)),
        *section("forgetting", partial(forgetting_section, source, found, numbers)),
        *section("shifts", partial(shifts_section, source, found, numbers)),
        *made("the section on adapted models", partial(adaptation_sections, source), nothing),
    ]
    details: list[PageSection] = []
    if len(source.variants) == 1:
        details += made("the tables of all classes", partial(_one_variant_sections, found, numbers), nothing)
    else:
        for cell in cells:
            details += made(
                f"the section on {cell_name(cell, cells)}", partial(_cell_sections, found, numbers, cell, answered), []
            )
    details += made("the section on other metrics", partial(other_metrics_sections, source, found), nothing)
    details += made("the section on whom models answer like", partial(similarity_sections, source, found), nothing)
    details += made("the section on all runs", partial(_whole_sections, found), nothing)
    shown = [picture.figure_name for each in [*first, *findings, *details] for picture in each.pictures]
    shown += [picture.figure_name for picture in headline if isinstance(picture, Picture)] + ["error_by_examples"]
    details += section("all other figures", partial(other_figures, source, shown))
    said = made("the paragraph on what was run", partial(what_was_run, source, found), "")
    configs: list[tuple[str, str]] = made("the configs", partial(_configs, source), [])
    provenance = made("the table of where runs came from", partial(_provenance, source), None)
    missed += [picture.of("the first screen") for picture in headline if isinstance(picture, NotShown)]
    missed += [picture.of(each.heading) for each in [*first, *findings, *details] for picture in each.missed]
    return Content(
        name=source.name,
        question=question,
        verdict=answer,
        main=[picture for picture in headline if not isinstance(picture, NotShown)],
        errors=made("the table of errors", partial(error_table, source, found, numbers), None),
        setting=said,
        notices=[*_warnings(source), *source.missing, *problems([source]), *map(str, missed)],
        first=first,
        findings=[each for each in findings if not each.is_empty],
        details=[each for each in details if not each.is_empty],
        configs=configs,
        provenance=provenance,
        missed=missed,
        downloads=[(name, what) for name, what in FILES.items() if (source.directory / name).is_file()],
    )


def _said(answer: Verdict | None) -> list[str]:
    """The usual answer as a sentence."""
    if answer is None:
        return []
    return [f"{answer.word}: {answer.sentence}" if answer.word else answer.sentence]


def _cell_sections(found: Outcomes, numbers: Numbers, cell: Cell, answered: Sequence[Answer]) -> list[PageSection]:
    """A cell's sentences and tables, of several variants; none where no run was trained on it."""
    own, cells = found.trained_on(cell), found.cells
    name = cell_name(cell, cells)
    if own.empty:
        return []
    tables = [
        PageTable(f"{name}: errors at the end of training", sheets.errors(own, numbers, cell)),
        PageTable(
            f"{name}: what was spent, and when it was learned", sheets.spent(own, numbers, cell, found.threshold)
        ),
    ]
    if reference := reference_of(found, cell):
        tables.append(PageTable(f"{name}: against {reference}", sheets.pairs(own, numbers, cell, reference)))
    said = [sentence for answer in answered if answer.heading == name for sentence in answer.sentences]
    return [PageSection(f"cell-{cells.index(cell) + 1}", f"All numbers: {name}", (), (), tables, listed=said)]


def _one_variant_sections(found: Outcomes, numbers: Numbers) -> list[PageSection]:
    """The tables of an experiment of one variant, a row for each cell."""
    cells = [cell for cell in found.cells if len(found.trained_on(cell))]
    made = {cell_name(cell, found.cells): (found.trained_on(cell), cell) for cell in cells}
    tables = [
        PageTable(
            "Errors at the end of training",
            _by_class({name: sheets.errors(own, numbers, cell) for name, (own, cell) in made.items()}),
        ),
        PageTable(
            "What was spent, and when it was learned",
            _by_class({name: sheets.spent(own, numbers, cell, found.threshold) for name, (own, cell) in made.items()}),
        ),
    ]
    return [PageSection("numbers", "All numbers", tables=tables)] if made else []


def _by_class(of_cells: dict[str, sheets.Sheet]) -> sheets.Sheet:
    """Sheets of one row each as one, whose rows are named by their cells."""
    first = next(iter(of_cells.values()))
    made = sheets.Sheet(["class", *first.columns[1:]], explained=first.explained)
    for name, sheet in of_cells.items():
        for row in sheet.rows:
            made.add(name, *row[1:])
    return made


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
