"""The rows of prediction_differences.csv: how far the answers of two learners are apart."""

from __future__ import annotations

import dataclasses
from typing import Annotated, NamedTuple

from icl_curriculum.results.fields import (
    IN_DISTRIBUTION,
    LEARNER_KIND,
    N_CONTEXT,
    SHIFT,
    ClassField,
    InputsField,
    StepField,
)
from icl_curriculum.results.schema import TableColumn


class PredictionDifferenceRow(NamedTuple):
    """How far the answers of two learners to the same frozen prompts are apart, wherever both were asked.

    A run compares its model with every baseline and oracle. `icl evaluate` and `icl score` write the same columns; the
    latter compares every model with every other learner that the same call asked, or where there is no model every two
    learners, each two once. Runs of versions before 0.3.0 have no such table.
    """

    step: StepField
    learner: Annotated[str, TableColumn("id of one learner, as in evaluation.csv", key=True)]
    learner_kind: Annotated[str, LEARNER_KIND]
    other_learner: Annotated[str, TableColumn("id of the learner that it is compared with", key=True)]
    other_kind: Annotated[str, dataclasses.replace(LEARNER_KIND, meaning="what kind of learner that is")]
    other_run: Annotated[
        str | None,
        TableColumn("the run of that learner, as in `run`", empty="unless it is a trained run's model", key=True),
    ]
    function_class: ClassField
    input_distribution: InputsField
    shift: Annotated[str, SHIFT]
    in_distribution: Annotated[bool, IN_DISTRIBUTION]
    n_context: Annotated[int, N_CONTEXT]
    metric: Annotated[
        str,
        TableColumn(
            "`normalized_difference`, the mean squared difference over E f(q)^2, of classes that of the probabilities; "
            "`disagreement`, the share of queries that get different signs or classes; `median_difference` where "
            "E f(q)^2 is infinite",
            key=True,
        ),
    ]
    value: Annotated[
        float,
        TableColumn(
            "the difference: mean over the bank's prompts, or median; 0 where both answer alike",
            empty="where it is undefined, as after an overflow",
        ),
    ]  # fmt: skip
    ci_low: Annotated[
        float,
        TableColumn(
            "lower end of its bootstrap interval over prompts, at the level `evaluation.confidence`",
            unit="as `value`", empty="where the squared error has no finite variance",
        ),
    ]  # fmt: skip
    ci_high: Annotated[float, TableColumn("upper end of the same interval", unit="as `value`", empty="as `ci_low`")]
    n_prompts: Annotated[
        int, TableColumn("prompts that it is taken over: those that both were asked and answered", unit="prompts")
    ]
