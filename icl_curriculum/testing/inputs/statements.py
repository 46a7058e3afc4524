"""Rules on what a distribution states about every input: bounds, signs, the rank, and rotations.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator

import torch
from torch import Tensor

from icl_curriculum.core.draws import random_rotations
from icl_curriculum.results.statistics.moments import Z, estimate_of
from icl_curriculum.testing.inputs.subject import InputsSubject
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule

PROMPTS, POINTS = 1 << 13, 4
#: Directions below this share of the largest are not spanned by float32 inputs.
NEGLIGIBLE = 1e-5


@rule("bounds", "no coordinate exceeds what largest states", requires=("fresh inputs",))
def bounds(subject: InputsSubject) -> Iterator[Finding | Note]:
    loose = []
    for dims in subject.dims:
        declared = subject.stated("largest", dims)
        if not isinstance(declared, numbers.Real) or isinstance(declared, bool) or not float(declared) > 0:
            yield Finding(
                expected="a positive number, or infinity, from largest",
                found=f"largest({dims}) gives {declared!r}",
                mend="return float(the least bound on |x_j| that always holds), math.inf where there is none",
            )
            return
        most = float(subject.drawn(PROMPTS, POINTS, dims, "bounds").abs().max())
        if most > float(declared) * (1 + 1e-5):
            yield Finding(
                expected=f"coordinates within ±{float(declared):.6g}, as largest({dims}) states",
                found=f"a coordinate of ±{most:.6g} among {PROMPTS * POINTS:,} inputs at d = {dims}",
                mend="raise largest to a bound that always holds, or leave it infinite: classes with a bounded domain "
                "are evaluated on what it lets through",
            )
            return
        if math.isfinite(float(declared)) and most < float(declared) / 2:
            loose.append(f"{float(declared):g} at d = {dims}, where none of {PROMPTS * POINTS:,} exceeds {most:.3g}")
    if loose:
        yield Note(f"largest may not be the least bound: {loose[-1]}")


@rule("signs", "only_signs and only_corners say what the coordinates are", requires=("bounds",))
def signs(subject: InputsSubject) -> Iterator[Finding | Note]:
    for dims in subject.dims:
        sizes = subject.drawn(PROMPTS, POINTS, dims, "signs").abs()
        all_signs = bool((sizes == 1).all())
        one_size = bool(((sizes - sizes.max()).abs() <= 1e-5 * sizes.max()).all())
        for method, holds, what in (
            ("only_signs", all_signs, "-1 or 1"),
            ("only_corners", one_size, "-b or b for one b"),
        ):
            declared = subject.stated(method, dims)
            if not isinstance(declared, bool):
                yield Finding(
                    expected=f"True or False from {method}",
                    found=f"{method}({dims}) gives {declared!r}",
                    mend="return a bool",
                )
                return
            # In one dimension, inputs may all have one size for another reason, as those on a sphere do.
            if declared != holds and (declared or dims > 1):
                among = f"among {PROMPTS * POINTS:,} inputs at d = {dims}"
                strange = sizes[sizes != 1] if method == "only_signs" else sizes[sizes < sizes.max()]
                yield Finding(
                    expected=f"coordinates that are all {what}, as {method}({dims}) states"
                    if declared
                    else f"some coordinates that are not {what}, as {method}({dims}) is False",
                    found=f"one of size {float(strange[0]):.6g} {among}" if declared else f"none {among}",
                    mend=f"let {method} return {not declared}, or mend sample: "
                    + (
                        "classes of signs take only such inputs"
                        if method == "only_signs"
                        else "it follows from largest"
                    ),
                )
                return


@rule("rank", "a prompt's inputs span as many dimensions as rank states", requires=("fresh inputs",))
def rank(subject: InputsSubject) -> Iterator[Finding | Note]:
    for dims in subject.dims:
        declared = subject.stated("rank", dims)
        if isinstance(declared, bool) or not isinstance(declared, int) or not 1 <= declared <= dims:
            yield Finding(
                expected=f"a whole number from 1 to {dims} from rank",
                found=f"rank({dims}) gives {declared!r}",
                mend="return the dimensions of the space that a prompt's inputs span",
            )
            return
        # Scaling an input does not change what it spans.
        xs = subject.drawn(64, 4 * dims + 8, dims, "rank").double()
        sizes = torch.linalg.svdvals(xs / xs.norm(dim=-1, keepdim=True).clamp_min(1e-30))
        spanned = int((sizes > NEGLIGIBLE * sizes[:, :1]).sum(-1).max())
        if spanned != declared:
            yield Finding(
                expected=f"{declared} dimensions that a prompt's inputs span, as rank({dims}) states",
                found=f"{spanned} in prompts of {4 * dims + 8} inputs at d = {dims}",
                mend="override rank, or mend spectrum, from which it follows: a query is orthogonal to at most so many "
                "examples",
            )
            return


@rule("rotations", "where rotation_invariant says so, rotated inputs are distributed alike", requires=("fresh inputs",))
def rotations(subject: InputsSubject) -> Iterator[Finding | Note]:
    """Compares mean cosines of projections before and after a rotation; they are bounded, whatever the tails."""
    looked_at = 0
    for dims in subject.dims:
        declared = subject.stated("rotation_invariant", dims)
        if not isinstance(declared, bool):
            yield Finding(
                expected="True or False from rotation_invariant",
                found=f"rotation_invariant({dims}) gives {declared!r}",
                mend="return a bool",
            )
            return
        if not declared or dims == 1:
            continue
        looked_at += 1
        xs = torch.cat([subject.drawn(PROMPTS, POINTS, dims, "rotations", index) for index in range(2)]).double()
        turned = xs @ _rotation(subject, dims)
        worst = 0.0
        for one, other in zip(_features(xs), _features(turned), strict=True):
            gap = estimate_of((one - other).numpy())
            worst = max(worst, abs(gap.mean) / max(gap.error, 1e-12))
        if worst > Z:
            yield Finding(
                expected=f"inputs that are as likely as their rotations, as rotation_invariant({dims}) states",
                found=f"mean cosines of projections that differ by {worst:.0f} standard errors once all inputs of a "
                f"prompt are rotated, at d = {dims} ({Z:.0f} are allowed)",
                mend="let rotation_invariant return False: queries made orthogonal to the context would have another "
                "distribution",
            )
            return
    if not looked_at:
        raise Inapplicable("rotation_invariant is False in more than one dimension, which claims nothing")


def _rotation(subject: InputsSubject, dims: int) -> Tensor:
    """A rotation by 45 degrees from each axis towards the next, and so far from any symmetry of the axes."""
    turned = random_rotations(1, dims, subject.generator("rotation", dims))[0].double()
    eighth = torch.eye(dims, dtype=torch.float64)
    eighth[:2, :2] = torch.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=torch.float64) / math.sqrt(2)
    return eighth if dims == 2 else eighth @ turned


def _features(xs: Tensor) -> Iterator[Tensor]:
    """Bounded functions of one input and of two of a prompt, whose means (n,) decide a distribution."""
    size = float(xs.norm(dim=-1).median()) / math.sqrt(xs.shape[-1])
    for frequency in (0.5, 1.0, 2.0, 4.0):
        along = xs / size * frequency
        for wave in (torch.cos, torch.sin):
            yield wave(along[..., 0]).mean(1)
            yield wave(along[:, 0, 0] + along[:, 1, -1])
        yield torch.cos(along[:, 0, 0]) * torch.cos(along[:, 0, -1])
