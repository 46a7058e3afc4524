"""Weights that a run keeps along training: writing them, which are there, and reading one back, held to its hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from icl_curriculum.config.loading import read_toml
from icl_curriculum.core.errors import UserError
from icl_curriculum.models.base import Model
from icl_curriculum.results.columns import bytes_hash
from icl_curriculum.results.directory import KEPT_WEIGHTS, RunDirectory, kept_weights_file
from icl_curriculum.results.manifests import MANIFEST, DamagedFile, check_deciding, finished_manifest
from icl_curriculum.training import Cell, Trainer

#: The one entry of a weights file's metadata. Of several, the format would write one before the other by chance.
_METADATA = "icl_curriculum"

#: The most steps that a message lists.
_LISTED = 12


def serialized(model: Model, about: Mapping[str, Any] | None = None) -> bytes:
    """A model's weights as a safetensors file; ``about``: plain values that the file says of them."""
    # Copies, since a model may have two names for one weight, and the format refuses memory that is shared.
    weights = {name: value.clone(memory_format=torch.contiguous_format) for name, value in model.state_dict().items()}
    metadata = None if about is None else {_METADATA: json.dumps(about, sort_keys=True)}
    return safetensors.torch.save(weights, metadata)


def keep_weights(directory: RunDirectory, trainer: Trainer) -> str:
    """Write a run's weights as they are now into a file of their own, atomically; its hash, for the manifest.

    The file also says what was trained on so far, so that whoever asks the model knows what is in distribution.
    """
    offered = [list(cell) for cell in sorted(trainer.offered)]
    about = {"step": trainer.step, "offered": offered, "points": trainer.trained_points}
    name = kept_weights_file(directory.path, trainer.step).relative_to(directory.path).as_posix()
    return directory.write(name, serialized(trainer.model, about))


def forget_weights(directory: RunDirectory) -> None:
    """Delete what an earlier attempt kept, for a run that starts from its first step."""
    for path in directory.path.glob(KEPT_WEIGHTS):
        directory.remove(path)


def kept_steps(run_dir: str | Path) -> list[int]:
    """The steps of a finished run whose weights are there, in ascending order; the last step is always among them.

    The weights of the others are kept where the run was trained with ``training.keep_checkpoints``, until ``icl clean``
    removes them. UserError if the directory holds no finished run.
    """
    run_dir = Path(run_dir)
    recorded = _recorded(run_dir)
    there = {step for step in recorded if kept_weights_file(run_dir, step).is_file()}
    return sorted(there | {_last_step(run_dir)})


@dataclass(frozen=True)
class KeptWeights:
    """The weights file of one step: where it lies, its bytes, which are those that the run wrote, and what it says.

    ``offered``: the cells that had had a share in training by then; ``points``: the most points of a prompt.
    """

    path: Path
    data: bytes
    offered: frozenset[Cell]
    points: int


def read_kept(run_dir: Path, step: int) -> KeptWeights | None:
    """The weights that a finished run kept at a step; None for the last step, whose weights are model.safetensors.

    UserError, which names the closest step that there is, if none were kept, and for a file that was edited, swapped
    or cut off.
    """
    path, recorded = kept_weights_file(run_dir, step), _recorded(run_dir)
    if step == _last_step(run_dir):
        return None
    if step not in recorded or not path.is_file():
        raise UserError(_not_there(run_dir, step, recorded))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if bytes_hash(data) != recorded[step]:
        raise DamagedFile(path, f"it is not what the run wrote at step {step}", "restore it, or ask another step")
    about = json.loads(_metadata(data)[_METADATA])
    return KeptWeights(path, data, frozenset((c, i) for c, i in about["offered"]), about["points"])


def _metadata(data: bytes) -> dict[str, str]:
    """What a safetensors file says beside the weights: its header is JSON, after eight bytes that hold its length."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return dict(header["__metadata__"])


def _recorded(run_dir: Path) -> dict[int, str]:
    """The hashes of all files that a finished run kept, by step."""
    manifest = finished_manifest(run_dir)
    check_deciding(run_dir, manifest)
    try:
        return {int(step): str(recorded) for step, recorded in manifest.get("checkpoints", {}).items()}
    except (AttributeError, ValueError):
        raise DamagedFile(run_dir / MANIFEST, "its 'checkpoints' are no hashes by step") from None


def _last_step(run_dir: Path) -> int:
    return int(read_toml(run_dir / "config.toml")["training"]["steps"])


def _not_there(run_dir: Path, step: int, recorded: Mapping[int, str]) -> str:
    """Why there are no weights of a step, and which there are."""
    steps = kept_steps(run_dir)
    closest = min(steps, key=lambda other: (abs(other - step), other))
    what = f"{run_dir}: the weights of step {step} were "
    what += "kept, and removed since" if step in recorded else "not kept"
    if len(steps) == 1 and step not in recorded:
        return (
            f"{what}: there are only those of step {closest}, the last; training.keep_checkpoints says in an "
            f"experiment file which are to be kept"
        )
    shown = [str(other) for other in steps]
    if len(shown) > _LISTED:
        shown[_LISTED // 2 : -_LISTED // 2] = ["…"]
    return f"{what}; the closest that is there is step {closest}, of {', '.join(shown)}"
