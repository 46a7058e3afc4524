"""Rules on what sample draws: shape and type, from its generator alone, anew for every prompt and point.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from icl_curriculum.testing.devices import lies_away, pretended_accelerator
from icl_curriculum.testing.dimensions import SHAPES
from icl_curriculum.testing.function_classes.distribution import (
    COUNT_SPREAD,
    COUNTED,
    Z,
    columns,
    rows_of,
    strongest,
)
from icl_curriculum.testing.generators import watched_generators
from icl_curriculum.testing.inputs.subject import InputsSubject
from icl_curriculum.testing.rules import Finding, Note, rule

#: Prompts in which no input may be infinite or NaN, and batches in which two prompts are compared.
FINITE, BATCHES = 4096, 512


@rule("sample", "sample gives finite float32 inputs (n, points, d), for one of each and more", requires=("dimensions",))
def sample(subject: InputsSubject) -> Iterator[Finding | Note]:
    for dims in subject.dims:
        for n, points in (*SHAPES, (FINITE, 4)):
            found: object = subject.drawn(n, points, dims, "sample")
            if not isinstance(found, Tensor) or found.shape != (n, points, dims):
                got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
                yield Finding(
                    expected=f"a tensor (n, points, dims) = ({n}, {points}, {dims}) from {subject.doing}",
                    found=got,
                    mend="keep all three axes where one is 1, and draw torch.randn(n, points, dims, ...)",
                )
                return
            unbounded = int((~found.isfinite()).sum())
            if found.dtype != torch.float32 or unbounded:
                got = f"{unbounded} of {found.numel()} infinite or NaN" if unbounded else f"{found.dtype}"
                yield Finding(
                    expected=f"finite inputs in torch.float32 from {subject.doing}",
                    found=got,
                    mend="draw in torch's default type; divide by nothing that can be zero, take no logarithm of 0 "
                    "(torch.rand can give it), and bound what overflows",
                )
                return


@rule("global generators", "no draw from, and no seeding of, the generators that all code shares", requires=("sample",))
def global_generators(subject: InputsSubject) -> Iterator[Finding | Note]:
    for dims in subject.few_dims:
        with watched_generators() as used:
            subject.drawn(4, 5, dims, "global generators")
            touched = used()
        for library in touched:
            yield Finding(
                expected="all random numbers from the generator that sample is given",
                found=f"{library}'s global generator changed during {subject.doing}: numbers were drawn, or it was "
                "seeded",
                mend="pass generator=generator (and device=generator.device) to every torch draw; numpy and Python: "
                "seed a local generator from torch.randint(..., generator=generator)",
            )
        if touched:
            return


@rule("determinism", "equal generators give equal inputs, bit by bit", requires=("global generators",))
def determinism(subject: InputsSubject) -> Iterator[Finding | Note]:
    for dims in subject.dims:
        first = subject.drawn(6, 5, dims, "determinism").clone()
        subject.drawn(6, 5, dims, "determinism", 1)
        second = subject.drawn(6, 5, dims, "determinism")
        if not first.equal(second):
            yield Finding(
                expected="bit-equal inputs from equal generators, whatever was drawn in between",
                found=f"inputs that differ by up to {float((first - second).abs().max()):.3g} between two calls of "
                f"{subject.doing}",
                mend="keep no state between calls (counters, caches, generators of the distribution's own), and seed "
                "nothing from the clock or the operating system",
            )
            return


@rule("device", "the inputs are made on the generator's device", requires=("sample",))
def device(subject: InputsSubject) -> Iterator[Finding | Note]:
    """Checked on an accelerator if there is one, and always with `pretended_accelerator`."""
    for dims in subject.few_dims:
        problem = None
        with pretended_accelerator(subject) as mode:
            try:
                found = subject.drawn(6, 5, dims, "device")
            except Exception as error:
                problem = f"{type(error).__name__}: {error} ({subject.where_raised(error)})"
            else:
                problem = "the inputs would stay on the CPU" if lies_away(found) else None
        if problem is not None:
            made_away = f"; made without a device: {'; '.join(mode.forgotten)}" if mode.forgotten else ""
            yield Finding(
                expected=f"every tensor of {subject.doing} on generator.device (tried with an accelerator that is "
                "pretended on the CPU)",
                found=f"{problem}{made_away}",
                mend="pass device=generator.device to every factory (torch.zeros, torch.randn, ...), and write "
                ".to(generator.device) after torch.from_numpy and for constants",
            )
            return
    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if kind is not None:
        made = torch.Generator(device=kind).manual_seed(0)
        found = subject.sample(6, 5, subject.most_dims, made)
        if found.device.type != kind.type:
            yield Finding(
                expected=f"inputs on {kind}, where the generator is",
                found=f"inputs on {found.device}",
                mend="pass device=generator.device to every factory",
            )


@rule("independent prompts", "the inputs of a prompt tell nothing about those of another", requires=("determinism",))
def independent_prompts(subject: InputsSubject) -> Iterator[Finding | Note]:
    """Compares prompt 0 with the others in 512 batches of 4, coordinate by coordinate."""
    dims = subject.most_dims
    drawn = torch.stack([subject.drawn(4, 2, dims, "independent prompts", index) for index in range(BATCHES)])
    if _different(drawn[:, 0]) == 1 < _different(drawn[0]):
        yield Finding(
            expected="other inputs from other generators",
            found=f"{BATCHES} generators gave the same first prompt in {subject.doing}",
            mend="draw from the generator that sample is given: torch.randn(..., generator=generator)",
        )
        return
    for other in (1, 2, 3):
        found = strongest(columns({"x": drawn[:, 0]}), columns({"x": drawn[:, other]}), same_element=True)
        if found is not None:
            name, _, r = found
            yield Finding(
                expected="inputs of different prompts of a batch that tell nothing about each other",
                found=f"{name} of prompts 0 and {other} has correlation {r:.2f} over {BATCHES} batches at d = {dims} "
                f"({abs(r) * BATCHES**0.5:.0f} standard errors; {Z:.0f} are allowed)",
                mend="draw everything with leading axis n, (n, ...) and not (1, ...): a mean, a scale or a rotation "
                "drawn once is shared by the whole batch",
            )
            return


@rule("fresh inputs", "every point of a prompt, and every prompt of a batch, is an input of its own",
      requires=("independent prompts",))  # fmt: skip
def fresh_inputs(subject: InputsSubject) -> Iterator[Finding | Note]:
    """Counts different inputs within prompts and across them, and compares with as many generators of their own."""
    dims = subject.most_dims
    alone = torch.cat([subject.drawn(1, 1, dims, "alone", index)[0] for index in range(COUNTED)])
    usual, by_chance = _different(alone), int((alone == alone.roll(1, 0)).all(-1).sum())
    across = _different(subject.drawn(COUNTED, 2, dims, "across")[:, 0])
    within = subject.drawn(COUNTED, 2, dims, "within")
    same = int((within[:, 0] == within[:, 1]).all(-1).sum())
    mend = "draw (n, points, dims) numbers: no expand, repeat or modulo over prompts or points"
    if across < usual - COUNT_SPREAD:
        yield Finding(
            expected=f"about {usual} different inputs in the first points of a batch of {COUNTED}, as from {COUNTED} "
            f"generators (at least {usual - COUNT_SPREAD:.0f})",
            found=f"{across} at d = {dims}",
            mend=mend,
        )
    elif same - by_chance > COUNT_SPREAD:
        yield Finding(
            expected=f"two points of a prompt that are the same input as often as those of two generators, about "
            f"{by_chance} of {COUNTED} times",
            found=f"{same} at d = {dims}",
            mend=mend,
        )


def _different(inputs: Tensor) -> int:
    return len(set(rows_of({"x": inputs})))
