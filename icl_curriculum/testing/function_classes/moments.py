"""Rules on E f(x)^2: what a class declares is compared with Monte Carlo of what it draws, until 5% would show.

A correct class fails with probability about 1e-9 per comparison where its squares have moderate tails.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from typing import cast

import torch

from icl_curriculum.core.errors import UserError
from icl_curriculum.function_classes.estimates import estimated_trivial_error
from icl_curriculum.inputs import Gaussian, InputDistribution, Scaled, Skewed, StudentT
from icl_curriculum.results.statistics.moments import Z
from icl_curriculum.tasks import Task
from icl_curriculum.testing.function_classes.resolving import DrawnMoment, resolve, unresolved
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject, doubled
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule


@rule(
    "trivial error", "trivial_error(d) is E f(x)^2 under the reference inputs", requires=("draw", "independent prompts")
)
def trivial_error(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    if not subject.function_class.states_trivial_error:
        subject.doing = "the estimate of the trivial error"
        told = [f"{estimated_trivial_error(subject.function_class, d)} in {d} dimensions" for d in subject.dims]
        yield Note(f"the class states none, so that errors are divided by an estimate: {', '.join(told)}")
    moments: list[DrawnMoment] = []
    for dims in subject.dims:
        subject.doing = f"trivial_error({dims})"
        declared = cast(object, subject.function_class.trivial_error(dims))
        call = f"trivial_error({dims})"
        if not (isinstance(declared, numbers.Real) and 0 < float(declared) < math.inf):
            yield Finding(
                expected="a finite, positive number from trivial_error",
                found=f"{call} gives {declared!r}",
                mend="return float(E f(x)^2): it divides the errors, and its root scales unit outputs",
            )
            return
        purpose, stated = f"trivial error/{dims}", {call: float(declared)}
        moments.append(DrawnMoment(subject, dims, subject.inputs(dims), purpose, f"d = {dims}", stated))
    resolve(moments)
    for moment in moments:
        if moment.refused is not None:
            raise moment.refused
        if moment.wrong:
            call, verdict = moment.wrong
            yield Finding(
                expected=f"E f(x)^2 = {moment.estimate} under the inputs {moment.inputs.id!r} at {moment.label}",
                found=f"{call} = {moment.stated[call]:.5g} is {verdict} (beyond {Z:.0f} standard errors)",
                mend="correct trivial_error or the scale of evaluate; raw units, whatever `outputs` says",
            )
            return
    yield from unresolved(moments, "a wrong trivial error")
    yield from _positions(moments[-1])


def _positions(moment: DrawnMoment) -> Iterator[Note]:
    """Says how far E f(x)^2 is from the same at every position, where it need not be."""
    at = moment.at_positions
    if at is None or not moment.subject.function_class.positions_differ(moment.dims):
        return
    least, most = min(at), max(at)
    if most > DIFFER * max(least, 1e-30):
        yield Note(
            f"E f(x)^2 is another at other positions, from {least:.3g} at k = {at.index(least)} to {most:.3g} at k = "
            f"{at.index(most)} with {moment.label}: errors at all k are divided by the mean over {len(at)} points"
        )


#: By which factor E f(x)^2 may differ between positions before it is said.
DIFFER = 1.5
CLOSED_FORMS = (
    "override second_moment with the moment of this class's evaluate (an inherited one is that of the parent), or "
    "return None where there is no closed form"
)


@rule(
    "second moment",
    "second_moment's closed forms agree with Monte Carlo under other inputs",
    requires=("trivial error",),
)
def second_moment(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Looked at in all dimensions under the reference inputs, where it is the trivial error, and by Monte Carlo."""
    if subject.function_class.names_no_inputs(subject.most_dims):
        raise Inapplicable(
            "not tested: second_moment, which is not asked because the class declares reference_inputs = 'own'"
        )
    skipped: list[str] = []
    moments: list[DrawnMoment] = []
    middle = subject.dims[len(subject.dims) // 2]
    for dims in dict.fromkeys((middle, *subject.dims)):
        reference = subject.inputs(dims)
        trivial = subject.function_class.trivial_error(dims)
        for call, value in _closed_forms(subject, dims, reference).items():
            if abs(value - trivial) > 1e-4 * trivial:
                yield Finding(
                    expected=f"E f(x)^2 = trivial_error({dims}) = {trivial:.5g} for the reference inputs, "
                    f"{reference.id}, at d = {dims}",
                    found=f"{call} = {value:.5g}",
                    mend=CLOSED_FORMS,
                )
                return
        for label, inputs in _other_inputs(subject, dims).items():
            declared = _closed_forms(subject, dims, inputs)
            if not declared:
                continue
            outside = Task(subject.function_class, inputs, dims).outside_domain()
            if outside is not None:
                skipped.append(f"{label}: {outside}")
                continue
            where = f"{label} at d = {dims}"
            moments.append(DrawnMoment(subject, dims, inputs, f"second moment/{where}", where, declared))
    drawn = resolve(moments)
    for moment in drawn:
        if moment.wrong:
            call, verdict = moment.wrong
            yield Finding(
                expected=f"E f(x)^2 = {moment.estimate} for inputs {moment.label}",
                found=f"{call} = {moment.stated[call]:.5g} is {verdict} (beyond {Z:.0f} standard errors)",
                mend=CLOSED_FORMS,
            )
            return
    skipped += [f"{moment.label}: {moment.refused}" for moment in moments if moment.refused is not None]
    if skipped:
        yield Note("outside the domain: " + "; ".join(dict.fromkeys(skipped)))
    elif not drawn:
        raise Inapplicable("second_moment gives no closed form for other inputs")
    yield from unresolved(drawn, "a wrong moment")


def _closed_forms(subject: FunctionClassSubject, dims: int, inputs: InputDistribution) -> dict[str, float]:
    """What second_moment says about some inputs, under the calls that it is said by.

    Without its spectrum, a Gaussian is one more distribution with that E|x|^2, so the closed form must hold.
    """
    squared_norm, found = inputs.squared_norm(dims), {}
    for told in dict.fromkeys((inputs.spectrum(dims), None)):
        subject.doing = f"second_moment({dims}, squared_norm={squared_norm:.4g}, spectrum={told})"
        value = subject.function_class.second_moment(dims, squared_norm=squared_norm, spectrum=told)
        if value is not None:
            told_as = f"squared_norm={squared_norm:.4g}, spectrum={'None' if told is None else 'its eigenvalues'}"
            found[f"second_moment({dims}, {told_as})"] = float(value)
    return found


def _other_inputs(subject: FunctionClassSubject, dims: int) -> dict[str, InputDistribution]:
    """The inputs to look at in ``dims`` dimensions: all of them in the middle, one in the fewest and in the most."""
    if dims not in (subject.dims[0], subject.dims[len(subject.dims) // 2], subject.dims[-1]):
        return {}
    df = round(4 * max(1.0, _growth(subject)) + 6)
    reference = subject.inputs(dims)
    half_of_reference = {f"{reference.id} of half the scale": Scaled(of=reference, factor=0.5)}
    cases: dict[str, InputDistribution] = {
        **({} if isinstance(reference, Gaussian) else half_of_reference),
        "skewed": Skewed(),
        "Gaussian of twice the scale": Scaled(factor=2.0),
        f"Student's t with {df} degrees of freedom": StudentT(df=float(df)),
    }
    if dims == subject.dims[len(subject.dims) // 2]:
        return cases
    one = "skewed" if dims > 1 else "Gaussian of twice the scale"
    return {one: cases[one]}


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
    if subject.function_class.names_no_inputs(dims):
        raise Inapplicable(
            "not tested: how f grows with its inputs, because the class declares reference_inputs = 'own' and decides "
            "how large they are"
        )
    parameters, xs = subject.example(256, 4, dims)
    parameters, xs = doubled(parameters), xs.double()
    sizes = []
    for scale in SCALES:
        try:
            values = subject.asked(parameters, xs * scale)
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
    wanted, _ = subject.function_class.label_shape(n, points)
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
    shown_as_asked = not (subject.function_class.shows_itself or subject.function_class.asks_itself)
    unlike = shown_as_asked and float((plain_ys - plain).abs().max()) > 0
    if float((noisy - unit).abs().max()) > tolerance or unlike:
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
