"""The evaluation of a trained model: rows of evaluation.csv, with baselines computed once per bank."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.numpy

from icl_curriculum.config.experiment import Experiment, Run
from icl_curriculum.core.contracts import at_work, broken_contract
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.files import locked, write_atomically
from icl_curriculum.core.progress import Tell, between, tell_nobody, within
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.provenance import versions
from icl_curriculum.core.registry import code_of
from icl_curriculum.evaluation import (
    Bank,
    BaselineFailure,
    ErrorRow,
    LearnerAnswers,
    NamedLearner,
    Reply,
    adapted_learners,
    content_hash,
    doubts_on_answers,
    doubts_on_bank,
    evaluation_rows,
    oracle_entry,
    prediction_differences,
    score,
)
from icl_curriculum.models import Adaptation, Model
from icl_curriculum.results.columns import EvaluationRow, TimingRow, bytes_hash, text_hash
from icl_curriculum.results.differences import PredictionDifferenceRow
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.results.doubts import Doubt
from icl_curriculum.shifts import Shift, why_undefined
from icl_curriculum.tasks import Task

#: Multiples of it lie far apart within a turn.
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, and what it has seen: cells with a positive share in training, and points of a prompt.

    ``plugins``: hashes of plugins that the run itself did not know.
    """

    run: Run
    model: Model
    step: int
    offered: frozenset[tuple[str, str]]
    points: int
    plugins: tuple[str, ...] = ()

    def knows(self, bank: Bank) -> bool:
        """Whether the bank is one of its own training distributions, at lengths that it was trained on."""
        if bank.shift_id != "none" or (bank.function_class, bank.input_distribution) not in self.offered:
            return False
        if not self.means(bank):
            return False
        # What a shift calls its columns is a name; the prompts must be those of a task that was trained on.
        return bank.shift is None or bank.asks_like(self.run.experiment.tasks().values())

    def means(self, bank: Bank) -> bool:
        """Whether the run means by a bank's class and inputs the same code; so it does where it knows none of theirs.

        Two versions of a plugin may define classes of one name.
        """
        own = self.run.experiment.tasks().get((bank.task.function_class.id, bank.task.inputs.id))
        return own is None or [*map(code_of, (own.function_class, own.inputs))] == [
            *map(code_of, (bank.task.function_class, bank.task.inputs))
        ]


@dataclass(frozen=True)
class Evaluated:
    """The content hash of every bank, what baselines failed on, and what there is to doubt, by the bank's name."""

    hashes: dict[str, str]
    failures: dict[str, list[BaselineFailure]]
    doubts: dict[str, list[Doubt]]


def evaluate(trained: TrainedModel, banks: Sequence[Bank], directory: RunDirectory, tell: Tell) -> Evaluated:
    """Write evaluation.csv and prediction_differences.csv of a run, from the `evaluation_banks` of its experiment."""
    began = time.monotonic()
    # Runs that evaluate at the same time start at different banks, so that none waits for another's baselines.
    first = round(_GOLDEN * trained.run.seed * len(banks)) % len(banks)
    turned = [*banks[first:], *banks[:first]]
    adaptations = trained.run.experiment.evaluation.adaptations()
    cache = directory.path.parent / ".cache"

    def tell_while_held(share: float, detail: str = "") -> None:
        # The cache lies beside the run, and must not make a folder anew that was deleted or moved.
        directory.check_held()
        tell(share, detail)

    found = list(score_banks(trained, turned, cache, tell_while_held, adaptations=adaptations))
    rows: list[EvaluationRow] = []
    differences: list[PredictionDifferenceRow] = []
    hashes: dict[str, str] = {}
    failures: dict[str, list[BaselineFailure]] = {}
    doubts: dict[str, list[Doubt]] = {}
    for scored in found[len(banks) - first :] + found[: len(banks) - first]:
        rows += scored.rows
        differences += scored.differences
        hashes[scored.name] = scored.content
        failures[scored.name] = scored.failures
        doubts[scored.name] = scored.doubts
    directory.write_table("evaluation", rows)
    directory.write_table("prediction_differences", differences)
    seconds = time.monotonic() - began
    prompts = sum(bank.n_prompts for bank in banks)
    directory.append("timing", [TimingRow(trained.step, "evaluation", seconds, prompts_per_second=prompts / seconds)])
    return Evaluated(hashes, failures, doubts)


