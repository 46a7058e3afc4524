"""The evaluation of a trained model: rows of evaluation.csv, with baselines computed once per bank."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.component import code_of
from icl_curriculum.core.contracts import as_number, at_work
from icl_curriculum.core.log import LOG
from icl_curriculum.core.progress import Tell, between, within
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.evaluation import (
    Bank,
    BaselineFailure,
    LearnerAnswers,
    NamedLearner,
    adapted_learners,
    content_hash,
    doubts_on_answers,
    doubts_on_bank,
    evaluation_rows,
    left_out,
    prediction_differences,
    score,
)
from icl_curriculum.metrics import Metric, usual_metrics
from icl_curriculum.models import Adaptation, Model
from icl_curriculum.results.columns import EvaluationRow, TimingRow
from icl_curriculum.results.differences import PredictionDifferenceRow
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.results.doubts import Doubt
from icl_curriculum.results.predictions import FORMATS, predictions_file
from icl_curriculum.runs.baseline_cache import baseline_rows, keeping

#: What is told of a bank: its prompts, what everyone answered, and up to which points it is in distribution.
Answered = Callable[[Bank, Prompts, Sequence[LearnerAnswers], int], None]

#: The most seconds of answers that a process which is killed loses, beside the bank that it was at.
KEEP_EVERY = 2.0

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
    """The content hash of every bank, what baselines failed on, and what there is to doubt, by the bank's name.

    ``metrics``: what each is called, which way it improves, and its trivial level in every bank without a shift.
    """

    hashes: dict[str, str]
    failures: dict[str, list[BaselineFailure]]
    doubts: dict[str, list[Doubt]]
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)


class KeptAnswers(Protocol):
    """Where what was answered to banks is looked for, and kept: see `answered_banks.AnsweredBanks`."""

    def find(self, bank: Bank) -> Scored | None:
        """What was answered to a bank before."""

    def keep(self, answered: Iterable[Scored]) -> None:
        """Keep what was answered to some banks."""


def turned(banks: Sequence[Bank], seed: int) -> list[Bank]:
    """The banks in the order in which a run answers them.

    Runs that evaluate at the same time start at different banks, so that none waits for another's baselines.
    """
    first = round(_GOLDEN * seed * len(banks)) % len(banks)
    return [*banks[first:], *banks[:first]]


def evaluate(
    trained: TrainedModel,
    banks: Sequence[Bank],
    directory: RunDirectory,
    tell: Tell,
    kept: KeptAnswers | None = None,
) -> Evaluated:
    """Write evaluation.csv and prediction_differences.csv of a run, from the `evaluation_banks` of its experiment.

    ``kept``: what was answered before is taken from there, and what has taken a while is kept there.
    """
    began = time.monotonic()
    cache = directory.path.parent / ".cache"

    def tell_while_held(share: float, detail: str = "") -> None:
        # The cache lies beside the run, and must not make a folder anew that was deleted or moved.
        directory.check_held()
        tell(share, detail)

    found = answer_banks(trained, turned(banks, trained.run.seed), cache, tell_while_held, kept)
    rows: list[EvaluationRow] = []
    differences: list[PredictionDifferenceRow] = []
    hashes: dict[str, str] = {}
    failures: dict[str, list[BaselineFailure]] = {}
    doubts: dict[str, list[Doubt]] = {}
    for scored in (found[bank.key] for bank in banks):
        rows += scored.rows
        differences += scored.differences
        hashes[scored.name] = scored.content
        failures[scored.name] = scored.failures
        doubts[scored.name] = scored.doubts
    # What was written of an earlier evaluation was told of other answers.
    for name in FORMATS:
        directory.remove(predictions_file(directory.path, name))
    directory.write_table("evaluation", rows)
    directory.write_table("prediction_differences", differences)
    seconds = time.monotonic() - began
    prompts = sum(bank.n_prompts for bank in banks)
    directory.append("timing", [TimingRow(trained.step, "evaluation", seconds, prompts_per_second=prompts / seconds)])
    return Evaluated(hashes, failures, doubts, described_metrics(banks, trained.run.experiment.evaluation.metrics))


def answer_banks(
    trained: TrainedModel, banks: Sequence[Bank], cache: Path, tell: Tell, kept: KeptAnswers | None = None
) -> dict[tuple[str, str, str], Scored]:
    """What the model, the baselines and the oracle answer to banks of the run's experiment, by the bank's key.

    ``kept``: what is there is not asked again. What was answered is kept every `KEEP_EVERY` seconds, and when this ends
    by an error or since it was asked to stop; so a process that is killed loses little, and a short evaluation writes
    nothing.
    """
    known = {bank.key: kept.find(bank) for bank in banks} if kept is not None else {}
    found = {key: scored for key, scored in known.items() if scored is not None}
    before = len(found) / len(banks)
    if found:
        tell(before)
    missing = [bank for bank in banks if bank.key not in found]
    adaptations = trained.run.experiment.evaluation.adaptations()
    answered: list[Scored] = []
    written = time.monotonic()
    try:
        for scored in score_banks(trained, missing, cache, between(tell, before, 1.0), adaptations=adaptations):
            found[scored.bank.key] = scored
            answered.append(scored)
            if kept is not None and time.monotonic() - written >= KEEP_EVERY:
                kept.keep(answered)
                answered, written = [], time.monotonic()
    except BaseException:
        if kept is not None:
            kept.keep(answered)
        raise
    return found


def described_metrics(
    banks: Sequence[Bank], more: Sequence[Metric], known: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """What a manifest says of the metrics on banks, so that they can be shown where no plugin is loaded.

    ``known``: what it says already, and goes on to say of other banks.
    """
    found: dict[str, dict[str, Any]] = {name: copy.deepcopy(said) for name, said in (known or {}).items()}
    for bank in banks:
        task = bank.drawn_task
        for metric in usual_metrics(task, more):
            with at_work(metric, "trivial"):
                level = metric.trivial(task)
                title, improves = metric.wording(), metric.improves
            said = found.setdefault(metric.id, {})
            said.update(title=title, improves=improves)
            levels = said.setdefault("trivial" if bank.shift is None else "shifted", {})
            if level is not None:
                name = "/".join(bank.key[:2] if bank.shift is None else bank.key)
                levels[name] = as_number(metric, "trivial", level)
    return found


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
    metrics: Sequence[Metric] | None = None,
    answered: Answered = lambda bank, prompts, answers, points: None,
) -> Iterator[Scored]:
    """Each bank, answered by the model, the baselines that its experiment chooses for the class, and the oracle.

    ``models``: the model in all the ways in which it is asked; by default as it is. ``adaptations``: how it is adapted
    to each bank, beside these; the answers of those have errors, and are compared with no other learner's.
    ``metrics``: beside those that every evaluation has; by default the experiment's. ``answered``: told of all answers
    to a bank.
    """
    experiment = trained.run.experiment
    asked = models or [NamedLearner("model", "model", trained.model, experiment.model)]
    more = experiment.evaluation.metrics if metrics is None else metrics
    for number, bank in enumerate(banks):
        of_bank = within(tell, number, len(banks))
        prompts = bank.draw()
        own: list[LearnerAnswers] = []
        measured = usual_metrics(bank.drawn_task, more)
        first = 0.5 if trained.model.goes_by_length(prompts) else 0.0
        found = score(
            asked, bank, prompts, experiment.evaluation.confidence, metrics=measured, replied=keeping(own),
            tell=between(of_bank, 0.0, first),
        )  # fmt: skip
        share = (1 + first) / 2 if adaptations else first
        failures: list[BaselineFailure] = []
        failures += left_out(adaptations, prompts)
        adapted: list[LearnerAnswers] = []
        found += score(
            adapted_learners(trained.model, adaptations, bank, experiment.model), bank, prompts,
            experiment.evaluation.confidence, metrics=measured, costly=experiment.evaluation.costly,
            failed=failures.append,
            tell=between(of_bank, first, share), replied=keeping(adapted),
        )  # fmt: skip
        classical = baseline_rows(
            trained.run, bank, prompts, cache, trained.plugins, between(of_bank, share, 1.0), metrics=measured
        )
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
        answered(bank, prompts, everyone, trained_points)
        doubts = [*doubts_on_bank(bank, prompts), *doubts_on_answers(bank, prompts, everyone)]
        digest = content_hash(prompts)
        LOG.info("bank %s: %s prompts, hash %s", "/".join(bank.key), bank.n_prompts, digest)
        yield Scored(bank, digest, rows, failures + classical.failures, differences, doubts)
        of_bank(1.0)
