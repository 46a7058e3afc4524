"""The axes of the scorecard: which banks and lengths each is a mean over, and what it asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from icl_curriculum.results.scorecard.frozen import Benchmark, FrozenBank
from icl_curriculum.results.scorecard.skill import SkillScore, mean_score, skill_score


@dataclass(frozen=True)
class Axis:
    """A question of the scorecard. ``title``: what figures call it; ``about``: how it is measured.

    ``of_training``: whether it is about the way there, which learners without training don't have.
    """

    name: str
    title: str
    about: str
    of_training: bool = False


#: All axes, in the order of figures and tables.
AXES: dict[str, Axis] = {
    axis.name: axis
    for axis in (
        Axis("linear_functions", "linear functions", "dense and sparse linear functions, as trained"),
        Axis("quadratic_functions", "quadratic functions", "quadratic functions, as trained"),
        Axis("relu_networks", "ReLU networks", "ReLU networks, as trained"),
        Axis("few_examples", "few examples", "all trained classes at k ≤ d examples"),
        Axis(
            "longer_prompts", "longer prompts", "all trained classes with more examples than in training, up to twice"
        ),
        Axis(
            "other_inputs",
            "other inputs",
            "all trained classes at inputs that are skewed, uniform, Laplace, on a sphere, shifted, in half of the "
            "dimensions, or in one orthant with the query anywhere, or in the opposite one",
        ),
        Axis("other_scales", "other scales", "all trained classes with inputs, or labels, times 1/2 and 2"),
        Axis("label_noise", "label noise", "all trained classes with noise on the labels in context"),
        Axis("unseen_classes", "unseen classes", "classes that no model was trained on"),
        Axis(
            "data_efficiency",
            "data efficiency",
            "all trained classes while training: the mean over the logarithm of the prompts seen, from a sixteenth of "
            "the budget on",
            of_training=True,
        ),
        Axis(
            "kept",
            "what is kept",
            "training on one class after another: the score at the end over that at the end of the class's own block",
            of_training=True,
        ),
    )
}
#: The mean over all axes that every learner has: those that are not of training. Learners are ordered by it.
MEAN = "mean"

#: Errors by number of examples, by bank.
BankErrors = Mapping[str, Mapping[int, float]]


def banks_of_axis(benchmark: Benchmark, axis: str) -> list[FrozenBank]:
    """The banks that an axis is a mean over; those of the cells that are trained on count for few examples, too."""
    if axis == "few_examples":
        return [benchmark.banks[name] for name in benchmark.trained]
    return [bank for bank in benchmark.banks.values() if bank.axis == axis]


def counted_lengths(benchmark: Benchmark, axis: str) -> range:
    """The numbers of examples that count on an axis: all that were trained, the first d, or those beyond training."""
    trained = benchmark.points - 1
    return {"few_examples": range(benchmark.dims + 1), "longer_prompts": range(trained + 1, 2 * trained + 1)}.get(
        axis, range(trained + 1)
    )


def axis_score(benchmark: Benchmark, axis: str, errors: BankErrors) -> SkillScore | None:
    """The score on an axis: the mean over those of its banks on which a length counts. None where one was not asked."""
    lengths = counted_lengths(benchmark, axis)
    found = []
    for bank in banks_of_axis(benchmark, axis):
        asked = {k: e for k, e in errors.get(bank.name, {}).items() if k in lengths}
        if not asked:
            return None
        found.append(skill_score(asked, bank.best))
    return mean_score(found)


def scores_on_banks(benchmark: Benchmark, errors: BankErrors) -> dict[str, SkillScore]:
    """The score on every axis that is not of training, and the mean over those, where all could be computed."""
    found = {axis.name: axis_score(benchmark, axis.name, errors) for axis in AXES.values() if not axis.of_training}
    return with_mean({name: score for name, score in found.items() if score is not None})


def with_mean(scores: Mapping[str, SkillScore]) -> dict[str, SkillScore]:
    """The scores with the mean over all axes that are not of training, if none of them is missing."""
    needed = [axis.name for axis in AXES.values() if not axis.of_training]
    found = dict(scores)
    if all(name in scores for name in needed):
        mean = mean_score(scores[name] for name in needed)
        assert mean is not None
        found[MEAN] = mean
    return found
