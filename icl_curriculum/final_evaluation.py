"""The evaluation of a trained model: evaluation.csv, with baselines computed once per bank."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from icl_curriculum.evaluation import Bank, Entry, Row, content_hash, evaluation_banks, oracle_entry, score
from icl_curriculum.experiment import Run
from icl_curriculum.files import locked, write_atomically
from icl_curriculum.prompts import Prompts
from icl_curriculum.provenance import package_version
from icl_curriculum.results import RunDirectory
from icl_curriculum.training import Trainer


def evaluate(trainer: Trainer, directory: RunDirectory, advanced: Callable[[int, int, float], None]) -> dict[str, str]:
    """Write evaluation.csv of a run; returns the content hash of every bank.

    ``advanced(done, total, banks_per_second)`` is called after every bank.
    """
    experiment = trainer.run.experiment
    banks = list(evaluation_banks(experiment))
    confidence = experiment.evaluation.confidence
    model = Entry("model", "model", trainer.model, experiment.model)
    hashes: dict[str, str] = {}
    rows: list[list[Any]] = []
    began = time.monotonic()
    for done, bank in enumerate(banks, start=1):
        prompts = bank.draw()
        hashes["/".join(bank.key)] = content_hash(prompts)
        scored = score([model], bank, prompts, confidence)
        scored += baseline_rows(trainer.run, bank, prompts, directory.path.parent / ".cache")
        offered = bank.shift_id == "none" and (bank.function_class, bank.input_distribution) in trainer.offered
        rows += [
            [trainer.step, row.learner, row.learner_kind, *bank.key, offered and row.n_context < trainer.trained_points,
             row.n_context, row.metric, row.value, row.ci_low, row.ci_high, row.n_prompts]
            for row in scored
        ]  # fmt: skip
        advanced(done, len(banks), done / (time.monotonic() - began))
    directory.write_table("evaluation", rows)
    seconds = time.monotonic() - began
    directory.append(
        "timing",
        [[trainer.step, "evaluation", seconds, len(banks) * experiment.evaluation.n_prompts / seconds]],
    )
    return hashes


def baseline_rows(run: Run, bank: Bank, prompts: Prompts, cache: Path) -> list[Row]:
    """Rows of the baselines and the oracle on a bank: computed by the first run that asks, read by the others."""
    chosen = run.experiment.baselines_for(bank.drawn_task.function_class)
    entries = [Entry(baseline.id, "baseline", baseline, baseline) for baseline in chosen] + oracle_entry(bank)
    confidence = run.experiment.evaluation.confidence
    specs = [[baseline.id, baseline.spec()] for baseline in chosen] + [bank.drawn_task.function_class.spec()]
    # Threads and torch's version decide the last bits.
    made_by = [package_version(), torch.__version__, run.experiment.threads, run.plugin_hashes]
    asked = [content_hash(prompts), bank.key, specs, confidence, made_by]
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    path = cache / f"{key}.json"
    with locked(path.with_suffix(".lock"), waiting=lambda holder: None):
        # A cache that is damaged is no cache.
        with contextlib.suppress(OSError, ValueError, TypeError):
            return [Row(*values) for values in json.loads(path.read_text(encoding="utf-8"))]
        rows = score(entries, bank, prompts, confidence)
        write_atomically(path, json.dumps([dataclasses.astuple(row) for row in rows]))
    return rows
