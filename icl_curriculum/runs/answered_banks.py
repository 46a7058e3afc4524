"""What was answered to the banks of a run that is not finished yet, kept bank by bank and sealed.

Beside an experiment's runs lies ``.cache/<run>/``, with a file for each bank. Its name is a hash of all that decides
what is in it, so that it stands for the right thing whoever wrote it, and when: several processes that answer some
banks each, one that was killed, one that wakes up after the run was moved aside or trained anew. Whatever is missing,
damaged or of anything else is answered again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from icl_curriculum.core.files import allowed, atomic_path
from icl_curriculum.core.machine import device_kind
from icl_curriculum.core.provenance import source_hash, versions
from icl_curriculum.evaluation import BANK_VERSION, Bank, BaselineFailure, content_hash
from icl_curriculum.results.columns import EvaluationRow, bytes_hash, text_hash
from icl_curriculum.results.differences import PredictionDifferenceRow
from icl_curriculum.results.doubts import Doubt
from icl_curriculum.runs.evaluation import Scored, TrainedModel
from icl_curriculum.runs.kept_weights import serialized

#: What reading a file raises that is missing, cut off, or not what was written.
_UNREADABLE = (OSError, ValueError, TypeError, LookupError, RecursionError)

# Reading them takes longer than a small bank.
_versions = functools.cache(versions)


class AnsweredBanks:
    """The banks of a trained run that were answered, each in a file of its own.

    ``run_dir``: the run's folder, in which nothing is written. ``device``: the one that the model computes on.
    ``before`` is called before anything is written, and may forbid it by raising. ``known`` counts the banks that were
    found here rather than answered; ``problem`` is why some could not be written. Every bank is asked what the run's
    own config says, so the banks of other grids have no place here.
    """

    def __init__(
        self, run_dir: Path, trained: TrainedModel, device: str, *, before: Callable[[], None] = allowed
    ) -> None:
        self.folder, self.before = folder_of(run_dir), before
        self.known = 0
        self.problem: OSError | None = None
        self._there: set[Path] = set()
        run = trained.run
        self._decided_by: list[Any] = [
            run.name, run.hash(), run.experiment.threads, sorted(trained.plugins),
            bytes_hash(serialized(trained.model)), trained.step, sorted(trained.offered), trained.points,
            device_kind(device), BANK_VERSION, source_hash(), _versions(),
        ]  # fmt: skip

    def path(self, bank: Bank) -> Path:
        """The file of a bank."""
        asked = [bank.key, bank.shift_name, bank.n_prompts, bank.points, bank.seed, bank.purpose]
        text = json.dumps([self._decided_by, asked], sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"

    def find(self, bank: Bank) -> Scored | None:
        """What was answered to a bank; None where that is not known, or where other prompts are drawn now."""
        path = self.path(bank)
        try:
            found = _read(path, bank)
        except _UNREADABLE:
            return None
        if found.content != content_hash(bank.draw()):
            return None
        self._there.add(path)
        self.known += 1
        return found

    def keep(self, answered: Iterable[Scored]) -> None:
        """Write what was answered to those banks that are not here yet.

        Where the system refuses, ``problem`` says so, and nothing is lost but time: the bank is answered again.
        """
        try:
            for scored in answered:
                path = self.path(scored.bank)
                text = None if path in self._there else _text(path, scored)
                if text is None:
                    continue
                self.before()
                # No folder above these: an experiment that was deleted or moved is not to be made anew.
                for folder in (self.folder.parent, self.folder):
                    folder.mkdir(exist_ok=True)
                with atomic_path(path, before=self.before) as temporary:
                    temporary.write_text(text, encoding="utf-8")
                self._there.add(path)
        except OSError as error:
            self.problem = error


def folder_of(run_dir: Path) -> Path:
    """Where what was answered to the banks of a run lies, beside what its baselines answered."""
    return run_dir.parent / ".cache" / run_dir.name


def forget(run_dir: Path) -> None:
    """Remove what was answered to the banks of a run, which its tables hold now."""
    shutil.rmtree(folder_of(run_dir), ignore_errors=True)


def _text(path: Path, scored: Scored) -> str | None:
    """What is written of a bank; None where a value, as one of a plugin's metric, is not read as it was written."""
    plain = {
        "content": scored.content, "rows": scored.rows, "differences": scored.differences,
        "failures": [[item.learner, item.n_context, item.failed, item.asked, item.reason] for item in scored.failures],
        "doubts": [[item.about, item.text, item.learner, item.n_context] for item in scored.doubts],
    }  # fmt: skip
    try:
        text = json.dumps(plain)
    except (TypeError, ValueError):
        return None
    return f"{_seal(path, text)}\n{text}"


def _read(path: Path, bank: Bank) -> Scored:
    """What `_text` made. OSError, ValueError or the like where that is not there, or is not what was written."""
    seal, _, text = path.read_text(encoding="utf-8").partition("\n")
    if seal != _seal(path, text):
        raise ValueError("it is not what was written there")
    known = json.loads(text)
    failures = [BaselineFailure(learner, tuple(ks), *others) for learner, ks, *others in known["failures"]]
    doubts = [Doubt(about, said, learner, tuple(ks)) for about, said, learner, ks in known["doubts"]]
    rows = [EvaluationRow(*values) for values in known["rows"]]
    differences = [PredictionDifferenceRow(*values) for values in known["differences"]]
    return Scored(bank, known["content"], rows, failures, differences, doubts)


def _seal(path: Path, text: str) -> str:
    return json.dumps({"sealed": text_hash(f"{path.stem}\n{text}")})
