"""Components that live in some numbers of dimensions: in which one is checked, and the rule on refusing others."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from icl_curriculum.core.component import Component
from icl_curriculum.core.errors import UserError
from icl_curriculum.testing.rules import Finding, Note, rule
from icl_curriculum.testing.subject import ComponentSubject

DIMS = (1, 2, 3, 5, 8)
#: The dimensions to try if the component refuses all of `DIMS`, and how many of the allowed ones to take.
MORE_DIMS, MORE = range(1, 65), 3
#: Pairs (n, points) with one and more of each. All numbers differ from one another and from the dimensions.
SHAPES = ((1, 1), (1, 4), (6, 1), (7, 4))


class _ChecksDims(Protocol):
    def check_dims(self, dims: int) -> None: ...


C = TypeVar("C", bound=Component)


class InDimensions(ComponentSubject[C]):
    """A component under check whose ``check_dims`` says in how many dimensions it can live."""

    @functools.cached_property
    def dims(self) -> tuple[int, ...]:
        """The dimensions to check: those of `DIMS` that it allows, else the first that it allows at all."""
        allowed = tuple(dims for dims in DIMS if self.refusal(dims) is None)
        return allowed or tuple([dims for dims in MORE_DIMS if self.refusal(dims) is None][:MORE])

    def refusal(self, dims: int) -> UserError | None:
        """The UserError that ``check_dims`` raises for ``dims``, if any. Its other errors pass."""
        component: Any = self.as_given
        checking: _ChecksDims = component
        self.doing = f"check_dims({dims})"
        try:
            checking.check_dims(dims)
        except UserError as error:
            return error
        return None

    @property
    def few_dims(self) -> tuple[int, ...]:
        """The smallest, the middle and the largest of the dimensions to check."""
        return tuple(sorted({self.dims[0], self.dims[len(self.dims) // 2], self.dims[-1]}))

    @property
    def most_dims(self) -> int:
        return self.dims[-1]


@rule("dimensions", "check_dims allows some dimensions and refuses others with UserError", requires=("construction",))
def dimensions(subject: InDimensions[Any]) -> Iterator[Finding | Note]:
    refused = {dims: error for dims in DIMS if (error := subject.refusal(dims)) is not None}
    if not subject.dims:
        yield Finding(
            expected=f"a number of dimensions from 1 to {MORE_DIMS[-1]} that the {subject.registry.kind} can live in",
            found=f"check_dims refuses them all, d = 1 with: {next(iter(refused.values()))}",
            mend="let check_dims raise only for dimensions in which it cannot do its work",
        )
    elif refused:
        refusing, looked_at = (", ".join(map(str, dims)) for dims in (refused, subject.dims))
        yield Note(f"refused: d = {refusing} ({next(iter(refused.values()))}); looked at d = {looked_at}")
