"""The report of many variants: tables that are whole and folded, and sentences and figures of both ends."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
from matplotlib.figure import Figure

from icl_curriculum.bench.many_variants import write_many
from icl_curriculum.pages import page
from icl_curriculum.pages.content import Content
from icl_curriculum.pages.sections import Picture
from icl_curriculum.results.comparison.command import Compared, describe

VARIANTS = 34


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_many(tmp_path_factory.mktemp("results") / "many", variants=VARIANTS, seeds=2, longest=2)


def placeholder(draw: Any, caption: str, alternative: str, **options: Any) -> list[Picture]:
    """In the place of a figure, which takes a second to draw."""
    return [Picture(Figure(), caption, alternative)]


@pytest.fixture(scope="module")
def content(folder: Path) -> Content:
    with pytest.MonkeyPatch.context() as changed:
        for module in ("findings", "headline", "similarity"):
            changed.setattr(f"icl_curriculum.pages.{module}.drawn", placeholder)
        return dataclasses.replace(page.gather(describe(folder)), most_unfolded=VARIANTS)


def rendered(content: Content) -> str:
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(page, "gather", lambda compared: content)
        return page.render(cast("Compared", None))


@pytest.fixture(scope="module")
def text(content: Content) -> str:
    return rendered(content)


def test_all_variants_stand_in_its_tables(text: str, folder: Path) -> None:
    names = set(pd.read_csv(folder / "runs.csv")["variant"])
    assert len(names) == VARIANTS
    for name in names:
        # Where there is no room, a name is broken between its words.
        broken = name.replace("_", "_<wbr>")
        assert len(re.findall(rf'<th scope="row">{broken}</th>', text)) >= 3


def test_long_tables_are_folded_and_short_ones_are_not(text: str) -> None:
    assert f"<details><summary>Every run on what it was trained on: {2 * 2 * VARIANTS - 4} rows</summary>" in text
    assert "<details><summary>linear: errors" not in text


def test_tables_that_are_too_long_are_cut_off_and_it_says_so(content: Content, text: str) -> None:
    made = rendered(dataclasses.replace(content, most_rows=40))
    assert "The first 40 rows" in made
    assert "The first " not in text
    # Of every seed on both classes, of what each run spent, and of where it came from.
    assert text.count("<tr>") - made.count("<tr>") == (4 * VARIANTS - 4 - 40) + 2 * (2 * VARIANTS - 40)


def test_figures_behind_the_first_are_folded(text: str) -> None:
    """They are tall, and the page of many variants is to be no longer than that of few."""
    folds = re.findall(r'<details class="fold"><summary>(.*?)</summary>\s*<div class="pictures', text)
    assert folds[0] == "Figure: the final error of every seed"
    assert "Figure: error against the prompts of each class" in folds
    open_ones = re.sub(r"<details.*?</details>", "", text, flags=re.DOTALL)
    assert re.findall(r'<h2 id="(\w+)">(?:(?!<h2).)*<figure', open_ones, re.DOTALL) == ["training"]
    assert '<table class="asked many">' in text


def test_figures_and_sentences_are_of_both_ends(text: str) -> None:
    said = re.sub(r"<[^>]*>", "", text)
    assert f"Chosen: 21 of {VARIANTS - 1} variants, those with the 10 lowest and the 10 highest errors" in said
    assert "The tables have all." in said
    assert "12 more between" in said
    spoken = re.findall(r"On linear, (\w+) answers most like", said)
    assert len(spoken) == 21
    assert "icl plot many --variant all draws the differences of each variant" in said
