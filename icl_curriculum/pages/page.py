"""Makes a page of the content: HTML by Jinja2 with everything inside, written atomically."""

from __future__ import annotations

import html
import math
import os
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup

from icl_curriculum.core.arguments import as_finite, as_path
from icl_curriculum.core.files import write_atomically
from icl_curriculum.core.notices import warn_of
from icl_curriculum.core.printable import harmless
from icl_curriculum.pages.content import gather
from icl_curriculum.results.chosen_metric import choose_metric
from icl_curriculum.results.comparison.command import Compared, describe
from icl_curriculum.results.directory import find_results
from icl_curriculum.results.shown_metric import showing


@dataclass(frozen=True)
class WrittenReport:
    """The paths of an experiment's summary.csv and report.html, and sentences on what it lacks."""

    summary: Path
    page: Path
    missing: tuple[str, ...]


def report(
    name: str | os.PathLike[str],
    *,
    threshold: float | None = None,
    metric: str | None = None,
    results: str | os.PathLike[str] = "results",
) -> WrittenReport:
    """Write the page report.html of an experiment and its summary.csv, as ``icl report`` does; returns their paths.

    ``name``: the experiment's folder of results, or its name in ``results``. ``threshold``: the error that counts
    as learned, by default 0.5. ``metric``: the id of one that is shown in the place of the normalized error. UserError
    where a table is missing or damaged, or no run is finished.
    """
    directory = find_results(os.fsdecode(as_path(name, "name")), as_path(results, "results"))
    return report_on(directory, threshold=as_finite(threshold, "threshold"), metric=metric)


def report_on(directory: Path, *, threshold: float | None = None, metric: str | None = None) -> WrittenReport:
    """Write summary.csv and report.html of an experiment into its folder.

    ``threshold``: the error that counts as learned, by default 0.5. ``metric``: the id of one that is shown in the
    place of the normalized error; the page then lies in a folder of its own, ``metric_<id>``. UserError where a table
    is missing or damaged, or no run is finished.
    """
    with showing(choose_metric(directory, metric)):
        compared = describe(directory, threshold=threshold)
        return WrittenReport(compared.path, write_report(compared), compared.sources[0].missing)


def write_report(compared: Compared) -> Path:
    """Write ``report.html`` into the folder of the one experiment; returns its path. Equal tables give equal bytes.

    What cannot be shown is said on the page, and warned of (`NotShown`).
    """
    path = compared.sources[0].directory / compared.shown.folder / "report.html"
    with showing(compared.shown):
        write_atomically(path, render(compared))
    return path


def render(compared: Compared) -> str:
    """The page as text. What it lacks is warned of."""
    content = gather(compared)
    for notice in content.missed:
        warn_of(notice)
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_harmless,
    )  # fmt: skip
    environment.filters |= {"ticked": _ticked, "sortable": _sortable, "breakable": _breakable}
    return environment.get_template("page.html").render(
        content=content, style=Markup(_text("page.css")), script=Markup(_text("page.js"))
    )


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _harmless(value: object) -> object:
    """What the page shows of texts from outside: nothing in them turns the text around it round, or is no character."""
    return harmless(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _ticked(text: str) -> Markup:
    """Names between backticks as code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(harmless(text))))


def _breakable(name: str) -> Markup:
    """A name that may be broken behind its underscores where there is no room for it, rather than within its words."""
    return Markup(html.escape(harmless(name)).replace("_", "_<wbr>"))


def _sortable(value: float) -> str:
    """The number by which a cell is sorted; nothing where there is none."""
    return "" if math.isnan(value) else repr(float(value))
