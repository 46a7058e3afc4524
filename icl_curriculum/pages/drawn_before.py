"""The figures that were drawn for an experiment and stand nowhere else on its page."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import quote

from icl_curriculum.figures.drawing import ACROSS_VARIANTS, FIGURES
from icl_curriculum.figures.panels import FULL_WIDTH
from icl_curriculum.pages.sections import DrawnFile, PageSection, address_of
from icl_curriculum.results.comparison.sources import Source
from icl_curriculum.results.shown_metric import shown_metric

#: Larger files are named but not put into the page.
_MOST_BYTES = 4_000_000

_WORDS = {
    "error_by_examples": "Error by number of in-context examples",
    "published": "Error beside published results",
    "learning_curves": "Error on fixed prompts during training",
    "learning_under_shifts": "Error under shifts during training",
    "along_training": "Errors of the weights that were kept",
    "out_of_distribution": "Error out of distribution",
    "heat_map": "Error by function class, inputs and shift",
    "prediction_differences": "Whom the model answers like",
    "curriculum": "Share of the training prompts, planned and drawn",
    "error_by_parameter": "Error by the swept parameter",
    "heat_map_by_parameters": "Error by two swept parameters",
    "error_by_pool_size": "Error by the number of training functions",
    "trained_by_asked": "Error of each variant on each class",
    "scorecard": "Score of each learner on each axis of the benchmark",
    "scorecard_radar": "Profile of each learner over the axes of the benchmark",
}


def other_figures(source: Source, shown: Collection[str]) -> PageSection:
    """The section of all figures in the experiment's folder that are of its variants.

    ``shown``: the names of those that stand elsewhere on the page. The files are those that `icl run` and `icl plot`
    wrote; a folder without them has none.
    """
    found: list[DrawnFile] = []
    sentences = []
    for stem, name, variant in _stems(source):
        path = _folder(source) / f"{stem}.svg"
        if stem in shown or not path.is_file():
            continue
        if path.stat().st_size > _MOST_BYTES:
            sentences.append(f"`{path.name}` is too large for this page; it lies in the folder `figures`.")
            continue
        words = _WORDS.get(name, name.replace("_", " ").capitalize()) + (f": {variant}" if variant else "")
        svg = path.read_bytes()
        found.append(DrawnFile(address_of(svg), words, f"{words}, as in figures/{stem}.svg.", inches=_inches(svg)))
    return PageSection("figures", "All other figures", sentences, found)


def _inches(svg: bytes) -> float:
    """How wide a file that matplotlib wrote is, by its first lines; a full page's width where they do not say."""
    given = re.search(rb'<svg[^>]*\bwidth="([0-9.]+)pt"', svg[:4000])
    return float(given[1]) / 72 if given else FULL_WIDTH


def _folder(source: Source) -> Path:
    return source.directory / "figures" / shown_metric().folder


def _stems(source: Source) -> list[tuple[str, str, str]]:
    """The names that files of this experiment's figures have, each with the figure's and the variant's."""
    names = [*FIGURES, *(draw.__name__ for draw in ACROSS_VARIANTS)]
    whole = [(name, name, "") for name in names]
    # As `figures.draw_all` names them.
    return whole + [
        (f"{name}_{quote(variant, safe='=,+')}", name, variant) for variant in source.variants for name in FIGURES
    ]
