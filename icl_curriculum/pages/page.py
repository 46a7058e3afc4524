"""Makes a page of the content: HTML by Jinja2 with everything inside, written atomically."""

from __future__ import annotations

import base64
import html
import io
import math
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from icl_curriculum.core.files import write_atomically
from icl_curriculum.figures.panels import styled
from icl_curriculum.pages.content import gather
from icl_curriculum.results.comparison.command import Compared, describe
from icl_curriculum.results.statistics import THRESHOLD


@dataclass(frozen=True)
class WrittenReport:
    """The paths of an experiment's summary.csv and report.html, and sentences on what it lacks."""

    summary: Path
    page: Path
    missing: tuple[str, ...]


def report_on(directory: Path, *, threshold: float = THRESHOLD) -> WrittenReport:
    """Write summary.csv and report.html of an experiment into its folder.

    ``threshold``: the error that counts as learned. UserError where a table is missing or damaged, or no run is
    finished.
    """
    compared = describe(directory, threshold=threshold)
    return WrittenReport(compared.path, write_report(compared), compared.sources[0].missing)


def write_report(compared: Compared) -> Path:
    """Write ``report.html`` into the folder of the one experiment; returns its path. Equal tables give equal bytes."""
    path = compared.sources[0].directory / "report.html"
    write_atomically(path, render(compared))
    return path


def render(compared: Compared) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"image": _image, "ticked": _ticked, "sortable": _sortable}
    return environment.get_template("page.html").render(
        content=gather(compared), style=Markup(_text("page.css")), script=Markup(_text("page.js"))
    )


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@styled
def _image(figure: Figure) -> str:
    """A figure as the address of an image that stands in the page itself."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _ticked(text: str) -> Markup:
    """Names between backticks as code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text)))


def _sortable(value: float) -> str:
    """The number by which a cell is sorted; nothing where there is none."""
    return "" if math.isnan(value) else repr(float(value))
