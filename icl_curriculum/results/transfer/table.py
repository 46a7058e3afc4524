"""The rows of transfer.csv, from the errors in each domain, the configs, and what training took."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from icl_curriculum.results.adaptation import AdaptedId
from icl_curriculum.results.statistics.seeds import Estimate, estimate, paired_difference
from icl_curriculum.results.transfer.comparisons import PairedWithPlain, comparisons
from icl_curriculum.results.transfer.errors import Group, TransferErrors
from icl_curriculum.results.transfer.row import DOMAINS, UNADAPTED, TransferRow


def transfer_rows(experiment: str, found: TransferErrors) -> Iterator[TransferRow]:
    """Every row of transfer.csv, by domain, adaptation and variant."""
    groups = {group for of_variant in found.groups.values() for group in of_variant}
    for group in sorted(groups, key=_place):
        for variant in found.settings:
            if group in found.groups[variant]:
                yield from _of_variant(experiment, variant, group, found)


def _place(group: Group) -> tuple[object, ...]:
    """Where a group stands: by domain, the model as it is first, then by the way to adapt it and its steps."""
    steps, options = 0, ""
    if group.adaptation != UNADAPTED:
        parsed = AdaptedId.parse(f"model/{group.adaptation}")
        steps, options = parsed.steps, parsed.options
    return DOMAINS.index(group.domain), steps > 0, options, steps, group.metric


def _of_variant(experiment: str, variant: str, group: Group, found: TransferErrors) -> Iterator[TransferRow]:
    setting, own = found.settings[variant], found.groups[variant][group]
    values = own.values.to_numpy(dtype=np.float64)
    made = estimate([values])
    alone = TransferRow(
        experiment=experiment, variant=variant, method=setting.method, steps=setting.steps,
        batch_size=setting.batch_size, fixed_prompts=setting.fixed_prompts, domain=group.domain,
        adaptation=group.adaptation, learner=own.learner, n_context=own.n_context, metric=group.metric,
        error=made.value, ci_low=made.low, ci_high=made.high, median=float(np.median(values)),
        n_cells=values.shape[1], n_prompts=own.n_prompts, n_seeds=len(values), comparison="none",
        versus=None, versus_error=None,
        difference=None, difference_low=None, difference_high=None, resolvable=None, versus_seeds=0, n_pairs=0,
        note=None,
    )  # fmt: skip
    yield alone
    if setting.plain:
        return
    for comparison, paired in comparisons(setting, group, found):
        yield _compared(alone, comparison, paired)


def _compared(alone: TransferRow, comparison: str, paired: PairedWithPlain) -> TransferRow:
    """The row of a comparison, from that of the variant alone."""
    pairs = np.array([paired.pairs[seed] for seed in sorted(paired.pairs)], dtype=np.float64).reshape(-1, 2)
    notes = list(paired.notes)
    made = Estimate(math.nan, math.nan, math.nan, 0)
    if len(pairs) and np.isfinite(pairs).all():
        made = paired_difference(pairs[:, 0], pairs[:, 1])
    elif len(pairs):
        notes.append("an error is infinite")
    return alone._replace(
        comparison=comparison, versus=" ".join(paired.versus) or None,
        versus_error=float(pairs[:, 1].mean()) if len(pairs) else None, difference=made.value,
        difference_low=made.low, difference_high=made.high, resolvable=(made.high - made.low) / 2,
        versus_seeds=paired.versus_seeds, n_pairs=len(pairs), note="; ".join(notes) or None,
    )  # fmt: skip
