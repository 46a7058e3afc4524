"""A page as a reader's browser shows it: opened without a network, watched, measured, sorted, printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, ViewportSize

Scheme = Literal["light", "dark"]

MEASURE = Path(__file__).with_name("measure.js").read_text()
#: CSS pixels: A4 is 210 mm by 297 mm, less the centimetre that Chromium leaves at each edge.
PAPER: ViewportSize = {"width": 718, "height": 1047}
#: An address that nobody has.
LAST = "http://last.invalid/"
SORTABLE = "table.sortable"
#: What a reader of text needs between its colour and the background's (WCAG 2.2, level AA).
CONTRAST = 4.5
#: What paper may do without: ways to other places of the page.
UNNEEDED_ON_PAPER = "nav, [class*=skip]"


@dataclass(frozen=True)
class Header:
    text: str
    sort: str
    button: bool


@dataclass(frozen=True)
class Table:
    """What a table shows now; `index` counts the tables that can be sorted."""

    index: int
    name: str
    headers: list[Header]
    rows: list[list[str]]


@dataclass
class View:
    """A page in a window of one size and colour scheme. Each check returns one line for each fault it finds."""

    page: Page
    path: Path
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.messages.append(f"exception: {error}"))
        self.page.on("request", self._request)
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            where = message.location["url"] if message.location else ""
            self.messages.append(f"console {message.type}: {message.text} ({where})")

    def _request(self, request: Request) -> None:
        # Of data: URIs the browser tells nothing, as nothing is fetched.
        if not (request.is_navigation_request() and request.url == self.path.resolve().as_uri()):
            self.requests.append(request.url)

    def open(self, path: Path) -> None:
        """Another page, or the same one anew, in this window. What was said and asked for before is forgotten."""
        self.page.goto("about:blank")
        self.messages.clear()
        self.requests.clear()
        self.path = path
        self.page.goto(path.resolve().as_uri())

    def measure(self, function: str, *arguments: Any) -> Any:
        return self.page.evaluate("([name, given]) => measure[name](...given)", [function, list(arguments)])

    def trouble(self) -> list[str]:
        """Errors and warnings on the console, exceptions of scripts, and whatever the page wants beside itself."""
        # Requests are told of later than they are made, but in turn: when ours has failed, all before it are known.
        self.page.evaluate(
            """async (url) => {
                await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
                await fetch(url).catch(Object);
            }""",
            LAST,
        )
        told = [*self.messages, *(f"wants {url}" for url in [*self.requests, *self.measure("wanted")])]
        return [line for line in told if LAST not in line]

    def overflow(self) -> list[str]:
        """What reaches past the window's right edge or is cut off. What scrolls by itself may be wider."""
        return self.measure("overflow", False)

    def contrast(self, least: float = CONTRAST) -> list[str]:
        """Text too faint before its background, details opened; text in pictures isn't looked at.

        Backgrounds are those of the element and its ancestors. Text over a background image counts as a fault.
        """
        return self.measure("contrast", least, False)

    def brightness(self) -> float:
        """Relative luminance of the page's background: 0 is black, 1 is white."""
        return self.measure("brightness")

    def structure(self) -> list[str]:
        """Language, title, headings, landmarks, and names for pictures, tables, buttons, links and fields."""
        return self.measure("structure")

    def broken_links(self) -> list[str]:
        """Links to files that aren't there and to places the page doesn't have. Links to the web aren't followed."""
        faults = []
        for link in self.measure("links"):
            url = urlsplit(link["url"])
            there = link["found"] if link["here"] else url.scheme != "file" or Path(unquote(url.path)).exists()
            if not there:
                faults.append(f"the link {link['text']!r} leads nowhere: {link['url']}")
        return faults

    # Tables

    def tables(self) -> list[Table]:
        """The tables that can be sorted."""
        return [self.table(index) for index in range(self.page.locator(SORTABLE).count())]

    def table(self, index: int) -> Table:
        found = self.page.locator(SORTABLE).nth(index).evaluate("table => measure.readTable(table)")
        headers = [Header(**header) for header in found["headers"]]
        return Table(index, found["name"], headers, found["rows"])

    def sort(self, table: int, column: int, key: str | None = None) -> str:
        """Press the button of a header cell, with the mouse or by Tab and the key: what aria-sort says then."""
        cell = self.page.locator(SORTABLE).nth(table).locator("thead tr").last.locator("th, td").nth(column)
        button = cell.locator("button")
        if key is None:
            button.click()
        else:
            self.tab_to(button)
            self.page.keyboard.press(key)
        return self.table(table).headers[column].sort

    def tab_to(self, target: Any) -> None:
        presses = self.measure("listFocusable") + 50  # containers that scroll come on top
        for _ in range(presses):
            if target.evaluate("element => element === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{presses} Tabs do not reach {target}")

    def unsorted(self, table: int, column: int, direction: str) -> str | None:
        """How the rows differ from the direction that aria-sort claims, missing values last; None if they don't."""
        return self.page.locator(SORTABLE).nth(table).evaluate(
            "(table, [column, direction]) => measure.unsorted(table, column, direction)", [column, direction]
        )  # fmt: skip

    def sorting(self, table: int, column: int, key: str | None = None) -> list[str]:
        """Press a header twice: once for each direction, each time with the same rows and no other column marked."""
        before = self.table(table)
        where = f"{before.name}, {before.headers[column].text}"
        faults, seen = [], []
        for _ in range(2):
            seen.append(self.sort(table, column, key))
            after = self.table(table)
            others = [header.text for i, header in enumerate(after.headers) if i != column and header.sort != "none"]
            if others:
                faults.append(f"{where}: {', '.join(others)} still marked as sorted")
            if sorted(after.rows) != sorted(before.rows):
                faults.append(f"{where}: rows are torn apart, lost or doubled")
            if seen[-1] in ("ascending", "descending"):
                fault = self.unsorted(table, column, seen[-1])
                faults += [f"{where}: {fault}"] if fault else []
        if set(seen) != {"ascending", "descending"}:
            faults.append(f"{where}: aria-sort was {' and then '.join(seen)}")
        return faults

    # Keyboard and paper

    def focus(self) -> list[str]:
        """Tab through the page: all that can be used is reached, in sight, and looks different with the focus."""
        faults: list[str] = []
        for _ in range(self.measure("listFocusable") + 50):
            self.page.keyboard.press("Tab")
            found = self.measure("focused")
            if found is None:
                break
            faults += found
        return [*faults, *self.measure("unreached")]

    @contextmanager
    def on_paper(self) -> Iterator[None]:
        """The page as it is laid out for print on A4, after whatever its scripts do before printing."""
        window = self.page.viewport_size
        assert window is not None
        self.page.emulate_media(media="print")
        self.page.set_viewport_size(PAPER)
        self.page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        try:
            yield
        finally:
            self.page.evaluate("() => dispatchEvent(new Event('afterprint'))")
            self.page.emulate_media(media="screen")
            self.page.set_viewport_size(window)

    def print(self, unneeded: str = UNNEEDED_ON_PAPER) -> list[str]:
        """What paper loses: what is cut off, too faint without backgrounds, or shown on the screen only.

        Closed details count as shown: a reader can open them on the screen and cannot on paper.
        """
        self.measure("noteShown")
        with self.on_paper():
            faults = [self.measure("overflow", True), self.measure("contrast", CONTRAST, True)]
            return sum(faults, self.measure("lost", unneeded))

    def screenshot(self, path: Path) -> Path:
        """The whole page, not only what the window shows of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path, full_page=True, animations="disabled")
        return path


@contextmanager
def opened(
    browser: Browser, path: Path, *, width: int = 1400, height: int = 900, scheme: Scheme = "light"
) -> Iterator[View]:
    """The page in a window of its own, where nothing but files can be had."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce", offline=True
    )
    try:
        context.add_init_script(MEASURE)
        context.route("**/*", files_only)
        view = View(context.new_page(), path)
        view.open(path)
        yield view
    finally:
        context.close()


def files_only(route: Route) -> None:
    if route.request.url.startswith("file:"):
        route.continue_()
    else:
        route.abort()


#: `opened` with the browser filled in: `with open_page(path, width=380, scheme="dark") as view:`.
Open = Callable[..., AbstractContextManager[View]]
