"""Learners as the tables name them, and the oracle of a bank."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from icl_curriculum.baselines import pool_posterior_mean
from icl_curriculum.core.component import Component
from icl_curriculum.core.prompts import Learner, Prompts
from icl_curriculum.core.registry import BUILT_IN, claims_itself, is_built_in, origin_of
from icl_curriculum.evaluation.banks import Bank
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.shifts import keeps_oracle
from icl_curriculum.tasks import Task

#: The posterior mean over a larger pool is computed only where it is asked for by name, as the baseline `dmmse`.
LARGEST_POOL = 8192
#: What a class declares of its prompts, which no oracle of a class that does not can know.
_DECLARED = ("owns_inputs", "has_memory", "repeats_prompts")


@dataclass(frozen=True)
class NamedLearner:
    """A learner as the tables name it; ``component`` is what answers for it where it fails, or the file ``source``.

    ``sees_truth``: whether it is shown the functions' parameters, which only lower bounds are.
    """

    id: str
    kind: str
    learner: Learner
    component: Component | None = None
    source: Path | None = None
    sees_truth: bool = False

    @property
    def is_built_in(self) -> bool:
        """Whether the suite itself answers for it."""
        return self.component is not None and origin_of(self.component) == BUILT_IN

    @property
    def wording(self) -> str:
        """The learner in an error, with where it came from."""
        if self.component is None:
            return f"{self.id!r}" + (f" ({self.source})" if self.source is not None else "")
        return f"{self.component.id!r} ({origin_of(self.component)})"


@dataclass(frozen=True)
class Oracle:
    """The oracle of a function class as a learner; for a class with a pool, the posterior mean over it."""

    function_class: FunctionClass
    reads_steps: ClassVar[bool] = True

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points *labels"]:
        if self.function_class.pool_size is not None:
            return pool_posterior_mean(self.function_class, prompts, prompts.scale)
        return self.function_class.oracle(prompts)


def owns_oracle(function_class: FunctionClass) -> bool:
    """Whether the oracle of a class is about its own functions, and not of a built-in class that it changes.

    Nor of any class whose inputs say nothing of the functions, where its own may.
    """
    claims = {"oracle", "oracle_kind", "oracle_for"}
    changes = {"sample", "evaluate", "draw", "draw_functions", "ask", "show", *_DECLARED}
    # Steps tell of the function, where they are shown.
    changes |= {"steps", "n_steps"} if function_class.shown_steps else set()
    if not claims_itself(type(function_class), claims, changes):
        return False
    said = (vars(cls).keys() for cls in type(function_class).__mro__ if not is_built_in(cls))
    latest = next((names for names in said if names & {*claims, *_DECLARED}), claims)
    return bool(latest & claims)


def _told_by_inputs(task: Task) -> bool:
    """Whether inputs that a class makes itself may tell more of a function than labels do.

    Numbers without noise tell all from the first example on. Before it there is the first input, which says nothing
    where inputs have a distribution with a name, whatever the function.
    """
    own = task.function_class
    discrete = own.sign_valued or own.class_valued
    return own.owns_inputs and (task.raw_noise > 0 or own.drawn_labels or discrete or task.has_own_inputs)


def oracle_entry(bank: Bank) -> list[NamedLearner]:
    """The class's oracle: ``oracle`` where it is the attainable optimum, ``informed_oracle`` for a lower bound.

    For a pool of up to `LARGEST_POOL` functions it is the posterior mean over them, the optimum for who knows the
    pool; not where inputs may tell of the function, and labels do not tell it alone from the first on. There is none on
    prompts that a shift makes in a way of its own, unless it says that the oracle holds; nor where a class inherits it
    and changes the functions, what is asked or what is shown; nor where an observation shows the examples otherwise.
    """
    task = bank.drawn_task
    function_class = task.function_class
    if not keeps_oracle(bank.shift, task) or not owns_oracle(function_class) or function_class.observation is not None:
        return []
    kind = function_class.oracle_for(task.dims, task.raw_noise)
    if function_class.pool_size is not None:
        # It goes by inputs and labels as they are, and reasoning steps tell of the function, too.
        told_more = _told_by_inputs(task) or function_class.shown_steps > 0
        known = not (told_more or function_class.shows_itself or function_class.asks_itself)
        kind = "optimum" if function_class.pool_size <= LARGEST_POOL and known else None
    if kind is None:
        return []
    name = "oracle" if kind == "optimum" else "informed_oracle"
    lower = kind == "lower bound"
    return [NamedLearner(name, "oracle", Oracle(task.function_class), task.function_class, sees_truth=lower)]
