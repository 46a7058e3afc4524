"""Statistical rules on the parameters: prompts are independent of each other and of their inputs; pools.

Each element of the parameters is reduced to two yes-or-no answers, so that tails don't matter: whether it is above its
median, and whether it is farther from its median than usual. Two such columns over R independent draws have a
correlation r with r sqrt(R) close to N(0, 1) if they are independent (it is a hypergeometric count).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.function_classes.base import Parameters
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject, doubled
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule

#: Correlations beyond this many standard errors are findings. For a correct class the chance is 1e-15 per pair of
#: columns (normal tail), and 1e-8 at the rarest columns kept, whose counts are small; 10^4 pairs are compared at most.
Z = 8.0
#: Columns in which either answer is rarer than this are left out: their coincidences are not normal.
RAREST = 0.1
BATCHES = 768
INPUT_BATCHES = 256
LARGE_BATCH = 4096
ELEMENTS = 32

#: By how much the numbers of distinct functions in two independent batches of this size may differ. By
#: McDiarmid's inequality each is within sqrt(n ln(2 / p) / 2) of its mean except with probability p = 1e-7.
COUNTED = 512
#: Of these, so many prompts may be equal by chance; and so long are they, if they may be.
BY_CHANCE, LONG = 2, 64
COUNT_SPREAD = 2 * math.sqrt(COUNTED * math.log(2e7) / 2)


@dataclass(frozen=True)
class Columns:
    """Named yes-or-no columns over independent draws."""

    names: list[str]
    values: Float[Tensor, "draws columns"]


def columns(values: dict[str, Tensor]) -> Columns:
    """The elements of tensors of equal leading axis as columns, except those too rare to be judged."""
    names: list[str] = []
    parts: list[Tensor] = []
    for name, value in values.items():
        flat = value.detach().reshape(len(value), -1).double()
        chosen = _some(flat.shape[1])
        flat = flat[:, chosen]
        away = (flat - flat.median(dim=0).values).abs()
        parts += [(flat > flat.median(dim=0).values).double(), (away > away.median(dim=0).values).double()]
        shown = [f"{name}{_index(i, tuple(value.shape[1:]))}" for i in chosen]
        names += shown + [f"|{item} - median|" for item in shown]
    table = torch.cat(parts, dim=1)
    kept = (table.mean(0) - 0.5).abs() <= 0.5 - RAREST
    return Columns([name for name, keep in zip(names, kept.tolist(), strict=True) if keep], table[:, kept])


def _some(width: int) -> list[int]:
    """At most `ELEMENTS` of ``width`` elements: the first half of them, the others evenly spread."""
    if width <= ELEMENTS:
        return list(range(width))
    half = ELEMENTS // 2
    return [*range(half), *(half + (width - half) * i // half for i in range(half))]


def _index(flat: int, shape: tuple[int, ...]) -> str:
    position = []
    for size in reversed(shape):
        position.append(str(flat % size))
        flat //= size
    return f"[{', '.join(reversed(position))}]" if position else ""


def standardised(table: Float[Tensor, "draws columns"]) -> Float[Tensor, "draws columns"]:
    centred = table - table.mean(0)
    return centred / centred.square().mean(0).sqrt()


def strongest(one: Columns, other: Columns, *, same_element: bool) -> tuple[str, str, float] | None:
    """The names and r of the two columns with the largest |correlation|, if it is beyond `Z` standard errors.

    ``same_element``: compare each column only with its namesake.
    """
    if not one.names or not other.names:
        return None
    draws = len(one.values)
    correlations = standardised(one.values).mT @ standardised(other.values) / draws
    if same_element:
        alike = torch.tensor([[name == namesake for namesake in other.names] for name in one.names])
        correlations = correlations * alike
    flat = int(correlations.abs().argmax())
    row, column = divmod(flat, len(other.names))
    r = float(correlations[row, column])
    return (one.names[row], other.names[column], r) if abs(r) > Z / math.sqrt(draws) else None


@rule(
    "independent prompts",
    "the functions of one batch are drawn independently, each with all that makes it",
    requires=("dtype", "determinism"),
)
def independent_prompts(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Compares prompt 0 with the others in 768 batches of 4, then counts the distinct functions in one batch of 512."""
    dims, n = subject.most_dims, 4
    batches = [subject.sample(n, dims, subject.generator("batch", i)) for i in range(BATCHES)]
    drawn = {name: torch.stack([batch[name] for batch in batches]) for name in batches[0]}
    at = subject.common_inputs(8, dims)
    flat = {name: value.flatten(0, 1) for name, value in drawn.items()}
    values = subject.evaluate(doubled(flat), at.double().expand(BATCHES * n, 8, dims))
    values = values.reshape(BATCHES, n, 8, -1)

    def prompt(i: int) -> dict[str, Tensor]:
        return {name: value[:, i] for name, value in drawn.items()}

    if _distinct(prompt(0)) == 1:
        yield Finding(
            expected="other functions from other generators",
            found=f"{BATCHES} generators gave the same first function at d = {dims}",
            mend="draw from the generator that sample is given: torch.randn(..., generator=generator)",
        )
        return
    # Parameters come before values, which show a dependence that several parameters only show together.
    looks = [(prompt(0), prompt(other), other) for other in (1, 2, 3)]
    looks += [({"f": values[:, 0, :2]}, {"f": values[:, other, :2]}, other) for other in (1, 2, 3)]
    for one, another, other in looks:
        found = strongest(columns(one), columns(another), same_element=True)
        if found is not None:
            name, _, r = found
            what = "the value at a common input" if one.keys() == {"f"} != drawn.keys() else f"the parameter {name}"
            yield Finding(
                expected="parameters of different prompts of a batch that tell nothing about each other",
                found=f"{what} of prompts 0 and {other} has correlation {r:.2f} over {BATCHES} batches at d = {dims} "
                f"({abs(r) * math.sqrt(BATCHES):.0f} standard errors; {Z:.0f} are allowed)",
                mend="draw everything with leading axis n, (n, ...) and not (1, ...) or (...): a support, a component "
                "or a rotation drawn once is shared by the whole batch",
            )
            return
    yield from _recycled(subject, prompt(0), at)


