"""Frozen evaluation banks, and errors and differences of predictions at each prompt length."""

from icl_curriculum.evaluation.adapted import adaptation_bank, adapted_learners, left_out
from icl_curriculum.evaluation.asking import Reply, answers, ask, defined_lengths, put_to
from icl_curriculum.evaluation.banks import BANK_VERSION, Bank, content_hash
from icl_curriculum.evaluation.differences import LearnerAnswers, LearnerDifference, prediction_differences
from icl_curriculum.evaluation.doubts import doubts_on_answers, doubts_on_bank
from icl_curriculum.evaluation.errors import ErrorRow, evaluation_rows, metric_rows, score
from icl_curriculum.evaluation.failures import BaselineFailure
from icl_curriculum.evaluation.learners import NamedLearner, Oracle, oracle_entry

__all__ = [
    "BANK_VERSION",
    "Bank",
    "BaselineFailure",
    "ErrorRow",
    "LearnerAnswers",
    "LearnerDifference",
    "NamedLearner",
    "Oracle",
    "Reply",
    "adaptation_bank",
    "adapted_learners",
    "answers",
    "ask",
    "content_hash",
    "defined_lengths",
    "doubts_on_answers",
    "doubts_on_bank",
    "evaluation_rows",
    "left_out",
    "metric_rows",
    "oracle_entry",
    "prediction_differences",
    "put_to",
    "score",
]
