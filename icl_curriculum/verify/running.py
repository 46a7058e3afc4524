"""Runs checks, as many cases at once as there are cores to spare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

from icl_curriculum.core.machine import available_cores, computing_threads
from icl_curriculum.verify.checks import Check, CheckOutcome

#: The most cases at once. Each holds prompts of some hundred megabytes.
MOST = 4


def outcomes(checks: Sequence[Check]) -> Iterator[list[tuple[Check, CheckOutcome]]]:
    """Yields the outcomes of the checks, case by case in their order, each as soon as it is known.

    Every case computes with one thread, so that results don't depend on the number of cores.
    """
    cases = [list(group) for _, group in groupby(checks, key=lambda check: check.case)]
    with computing_threads(1), ThreadPoolExecutor(min(available_cores(), MOST)) as pool:
        try:
            for future in [pool.submit(_look, case) for case in cases]:
                yield future.result()
        finally:  # Also where the reader stops reading.
            pool.shutdown(cancel_futures=True)


def _look(case: list[Check]) -> list[tuple[Check, CheckOutcome]]:
    return [(check, check.outcome()) for check in case]
