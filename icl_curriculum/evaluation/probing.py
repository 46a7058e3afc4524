"""Learners that are not built in, held to what an answer may follow from before anything is made of their answers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import described
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import Streams
from icl_curriculum.evaluation.asking import CostlyConfig, answers_unchanged, put_to
from icl_curriculum.evaluation.causality import Unanswered, Unrepeatable, first_leak
from icl_curriculum.evaluation.learners import NamedLearner
from icl_curriculum.tasks import Task

#: Prompts that a learner is probed with, each in a copy for every length; a costly one gets one, at `COSTLY` lengths.
PROMPTS = 2
COSTLY = 2


def probe_prompts(task: Task, points: int, n: int = PROMPTS, index: int = 0) -> Prompts:
    """Prompts of a task from streams that nothing else draws from."""
    return task.draw(n, points, Streams(0, f"probe/{task.function_class.family}", index))


def expect_causal(
    entry: NamedLearner,
    task: Task,
    points: int,
    costly: CostlyConfig | None = None,
    *,
    lengths: Sequence[int] | None = None,
) -> str | None:
    """Ask a learner from outside a few batches of a task; returns why nothing can be told of it, None if all is well.

    ``lengths``: at which it is asked, by default at all; a costly one is asked at a few. Nothing is asked of a built-in
    one. ComponentFailed, naming the first entry, if its answers follow from anything but the examples before them and
    their own query, or if one of a registered kind answers equal prompts differently, or nothing at all. Nothing can be
    told of one that raises, which is asked again in earnest.
    """
    if entry.is_built_in:
        return None
    of_few = getattr(entry.learner, "costly", False)
    lengths = (costly or CostlyConfig()).asked(task.dims, points)[:COSTLY] if of_few else lengths
    prompts, others = (probe_prompts(task, points, 1 if of_few else PROMPTS, index) for index in (0, 1))

    def predict(asked: Prompts) -> Tensor:
        return torch.from_numpy(answers_unchanged(entry, asked))

    try:
        if entry.kind == "oracle":
            put_to(entry, prompts)  # An optimum must not need the truth.
        leak = first_leak(
            predict, prompts, others, lengths=lengths,
            queries=not (task.function_class.owns_inputs or task.function_class.has_memory), truth=entry.sees_truth,
        )  # fmt: skip
    except Unrepeatable as reason:
        if entry.component is None:
            return f"{reason}, so it cannot be told what they follow from"
        raise ComponentFailed(
            f"{entry.wording} gives {reason}; expected the same ones: seed what is random from the prompts, and keep "
            f"nothing from one call to the next"
        ) from None
    except Unanswered:
        if entry.component is None:
            return None  # Whoever asks it in earnest says so.
        raise ComponentFailed(
            f"{entry.wording} answers no prompt with a finite number; expected answers from xs, ys and queries, as "
            f"prompts.targets are NaN for every learner: none is shown what it is to predict"
        ) from None
    except (ComponentFailed, MemoryError):
        raise
    except Exception as error:
        return f"{described(error)} when it was asked a few prompts, so it cannot be told what its answers follow from"
    if leak is not None:
        raise ComponentFailed(f"{entry.wording} leaks: {leak}")
    return None
