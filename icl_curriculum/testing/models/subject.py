"""The model under check: what its config builds, with parameters that all matter, and prompts to show it.

Dimensions: batch = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import functools
import itertools

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import MODELS
from icl_curriculum.models.base import Capability, Model, ModelConfig, build_model
from icl_curriculum.models.heads import HeadEdit
from icl_curriculum.models.instructions import Instruction
from icl_curriculum.models.stirring import stir
from icl_curriculum.testing.rules import Inapplicable
from icl_curriculum.testing.subject import ComponentSubject

#: (dims, points) that models are built for, and where to look for others if a config refuses all of these.
SIZES = ((1, 3), (2, 5), (5, 8))
MORE_SIZES, MORE = tuple(itertools.product(range(1, 17), range(2, 17))), 3
BATCH = 3


class ModelSubject(ComponentSubject[ModelConfig]):
    """A model's config under check, and the models that it builds."""

    registry = MODELS
    base = ModelConfig
    # As runs do. What is so small takes longer on more, where others compute too.
    threads = 1
    example_summary = "The mean label so far, times one learned number."

    def __init__(self, given: ModelConfig | type[ModelConfig]) -> None:
        super().__init__(given)
        self._parts: set[type] = set()

    @functools.cached_property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """The (dims, points) to check: those of `SIZES` that the config allows, else the first it allows at all."""
        allowed = tuple(size for size in SIZES if self.refusal(*size) is None)
        return allowed or tuple(itertools.islice((size for size in MORE_SIZES if self.refusal(*size) is None), MORE))

    def refusal(self, dims: int, points: int) -> UserError | None:
        """The error by which `ModelConfig.check` refuses a size. Raises whatever else it raises."""
        self.doing = f"check(dims={dims}, points={points})"
        try:
            self.as_given.check(dims=dims, points=points)
        except UserError as error:
            return error
        return None

    @property
    def size(self) -> tuple[int, int]:
        """The size that most rules check: (dims, points)."""
        return max(self.sizes, key=lambda size: (size[1], size[0]))

    def built(self, dims: int, points: int, index: int = 0, *, told: Instruction | None = None) -> Model:
        """A model as `ModelConfig.build` gives it, from the generator of this index; built to be ``told`` something."""
        more = "" if told is None else f", instruction of {told.tokens} {told.kind} tokens"
        self.doing = f"build(dims={dims}, points={points}{more})"
        made = self.generator("build", index)
        model = build_model(self.as_given, dims=dims, points=points, generator=made, instruction=told)
        if isinstance(model, torch.nn.Module):
            self._parts = {type(part) for part in model.modules()}
        return model

    def stirred(self, index: int = 0, *, told: Instruction | None = None) -> Model:
        """A model none of whose parameters has a special value, so that every path through it matters.

        Equal indices give equal models. Where this makes the model's predictions infinite it stays as it was built.
        """
        dims, points = self.size
        model = self.built(dims, points, told=told)
        kept = {name: value.clone() for name, value in model.state_dict().items()}
        made = self.generator("stirred", index)
        stir(model, made)
        with torch.no_grad():
            xs, ys, queries = self.prompts(dims, points)
            asked = [self.ask(model, xs, ys, separate, model.no_instruction(BATCH)) for separate in (None, queries)]
            if not all(found.isfinite().all() for found in asked):
                model.load_state_dict(kept)
        return model

    def prompts(
        self, dims: int, points: int, *, batch: int = BATCH, index: int = 0
    ) -> tuple[Float[Tensor, "batch points dims"], Float[Tensor, "batch points"], Float[Tensor, "batch points dims"]]:
        """Inputs, labels and separate queries, all standard normal."""
        made = self.generator("prompts", index)
        xs = torch.randn(batch, points, dims, generator=made)
        ys = torch.randn(batch, points, generator=made)
        return xs, ys, torch.randn(batch, points, dims, generator=made)

    def ask(
        self,
        model: Model,
        xs: Tensor,
        ys: Tensor,
        queries: Tensor | None = None,
        instruction: Tensor | None = None,
        head_mask: HeadEdit | None = None,
    ) -> Tensor:
        """The predictions of the model's forward pass."""
        self.doing = f"forward of xs of shape {tuple(xs.shape)}{beside(queries, instruction, head_mask)}"
        keywords = {"instruction": instruction, "head_mask": head_mask}
        given = {name: value for name, value in keywords.items() if value is not None}
        if queries is None:
            predictions: Tensor = model(xs, ys, **given)
            return predictions
        return model.answer(xs, ys, queries, **given)

    def contracts(self) -> list[tuple[type, type]]:
        """The config, and the model that it builds; a config that builds none is for another rule."""
        try:
            built = [(type(self.built(*self.size)), Model)]
        except Exception:
            built = []
        return [*super().contracts(), *(pair for pair in built if issubclass(*pair))]

    def expect(self, capability: Capability) -> None:
        """Raise Inapplicable unless the models of this config are declared to have a capability."""
        self.doing = f"lacks({capability.value})"
        lack = self.as_given.lacks(capability)
        if lack is not None:
            raise Inapplicable(f"not a model that can {capability.wording}: {lack}")

    @property
    def authored(self) -> set[type]:
        """The classes of the config, of the model, and of its parts, without the contract's and torch's own."""
        parts = {part for cls in self._parts for part in cls.__mro__ if issubclass(part, torch.nn.Module)} - {Model}
        return super().authored | {part for part in parts if part.__module__.split(".")[0] != "torch"}


def beside(queries: Tensor | None, instruction: Tensor | None = None, head_mask: HeadEdit | None = None) -> str:
    """What a model is asked with beside pairs, in words after those of the pairs."""
    told = {"separate queries": queries, "instructions": instruction, "a head mask": head_mask}
    words = [word for word, value in told.items() if value is not None]
    return f" with {' and '.join(words)}" if words else ""


def off(found: Tensor, expected: Tensor) -> float:
    """The largest difference; infinite where one is not finite or the shapes differ."""
    if found.shape != expected.shape or not bool(found.isfinite().all()):
        return float("inf")
    return float((found - expected).detach().abs().max()) if found.numel() else 0.0


def differ(found: Tensor, expected: Tensor, *, tolerance: float = 1e-4) -> bool:
    """Whether predictions differ by more than rounding: the tolerance is a share of the largest, at least of 1."""
    return off(found, expected) > tolerance * max(1.0, float(expected.detach().abs().max()))
