"""The errors of an experiment's variants in each domain, by seed, and what their training took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from icl_curriculum.results.comparison.sources import CELL
from icl_curriculum.results.device_kinds import DeviceKinds, of_one_kind
from icl_curriculum.results.statistics.seeds import interquartile_mean
from icl_curriculum.results.transfer.row import UNADAPTED
from icl_curriculum.results.transfer.settings import TrainedSetting

#: An error by seed.
BySeed = Mapping[int, float]


class Group(NamedTuple):
    """What a variant's errors are put together by."""

    domain: str
    adaptation: str
    metric: str


@dataclass(frozen=True)
class GroupErrors:
    """A variant's errors in a group, (seeds, cells), over the seeds that were asked about all of its cells.

    ``n_prompts``: those of the cell with the fewest.
    """

    values: pd.DataFrame
    learner: str
    n_context: int
    n_prompts: int

    @property
    def by_seed(self) -> dict[int, float]:
        """The interquartile mean over cells of each seed."""
        means = interquartile_mean(self.values.to_numpy(dtype=np.float64))
        return dict(zip(map(int, self.values.index), map(float, means), strict=True))

    def same_cells(self, other: GroupErrors) -> bool:
        return list(self.values.columns) == list(other.values.columns) and self.n_context == other.n_context


@dataclass(frozen=True)
class TransferErrors:
    """All errors of an experiment: by variant, then by group. ``operations``: what training took, by variant and seed.

    None: nothing is known of that.
    """

    settings: Mapping[str, TrainedSetting]
    groups: Mapping[str, Mapping[Group, GroupErrors]]
    operations: Mapping[tuple[str, int], float] | None
    #: The kind of device that each run was made on.
    devices: DeviceKinds = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        settings: Mapping[str, TrainedSetting],
        errors: pd.DataFrame,
        exposure: pd.DataFrame | None,
        devices: DeviceKinds,
    ) -> TransferErrors:
        """``errors``: of `domains.domain_errors`; ``exposure``: exposure.csv."""
        groups: dict[str, dict[Group, GroupErrors]] = {variant: {} for variant in settings}
        for (variant, *key), rows in errors.groupby(["variant", *Group._fields], observed=True):
            values = rows.pivot(index="seed", columns=CELL, values="value").dropna()
            if len(values):
                first = rows.iloc[0]
                group = GroupErrors(
                    values, str(first["learner"]), int(first["n_context"]), int(rows["n_prompts"].min())
                )
                groups[str(variant)][Group(*map(str, key))] = group
        return cls(settings, groups, None if exposure is None else _in_all(exposure), devices)

    def may_pair(self, one: str, other: str, seed: int) -> bool:
        """Whether the runs of two variants with a seed may be paired: they were made on one kind of device."""
        return of_one_kind(self.devices.get((one, seed)), self.devices.get((other, seed)))

    def seen(self, variant: str, metric: str) -> BySeed:
        """The error on seen cells of the model as training left it, by seed."""
        found = self.groups[variant].get(Group("seen", UNADAPTED, metric))
        return {} if found is None else found.by_seed


def _in_all(exposure: pd.DataFrame) -> dict[tuple[str, int], float]:
    """The operations of all cells together at the end of each run."""
    last = exposure[exposure["step"] == exposure.groupby(["variant", "seed"], observed=True)["step"].transform("max")]
    summed = last.groupby(["variant", "seed"], as_index=False, observed=True)["flops"].sum()
    return {
        (str(variant), int(seed)): float(value)
        for variant, seed, value in summed[["variant", "seed", "flops"]].itertuples(index=False)
    }
