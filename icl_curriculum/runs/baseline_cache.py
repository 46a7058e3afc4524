"""What baselines and oracles answer to a bank: computed by the first run that asks, sealed, and read by the others.

It is right without any lock, as file systems that machines share may have none. A file's name says what was asked, and
files replace each other whole; a pair that does not belong together, as two that write at once may leave it for a
moment, is no cache, and is computed and written anew by whoever finds it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.numpy

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.files import write_atomically
from icl_curriculum.core.progress import Tell, tell_nobody
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.provenance import versions
from icl_curriculum.evaluation import (
    Bank,
    BaselineFailure,
    ErrorRow,
    LearnerAnswers,
    NamedLearner,
    Reply,
    content_hash,
    oracle_entry,
    score,
)
from icl_curriculum.metrics import Metric
from icl_curriculum.results.columns import bytes_hash, text_hash

#: The most seconds that a process waits for another one to compute the same, and how often it looks.
PATIENCE, LOOK_EVERY = 600.0, 0.05


def keeping(kept: list[LearnerAnswers]) -> Callable[[NamedLearner, Reply], None]:
    """What is told of replies and appends them to a list."""
    return lambda entry, reply: kept.append(LearnerAnswers.of(entry, reply))


@dataclass(frozen=True)
class Classical:
    """What learners without training answered to a bank: their errors, what failed, and the answers themselves."""

    rows: list[ErrorRow]
    failures: list[BaselineFailure]
    answers: list[LearnerAnswers]


def baseline_rows(
    run: Run,
    bank: Bank,
    prompts: Prompts,
    cache: Path,
    plugins: tuple[str, ...] = (),
    tell: Tell = tell_nobody,
    *,
    metrics: Sequence[Metric] | None = None,
) -> Classical:
    """The baselines and the oracle on a bank: computed by the first run that asks, read by the others.

    ``plugins``: hashes of plugins beside the run's own. ``metrics``: by default those that every evaluation has.
    """
    function_class = bank.drawn_task.function_class
    chosen = run.experiment.baselines_for(function_class)
    entries = [NamedLearner(baseline.id, "baseline", baseline, baseline) for baseline in chosen] + oracle_entry(bank)
    confidence, costly = run.experiment.evaluation.confidence, run.experiment.evaluation.costly
    specs: list[Any] = [[baseline.id, baseline.spec(by_content=True)] for baseline in chosen]
    specs += [function_class.spec(by_content=True)]
    # Threads and the libraries' versions decide the last bits.
    made_by = [_versions(), run.experiment.threads, [*run.plugin_hashes, *plugins]]
    measured = None if metrics is None else [[metric.id, metric.spec(by_content=True)] for metric in metrics]
    asked = [content_hash(prompts), bank.key, specs, confidence, costly.model_dump(), made_by, measured]
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    path = cache / f"{key}.json"
    with _one_at_a_time(path.with_suffix(".lock")):
        # A cache that is damaged is no cache, and neither is that of a version that sealed none.
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError, RecursionError):
            return _read(path)
        found = Classical([], [], [])
        found.rows.extend(
            score(
                entries, bank, prompts, confidence, metrics=metrics, costly=costly, tell=tell,
                failed=found.failures.append, replied=keeping(found.answers),
            )
        )  # fmt: skip
        # Somebody may clean the cache meanwhile.
        with contextlib.suppress(FileNotFoundError):
            _write(path, found)
    return found


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Keep processes of one machine from computing the same at once, where ``flock`` can: a courtesy, no more."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, deadline = stack.enter_context(path.open("ab")), time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(LOOK_EVERY)
        yield


def _write(path: Path, found: Classical) -> None:
    """Write what was answered: the numbers as JSON, and beside it the answers, whose hash the JSON holds.

    The first line seals the rest: the hash of that, and of the file's name, which says what was asked.
    """
    stacked = {str(number): answers.predictions for number, answers in enumerate(found.answers)}
    data = safetensors.numpy.save(stacked)
    plain: dict[str, Any] = {
        key: [dataclasses.astuple(item) for item in getattr(found, key)] for key in ("rows", "failures")
    }
    plain["answers"] = [[answers.learner, answers.learner_kind] for answers in found.answers]
    plain["answers_hash"] = bytes_hash(data)
    write_atomically(path.with_suffix(".safetensors"), data)
    text = json.dumps(plain)
    write_atomically(path, f"{_seal(path, text)}\n{text}")


def _read(path: Path) -> Classical:
    """What `_write` wrote. OSError, ValueError or the like where that is not there, or is not what was written."""
    seal, _, text = path.read_text(encoding="utf-8").partition("\n")
    if seal != _seal(path, text):
        raise ValueError("it is not what was written there")
    known = json.loads(text)
    data = path.with_suffix(".safetensors").read_bytes()
    if bytes_hash(data) != known["answers_hash"]:
        raise ValueError("its answers are not those that were written with it")
    stacked = safetensors.numpy.load(data)
    failures = [BaselineFailure(learner, tuple(ks), *others) for learner, ks, *others in known["failures"]]
    answers = [LearnerAnswers(name, kind, stacked[str(i)]) for i, (name, kind) in enumerate(known["answers"])]
    return Classical([ErrorRow(*values) for values in known["rows"]], failures, answers)


# Reading them takes longer than a small bank.
_versions = functools.cache(versions)


def _seal(path: Path, text: str) -> str:
    return json.dumps({"sealed": text_hash(f"{path.stem}\n{text}")})
