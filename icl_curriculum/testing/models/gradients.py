"""Rules on gradients: of plain training, by explicit parameters, and of gradients.

Dimensions: batch = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from icl_curriculum.models.base import Capability, Model, prompt_errors
from icl_curriculum.testing.models.subject import BATCH, ModelSubject, beside, differ, off
from icl_curriculum.testing.rules import Finding, Note, rule

#: Gradients of one parameter may differ by this share of its largest, or of the largest of all times a thousandth.
TOLERANCE = 1e-3
#: The step of central differences in float64: no activation is likely to turn within it.
STEP = 1e-7

_MEND_SECOND = (
    "let no detach, no_grad, custom autograd function or fused kernel without a second derivative (torch's fused "
    "attention has none) stand between parameters and predictions; or let lacks say when they do"
)


@rule("gradients", "backward adds the gradients that autograd finds, and they are finite", requires=("determinism",))
def gradients(subject: ModelSubject) -> Iterator[Finding | Note]:
    model, other = subject.stirred(), subject.stirred()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    subject.doing = "prepare"
    model.prepare()
    if any(value.grad is not None for value in model.parameters()) or _changed(model, kept):
        yield Finding(
            expected="weights and gradients as they were before prepare",
            found=f"prepare changed {', '.join(map(repr, _changed(model, kept))) or 'the gradients'}",
            mend="let prepare, and GradientStrategy.prepare, put back what they change",
        )
        return
    finding = unlike_autograd(subject, model, other)
    if finding is not None:
        yield finding
        return
    still = [name for name, value in model.named_parameters() if value.requires_grad and not _moves(value)]
    if still:
        until = "unless updates change that" if model.changes_between_updates else "they stay as they were built"
        yield Note(f"no gradient reaches {', '.join(still)}: {until}")


def unlike_autograd(subject: ModelSubject, model: Model, other: Model, rows: Tensor | None = None) -> Finding | None:
    """How `Model.backward` of a model differs from autograd through an equal one, if it does, called once and twice."""
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    xs, ys, _ = subject.prompts(*subject.size)
    asked = (xs, ys, ys + 1, torch.tensor([0.5, 1.0, 2.0]), *(() if rows is None else (rows,)))
    told = beside(None, rows)
    subject.doing = f"backward_by_autograd{told}"
    wanted = other.backward_by_autograd(*asked)
    by_autograd = _gradients(other)
    for times in (1, 2):
        subject.doing = f"backward{told}"
        errors: object = model.backward(*asked)
        if _changed(model, kept):
            return Finding(
                expected=f"weights as they were before backward{told}",
                found=f"backward changed {', '.join(map(repr, _changed(model, kept)))}",
                mend="leave the moving of weights to Session.step_optimizers",
            )
        if not isinstance(errors, Tensor) or differ(errors, wanted, tolerance=TOLERANCE) or errors.requires_grad:
            got = f"shape {tuple(errors.shape)}" if isinstance(errors, Tensor) else repr(errors)
            if isinstance(errors, Tensor) and errors.shape == wanted.shape:
                got = f"they differ by up to {off(errors, wanted):.3g}" if not errors.requires_grad else "with a graph"
            return Finding(
                expected=f"from backward{told}, each prompt's mean squared error of forward, unweighted, without a "
                "graph",
                found=got,
                mend="return prompt_errors(predictions, targets).detach(); the weights are for the gradients alone",
            )
        unlike = _unlike(_gradients(model), {name: times * value for name, value in by_autograd.items()})
        if unlike is not None:
            after = f"backward{told}" if times == 1 else f"a second backward{told}, which adds to .grad"
            return Finding(
                expected=f"in .grad after {after}, the gradients of the sum of weights times errors, by autograd",
                found=unlike,
                mend="compute in backward, or in a GradientStrategy, what autograd finds through forward, and add it; "
                "let applies say no where it computes something else",
            )
    return None


def _changed(model: Model, kept: Mapping[str, Tensor]) -> list[str]:
    return [name for name, value in model.state_dict().items() if not value.equal(kept[name])]


def _gradients(model: Model) -> dict[str, Tensor]:
    return {
        name: torch.zeros_like(value) if value.grad is None else value.grad.clone()
        for name, value in model.named_parameters()
    }


def _moves(value: Tensor) -> bool:
    return value.grad is not None and bool((value.grad != 0).any())


def _unlike(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], tolerance: float = TOLERANCE) -> str | None:
    """The first gradient that is not what was wanted, in words."""
    largest = max(float(value.abs().max()) for value in wanted.values())
    for name, value in wanted.items():
        if not bool(found[name].isfinite().all()):
            return f"the gradient of {name!r} is infinite or NaN"
        allowed = tolerance * max(float(value.abs().max()), 1e-3 * largest)
        if off(found[name], value) > allowed:
            return f"the gradient of {name!r} differs by up to {off(found[name], value):.3g}"
    return None


@rule("explicit parameters", "forward_with computes what a model with these parameters would",
      requires=("gradients",))  # fmt: skip
def explicit_parameters(subject: ModelSubject) -> Iterator[Finding | Note]:
    subject.expect(Capability.EXPLICIT_PARAMETERS)
    dims, points = subject.size
    model, other = subject.stirred(), subject.stirred(index=1)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    xs, ys, queries = subject.prompts(dims, points)
    given = {name: value.detach().clone().requires_grad_() for name, value in other.named_parameters()}
    mend = "let forward read every parameter from self at each call, and keep nothing that was computed from one; or "
    mend += "leave Capability.EXPLICIT_PARAMETERS out of capabilities"
    for separate in (None, queries) if model.takes_queries else (None,):
        subject.doing = "forward_with" + ("" if separate is None else " and separate queries")
        found = model.forward_with(given, xs, ys, separate)
        wanted = subject.ask(other, xs, ys, separate)
        if differ(found, wanted):
            yield Finding(
                expected=f"from {subject.doing}, the predictions of a model that has the given parameters",
                found=f"they differ by up to {off(found, wanted):.3g}",
                mend=mend,
            )
            return
        subject.doing = "autograd through forward_with"
        reached = _by_autograd(prompt_errors(found, ys).sum(), given)
        unlike = _unlike(reached, _by_autograd(prompt_errors(wanted, ys).sum(), dict(other.named_parameters())))
        if unlike is not None:
            yield Finding(
                expected="gradients with respect to the parameters given, as the model that has them would give",
                found=unlike,
                mend=mend,
            )
            return
    with torch.no_grad():
        subject.doing = "forward_with of no parameters"
        own, usual = model.forward_with({}, xs, ys), subject.ask(model, xs, ys)
    if differ(own, usual) or _changed(model, kept):
        yield Finding(
            expected="the model's own parameters where none are given, and the model as it was",
            found=f"forward_with changed {', '.join(map(repr, _changed(model, kept)))}"
            if _changed(model, kept)
            else f"without parameters it differs from forward by up to {off(own, usual):.3g}",
            mend=mend,
        )


def _by_autograd(error: Tensor, parameters: Mapping[str, Tensor], *, graph: bool = False) -> dict[str, Tensor]:
    trained = {name: value for name, value in parameters.items() if value.requires_grad}
    found = torch.autograd.grad(
        error, list(trained.values()), create_graph=graph, allow_unused=True, materialize_grads=True
    )
    return dict(zip(trained, found, strict=True))


@rule("second derivatives", "gradients through forward_with can be differentiated again",
      requires=("explicit parameters",))  # fmt: skip
def second_derivatives(subject: ModelSubject) -> Iterator[Finding | Note]:
    """The change of the gradient along a direction, by autograd and by central differences, in float64."""
    subject.expect(Capability.SECOND_DERIVATIVES)
    dims, points = subject.size
    model = subject.stirred()
    xs, ys, _ = subject.prompts(dims, points, batch=BATCH)
    try:
        exact = model.forward_with({}, xs, ys).double()
        model = model.double()
        precisely = model.forward_with({}, xs.double(), ys.double())
        kind = torch.float64 if not differ(precisely, exact) else torch.float32
    except RuntimeError:
        kind = torch.float32
    if kind != torch.float64:
        model = subject.stirred()
        yield Note("it cannot compute in float64: second derivatives were not compared with central differences")
    xs, ys = xs.to(kind), ys.to(kind)
    made = subject.generator("second derivatives")
    values = {name: value.detach() for name, value in model.named_parameters()}
    along = {name: torch.randn(value.shape, generator=made).to(kind) for name, value in values.items()}
    subject.doing = "a second derivative through forward_with"

    def gradient(shift: float, *, graph: bool = False) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        moved = {name: (value + shift * along[name]).requires_grad_() for name, value in values.items()}
        return moved, _by_autograd((model.forward_with(moved, xs, ys) - ys).square().mean(), moved, graph=graph)

    leaves, first = gradient(0.0, graph=True)
    try:
        second = _by_autograd(_total((value * along[name]).sum() for name, value in first.items()), leaves)
    except RuntimeError as error:
        yield Finding(
            expected="gradients that can be differentiated again",
            found=f"RuntimeError: {error}",
            mend=_MEND_SECOND,
        )
        return
    if kind == torch.float64:
        after, before = gradient(STEP)[1], gradient(-STEP)[1]
        wanted = {name: (after[name] - before[name]) / (2 * STEP) for name in after}
    else:
        wanted = second
    unlike = _unlike(second, wanted)
    if unlike is not None:
        yield Finding(
            expected="second derivatives along a direction as central differences of the gradient give them",
            found=unlike.replace("the gradient", "the change of the gradient"),
            mend=_MEND_SECOND,
        )


def _total(terms: Iterator[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()
