"""What ``icl clean`` prints: what can be removed at which place and how much it takes, and what was left alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from icl_curriculum.cli import output
from icl_curriculum.cli.progress import passing_bar
from icl_curriculum.core.progress import tell_nobody
from icl_curriculum.results.cleaning import KINDS, USUAL, Findings, find_removable, remove_all


def show(places: Sequence[Path], kinds: Sequence[str] | None, *, remove: bool) -> None:
    """Find what can be removed, print it, and remove it if asked."""
    with passing_bar("looking") as tell:
        found = find_removable(places, kinds or tuple(KINDS), tell or tell_nobody)
    # Before it is removed.
    weighed = [(item, item.count, item.size) for item in found.removable]
    if found.removable:
        output.show(_table(found))
    freed = 0
    if remove:
        with passing_bar("removing") as tell:
            freed = remove_all(found, kinds or USUAL, tell or tell_nobody)
        found.left_alone |= {
            item.place: KINDS[item.kind] for item in found.removable if not kinds and item.kind not in USUAL
        }
    for place, reason in found.left_alone.items():
        output.note(f"{place}: {reason}", label="left alone: ")
    if not found.removable:
        output.show("nothing to remove")
    elif remove:
        output.show(f"removed: {amount(freed)}")
    else:
        output.show(f"{amount(found.size)} in all; nothing was removed: --remove does, --kind KIND chooses")
        for kind in dict.fromkeys(item.kind for item in found.removable):
            output.show(f"  {kind}: {KINDS[kind]}")
    output.put(
        removable=[
            {"kind": item.kind, "files": count, "bytes": size, "place": item.place} for item, count, size in weighed
        ],
        left_alone=[{"place": place, "reason": reason} for place, reason in found.left_alone.items()],
        removed=remove,
        freed_bytes=freed,
    )


def _table(found: Findings) -> Table:
    table = Table(box=None, header_style="", pad_edge=False)
    table.add_column("kind")
    table.add_column("files", justify="right")
    table.add_column("takes", justify="right")
    table.add_column("where")
    for item in found.removable:
        table.add_row(item.kind, f"{item.count:,}", amount(item.size), str(item.place))
    return table


def amount(size: int) -> str:
    """Words a number of bytes.

    >>> amount(512), amount(38_200_000)
    ('512 bytes', '38.2 MB')
    """
    for power, unit in ((9, "GB"), (6, "MB"), (3, "kB")):
        if size >= 10**power:
            return f"{size / 10**power:.1f} {unit}"
    return f"{size} bytes"
