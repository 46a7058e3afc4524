"""Checkpoint files of other codes: found, hashed and read. Nothing that a file holds is executed."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from icl_curriculum.core.errors import UserError
from icl_curriculum.runs.checkpoints import check_archive

#: What both codes call the file that training goes on from, and the description of the training beside it.
STATE, CONFIG = "state.pt", "config.yaml"
_KEPT = re.compile(r"model_(\d+)\.pt")


@dataclass(frozen=True)
class ForeignCheckpoint:
    """The weights in a checkpoint, as they are named there, and where they come from.

    ``sha256``: of the file's bytes, as they were read. ``step``: as the code that wrote it counts, None where neither
    the file nor its name tells.
    """

    path: Path
    sha256: str
    weights: Mapping[str, Any]
    step: int | None


def find_checkpoint(path: Path) -> Path:
    """The file that PATH means: itself, or ``state.pt`` in a folder. UserError if there is none."""
    if path.is_file():
        return path
    if not path.exists():
        raise UserError(f"{path} does not exist; expected a folder with {CONFIG} and {STATE}, or a model_STEP.pt")
    if (path / STATE).is_file():
        return path / STATE
    kept = sorted(
        (file for file in path.glob("model_*.pt") if _KEPT.fullmatch(file.name)), key=lambda file: _step_of(file) or 0
    )
    found = f"; name one of its checkpoints: {', '.join(file.name for file in kept)}" if kept else ""
    raise UserError(f"{path} holds no {STATE}{found or f'; expected a folder with {CONFIG} and {STATE}'}")


def read_foreign(path: Path) -> ForeignCheckpoint:
    """Read a ``state.pt``, with weights under ``model_state_dict``, or a ``model_STEP.pt``, which holds them bare.

    UserError for a file that is damaged, or that holds anything but tensors and plain values.
    """
    data = read_bytes(path)
    loaded = load_plain(path, data)
    step: Any = _step_of(path)
    weights = loaded
    if isinstance(loaded, dict) and "model_state_dict" in loaded:
        weights, step = loaded["model_state_dict"], loaded.get("train_step", step)
        if not (step is None or (isinstance(step, int) and step >= 0)):
            raise UserError(f"{path}: train_step: expected a number of updates, found {step!r:.100}")
    if not isinstance(weights, dict) or not all(isinstance(key, str) for key in weights):
        raise UserError(
            f"{path}: expected weights by their names, or a dict that has them under model_state_dict, found "
            f"{_kind_of(weights)}"
        )
    return ForeignCheckpoint(path, sha256_of(data), weights, step)


def read_bytes(path: Path) -> bytes:
    """What a file holds; UserError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def load_plain(path: Path, data: bytes) -> Any:
    """The tensors and plain values that torch saved as ``data``; UserError, naming ``path``, for anything else."""
    try:
        if zipfile.is_zipfile(io.BytesIO(data)):
            check_archive(io.BytesIO(data))
            code = torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data))
            if code:
                raise UserError(
                    f"{path} holds more than tensors and plain values: it names {', '.join(sorted(code)[:3])}. Nothing "
                    f"of it was loaded, as that could execute code; save its state_dict() and import that"
                )
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:
        # Of bytes that no torch wrote, its unpickler may say anything.
        raise UserError(
            f"{path} is damaged, or no checkpoint of torch's that holds tensors and plain values alone "
            f"({type(error).__name__}); nothing of it was loaded"
        ) from error


def _step_of(path: Path) -> int | None:
    """The step in the name of a ``model_STEP.pt``; None for any other name."""
    found = _KEPT.fullmatch(path.name)
    return int(found[1]) if found else None


def _kind_of(value: Any) -> str:
    if not isinstance(value, dict):
        return f"a {type(value).__name__}"
    return f"a dict with keys of {type(next(iter(value))).__name__}" if value else "an empty dict"
