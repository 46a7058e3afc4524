"""The rows of heads.csv and masking.csv: what attention heads attend to, and what masking them does."""

from __future__ import annotations

import dataclasses
from typing import Annotated, NamedTuple

from icl_curriculum.results.fields import EXPERIMENT, N_CONTEXT, VARIANT, ClassField, InputsField, StepField
from icl_curriculum.results.schema import TableColumn


class HeadsRow(NamedTuple):
    """What each attention head of a run attends to, on prompts of each cell: a table of `icl heads`."""

    step: StepField
    function_class: ClassField
    input_distribution: InputsField
    layer: Annotated[int, TableColumn("the layer, counted from 1 at the input", key=True)]
    head: Annotated[int, TableColumn("the head in its layer, counted from 1", key=True)]
    score: Annotated[
        str,
        TableColumn(
            "which score: `retrospective`: mean attention from y_i to its own x_i; `previous_label`: from y_i to "
            "y_(i-1); `start`: from every token to the first; `earlier_labels`: from x_k to all earlier labels "
            "together; `nearest`: rank correlation of the attention from x_k to each y_i with x_k . x_i",
            key=True,
        ),
    ]
    value: Annotated[
        float,
        TableColumn(
            "the score, mean over prompts: from 0 to 1; for `nearest` from -1 to 1",
            empty="where a prompt is too short for the score", negative=True,
        ),
    ]  # fmt: skip
    ci_low: Annotated[
        float,
        TableColumn(
            "lower end of its bootstrap interval over prompts, at the level `evaluation.confidence`",
            empty="as `value`", negative=True,
        ),
    ]  # fmt: skip
    ci_high: Annotated[float, TableColumn("upper end of the same interval", empty="as `value`", negative=True)]
    n_prompts: Annotated[int, TableColumn("prompts that it is taken over", unit="prompts")]


class MaskingRow(NamedTuple):
    """What masking heads does, over the seeds of a variant: a table of `icl heads` for a folder of runs.

    All errors are at the longest prompt trained on.
    """

    experiment: Annotated[str, EXPERIMENT]
    variant: Annotated[str, dataclasses.replace(VARIANT, key=True)]
    function_class: ClassField
    input_distribution: InputsField
    mask: Annotated[str, TableColumn("the masked heads, as `retrospective/n=2`", key=True)]
    n_context: Annotated[int, dataclasses.replace(N_CONTEXT, key=False)]
    metric: Annotated[str, TableColumn("`normalized_error`, or `median_error` where the mean is infinite")]
    quantity: Annotated[
        str,
        TableColumn(
            "`error`: of the model as it is; `masked`: with the heads masked; `control`: mean over the control sets, "
            "as many other heads, in the same layers as far as possible; `masked_minus_error`, `masked_minus_control`: "
            "differences seed by seed; `worst_control`: the greatest error of a control set; `controls_below`: the "
            "share of the control sets with a lower error than `masked`",
            one_of=(
                "error", "masked", "control", "worst_control", "masked_minus_error", "masked_minus_control",
                "controls_below",
            ),
            key=True,
        ),
    ]  # fmt: skip
    value: Annotated[float, TableColumn("the mean over seeds", negative=True)]
    ci_low: Annotated[
        float | None,
        TableColumn("lower end of its bootstrap interval over seeds", empty="with one seed", negative=True),
    ]
    ci_high: Annotated[
        float | None, TableColumn("upper end of the same interval", empty="with one seed", negative=True)
    ]
    n_seeds: Annotated[int, TableColumn("seeds that it is taken over", unit="seeds")]
    n_controls: Annotated[int, TableColumn("control sets of each seed", unit="sets")]
