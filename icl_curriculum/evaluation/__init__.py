"""Frozen evaluation banks, and errors at each prompt length."""

from icl_curriculum.evaluation.banks import (
    BANK_VERSION,
    Bank,
    content_hash,
    evaluation_banks,
    learning_banks,
)
from icl_curriculum.evaluation.errors import (
    Entry,
    Oracle,
    Row,
    metric_rows,
    oracle_entry,
    score,
    squared_errors,
)

__all__ = [
    "BANK_VERSION",
    "Bank",
    "Entry",
    "Oracle",
    "Row",
    "content_hash",
    "evaluation_banks",
    "learning_banks",
    "metric_rows",
    "oracle_entry",
    "score",
    "squared_errors",
]
