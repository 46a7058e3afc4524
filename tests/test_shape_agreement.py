"""The quick check of shapes, which all tests have in the place of jaxtyping's, answers as jaxtyping does."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jaxtyping
import pytest
import torch
from jaxtyping import Bool, Float, Int, Shaped
from shape_agreement import agrees, by_jaxtyping, stated
from torch import Tensor
from type_checker import context

ANNOTATIONS = [
    Float[Tensor, ""], Float[Tensor, "n"], Float[Tensor, "n n"], Float[Tensor, "n dims"], Float[Tensor, "2 n"],
    Float[Tensor, "n *labels"], Float[Tensor, "*labels n"], Float[Tensor, "n *labels dims"], Float[Tensor, "*labels"],
    Float[Tensor, "_ n"], Float[Tensor, "*_many n"], Float[Tensor, "..."], Float[Tensor, "#n"], Float[Tensor, "n+1"],
    Bool[Tensor, "n"], Int[Tensor, "n dims"], Shaped[Tensor, "n"],
]  # fmt: skip
VALUES = [
    *(torch.zeros(shape) for shape in ((), (1,), (2,), (3,), (2, 2), (2, 3), (3, 2), (3, 2, 2))),
    torch.zeros(3, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.int64), torch.zeros(3, dtype=torch.complex64), None,
]  # fmt: skip


def answers(check: object, annotations: Sequence[object], values: Sequence[object]) -> list[bool | str]:
    """What is said of one value after another within one call, in which names keep their sizes."""
    found: list[bool | str] = []
    with context():
        for annotation, value in zip(annotations, values, strict=True):
            try:
                found.append(check(annotation, value))  # type: ignore[operator]
            except jaxtyping.AnnotationError as error:
                found.append(type(error).__name__)
    return found


@pytest.mark.parametrize("first", ANNOTATIONS, ids=lambda annotation: annotation.__name__)
def test_two_values_in_one_call(first: object) -> None:
    for annotation, one, two in itertools.product(ANNOTATIONS, VALUES, VALUES):
        asked = (first, annotation), (one, two)
        assert answers(agrees, *asked) == answers(by_jaxtyping, *asked), (annotation, one, two)


def test_what_signatures_of_the_package_state_is_read() -> None:
    assert stated(Float[Tensor, "batch points *labels"]) is not None
    assert stated(Float[Tensor, "n+1"]) is None