def _recycled(subject: FunctionClassSubject, independent: dict[str, Tensor], at: Tensor) -> Iterator[Finding]:
    """Checks that a batch has about as many distinct functions as equally many independent draws."""
    dims = subject.most_dims
    batch = subject.sample(COUNTED, dims, subject.generator("large batch"))
    several = at.double().expand(COUNTED, 8, dims)
    alone = {name: value[:COUNTED] for name, value in independent.items()}
    for what, found, usual in (
        ("different parameters", _distinct(batch), _distinct(alone)),
        (
            "different functions",
            _distinct({"f": _rounded(subject.evaluate(doubled(batch), several))}),
            _distinct({"f": _rounded(subject.evaluate(doubled(alone), several))}),
        ),
    ):
        if found < usual - COUNT_SPREAD:
            yield Finding(
                expected=f"about as many {what} in a batch of {COUNTED} as in {COUNTED} batches of their own, {usual} "
                f"(at least {usual - COUNT_SPREAD:.0f})",
                found=f"{found} at d = {dims}",
                mend="draw a function for every row: no expand, repeat or modulo over the batch",
            )
            return


def _distinct(values: dict[str, Tensor]) -> int:
    return len(set(rows_of(values)))


def rows_of(values: Parameters) -> list[bytes]:
    """For each row, the bytes that tell its function from others."""
    table = torch.cat([value.detach().reshape(len(value), -1).double() for value in values.values()], dim=1) + 0.0
    return [row.tobytes() for row in table.numpy()]


def _rounded(values: Tensor) -> Tensor:
    """Rounds to about eight digits, as rows of one batch may differ in the last bits."""
    size = values.abs().max().clamp(min=1e-30)
    return (values / size * 1e8).round()


