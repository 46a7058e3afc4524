"""The columns of every table."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

_RUN = ["experiment", "run", "variant", "seed"]


#: The columns of each table, in order.
COLUMNS: dict[str, list[str]] = {
    "training": [
        *_RUN, "step", "function_class", "input_distribution", "n_prompts", "loss", "normalized_loss",
        "learning_rate", "prompts_seen", "class_prompts_seen",
    ],
    "learning": [
        *_RUN, "step", "prompts_seen", "function_class", "input_distribution", "n_context", "metric", "value",
    ],
    "evaluation": [
        *_RUN, "step", "learner", "learner_kind", "function_class", "input_distribution", "shift",
        "in_distribution", "n_context", "metric", "value", "ci_low", "ci_high", "n_prompts",
    ],
    "exposure": [*_RUN, "step", "function_class", "input_distribution", "prompts", "flops"],
    "curriculum": [*_RUN, "step", "function_class", "input_distribution", "planned_share", "drawn_share"],
    "timing": [*_RUN, "step", "phase", "seconds", "prompts_per_second"],
}  # fmt: skip


#: The columns of runs.csv, keys of the manifests. No clock: equal runs give equal bytes.
RUN_COLUMNS = [*_RUN, "status", "config_hash", "device", "threads", "package_version", "torch_version"]


#: Tables that grow during training and are cut back on resuming.
GROWING = ("training", "learning", "exposure", "curriculum", "timing")


def format_value(value: Any) -> str:
    """A table cell: ``%.9g`` for floats, empty for missing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.9g}"
    return str(value)


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([format_value(value) for value in row] for row in rows)
    return buffer.getvalue()


def text_hash(text: str) -> str:
    return bytes_hash(text.encode())


def bytes_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
