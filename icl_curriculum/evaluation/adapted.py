"""A model adapted to the cell that it is asked about, as learners of a bank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from icl_curriculum.core.component import Component
from icl_curriculum.core.contracts import at_work
from icl_curriculum.core.errors import UserError
from icl_curriculum.evaluation.banks import Bank
from icl_curriculum.evaluation.learners import NamedLearner
from icl_curriculum.models import Adaptation, AdaptedModel, Model
from icl_curriculum.models.adapting import NO_STEPS_PER_PROMPT, BankPath, PromptPaths


def adaptation_bank(bank: Bank, n_prompts: int) -> Bank:
    """The prompts that a model adapts to before it answers a bank: of the same task and shift, from other streams.

    They depend on the bank's seed, not on a run's, so that all runs adapt to the same.
    """
    return replace(bank, n_prompts=n_prompts, purpose="adaptation")


def sharing_a_way(adaptations: Sequence[Adaptation]) -> dict[Adaptation, set[int]]:
    """The numbers of steps of adaptations that differ in steps alone, by what they share, with ``steps = 1``."""
    groups: dict[Adaptation, set[int]] = {}
    for adaptation in adaptations:
        groups.setdefault(replace(adaptation, steps=1), set()).add(adaptation.steps)
    return groups


def adapted_learners(
    model: Model, adaptations: Sequence[Adaptation], bank: Bank, component: Component | None = None
) -> list[NamedLearner]:
    """The model in each of the ways to adapt it to a bank, fewer steps first.

    Those that differ in steps alone share one way, so that they cost as much together as the longest of them, and are
    to be asked in this order. ``component``: what answers for the model where it fails.
    """
    place = "/".join(bank.key)
    found = []
    for options, steps in sharing_a_way(adaptations).items():
        path: BankPath | PromptPaths
        if options.per_prompt:
            if bank.drawn_task.function_class.shown_steps:
                raise UserError(f"{options.id}: {NO_STEPS_PER_PROMPT}", subject=place)
            with at_work(component, "adapting"):
                path = PromptPaths(model, options, steps, place)
        else:
            prompts = adaptation_bank(bank, options.prompts).draw().without_truth()
            with at_work(component, "adapting"):
                path = BankPath(model, options, prompts, place)
        for number in sorted(steps):
            adapted = AdaptedModel(replace(options, steps=number), path)
            found.append(NamedLearner(adapted.id, "model", adapted, component))
    return found
