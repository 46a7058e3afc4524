"""The evaluation of a trained model: rows of evaluation.csv, with baselines computed once per bank."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from icl_curriculum.config.experiment import Experiment, Run
from icl_curriculum.core.files import locked, write_atomically
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.provenance import package_version
from icl_curriculum.evaluation import (
    Bank,
    BaselineFailure,
    ErrorRow,
    NamedLearner,
    Working,
    content_hash,
    evaluation_rows,
    oracle_entry,
    score,
)
from icl_curriculum.models.base import Model
from icl_curriculum.results.columns import EvaluationRow, TimingRow
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.shifts import why_undefined
from icl_curriculum.training import Trainer

#: Multiples of it lie far apart within a turn.
_GOLDEN = (math.sqrt(5) - 1) / 2


class Advanced(Protocol):
    """Told after every bank, and within one that takes long, with the ``share`` of it that is done and a ``detail``.

    ``rate``: banks a second.
    """

    def __call__(self, done: int, total: int, rate: float, detail: str = "", share: float = 0.0) -> None: ...


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, and what it has seen: cells with a positive share in training, and points of a prompt.

    ``plugins``: hashes of plugins that the run itself did not know.
    """

    run: Run
    model: Model
    step: int
    offered: frozenset[tuple[str, str]]
    points: int
    plugins: tuple[str, ...] = ()

    def knows(self, bank: Bank) -> bool:
        """Whether the bank is one of its own training distributions, at lengths that it was trained on."""
        return bank.shift_id == "none" and (bank.function_class, bank.input_distribution) in self.offered


@dataclass(frozen=True)
class Evaluated:
    """By the name of every bank, its content hash and what baselines failed on."""

    hashes: dict[str, str]
    failures: dict[str, list[BaselineFailure]]


def evaluate(trainer: Trainer, directory: RunDirectory, advanced: Advanced) -> Evaluated:
    """Write evaluation.csv of a run."""
    trained = TrainedModel(trainer.run, trainer.model, trainer.step, frozenset(trainer.offered), trainer.trained_points)
    banks = list(evaluation_banks(trainer.run.experiment))
    began = time.monotonic()
    # Runs that evaluate at the same time start at different banks, so that none waits for another's baselines.
    first = round(_GOLDEN * trainer.run.seed * len(banks)) % len(banks)
    turned = banks[first:] + banks[:first]
    found = list(score_banks(trained, turned, directory.path.parent / ".cache", advanced))
    rows: list[EvaluationRow] = []
    hashes: dict[str, str] = {}
    failures: dict[str, list[BaselineFailure]] = {}
    for scored in found[len(banks) - first :] + found[: len(banks) - first]:
        rows += scored.rows
        hashes[scored.name] = scored.content
        failures[scored.name] = scored.failures
    directory.write_table("evaluation", rows)
    seconds = time.monotonic() - began
    prompts = sum(bank.n_prompts for bank in banks)
    directory.append("timing", [TimingRow(trainer.step, "evaluation", seconds, prompts_per_second=prompts / seconds)])
    return Evaluated(hashes, failures)


@dataclass(frozen=True)
class Scored:
    """A bank with its content hash, its rows of evaluation.csv without a run's own columns, and what failed."""

    bank: Bank
    content: str
    rows: list[EvaluationRow]
    failures: list[BaselineFailure]

    @property
    def name(self) -> str:
        """What a manifest calls the bank."""
        return "/".join(self.bank.key)


def score_banks(trained: TrainedModel, banks: Sequence[Bank], cache: Path, advanced: Advanced) -> Iterator[Scored]:
    """Each bank, answered by the model, the baselines that its experiment chooses for the class, and the oracle."""
    experiment = trained.run.experiment
    model = NamedLearner("model", "model", trained.model, experiment.model)
    began = time.monotonic()
    for done, bank in enumerate(banks):

        def working(learner: str, share: float, done: int = done) -> None:
            rate = (done + share) / (time.monotonic() - began)
            advanced(done, len(banks), rate, f"{learner} {share:.0%}")

        prompts = bank.draw()
        found = score([model], bank, prompts, experiment.evaluation.confidence)
        classical = baseline_rows(trained.run, bank, prompts, cache, trained.plugins, working)
        found += classical.rows
        rows = evaluation_rows(
            found, bank, step=trained.step, trained_points=trained.points if trained.knows(bank) else 0
        )
        yield Scored(bank, content_hash(prompts), rows, classical.failures)
        advanced(done + 1, len(banks), (done + 1) / (time.monotonic() - began))


@dataclass(frozen=True)
class Classical:
    """What learners without training answered to a bank."""

    rows: list[ErrorRow]
    failures: list[BaselineFailure]


def baseline_rows(
    run: Run,
    bank: Bank,
    prompts: Prompts,
    cache: Path,
    plugins: tuple[str, ...] = (),
    working: Working = lambda learner, share: None,
) -> Classical:
    """The baselines and the oracle on a bank: computed by the first run that asks, read by the others.

    ``plugins``: hashes of plugins beside the run's own.
    """
    function_class = bank.drawn_task.function_class
    chosen = run.experiment.baselines_for(function_class)
    entries = [NamedLearner(baseline.id, "baseline", baseline, baseline) for baseline in chosen] + oracle_entry(bank)
    confidence, costly = run.experiment.evaluation.confidence, run.experiment.evaluation.costly
    specs = [[baseline.id, baseline.spec()] for baseline in chosen] + [function_class.spec()]
    # Threads and torch's version decide the last bits.
    made_by = [package_version(), torch.__version__, run.experiment.threads, [*run.plugin_hashes, *plugins]]
    asked = [content_hash(prompts), bank.key, specs, confidence, costly.model_dump(), made_by]
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    path = cache / f"{key}.json"
    with locked(path.with_suffix(".lock"), waiting=lambda holder: None):
        # A cache that is damaged is no cache.
        with contextlib.suppress(OSError, ValueError, TypeError):
            known = json.loads(path.read_text(encoding="utf-8"))
            failures = [BaselineFailure(learner, tuple(ks), *others) for learner, ks, *others in known["failures"]]
            return Classical([ErrorRow(*values) for values in known["rows"]], failures)
        found = Classical([], [])
        found.rows.extend(
            score(entries, bank, prompts, confidence, costly=costly, working=working, failed=found.failures.append)
        )
        plain = {key: [dataclasses.astuple(item) for item in getattr(found, key)] for key in ("rows", "failures")}
        write_atomically(path, json.dumps(plain))
    return found


def evaluation_banks(experiment: Experiment) -> Iterator[Bank]:
    """Every cell of the experiment as it is, then under every shift that is defined for it, each once."""
    config = experiment.evaluation
    seen: set[tuple[str, str, str]] = set()
    for shift in (None, *config.shifts):
        for task in experiment.tasks().values():
            if shift is not None and why_undefined(shift, task) is not None:
                continue
            bank = Bank(task, shift, config.n_prompts, experiment.points, config.bank_seed)
            if bank.key not in seen:
                seen.add(bank.key)
                yield bank


def undefined_cells(experiment: Experiment) -> list[str]:
    """``parity under random_quadrants: <reason>``: the shifts of the experiment that a class is not evaluated under."""
    reasons = {
        f"{task.function_class.id} under {shift.id}: {reason}": None
        for shift in experiment.evaluation.shifts
        for task in experiment.tasks().values()
        if (reason := why_undefined(shift, task)) is not None
    }
    return list(reasons)
