"""A bank that several learners are asked, and their rows of evaluation.csv and prediction_differences.csv."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from icl_curriculum.core.progress import Tell, tell_nobody
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.evaluation import (
    Bank,
    BaselineFailure,
    LearnerAnswers,
    NamedLearner,
    Reply,
    content_hash,
    doubts_on_answers,
    doubts_on_bank,
    evaluation_rows,
    oracle_entry,
    prediction_differences,
    score,
)
from icl_curriculum.evaluation.asking import CostlyConfig
from icl_curriculum.evaluation.gathering import gathered
from icl_curriculum.evaluation.probing import expect_causal
from icl_curriculum.metrics import Metric, usual_metrics
from icl_curriculum.results.columns import EvaluationRow, RunColumns
from icl_curriculum.results.differences import PredictionDifferenceRow
from icl_curriculum.results.doubts import Doubt
from icl_curriculum.results.predictions import BankPredictions
from icl_curriculum.scoring.learners import Contender, Each


@dataclass(frozen=True)
class AskedBank:
    """A bank and who answers it; ``failed`` is told of prompts that a learner could not answer.

    ``answered``: whom it has been put to so far, with the answers. ``probed``: whose answers were already held to what
    they may follow from, by run and id; share it between banks. ``metrics``: beside those that every evaluation has.
    """

    bank: Bank
    contenders: Sequence[Contender]
    confidence: float
    costly: CostlyConfig
    failed: Callable[[BaselineFailure], None]
    answered: list[tuple[Contender, LearnerAnswers]] = field(default_factory=list)
    probed: set[tuple[str, str]] = field(default_factory=set)
    metrics: Sequence[Metric] = ()
    _unknown: list[Doubt] = field(default_factory=list)

    @cached_property
    def prompts(self) -> Prompts:
        return self.bank.draw()

    @property
    def name(self) -> str:
        """What a manifest calls the bank."""
        return "/".join(self.bank.key)

    @cached_property
    def content(self) -> str:
        """The content hash of its prompts."""
        return content_hash(self.prompts)

    def everyone(self) -> list[Contender]:
        """The learners that can answer such labels, and the class's oracle where there is one."""
        able = [item for item in self.contenders if item.why_not(self.bank.drawn_task.function_class) is None]
        return [*able, *(Contender(entry) for entry in oracle_entry(self.bank))]

    def rows(self, item: Contender, tell: Tell = tell_nobody) -> list[EvaluationRow]:
        """The rows of one learner. Raises what it raises if it answers nothing, ComponentFailed if it leaks."""
        self._probe(item)

        def replied(entry: NamedLearner, reply: Reply) -> None:
            self.answered.append((item, LearnerAnswers.of(entry, reply)))

        found = score(
            [item.entry], self.bank, self.prompts, self.confidence,
            metrics=usual_metrics(self.bank.drawn_task, self.metrics), costly=self.costly, tell=tell,
            failed=self.failed, replied=replied,
        )  # fmt: skip
        return evaluation_rows(found, self.bank, step=item.step, trained_points=self._trained_points(item))

    def doubts(self) -> list[Doubt]:
        """What cannot be true of the bank, or of what was answered so far."""
        answers = [found for _, found in self.answered]
        return [
            *self._left_out(),
            *self._defined_otherwise(),
            *self._unknown,
            *doubts_on_bank(self.bank, self.prompts),
            *doubts_on_answers(self.bank, self.prompts, answers),
        ]

    def _left_out(self) -> Iterator[Doubt]:
        """The learners that are not asked, as they cannot answer such labels."""
        for item in self.contenders:
            reason = item.why_not(self.bank.drawn_task.function_class)
            if reason is not None:
                yield Doubt("labels", f"left out: {reason}", item.entry.id)

    def _defined_otherwise(self) -> Iterator[Doubt]:
        """The trained runs to which the bank's class or inputs are those of another version of a plugin."""
        for item in self.contenders:
            if item.trained is not None and not item.trained.means(self.bank):
                what = "the function class or the inputs of these names"
                text = f"{what} are not those that {item.run} was trained on: its plugins are another version"
                yield Doubt("definition", text, item.entry.id)

    def _probe(self, item: Contender) -> None:
        """Hold a learner to what its answers may follow from, the first time that it is asked."""
        of = self.bank.function_class if item.entry.kind == "oracle" else item.run
        if isinstance(item.entry.learner, Each) or (of, item.entry.id) in self.probed:
            return  # What answers one prompt at one length is shown nothing else.
        self.probed.add((of, item.entry.id))
        unknown = expect_causal(item.entry, self.bank.drawn_task, self.bank.points, self.costly)
        if unknown is not None:
            self._unknown.append(Doubt("leak", f"{item.entry.wording}: {unknown}", item.entry.id))

    def differences(self) -> Iterator[tuple[RunColumns, list[PredictionDifferenceRow]]]:
        """How far the learners that have answered are apart: rows, and the columns of a run that come before them.

        Every model and every other learner, or where there is no model every two learners; each two once. Models come
        before baselines, oracles last, and those of a kind by run and id, so that a later call names the same two in
        the same order.
        """
        ordered = sorted(self.answered, key=lambda item: _place(item[0]))
        models = [item for item in ordered if item[0].entry.kind == "model"]
        for number, (one, its_answers) in enumerate(models or ordered):
            others = ordered[number + 1 :]
            runs = {id(answers): item.run if item.trained is not None else None for item, answers in others}
            pairs = [(its_answers, answers) for _, answers in others]
            points = self._trained_points(one)
            found = [
                item.row(self.bank, step=one.step, trained_points=points, other_run=runs[id(item.other)])
                for item in prediction_differences(pairs, self.bank, self.prompts, self.confidence)
            ]
            yield one.columns, found

    def predictions(self) -> list[BankPredictions]:
        """What was answered so far, as it is written where predictions were asked for."""
        return [
            each
            for item, answers in self.answered
            for each in gathered(
                item.columns, self.bank, self.prompts, [answers],
                step=item.step, trained_points=self._trained_points(item),
            )
        ]  # fmt: skip

    def _trained_points(self, item: Contender) -> int:
        """Up to which points the bank is what a trained run has learned from; for other learners, what any of them."""
        asked = [item] if item.trained is not None else self.contenders
        models = [other.trained for other in asked if other.trained is not None]
        return max((model.points for model in models if model.knows(self.bank)), default=0)


def _place(item: Contender) -> tuple[int, str, str]:
    """Where a learner stands among those that it is compared with."""
    return ("model", "baseline", "oracle").index(item.entry.kind), item.run, item.entry.id
