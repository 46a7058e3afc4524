"""Weights that training starts from: those of a finished run, or of a file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
from pydantic import PlainValidator
from safetensors import SafetensorError
from torch import nn

from icl_curriculum.core.component import Component
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.named_files import AS_PATH, NamedFile, find_named, read_named

_WEIGHTS, _MANIFEST = "model.safetensors", "manifest.json"


def read_weights(value: Any) -> NamedFile:
    """The weights that a value names: a run's folder, by its path or as EXPERIMENT/RUN in results/, or a file.

    ValueError, in words, for a run that is not finished, and for weights that are not what it wrote.
    """
    if isinstance(value, NamedFile):
        return value
    if isinstance(value, str):
        try:
            path = find_named(value)
        except ValueError:
            try:
                path = find_named(Path("results") / value)
            except ValueError:
                raise ValueError(
                    f"expected the folder of a finished run, such as results/mixed/mixed-seed0, or a weights file, "
                    f"found {value!r}, which is neither"
                ) from None
        if path.is_dir():
            return _of_run(path)
        value = path
    return read_named(value)


def _of_run(folder: Path) -> NamedFile:
    weights = folder / _WEIGHTS
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        status, written = manifest["status"], manifest.get("weights")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError(f"expected the folder of a finished run, found no run in {folder}") from None
    if status != "finished":
        raise ValueError(f"expected the folder of a finished run, found one that is {status}: {folder}")
    found = read_named(weights)
    if written is not None and written != found.hash:
        raise ValueError(f"{weights} is damaged: expected what the run wrote, found something else")
    return found


#: The type of `ModelConfig.initial`.
InitialWeights = Annotated[NamedFile, PlainValidator(read_weights), AS_PATH]


def expect_same_model(config: Component, weights: NamedFile) -> None:
    """UserError where the run that the weights lie in was of another model, by its config.toml, if there is one.

    Shapes don't tell how many heads there are, or which activation.
    """
    try:
        text = (Path(weights.place).parent / "config.toml").read_text(encoding="utf-8")
        theirs: Any = tomllib.loads(text).get("model")
    except (OSError, ValueError, RecursionError):
        return
    own = config.spec()
    for key in [key for key in own if isinstance(theirs, dict) and key in theirs and key not in ("initial", "id")]:
        if json.dumps(theirs[key], default=str) != json.dumps(own[key], default=str):
            raise UserError(
                f"{Path(weights.place).parent} is a run of another model: expected {key} = {own[key]!r}, found "
                f"{theirs[key]!r}",
                key="model.initial",
                way_out="name a copy of its weights file to start from them all the same",
            )


def start_from(model: nn.Module, weights: NamedFile) -> None:
    """Give a model these weights. UserError if they are those of another one."""
    where = {"key": "model.initial"}
    try:
        loaded = safetensors.torch.load(weights.data)
    except (SafetensorError, KeyError) as error:
        # torch's loader knows not all types by which the format can name one.
        reason = f"a type of numbers that is not known, {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{weights.place} is no weights file, or damaged ({reason})", **where) from None
    own = model.state_dict()
    for name, value in own.items():
        if name not in loaded or loaded[name].shape != value.shape:
            found = f"of shape {tuple(loaded[name].shape)}" if name in loaded else "none"
            raise UserError(
                f"{weights.place} holds the weights of another model: expected {name!r} of shape {tuple(value.shape)}, "
                f"found {found}",
                **where,
            )
    for name, value in own.items():
        if loaded[name].dtype != value.dtype:
            raise UserError(
                f"{weights.place} holds the weights of another model: expected {name!r} of type {value.dtype}, found "
                f"{loaded[name].dtype}",
                **where,
            )
    if more := [name for name in loaded if name not in own]:
        raise UserError(f"{weights.place} holds the weights of another model, with {more[0]!r}", **where)
    model.load_state_dict(loaded)
