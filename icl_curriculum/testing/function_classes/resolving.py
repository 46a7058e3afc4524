"""E f(x)^2 by Monte Carlo of a class's own draw, which goes on until an error of 5% would show.

How long is counted in numbers that are drawn and computed, not in seconds, so that verdicts are the same every time.
Dimensions: n = prompts, points = K + 1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from icl_curriculum.core.errors import UserError
from icl_curriculum.function_classes.estimates import moment_points
from icl_curriculum.inputs import InputDistribution
from icl_curriculum.results.statistics.moments import MomentEstimate, estimate_of
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject
from icl_curriculum.testing.rules import Note

#: The relative error of a stated moment that is to be found.
RESOLUTION = 0.05
#: Points of a prompt. They share its function; several make up for the inputs' tails at little cost. Where positions
#: differ, they are those that a moment is the mean over.
POINTS = 8
#: The prompts of the first draw of each moment, and the least behind a finding: fewer may all lack a rare, large value.
FIRST, LEAST = 1 << 12, 1 << 16
#: The numbers that one draw holds, about; and those that all moments of one rule may take, about ten seconds' worth.
HELD = 1 << 22
BUDGET = 1 << 30
#: What a value takes beside its input's coordinates: how many numbers `evaluate` computes for it, at least.
VALUE = 8


@dataclass
class DrawnMoment:
    """A moment that is being estimated: in ``dims`` dimensions, under ``inputs``, from streams named ``purpose``.

    ``stated``: what it is said to be, in one way or more. ``refused``: the error of the class that these inputs are
    outside its domain, which ends the drawing.
    """

    subject: FunctionClassSubject
    dims: int
    inputs: InputDistribution
    purpose: str
    label: str
    stated: Mapping[str, float]
    draws: int = 0
    refused: UserError | None = None
    #: The numbers that a prompt takes.
    numbers: int = 1
    #: The mean at each position in the first draw.
    at_positions: list[float] | None = None
    _estimate: MomentEstimate | None = field(default=None, repr=False)

    @functools.cached_property
    def points(self) -> int:
        """The points of the prompts that are drawn."""
        if not self.subject.function_class.positions_differ(self.dims):
            return POINTS
        return moment_points(self.subject.function_class, self.inputs, self.dims)

    @property
    def estimate(self) -> MomentEstimate:
        assert self._estimate is not None, "nothing has been drawn yet"
        return self._estimate

    def more(self) -> None:
        """Draw as many prompts as are needed, but no more than so far, nor than one draw holds."""
        n = FIRST
        if self._estimate is not None:
            wanted = min(self._estimate.prompts, math.ceil(1.05 * self.needed / self.numbers))
            n = max(FIRST // 4, min(wanted, HELD // self.numbers))
        streams = self.subject.streams(self.purpose, self.draws)
        try:
            xs, values, parameters = self.subject.draw(n, self.points, self.dims, streams, self.inputs)
            if self.subject.function_class.asks_itself:
                values = self.subject.asked(parameters, xs)
        except UserError as error:
            self.refused = error
            return
        squares = values.double().square()
        squares = squares if squares.ndim == 2 else squares.sum(dim=-1)
        drawn = estimate_of(squares.mean(1).numpy())
        if self.at_positions is None:
            self.at_positions = squares.mean(0).tolist()
        self.numbers = self.points * (self.dims + VALUE) + sum(value[0].numel() for value in parameters.values())
        self._estimate = drawn if self._estimate is None else self._estimate.merged(drawn)
        self.draws += 1

    @property
    def resolves(self) -> bool:
        return self.estimate.resolution() <= RESOLUTION and (self._suspected is None or self.wrong is not None)

    @property
    def wrong(self) -> tuple[str, str] | None:
        """The first way in which it is stated that cannot be right, and whether the value is too small or too large."""
        return self._suspected if self.estimate.prompts >= LEAST else None

    @property
    def _suspected(self) -> tuple[str, str] | None:
        """What would be wrong if more prompts said the same."""
        verdicts = ((told, self.estimate.verdict(value)) for told, value in self.stated.items())
        return next(((told, verdict) for told, verdict in verdicts if verdict), None)

    @property
    def spent(self) -> int:
        return 0 if self._estimate is None else self.estimate.prompts * self.numbers

    @property
    def needed(self) -> float:
        """The numbers still to be drawn until it resolves `RESOLUTION`, going by the tails seen so far."""
        if self._suspected is not None:
            return max(0, LEAST - self.estimate.prompts) * self.numbers
        # Where the tail is too heavy to say, a resolution of 1 stands in.
        resolution = min(self.estimate.resolution(), 1.0)
        return self.spent * max(0.0, (resolution / RESOLUTION) ** 2 - 1)


def resolve(moments: Sequence[DrawnMoment]) -> list[DrawnMoment]:
    """Draw until every moment resolves `RESOLUTION`, one is found to be wrong, or all have taken `BUDGET` numbers.

    The one that needs least comes next, so that one that cannot be resolved leaves enough for the others; what is over
    then goes to it. Returns those that the class did not refuse.
    """
    for moment in moments:
        moment.more()
    drawn = [moment for moment in moments if moment.refused is None]
    while waiting := [moment for moment in drawn if moment.refused is None and not moment.resolves]:
        if any(moment.wrong for moment in drawn) or sum(moment.spent for moment in drawn) >= BUDGET:
            break
        min(waiting, key=lambda moment: moment.needed).more()
    return [moment for moment in drawn if moment.refused is None]


def unresolved(moments: Sequence[DrawnMoment], what: str) -> Iterator[Note]:
    """Says what errors can be told where it is not `RESOLUTION`."""
    said = []
    for moment in moments:
        if not moment.resolves:
            resolution = moment.estimate.resolution()
            tells = "too small a value only" if math.isinf(resolution) else f"errors of {resolution:.0%} and more"
            said.append(f"at {moment.label} it can tell {tells}")
    if said:
        yield Note(f"heavy tails, so that {what} shows less sharply than {RESOLUTION:.0%}: {'; '.join(said)}")