@rule(
    "independent inputs",
    "the parameters tell nothing about the inputs drawn with them",
    requires=("draw", "independent prompts"),
)
def independent_inputs(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Compares parameters with the first two points: in 256 batches of 16 (the first prompt), then in one of 4096."""
    if subject.function_class.drawn_labels:
        raise Inapplicable("labels are drawn with the inputs, which tell of the functions")
    dims = subject.most_dims
    if subject.function_class.names_no_inputs(dims):
        raise Inapplicable(
            "not tested: whether inputs tell of the functions, because the class declares reference_inputs = 'own'"
        )
    batches = [subject.draw(16, 4, dims, subject.streams("inputs and functions", i)) for i in range(INPUT_BATCHES)]
    first = (
        torch.stack([xs[0, :2] for xs, _, _ in batches]),
        {name: torch.stack([parameters[name][0] for _, _, parameters in batches]) for name in batches[0][2]},
    )
    xs, _, parameters = subject.draw(LARGE_BATCH, 1, dims, subject.streams("inputs and functions"))
    for inputs, functions in (first, (xs, parameters)):
        found = strongest(columns(functions), columns({"x": inputs}), same_element=False)
        if found is not None:
            name, coordinate, r = found
            draws = len(inputs)
            yield Finding(
                expected="parameters uncorrelated with the coordinates of the inputs drawn with them",
                found=f"{name} and {coordinate} have correlation {r:.2f} over {draws} prompts at d = {dims} "
                f"({abs(r) * math.sqrt(draws):.0f} standard errors; {Z:.0f} are allowed)",
                mend="in draw, functions from self.draw_functions(n, dims, streams) and inputs from streams.generator("
                '"inputs"): never both from a generator of one name'
                + (
                    '; or reference_inputs = "own", if inputs are to tell of the functions'
                    if subject.function_class.owns_inputs
                    else ""
                ),
            )
            return


@rule(
    "fresh prompts",
    "of a class that makes its own inputs, prompts are drawn anew, or repeat as repeats_prompts says",
    requires=("draw", "independent prompts"),
)
def fresh_prompts(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Counts different prompts, functions included, among 512 of a batch and 512 that are drawn one by one."""
    own, dims = subject.function_class, subject.most_dims
    if not own.owns_inputs:
        if own.repeats_prompts:
            yield Finding(
                expected="a class that makes its own inputs, as repeats_prompts is True",
                found="owns_inputs is False: inputs are drawn anew for every prompt",
                mend='declare owns_inputs, and reference_inputs = "own", and let draw take the prompts from the set; a '
                "finite number of functions needs no declaration",
            )
            return
        raise Inapplicable("owns_inputs is False: inputs are drawn anew for every prompt")
    points = _longest(subject)
    alone = [_prompts_of(subject, 1, points, index) for index in range(COUNTED)]
    usual, found = len({row for rows in alone for row in rows}), len(set(_prompts_of(subject, COUNTED, points)))
    among = f"among {COUNTED} of {points} points"
    if not own.repeats_prompts and usual < COUNTED - BY_CHANCE:
        yield Finding(
            expected=f"prompts that are drawn anew, {COUNTED} different ones {among}, as repeats_prompts is False",
            found=f"{usual} different ones at d = {dims}, inputs, values and functions alike",
            mend="declare repeats_prompts: ClassVar[bool] = True, if prompts come from a fixed set; else draw inputs "
            "and functions from the streams",
        )
    elif own.repeats_prompts and usual == 1:
        yield Finding(
            expected="different prompts from different streams",
            found=f"the same one {COUNTED} times at d = {dims}",
            mend="take the number of a prompt from draw_functions, as a parameter",
        )
    elif found < usual - COUNT_SPREAD:
        yield Finding(
            expected=f"about as many different prompts in a batch of {COUNTED} as in {COUNTED} batches of their own, "
            f"{usual} (at least {usual - COUNT_SPREAD:.0f})",
            found=f"{found} at d = {dims}",
            mend="draw the inputs of every row: no expand, repeat or modulo over the batch",
        )
    elif own.repeats_prompts:
        seen = "none does " if usual == COUNTED else f"{usual} are different "
        yield Note(f"not tested: that no prompt comes twice, because the class declares repeats_prompts; {seen}{among}")


def _longest(subject: FunctionClassSubject) -> int:
    """As many points as a prompt may have, up to `LONG`: prompts of few signs are equal by chance."""
    points = LONG
    while points > 1:
        try:
            subject.draw(1, points, subject.most_dims, subject.streams("longest"))
            break
        except UserError:
            points //= 2
    return points


def _prompts_of(subject: FunctionClassSubject, n: int, points: int, index: int = 0) -> list[bytes]:
    """The bytes of whole prompts: inputs, values and functions."""
    streams = subject.streams("one prompt" if n == 1 else "many prompts", index)
    xs, values, parameters = subject.draw(n, points, subject.most_dims, streams)
    return rows_of({"the inputs": xs, "the values": values, **parameters})


@rule("pools", "with a pool_size, functions are drawn with replacement from that many", requires=("draw",))
def pools(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Draws 64 prompts from pools of 1 and 3. One of the 3 functions is never drawn with probability 2e-11."""
    dims = subject.most_dims
    inputs = subject.inputs(dims)
    for size in (1, 3):
        pooled = subject.function_class.model_copy(update={"pool_size": size})
        pool = set(rows_of(pooled.pool(dims)))
        subject.doing = f"draw(n=64, points=2, dims={dims}) with pool_size = {size}"
        for index in (0, 1):
            _, _, parameters = pooled.draw(64, 2, dims, inputs, subject.streams("pool", index))
            drawn = set(rows_of(parameters))
            if drawn != pool:
                yield Finding(
                    expected=f"64 prompts from the {len(pool)} functions of pool(dims), each turning up, "
                    f"with pool_size = {size}",
                    found=f"{len(drawn)} different functions, {len(drawn & pool)} of them from the pool, at d = {dims}",
                    mend="in draw, take the functions from self.draw_functions(n, dims, streams), not from self.sample",
                )
                return
