"""A report as its readers see it: on a phone and a desk, by day and by night, by mouse and keyboard, on paper."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from page import Open, Scheme, View
from places import EXAMPLE

import icl_curriculum
from icl_curriculum.bench.many_variants import write_many

WINDOWS: list[tuple[int, Scheme]] = [*product((380, 1400), ("light", "dark"))]


@pytest.fixture(scope="module", params=WINDOWS, ids=lambda window: "-".join(map(str, window)))
def view(open_page: Open, report: Path, request: pytest.FixtureRequest) -> Iterator[View]:
    """The report in one window, for what only looks."""
    width, scheme = request.param
    with open_page(report, width=width, scheme=scheme) as view:
        yield view


@pytest.fixture
def fresh(open_page: Open, report: Path) -> Iterator[View]:
    """The report in a window of its own, for what sorts, tabs and prints. Nothing that is done there makes trouble."""
    with open_page(report) as view:
        yield view
        assert view.trouble() == []


def unfold(view: View) -> None:
    """Open all details, as a reader does who looks for numbers."""
    view.page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")


def test_the_page_is_one_file_and_opens_without_a_complaint(view: View) -> None:
    assert view.trouble() == []


def test_nothing_is_wider_than_the_window(view: View) -> None:
    assert view.overflow() == []


def test_text_stands_out_from_its_background(view: View) -> None:
    assert view.contrast() == []


def test_the_dark_page_is_dark_and_the_light_one_light(view: View) -> None:
    dark = view.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert view.brightness() < 0.1 if dark else view.brightness() > 0.8


def test_a_screenshot_of_every_window_is_kept(view: View, screenshots: Path, request: pytest.FixtureRequest) -> None:
    assert view.screenshot(screenshots / f"report-{request.node.callspec.id}.png").stat().st_size > 10_000


#: What the first screen is to hold: by its selector, and whether all of it or only its beginning.
FIRST = ("h1", ".question", "#answer", "#main-figure img")


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (380, 800)])
def test_the_first_screen_holds_question_verdict_and_main_figure(
    open_page: Open, report: Path, width: int, height: int
) -> None:
    with open_page(report, width=width, height=height) as view:
        boxes = {name: view.page.locator(name).first.bounding_box() for name in FIRST}
        for name, box in boxes.items():
            assert box is not None, name
            assert box["y"] >= 0, name
            assert box["y"] + box["height"] <= height, (name, box)
        # Of a figure that is squeezed nobody can read the letters, which are a seventh of an inch high.
        figure = boxes["#main-figure img"]
        assert figure is not None
        drawn = view.page.locator("#main-figure img").evaluate("image => image.naturalWidth")
        assert figure["width"] > 0.9 * drawn


def test_the_example_fits_its_first_screen_and_four_thousand_pixels(open_page: Open) -> None:
    for width, height in ((1400, 900), (380, 800)):
        with open_page(EXAMPLE / "report.html", width=width, height=height) as view:
            figure = view.page.locator("#main-figure img").bounding_box()
            assert figure is not None
            assert figure["y"] + figure["height"] <= height
            assert view.page.locator("#answer strong").inner_text() == "Yes"
            assert view.overflow() == []
            if width == 1400:
                assert view.page.evaluate("document.documentElement.scrollHeight") <= 4000


def test_the_page_of_thirteen_variants_is_readable_in_every_window(
    open_page: Open, tmp_path_factory: pytest.TempPathFactory, screenshots: Path
) -> None:
    folder = write_many(tmp_path_factory.mktemp("many") / "thirteen", variants=13, seeds=2, longest=2)
    path = icl_curriculum.report(folder).page
    with open_page(path, width=1400, height=900) as view:
        view.screenshot(screenshots / "report-thirteen-1400.png")
        assert view.page.evaluate("document.documentElement.scrollHeight") <= 4000
        assert view.page.locator(".fold").count() >= 2
        # The keyboard opens a fold, and its figure is there.
        summary = view.page.locator(".fold > summary").first
        view.tab_to(summary)
        view.page.keyboard.press("Enter")
        assert view.page.locator(".fold[open] img").first.is_visible()
        assert view.overflow() == []
    with open_page(path, width=380, height=800) as view:
        unfold(view)
        view.screenshot(screenshots / "report-thirteen-380.png")
        assert view.overflow() == []
        # Words of names are whole.
        cut = view.page.evaluate(
            """() => [...document.querySelectorAll('.asked th[scope=row]')].filter((each) => {
                const word = document.createRange();
                return [...each.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).some((node) => {
                    word.selectNodeContents(node);
                    return word.getClientRects().length > 1;
                });
            }).map((each) => each.textContent)"""
        )
        assert cut == []


def test_letters_of_figures_are_large_enough_on_a_telephone(open_page: Open, report: Path) -> None:
    """They are eight points high as drawn, and a point is a 72nd of an inch of the figure's own width."""
    for path in (report, EXAMPLE / "report.html"):
        with open_page(path, width=380, height=800) as view:
            unfold(view)
            letters = view.page.evaluate(
                """async () => { const images = [...document.querySelectorAll('figure img')];
                await Promise.all(images.map((image) => image.decode().catch(Object)));
                const shown = images.filter((image) => image.checkVisibility());
                const scale = (image) => image.getBoundingClientRect().width / image.naturalWidth;
                return shown.map((image) => [image.alt, 8 * 96 / 72 * scale(image)]); }"""
            )
            assert letters
            assert [one for one in letters if one[1] < 8] == []


