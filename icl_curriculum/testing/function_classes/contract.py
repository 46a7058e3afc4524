"""Rules on what a class declares and what its methods return: names, shapes and types."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from pydantic import ValidationError
from torch import Tensor

from icl_curriculum.config.mistakes import problems
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import BASELINES
from icl_curriculum.function_classes.base import FunctionClass
from icl_curriculum.testing.dimensions import SHAPES
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject, doubled
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule


@rule("baselines", "`baselines` names registered baselines", requires=("construction",))
def baselines(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    for spec in subject.function_class.baselines:
        try:
            BASELINES.build(spec)
        except (UserError, ValidationError) as error:
            name = spec.get("name") if isinstance(spec, dict) else spec
            found = str(error) if isinstance(error, UserError) else f"{name!r}: {'; '.join(problems(error))}"
            yield Finding(
                expected="in baselines, registered baselines: names, or tables with parameters",
                found=found,
                mend=f"correct baselines, or register {name!r} in the same plugin file",
            )


@rule("sample", "a dict of tensors whose leading axis is n, for one function and more", requires=("dimensions",))
def sample(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    for dims in subject.dims:
        for n in (1, 2, 7):
            parameters = subject.sample(n, dims, subject.generator("sample"))
            call = f"sample(n={n}, dims={dims})"
            if not isinstance(parameters, dict) or not parameters:
                yield Finding(
                    expected="a dict of tensors from sample, with at least one entry",
                    found=f"{call} gives {_kind(parameters)}",
                    mend='return, for example, {"w": w}',
                )
                return
            for name, value in parameters.items():
                if not isinstance(name, str) or not isinstance(value, Tensor):
                    yield Finding(
                        expected="tensors under names, in the dict from sample",
                        found=f"{call} gives {name!r}: {_kind(value)}",
                        mend="keep what is the same for all functions in fields; make the rest a tensor of leading "
                        "axis n",
                    )
                    return
                if value.dim() == 0 or value.shape[0] != n:
                    yield Finding(
                        expected=f"leading axis n = {n} in every tensor from {call}",
                        found=f"{name!r} has shape {tuple(value.shape)}",
                        mend="draw one value per function: the first axis of every tensor counts the functions",
                    )
                    return


def _kind(value: object) -> str:
    return f"a {type(value).__name__}" if value not in ({}, None) else repr(value)


@rule("shape", "evaluate gives (n, points), or with a last axis of label_dims numbers, at every n, points and d",
      requires=("sample", "reference inputs"))  # fmt: skip
def shape(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    for dims in subject.dims:
        for n, points in SHAPES:
            parameters, xs = subject.example(n, points, dims)
            values = subject.evaluate(parameters, xs)
            wanted, axes = subject.function_class.label_shape(n, points)
            if not isinstance(values, Tensor) or values.shape != wanted:
                got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else _kind(values)
                yield Finding(
                    expected=f"evaluate gives ({axes.replace('prompts', 'n')}) = {wanted} for xs of shape "
                    f"{tuple(xs.shape)}, as label_dims = {subject.function_class.label_dims}",
                    found=f"{got} at n = {n}, points = {points}, d = {dims}",
                    mend="keep both axes: name the one to be squeezed (squeeze(-1), not squeeze()), don't reshape "
                    "by a fixed size, and let every axis of xs have its own letter in an einsum",
                )
                return


@rule("dtype", "float32 in, float32 out; float64 in, float64 out; all values finite", requires=("shape",))
def dtype(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Float64 is checked because the rules on moments and growth use it, and references to compare with do."""
    for dims in subject.dims:
        parameters, xs = subject.example(256, 4, dims)
        wrong = {
            name: value.dtype
            for name, value in parameters.items()
            if (value.is_floating_point() or value.is_complex()) and value.dtype != torch.float32
        }
        if wrong:
            yield Finding(
                expected="float32 in every floating tensor from sample",
                found="; ".join(f"{name!r} is {kind}" for name, kind in wrong.items()) + f" at d = {dims}",
                mend="draw in torch's default type: no dtype=torch.float64, and .float() after numpy",
            )
            return
        for kind, given in ((torch.float32, parameters), (torch.float64, doubled(parameters))):
            values = subject.evaluate(given, xs.to(kind))
            if values.dtype != kind:
                yield Finding(
                    expected=f"{kind} from evaluate where parameters and xs are {kind}",
                    found=f"{values.dtype} at d = {dims}",
                    mend="let constants and buffers follow the inputs: xs.new_zeros(...), torch.full_like(...), "
                    "values.to(xs.dtype)",
                )
                return
            unbounded = int((~values.isfinite()).sum())
            if unbounded:
                yield Finding(
                    expected="finite values under the reference inputs",
                    found=f"{unbounded} of {values.numel()} values in {kind} are infinite or NaN at d = {dims}",
                    mend="look for divisions by zero, logarithms or roots of negative numbers, and overflow",
                )
                return


