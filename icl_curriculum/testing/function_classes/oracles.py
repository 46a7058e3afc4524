"""The rule on oracles: they are implemented, causal, and never worse than predicting zero.

Dimensions: batch = prompts, points = K + 1; entry k has k examples before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.function_classes.base import FunctionClass
from icl_curriculum.tasks import Task
from icl_curriculum.testing.function_classes.answered import errors_of
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule

#: Standard errors by which an oracle's error may exceed that of zero: tail 1e-9, at no more than 30 prompt lengths.
Z = 6.0
PROMPTS = 1024
#: A prompt's error beyond that of zero counts as this many mean squares of the targets at most.
CUT = 10.0
#: A difference that may be rounding, relative to the size of the predictions.
ROUNDING = 1e-3


@rule("oracle", "the oracle answers from the first k pairs alone, no worse than zero", requires=("trivial error",))
def oracle(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    function_class = subject.function_class
    if subject.without_oracle is not None:
        raise Inapplicable(subject.without_oracle)
    kinds = {dims: subject.oracles(dims) for dims in subject.dims}
    declared = {kind for of_noise in kinds.values() for kind in of_noise.values()} | {function_class.oracle_kind}
    if declared == {None}:
        undeclared = (subject.cls.oracle_kind, subject.cls.oracle_for) == (
            FunctionClass.oracle_kind,
            FunctionClass.oracle_for,
        )
        if "oracle" in vars(subject.cls) and undeclared:
            yield Finding(
                expected="an oracle_kind beside an oracle; without one the oracle is never asked",
                found=f"{subject.cls.__name__} defines oracle, and oracle_kind is None",
                mend="add the property oracle_kind, returning 'optimum' or 'lower bound'",
            )
            return
        raise Inapplicable("oracle_kind is None: no oracle is known")
    odd = declared - {"optimum", "lower bound", None}
    if odd:
        yield Finding(
            expected="'optimum', 'lower bound' or None from oracle_kind and oracle_for",
            found=", ".join(map(repr, sorted(map(str, odd)))),
            mend="'optimum' for what no learner can beat, 'lower bound' for an oracle that knows more",
        )
        return
    if subject.cls.oracle is FunctionClass.oracle:
        yield Finding(
            expected=f"an oracle, as oracle_kind is {sorted(filter(None, declared))[0]!r}",
            found=f"{subject.cls.__name__} does not define oracle",
            mend="define oracle(self, prompts), predictions of shape (batch, points); or let oracle_kind return None",
        )
        return
    known = [dims for dims, of_noise in kinds.items() if any(of_noise.values())]
    if not known:
        raise Inapplicable(f"oracle_for is None in the dimensions looked at, {', '.join(map(str, kinds))}")
    dims = known[len(known) // 2]
    for label_noise, kind in kinds[dims].items():
        if kind is None:
            yield Note(f"oracle_for gives None for label noise {label_noise:.3g} at d = {dims}")
            continue
        prompts = _prompts(subject, dims, label_noise)
        how = f"label noise {label_noise:.3g}, d = {dims}"
        findings = list(_answers(subject, prompts, how)) or [
            *_causality(subject, prompts[:64], _prompts(subject, dims, label_noise, index=1)[:64], how),
            *_against_zero(subject, prompts, how),
            *_units(subject, prompts[:64], how),
        ]
        yield from findings
        if findings:
            return
    own = [name for name in ("owns_inputs", "has_memory") if getattr(function_class, name)]
    if own:
        yield Note(f"not tested: answers to queries beside the inputs, because the class declares {' and '.join(own)}")


def _prompts(subject: FunctionClassSubject, dims: int, label_noise: float, index: int = 0) -> Prompts:
    task = Task(subject.function_class, subject.inputs(dims), dims, label_noise)
    return task.draw(PROMPTS, dims + 5, subject.streams("oracle", index))


def _predict(subject: FunctionClassSubject, prompts: Prompts) -> Tensor:
    subject.doing = f"oracle of prompts of shape {tuple(prompts.xs.shape)}"
    return subject.function_class.oracle(prompts)


def _answers(subject: FunctionClassSubject, prompts: Prompts, how: str) -> Iterator[Finding]:
    predictions = _predict(subject, prompts)
    shape = tuple(predictions.shape) if isinstance(predictions, Tensor) else type(predictions).__name__
    if shape != tuple(prompts.ys.shape):
        yield Finding(
            expected=f"predictions (batch, points) = {tuple(prompts.ys.shape)} from the oracle",
            found=f"{shape} with {how}",
            mend="give one prediction for every prompt length, k = 0 included",
        )
    elif not predictions.isfinite().all():
        wrong = ~predictions.isfinite()
        k = int((wrong if wrong.ndim == 2 else wrong.any(dim=-1)).any(dim=0).nonzero()[0])
        yield Finding(
            expected="finite predictions from the oracle at every prompt length",
            found=f"infinite or NaN ones, first at k = {k}, with {how}",
            mend="mind k = 0 (predict the prior mean, usually zero) and singular systems at small k",
        )


def _causality(subject: FunctionClassSubject, prompts: Prompts, other: Prompts, how: str) -> Iterator[Finding]:
    predictions = _predict(subject, prompts)
    size = float(predictions.abs().max()) + 1e-12

    def off(one: Tensor, another: Tensor) -> float:
        return float((one - another).abs().max()) / size

    answers_known = _predict(subject, replace(prompts, targets=other.targets))
    if off(answers_known, predictions) > ROUNDING:
        yield Finding(
            expected="predictions that don't depend on prompts.targets, the answers",
            found=f"other targets change predictions by up to {off(answers_known, predictions):.2g} of their size, "
            f"with {how}",
            mend="read xs, ys, query() and truth only",
        )
        return
    last = prompts.points - 1
    for k in sorted({0, 1, last // 2, last}):
        ys = torch.cat([prompts.ys[:, :k], other.ys[:, k:]], dim=1)
        xs = torch.cat([prompts.xs[:, : k + 1], other.xs[:, k + 1 :]], dim=1)
        changed = _predict(subject, replace(prompts, xs=xs, ys=ys))
        leak = off(changed[:, : k + 1], predictions[:, : k + 1])
        if leak > ROUNDING:
            yield Finding(
                expected=f"entry k = {k} and those before it unchanged when label {k} and all later pairs change",
                found=f"they change by up to {leak:.2g} of the predictions' size, with {how}",
                mend="entry k uses xs[:, :k], ys[:, :k] and the query of k; neither its own label nor later pairs",
            )
            return
    if subject.function_class.owns_inputs or subject.function_class.has_memory:
        return  # It is only asked about the next inputs.
    asked = replace(prompts, queries=other.xs)
    everywhere = _predict(subject, asked)
    for k in sorted({0, last // 2, last}):
        alone = _predict(subject, asked.at_prefix(k))[:, k]
        if off(everywhere[:, k], alone) > ROUNDING:
            yield Finding(
                expected=f"at k = {k}, with separate queries, the answer that a prompt of k examples gets by itself",
                found=f"answers that differ by up to {off(everywhere[:, k], alone):.2g} of the predictions' size, "
                f"with {how}",
                mend="predict at prompts.query()[:, k], not at prompts.xs[:, k], which is only the next example",
            )
            return


def _against_zero(subject: FunctionClassSubject, prompts: Prompts, how: str) -> Iterator[Finding]:
    """Checks that the oracle's squared error is not above that of zero, prompt by prompt.

    The differences are cut off above, which can only make their mean smaller. Otherwise a few enormous errors, such
    as those of interpolation at k = d under noise, would hide behind their own standard error.
    """
    # Of classes: as nothing but equal logits is what predicts nothing.
    of_zero = errors_of(prompts, torch.zeros_like(prompts.targets))
    trivial = float(of_zero.mean())
    excess = errors_of(prompts, _predict(subject, prompts)) - of_zero
    excess = excess.clamp(max=CUT * trivial)
    mean, error = excess.mean(0), excess.std(0) / math.sqrt(len(excess))
    worse = mean > Z * error + 1e-6 * trivial
    if worse.any():
        k = int(worse.nonzero()[0])
        yield Finding(
            expected="an error no larger than that of predicting zero, at every prompt length",
            found=f"at k = {k} it is larger by at least {mean[k] / trivial:.3g} ± {error[k] / trivial:.1g} of that of "
            f"zero, with {how}; {Z:.0f} standard errors are allowed",
            mend="check the formula and its units (ys are raw values times prompts.scale), and use prompts.label_noise",
        )


def _units(subject: FunctionClassSubject, prompts: Prompts, how: str) -> Iterator[Finding]:
    """Checks that doubling the unit of labels and noise doubles the predictions. Signs and classes have no unit."""
    if subject.function_class.sign_valued or subject.function_class.class_valued:
        return
    twice = replace(
        prompts,
        ys=2 * prompts.ys,
        targets=2 * prompts.targets,
        label_noise=2 * prompts.label_noise,
        scale=2 * prompts.scale,
    )
    expected, found = 2 * _predict(subject, prompts), _predict(subject, twice)
    off = float((found - expected).abs().max()) / (float(expected.abs().max()) + 1e-12)
    if off > ROUNDING:
        yield Finding(
            expected="predictions twice as large where ys, label_noise and scale of the prompts are",
            found=f"predictions that are off by up to {off:.2g} of their size, with {how}",
            mend="divide ys and label_noise by prompts.scale, which holds the class's unit and a shift's factor, and "
            "multiply the predictions by it",
        )
