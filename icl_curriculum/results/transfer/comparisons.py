"""A variant's errors beside those of plain training: after as much training, or where it is as good on seen cells."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icl_curriculum.results.comparison.wording import error, listed, operations
from icl_curriculum.results.transfer.errors import BySeed, Group, TransferErrors
from icl_curriculum.results.transfer.ladder import Rung, at_operations, at_seen_error
from icl_curriculum.results.transfer.row import UNADAPTED
from icl_curriculum.results.transfer.settings import TrainedSetting, ladder_of, with_as_many_updates


@dataclass(frozen=True)
class PairedWithPlain:
    """A variant's errors beside those of plain training, by seed, with what is to be known of seeds left out."""

    versus: Sequence[str]
    versus_seeds: int
    pairs: Mapping[int, tuple[float, float]]
    notes: Sequence[str] = ()


def comparisons(setting: TrainedSetting, group: Group, found: TransferErrors) -> Iterator[tuple[str, PairedWithPlain]]:
    """Every comparison of a variant in a group, by its name in the table."""
    others = [other for other in found.settings.values() if other.plain]
    yield "equal_updates", _at_equal_updates(setting, others, group, found)
    ladder = ladder_of(setting, others)
    yield "equal_operations", _at_equal_operations(setting, ladder, group, found)
    # What a variant has on seen cells is what it is compared at.
    if (group.domain, group.adaptation) != ("seen", UNADAPTED):
        yield "equal_seen_error", _at_equal_seen_error(setting, ladder, group, found)


def _at_equal_updates(
    setting: TrainedSetting, others: Sequence[TrainedSetting], group: Group, found: TransferErrors
) -> PairedWithPlain:
    plain = with_as_many_updates(setting, others)
    if plain is None:
        data = "" if setting.fixed_prompts is None else f" and training.fixed_prompts = {setting.fixed_prompts}"
        return _nothing(
            f"no plain variant has {setting.steps:,} steps of {setting.batch_size} prompts{data} on the same cells"
        )
    ours, theirs = found.groups[setting.variant][group], found.groups[plain.variant].get(group)
    if theirs is None or not ours.same_cells(theirs):
        return _nothing(f"{plain.variant} was not asked about the same")
    mine, its = ours.by_seed, theirs.by_seed
    common = [seed for seed in mine if seed in its]
    pairs = {seed: (mine[seed], its[seed]) for seed in common if found.may_pair(setting.variant, plain.variant, seed)}
    notes = [*_unpaired(mine, its), *_on_other_devices(seed for seed in common if seed not in pairs)]
    return PairedWithPlain([plain.variant], len(its), pairs, notes)


def _at_equal_operations(
    setting: TrainedSetting, ladder: Sequence[TrainedSetting], group: Group, found: TransferErrors
) -> PairedWithPlain:
    if found.operations is None:
        return _nothing("there is no exposure.csv, which tells what training took")
    rungs = _rungs(setting, ladder, group, found)
    spent = {seed: found.operations.get((setting.variant, seed), math.nan) for seed in rungs.mine}
    read = {seed: at_operations(rungs.by_seed[seed], spent[seed]) for seed in rungs.common}
    beyond = [seed for seed in rungs.common if math.isnan(read[seed])]
    said = []
    if beyond:
        ends = [
            (min(r.operations for r in rungs.by_seed[s]), max(r.operations for r in rungs.by_seed[s])) for s in beyond
        ]
        low, high = np.mean(ends, axis=0)
        mine = operations(float(np.mean([spent[seed] for seed in beyond])))
        rest = f"takes {operations(low)} to {operations(high)}" if high > low else f"is one run, of {operations(low)}"
        said = [f"{_which(beyond, rungs)}the ladder {rest} operations, it {mine}"]
    return rungs.paired(read, said)


