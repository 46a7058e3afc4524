"""Gathers what learners answered to banks, where predictions were asked for."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.evaluation.banks import Bank
from icl_curriculum.evaluation.differences import LearnerAnswers
from icl_curriculum.results.columns import RunColumns
from icl_curriculum.results.predictions import BankPredictions


def gathered(
    run: RunColumns,
    bank: Bank,
    prompts: Prompts,
    answers: Iterable[LearnerAnswers],
    *,
    step: int,
    trained_points: int,
) -> list[BankPredictions]:
    """The answers to a bank as they are written, with the first ``run`` columns.

    An entry stands there where it is defined and the learner gave a number.
    """
    found = []
    for each in answers:
        n = len(each.predictions)
        targets = prompts.targets[:n].double().cpu().numpy()
        predictions = np.exp(each.predictions) if prompts.classes else each.predictions
        if targets.ndim == 2:
            targets, predictions = targets[..., None], predictions[..., None]
        answered = prompts.defined()[:n].cpu().numpy() & ~np.isnan(predictions).any(axis=-1)
        found.append(
            BankPredictions(
                run, step, each.learner, each.learner_kind, bank.key, trained_points, predictions, targets, answered
            )
        )
    return found
