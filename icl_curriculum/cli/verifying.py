"""What ``icl verify`` prints: a table for each section, progress on a terminal, and a closing count.

A row is ``verdict, name, expected, measured, difference, allowed, source; note``, or a sentence where no numbers
are compared. Columns of numbers have fixed widths, as rows are printed while others are still being computed.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from icl_curriculum.cli import output
from icl_curriculum.cli.progress import passing_bar
from icl_curriculum.verify.checks import NOT_RUN, Check, CheckOutcome, VerifySection
from icl_curriculum.verify.running import outcomes

_HEADINGS = ("expected", "measured", "difference", "allowed")
_WIDTHS = (9, 9, 10, 8)


def show(sections: Mapping[str, VerifySection], *, debug: bool = False) -> bool:
    """Verify sections and print what was found; True if no check fails. ``debug``: print tracebacks, too."""
    found: list[tuple[str, Check, CheckOutcome]] = []
    for name, section in sections.items():
        found += [(name, check, outcome) for check, outcome in _show_section(name, section, debug=debug)]
    failed = [f"{name}: {check}" for name, check, outcome in found if outcome.holds is False]
    output.show(_closing(outcome for _, _, outcome in found) + (":" if failed else ""))
    for line in failed:
        output.show(f"  {line}", style="red")
    output.put(checks=[_as_object(name, check, outcome) for name, check, outcome in found])
    return not failed


def _show_section(name: str, section: VerifySection, *, debug: bool) -> list[tuple[Check, CheckOutcome]]:
    began = time.monotonic()
    checks = list(section.checks())
    width = max((len(check.name) for check in checks), default=0)
    output.show(f"{name}: {section.title}")
    found: list[tuple[Check, CheckOutcome]] = []

    def detail() -> str:
        following = checks[len(found)].case if len(found) < len(checks) else ""
        return f"{len(found)}/{len(checks)} {following}"

    with passing_bar(detail()) as bar:
        headed = False
        for case in outcomes(checks):
            if not headed and any(_is_counted(outcome) for _, outcome in case):
                output.show(_row("", "", width, f"{_cells(_HEADINGS)}  source; note"))
                headed = True
            output.show(f"  {case[0][0].case}")
            for check, outcome in case:
                style = "red" if outcome.holds is False else None
                output.show(described(check, outcome, width), style=style)
                if debug and outcome.exception:
                    output.messages.print("".join(traceback.format_exception(outcome.exception)), soft_wrap=True)
            found += case
            if bar is not None:
                bar(len(found) / len(checks), detail())
    output.show(f"  {len(checks)} rows in {time.monotonic() - began:.1f} s")
    return found


def _as_object(section: str, check: Check, outcome: CheckOutcome) -> dict[str, object]:
    """A check as --json has it."""
    keys = ("holds", "expected", "source", "found", "error", "tolerance", "note", "interval", "expected_interval")
    return {
        "section": section, "case": check.case, "name": check.name, **{key: getattr(outcome, key) for key in keys},
        "model": None if outcome.model is None else asdict(outcome.model),
    }  # fmt: skip


def _closing(found: Iterable[CheckOutcome]) -> str:
    """The closing line, e.g. ``500 checks, 2 failed; 3 published results beside ours, 29 not run``.

    Rows of models of another size than the published one are counted apart.
    """
    found = list(found)
    judged = [outcome for outcome in found if outcome.holds is not None]
    failed = sum(not outcome.holds for outcome in judged)
    parts = [f"{len(judged)} checks, {f'{failed} failed' if failed else 'all hold'}"] if judged else []
    apart = sum(_is_of_another_size(outcome) for outcome in found)
    beside = [outcome for outcome in found if outcome.holds is None and not _is_of_another_size(outcome)]
    if beside:
        compared = sum(isinstance(outcome.found, float) for outcome in beside)
        not_run = sum(outcome.found == NOT_RUN for outcome in beside)
        parts.append(f"{compared} published results beside ours, {not_run} not run")
    if apart:
        parts.append(f"{apart} beside models of another size")
    return "; ".join(parts) or "nothing to check"


def _is_of_another_size(outcome: CheckOutcome) -> bool:
    return outcome.model is not None and not outcome.model.published_size


def _is_counted(outcome: CheckOutcome) -> bool:
    return not isinstance(outcome.expected, str)


def described(check: Check, outcome: CheckOutcome, width: int) -> str:
    """A row of the table, its name padded to ``width``."""
    verdict = {True: "ok", False: "failed", None: "-"}[outcome.holds]
    if isinstance(outcome.expected, str):
        return _row(verdict, check.name, width, _sentence(outcome))
    words = "; ".join(part for part in (outcome.source, outcome.note) if part)
    return _row(verdict, check.name, width, f"{_cells(_numbers(outcome))}  {words}")


def _row(verdict: str, name: str, width: int, rest: str) -> str:
    return f"    {verdict:6} {name:{width}} {rest}".rstrip()


def _cells(texts: Iterable[str]) -> str:
    return " ".join(f"{text:>{width}}" for text, width in zip(texts, _WIDTHS, strict=True))


def _numbers(outcome: CheckOutcome) -> list[str]:
    """The texts of the columns of numbers; empty where there is no number."""
    expected, found = outcome.expected, outcome.found
    cells = [_shown(expected), _shown(found), "", ""]
    if isinstance(expected, float) and isinstance(found, float) and math.isfinite(found - expected):
        cells[2] = f"{found - expected:+.2g}" if found != expected else "0"
    if outcome.tolerance is not None:
        cells[3] = f"{outcome.tolerance:.2g}"
    return cells


def _shown(value: float | str) -> str:
    if isinstance(value, str):
        return value
    text = "infinite" if math.isinf(value) else f"{value:.5g}"
    return text if len(text) <= _WIDTHS[0] else f"{value:.3g}"


def _sentence(outcome: CheckOutcome) -> str:
    """An outcome without numbers: ``same bytes``, or for a failure ``x, expected y (source); note``."""
    note = f"; {outcome.note}" if outcome.note else ""
    if outcome.holds is not False:
        return f"{outcome.found}{note}"
    source = f" ({outcome.source})" if outcome.source else ""
    return f"{outcome.found}, expected {outcome.expected}{source}{note}"
