"""What the folder of a run says of the run: its config, its plugins and its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.machine import card_of
from icl_curriculum.core.named_files import FOLDER
from icl_curriculum.core.plugin_files import COPIES
from icl_curriculum.core.provenance import provenance
from icl_curriculum.evaluation import BANK_VERSION
from icl_curriculum.evaluation.failures import for_manifest
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.results.doubts import WHOLE_RUN, Doubt, doubts_for_manifest
from icl_curriculum.runs.evaluation import Evaluated


def write_config(directory: RunDirectory, run: Run) -> None:
    """Write what `load_run` reads: config.toml, and copies of the run's plugins and of the files that it names."""
    directory.write_config(run.config())
    for name, content in copies(run).items():
        directory.write(name, content)


def copies(run: Run) -> dict[str, bytes]:
    """The copies of a run's plugins and of the files that its config names, by their paths in its folder."""
    return {**{f"{COPIES}/{name}": content for name, content in run.plugin_copies().items()}, **run.files()}


def copies_in(run_dir: Path) -> list[Path]:
    """The files in a run's folder that were copied into it; no temporary ones."""
    files = sorted(file for folder in (COPIES, FOLDER) for file in (run_dir / folder).rglob("*"))
    return [file for file in files if file.is_file() and not file.name.startswith(".")]


def described(
    run: Run, status: str, *, device: str, started: str, seconds: float, processes: int = 1
) -> dict[str, Any]:
    """What the manifest of every run says. ``started``: when, as text; ``seconds``: how long the run has taken.

    ``processes``: how many have trained it together, the last time.
    """
    card = card_of(device)
    return {
        "status": status,
        "experiment": run.experiment.name,
        "run": run.name,
        "variant": run.variant,
        "seed": run.seed,
        **hashes_of(run),
        **({"swept": {"variant": run.swept_variant, "values": dict(run.swept)}} if run.swept else {}),
        "device": device,
        # The bytes of a run on CUDA are those of a model of card, and of CUDA's libraries.
        **({} if card is None else {"card": card, "cuda_version": torch.version.cuda}),
        "threads": run.experiment.threads,
        "shards": run.experiment.training.shards,
        "processes": processes,
        **provenance(),
        "started": started,
        "wall_seconds": round(seconds, 3),
    }


def hashes_of(run: Run) -> dict[str, Any]:
    """The hashes of what decides a run, as a manifest says them: of all, of its training, and of its evaluation."""
    return {
        "config_hash": run.hash(),
        "training_hash": run.training_hash(),
        "evaluation_hash": run.evaluation_hash(),
        "plugins": list(run.plugin_hashes),
    }


def what_is_finished(
    directory: RunDirectory, evaluated: Evaluated, weights: str, doubts: Sequence[Doubt] = ()
) -> dict[str, Any]:
    """What the manifest of a finished run says besides. ``weights``: the hash of their file.

    ``doubts``: those that are of the whole run.
    """
    return {
        "bank_version": BANK_VERSION,
        "banks": evaluated.hashes,
        "metrics": evaluated.metrics,
        "baseline_failures": for_manifest(evaluated.failures),
        "warnings": doubts_for_manifest({WHOLE_RUN: doubts, **evaluated.doubts}),
        "tables": directory.table_hashes(),
        "weights": weights,
        **directory.deciding_hashes(),
    }
