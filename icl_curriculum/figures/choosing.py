"""Chooses the baselines that a panel shows: the few that a reader should compare with, all, or those asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from icl_curriculum.core.errors import UserError, closest_and_known
from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.figures.curves import look_alike
from icl_curriculum.figures.names import ZERO
from icl_curriculum.figures.scales import as_costs
from icl_curriculum.results.shown_metric import shown_metric
from icl_curriculum.results.tables import distinct

#: ``"best"``, ``"all"``, or ids of baselines.
Baselines = str | Sequence[str]

#: The most baselines in a panel beside the zero predictor, and the number that is filled up even with baselines that
#: others surpass everywhere, as long as they are better than zero.
MOST, ENOUGH = 3, 2

#: A further baseline is worth a line if it lowers the error by a fifth at some length; in powers of ten.
GAIN = 0.1


@dataclass(frozen=True)
class Choice:
    """Learners to draw, those that look like one that is drawn, and how many others are left out.

    ``alike``: for a learner that is drawn, those whose lines would lie on its own, the best first. ``ranked``: the
    baselines that are drawn, in the order in which they were chosen.
    """

    shown: list[str]
    alike: dict[str, list[str]]
    left_out: int
    ranked: tuple[str, ...] = ()

    def only(self, kept: Collection[str]) -> Choice:
        """The same without the baselines that are not in ``kept``; the one that was chosen first stays."""
        gone = {name for name in self.ranked[1:] if name not in kept}
        lost = sum(len(self.alike.get(name, ())) for name in gone)
        return Choice(
            [name for name in self.shown if name not in gone],
            {name: others for name, others in self.alike.items() if name not in gone},
            self.left_out + len(gone) + lost,
            tuple(name for name in self.ranked if name not in gone),
        )


def within_legend(choices: Sequence[Choice], room: int) -> tuple[list[Choice], set[str]]:
    """Leave out baselines, those first that were chosen last, until a legend with ``room`` for so many names them all.

    The first one of each panel stays. Also returns those for which there is no entry.
    """
    order: list[str] = []
    for rank in range(max(len(choice.ranked) for choice in choices)):
        at_rank = [choice.ranked[rank] for choice in choices if len(choice.ranked) > rank]
        order += sorted(dict.fromkeys(at_rank), key=lambda name: -at_rank.count(name))
    kept = list(dict.fromkeys(order))[: max(0, room)]
    made = [choice.only(kept) for choice in choices]
    return made, {name for choice in made for name in choice.ranked if name not in kept}


def asked_baselines(evaluation: pd.DataFrame, baselines: Baselines) -> frozenset[str] | None:
    """The ids of the baselines that are asked for; None if the best ones are.

    Raises UserError, with the closest id and all that there are, for one that the table does not have.
    """
    known = sorted(distinct(evaluation.loc[evaluation["learner_kind"] == "baseline", "learner"]))
    names = [baselines] if isinstance(baselines, str) else list(baselines)
    if names == ["best"]:
        return None
    if names == ["all"]:
        return frozenset(known)
    for name in names:
        if name not in known:
            raise UserError(f"the table has no baseline {name!r}{closest_and_known(name, known)}")
    return frozenset(names)


def choose(curves: Mapping[str, pd.Series], oracles: Collection[str], asked: Collection[str] | None) -> Choice:
    """Choose which of a panel's learners that do not train are drawn.

    ``curves``: errors by the number of examples; ``oracles``: the learners that are always shown; ``asked``: the
    baselines asked for, None for the best ones.
    """
    shown = [learner for learner in curves if learner in oracles]
    candidates = sorted(learner for learner in curves if learner not in (*oracles, ZERO))
    if asked is None:
        return _best(curves, shown, candidates)
    return Choice([*shown, *(learner for learner in candidates if learner in asked)], {}, 0)


def _best(curves: Mapping[str, pd.Series], oracles: Sequence[str], candidates: Sequence[str]) -> Choice:
    """The baselines that together come closest to the best one at every length.

    They are chosen one after another. Each is the one that lowers the lowest of the chosen curves (and of zero's) by
    the most on average over lengths, as drawn on a logarithmic axis. So the baseline that is best on short prompts is
    chosen, and the one that is best on long prompts. If these are few, the next best follow. Of several settings of
    one estimator only the best is considered. One that looks like a line that is there is chosen like others, so that
    no worse one comes in its place; it needs no line of its own.
    """
    lengths = np.unique([k for learner in candidates for k in curves[learner].index])
    logs = {learner: _as_drawn(curves[learner], lengths) for learner in candidates}
    excess = _excess(logs)
    of_estimator: dict[str, str] = {}
    for learner in sorted(candidates, key=lambda name: (excess[name], name)):
        of_estimator.setdefault(estimator(learner), learner)
    waiting = list(of_estimator.values())

    chosen: list[str] = []
    found = 0
    alike: dict[str, list[str]] = {}
    # Where nothing says what zero's error is, they are held against the worst of them.
    worst = np.nanmax([*logs.values()], axis=0) if logs and shown_metric().trivial is None else np.zeros(len(lengths))
    lowest = worst
    while found < MOST:
        gains = {learner: np.fmax(lowest - logs[learner], 0) for learner in waiting}
        # Rounded, so that baselines that differ in the last digit alone are sorted by name.
        further = sorted((-round(float(gain.mean()), 9), name) for name, gain in gains.items() if gain.max() >= GAIN)
        near = [name for name in waiting if found < ENOUGH and np.nanmean(logs[name] - worst) < 0]
        following = next(iter([*(name for _, name in further), *near]), None)
        if following is None:
            break
        waiting.remove(following)
        found += 1
        lowest = np.fmin(lowest, logs[following])
        if not _named_on(following, (*oracles, *chosen), curves, alike):
            chosen.append(following)
    for learner in waiting:
        _named_on(learner, (*oracles, *chosen), curves, alike)
    hidden = sum(map(len, alike.values()))
    return Choice([*oracles, *chosen], alike, len(candidates) - len(chosen) - hidden, tuple(chosen))


def _named_on(learner: str, drawn: Sequence[str], curves: Mapping[str, pd.Series], alike: dict[str, list[str]]) -> bool:
    """Whether a learner looks like one that is drawn; then it is added to those that are named on that line."""
    for other in drawn:
        if look_alike(curves[learner], curves[other]):
            alike.setdefault(other, []).append(learner)
            return True
    return False


def _as_drawn(curve: pd.Series, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """The logarithm of a curve at all lengths: straight between its own, NaN before the first and after the last."""
    values = as_costs(curve)
    return np.interp(lengths, curve.index.to_numpy(), values, left=np.nan, right=np.nan)


def _excess(logs: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """By how many powers of ten each curve lies above the lowest of all, on average over its own lengths.

    This makes learners comparable that were asked at different lengths.
    """
    if not logs:
        return {}
    lowest = np.fmin.reduce(list(logs.values()))
    return {learner: round(float(np.nanmean(values - lowest)), 9) for learner, values in logs.items()}


def estimator(learner: str) -> str:
    """A baseline's id without its settings.

    >>> estimator("lasso/0.01"), estimator("knn/weights=distance"), estimator("sklearn/Ridge/alpha=3")
    ('lasso', 'knn', 'sklearn/Ridge')
    """
    parsed = Identifier.parse(learner)
    return str(Identifier(parsed.name, parsed.parts[:1])) if parsed.name == "sklearn" else parsed.name
