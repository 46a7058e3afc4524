"""Putting the prompts of a bank to a learner: all at once, or what is costly in parts; failures are counted.

Dimensions: n = prompts, points = K + 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from icl_curriculum.core.component import LARGEST, Strict
from icl_curriculum.core.contracts import ComponentFailed, at_work, kind_of
from icl_curriculum.core.errors import UserError, described
from icl_curriculum.core.machine import is_out_of_memory
from icl_curriculum.core.plugin_reads import no_strays
from icl_curriculum.core.progress import Tell, heard_by, tell_nobody
from icl_curriculum.core.prompts import Learner, Prompts
from icl_curriculum.core.registry import source_of
from icl_curriculum.core.settings import own_settings
from icl_curriculum.evaluation.causality import leak_in
from icl_curriculum.evaluation.failures import BaselineFailure
from icl_curriculum.evaluation.learners import NamedLearner
from icl_curriculum.evaluation.stepwise import predicted
from icl_curriculum.models import AdaptationDiverged
from icl_curriculum.models.calling import check_shape
from icl_curriculum.results.statistics.prompts import Array

#: Prompts that a costly learner is asked at once, at one length: between two of these progress is told.
PART = 32


@dataclass(frozen=True)
class Reply:
    """What a learner answered: ``predictions`` to ``prompts``, whose mask says what was asked; shaped as their targets.

    NaN where a baseline failed.
    """

    prompts: Prompts
    predictions: Array
    failures: tuple[BaselineFailure, ...] = ()


@own_settings()
def answers(learner: Learner, prompts: Prompts) -> Array:
    """A learner's predictions in float64, shaped as labels are. ValueError for predictions of another shape.

    Reasoning steps are put to it as `stepwise.predicted` says.
    """
    return answered(predicted(learner, prompts), prompts)


def answered(predictions: torch.Tensor, prompts: Prompts) -> Array:
    """Predictions for prompts in float64. ValueError for those of another shape, or of what is no log-probability."""
    check_shape(predictions, prompts.ys)
    found = predictions.detach().double().cpu()
    if prompts.classes:
        _expect_log_probabilities(found, prompts.defined().cpu())
    array: Array = found.numpy()
    return array


#: What rounding in single precision makes of the logarithm of a sum of probabilities.
_ROUNDING = 1e-3


def _expect_log_probabilities(predictions: torch.Tensor, defined: torch.Tensor) -> None:
    """ValueError where the probabilities of an entry's classes don't sum to 1; NaN is no answer."""
    sums = predictions.logsumexp(dim=-1)[defined]
    wrong = sums[sums.abs() > _ROUNDING]
    if len(wrong):
        raise ValueError(
            f"expected log-probabilities of {predictions.shape[-1]} classes, found an entry whose probabilities sum to "
            f"{float(wrong[0].exp()):.4g}: end with .log_softmax(dim=-1)"
        )


def answered_entries(predictions: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Which entries (n, points) were answered: where a prediction is finite, or is that no class can be but others."""
    if predictions.ndim == 2:
        finite: NDArray[np.bool_] = np.isfinite(predictions)
        return finite
    # The logarithm of probability 0 is an answer; that of a vector's number is none.
    impossible = np.isnan(predictions) | (predictions == np.inf)
    known: NDArray[np.bool_] = ~impossible.any(axis=-1) & np.isfinite(predictions).any(axis=-1)
    return known


def put_to(entry: NamedLearner, prompts: Prompts) -> Array:
    """The `answers` of a learner that is shown what it may see: no targets, and the truth where it is a lower bound.

    ComponentFailed for an optimum that needs the truth, and for a learner that changes its prompts in place.
    """
    shown = prompts.without_answers()
    if entry.sees_truth or entry.kind != "oracle" or entry.is_built_in:
        return answers_unchanged(entry, replace(shown, truth=prompts.truth if entry.sees_truth else None))
    try:
        return answers_unchanged(entry, shown)
    except Exception:
        told = replace(shown, truth=prompts.truth)
        try:
            answers_unchanged(entry, told)
        except Exception:
            told = shown
        if told is shown:
            raise
        raise ComponentFailed(
            f"the oracle of {entry.wording} reads prompts.truth, which an optimum may not: answer from xs, ys and "
            f"queries, or let oracle_kind (or oracle_for) say 'lower bound'"
        ) from None


def answers_unchanged(entry: NamedLearner, shown: Prompts) -> Array:
    """The `answers` of a learner to exactly what it is shown.

    A learner from outside gets tensors of its own; ComponentFailed if it changes them, as others are asked the same.
    """
    if entry.is_built_in:
        return answers(entry.learner, shown)
    given = shown.copy()
    with no_strays():
        replied = predicted(entry.learner, given)
    _expect_kind(entry, replied)
    found = answered(replied, shown)
    if changed := given.unlike(shown):
        raise ComponentFailed(
            f"{entry.wording} changed prompts.{changed} in place; expected prompts that are left as they were: make "
            f"altered ones by dataclasses.replace(prompts, ...) and clone()"
        )
    return found


