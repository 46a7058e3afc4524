"""A run's checkpoint and its trained weights on disk. Reading either executes no code from the file."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import load_run
from icl_curriculum.core.arguments import as_path, whole_number
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.machine import device_kind
from icl_curriculum.core.options import option
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.settings import own_settings
from icl_curriculum.evaluation import Bank
from icl_curriculum.models.base import Model
from icl_curriculum.results.columns import bytes_hash
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.results.manifests import DamagedFile, check_deciding, check_name, finished_manifest
from icl_curriculum.runs.kept_weights import read_kept, serialized

# What torch and the reading of its values raise for a file that is cut off, altered or another program's.
_DAMAGE = (
    RuntimeError, LookupError, ValueError, EOFError, TypeError, AttributeError, pickle.UnpicklingError,
    zipfile.BadZipFile, struct.error,
)  # fmt: skip


def write_checkpoint(directory: RunDirectory, run: Run, device: str, state: dict[str, Any]) -> None:
    """Write tensors and plain values atomically, marked as this run's and its kind of device's."""
    # By way of memory: torch's own file writer turns a full disk into an error without a reason.
    buffer = io.BytesIO()
    about = {"run": [run.name, run.hash()], "training_hash": run.training_hash(), "device": device_kind(device)}
    torch.save({**about, **state}, buffer)
    directory.write("state.pt", buffer.getvalue())


def read_checkpoint(path: Path, run: Run, device: str | None, *, config_hash: str | None = None) -> dict[str, Any]:
    """What `write_checkpoint` wrote. ValueError for another run's checkpoint, and see `reading_checkpoint`.

    One of the same run is taken where it was trained alike, whatever its evaluation was to be.
    ``config_hash``: of the config that the run was trained with, if that is another than it has now.
    UserError for one that another kind of device wrote: a run that changes it would not repeat. ``device``: None to
    look only how far the run is, on whatever device that was.
    """
    check_archive(path)

    def kept_where_it_was(storage: Any, location: str) -> Any:
        # A training method may keep tensors on the CPU beside an accelerator.
        place = location if location == "cpu" else device or "cpu"
        return torch.serialization.default_restore_location(storage, place)  # type: ignore[no-untyped-call]

    state = torch.load(path, map_location=kept_where_it_was, weights_only=True)
    name, found = state.pop("run")
    trained_alike = state.pop("training_hash", None) == run.training_hash()
    if name != run.name or not (found == (config_hash or run.hash()) or trained_alike):
        raise ValueError(f"it belongs to {name}" + ("" if name != run.name else " of another config"))
    if device is not None and state["device"] != device_kind(device):
        raise UserError(
            f"{path}: the run was begun on {state['device']}, this is {device_kind(device)}, whose results differ; "
            f"give {option('--device', state['device'])}, or start it afresh with {option('--fresh')}"
        )
    return dict(state)


def check_archive(file: Path | io.BytesIO) -> None:
    """ValueError unless a file of torch's is as it was written: torch does not look at the checksums in its format.

    Raises `zipfile.BadZipFile` for what is no such file.
    """
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"wrong checksum of {damaged}")


@contextlib.contextmanager
def reading_checkpoint(path: Path) -> Iterator[None]:
    """Turn what a checkpoint that cannot be used raises into a UserError with the ways out."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read: {error.strerror or error}; mend that, or start the run afresh with "
            f"{option('--fresh')}"
        ) from error
    except _DAMAGE as error:
        reason = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise UserError(
            f"{path} is damaged or foreign ({reason}); restore it, or start the run afresh with {option('--fresh')}"
        ) from error


def write_weights(directory: RunDirectory, model: Model) -> str:
    """Write the weights atomically; the hash of the file, for the manifest."""
    return directory.write("model.safetensors", serialized(model))


@own_settings(training=True)
def load_model(run_dir: str | Path, step: int | None = None) -> Model:
    """The trained model of a finished run, ready for `Model.predict`. Executes no code from the weights file.

    ``step``: as it was after so many updates, where the run kept its weights then (``training.keep_checkpoints``); by
    default, at the end. Raises UserError if the directory holds no finished run or no weights of that step, which it
    names the closest to, and, before anything of it is executed, if config, plugins or weights are not what the run
    wrote.
    """
    run_dir = as_path(run_dir, "run_dir")
    step = None if step is None else whole_number(step, "step")
    weights = run_dir / "model.safetensors"
    manifest = finished_manifest(run_dir)
    check_name(run_dir, manifest)
    check_deciding(run_dir, manifest)
    if not weights.is_file():
        raise DamagedFile(weights, "it is missing")
    run = load_run(run_dir / "config.toml", plugin_hashes=manifest.get("plugins"))
    kept = None if step is None else read_kept(run_dir, step)
    experiment = run.experiment
    model = experiment.build_model(torch.Generator().manual_seed(0))
    try:
        data = weights.read_bytes() if kept is None else kept.data
        # The format has no checksum of its own.
        if kept is None and manifest.get("weights", "") != bytes_hash(data):
            raise DamagedFile(weights, "it is not what the run wrote")
        model.load_state_dict(safetensors.torch.load(data))
    except OSError as error:
        raise UserError(f"{weights}: cannot be read: {error.strerror}") from None
    except safetensors.SafetensorError as error:
        raise UserError(f"{weights} is damaged or no weights file ({error})") from None
    except RuntimeError:
        raise UserError(f"{weights} holds the weights of another model than {run_dir / 'config.toml'} says") from None
    model.loaded_from = str(run_dir) + ("" if step is None else f" at step {step}")
    model.usual_prompts = partial(usual_prompts, run)
    return model.eval()


#: Prompts of each cell that scores and means of attention heads are taken over.
USUAL_PROMPTS = 64
#: Steps at which it is looked up what a run is trained on.
_LOOKED_AT = 200


def usual_prompts(run: Run, points: int | None = None) -> list[Prompts]:
    """Prompts of every cell that a run's training draws: the same at every call, and no other bank's.

    ``points``: the most that a model reads, by default those of the experiment's prompts. Reasoning steps take some of
    these.
    """
    experiment = run.experiment
    tasks = [task for cell, task in experiment.tasks().items() if cell in trained_cells(run)]
    size = experiment.points if points is None else points // experiment.read_points(1)
    seed = experiment.evaluation.bank_seed
    return [Bank(task, None, USUAL_PROMPTS, size, seed, "heads").draw() for task in tasks]


def trained_cells(run: Run) -> set[tuple[str, str]]:
    """The cells to which a run's curriculum gives a share at some step; for an adaptive one, those of its beginning."""
    plan, steps = run.experiment.plan(), run.experiment.training.steps
    state = plan.initial_state()
    found: set[tuple[str, str]] = set()
    for number in range(min(steps, _LOOKED_AT)):
        found |= plan.shares(number * steps // min(steps, _LOOKED_AT), state).offered()
    return found
