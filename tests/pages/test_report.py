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
from matplotlib.figure import Figure
from resealed import note_collected, reseal
from several_variants import VARIANTS, train, trained
from tiny_runs import Icl

from icl_curriculum.figures import draw_all
from icl_curriculum.pages.content import gather
from icl_curriculum.pages.drawn_before import other_figures
from icl_curriculum.pages.page import render
from icl_curriculum.results.comparison.command import describe
from icl_curriculum.results.comparison.sources import open_source


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
    for heading in (
        "Errors at the end", "While training", "Curricula", "Data efficiency", "Forgetting", "Out of distribution",
        "All numbers: linear", "All numbers: quadratic", "Exposure", "Every seed", "Definitions", "Config",
    ):  # fmt: skip
        assert heading in page.text


def test_the_first_things_are_question_verdict_and_main_figure(text: str) -> None:
    header = text[text.index("<header>") : text.index("</header>")]
    question, answer, figure = (header.index(part) for part in ("Does it &lt;compare&gt;?", 'id="answer"', "<img"))
    assert question < answer < figure
    assert '<strong class="word">Not resolved</strong>: no rule of this report decides that question; after' in header
    # A figure of its own for a telephone.
    assert re.search(r'<source media="[^"]+" srcset="data:image/svg\+xml;base64,', header)


def test_errors_stand_beside_what_they_are_read_against(page: Page, folder: Path) -> None:
    evaluation = pd.read_csv(folder / "evaluation.csv", keep_default_na=False, na_values=[""])
    own = evaluation[(evaluation["shift"] == "none") & (evaluation["metric"] == "normalized_error")]
    own = own[(own["function_class"] == "quadratic") & (own["n_context"] == 4)]
    means = own[own["learner_kind"] == "baseline"].groupby("learner")["value"].mean().drop("zero")
    said = " ".join(page.text.split())
    assert "best baseline" in said
    assert f"{means.min():.3f}{means.idxmin().replace('_', ' ')}" in said
    assert "optimum" in said


def test_sections_come_in_order_of_importance_and_definitions_once(text: str) -> None:
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", text)
    assert headings == [
        "Errors at the end", "While training", "Curricula", "Data efficiency", "Forgetting", "Out of distribution",
        "Details",
    ]  # fmt: skip
    assert text.count("interquartile mean over seeds</dd>") == 1
    details = text[text.index('id="details"') :]
    assert details.count("<details id=") >= 8
    assert "<details" not in text[: text.index('id="details"')]


@pytest.mark.usefixtures("unpictured")
def test_one_variant_is_not_compared_and_its_tables_have_a_row_for_each_class(tmp_path: Path) -> None:
    one = train(tmp_path, "one", seeds=(0, 1), variants={"mixed": VARIANTS["mixed"]})
    text = render(describe(one))
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", text)
    assert "Curricula" not in headings
    assert "While training" in headings
    assert "All numbers</summary>" in text
    assert text.count("<caption>Errors at the end of training</caption>") == 1
    assert "trained on that class" not in text
    # A list over a single item is a sentence.
    assert not re.search(r"<ul>\s*<li>(?:(?!</?li>).)*</li>\s*</ul>", text.replace("\n", " "))


def placed(figure: Figure, stem: Path) -> Path:
    """In the place of what writes a figure's files, where only their names count."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_name(f"{stem.name}.svg").write_text("<svg/>")
    return stem.with_name(f"{stem.name}.png")


def test_every_figure_that_was_drawn_is_on_the_page_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icl_curriculum.figures.drawing._save", placed)
    draw_all(folder)
    stems = {path.stem for path in (folder / "figures").glob("*.svg")}
    content = gather(describe(folder))
    pictures = [picture for section in [*content.findings, *content.details] for picture in section.pictures]
    elsewhere = {picture.figure_name for picture in pictures} - {""}
    from_files = [picture.alternative for picture in pictures if not picture.figure_name]
    assert {"curves_by_variant", "errors_by_seed", "prediction_differences_mixed"} <= elsewhere
    for stem in stems - elsewhere:
        assert sum(f"figures/{stem}.svg" in alternative for alternative in from_files) == 1, stem
    for stem in stems & elsewhere:
        assert not any(f"figures/{stem}.svg" in alternative for alternative in from_files), stem
    # Files of other names and of variants that are gone stay where they are.
    (folder / "figures" / "learning_curves_gone.svg").write_text("<svg/>")
    assert not any("gone" in picture.alternative for picture in other_figures(open_source(folder), ()).pictures)
    shutil.rmtree(folder / "figures")


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


@pytest.mark.usefixtures("unpictured")
def test_variants_that_cannot_be_compared_are_a_notice(folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "several")
    for manifest in broken.glob("mixed-*/manifest.json"):
        banks = json.loads(manifest.read_text())["banks"]
        reseal(manifest, {"banks": {**banks, "linear/gaussian/none": "other"}})
    note_collected(broken)
    said = " ".join(Page(render(describe(broken))).text.split())
    assert "several/sequential and several/mixed were asked other prompts" in said
    assert "What is missing" in said


@pytest.mark.usefixtures("unpictured")
def test_tables_without_the_folders_of_the_runs_make_a_report(folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for table in folder.glob("*.csv"):
        shutil.copy(table, bare)
    said = Page(render(describe(bare))).text
    assert "so neither are their configs" in said
    assert "so neither are their manifests" in said


@pytest.mark.usefixtures("unpictured")
def test_the_command_writes_it_and_says_where(folder: Path, tmp_path: Path, icl: Icl) -> None:
    copy = shutil.copytree(folder, tmp_path / "several")
    code, printed, _ = icl("report", copy, "--error", "0.25")
    assert code == 0
    assert f"report:  {copy / 'report.html'}\n" in printed
    assert f"summary: {copy / 'summary.csv'}\n" in printed
    assert "≤ 0.25" in (copy / "report.html").read_text(encoding="utf-8")
