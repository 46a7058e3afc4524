"""report.html as text: what stands in it, where its numbers come from, that it needs nothing else. (Seen: browser/.)"""

from __future__ import annotations

import base64
import json
import re
import shutil
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from resealed import note_collected, reseal
from several_variants import trained
from tiny_runs import Icl

from icl_curriculum.pages.page import render
from icl_curriculum.results.comparison.command import describe


class Page(HTMLParser):
    """What a page refers to, its headings, tables and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.images: list[tuple[str, str]] = []
        self.anchors: list[str] = []
        self.text = ""
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        if tag == "a":
            self.links.append(values["href"] or "")
        if tag == "img":
            self.images.append((values["src"] or "", values.get("alt") or ""))
        if values.get("id"):
            self.anchors.append(values["id"] or "")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return render(describe(folder))


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_it_needs_nothing_from_anywhere(text: str, page: Page) -> None:
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#|[a-z_]+\.csv["'])""", text)
    assert not re.findall(r"@import|url\((?!data:)", text)
    assert "http" not in re.sub(r"data:[^\"]+", "", text)
    assert all(source.startswith("data:image/svg+xml;base64,") for source, _ in page.images)


def test_figures_are_whole_and_described(page: Page) -> None:
    assert len(page.images) >= 6
    for source, described in page.images:
        ET.fromstring(base64.b64decode(source.partition(",")[2]))
        assert len(described) > 40
    assert len({described for _, described in page.images}) == len(page.images)


def test_links_lead_to_sections_and_to_the_tables(page: Page, folder: Path) -> None:
    for link in page.links:
        assert link.removeprefix("#") in page.anchors if link.startswith("#") else (folder / link).is_file()
    assert {"evaluation.csv", "learning.csv", "exposure.csv", "summary.csv"} <= set(page.links)


def test_names_are_the_users_and_no_markup(text: str) -> None:
    assert "Does it &lt;compare&gt;?" in text
    assert "<compare>" not in text


def test_every_seeds_error_stands_in_it(page: Page, folder: Path) -> None:
    table = pd.read_csv(folder / "summary.csv")
    errors = table[(table["quantity"] == "error") & (table["statistic"] == "seed")]
    trained_on = errors[(errors["variant"] != "alone") | (errors["function_class"] == "quadratic")]
    assert len(trained_on) == 10
    for value in trained_on["value"]:
        assert f"{value:.3f}" in page.text


def test_it_says_what_was_asked_and_answered_with_config_and_provenance(page: Page, folder: Path) -> None:
    said = " ".join(page.text.split())
    assert (
        "3 variants, 2 training seeds (0, 1); prompts of 4 examples and a query in 2 dimensions; 12 steps of 8" in said
    )
    assert "At 4 examples, after 12 steps, " in said
    assert "learning_every = 4" in page.text
    assert "function_classes = { name" in page.text or "[curriculum.function_classes]" in page.text
    runs = pd.read_csv(folder / "runs.csv")
    for run, config_hash in zip(runs["run"], runs["config_hash"], strict=True):
        assert run in page.text
        assert config_hash in page.text
    for heading in ("Answer", "Trained × asked", "linear", "quadratic", "Exposure", "Every seed", "Config"):
        assert heading in page.text


def test_equal_tables_give_equal_bytes(folder: Path, text: str) -> None:
    assert render(describe(folder)) == text


def test_it_says_whom_each_model_answers_most_like(page: Page, folder: Path) -> None:
    assert "alike" in page.anchors
    said = " ".join(page.text.split())
    assert "Whom they answer like" in said
    table = pd.read_csv(folder / "prediction_differences.csv")
    plain = table[(table["shift"] == "none") & (table["metric"] == "normalized_difference") & table["in_distribution"]]
    own = plain[(plain["variant"] == "mixed") & (plain["function_class"] == "linear") & (plain["n_context"] == 4)]
    least = own.groupby("other_learner")["value"].mean().min()
    (sentence,) = re.findall(r"On linear, mixed answers most like .*?\.(?= )", said)
    assert f"k = 4 ({least:.3f}, " in sentence
    assert "On linear, alone answers" not in said
    assert "On quadratic, alone answers most like" in said
    described = [alternative for _, alternative in page.images if alternative.startswith("Differences between")]
    assert len(described) == 3
    assert "prediction_differences.csv" in page.links


def test_variants_that_cannot_be_compared_are_a_notice(folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "several")
    for manifest in broken.glob("mixed-*/manifest.json"):
        banks = json.loads(manifest.read_text())["banks"]
        reseal(manifest, {"banks": {**banks, "linear/gaussian/none": "other"}})
    note_collected(broken)
    said = " ".join(Page(render(describe(broken))).text.split())
    assert "several/sequential and several/mixed were asked other prompts" in said
    assert "What is missing" in said


def test_tables_without_the_folders_of_the_runs_make_a_report(folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for table in folder.glob("*.csv"):
        shutil.copy(table, bare)
    said = Page(render(describe(bare))).text
    assert "so neither are their configs" in said
    assert "so neither are their manifests" in said


def test_the_command_writes_it_and_says_where(folder: Path, tmp_path: Path, icl: Icl) -> None:
    copy = shutil.copytree(folder, tmp_path / "several")
    code, printed, _ = icl("report", copy, "--error", "0.25")
    assert code == 0
    assert f"report:  {copy / 'report.html'}\n" in printed
    assert f"summary: {copy / 'summary.csv'}\n" in printed
    assert "≤ 0.25" in (copy / "report.html").read_text(encoding="utf-8")
