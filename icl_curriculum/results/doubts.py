"""What is to be doubted of a run, and what cannot be claimed of it: as records, in a manifest, and as sentences."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: In the place of a bank's name, for what is of the whole run.
WHOLE_RUN = "run"


@dataclass(frozen=True)
class Doubt:
    """Something that cannot be, or cannot be claimed: what it is ``about``, and a sentence with what was found.

    ``about``: ``denominator``, ``shift``, ``oracle``, ``leak``, ``definition``; or of a whole run, ``method``,
    ``weights``, ``names``.
    ``learner``, ``n_context``: whose answers at which lengths, if it is about some.
    """

    about: str
    text: str
    learner: str = ""
    n_context: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.text


#: What there is to doubt, by the bank as a manifest names it.
Doubts = Mapping[str, Sequence[Doubt]]


def doubts_in(manifest: Mapping[str, Any]) -> dict[str, list[Doubt]]:
    """What a manifest says is to be doubted. What cannot be read, in one that was edited, is passed over."""
    found: dict[str, list[Doubt]] = {}
    recorded = manifest.get("warnings")
    for bank, items in recorded.items() if isinstance(recorded, dict) else ():
        for item in items if isinstance(items, list) else ():
            with contextlib.suppress(KeyError, TypeError, ValueError):
                ks = tuple(int(k) for k in item["n_context"])
                doubt = Doubt(str(item["about"]), str(item["text"]), str(item["learner"]), ks)
                found.setdefault(bank, []).append(doubt)
    return found


def doubts_for_manifest(doubts: Doubts) -> dict[str, list[dict[str, Any]]]:
    """The doubts as a manifest's ``warnings``: a list of records for every bank that has any."""
    return {bank: [dataclasses.asdict(item) for item in items] for bank, items in doubts.items() if items}


def worded(by_run: Mapping[str, Doubts]) -> list[str]:
    """The doubts of several runs as sentences, each once: the banks, the doubt, the runs where not all share it."""
    runs: dict[tuple[str, Doubt], list[str]] = {}
    for run, doubts in by_run.items():
        for bank, items in doubts.items():
            for doubt in items:
                runs.setdefault((bank, doubt), []).append(run)
    banks: dict[tuple[Doubt, tuple[str, ...]], list[str]] = {}
    for (bank, doubt), having in runs.items():
        banks.setdefault((doubt, tuple(having)), []).append(bank)
    return [
        f"{_some(where)}: {doubt}" + ("" if len(having) == len(by_run) else f" ({', '.join(having)})")
        for (doubt, having), where in banks.items()
    ]


#: The banks that a sentence names before it counts the others.
_NAMED = 3


def _some(banks: Sequence[str]) -> str:
    more = len(banks) - _NAMED
    return ", ".join(banks[:_NAMED]) + (f" and {more} more" if more > 0 else "")
