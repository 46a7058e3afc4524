"""What ``icl verify`` prints: a line per check, how far it is on a terminal, and a closing count."""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping
from contextlib import ExitStack

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from icl_curriculum.verify.checks import Outcome, Section


def show(sections: Mapping[str, Section], console: Console, *, debug: bool = False) -> bool:
    """Verify sections and print what was found; True if everything holds. ``debug``: with tracebacks."""
    count, failed = 0, []
    for name, section in sections.items():
        console.print(f"{name}: {section.title}", soft_wrap=True)
        checks = list(section.checks())
        width = max((len(check.name) for check in checks), default=0)
        with ExitStack() as stack:
            bar = stack.enter_context(_bar(console)) if console.is_terminal else None
            shown = bar.add_task(name, total=len(checks)) if bar else None
            for check in checks:
                if bar and shown is not None:
                    bar.update(shown, description=check.name)
                outcome = check.outcome()
                status = "ok    " if outcome.holds else "failed"
                console.print(
                    f"  {status}  {check.name:{width}}  {described(outcome)}",
                    style=None if outcome.holds else "red",
                    soft_wrap=True,
                )
                if debug and outcome.exception:
                    console.print("".join(traceback.format_exception(outcome.exception)), soft_wrap=True)
                if bar and shown is not None:
                    bar.advance(shown)
                count += 1
                failed += [] if outcome.holds else [f"{name}: {check.name}"]
    if failed:
        console.print(f"{count} checks, {len(failed)} failed:")
        for line in failed:
            console.print(f"  {line}", style="red", soft_wrap=True)
    else:
        console.print(f"{count} checks, all hold")
    return not failed


def _bar(console: Console) -> Progress:
    """Gone when its section ends."""
    columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    return Progress(*columns, console=console, transient=True)


def described(outcome: Outcome) -> str:
    """``19.9 ± 0.08, expected 20 ± 0.5 (d); note``."""
    expected, found = _shown(outcome.expected, outcome), _shown(outcome.found, outcome)
    if outcome.error:
        found += f" ± {outcome.error:.2g}"
        expected += f" ± {outcome.tolerance:.2g}"
    source = f" ({outcome.source})" if outcome.source else ""
    note = f"; {outcome.note}" if outcome.note else ""
    if isinstance(outcome.expected, str) and outcome.holds:
        return f"{found}{note}"
    return f"{found}, expected {expected}{source}{note}"


def _shown(value: float | str, outcome: Outcome) -> str:
    if isinstance(value, str):
        return value
    if math.isinf(value):
        return "infinite"
    # So many digits that a failure shows.
    return f"{value:.5g}" if outcome.holds else f"{value:.8g}"