def _expect_kind(entry: NamedLearner, replied: object) -> None:
    """ComponentFailed unless a learner from outside predicts real numbers that are precise enough.

    A model computes in float32, as in training; what needs no training may use float64, too.
    """
    kinds = ["torch.float32"] if entry.kind == "model" else ["torch.float32", "torch.float64"]
    if kind_of(replied) not in kinds:
        expected = f"a tensor (prompts, points) of {' or '.join(kinds)}"
        raise ComponentFailed(
            f"{entry.wording}: predict returned {kind_of(replied)}, expected {expected}",
            found=kind_of(replied), expected=expected,
        )  # fmt: skip


def ask(entry: NamedLearner, prompts: Prompts, costly: CostlyConfig, tell: Tell = tell_nobody) -> Reply:
    """The answers of a learner; only a lower bound sees the functions' parameters, and none the targets (`put_to`).

    What is costly is asked at the lengths and on the first prompts that ``costly`` says. A baseline that raises, or
    whose answer is no finite number, has failed on that prompt alone. So has a model that adapts and diverges, whose
    error is then that of an overflow. Otherwise raises what a model or an oracle raises, and what a baseline does that
    is not costly and answers no prompt at all. What is costly tells how far it is, and so does a model that answers
    prompt length by prompt length.
    """
    if getattr(entry.learner, "costly", False):
        return _in_parts(entry, _lightened(prompts, costly), tell)
    with heard_by(tell):
        return _at_once(entry, prompts)


def _at_once(entry: NamedLearner, prompts: Prompts) -> Reply:
    """The answers of a learner that is not costly, to all prompts."""
    if entry.kind != "baseline":
        with at_work(entry.component, "predict"):
            try:
                found = put_to(entry, prompts)
                _expect_causal(entry, prompts, found)
                return Reply(prompts, found)
            except AdaptationDiverged as error:
                nothing: Array = np.full(prompts.targets.shape, np.nan)
                ks = defined_lengths(prompts)
                failed = BaselineFailure(entry.id, tuple(ks), len(prompts), len(prompts), str(error))
                return Reply(prompts, nothing, (failed,))
    trial = _Trial(entry, prompts)
    trial.ask(slice(0, len(prompts)), prompts.mask)
    trial.expect_an_answer()
    _expect_causal(entry, prompts, trial.predictions)
    return trial.reply()


#: The prompts of a bank that a model from outside is asked a second time, at least; others are asked all of them.
_ASKED_AGAIN = 64


def _expect_causal(entry: NamedLearner, prompts: Prompts, found: Array) -> None:
    """ComponentFailed if a learner from outside has used what it may not know on the very prompts of a bank."""
    if entry.is_built_in:
        return
    n = min(len(prompts), max(_ASKED_AGAIN, 2 * prompts.points)) if entry.kind == "model" else len(prompts)
    asked = prompts[:n].defined().cpu().numpy()
    try:
        if entry.component is None and not np.array_equal(
            put_to(entry, prompts[:n])[asked], found[:n][asked], equal_nan=True
        ):
            return  # It answers equal prompts otherwise, so nothing can be told.
        leak = leak_in(
            lambda changed: torch.from_numpy(put_to(entry, changed)), prompts[:n], torch.from_numpy(found[:n])
        )
    except ComponentFailed:
        raise
    except Exception:
        return  # Whatever it cannot answer, it was not asked in earnest.
    if leak is not None:
        raise ComponentFailed(f"{entry.wording} leaks: {leak}")


def _lightened(prompts: Prompts, costly: CostlyConfig) -> Prompts:
    """The first prompts, with a mask that leaves the lengths to ask; the longest, if all of them are longer."""
    part = prompts[: costly.n_prompts]
    defined = defined_lengths(part)
    chosen = [k for k in defined if k in costly.asked(prompts.dims, prompts.points)] or defined[-1:]
    mask = torch.zeros(part.xs.shape[:2], dtype=torch.bool)
    mask[:, chosen] = True
    return replace(part, mask=mask & part.defined())


def defined_lengths(prompts: Prompts) -> list[int]:
    """The prompt lengths that are defined in one prompt at least."""
    return [int(k) for k in prompts.defined().any(dim=0).nonzero().flatten()]


