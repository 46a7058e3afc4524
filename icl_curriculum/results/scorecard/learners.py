"""Learners that were scored on the benchmark, whoever scored them: what they got, and with what it was computed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from icl_curriculum.results.scorecard.frozen import Benchmark
from icl_curriculum.results.scorecard.skill import SkillScore

#: Whether prompts with another hash, in the bank of a name, are those of the benchmark up to the last bits of numbers.
SamePrompts = Callable[[str, str], bool]


def no_other(bank: str, content: str) -> bool:
    """The `SamePrompts` for which no other hash will do."""
    return False


@dataclass(frozen=True)
class Computed:
    """What scores were computed with."""

    package_version: str
    torch_version: str
    git_commit: str | None

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Computed:
        """As the manifest of a run, or of scores, says."""
        commit = manifest.get("git_commit")
        return cls(
            str(manifest.get("package_version", "")), str(manifest.get("torch_version", "")),
            None if commit is None else str(commit) + "-dirty" * bool(manifest.get("git_dirty")),
        )  # fmt: skip


@dataclass(frozen=True)
class ScoredLearner:
    """A learner with its scores: by seed, and by axis. A learner without training has one seed, None.

    ``remarks``: what is to be known; ``broken``: the rules that it did not keep to, which cost it its rank. ``prompts``
    and ``operations``: of one training.
    """

    experiment: str
    name: str
    kind: str
    scores: Mapping[int | None, Mapping[str, SkillScore]]
    banks: str
    computed: Computed
    command: str
    prompts: int | None = None
    operations: int | None = None
    config_hashes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    #: The kind of device that the runs of each seed were made on.
    devices: Mapping[int, str] = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        """The training seeds, in order."""
        return sorted(seed for seed in self.scores if seed is not None)


@dataclass(frozen=True)
class FoundLearners:
    """The learners of a folder, and those that were refused, by name, each with the reason."""

    scored: list[ScoredLearner] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def why_other_prompts(frozen: Benchmark, manifest: Mapping[str, Any], same: SamePrompts) -> str | None:
    """Why the banks of a run, or of scores, are not those of the benchmark; None where they are.

    ``manifest``: with its ``banks``, the content hash of each by name, and its ``bank_version``.
    """
    asked = manifest.get("banks") or {}
    lacking = [name for name in frozen.banks if name not in asked]
    if lacking:
        return (
            f"it was asked {len(frozen.banks) - len(lacking)} of the {len(frozen.banks)} banks of {frozen.name}, and "
            f"not {lacking[0]}"
        )
    if manifest.get("bank_version") != frozen.bank_version:
        return (
            f"its banks are of version {manifest.get('bank_version')}; {frozen.name} has those of version "
            f"{frozen.bank_version}"
        )
    others = [name for name, bank in frozen.banks.items() if asked[name] != bank.hash and not same(name, asked[name])]
    if others:
        return (
            f"{len(others)} of its banks hold other prompts than those of {frozen.name}: {others[0]} has the hash "
            f"{asked[others[0]]}, expected {frozen.banks[others[0]].hash}"
        )
    return None


def hash_of_banks(frozen: Benchmark, manifest: Mapping[str, Any]) -> str:
    """One hash over those of the benchmark's banks."""
    asked = manifest["banks"]
    text = "\n".join(f"{name} {asked[name]}" for name in sorted(frozen.banks))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
