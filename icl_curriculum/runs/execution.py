"""One run from start to end: train, evaluate, write."""

from __future__ import annotations

import contextlib
import datetime
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.contracts import ComponentFailed, at_work
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.locks import holder, is_locked
from icl_curriculum.core.machine import computing_threads, reproducible
from icl_curriculum.core.options import option
from icl_curriculum.core.progress import Tell, heard_by
from icl_curriculum.core.settings import own_settings
from icl_curriculum.core.stopping import StoppedAt, is_to_stop
from icl_curriculum.results.columns import GROWING
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.results.doubts import Doubt
from icl_curriculum.results.manifests import MANIFEST, TRAINED, DamagedFile, is_lost, read_manifest
from icl_curriculum.results.staging import finish_renewing
from icl_curriculum.runs.answered_banks import AnsweredBanks, forget
from icl_curriculum.runs.banks import evaluation_banks
from icl_curriculum.runs.cadence import CheckpointCadence
from icl_curriculum.runs.checkpoints import read_checkpoint, reading_checkpoint, write_checkpoint, write_weights
from icl_curriculum.runs.description import described, what_is_finished, write_config
from icl_curriculum.runs.evaluation import evaluate
from icl_curriculum.runs.failures import failures_named
from icl_curriculum.runs.kept_weights import forget_weights, keep_weights
from icl_curriculum.runs.live_logging import LiveLogging
from icl_curriculum.runs.mending import is_trained, keep_training, renew_config, trained_with, training_kept
from icl_curriculum.runs.probes import probe_components, probe_trained
from icl_curriculum.runs.recording import Interval, Recorder
from icl_curriculum.runs.reevaluation import reevaluate
from icl_curriculum.runs.standing import standing_of
from icl_curriculum.runs.together import LEADER
from icl_curriculum.runs.trained import trained_by
from icl_curriculum.training import Diverged, Trainer

#: The most seconds of training without a report, however rare the rows of its tables.
TELL_EVERY = 2.0


@dataclass(frozen=True)
class Progress:
    """How far a run is; ``loss`` is the latest normalized training loss, ``rate`` units per second.

    ``detail``: what takes long within a unit, of which the ``share`` is done. ``warning``: what went wrong beside the
    run, which goes on; such a report tells nothing else.
    """

    run: str
    phase: str
    done: int
    total: int
    loss: float | None = None
    rate: float | None = None
    detail: str = ""
    share: float = 0.0
    warning: str = ""


Report = Callable[[Progress], None]

#: How far a run is to be taken.
Until = Literal["trained", "finished"]


def only_warnings(progress: Progress) -> None:
    """What hears the reports if nobody else does."""
    if progress.warning:
        warnings.warn(progress.warning, RuntimeWarning, stacklevel=2)


def telling_of_banks(run: str, banks: int, report: Report, known: Callable[[], int] = lambda: 0) -> Tell:
    """What turns the share of so many banks that a run has answered into reports, from now on.

    ``known``: how many of them were found answered, which says nothing of how fast the others are.
    """
    began = time.monotonic()

    def tell(share: float, detail: str = "") -> None:
        answered = share * banks
        done = math.floor(answered + 1e-9)
        if is_to_stop():
            # What was answered is kept, but for the bank that is being asked.
            raise StoppedAt(f"evaluation {done}/{banks}")
        rate = (answered - known()) / max(time.monotonic() - began, 1e-9)
        report(Progress(run, "evaluation", done, banks, None, rate, detail, max(0.0, answered - done)))

    return tell


def directory_of(run: Run, results: Path) -> RunDirectory:
    experiment = run.experiment.name
    return RunDirectory(results / experiment / run.name, experiment=experiment, variant=run.variant, seed=run.seed)


def is_finished(run: Run, results: Path) -> bool:
    """Whether the run's directory holds this very run, finished.

    UserError if it holds another config whose training cannot be kept, see `standing_of`.
    """
    return standing_of(run, directory_of(run, results)).to_do == "keep"


def move_aside(run: Run, results: Path) -> Path | None:
    """Move the run's directory to ``aside/`` unless it is this very run, finished and intact; returns where it went."""
    directory = directory_of(run, results)
    if not directory.path.exists():
        return None
    with contextlib.suppress(UserError):
        if is_finished(run, results) and directory.is_intact():
            return None
    return moved_aside(directory)