def test_findings_are_open_and_details_are_folded(fresh: View) -> None:
    headings = fresh.page.locator("h2").all_inner_texts()
    assert headings[:3] == ["Errors at the end", "While training", "Curricula"]
    assert headings[-1] == "Details"
    assert fresh.page.locator("details").count() > 8
    assert fresh.page.locator("details[open]").count() == 0
    # Each can be opened by the keyboard.
    summary = fresh.page.locator("details > summary").first
    fresh.tab_to(summary)
    fresh.page.keyboard.press("Enter")
    assert fresh.page.locator("details[open]").count() == 1


def test_what_is_cut_off_says_so(open_page: Open, report: Path) -> None:
    for width in (380, 1400):
        with open_page(report, width=width) as view:
            faults = view.page.evaluate(
                """() => [...document.querySelectorAll('.scroll')].filter((each) => each.checkVisibility()).filter(
                    (each) => (each.scrollWidth > each.clientWidth + 1)
                        !== (getComputedStyle(each, '::before').content !== 'none')
                ).map((each) => each.ariaLabel)"""
            )
            assert faults == []
            if width == 380:
                assert view.page.locator(".scroll[data-cut]").count() > 0


def test_screen_readers_find_their_way(fresh: View) -> None:
    assert fresh.structure() == []


def test_links_lead_somewhere(fresh: View) -> None:
    assert fresh.measure("links")
    assert fresh.broken_links() == []


def test_every_column_with_a_button_sorts_in_both_directions(fresh: View) -> None:
    unfold(fresh)
    tables = [table for table in fresh.tables() if len(table.rows) > 1]
    buttons = [(table.index, i) for table in tables for i, header in enumerate(table.headers) if header.button]
    assert len(buttons) > 50
    assert [fault for table, column in buttons for fault in fresh.sorting(table, column)] == []


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_table_can_be_sorted_with_the_keyboard(fresh: View, key: str) -> None:
    unfold(fresh)
    table = fresh.table(0)
    column = next(i for i, header in enumerate(table.headers) if header.button)
    assert fresh.sorting(0, column, key) == []


def test_the_tab_key_reaches_everything_and_shows_where_it_is(fresh: View) -> None:
    assert fresh.focus() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_keeps_what_the_screen_shows(open_page: Open, report: Path, screenshots: Path, scheme: Scheme) -> None:
    with open_page(report, scheme=scheme) as view:
        assert view.print() == []
        with view.on_paper():
            view.screenshot(screenshots / f"report-print-{scheme}.png")
        assert view.trouble() == []
