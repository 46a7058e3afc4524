"""Sets published results of trained transformers beside those of our own finished runs of the same size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Literal

from icl_curriculum.verify.checks import NOT_RUN, Check, CheckOutcome
from icl_curriculum.verify.runs import AskedError, Damaged, PublishedSize, runs_of_published_size

#: Where runs are looked for, unless another folder is given.
RESULTS = Path("results")
Metric = Literal["normalized_error", "error_over_reference"]
#: The raw error over the trivial error without a shift, which is the convention of Garg et al.'s text.
_OVER_REFERENCE: Metric = "error_over_reference"
_OPEN = "the text doesn't say whether over c^2"


@dataclass(frozen=True)
class Printed:
    """A printed error of a transformer: the class it was trained on, what it was asked, and after how many examples.

    ``function_class``: the class it was asked about, if that is another one. ``note``: what the text leaves
    open.
    """

    trained_on: str
    n_context: int
    value: float
    shift: str = "none"
    input_distribution: str = "gaussian"
    function_class: str = ""
    metric: Metric = "normalized_error"
    note: str = ""

    @property
    def asked(self) -> AskedError:
        """The values that the asked rows have in the columns of evaluation.csv."""
        function_class = self.function_class or self.trained_on
        return AskedError(function_class, self.input_distribution, self.shift, self.n_context, self.metric)

    def __str__(self) -> str:
        words = [self.function_class, self.input_distribution, self.shift]
        named = [word for word in words if word not in ("", "gaussian", "none")]
        return ", ".join([*named, f"k = {self.n_context}"])


def _linear(values: dict[int, float], shift: str = "none", inputs: str = "gaussian") -> list[Printed]:
    return [Printed("linear", k, value, shift, inputs) for k, value in values.items()]


_SCALES = ("0.333", "0.5", "2", "3")

#: Garg et al. 2022, arXiv 2208.01066: 12 layers, 256 wide, 8 heads, 500,000 steps of 64 prompts, d = 20.
PRINTED = [
    *_linear({20: 0.02, 40: 0.0006}),
    *_linear({10: 0.036, 20: 0.0014, 40: 0.00057}, inputs="half_subspace"),
    *_linear({20: 0.062, 40: 0.004}, "random_quadrants"),
    *_linear({10: 0.001, 20: 0.001, 40: 0.0005}, "overlapping_queries"),
    Printed("linear", 10, 1.0, "orthogonal_queries", note="about 1 at every k"),
    *(
        Printed("linear", 40, value, f"scaled_outputs/{scale}", metric=_OVER_REFERENCE)
        for scale, value in zip(_SCALES, (0.0012, 0.0008, 0.0016, 0.0278), strict=True)
    ),
    *(
        Printed("linear", 40, value, f"scaled_inputs/{scale}", note=_OPEN)
        for scale, value in zip(_SCALES, (0.30, 0.013, 0.043, 0.58), strict=True)
    ),
    *(Printed("sparse_linear", k, value) for k, value in {5: 0.58, 10: 0.09}.items()),
    Printed("relu_network", 100, 0.17),
    *(
        Printed("relu_network", k, value, function_class="linear")
        for k, value in {20: 0.34, 50: 0.05, 100: 0.01}.items()
    ),
    Printed("decision_tree", 100, 0.12),
]


def checks(results: Path) -> Iterator[Check]:
    """A row for each printed number and each of our experiments that trained such a model. None is judged."""
    runs, damaged = runs_of_published_size(results)
    for printed in PRINTED:
        trained = [run for run in runs if run.trained_on == printed.trained_on]
        beside = list(_beside(printed, trained)) or [_not_run(printed, trained)]
        for outcome in beside:
            yield Check(f"trained on {printed.trained_on}", str(printed), partial(_same, outcome))
    for item in damaged:
        yield Check("damaged, skipped", str(item.path), partial(_same, _skipped(item)))


def _same(outcome: CheckOutcome) -> CheckOutcome:
    return outcome


def _beside(printed: Printed, runs: Sequence[PublishedSize]) -> Iterator[CheckOutcome]:
    """Our errors beside a printed one: the mean over seeds of each experiment and variant that was asked the same."""
    for name, group in groupby(runs, key=lambda run: run.family):
        found = {run: run.errors[printed.asked] for run in group if printed.asked in run.errors}
        if found:
            notes = [printed.note] if printed.note else []
            notes += [f"{name}, seed{'s' if len(found) > 1 else ''} {', '.join(str(run.seed) for run in found)}"]
            if len(found) > 1:
                notes.append(f"{min(found.values()):.3g} to {max(found.values()):.3g}")
            notes.append(f"{max(run.steps for run in found):,} steps")
            yield CheckOutcome(None, printed.value, _source(printed), fmean(found.values()), note=", ".join(notes))


def _not_run(printed: Printed, runs: Sequence[PublishedSize]) -> CheckOutcome:
    notes = [printed.note] if printed.note else []
    if runs:
        notes.append(f"{', '.join(dict.fromkeys(run.family for run in runs))}: not asked this")
    return CheckOutcome(None, printed.value, _source(printed), NOT_RUN, note=", ".join(notes))


def _source(printed: Printed) -> str:
    return "Garg et al." + (", over the unscaled trivial error" if printed.metric == _OVER_REFERENCE else "")


def _skipped(item: Damaged) -> CheckOutcome:
    return CheckOutcome(None, "a finished run", "", item.reason)
