"""What executes some work in this process: a whole run, its training, or the answers to some of its banks.

A process that answers some of a run's banks writes nothing into the run's folder and holds no lock, so that any number
of them may work on a run at once. What they leave is found by whoever evaluates the run (`answered_banks`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.contracts import at_work
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.machine import computing_threads, reproducible
from icl_curriculum.core.settings import own_settings
from icl_curriculum.core.stopping import StoppedAt, is_to_stop
from icl_curriculum.core.visibility import look_anew
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.results.manifests import is_half_renewed, read_manifest
from icl_curriculum.runs.answered_banks import AnsweredBanks, forget
from icl_curriculum.runs.checkpoints import read_checkpoint, reading_checkpoint
from icl_curriculum.runs.evaluation import TrainedModel, answer_banks, turned
from icl_curriculum.runs.execution import Progress, Report, directory_of, execute, telling_of_banks
from icl_curriculum.runs.failures import failures_named
from icl_curriculum.runs.mending import trained_with
from icl_curriculum.runs.parts import RunPart, Work, run_of
from icl_curriculum.runs.reevaluation import load_weights
from icl_curriculum.runs.standing import standing_of
from icl_curriculum.runs.trained import trained_by, trained_model
from icl_curriculum.training import Trainer


def work_on(work: Work, results: Path, *, device: str, report: Report, log: Sequence[str] = ()) -> None:
    """Do some work, as `execute` does all that is to be done for a run; the arguments and errors are its own.

    A report names the work that it is of.
    """
    if isinstance(work, Run):
        execute(work, results, device=device, report=report, wait=True, log=log)
        return

    def of_part(progress: Progress) -> None:
        report(Progress(**{**vars(progress), "run": work.name}))

    if work.number:
        answer_part(work, results, device=device, report=of_part)
    else:
        execute(work.run, results, device=device, report=of_part, wait=True, log=log, until="trained")


#: Seconds for which a run that was trained elsewhere is waited for: a shared file system shows its files late.
SEEN_WITHIN = 60.0


class _NotNeeded(Exception):
    """The run is finished by now, or is not there any more as it was."""


@own_settings(training=True)
def answer_part(part: RunPart, results: Path, *, device: str, report: Report) -> None:
    """Answer some banks of a run that is trained, as its evaluation does, and keep the answers for that.

    Nothing is done for a run that is finished, and for one that is not seen to be trained within `SEEN_WITHIN`: that is
    for `execute` to judge. Raises what evaluation raises, and RunFailed where nothing can be kept.
    """
    run, directory = part.run, directory_of(part.run, results)

    def still_needed() -> None:
        if not is_answerable(run, directory):
            raise _NotNeeded

    with computing_threads(run.experiment.threads), reproducible(device), failures_named(run.name):
        try:
            _wait_until_seen(part, directory, report)
            still_needed()
            trained = _as_trained(run, directory, device)
            answered = AnsweredBanks(directory.path, trained, device, before=still_needed)
            banks = turned(part.banks(), run.seed)
            tell = telling_of_banks(part.name, len(banks), report, lambda: answered.known)

            def tell_while_kept(share: float, detail: str = "") -> None:
                # What cannot be kept is not worth answering.
                if answered.problem is not None:
                    raise answered.problem
                tell(share, detail)

            found = answer_banks(trained, banks, directory.path.parent / ".cache", tell_while_kept, answered)
            answered.keep(found.values())
            still_needed()
            if answered.problem is not None:
                raise answered.problem
        except (_NotNeeded, OSError) as error:
            # Whoever has finished the run has removed all answers but those that were just being written.
            if _is_finished(run, directory):
                forget(directory.path)
            elif isinstance(error, OSError):
                raise RunFailed(
                    f"{part.label}: {error.filename}: {error.strerror or error}", run=part.run.name
                ) from error


def _wait_until_seen(part: RunPart, directory: RunDirectory, report: Report) -> None:
    """Wait for what another machine has trained, which this one may see a little later."""
    deadline = time.monotonic() + SEEN_WITHIN
    while not is_answerable(part.run, directory) and not _is_finished(part.run, directory):
        if time.monotonic() > deadline:
            return
        if is_to_stop():
            raise StoppedAt("waiting for its training")
        report(Progress(part.name, "waiting for its training", 0, 0))
        time.sleep(0.5)
        look_anew(directory.path)


def is_answerable(run: Run, directory: RunDirectory) -> bool:
    """Whether a run's model is trained, under this very config, and is still to be asked."""
    try:
        standing = standing_of(run, directory)
    except UserError:
        return False
    if standing.to_do == "evaluate":
        # Otherwise it is to be seen first whether it trains as before.
        return (read_manifest(directory.path) or {}).get("config_hash") == run.hash()
    return standing.to_do == "re-evaluate" and not is_half_renewed(directory.path)


def is_done(work: Work, results: Path) -> bool:
    """Whether a run's folder holds what some work was to leave there. UserError where it cannot be read.

    Answers may be missing: whoever evaluates the run asks for them again.
    """
    run = run_of(work)
    directory = directory_of(run, results)
    if isinstance(work, Run):
        return standing_of(run, directory).to_do == "keep"
    return bool(work.number) or is_answerable(run, directory) or _is_finished(run, directory)


def _is_finished(run: Run, directory: RunDirectory) -> bool:
    try:
        return standing_of(run, directory).to_do == "keep"
    except UserError:
        return False


def _as_trained(run: Run, directory: RunDirectory, device: str) -> TrainedModel:
    """The model as `execute` has it when it evaluates the run. `_NotNeeded` where it has changed meanwhile."""
    manifest = read_manifest(directory.path) or {}
    trainer = Trainer(run, device)
    with at_work(run.experiment.model, "prepare"):
        trainer.model.prepare()
    if manifest.get("status") == "finished":
        load_weights(trainer, directory.path / "model.safetensors", manifest)
        return trained_model(run, trainer.model, directory.path)
    path = directory.path / "state.pt"
    with reading_checkpoint(path):
        known = trained_with(manifest).get("config_hash")
        trainer.load_state_dict(read_checkpoint(path, run, device, config_hash=known)["trainer"])
    if trainer.step != run.experiment.training.steps:
        raise _NotNeeded
    return trained_by(trainer)
