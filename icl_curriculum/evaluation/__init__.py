"""Frozen evaluation banks, and errors at each prompt length."""

from icl_curriculum.evaluation.banks import (
    BANK_VERSION,
    Bank,
    content_hash,
    evaluation_banks,
    learning_banks,
    undefined_cells,
)
from icl_curriculum.evaluation.errors import (
    Entry,
    Oracle,
    Row,
    answers,
    metric_rows,
    oracle_entry,
    score,
)

__all__ = [
    "BANK_VERSION",
    "Bank",
    "Entry",
    "Oracle",
    "Row",
    "answers",
    "content_hash",
    "evaluation_banks",
    "learning_banks",
    "metric_rows",
    "oracle_entry",
    "score",
    "undefined_cells",
]
