"""Rules on E f(x)^2: what a class declares is compared with Monte Carlo of what it draws, by `statistics.moments`.

A correct class fails with probability about 1e-9 per comparison where its squares have moderate tails.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from typing import cast

import torch

from icl_curriculum.core.errors import UserError
from icl_curriculum.inputs import Gaussian, InputDistribution, Scaled, Skewed, StudentT
from icl_curriculum.results.statistics.moments import MomentEstimate, Z, estimate_of
from icl_curriculum.tasks import Task
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject, doubled
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule

POINTS = 4
#: The prompts drawn in one round. More rounds follow while the tails need them.
PROMPTS = 1 << 14
ROUNDS = (1, 4, 16)
#: The most numbers drawn for one moment, which keeps classes with many parameters affordable.
BUDGET = 1 << 24


def second_moment_of(
    subject: FunctionClassSubject, dims: int, inputs: InputDistribution, purpose: str
) -> MomentEstimate:
    """E f(x)^2 by Monte Carlo of the class's own draw: `PROMPTS` prompts, or up to 16 times as many for tails."""
    parts: list[torch.Tensor] = []
    for rounds, more in zip(ROUNDS, (*ROUNDS[1:], 0), strict=True):
        for index in range(len(parts), rounds):
            _, values, parameters = subject.draw(PROMPTS, POINTS, dims, subject.streams(purpose, index), inputs)
            parts.append(values.double().square().mean(1))
        estimate = estimate_of(torch.cat(parts))
        numbers_drawn = POINTS * dims + sum(value[0].numel() for value in parameters.values())
        if estimate.judges_tails or more * PROMPTS * numbers_drawn > BUDGET:
            break
    return estimate


