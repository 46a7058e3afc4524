"""One run from start to end: train, evaluate, write."""

from __future__ import annotations

import contextlib
import datetime
import pickle
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from threadpoolctl import threadpool_limits

from icl_curriculum.experiment import NOT_HASHED, Run
from icl_curriculum.experiment_files import load_run, read_toml
from icl_curriculum.final_evaluation import evaluate
from icl_curriculum.models.base import Model
from icl_curriculum.provenance import provenance
from icl_curriculum.recording import Interval, Recorder
from icl_curriculum.registry import UserError
from icl_curriculum.results import RunDirectory, atomic_path
from icl_curriculum.training import Diverged, Trainer


@dataclass(frozen=True)
class Progress:
    """How far a run is; ``loss`` is the latest normalized training loss, ``rate`` units per second."""

    run: str
    phase: str
    done: int
    total: int
    loss: float | None = None
    rate: float | None = None


Report = Callable[[Progress], None]


class RunFailed(Exception):
    """A run that started and could not finish; what it wrote is kept."""


def _silent(progress: Progress) -> None:
    pass


def directory_of(run: Run, results: Path) -> RunDirectory:
    experiment = run.experiment.name
    return RunDirectory(results / experiment / run.name, experiment=experiment, variant=run.variant, seed=run.seed)


def is_finished(run: Run, results: Path) -> bool:
    """Whether the run's directory holds this very run, finished. UserError if it holds another config."""
    directory = directory_of(run, results)
    manifest = directory.read_manifest()
    if manifest is None:
        return False
    if manifest["config_hash"] != run.hash():
        changed = _changed_keys(run, directory)
        raise UserError(
            f"{directory.path} holds a run of another config; changed: {', '.join(changed) or 'plugin contents'}. "
            f"Use --fresh to move it aside and start anew, or --results DIR to keep both"
        )
    return bool(manifest["status"] == "finished")


def move_aside(run: Run, results: Path) -> Path | None:
    """Move the run's directory to ``aside/`` unless it is this very run, finished and intact; returns where it went."""
    directory = directory_of(run, results)
    if not directory.path.exists():
        return None
    with contextlib.suppress(UserError):
        if is_finished(run, results) and directory.is_intact():
            return None
    with directory.locked():
        for number in range(1, 10_000):
            target = directory.path.parent / "aside" / f"{run.name}-{number}"
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                directory.path.rename(target)
                return target
    raise UserError(f"{directory.path.parent / 'aside'} is full; remove what is no longer needed")


def execute(run: Run, results: Path, *, device: str = "cpu", report: Report = _silent) -> None:
    """Train and evaluate a run in ``results/<experiment>/<variant>-seed<seed>``, resuming what is there.

    Raises UserError if the directory holds another config or is in use, RunFailed if training diverges.
    """
    directory = directory_of(run, results)
    with directory.locked():
        if is_finished(run, results):
            return
        threads = torch.get_num_threads()
        torch.set_num_threads(run.experiment.threads)
        try:
            # torch minds its own setting; this one is for the libraries behind numpy.
            with threadpool_limits(limits=run.experiment.threads):
                _Execution(run, directory, device, report).finish()
        finally:
            torch.set_num_threads(threads)


