"""What a row of summary.csv is of, and the rows that are made of numbers about it."""

from __future__ import annotations

from typing import NamedTuple

from icl_curriculum.results.columns import SummaryRow
from icl_curriculum.results.statistics.seeds import Estimate


class Subject(NamedTuple):
    """What a number is of: the first columns of its row."""

    experiment: str
    variant: str
    versus: str | None
    function_class: str
    input_distribution: str
    n_context: int
    metric: str

    def number(
        self, quantity: str, statistic: str, value: float, n_seeds: int, *, seed: int | None = None
    ) -> SummaryRow:
        """A number without an interval; ``seed``: of which it is, if it is one seed's."""
        return SummaryRow(
            *self, quantity=quantity, statistic=statistic, seed=seed, value=value, ci_low=None, ci_high=None,
            n_seeds=n_seeds,
        )  # fmt: skip

    def estimate(self, quantity: str, statistic: str, made: Estimate, n_seeds: int | None = None) -> SummaryRow:
        """A number with its interval; ``n_seeds``: how many seeds it rests on, if not as many as values."""
        return SummaryRow(
            *self, quantity=quantity, statistic=statistic, seed=None, value=made.value, ci_low=made.low,
            ci_high=made.high, n_seeds=made.n if n_seeds is None else n_seeds,
        )  # fmt: skip