def _at_equal_seen_error(
    setting: TrainedSetting, ladder: Sequence[TrainedSetting], group: Group, found: TransferErrors
) -> PairedWithPlain:
    rungs = _rungs(setting, ladder, group, found)
    own = found.seen(setting.variant, _seen_metric(setting.variant, found))
    read = {seed: at_seen_error(rungs.by_seed[seed], own.get(seed, math.nan)) for seed in rungs.common}
    said = []
    for better in (True, False):
        beyond = [
            seed
            for seed in rungs.common
            if math.isnan(read[seed]) and (own.get(seed, math.nan) < min(r.seen for r in rungs.by_seed[seed])) == better
        ]
        if beyond:
            end = min if better else max
            theirs = float(np.mean([end(rung.seen for rung in rungs.by_seed[seed]) for seed in beyond]))
            mine = float(np.mean([own.get(seed, math.nan) for seed in beyond]))
            said.append(
                f"{_which(beyond, rungs)}the ladder's {'best' if better else 'worst'} seen error is {error(theirs)}, "
                f"it is {error(mine)}"
            )
    return rungs.paired(read, said)


def _seen_metric(variant: str, found: TransferErrors) -> str:
    """The metric of seen errors: the normalized error, unless all seen cells have medians alone."""
    metrics = {group.metric for group in found.groups[variant] if group[:2] == ("seen", UNADAPTED)}
    return "median_error" if metrics == {"median_error"} else "normalized_error"


@dataclass(frozen=True)
class _LadderBySeed:
    """The rungs of a ladder for each seed that has at least one, and the variant's own error by seed."""

    variants: Sequence[str]
    mine: BySeed
    by_seed: Mapping[int, Sequence[Rung]]
    #: The seeds of runs that were made on another kind of device than all rungs of theirs.
    on_other_devices: Sequence[int] = ()

    @property
    def common(self) -> list[int]:
        return [seed for seed in sorted(self.mine) if seed in self.by_seed]

    def paired(self, read: BySeed, said: Sequence[str]) -> PairedWithPlain:
        if not self.by_seed and not self.on_other_devices:
            return _nothing("no plain variants make a ladder: same batch size, fixed prompts, cells, curriculum, size")
        pairs = {seed: (self.mine[seed], value) for seed, value in read.items() if not math.isnan(value)}
        rest = _unpaired(self.mine, {*self.by_seed, *self.on_other_devices})
        rest += _on_other_devices(self.on_other_devices)
        return PairedWithPlain(self.variants, len(self.by_seed), pairs, [*said, *rest])


def _rungs(
    setting: TrainedSetting, ladder: Sequence[TrainedSetting], group: Group, found: TransferErrors
) -> _LadderBySeed:
    ours = found.groups[setting.variant][group]
    metric = _seen_metric(setting.variant, found)
    by_seed: dict[int, list[Rung]] = {}
    variants = []
    elsewhere: set[int] = set()
    for plain in ladder:
        theirs = found.groups[plain.variant].get(group)
        if theirs is None or not ours.same_cells(theirs):
            continue
        variants.append(plain.variant)
        seen = found.seen(plain.variant, metric)
        for seed, value in theirs.by_seed.items():
            if not found.may_pair(setting.variant, plain.variant, seed):
                elsewhere.add(seed)
                continue
            spent = (found.operations or {}).get((plain.variant, seed), math.nan)
            by_seed.setdefault(seed, []).append(Rung(plain.steps, spent, seen.get(seed, math.nan), value))
    return _LadderBySeed(variants, ours.by_seed, by_seed, sorted(elsewhere - {*by_seed}))


def _nothing(why: str) -> PairedWithPlain:
    return PairedWithPlain([], 0, {}, [why])


def _which(seeds: Sequence[int], rungs: _LadderBySeed) -> str:
    """Which seeds a note is of, where it is not of all."""
    return "" if len(seeds) == len(rungs.common) else f"seed{'s' * (len(seeds) > 1)} {listed(list(map(str, seeds)))}: "


def _on_other_devices(seeds: Iterable[int]) -> list[str]:
    """A note on the seeds whose runs are not paired, as they were made on different kinds of device."""
    found = sorted(seeds)
    named = f"seed{'s' * (len(found) > 1)} {listed(list(map(str, found)))}"
    return [f"made on another kind of device, and so not paired: {named}"] if found else []


def _unpaired(mine: BySeed, theirs: Collection[int]) -> list[str]:
    """A note on the seeds that one side alone has."""
    alone = sorted({*mine} ^ {*theirs})
    return [f"only on one side: seed{'s' * (len(alone) > 1)} {listed(list(map(str, alone)))}"] if alone else []