@dataclass(frozen=True)
class Scored:
    """A bank with its content hash, its rows without a run's own columns, what failed, and what there is to doubt.

    ``rows`` are those of evaluation.csv, ``differences`` those of prediction_differences.csv.
    """

    bank: Bank
    content: str
    rows: list[EvaluationRow]
    failures: list[BaselineFailure]
    differences: list[PredictionDifferenceRow]
    doubts: list[Doubt]

    @property
    def name(self) -> str:
        """What a manifest calls the bank."""
        return "/".join(self.bank.key)


def score_banks(
    trained: TrainedModel,
    banks: Sequence[Bank],
    cache: Path,
    tell: Tell,
    models: Sequence[NamedLearner] = (),
    adaptations: Sequence[Adaptation] = (),
) -> Iterator[Scored]:
    """Each bank, answered by the model, the baselines that its experiment chooses for the class, and the oracle.

    ``models``: the model in all the ways in which it is asked; by default as it is. ``adaptations``: how it is adapted
    to each bank, beside these; the answers of those have errors, and are compared with no other learner's.
    """
    experiment = trained.run.experiment
    asked = models or [NamedLearner("model", "model", trained.model, experiment.model)]
    for number, bank in enumerate(banks):
        of_bank = within(tell, number, len(banks))
        prompts = bank.draw()
        own: list[LearnerAnswers] = []
        found = score(asked, bank, prompts, experiment.evaluation.confidence, replied=_keeping(own))
        share = 0.5 if adaptations else 0.0
        failures: list[BaselineFailure] = []
        adapted: list[LearnerAnswers] = []
        found += score(
            adapted_learners(trained.model, adaptations, bank, experiment.model), bank, prompts,
            experiment.evaluation.confidence, costly=experiment.evaluation.costly, failed=failures.append,
            tell=between(of_bank, 0.0, share), replied=_keeping(adapted),
        )  # fmt: skip
        classical = baseline_rows(trained.run, bank, prompts, cache, trained.plugins, between(of_bank, share, 1.0))
        found += classical.rows
        trained_points = trained.points if trained.knows(bank) else 0
        rows = evaluation_rows(found, bank, step=trained.step, trained_points=trained_points)
        pairs = [(one, other) for i, one in enumerate(own) for other in (*own[i + 1 :], *classical.answers)]
        differences = [
            difference.row(
                bank, step=trained.step, trained_points=trained_points,
                other_run=trained.run.name if difference.other.learner_kind == "model" else None,
            )
            for difference in prediction_differences(pairs, bank, prompts, experiment.evaluation.confidence)
        ]  # fmt: skip
        everyone = [*own, *adapted, *classical.answers]
        doubts = [*doubts_on_bank(bank, prompts), *doubts_on_answers(bank, prompts, everyone)]
        yield Scored(bank, content_hash(prompts), rows, failures + classical.failures, differences, doubts)
        of_bank(1.0)


