"""The rows of predictions.csv or predictions.parquet: what each learner answered to each prompt of a bank."""

from __future__ import annotations

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


class PredictionRow(NamedTuple):
    """What a learner answered to one prompt at one length: written on request, `--predictions`.

    As predictions.csv or, with the same columns, predictions.parquet, in the folder of each run that `icl run` has
    executed; and where `icl evaluate` or `icl score` writes, what the last call with it asked. A label of several
    numbers has a row for each number, a class a row for each class. There is no row where a learner was not asked or
    gave no number.
    """

    step: StepField
    learner: Annotated[str, TableColumn("id of who answers, as in evaluation.csv", key=True)]
    learner_kind: Annotated[str, LEARNER_KIND]
    function_class: ClassField
    input_distribution: InputsField
    shift: Annotated[str, SHIFT]
    in_distribution: Annotated[bool, IN_DISTRIBUTION]
    prompt: Annotated[
        int, TableColumn("number of the prompt in its bank, from 0: the same prompt for all learners", key=True)
    ]
    n_context: Annotated[int, N_CONTEXT]
    output: Annotated[
        int, TableColumn("which number of the label, from 0; of classes, which class", most=1_000_000, key=True)
    ]
    prediction: Annotated[
        float,
        TableColumn(
            "the answer to the query, in single precision; of classes the probability of that class",
            unit="unit of the targets", negative=True,
        ),
    ]  # fmt: skip
    target: Annotated[
        float,
        TableColumn(
            "the clean value to predict; of classes 1 for that of the query, and 0 for the others",
            unit="unit of the targets", negative=True,
        ),
    ]  # fmt: skip
    squared_error: Annotated[
        float,
        TableColumn("(prediction - target)^2", unit="squared unit of the targets"),
    ]
