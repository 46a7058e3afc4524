"""A model adapted to the cell that it is asked about, as learners of a bank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from icl_curriculum.core.component import Component
from icl_curriculum.core.contracts import at_work
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.evaluation.banks import Bank
from icl_curriculum.evaluation.failures import BaselineFailure
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


def cannot_adapt_to(prompts: Prompts) -> bool:
    """Whether a model cannot learn from prompts: they ask separate queries, whose reasoning steps are unknown."""
    return prompts.steps is not None and prompts.queries is not None


def left_out(adaptations: Sequence[Adaptation], prompts: Prompts) -> Iterator[BaselineFailure]:
    """The ways to adapt a model that none of some prompts can be asked in, as `adapted_learners` leaves them out."""
    if not cannot_adapt_to(prompts):
        return
    lengths = tuple(int(k) for k in prompts.defined().any(dim=0).nonzero().flatten())
    reason = "the adaptation prompts have separate queries, whose reasoning steps are unknown"
    for options in adaptations:
        if not options.per_prompt:
            yield BaselineFailure(f"model/{options.id}", lengths, len(prompts), len(prompts), reason)


def adapted_learners(
    model: Model, adaptations: Sequence[Adaptation], bank: Bank, component: Component | None = None
) -> list[NamedLearner]:
    """The model in each of the ways to adapt it to a bank, fewer steps first.

    Those that differ in steps alone share one way, so that they cost as much together as the longest of them, and are
    to be asked in this order. ``component``: what answers for the model where it fails. Those that cannot be are left
    out, as `left_out` says.
    """
    place = "/".join(bank.key)
    found = []
    for options, steps in sharing_a_way(adaptations).items():
        path: BankPath | PromptPaths
        if options.per_prompt:
            if bank.drawn_task.function_class.shown_steps:
                raise UserError(f"{replace(options, steps=max(steps)).id}: {NO_STEPS_PER_PROMPT}", subject=place)
            with at_work(component, "adapting"):
                path = PromptPaths(model, options, steps, place)
        else:
            prompts = adaptation_bank(bank, options.prompts).draw().without_truth()
            if cannot_adapt_to(prompts):
                continue
            with at_work(component, "adapting"):
                path = BankPath(model, options, prompts, place)
        for number in sorted(steps):
            adapted = AdaptedModel(replace(options, steps=number), path)
            found.append(NamedLearner(adapted.id, "model", adapted, component))
    return found
