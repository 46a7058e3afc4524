"""Runs that were trained to the last step and failed in evaluation: a mended plugin or config keeps their training.

It is kept where the new code and config are seen to train as the old ones did: the errors before the first update, the
rows of the first updates, what a fixed curriculum plans at every step, and the errors of the trained weights are
computed anew and must be those of the tables, byte for byte. Nothing in the run's folder is touched before that is
known.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import torch

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.contracts import ComponentFailed, at_work
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import option
from icl_curriculum.core.provenance import package_version
from icl_curriculum.core.temporary import temporary_folder
from icl_curriculum.results.columns import GROWING, format_value
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.results.manifests import TRAINED, read_manifest
from icl_curriculum.runs.changes import AFTER_TRAINING, changed_keys, touching_training
from icl_curriculum.runs.checkpoints import read_checkpoint, reading_checkpoint
from icl_curriculum.runs.description import copies, copies_in, write_config
from icl_curriculum.runs.live_logging import LiveLogging
from icl_curriculum.runs.recording import Interval, Recorder
from icl_curriculum.training import Diverged, Trainer

#: The most updates that are repeated to see whether a mended run trains as before.
MOST_UPDATES = 1000

#: What a trainer raises that is given the state of another model or method.
_OTHERS_STATE = (RuntimeError, LookupError, ValueError, TypeError, AttributeError)


def training_kept() -> str:
    """What a run is told whose training is complete, after what failed in its evaluation."""
    return (
        "its training is complete and kept: mend the plugin, or change what [evaluation] asks, and run the experiment "
        f"again without {option('--fresh')}"
    )


def trained_with(manifest: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a manifest says of the config that trained a run, where another one evaluates it; else nothing."""
    found = (manifest or {}).get("trained_with", {})
    if not isinstance(found, dict) or (found and not isinstance(found.get("config_hash"), str)):
        raise UserError(
            f"the manifest's 'trained_with' is damaged; restore it, or start afresh with {option('--fresh')}"
        )
    return found


def is_trained(run: Run, directory: RunDirectory) -> bool:
    """Whether a folder holds this run under another config, trained to the last step and not yet evaluated.

    Then `keep_training` says if its training can be kept. False where a key has changed that decides the training.
    """
    manifest = read_manifest(directory.path)
    if manifest is None or manifest["status"] != TRAINED or manifest["config_hash"] == run.hash():
        return False
    there = all((directory.path / name).is_file() for name in ("config.toml", "state.pt"))
    return there and not touching_training(changed_keys(run, directory.path))


def way_out_of(manifest: Mapping[str, Any]) -> str:
    """What to know of a run in the place of another config: empty, or what could change without training anew."""
    if manifest["status"] != TRAINED:
        return ""
    keys = ", ".join(AFTER_TRAINING)
    return f"Its training is complete, and is kept where nothing but plugin contents, {keys} changes. "


def keep_training(run: Run, directory: RunDirectory, device: str) -> bool:
    """Make a run that is trained under another config (`is_trained`) this one; returns whether it was one.

    Whoever calls it holds the folder's lock. UserError, with nothing changed on disk, where the new code or config
    trains otherwise. A process that is killed at any moment leaves the run trained under the one config or the other.
    """
    if not is_trained(run, directory):
        return False
    manifest = read_manifest(directory.path)
    assert manifest is not None
    path = directory.path / "state.pt"
    known = trained_with(manifest) or {"config_hash": manifest["config_hash"], "plugins": manifest.get("plugins", [])}
    with reading_checkpoint(path):
        state = read_checkpoint(path, run, device, config_hash=known["config_hash"])
    directory.check_tables(state["tables"], state.get("hashes", {}))
    try:
        _check(run, directory, device, state)
    except _TrainsOtherwise as error:
        reason = str(error)
    except ComponentFailed as error:
        reason = f"what trained it now fails: {error}"
    except Diverged as error:
        reason = str(error)
    else:
        _adopt(run, directory, manifest, known)
        return True
    raise UserError(
        f"{directory.path}: its training cannot be kept under the changed plugins or config: {reason}"
        f"{_versions(manifest)}. Use {option('--fresh')} to move it aside and train anew, or "
        f"{option('--results', 'DIR')} to keep both"
    )


class _TrainsOtherwise(Exception):
    """The changed code or config does not repeat the training that is there."""


def _check(run: Run, directory: RunDirectory, device: str, state: Mapping[str, Any]) -> None:
    """Raise `_TrainsOtherwise` unless beginning and end of a training are what the run's tables say."""
    config, lengths = run.experiment.training, state["tables"]
    updates = config.log_every if config.log_every <= MOST_UPDATES else config.learning_every
    updates = min(updates, config.steps)
    if state["trainer"]["step"] != config.steps:
        raise _TrainsOtherwise(f"its checkpoint is of step {state['trainer']['step']}, not of the last")
    if updates > MOST_UPDATES:
        raise _TrainsOtherwise(
            f"training.csv has no row of the first {MOST_UPDATES} updates, which could be repeated to see whether they "
            f"are the same"
        )
    with temporary_folder("icl-repeated-") as folder:
        again = RunDirectory(folder / run.name, experiment=run.experiment.name, variant=run.variant, seed=run.seed)
        again.path.mkdir()
        trainer = Trainer(run, device)
        with at_work(run.experiment.model, "prepare"):
            trainer.model.prepare()
        recorder = Recorder(trainer, again, LiveLogging((), run, again.path, print))
        recorder.start_tables()
        recorder.evaluate()
        _compare(directory, again, lengths)
        for _ in range(updates):
            recorder.record(trainer.update())
        _compare(directory, again, lengths)
        _check_plan(trainer, directory, lengths)
        try:
            trainer.load_state_dict(state["trainer"])
        except _OTHERS_STATE as error:
            raise _TrainsOtherwise(
                f"its checkpoint does not fit what the new code builds ({type(error).__name__})"
            ) from None
        recorder.start_tables()
        recorder.evaluate()
        _compare(directory, again, lengths, end=True)