def _few(dims: tuple[int, ...]) -> tuple[int, ...]:
    """The smallest, the middle and the largest of some dimensions."""
    return tuple(sorted({dims[0], dims[len(dims) // 2], dims[-1]}))


@rule(
    "trivial error", "trivial_error(d) is E f(x)^2 under the reference inputs", requires=("draw", "independent prompts")
)
def trivial_error(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    unjudged = []
    for dims in _few(subject.dims):
        subject.doing = f"trivial_error({dims})"
        declared = cast(object, subject.function_class.trivial_error(dims))
        if not (isinstance(declared, numbers.Real) and 0 < float(declared) < math.inf):
            yield Finding(
                expected="a finite, positive number from trivial_error",
                found=f"trivial_error({dims}) gives {declared!r}",
                mend="return float(E f(x)^2): it divides the errors, and its root scales unit outputs",
            )
            return
        inputs = subject.inputs(dims)
        drawn = second_moment_of(subject, dims, inputs, f"trivial error/{dims}")
        wrong = drawn.verdict(float(declared))
        if wrong:
            yield Finding(
                expected=f"E f(x)^2 = {drawn} under the inputs {inputs.id!r} at d = {dims}",
                found=f"trivial_error({dims}) = {float(declared):.5g} is {wrong} (beyond {Z:.0f} standard errors)",
                mend="correct trivial_error or the scale of evaluate; raw units, whatever `outputs` says",
            )
            return
        if not drawn.judges_tails:
            unjudged.append(dims)
    if unjudged:
        yield Note(
            f"at d = {', '.join(map(str, unjudged))} the tails of f are too heavy for Monte Carlo: too large a "
            "trivial_error would not show"
        )


@rule(
    "second moment",
    "second_moment's closed forms agree with Monte Carlo under other inputs",
    requires=("draw", "independent prompts"),
)
def second_moment(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    function_class, dims = subject.function_class, subject.dims[len(subject.dims) // 2]
    looked_at = 0
    skipped: list[str] = []
    unjudged: list[str] = []
    growth = max(1.0, _growth(subject))
    df = round(4 * growth + 6)
    reference = subject.inputs(dims)
    cases: list[tuple[str, InputDistribution]] = [
        (reference.id, reference),
        (f"{reference.id} of half the scale", Scaled(of=reference, factor=0.5)),
        ("skewed", Skewed()),
        ("Gaussian of half the scale", Scaled(factor=0.5)),
        ("Gaussian of twice the scale", Scaled(factor=2.0)),
        (f"Student's t with {df} degrees of freedom", StudentT(df=float(df))),
    ]
    if isinstance(reference, Gaussian):
        del cases[1]  # It is the same as a later one.
    for label, inputs in cases:
        spectrum, squared_norm = inputs.spectrum(dims), inputs.squared_norm(dims)
        # Without its spectrum, a Gaussian is one more distribution with that E|x|^2, so the closed form must hold.
        declared: dict[str, float] = {}
        for told in dict.fromkeys((spectrum, None)):
            subject.doing = f"second_moment({dims}, squared_norm={squared_norm:.4g}, spectrum={told})"
            value = function_class.second_moment(dims, squared_norm=squared_norm, spectrum=told)
            if value is not None:
                declared[f"spectrum={'None' if told is None else 'its eigenvalues'}"] = float(value)
        if not declared:
            continue
        outside = Task(function_class, inputs, dims).outside_domain()
        if outside is not None:
            skipped.append(f"{label}: {outside}")
            continue
        try:
            drawn = second_moment_of(subject, dims, inputs, f"second moment/{label}")
        except UserError as error:
            skipped.append(f"{label}: {error}")
            continue
        looked_at += 1
        if not drawn.judges_tails:
            unjudged.append(label)
        for told_as, value in declared.items():
            wrong = drawn.verdict(value)
            if wrong:
                yield Finding(
                    expected=f"E f(x)^2 = {drawn} for inputs {label} at d = {dims}",
                    found=f"second_moment({dims}, squared_norm={squared_norm:.4g}, {told_as}) = {value:.5g} is {wrong} "
                    f"(beyond {Z:.0f} standard errors)",
                    mend="override second_moment with the moment of this class's evaluate (an inherited one is that of "
                    "the parent), or return None where there is no closed form",
                )
                return
    if not looked_at:
        raise Inapplicable("; ".join(skipped) or "second_moment gives no closed form")
    if skipped:
        yield Note("outside the domain: " + "; ".join(skipped))
    if unjudged:
        yield Note(f"tails too heavy for Monte Carlo, too large a moment would not show: {', '.join(unjudged)}")


#: Scales of the inputs between which the growth is measured, and what lower-order terms may add to it.
SCALES = (2.0**12, 2.0**16)
SLACK = 0.25


def _growth(subject: FunctionClassSubject) -> float:
    subject.doing = "growth"
    return float(subject.function_class.growth)


@rule("growth", "f(c x) grows no faster with c than c^growth", requires=("dtype", "determinism"))
def growth(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Measures how the root mean square of f grows over scales of 2^12 to 2^16, in float64. A larger growth is fine."""
    dims, declared = subject.most_dims, _growth(subject)
    if subject.function_class.sign_inputs or subject.function_class.largest_input < math.inf:
        raise Inapplicable("the declared domain is bounded")
    parameters, xs = subject.example(256, 4, dims)
    parameters, xs = doubled(parameters), xs.double()
    sizes = []
    for scale in SCALES:
        try:
            values = subject.evaluate(parameters, xs * scale)
        except UserError as error:
            raise Inapplicable(f"evaluate refuses large inputs: {error}") from None
        sizes.append(float(values.square().mean().sqrt()))
    if not all(map(math.isfinite, sizes)):
        yield Finding(
            expected=f"f(c x) of the order c^growth = c^{declared:g}",
            found=f"infinite or undefined values at c = {SCALES[-1]:g} in float64, d = {dims}: faster than any power",
            mend="let evaluate raise UserError outside its domain, or bound the functions; their moments decide "
            "which errors exist",
        )
    elif min(sizes) > 0:
        slope = math.log(sizes[1] / sizes[0]) / math.log(SCALES[1] / SCALES[0])
        if slope > declared + SLACK:
            yield Finding(
                expected=f"f(c x) of the order c^growth = c^{declared:g}, or slower",
                found=f"c^{slope:.2f} between c = {SCALES[0]:g} and {SCALES[1]:g} at d = {dims}",
                mend=f"set growth to {max(1, round(slope))} or what theory says (a property returning a float): "
                "errors under heavy-tailed inputs are infinite beyond it",
            )


@rule("units", "unit outputs and label noise: clean targets, of second moment 1", requires=("trivial error",))
def units(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    n, points, dims = 512, 5, subject.most_dims
    declared = subject.function_class.trivial_error(dims)

    def drawn(**update: object) -> tuple[torch.Tensor, torch.Tensor]:
        changed = subject.function_class.model_copy(update=update)
        subject.doing = f"drawing prompts with {', '.join(f'{key} = {value!r}' for key, value in update.items())}"
        prompts = Task(changed, subject.inputs(dims), dims).draw(n, points, subject.streams("units"))
        return prompts.ys, prompts.targets

    plain_ys, plain = drawn(outputs="raw", label_noise=0.0)
    _, unit = drawn(outputs="unit", label_noise=0.0)
    noisy_ys, noisy = drawn(outputs="unit", label_noise=subject.noise(dims, 0.5))
    wanted = (n, points)
    if not plain.shape == unit.shape == noisy.shape == noisy_ys.shape == wanted:
        yield Finding(
            expected=f"labels and targets of shape {wanted}",
            found=f"shapes {tuple(unit.shape)} with unit outputs, {tuple(noisy_ys.shape)} and {tuple(noisy.shape)} "
            f"with label noise, at d = {dims}",
            mend="leave noise and units to the task: evaluate ignores outputs and label_noise",
        )
        return
    expected = plain / math.sqrt(declared)
    tolerance = 1e-4 * float(expected.abs().max())
    if float((unit - expected).abs().max()) > tolerance:
        yield Finding(
            expected="with outputs = 'unit', the raw values divided by sqrt(trivial_error), of second moment "
            f"{float(expected.square().mean()):.3g} in this draw",
            found=f"second moment {float(unit.square().mean()):.3g} at d = {dims}",
            mend="leave the unit to output_scale: evaluate gives raw values whatever `outputs` says",
        )
    if float((noisy - unit).abs().max()) > tolerance or float((plain_ys - plain).abs().max()) > 0:
        yield Finding(
            expected="targets without noise: the same with label_noise as without it",
            found=f"targets that differ by up to {float((noisy - unit).abs().max()):.3g} at d = {dims}",
            mend="leave the noise to the task, which adds it to the labels alone: evaluate ignores label_noise",
        )
    elif float((noisy_ys - noisy).abs().max()) == 0:
        yield Finding(
            expected="labels that differ from the targets where label_noise is positive",
            found=f"labels equal to the targets at d = {dims}",
            mend="don't override the field label_noise with a constant",
        )
