"""Columns that several tables have, said once."""

from __future__ import annotations

from typing import Annotated

from icl_curriculum.results.schema import TableColumn

EXPERIMENT = TableColumn("the experiment's name", key=True)
VARIANT = TableColumn("the variant; where the experiment names none, the id of its curriculum over function classes")
SEED = TableColumn("the training seed, of which initial weights and training prompts are functions")
STEP = TableColumn("updates completed so far", unit="steps", key=True, axis=True)
CLASS = TableColumn("id of the function class, as `hermite/3`", key=True)
INPUTS = TableColumn("id of the input distribution, as `gaussian`", key=True)
SHIFT = TableColumn("id of the shift, `none` without one; changed inputs stand in `input_distribution`", key=True)
IN_DISTRIBUTION = TableColumn(
    "whether the model was trained on such prompts: class and inputs had a share in training, there is no "
    "shift, and as many examples were seen; in rows that stand for several runs, whether any of their models was",
    one_of=(True, False),
)
N_CONTEXT = TableColumn("in-context examples before the query that is answered", unit="examples", key=True)
PROMPTS_SEEN = TableColumn(
    "prompts of all cells that the model was trained on so far, or measured errors on to balance positions",
    unit="prompts", axis=True,
)  # fmt: skip
LEARNER_KIND = TableColumn("what kind of learner it is; each learner is of one", one_of=("model", "baseline", "oracle"))

StepField = Annotated[int, STEP]
ClassField = Annotated[str, CLASS]
InputsField = Annotated[str, INPUTS]
