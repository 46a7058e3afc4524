"""Prompts that a baseline or an adapting model could not answer: as records, in a manifest, and as a sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from icl_curriculum.results.adaptation import ADAPTED


@dataclass(frozen=True)
class BaselineFailure:
    """Prompts that a baseline could not answer at some lengths: left out of its errors, and counted here.

    Or a model whose adaptation diverged: it has no error then, which counts as infinite.
    """

    learner: str
    n_context: tuple[int, ...]
    failed: int
    asked: int
    reason: str

    def __str__(self) -> str:
        lengths = ", ".join(map(str, self.n_context))
        return f"{self.learner} failed on {self.failed} of {self.asked} prompts at k = {lengths}: {self.reason}"


#: What baselines failed on, by the bank as a manifest names it.
Failures = Mapping[str, Sequence[BaselineFailure]]

#: Manifests of version 0.2.0 hold the sentence instead of the record.
_SENTENCE = re.compile(r"(.+?) failed on (\d+) of (\d+) prompts at k = ([\d, ]+): (.*)", re.DOTALL)


def failures_in(manifest: Mapping[str, Any]) -> dict[str, list[BaselineFailure]]:
    """What a manifest says that baselines failed on. What cannot be read, in one that was edited, is passed over."""
    found: dict[str, list[BaselineFailure]] = {}
    recorded = manifest.get("baseline_failures")
    for bank, items in recorded.items() if isinstance(recorded, dict) else ():
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict):
                with contextlib.suppress(KeyError, TypeError, ValueError):
                    failure = _from_record(item)
                    found.setdefault(bank, []).append(failure)
            elif sentence := _SENTENCE.fullmatch(str(item)):
                learner, failed, asked, lengths, reason = sentence.groups()
                ks = tuple(map(int, lengths.split(", ")))
                found.setdefault(bank, []).append(BaselineFailure(learner, ks, int(failed), int(asked), reason))
    return found


def _from_record(item: Mapping[str, Any]) -> BaselineFailure:
    """A record as a failure. KeyError, TypeError or ValueError for one that no version wrote."""
    lengths = tuple(int(k) for k in item["n_context"])
    return BaselineFailure(str(item["learner"]), lengths, int(item["failed"]), int(item["asked"]), str(item["reason"]))


def for_manifest(failures: Failures) -> dict[str, list[dict[str, Any]]]:
    """The failures as a manifest's ``baseline_failures``: a list of records for every bank that has any."""
    return {bank: [dataclasses.asdict(item) for item in items] for bank, items in failures.items() if items}


def failure_sentences(failures: Failures) -> list[str]:
    """The failures as sentences: prompts that are left out of a baseline's errors, and adaptations without an error."""
    return [
        f"{'no error' if item.learner.startswith(ADAPTED) else 'left out'}: {bank}: {item}"
        for bank, items in failures.items()
        for item in items
    ]


def together(several: Iterable[Failures]) -> dict[str, list[BaselineFailure]]:
    """The failures of several runs, each once: all runs of an experiment ask the same baselines."""
    found: dict[str, dict[BaselineFailure, None]] = {}
    for failures in several:
        for bank, items in failures.items():
            found.setdefault(bank, {}).update(dict.fromkeys(items))
    return {bank: list(items) for bank, items in found.items()}