class _Execution:
    """The state of one run while it executes."""

    def __init__(self, run: Run, directory: RunDirectory, device: str, report: Report) -> None:
        self.run, self.directory, self.device, self.report = run, directory, device, report
        self.trainer = Trainer(run, device)
        self.recorder = Recorder(self.trainer, directory)
        self.started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.seconds_before = 0.0
        self.clock = time.monotonic()

    @property
    def state_file(self) -> Path:
        return self.directory.path / "state.pt"

    def finish(self) -> None:
        self._begin()
        self._manifest("running")
        try:
            self._train()
        except Diverged as error:
            self._manifest("diverged", error=str(error))
            raise RunFailed(f"{self.run.name}: {error}; what was written is in {self.directory.path}") from None
        banks = evaluate(self.trainer, self.directory, self._evaluated)
        with atomic_path(self.directory.path / "model.safetensors") as path:
            safetensors.torch.save_file(self.trainer.model.state_dict(), path)
        self._manifest("finished", banks=banks, tables=self.directory.table_hashes())

    def _begin(self) -> None:
        if self.state_file.is_file():
            self._resume()
            return
        self.directory.start_tables()
        self.directory.write_config(self.run.config())
        for plugin in self.run.experiment.plugins:
            (self.directory.path / "plugins").mkdir(exist_ok=True)
            shutil.copy(plugin, self.directory.path / "plugins" / Path(plugin).name)
        self.recorder.evaluate()

    def _resume(self) -> None:
        try:
            state = torch.load(self.state_file, map_location=self.device, weights_only=True)
            self.trainer.load_state_dict(state["trainer"])
            self.directory.cut_tables(state["tables"])
            self.recorder.pending = Interval.from_plain(state["pending"])
            self.started, self.seconds_before = state["started"], state["seconds"]
        except UserError:
            raise
        except (
            RuntimeError, LookupError, ValueError, EOFError, TypeError, AttributeError, OSError, pickle.UnpicklingError,
        ) as error:  # fmt: skip
            raise UserError(
                f"{self.state_file} is damaged or of another program ({type(error).__name__}); "
                f"restore it, or start the run afresh with --fresh"
            ) from None

    def _train(self) -> None:
        config = self.trainer.config
        while self.trainer.step < config.steps:
            self.recorder.pending.add(self.trainer.update())
            step = self.trainer.step
            last = step == config.steps
            if step % config.log_every == 0 or last:
                loss, rate = self.recorder.log()
                self.report(Progress(self.run.name, "training", step, config.steps, loss, rate))
            if step % config.learning_every == 0 or last:
                self.recorder.evaluate()
            if step % config.checkpoint_every == 0 or last:
                self._checkpoint()

    def _evaluated(self, done: int, total: int, rate: float) -> None:
        self.report(Progress(self.run.name, "evaluation", done, total, None, rate))

    def _checkpoint(self) -> None:
        state = {
            "trainer": self.trainer.state_dict(),
            "tables": self.directory.table_lengths(),
            "pending": self.recorder.pending.to_plain(),
            "started": self.started,
            "seconds": self._seconds(),
        }
        with atomic_path(self.state_file) as path:
            torch.save(state, path)

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.clock

    def _manifest(self, status: str, **more: Any) -> None:
        self.directory.write_manifest(
            {
                "status": status,
                "experiment": self.run.experiment.name,
                "run": self.run.name,
                "variant": self.run.variant,
                "seed": self.run.seed,
                "config_hash": self.run.hash(),
                "plugins": list(self.run.plugin_hashes),
                "device": self.device,
                "threads": self.run.experiment.threads,
                **provenance(),
                "started": self.started,
                "wall_seconds": round(self._seconds(), 3),
                **more,
            }
        )


def load_model(run_dir: str | Path) -> Model:
    """The trained model of a finished run, ready to `predict`. Executes no code from the weights file.

    Raises UserError if the directory holds no finished run.
    """
    run_dir = Path(run_dir)
    weights = run_dir / "model.safetensors"
    if not weights.is_file():
        raise UserError(f"{run_dir} holds no model.safetensors: expected the directory of a finished run")
    run = load_run(run_dir / "config.toml")
    experiment = run.experiment
    model = experiment.model.build(
        dims=experiment.dims, points=experiment.points, generator=torch.Generator().manual_seed(0)
    )
    model.load_state_dict(safetensors.torch.load_file(weights))
    return model.eval()


def _changed_keys(run: Run, directory: RunDirectory) -> list[str]:
    file = directory.path / "config.toml"
    if not file.is_file():
        return []
    old, new = _flat(read_toml(file)), _flat(run.config())
    changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return [key for key in changed if key.split(".")[0] not in NOT_HASHED]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, list | tuple):
        items = [(str(key), inner) for key, inner in enumerate(value)]
    else:
        return {prefix: value}
    return {
        key: leaf for name, inner in items for key, leaf in _flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }
