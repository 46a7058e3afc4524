"""What the families without attention have in common: prompts of any length, and no heads."""

from __future__ import annotations

from abc import abstractmethod

import torch

from icl_curriculum.models.base import Capability, ModelConfig
from icl_curriculum.models.capabilities import WITH_HEADS
from icl_curriculum.models.instructions import Instruction
from icl_curriculum.models.tokens import InstructedModel

#: Nothing in these models grows with a prompt but the time that it takes.
LONGEST = 1_000_000


class AnyLengthConfig(ModelConfig):
    """The config of an `InstructedModel` that keeps a state or a mean, however long the prompt is."""

    @abstractmethod
    def network(self) -> type[InstructedModel]:
        """The class of the network that the config describes."""

    def lacks(self, capability: Capability) -> str | None:
        if capability in (Capability.ATTENTION, Capability.HEAD_MASK):
            return f"{self.name} has no attention heads; {WITH_HEADS}"
        return super().lacks(capability)

    def longest_prompt(self, points: int) -> int:
        return max(points, LONGEST)

    def build(
        self,
        *,
        dims: int,
        points: int,
        generator: torch.Generator,
        instruction: Instruction | None = None,
        label_dims: int = 1,
    ) -> InstructedModel:
        model = self.network()(
            self, dims=dims, max_points=self.longest_prompt(points), instruction=instruction, label_dims=label_dims
        )
        model.initialize(generator)
        return model