def _check_plan(trainer: Trainer, directory: RunDirectory, lengths: Mapping[str, int]) -> None:
    """Raise `_TrainsOtherwise` unless a fixed curriculum plans at every step what curriculum.csv says."""
    plan, config = trainer.plan, trainer.config
    if plan.adaptive:  # It follows from losses, of which only the first are known to be the same.
        return
    planned: dict[tuple[str, ...], str] = {}
    interval, state = Interval(), plan.initial_state()
    for step in range(config.steps):
        interval.plan(plan.shares(step, state))
        if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
            for cell in trainer.tasks:
                planned[str(step + 1), *cell] = format_value(interval.planned[cell] / interval.updates)
            interval = Interval()
    text = directory.table("curriculum").read_bytes()[: lengths["curriculum"]].decode()
    for row in csv.DictReader(io.StringIO(text, newline="")):
        key = row["step"], row["function_class"], row["input_distribution"]
        if row["planned_share"] != planned.get(key):
            now = planned.get(key, "nothing")
            raise _TrainsOtherwise(
                f"at step {key[0]} curriculum.csv has planned_share = {row['planned_share']} of {key[1]} with {key[2]} "
                f"inputs, and now it is {now}"
            )


def _compare(directory: RunDirectory, again: RunDirectory, lengths: Mapping[str, int], *, end: bool = False) -> None:
    """Raise `_TrainsOtherwise` unless the tables begin with the rows of ``again``; with ``end``: end with them."""
    again.flush()
    for name in (name for name in GROWING if name != "timing"):
        written = directory.table(name).read_bytes()[: lengths[name]].decode().splitlines(keepends=True)
        made = again.table(name).read_text(encoding="utf-8").splitlines(keepends=True)
        first = max(1, len(written) - len(made) + 1) if end else 1
        pairs = [(1, (written[:1] or [""])[0], made[0])]
        pairs += [
            (first + number + 1, written[first + number] if first + number < len(written) else "", row)
            for number, row in enumerate(made[1:])
        ]
        for line, old, new in pairs:
            if old != new:
                raise _TrainsOtherwise(f"line {line} of {name}.csv is {_shown(old, new, written[0])}")


def _shown(old: str, new: str, header: str) -> str:
    """The columns of a row that differ, with their old and new values."""
    columns, before, after = (next(csv.reader(io.StringIO(line)), []) for line in (header, old, new))
    if not len(columns) == len(before) == len(after):
        return f"{old.strip()!r}, and repeated it is {new.strip()!r}"
    differing = [i for i, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
    said = [f"{columns[i]} = {before[i]}, and repeated it is {after[i]}" for i in differing[:1]]
    where = [f"{columns[i]} {before[i]}" for i, name in enumerate(columns) if name in _NAMING]
    return f"{said[0]} ({', '.join(where)})" if said else "written otherwise"


#: The columns that tell a reader which row it is.
_NAMING = ("step", "function_class", "input_distribution", "shift", "n_context", "role")


def _versions(manifest: Mapping[str, Any]) -> str:
    """Which other versions a run was trained with, since these may be why it does not repeat; else nothing."""
    now = {"package_version": package_version(), "torch_version": torch.__version__}
    others = [
        f"{key.removesuffix('_version')} {manifest[key]} and not {value}"
        for key, value in now.items()
        if manifest.get(key) not in (None, value)
    ]
    return f" (it was trained with {', '.join(others)})" if others else ""


def _adopt(run: Run, directory: RunDirectory, manifest: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Make the run in the folder one of the new config. The manifest decides; what is written before it is unread."""
    path = directory.path
    directory.remember(manifest)
    if not trained_with(manifest):
        for file in copies_in(path):
            directory.write(f"trained_with/{file.relative_to(path).as_posix()}", file.read_bytes())
        directory.write("trained_with/config.toml", (path / "config.toml").read_bytes())
    about = {key: value for key, value in manifest.items() if key != "error"}
    kept = {
        name: content for name, content in directory.deciding_hashes()["files"].items()
        if name.startswith("trained_with/")
    }  # fmt: skip
    new = {
        "config_hash": run.hash(), "plugins": list(run.plugin_hashes), "trained_with": dict(known),
        "config_file": None, "files": kept,
    }  # fmt: skip
    directory.write_manifest({**about, **new})
    renew_config(run, directory)


def renew_config(run: Run, directory: RunDirectory) -> None:
    """Write the config and the copies of the files that a mended run has now, and remove those of others."""
    write_config(directory, run)
    own = {directory.path / name for name in copies(run)}
    for file in copies_in(directory.path):
        if file not in own:
            directory.remove(file)
