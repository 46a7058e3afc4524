"""A checkpoint of another code and its configuration, as a run of ours: the config of a run, weights, and notes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from icl_curriculum.config.experiment import Run
from icl_curriculum.config.identifiers import component
from icl_curriculum.config.loading import rebuild
from icl_curriculum.config.names import check_new_folder
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import option
from icl_curriculum.core.plugin_files import read_plugin
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.registry import FUNCTION_CLASSES, INPUTS
from icl_curriculum.models import Model
from icl_curriculum.runs.evaluation import TrainedModel
from icl_curriculum.runs.importing.checkpoint import CONFIG, STATE, ForeignCheckpoint, find_checkpoint, read_foreign
from icl_curriculum.runs.importing.configuration import ForeignConfig
from icl_curriculum.runs.importing.prompt_lengths import growth, not_grown, trained_points
from icl_curriculum.runs.importing.told_before import told_before
from icl_curriculum.runs.importing.trained_on import TrainedOn, trained_on
from icl_curriculum.runs.importing.weights import ForeignSize, ForeignWeights

#: Keys that only Bhasin et al.'s configurations have.
_BHASIN = ("task_schedule", "data_schedule", "data_kwargs", "prompt_type", "weight_type", "transformer_seed")
#: The heads of the published sizes, by layers and width.
_PUBLISHED_HEADS = {(3, 64): 2, (6, 128): 4, (12, 256): 8}


@dataclass(frozen=True)
class Told:
    """What the user says of a checkpoint, where no configuration does or other names are wanted.

    ``heads``, ``points``, ``step``, ``function_classes`` and ``inputs`` are of the training; ``name`` is the
    experiment's, ``variant`` and ``seed`` name the run; ``config``: the configuration, if not the one beside the file;
    ``prompt_type`` and ``instruction_files``: what stood before every prompt, see `told_before`.
    """

    name: str | None = None
    variant: str | None = None
    seed: int | None = None
    heads: int | None = None
    points: int | None = None
    step: int | None = None
    function_classes: Sequence[str] = ()
    inputs: Sequence[str] = ()
    config: Path | None = None
    prompt_type: str | None = None
    instruction_files: Sequence[Path] = ()
    n_prompts: int | None = None
    plugins: Sequence[Path] = ()


@dataclass(frozen=True)
class ForeignRun:
    """A run that others trained: as ours, its weights by our names, what of it was in training, and whence it came.

    ``origin``: what its manifest says under ``imported``; ``notes``, which are part of that: what a reader of its
    errors has to know.
    """

    run: Run
    weights: dict[str, Tensor]
    step: int
    offered: frozenset[tuple[str, str]]
    origin: dict[str, Any]

    @property
    def notes(self) -> list[str]:
        return list(self.origin["notes"])

    def trained(self, device: str) -> TrainedModel:
        """The model with what it was trained on, on a device."""
        experiment = self.run.experiment
        model: Model = experiment.build_model(torch.Generator().manual_seed(0))
        model.load_state_dict(self.weights)
        return TrainedModel(self.run, model.eval().to(device), self.step, self.offered, experiment.points)


def read_run(path: Path, told: Told) -> ForeignRun:
    """Read and check everything; nothing is written. UserError, naming file and key, for what cannot be imported."""
    for key, name in ((option("--name"), told.name), (option("--variant"), told.variant)):
        if name is not None:
            check_new_folder(key, name)
    file = find_checkpoint(path)
    beside = file.parent / CONFIG
    absent = told.config is None and not beside.is_file()
    config = ForeignConfig.absent(beside) if absent else ForeignConfig.read(told.config or beside)
    family = config.text("family")
    if family is not None and family.value != "gpt2":
        raise config.error(family, "gpt2")
    checkpoint = read_foreign(file)
    keys = ("n_dims", "n_positions", "n_embd", "n_layer")
    size = {key: value for key in keys if (value := config.whole(key)) is not None}
    weights = ForeignWeights(file, checkpoint.weights, size, str(config.path))
    for plugin in told.plugins:
        load_plugin(plugin)
    return _made(checkpoint, weights, config, told)


def _made(checkpoint: ForeignCheckpoint, weights: ForeignWeights, config: ForeignConfig, told: Told) -> ForeignRun:
    """The run that a checkpoint, its configuration and the user make together."""
    file, size = checkpoint.path, weights.size
    trained, notes = _trained_on(config, told)
    before = told_before(
        config, told.prompt_type, told.instruction_files, width=size.n_embd,
        names={"task": len(trained.function_classes), "data": len(trained.inputs)},
    )  # fmt: skip
    most = (2 * size.n_positions - before.extra_positions) // 2
    points, of_length = trained_points(config, given=told.points, usual=size.n_positions - 1, most=most, file=str(file))
    notes += of_length
    step = told.step if told.step is not None else checkpoint.step
    if step is None:
        notes.append(
            f"Nothing says after how many steps it was kept: the tables say 0; {option('--step')} says otherwise."
        )
    step = step or 0
    grown = growth(config, dims=size.n_dims, points=points)
    notes += not_grown(grown, dims=size.n_dims, points=points, step=step)
    code = _code_of(config)
    alone = not config.is_there and file.name != STATE
    values = {
        "variant": told.variant or ("imported" if file.name == STATE else _for_a_folder(file.stem)),
        "seed": told.seed if told.seed is not None else config.whole("transformer_seed", least=0) or 0,
        "name": told.name or _for_a_folder(file.stem if alone else file.resolve().parent.name),
        "description": f"Imported from {file.name} of {code or 'another code'}, step {step:,}.",
        "recipe": "reference",
        "dims": size.n_dims,
        "points": points,
        "function_classes": trained.function_classes,
        "inputs": trained.inputs,
        "curriculum": {**trained.curricula, **grown},
        "model": {
            "name": "transformer",
            "width": size.n_embd,
            "layers": size.n_layer,
            "heads": _heads(file, size, config, told.heads),
            "mlp_ratio": size.hidden // size.n_embd,
            "max_points": most,
        },
        "instruction": before.table,
        "training": _training(config, step, blocks=max(len(trained.function_classes), len(trained.inputs))),
        "evaluation": {} if told.n_prompts is None else {"n_prompts": told.n_prompts},
        "plugins": [str(plugin.resolve()) for plugin in told.plugins],
    }
    source = str(config.path if config.is_there else file)
    run = rebuild(values, [read_plugin(plugin) for plugin in told.plugins], source=source)
    elsewhere = {run.experiment.inputs[number].id for number in trained.elsewhere}
    offered = frozenset(cell for cell in run.experiment.tasks() if cell[1] not in elsewhere)
    origin = {
        "file": file.name,
        "sha256": checkpoint.sha256,
        "step": step,
        "code": code,
        "config": config.path.name if config.is_there else None,
        "config_sha256": config.sha256,
        "instruction_files": list(before.files),
        "notes": notes,
    }
    parameters = weights.parameters(2 * most + before.extra_positions)
    if before.vectors is not None:
        parameters["instruction_vectors"] = before.vectors
    return ForeignRun(run, parameters, step, offered, origin)


def _trained_on(config: ForeignConfig, told: Told) -> tuple[TrainedOn, list[str]]:
    """Classes and inputs: the user's, else the configuration's, else those of the published linear model; and notes."""
    classes = [component(text, FUNCTION_CLASSES, option("--function-class")).spec() for text in told.function_classes]
    inputs = [component(text, INPUTS, option("--inputs")).spec() for text in told.inputs]
    found, notes = TrainedOn(), list[str]()
    if config.is_there:
        found = trained_on(config, classes_given=bool(classes), inputs_given=bool(inputs))
        notes += found.notes
    elif not classes:
        notes.append(
            "Nothing says what it was trained on: taken to be linear functions; "
            f"{option('--function-class')} says otherwise."
        )
    classes = classes or found.function_classes or [{"name": "linear"}]
    inputs = inputs or found.inputs or [{"name": "gaussian"}]
    curricula: dict[str, Any] = {
        # Over one item there is no choice.
        key: {"name": "single"} if len(items) == 1 else found.curricula.get(key, "random")
        for key, items in (("function_classes", classes), ("inputs", inputs))
    }
    return TrainedOn(classes, inputs, curricula, found.elsewhere), notes


def _heads(file: Path, size: ForeignSize, config: ForeignConfig, given: int | None) -> int:
    """The heads, which no weight tells."""
    told = config.whole("n_head")
    if told is None and given is None:
        usual = _PUBLISHED_HEADS.get((size.n_layer, size.n_embd))
        hint = f"; the published model of {size.n_layer} layers and width {size.n_embd} has {usual}" if usual else ""
        raise UserError(
            f"{file}: the weights don't tell the number of attention heads, and there is no {CONFIG} that does; give "
            f"{option('--heads', 'N')}{hint}"
        )
    if told is not None and given not in (None, told):
        raise UserError(f"{option('--heads', str(given))}: {config.path} says n_head = {told}; leave the option out")
    heads = given or 0 if told is None else told
    if heads < 1 or size.n_embd % heads:
        source = option("--heads") if told is None else f"{config.path}: n_head"
        raise UserError(f"{source}: {heads} heads do not divide the width of the weights, {size.n_embd}")
    return heads


def _training(config: ForeignConfig, step: int, *, blocks: int) -> dict[str, Any]:
    """The table ``[training]``; there is a step for each of so many blocks of a curriculum."""
    found: dict[str, Any] = {"steps": max(config.whole("train_steps") or step, blocks), "optimizer": {"name": "adam"}}
    if (batch_size := config.whole("batch_size")) is not None:
        found["batch_size"] = batch_size
    if (rate := config.number("learning_rate")) is not None:
        found["optimizer"]["learning_rate"] = rate
    return found


def _code_of(config: ForeignConfig) -> str | None:
    """Whose code wrote the configuration; None without one."""
    if not config.is_there:
        return None
    return "Bhasin et al. 2024" if any(config.find(key) is not None for key in _BHASIN) else "Garg et al. 2022"


def _for_a_folder(name: str) -> str:
    """A name without what folders of results don't have in theirs."""
    return re.sub(r"[^\w=,+%.-]+", "_", name).lstrip(".") or "imported"
