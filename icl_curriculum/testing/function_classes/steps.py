"""The rule on reasoning steps: declared, of the right shape, and each entry's own.

Dimensions: n = functions (one per prompt), points = K + 1, dims = d, steps = S, the reasoning steps of a pair.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.function_classes.base import Parameters
from icl_curriculum.tasks import expect_steps
from icl_curriculum.testing.dimensions import SHAPES
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject, copied, doubled
from icl_curriculum.testing.generators import watched_generators
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule

#: By how much sums that are rounded in another order may differ, as a share of the largest step.
TOLERANCE = 1e-4
#: How many times larger or smaller than the labels steps may be before it is said.
UNLIKE = 30.0
_OWN = (
    "look at one function and one of its points at a time: no cumulative sums, no means over points or prompts, no "
    "place in the prompt, no random numbers, no label of another entry"
)


@rule("steps", "n_steps and steps agree: finite numbers (n, points, n_steps), each by its own function and point alone",
      requires=("dtype",))  # fmt: skip
def steps(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    n_steps: object = subject.function_class.n_steps
    if not subject.cls.defines_steps() and not n_steps:
        raise Inapplicable("it has no reasoning steps")
    if subject.cls.defines_steps() and n_steps == 0:
        yield Finding(
            expected="n_steps, the number of reasoning steps that the class's steps gives",
            found="n_steps = 0: no prompt shows them",
            mend="declare n_steps: ClassVar[int], or leave steps out",
        )
        return
    try:
        expect_steps(subject.function_class)
    except UserError as error:
        yield Finding(
            expected="reasoning steps that prompts can show",
            found=error.reason,
            mend="define steps(parameters, xs) and declare n_steps, a whole number, for a class whose labels are one "
            "number each",
        )
        return
    if not subject.function_class.shown_steps and subject.as_given.show_steps is None:
        raise Inapplicable("its field n_steps is about something else: it defines no steps")
    for dims in subject.dims:
        finding = _unlike_steps(subject, dims) or _not_its_own(subject, dims)
        if finding is not None:
            yield finding
            return
    yield from _of_the_size_of_labels(subject)


def _asked(subject: FunctionClassSubject, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Tensor:
    subject.doing = f"steps of xs of shape {tuple(xs.shape)} and {str(xs.dtype).removeprefix('torch.')}"
    return subject.function_class.steps(parameters, xs)


def _unlike_steps(subject: FunctionClassSubject, dims: int) -> Finding | None:
    """What is wrong with shape, type and values, or with what a call leaves behind."""
    wanted = subject.function_class.n_steps
    for n, points in SHAPES:
        parameters, xs = subject.example(n, points, dims)
        for kind, given in ((torch.float32, parameters), (torch.float64, doubled(parameters))):
            found: object = _asked(subject, given, xs.to(kind))
            if isinstance(found, Tensor) and found.shape == (n, points, wanted) and found.dtype == kind:
                if bool(found.isfinite().all()):
                    continue
                return Finding(
                    expected=f"finite steps from {subject.doing}",
                    found=f"{int((~found.isfinite()).sum())} of {found.numel()} infinite or NaN at d = {dims}",
                    mend="look for divisions by zero, logarithms or roots of negative numbers, and overflow",
                )
            got = f"{tuple(found.shape)}, {found.dtype}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            return Finding(
                expected=f"(n, points, n_steps) = {(n, points, wanted)}, {kind}, from {subject.doing}",
                found=f"{got} at d = {dims}",
                mend="stack the steps of a pair on a last axis, torch.stack([...], dim=-1), in the order in which they "
                "are shown, and let constants follow the inputs",
            )
    parameters, xs = subject.example(6, 5, dims)
    before, xs_before = copied(parameters), xs.clone()
    with watched_generators() as used:
        first = _asked(subject, parameters, xs).clone()
        libraries = used()
    changed = [name for name, value in before.items() if not value.equal(parameters.get(name, torch.empty(0)))]
    changed += [] if xs.equal(xs_before) else ["xs"]
    if changed:
        return Finding(
            expected="parameters and xs as they were before steps",
            found=f"steps changed {', '.join(changed)} at d = {dims}",
            mend="no in-place operations on what is passed in; work on xs.clone()",
        )
    if libraries or not first.equal(_asked(subject, parameters, xs)):
        how = f"{' and '.join(libraries)}'s global generator changed" if libraries else "they differ"
        return Finding(
            expected=f"equal steps from two equal calls, without any random number, {subject.doing}",
            found=f"{how} at d = {dims}",
            mend="steps is a pure function of parameters and xs: what is random belongs to sample",
        )
    return None


def _not_its_own(subject: FunctionClassSubject, dims: int) -> Finding | None:
    """Where the steps of an entry follow from other points, or from other functions of the batch."""
    parameters, xs = subject.example(6, 5, dims)
    usual = _asked(subject, parameters, xs)
    largest = float(usual.abs().max()) + 1e-6
    order, rows = torch.arange(4, -1, -1), torch.tensor([4, 1])
    part = {name: value[rows] for name, value in parameters.items()}
    others = {
        "the points stand in reverse order": (_asked(subject, parameters, xs[:, order]), usual[:, order]),
        "later points are left out": (_asked(subject, parameters, xs[:, :2]), usual[:, :2]),
        "two functions are asked without the others": (_asked(subject, part, xs[rows]), usual[rows]),
    }
    for when, (found, wanted) in others.items():
        off = float((found - wanted).abs().max()) / largest
        if off > TOLERANCE:
            return Finding(
                expected="steps of an entry that follow from its own function and its own x alone",
                found=f"others when {when}: by up to {off:.2g} of the largest, at d = {dims}",
                mend=_OWN,
            )
    return None


def _of_the_size_of_labels(subject: FunctionClassSubject) -> Iterator[Note]:
    """Says where steps are much larger or smaller than labels, as the loss adds their squared errors."""
    dims = subject.most_dims
    parameters, xs = subject.example(512, 4, dims)
    sizes = [
        float(values.double().square().mean().sqrt())
        for values in (_asked(subject, parameters, xs), subject.evaluate(parameters, xs))
    ]
    if min(sizes) > 0 and not 1 / UNLIKE < sizes[0] / sizes[1] < UNLIKE:
        yield Note(
            f"the root mean square of the steps is {sizes[0]:.3g}, that of the labels {sizes[1]:.3g} at d = {dims}: "
            f"training adds their squared errors, so scale the steps"
        )