@rule("draw", "draw gives inputs, evaluate's values at them, and parameters", requires=("dtype", "determinism"))
def draw(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    mend = "return xs, self.evaluate(parameters, xs), parameters, as FunctionClass.draw does"
    for dims in subject.dims:
        for n, points in SHAPES:
            xs, values, parameters = subject.draw(n, points, dims, subject.streams("draw"))
            shapes = (tuple(xs.shape), tuple(values.shape), {name: len(value) for name, value in parameters.items()})
            of_labels, _ = subject.function_class.label_shape(n, points)
            wanted = ((n, points, dims), of_labels, dict.fromkeys(parameters, n))
            if shapes != wanted:
                yield Finding(
                    expected=f"from draw, xs and values of shapes {wanted[:2]} and parameters of leading axis {n}",
                    found=f"shapes {shapes[:2]} and leading axes {shapes[2]}",
                    mend=mend,
                )
                return
            if subject.function_class.drawn_labels:
                continue  # They are no values of evaluate.
            again = subject.evaluate(parameters, xs)
            tolerance = 1e-4 * float(again.abs().max()) + 1e-6
            off = float((values - again).abs().max())
            if off > tolerance:
                yield Finding(
                    expected="the clean values that evaluate gives for the parameters and inputs drawn",
                    found=f"values that differ by up to {off:.3g} at n = {n}, points = {points}, d = {dims}",
                    mend=f"{mend}; label noise is added later, by the task",
                )
                return


@rule("counts", "counts gives (n, points) truth values that are each entry's own", requires=("shape",))
def counts(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    if subject.cls.counts is FunctionClass.counts:
        raise Inapplicable("every position counts")
    for dims in subject.dims:
        for n, points in SHAPES:
            parameters, xs = subject.example(n, points, dims)
            subject.doing = f"counts of xs of shape {tuple(xs.shape)}"
            found: object = subject.function_class.counts(parameters, xs)
            if found is None:
                continue
            if not isinstance(found, Tensor) or found.shape != (n, points) or found.dtype != torch.bool:
                got = f"shape {tuple(found.shape)}, {found.dtype}" if isinstance(found, Tensor) else _kind(found)
                yield Finding(
                    expected=f"truth values (n, points) = ({n}, {points}) from {subject.doing}, or None",
                    found=got,
                    mend="return a comparison of what stands at each entry, as xs[..., 0] > 0, True where it counts",
                )
                return
            order = torch.arange(points - 1, -1, -1)
            turned = subject.function_class.counts(parameters, xs[:, order])
            if turned is None or not turned.equal(found[:, order]):
                yield Finding(
                    expected="the same truth values for the points in reverse order: each is about its own input alone",
                    found=f"others at n = {n}, points = {points}, d = {dims}",
                    mend="look at one point at a time: no cumulative sums, no place in the prompt, no random numbers",
                )
                return
    parameters, xs = subject.example(512, 8, subject.most_dims)
    found = subject.function_class.counts(parameters, xs)
    if found is not None and not bool(found.any()):
        yield Finding(
            expected="some entry that counts",
            found="none of 4,096 under the reference inputs: nothing could be trained on or measured",
            mend="return True where a value counts, not where it does not",
        )
