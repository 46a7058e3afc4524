"""The site of `make docs` as its readers see it: opened from disk, without a network, on a phone and a desk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from page import Open, View

SITE = Path(__file__).parents[2] / "site"
#: The page of lost addresses has links for a server.
PAGES = sorted(path for path in SITE.rglob("*.html") if path.name != "404.html")


@pytest.fixture(scope="module", params=(380, 1400))
def view(open_page: Open, request: pytest.FixtureRequest) -> Iterator[View]:
    assert PAGES, "make docs writes the site"
    with open_page(SITE / "index.html", width=request.param) as view:
        yield view


def test_every_page_is_whole_and_wants_nothing_but_files_that_are_there(view: View) -> None:
    for path in PAGES:
        view.open(path)
        assert view.messages == [], path
        assert all(url.startswith("file:") for url in view.requests), path
        assert view.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        broken = "[...document.images].filter(image => !image.naturalWidth).map(image => image.src)"
        assert view.page.evaluate(broken) == [], path
        assert view.broken_links() == [], path


def test_a_search_finds_a_page_that_opens(view: View) -> None:
    view.open(SITE / "index.html")
    field = view.page.locator("input.md-search__input")
    if not field.is_visible():
        view.page.locator("label[for=__search]").first.click()
    field.fill("plateau")
    first = view.page.locator("a.md-search-result__link").first
    first.wait_for()
    first.click()
    view.page.wait_for_url(lambda url: "?h=" in url)
    assert Path(unquote(urlsplit(view.page.url).path)) in PAGES
    assert "plateau" in view.page.inner_text("article").lower()