def _in_parts(entry: NamedLearner, prompts: Prompts, tell: Tell) -> Reply:
    trial = _Trial(entry, prompts)
    parts = [(k, start) for k in defined_lengths(prompts) for start in range(0, len(prompts), PART)]
    for done, (k, start) in enumerate(parts):
        share = done / len(parts)
        tell(share, f"{entry.id} {share:.0%}")
        rows = slice(start, min(start + PART, len(prompts)))
        mask = torch.zeros(prompts.xs[rows].shape[:2], dtype=torch.bool)
        mask[:, k] = True
        trial.ask(rows, mask & prompts.defined()[rows])
    return trial.reply()


class _Trial:
    """The answers of a learner as they come in, and what it failed on."""

    def __init__(self, entry: NamedLearner, prompts: Prompts) -> None:
        self.entry, self.prompts = entry, prompts
        self.predictions: Array = np.full(prompts.targets.shape, np.nan)
        self.reasons: dict[tuple[int, int], str] = {}
        self.raised: Exception | None = None

    def ask(self, rows: slice, mask: torch.Tensor | None) -> None:
        """Ask these rows at the lengths of the mask; where that raises, ask each of them by itself."""
        part = replace(self.prompts[rows], mask=mask)
        ks = defined_lengths(part)
        if not ks:
            return
        try:
            found = put_to(self.entry, part)
        except Exception as error:
            if self.entry.kind != "baseline" and not isinstance(error, AdaptationDiverged):
                with at_work(self.entry.component, "predict"):
                    raise
            if _is_no_failure(error):
                raise
            self.raised = self.raised or error
            if len(part) > 1:
                for i in range(rows.start, rows.stop):
                    self.ask(slice(i, i + 1), None if mask is None else mask[i - rows.start : i - rows.start + 1])
                return
            component = self.entry.component
            source = self.entry.source if component is None else source_of(component)
            reason = str(error) if isinstance(error, AdaptationDiverged) else described(error, source)
            self.reasons.update({(rows.start, k): reason for k in ks})
            return
        self.predictions[rows, ks] = found[:, ks]
        for i, k in np.argwhere(~answered_entries(found) & part.defined().numpy()):
            self.predictions[rows.start + i, k] = np.nan
            self.reasons[rows.start + int(i), int(k)] = "a prediction that is no finite number"

    def expect_an_answer(self) -> None:
        """Raise what the baseline raised if it answered nothing: it is broken, whatever the prompt."""
        if self.raised is not None and not answered_entries(self.predictions).any():
            with at_work(self.entry.component, "predict"):
                raise self.raised

    def reply(self) -> Reply:
        return Reply(self.prompts, self.predictions, tuple(self._failures()))

    def _failures(self) -> Iterator[BaselineFailure]:
        """Lengths at which as many prompts failed, first for the same reason, make one failure."""
        asked = self.prompts.defined().sum(dim=0).tolist()
        groups: dict[tuple[int, int, str], list[int]] = {}
        for k in sorted({k for _, k in self.reasons}):
            reasons = [reason for (_, length), reason in self.reasons.items() if length == k]
            groups.setdefault((len(reasons), asked[k], reasons[0]), []).append(k)
        for (count, of, reason), ks in groups.items():
            yield BaselineFailure(self.entry.id, tuple(ks), count, of, reason)


def _is_no_failure(error: Exception) -> bool:
    """Whether an error is of the caller's config, of a contract or of the machine, not of a prompt."""
    return isinstance(error, UserError | ComponentFailed | MemoryError) or (
        isinstance(error, RuntimeError) and is_out_of_memory(error)
    )


def _lengths(value: object) -> object:
    if value is None or value == "all":
        return value
    numbers = tuple(value) if isinstance(value, list | tuple) else ()
    if not numbers or not all(type(number) is int and 0 <= number <= LARGEST for number in numbers):
        raise PydanticCustomError("lengths", "expected 'all' or a list of numbers of examples, as in [5, 10]")
    return numbers


Lengths = Annotated[Literal["all"] | tuple[int, ...] | None, PlainValidator(_lengths)]


class CostlyConfig(Strict):
    """``[evaluation.costly]``: what is asked of baselines that fit every prompt and length anew."""

    n_prompts: int = Field(128, ge=2, le=LARGEST, description="prompts of each bank, its first ones")
    lengths: Lengths = Field(None, description="'all', or numbers of examples; default: d/2, d, 2 d and 4 d")

    def asked(self, dims: int, points: int) -> tuple[int, ...]:
        """The prompt lengths to ask, whether or not prompts of ``points`` points have them all."""
        if self.lengths == "all":
            return tuple(range(points))
        return self.lengths or (max(1, dims // 2), dims, 2 * dims, 4 * dims)

    def check(self, longest: int, source: str) -> None:
        """UserError, naming the ``source``, for a length that no prompt has: the ``longest`` has so many examples."""
        for k in self.lengths or ():
            if isinstance(k, int) and k > longest:
                raise UserError(f"{source}: {k} exceeds the longest prompt, {longest} examples")
