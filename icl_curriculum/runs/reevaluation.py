"""A finished run asked anew under another ``[evaluation]``: its weights stay, its tables become those of a fresh run.

The new tables are written beside the old ones and put into their places at the end, so a process that is killed leaves
the one evaluation or the other, never a mixture (`results.staging`). The manifest goes on saying when and with what the
run was trained, and says under ``evaluated_with`` the same of the new evaluation. Where the new config is not the one
that trained it, ``trained_with/`` keeps that.
"""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

import safetensors.torch

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.contracts import at_work
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import option
from icl_curriculum.core.progress import Tell
from icl_curriculum.core.provenance import provenance
from icl_curriculum.results.columns import bytes_hash
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.results.doubts import WHOLE_RUN, Doubt, doubts_in
from icl_curriculum.results.manifests import DamagedFile, finished_manifest
from icl_curriculum.results.staging import StagedFiles
from icl_curriculum.runs.answered_banks import AnsweredBanks, forget
from icl_curriculum.runs.banks import evaluation_banks
from icl_curriculum.runs.description import copies_in, hashes_of, what_is_finished, write_config
from icl_curriculum.runs.evaluation import evaluate
from icl_curriculum.runs.mending import trained_with
from icl_curriculum.runs.probes import probe_components, probe_trained
from icl_curriculum.runs.trained import trained_model
from icl_curriculum.training import Trainer

#: The key of a manifest that says with what a run was evaluated, where that was done anew after it was finished.
EVALUATED_WITH = "evaluated_with"


def check_askable(directory: RunDirectory) -> None:
    """UserError, naming the file and the ways out, unless a finished run can be asked anew: whole, with its weights."""
    try:
        directory.check_intact()
    except DamagedFile as error:
        raise DamagedFile(
            error.path, f"{error.problem}, and only a whole run can be evaluated anew from its weights",
            "restore it, give the command without the changes of [evaluation], which keeps the tables as they are, "
            f"or train anew with {option('--fresh')}",
        ) from None  # fmt: skip


def reevaluate(run: Run, directory: RunDirectory, device: str, tell: Tell) -> None:
    """Ask a finished run's model anew, and make its folder that of ``run``, whose training is the same.

    The caller holds the folder's lock. UserError if a file of the run is missing or damaged, ComponentFailed if a
    plugin breaks its contract; the run is then what it was.
    """
    started, clock = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), time.monotonic()
    check_askable(directory)
    manifest = finished_manifest(directory.path)
    banks = list(evaluation_banks(run.experiment))
    # As a run that is trained now has them: the same code in the same order gives the same bytes.
    trainer = Trainer(run, device)
    doubts = probe_components(run.experiment, trainer.model)
    with at_work(run.experiment.model, "prepare"):
        trainer.model.prepare()
    load_weights(trainer, directory.path / "model.safetensors", manifest)
    probe_trained(run.experiment, trainer.model)
    staged = StagedFiles(directory)
    trained = trained_model(run, trainer.model, directory.path)
    answered = AnsweredBanks(directory.path, trained, device, before=directory.check_held)
    evaluated = evaluate(trained, banks, staged, tell, answered)
    write_config(staged, run)
    known = _keep_what_trained(run, staged, manifest)
    now = {**provenance(), "device": device, "started": started, "wall_seconds": round(time.monotonic() - clock, 3)}
    # What the run was trained with stays said, but for what the tables follow from now.
    about = {key: value for key, value in manifest.items() if key != "trained_with"}
    said = what_is_finished(staged, evaluated, manifest["weights"], [*doubts, *_of_training(manifest)])
    staged.put_in_place({**about, **hashes_of(run), **known, EVALUATED_WITH: now, **said})
    forget(directory.path)


def load_weights(trainer: Trainer, path: Path, manifest: dict[str, Any]) -> None:
    """Give a trainer's model the weights of a finished run. UserError for a file that is not what the run wrote."""
    data = path.read_bytes()
    if manifest.get("weights") != bytes_hash(data):
        raise DamagedFile(path, "it is not what the run wrote")
    try:
        trainer.model.load_state_dict(safetensors.torch.load(data))
    except RuntimeError:
        raise UserError(f"{path} holds the weights of another model than its config says") from None


def _of_training(manifest: dict[str, Any]) -> list[Doubt]:
    """What is to be doubted of the training itself, of which the weights say nothing."""
    return [doubt for doubt in doubts_in(manifest).get(WHOLE_RUN, []) if doubt.about == "method"]


def _keep_what_trained(run: Run, staged: StagedFiles, manifest: dict[str, Any]) -> dict[str, Any]:
    """Keep the config and the plugins that trained a run, where those that evaluate it are others.

    Returns what the manifest says of that.
    """
    known = trained_with(manifest)
    files: dict[str, str] = manifest.get("files") or {}
    if run.hash() == (known or manifest)["config_hash"]:
        return {}
    if known:
        staged.keep({name: found for name, found in files.items() if name.startswith("trained_with/")})
        return {"trained_with": known}
    for file in (staged.path / "config.toml", *copies_in(staged.path)):
        staged.write(f"trained_with/{file.relative_to(staged.path).as_posix()}", file.read_bytes())
    return {"trained_with": {"config_hash": manifest["config_hash"], "plugins": manifest.get("plugins", [])}}
