"""Each check goes red: a page without a fault, broken in one way at a time, and the check that must say so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from page import Open, View

STAND_IN = Path(__file__).with_name("stand_in.html")
SOUND = STAND_IN.read_text()
Check = Callable[[View], list[str]]
#: An element that is put in at the end of the page, after everything else.
END = "</main>"


def sorting(view: View) -> list[str]:
    return [fault for column in range(4) for fault in view.sorting(0, column)]


CHECKS: dict[str, Check] = {
    "trouble": View.trouble,
    "overflow": View.overflow,
    "contrast": View.contrast,
    "structure": View.structure,
    "broken_links": View.broken_links,
    "sorting": sorting,
    "focus": View.focus,
    "print": View.print,
}

#: The check, what it must say, and how the sound page is broken: (old, new) or what is put in at the end.
BROKEN: dict[str, tuple[str, str, tuple[str, str] | str]] = {
    "console error": ("trouble", "console error: oh", "<script>console.error('oh')</script>"),
    "console warning": ("trouble", "console warning: hm", "<script>console.warn('hm')</script>"),
    "exception": ("trouble", "exception: boom", "<script>throw Error('boom')</script>"),
    "late rejection": ("trouble", "exception: late", "<script>Promise.reject(Error('late'))</script>"),
    "picture from the web": ("trouble", "wants https://a.test/x.png", "<img alt=x src='https://a.test/x.png'>"),
    "style from an address": (
        "trouble", "wants http://192.0.2.1/x.css", "<link rel=stylesheet href='http://192.0.2.1/x.css'>"
    ),
    "fetch": ("trouble", "wants https://a.test/data", "<script>fetch('https://a.test/data').catch(() => 0)</script>"),
    "socket": ("trouble", "wants ws://a.test/", "<script>new WebSocket('ws://a.test/')</script>"),
    "picture far below": (
        "trouble", "wants https://a.test/y.png",
        "<p style='height: 9999px'><img loading=lazy alt=x src='https://a.test/y.png'>",
    ),
    "connection in advance": ("trouble", "wants https://a.test", "<link rel=preconnect href='https://a.test'>"),
    "frame": ("trouble", "wants https://a.test/", "<iframe title=x src='https://a.test/'></iframe>"),
    "file beside the page": ("trouble", "/other.js", "<script src='other.js'></script>"),
    "wide table": ("overflow", "<table> .* sticks out to 9", '<table style="width: 900px"><tr><td>x</table>'),
    "wide table, hidden": (
        "overflow", "sticks out", '<style>body {overflow-x: hidden}</style><table style="width: 900px"><tr><td></table>'
    ),
    "long word": ("overflow", "the page is", f"<p>{'x' * 400}</p>"),
    "cut off": (
        "overflow", "cuts off", '<div style="overflow: hidden; width: 9em"><p style="width: 20em">lost</p></div>'
    ),
    "wide, in closed details": (
        "overflow", "sticks out", '<details><summary>x</summary><p style="width: 900px">x</p></details>'
    ),
    "grey on white": ("contrast", "rgb\\(150 150 150\\)", '<p style="color: #969696">faint</p>'),
    "faded": ("contrast", "contrast [123]\\.", '<p style="opacity: 0.5">faint</p>'),
    "faint background of an ancestor": (
        "contrast", "contrast 1.00", '<div style="background: #1a1a1a"><p><b>unseen</b></p></div>'
    ),
    "faint in other notation": ("contrast", "contrast", '<p style="color: oklch(0.75 0.05 250)">faint</p>'),
    "faint in closed details": (
        "contrast", "faint", "<details><summary>x</summary><p style='color: #999'>faint</p></details>"
    ),
    "faint mark": ("contrast", "::after", ("content: \" ↕\"; color: var(--faint)", 'content: " ↕"; color: #ccc')),
    "faint placeholder": (
        "contrast", "placeholder", "<style>::placeholder {color: #bbb}</style><input aria-label=x placeholder=find>"
    ),
    "text on a picture": (
        "contrast", "background image", '<p style="background: linear-gradient(red, blue)">which?</p>'
    ),
    "no language": ("structure", "lang", (' lang="en"', "")),
    "no title": ("structure", "title", ("<title>mixed: report</title>", "")),
    "no viewport": ("structure", "viewport", ('name="viewport"', 'name="nothing"')),
    "no zoom": ("structure", "zooming", ("initial-scale=1", "maximum-scale=1")),
    "no landmark": ("structure", "landmark", ('<main id="content">', "<div>")),
    "two titles": ("structure", "2 h1", "<h1>another</h1>"),
    "skipped level": ("structure", "follows level 2", "<h4>deep</h4>"),
    "no alt": ("structure", "alt text", ('alt="Error falls', 'title="Error falls')),
    "broken picture": ("structure", "does not load", "<img alt=x src='data:image/png,x'>"),
    "svg without label": ("structure", "no label", ('aria-label="Two bars, the second half as high" ', "")),
    "svg without role": ("structure", "neither role=img", ('<svg role="img"', "<svg")),
    "no caption": ("structure", "neither caption", ("<caption>Normalized error by class</caption>", "")),
    "no scope": ("structure", "no scope", ('<th scope="row">linear', "<th>linear")),
    "no buttons": ("structure", "no buttons", '<table class=sortable><caption>x</caption><tr><th scope=col>x</table>'),
    "doubled id": ("structure", "2 elements", '<p id="errors">x</p>'),
    "unnamed button": ("structure", "no name", "<button></button>"),
    "unnamed field": ("structure", "no label", "<input>"),
    "link to a missing file": ("broken_links", "none.csv", '<a href="none.csv">numbers</a>'),
    "link to a missing place": ("broken_links", "#gone", '<a href="#gone">there</a>'),
    "nothing moves": ("sorting", "not ascending", ("body.append(...", "void (")),
    "sorted as text": ("sorting", "k = 5: not ascending", ("x - y || ", "")),
    "only one direction": ("sorting", "ascending and then ascending", ("? -1 : 1", "? 1 : 1")),
    "direction reversed": ("sorting", "not ascending", ("sign * (x - y", "-sign * (x - y")),
    "missing first": ("sorting", "missing values", ('(x === "") - (y === "")', 'sign * ((x === "") - (y === ""))')),
    "other columns stay marked": (
        "sorting", "still marked", ("other.removeAttribute(", "void (")
    ),
    "rows torn apart": (
        "sorting", "torn apart", ("header.setAttribute", "body.rows[0].cells[0].append('!'); header.setAttribute")
    ),
    "focus unseen": ("focus", "does not show", ("outline: 3px solid var(--link)", "outline: none")),
    "focus out of sight": ("focus", "out of sight", (".skip:focus { left: 1rem;", ".skip:focus { left: -90rem;")),
    "out of order": (
        "focus", "cannot be reached", "<script>addEventListener('keydown', (e) => e.preventDefault())</script>"
    ),
    "details stay closed": ("print", 'not printed: "64 prompts', ("content-visibility: visible;", "")),
    "hidden on paper": ("print", "not printed: <img>", ("nav, .skip { display", "nav, .skip, img { display")),
    "scrolled away on paper": ("print", "cuts off", '<div style="overflow: auto"><p style="width: 90em">far</p></div>'),
    "wider than paper": ("print", "sticks out", ("min-width: 0; width: 100%;", "min-width: 90rem;")),
    "white on white paper": ("print", "contrast 1.00", '<p style="background: #000; color: #fff">dark</p>'),
}  # fmt: skip


@pytest.fixture(scope="module")
def windows(open_page: Open) -> Iterator[Callable[..., View]]:
    """Windows by their size and colour scheme, kept open: one of its own for each page would take the most time."""
    with ExitStack() as stack:
        yield cache(lambda *key: stack.enter_context(open_page(STAND_IN, **dict(key))))


@pytest.fixture
def page(windows: Callable[..., View], tmp_path: Path) -> Callable[..., View]:
    """`page(html)`: the HTML opened from a file, beside the CSV files that the sound page links to."""
    for name in ("evaluation.csv", "learning.csv"):
        (tmp_path / name).touch()

    def opened(html: str, **window: int | str) -> View:
        path = tmp_path / "a page.html"
        path.write_text(html)
        view = windows(*window.items())
        view.open(path)
        return view

    return opened


def broken(change: tuple[str, str] | str) -> str:
    old, new = change if isinstance(change, tuple) else (END, change + END)
    assert old in SOUND
    return SOUND.replace(old, new)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_page_is_found_out(page: Callable[..., View], name: str) -> None:
    check, said, change = BROKEN[name]
    view = page(broken(change), width=800)
    faults = CHECKS[check](view)
    assert any(re.search(said, fault) for fault in faults), faults


@pytest.mark.parametrize("check", CHECKS)
def test_a_sound_page_passes(page: Callable[..., View], check: str) -> None:
    view = page(SOUND, width=380)
    assert CHECKS[check](view) == []


def test_dark_text_is_judged_in_the_dark(page: Callable[..., View]) -> None:
    html = broken(("--faint: #a8adb5", "--faint: #50555c"))
    view = page(html, scheme="light")
    assert view.contrast() == []
    view = page(html, scheme="dark")
    assert any("Normalized error by class" in fault for fault in view.contrast())


def test_the_window_is_dark_where_the_page_paints_nothing(page: Callable[..., View]) -> None:
    text = "<p style='color: {}'>x</p>"
    for colour_scheme, colour in (("light dark", "#fff"), ("light", "#000")):
        html = f"<html style='color-scheme: {colour_scheme}'>{text.format(colour)}"
        view = page(html, scheme="dark")
        assert view.contrast() == []
        assert (view.brightness() < 0.1) == (colour == "#fff")


def test_a_container_that_scrolls_may_be_wider(page: Callable[..., View]) -> None:
    view = page(broken('<div style="overflow-x: auto"><p style="width: 900px">wide</p></div>'), width=380)
    assert view.overflow() == []


def test_scripts_may_open_details_before_printing(page: Callable[..., View]) -> None:
    html = broken(("content-visibility: visible;", ""))
    script = "<script>addEventListener('beforeprint', () => { document.querySelector('details').open = true })</script>"
    view = page(html.replace(END, script + END))
    assert view.print() == []


def test_nothing_but_files_can_be_had(page: Callable[..., View]) -> None:
    ask = "fetch('http://127.0.0.1:9/').then(() => 'answered', () => 'cut off')"
    view = page(SOUND)
    assert view.page.evaluate(ask) == "cut off"
    assert "wants http://127.0.0.1:9/" in view.trouble()


def test_rows_and_directions_are_read(page: Callable[..., View]) -> None:
    view = page(SOUND)
    assert view.table(0).name == "Normalized error by class"
    assert [header.button for header in view.table(0).headers] == [True] * 4 + [False]
    assert view.sort(0, 2) == "ascending"
    assert [row[2] for row in view.table(0).rows] == ["0.045", "0.196", "9.25", "10.5"]
    assert view.sort(0, 2, "Enter") == "descending"
    assert [row[0] for row in view.table(0).rows] == ["hermite/10", "hermite/3", "relu_network", "linear"]
    assert view.sort(0, 1, "Space") == "ascending"
    assert [row[1] for row in view.table(0).rows] == ["0.0912", "0.366", "0.501", "–"]
    assert [header.sort for header in view.table(0).headers] == ["none", "ascending", "none", "none", "none"]


def test_a_screenshot_holds_the_whole_page(page: Callable[..., View], tmp_path: Path) -> None:
    view = page(broken('<p style="height: 3000px">long</p>'), width=380)
    header = view.screenshot(tmp_path / "shots/page.png").read_bytes()[:24]
    assert int.from_bytes(header[16:20]) == 380
    assert int.from_bytes(header[20:24]) > 3000
