"""Frozen evaluation banks, and errors at each prompt length."""

from icl_curriculum.evaluation.asking import Failure, Working, answers, ask, defined_lengths
from icl_curriculum.evaluation.banks import BANK_VERSION, Bank, content_hash
from icl_curriculum.evaluation.errors import Row, metric_rows, score
from icl_curriculum.evaluation.learners import Entry, Oracle, oracle_entry

__all__ = [
    "BANK_VERSION",
    "Bank",
    "Entry",
    "Failure",
    "Oracle",
    "Row",
    "Working",
    "answers",
    "ask",
    "content_hash",
    "defined_lengths",
    "metric_rows",
    "oracle_entry",
    "score",
]