def moved_aside(directory: RunDirectory) -> Path:
    """Move a run's directory to ``aside/``, whatever it holds; returns where it went."""
    with directory.locked():
        for number in range(1, 10_000):
            target = directory.path.parent / "aside" / f"{directory.path.name}-{number}"
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                directory.path.rename(target)
                return target
    raise UserError(f"{directory.path.parent / 'aside'} is full; remove what is no longer needed")


def in_use(run: Run, results: Path) -> str | None:
    """The process that is working on the run at this moment, or None."""
    directory = directory_of(run, results)
    return holder(directory.lock) if is_locked(directory.lock) else None


def keep_if_trained(run: Run, results: Path, device: str, report: Report) -> bool:
    """Keep the training of a run that failed in evaluation under another config, see `mending.keep_training`."""
    directory = directory_of(run, results)
    if not is_trained(run, directory):
        return False
    report(Progress(run.name, "seeing whether it trains as before", 0, 0))
    with directory.locked(), computing_threads(run.experiment.threads), reproducible(device), failures_named(run.name):
        return keep_training(run, directory, device)


@own_settings(training=True)
def execute(
    run: Run,
    results: Path,
    *,
    device: str = "cpu",
    report: Report = only_warnings,
    wait: bool = False,
    log: Sequence[str] = (),
    until: Until = "finished",
) -> None:
    """Train and evaluate a run in ``results/<experiment>/<variant>-seed<seed>``, resuming what is there.

    Raises UserError if the directory holds another config or damaged files, `locks.Locked` if another process
    is working on it (with ``wait``: waits for that one), RunFailed if training diverges, a plugin breaks its
    contract, or the disk is full. What was written is kept, and the next call continues from it. So it does after
    `StoppedAt`, which it raises where it was asked to `stop_soon`.
    ``log``: names of `live_logging.BACKENDS`; one that breaks is reported as a warning. ``until``: ``trained`` leaves
    the evaluation to others.
    """
    directory = directory_of(run, results)

    def waiting(holder: str) -> None:
        if is_to_stop():
            raise StoppedAt("waiting for its folder")
        report(Progress(run.name, f"waiting for {holder}", 0, 0))

    with directory.locked(waiting=waiting if wait else None), computing_threads(run.experiment.threads):
        finish_renewing(directory)
        to_do = standing_of(run, directory).to_do
        if to_do == "keep" or (until == "trained" and to_do == "re-evaluate"):
            return
        try:
            with reproducible(device), failures_named(run.name):
                if to_do == "re-evaluate":
                    _reevaluate(run, directory, device, report)
                    return
                keep_training(run, directory, device)
                _Execution(run, directory, device, report, log).finish(until=until)
        except OSError as error:
            # Perhaps because the folder is not there any more, which says more than that a file is missing.
            directory.check_held()
            raise RunFailed(
                f"{error.filename or directory.path}: {error.strerror or error}; nothing that was written is lost: "
                f"without {option('--fresh')}, the next run continues from the last checkpoint",
                run=run.name,
            ) from error


def _reevaluate(run: Run, directory: RunDirectory, device: str, report: Report) -> None:
    """Ask a finished run anew. RunFailed if a component fails; the run is then what it was."""
    banks = len(list(evaluation_banks(run.experiment)))
    try:
        reevaluate(run, directory, device, telling_of_banks(run.name, banks, report))
    except ComponentFailed as error:
        raise RunFailed(f"{error}; the run is what it was: {directory.path}", run=run.name) from error


def _prompts_changed(run: Run, what: str) -> Doubt:
    return Doubt(
        "method",
        f"the training method {run.experiment.training.method.id!r} gives the model {what}: which prompts are in "
        f"distribution is not known, so none are called so",
    )


