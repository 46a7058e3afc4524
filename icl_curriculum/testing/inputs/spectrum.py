"""The rule on the spectrum: x ~ N(0, U diag(spectrum) U^T), with a rotation U drawn uniformly for every prompt.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from icl_curriculum.results.statistics.moments import Z, estimate_of
from icl_curriculum.testing.inputs.subject import InputsSubject
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule

PROMPTS, ROUNDS = 1 << 14, 4


@rule("spectrum", "spectrum, where given, is that of Gaussian inputs in a basis drawn for every prompt",
      requires=("squared norm", "rank", "rotations"))  # fmt: skip
def spectrum(subject: InputsSubject) -> Iterator[Finding | Note]:
    looked_at = 0
    for dims in subject.few_dims:
        declared = subject.stated("spectrum", dims)
        if declared is None:
            continue
        looked_at += 1
        if not _is_spectrum(declared, dims):
            yield Finding(
                expected=f"{dims} finite numbers of at least 0 from spectrum, or None",
                found=f"spectrum({dims}) gives {declared!r}",
                mend="return a tuple of the eigenvalues of the covariance, zeros included",
            )
            return
        assert isinstance(declared, Sequence)
        values = [float(value) for value in declared]
        total = subject.as_given.squared_norm(dims)
        if not math.isclose(sum(values), total, rel_tol=1e-5):
            yield Finding(
                expected=f"eigenvalues whose sum is squared_norm({dims}) = {total:.6g}",
                found=f"spectrum({dims}) sums to {sum(values):.6g}",
                mend="correct the one that is wrong; with a mean that is not zero there is no spectrum",
            )
            return
        for what, stated, found in _moments(subject, dims, values):
            drawn = estimate_of(found.numpy())
            wrong = drawn.verdict(stated)
            if wrong:
                yield Finding(
                    expected=f"{what} = {stated:.5g}, as follows from spectrum({dims})",
                    found=f"{drawn} ({Z:.0f} standard errors are allowed)",
                    mend="return None unless x is Gaussian with mean zero and a uniform rotation is drawn for every "
                    "prompt (not one for all, nor one for each point): closed forms of E f(x)^2 rest on it",
                )
                return
    if not looked_at:
        raise Inapplicable("spectrum is None, which claims nothing")


def _is_spectrum(declared: object, dims: int) -> bool:
    return (
        isinstance(declared, tuple | list)
        and len(declared) == dims
        and all(isinstance(value, numbers.Real) and 0 <= float(value) < math.inf for value in declared)
    )


def _moments(subject: InputsSubject, dims: int, values: Sequence[float]) -> Iterator[tuple[str, float, Tensor]]:
    """Moments in words, what they are if the spectrum is right, and unbiased estimates of them, one for each prompt."""
    parts = [subject.drawn(PROMPTS, 2, dims, "spectrum", index) for index in range(ROUNDS)]
    xs = torch.cat(parts).double()
    trace, squares = sum(values), sum(value**2 for value in values)
    x, y = xs[:, 0], xs[:, 1]
    yield "E|x|^4 = (tr S)^2 + 2 tr S^2", trace**2 + 2 * squares, x.square().sum(-1).square()
    # A distribution that says it is not the same in all directions states the spectrum of single points alone.
    if subject.as_given.rotation_invariant(dims):
        yield "E(x·y)^2 = tr S^2 for two points x, y of a prompt", squares, (x * y).sum(-1).square()
    yield "E(x·y)^2 = (tr S)^2 / d for points of two prompts", trace**2 / dims, (x[::2] * x[1::2]).sum(-1).square()
    for j in dict.fromkeys((0, dims - 1)):
        yield f"E x_{j + 1}^2 = tr S / d", trace / dims, x[:, j].square()
    fourth = 3 * (trace**2 + 2 * squares) / (dims * (dims + 2))
    yield "E x_1^4 = 3 ((tr S)^2 + 2 tr S^2) / (d (d + 2))", fourth, x[:, 0] ** 4
    yield "E x_1 = 0", 0.0, x[:, 0]