def _keeping(kept: list[LearnerAnswers]) -> Callable[[NamedLearner, Reply], None]:
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
) -> Classical:
    """The baselines and the oracle on a bank: computed by the first run that asks, read by the others.

    ``plugins``: hashes of plugins beside the run's own.
    """
    function_class = bank.drawn_task.function_class
    chosen = run.experiment.baselines_for(function_class)
    entries = [NamedLearner(baseline.id, "baseline", baseline, baseline) for baseline in chosen] + oracle_entry(bank)
    confidence, costly = run.experiment.evaluation.confidence, run.experiment.evaluation.costly
    specs = [[baseline.id, baseline.spec()] for baseline in chosen] + [function_class.spec()]
    # Threads and the libraries' versions decide the last bits.
    made_by = [_versions(), run.experiment.threads, [*run.plugin_hashes, *plugins]]
    asked = [content_hash(prompts), bank.key, specs, confidence, costly.model_dump(), made_by]
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    path = cache / f"{key}.json"
    with locked(path.with_suffix(".lock"), waiting=lambda holder: None):
        # A cache that is damaged is no cache, and neither is that of a version that sealed none.
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError, RecursionError):
            return _read(path)
        found = Classical([], [], [])
        found.rows.extend(
            score(
                entries, bank, prompts, confidence, costly=costly, tell=tell, failed=found.failures.append,
                replied=_keeping(found.answers),
            )
        )  # fmt: skip
        _write(path, found)
    return found


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


def check_banks(experiment: Experiment) -> None:
    """UserError for a shift whose rows could not be told from those of other prompts."""
    for _ in (*evaluation_banks(experiment), *learning_banks(experiment)):
        pass


def evaluation_banks(experiment: Experiment) -> Iterator[Bank]:
    """Every cell of the experiment as it is, then under every shift that is defined for it, each once."""
    config = experiment.evaluation
    return _banks(experiment, config.shifts, config.n_prompts, "evaluation")


def learning_banks(experiment: Experiment) -> Iterator[Bank]:
    """The small banks behind learning.csv: every cell as it is, then under the learning shifts, each once."""
    config = experiment.evaluation
    return _banks(experiment, config.learning_shifts, config.learning_prompts, "learning")


def _banks(
    experiment: Experiment, shifts: Sequence[Shift], n_prompts: int, purpose: Literal["evaluation", "learning"]
) -> Iterator[Bank]:
    seen: dict[tuple[str, str, str], Bank] = {}
    for shift in (None, *shifts):
        for task in experiment.tasks().values():
            if shift is not None and why_undefined(shift, task) is not None:
                continue
            bank = Bank(task, shift, n_prompts, experiment.points, experiment.evaluation.bank_seed, purpose)
            if shift is not None:
                _expect_columns(shift, task)
            if bank.key not in seen:
                seen[bank.key] = bank
                yield bank
            elif not bank.same_prompts(seen[bank.key]):
                known, key = seen[bank.key], "learning_shifts" if purpose == "learning" else "shifts"
                what = "prompts without a shift" if known.shift is None else f"the shift {known.shift.id!r}"
                raise UserError(
                    f"{bank.shift_name!r} would stand in the tables as {'/'.join(bank.key)}, as {what} do; expected "
                    f"names of its own",
                    key=f"evaluation.{key}",
                    way_out="let its columns tell it apart, or give it an id",
                )


def _expect_columns(shift: Shift, task: Task) -> None:
    """ComponentFailed unless a shift gives two texts that tables can hold."""
    with at_work(shift, "columns"):
        columns = shift.columns(task)
    texts = isinstance(columns, tuple) and len(columns) == 2 and all(isinstance(text, str) for text in columns)
    if not texts or not all(text and text.isprintable() for text in columns):
        raise broken_contract(
            shift, "columns", found=repr(columns), expected="the ids of inputs and of the shift, two printable texts"
        )


def undefined_cells(experiment: Experiment) -> list[str]:
    """``parity under random_quadrants: <reason>``: the shifts of the experiment that a class is not evaluated under."""
    config = experiment.evaluation
    reasons = {
        f"{task.function_class.id} under {shift.id}: {reason}": None
        for shift in (*config.shifts, *config.learning_shifts)
        for task in experiment.tasks().values()
        if (reason := why_undefined(shift, task)) is not None
    }
    return list(reasons)