class _Execution:
    """The state of one run while it executes."""

    def __init__(self, run: Run, directory: RunDirectory, device: str, report: Report, log: Sequence[str]) -> None:
        self.run, self.directory, self.device, self.report = run, directory, device, report
        #: How this process speaks to others that train the run with it; None where it trains alone.
        self.leader = LEADER.get()
        self.started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.seconds_before = 0.0
        self.clock = self.told = time.monotonic()
        self.loss: float | None = None
        self.to_keep = frozenset(run.experiment.training.kept_steps())
        #: The hashes of the weights files that were kept, by step.
        self.kept: dict[str, str] = {}
        found = read_manifest(directory.path)
        #: The manifest of an earlier attempt; empty where there was none.
        self.before = manifest = found or {}
        if found is None and is_lost(directory.path):
            self._warn(f"{directory.path / MANIFEST} is missing; the run is evaluated anew from its checkpoint")
        #: Whether the training is complete, and what is to be said of the config that trained, if it was another.
        self.trained, self.trained_with = manifest.get("status") == TRAINED, trained_with(manifest)
        #: How many processes have trained it together, the last time.
        self.processes = 1 if self.leader is None else self.leader.processes
        if self.trained:
            self.processes = manifest.get("processes", 1)
        live = LiveLogging(log, run, directory.path, self._warn)
        with self._noting_failure():
            self.trainer = Trainer(run, device, self.leader)
            self.doubts = probe_components(run.experiment, self.trainer.model)
            with at_work(run.experiment.model, "prepare"):
                self.trainer.model.prepare()
            # Its clock starts here: no rate or time left is taken from what happens once.
            self.recorder = Recorder(self.trainer, directory, live)

    @property
    def state_file(self) -> Path:
        return self.directory.path / "state.pt"

    def finish(self, *, until: Until = "finished") -> None:
        """Train what is still to be trained, and evaluate it, unless that is for others to do."""
        with self._noting_failure():
            # What no table could hold is refused before anything is trained.
            banks = list(evaluation_banks(self.run.experiment))
            with contextlib.closing(self.recorder.live), heard_by(self._tell_asked):
                self._begin()
                self._manifest(TRAINED if self.trained else "running")
                with self._together():
                    self._train()
            self.trained = True
            self._manifest(TRAINED)
            if until == "trained":
                return
            probe_trained(self.run.experiment, self.trainer.model)
            changed = self.trainer.changes_prompts
            if changed is not None:
                self.doubts.append(_prompts_changed(self.run, changed))
            trained = trained_by(self.trainer)
            answered = AnsweredBanks(self.directory.path, trained, self.device, before=self.directory.check_held)
            tell = telling_of_banks(self.run.name, len(banks), self.report, lambda: answered.known)
            evaluated = evaluate(trained, banks, self.directory, tell, answered)
            weights = write_weights(self.directory, self.trainer.model)
            kept = {"checkpoints": self.kept} if self.kept else {}
            self._manifest("finished", **what_is_finished(self.directory, evaluated, weights, self.doubts), **kept)
            forget(self.directory.path)

    @contextlib.contextmanager
    def _noting_failure(self) -> Iterator[None]:
        """Write into the manifest why the run failed."""
        try:
            yield
        except Diverged as error:
            self._manifest("diverged", error=str(error))
            raise RunFailed(f"{error}; what was written is in {self.directory.path}", run=self.run.name) from None
        except ComponentFailed as error:
            self._manifest(TRAINED if self.trained else "failed", error=str(error))
            if self.trained:
                raise RunFailed(f"{error}; {training_kept()}", run=self.run.name) from error
            raise

    def _begin(self) -> None:
        if self.state_file.is_file():
            self._resume()
            return
        self.trained, self.trained_with = False, {}
        forget_weights(self.directory)
        self.recorder.start_tables()
        write_config(self.directory, self.run)
        self.recorder.evaluate()
        self._keep()

    def _resume(self) -> None:
        with reading_checkpoint(self.state_file):
            state = read_checkpoint(
                self.state_file, self.run, self.device, config_hash=self.trained_with.get("config_hash")
            )
            if {*state["tables"]} != {*GROWING}:
                raise UserError(
                    f"{self.directory.path} was begun by a version of icl_curriculum that writes other tables; "
                    f"finish it with that one, or start the run afresh with {option('--fresh')}"
                )
            names = self.trainer.setting.stream_names
            if "method" not in state["trainer"] and any("/".join(cell) != name for cell, name in names.items()):
                raise UserError(
                    f"{self.directory.path} was begun by icl_curriculum 0.2.0, where an id of one's own also changed "
                    f"what is drawn; finish it with that version, or start the run afresh with {option('--fresh')}"
                )
            self.trainer.load_state_dict(state["trainer"])
            self.directory.cut_tables(state["tables"], state.get("hashes"))
            self.recorder.pending = Interval.from_plain(state["pending"])
            self.started, self.seconds_before = state["started"], state["seconds"]
            self.kept = dict(state.get("kept", {}))
        self._restore_config()

    def _restore_config(self) -> None:
        """Write config and plugins anew if they are not what the run wrote, or are those of another config.

        What trained the run, where another config evaluates it, cannot be made anew: DamagedFile if that was changed.
        """
        changed = self.directory.remember(self.before)
        for path in changed:
            if path.is_relative_to(self.directory.path / "trained_with"):
                way_out = f"restore it, or start the run afresh with {option('--fresh')}"
                raise DamagedFile(path, "it is not what the run wrote", way_out)
            if self.before.get("config_file") and not self.trained_with:
                self._warn(f"{path} was not what the run had written, and is written anew")
        if changed or self.trained_with or self.before.get("config_hash") != self.run.hash():
            renew_config(self.run, self.directory)

    def _train(self) -> None:
        config = self.trainer.config
        checkpoints = CheckpointCadence(config.checkpoint_every, self._seconds)
        first = self.trainer.step
        while self.trainer.step < config.steps:
            told = self.told
            self.recorder.record(self.trainer.update(), self._tell)
            step, silent = self.trainer.step, self.told == told
            if step == first + 1:  # what happens only once is over
                began = self.told = time.monotonic()
            if silent and time.monotonic() - self.told > TELL_EVERY:
                self._tell(self.loss, (step - first - 1) / (time.monotonic() - began))
            self._keep()
            if checkpoints.due(step) or step == config.steps or is_to_stop():
                with checkpoints.writing():
                    self._checkpoint()
                if is_to_stop():
                    raise StoppedAt(f"training {step}/{config.steps}")

    def _together(self) -> contextlib.AbstractContextManager[None]:
        """A block in which other processes train the run with this one, if there are any, and anything is left."""
        if self.leader is None or self.trainer.step >= self.trainer.config.steps:
            return contextlib.nullcontext()
        return self.leader.training(self.run, self.trainer)

    def _tell(self, loss: float | None, rate: float) -> None:
        """Report how far training is, with the loss of the latest rows."""
        self.loss, self.told = loss, time.monotonic()
        self.report(Progress(self.run.name, "training", self.trainer.step, self.trainer.config.steps, loss, rate))

    def _tell_asked(self, share: float, detail: str = "") -> None:
        """Report what of measuring errors while training takes long."""
        self.told = time.monotonic()
        total = self.trainer.config.steps
        self.report(Progress(self.run.name, "training", self.trainer.step, total, self.loss, None, detail, share))

    def _keep(self) -> None:
        """Keep the weights of this step if they are wanted. Before a checkpoint, which says what was kept so far."""
        if self.trainer.step in self.to_keep:
            self.kept[str(self.trainer.step)] = keep_weights(self.directory, self.trainer)

    def _warn(self, text: str) -> None:
        self.report(Progress(self.run.name, "training", 0, 0, warning=text))

    def _checkpoint(self) -> None:
        state = {
            "trainer": self.trainer.state_dict(),
            "tables": self.directory.table_lengths(),
            "hashes": self.directory.growing_hashes(),
            "pending": self.recorder.pending.to_plain(),
            "kept": self.kept,
            "started": self.started,
            "seconds": self._seconds(),
        }
        write_checkpoint(self.directory, self.run, self.device, state)

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.clock

    def _manifest(self, status: str, **more: Any) -> None:
        about = described(
            self.run, status, device=self.device, started=self.started, seconds=self._seconds(),
            processes=self.processes,
        )  # fmt: skip
        mended = {"trained_with": self.trained_with} if self.trained_with else {}
        self.directory.write_manifest({**about, **mended, **self.directory.deciding_hashes(), **more})
