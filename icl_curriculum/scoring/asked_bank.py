"""A bank that several learners are asked, and their rows of evaluation.csv."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from icl_curriculum.core.progress import Tell, tell_nobody
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.evaluation import Bank, BaselineFailure, content_hash, evaluation_rows, oracle_entry, score
from icl_curriculum.evaluation.asking import CostlyConfig
from icl_curriculum.results.columns import EvaluationRow
from icl_curriculum.scoring.learners import Contender


@dataclass(frozen=True)
class AskedBank:
    """A bank and who answers it; ``failed`` is told of prompts that a learner could not answer."""

    bank: Bank
    contenders: Sequence[Contender]
    confidence: float
    costly: CostlyConfig
    failed: Callable[[BaselineFailure], None]

    @cached_property
    def prompts(self) -> Prompts:
        return self.bank.draw()

    @property
    def name(self) -> str:
        """What a manifest calls the bank."""
        return "/".join(self.bank.key)

    @cached_property
    def content(self) -> str:
        """The content hash of its prompts."""
        return content_hash(self.prompts)

    def everyone(self) -> list[Contender]:
        """The learners, and the class's oracle where there is one."""
        return [*self.contenders, *(Contender(entry) for entry in oracle_entry(self.bank))]

    def rows(self, item: Contender, tell: Tell = tell_nobody) -> list[EvaluationRow]:
        """The rows of one learner. Raises what it raises if it answers nothing."""
        found = score(
            [item.entry], self.bank, self.prompts, self.confidence,
            costly=self.costly, tell=tell, failed=self.failed,
        )  # fmt: skip
        return evaluation_rows(found, self.bank, step=item.step, trained_points=self._trained_points(item))

    def _trained_points(self, item: Contender) -> int:
        """Up to which points the bank is what a trained run has learned from; for other learners, what any of them."""
        asked = [item] if item.trained is not None else self.contenders
        models = [other.trained for other in asked if other.trained is not None]
        return max((model.points for model in models if model.knows(self.bank)), default=0)
