"""The rows of scorecard.csv and leaderboard.csv."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from icl_curriculum.results.fields import EXPERIMENT
from icl_curriculum.results.schema import TableColumn
from icl_curriculum.results.scorecard.axes import AXES, MEAN
from icl_curriculum.results.scorecard.frozen import BENCHMARK


class ScoreColumns(NamedTuple):
    """The score of a learner on an axis, of one seed or over seeds."""

    benchmark: Annotated[str, TableColumn(f"the benchmark with its version, `{BENCHMARK}`")]
    experiment: Annotated[str, EXPERIMENT]
    learner: Annotated[
        str,
        TableColumn(
            "who was scored: the entry of `[variants]`, or the experiment where it has none; a baseline's id", key=True
        ),
    ]
    learner_kind: Annotated[str, TableColumn("what kind of learner it is", one_of=("model", "baseline"))]
    axis: Annotated[
        str,
        TableColumn(
            f"what was asked; `{MEAN}`: the mean over the axes that are not of training", one_of=(*AXES, MEAN), key=True
        ),
    ]
    seed: Annotated[
        int | None, TableColumn("the training seed", empty="in rows over seeds, and of learners without one", key=True)
    ]
    score: Annotated[
        float,
        TableColumn(
            "the share of the attainable skill, (1 - e) / (1 - e*), mean over the axis's banks, each clipped to "
            "[0, 1]; in the row of a difference `learner` less `versus`",
            negative=True,
        ),
    ]  # fmt: skip
    raw_score: Annotated[
        float,
        TableColumn(
            "the same without clipping; `-inf` after an overflow", empty="in the row of a difference", negative=True
        ),
    ]
    ci_low: Annotated[
        float | None, TableColumn("lower end of the 90% interval over seeds", empty="without seeds", negative=True)
    ]
    ci_high: Annotated[float | None, TableColumn("upper end of the same interval", empty="as `ci_low`", negative=True)]
    n_seeds: Annotated[int, TableColumn("seeds that the score is taken over", unit="seeds")]
    n_cells: Annotated[int, TableColumn("banks that it is taken over; of `mean` those of all its axes")]
    ranked: Annotated[bool, TableColumn("whether it kept to the rules", one_of=(True, False))]
    remark: Annotated[str | None, TableColumn("why it counts for no rank, or what else is to be known", empty="mostly")]


class DifferenceColumns(NamedTuple):
    """What the learners of an experiment score on each axis of the benchmark: of each seed, over seeds, pair by pair.

    Of two learners the difference is taken seed by seed, since equal seeds are trained on the same prompts.
    """

    versus: Annotated[
        str | None, TableColumn("the learner that is subtracted", empty="where the score is of one learner", key=True)
    ]
    resolvable: Annotated[
        float | None,
        TableColumn(
            "the smallest difference that so many seeds resolve: half the width of the 90% interval of the difference",
            empty="where the score is of one learner, or of fewer than two seeds",
        ),
    ]


class StandingColumns(NamedTuple):
    """What learners score on the benchmark, of any experiments, with what their scores were computed with.

    A learner whose runs were asked other prompts than the benchmark's is refused; one that was trained beyond the
    budget, or on other classes, is marked, and counts for no rank.
    """

    prompts: Annotated[
        int | None,
        TableColumn(
            "prompts that each run has seen in training, as in exposure.csv", unit="prompts", empty="without training"
        ),
    ]
    operations: Annotated[
        int | None,
        TableColumn(
            "operations of the matrix products in this training", unit="floating-point operations",
            empty="without training",
        ),
    ]  # fmt: skip
    config_hashes: Annotated[
        str | None, TableColumn("hashes of the configs of its runs", empty="of learners without training")
    ]
    banks: Annotated[str, TableColumn("hash over the hashes of all banks that it was asked")]
    package_version: Annotated[str, TableColumn("version of icl_curriculum")]
    torch_version: Annotated[str, TableColumn("version of torch")]
    git_commit: Annotated[str | None, TableColumn("commit of the package", empty="where it was not in a repository")]
    command: Annotated[str, TableColumn("what repeats it")]
