"""When a run writes its checkpoints, and the cadence of runs that an earlier version began."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from icl_curriculum.config.cadence import EARLIER
from icl_curriculum.config.experiment import Experiment, Run
from icl_curriculum.core.errors import UserError
from icl_curriculum.results.manifests import read_manifest

#: The fewest seconds between two checkpoints, and the share of the time that a run has taken so far: a run that is
#: killed loses no more than the longer of the two.
SHORTEST, SHARE = 15.0, 0.01
#: How many times longer than the writing of one the time between two checkpoints is, at least.
TIMES_WRITING = 50


def seconds_between(elapsed: float, writing: float) -> float:
    """The seconds from one checkpoint to the next, after ``elapsed`` seconds of a run, if it took ``writing`` to write.

    >>> [seconds_between(elapsed, 0.2) for elapsed in (0, 3600, 24 * 3600)], seconds_between(3600, 1.0)
    ([15.0, 36.0, 864.0], 50.0)
    """
    return max(SHORTEST, SHARE * elapsed, TIMES_WRITING * writing)


def checkpoints_in(seconds: float, writing: float) -> int:
    """How many checkpoints a run of so many seconds writes by time, the one after its last step included."""
    count, elapsed = 1, seconds_between(0.0, writing)
    while elapsed < seconds:
        count, elapsed = count + 1, elapsed + seconds_between(elapsed, writing)
    return count


class CheckpointCadence:
    """Says after which steps a run writes a checkpoint: every so many, or by ``"time"`` as `seconds_between` has it.

    ``elapsed``: gives the seconds that the run has taken so far, from the sessions before this one, too.
    """

    def __init__(self, every: int | Literal["time"], elapsed: Callable[[], float]) -> None:
        self.every, self.elapsed = every, elapsed
        self.next = elapsed() + seconds_between(elapsed(), 0.0)

    def due(self, step: int) -> bool:
        """Whether a checkpoint is due after ``step`` steps."""
        return self.elapsed() >= self.next if self.every == "time" else step % self.every == 0

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Write a checkpoint in this block: when the next one is due depends on how long that takes."""
        began = self.elapsed()
        yield
        self.next = self.elapsed() + seconds_between(self.elapsed(), self.elapsed() - began)


def as_begun(runs: Sequence[Run], results: Path) -> list[Run]:
    """The runs, but with the `EARLIER` defaults where an earlier version began their variant in this folder.

    Finished runs are then kept and others resumed, and seeds that are added have rows at the same steps.
    """
    begun: dict[str, set[str]] = {}
    # All seeds of a variant share its experiment, and with it their hash.
    known: dict[int, Experiment] = {}
    found = []
    for run in runs:
        if id(run.experiment) in known:
            found.append(dataclasses.replace(run, experiment=known[id(run.experiment)]))
            continue
        known[id(run.experiment)] = run.experiment
        training = run.experiment.training
        changed = {
            key: every
            for key, every in EARLIER.items()
            if key not in training.model_fields_set and getattr(training, key) != every
        }
        if changed:
            earlier_training = training.model_copy(update=changed)
            experiment = run.experiment.model_copy(update={"training": earlier_training})
            earlier = dataclasses.replace(run, experiment=experiment)
            if run.variant not in begun:
                begun[run.variant] = _hashes(results / run.experiment.name, run.variant)
            if earlier.hash() in begun[run.variant]:
                known[id(run.experiment)] = experiment
                run = earlier
        found.append(run)
    return found


def _hashes(folder: Path, variant: str) -> set[str]:
    """The config hashes of all runs of a variant in an experiment's folder of results."""
    hashes = set()
    for path in folder.glob("*-seed*"):
        # What is damaged is named when the run itself is looked at.
        with contextlib.suppress(UserError):
            manifest = read_manifest(path)
            if manifest is not None and manifest["variant"] == variant:
                hashes.add(str(manifest["config_hash"]))
    return hashes
