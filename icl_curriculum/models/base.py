"""The contract of a model: a config that builds one, and says what it can do. `Model` and `Capability` complete it."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import Field

from icl_curriculum.core.component import ADDED_LATER, Component
from icl_curriculum.core.contracts import at_work, broken_contract
from icl_curriculum.core.named_files import NamedFile
from icl_curriculum.core.registry import MODELS
from icl_curriculum.models.calling import given, prompt_errors
from icl_curriculum.models.capabilities import Capability
from icl_curriculum.models.initial import InitialWeights
from icl_curriculum.models.instructions import Instruction
from icl_curriculum.models.model import GradientStrategy, Model

__all__ = [
    "Capability",
    "GradientStrategy",
    "Model",
    "ModelConfig",
    "build_model",
    "prompt_errors",
    "register_model",
]


class ModelConfig(Component):
    """The part of an experiment file that describes a model. A subclass gives `build`; its fields are the file's keys.

    Fields are pydantic's, each with a default and a description: ``width: int = Field(64, ge=1, description="...")``
    is the key ``width`` of ``[model]``. What its models can do beyond predicting is declared in ``capabilities``, or by
    `lacks` where it depends on the fields. A training method that needs more is refused when the experiment file is
    read. `Model` has an example.
    """

    initial: InitialWeights | None = Field(
        None,
        description="what training starts from: the folder of a finished run, EXPERIMENT/RUN in results/, or a file of "
        "weights; none: fresh weights for every seed",
        json_schema_extra=ADDED_LATER,
    )

    #: The abilities that every model of this kind has. A model whose forward pass does not read its parameters anew
    #: at each call must leave `Capability.EXPLICIT_PARAMETERS` out.
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.EXPLICIT_PARAMETERS})
    #: Whether its models take separate queries. One that does not is asked each of them as the last input of a plain
    #: prompt of its own, which gives the same errors in as many passes as a prompt has points.
    takes_queries: ClassVar[bool] = True

    @property
    def starts_from(self) -> NamedFile | None:
        """What ``initial`` names; None for a model that uses a field of this name otherwise."""
        return self.initial if isinstance(self.initial, NamedFile) else None

    @abstractmethod
    def build(self, *, dims: int, points: int, generator: torch.Generator) -> Model:
        """A freshly initialised model, on the CPU, for prompts of ``points`` points in ``dims`` dimensions.

        Initialisation draws from ``generator`` (a CPU generator) alone, so equal generators give equal weights. torch's
        own layers draw from the global generator as they are made: make them within
        ``torch.random.fork_rng(devices=[])``, then draw every parameter anew.

        A config that declares `Capability.INSTRUCTION` takes ``instruction=None`` as a further keyword, an
        `Instruction`; its model has room for the tokens beside ``points`` points. One that declares
        `Capability.VECTOR_LABELS` takes ``label_dims=1`` likewise.
        """

    def longest_prompt(self, points: int) -> int:
        """The most points a prompt may have for a model built for ``points`` points, and at least as many.

        Shifts that ask for longer prompts are refused when the experiment file is read.
        """
        return points

    def why_too_long(self, asked: int, *, points: int) -> str | None:
        """Why a model built for ``points`` points cannot take a prompt of ``asked`` points; None where it can."""
        with at_work(self, "longest_prompt"):
            longest = self.longest_prompt(points)
        return None if asked <= longest else f"prompts of {asked} points, the model reads at most {longest}"

    def check(self, *, dims: int, points: int) -> None:
        """Raise UserError if this config cannot build a model for such prompts, with the ``key`` of a field to blame.

        For what the fields by themselves cannot say, when the experiment file is read: a width that is no multiple of
        the heads, say, with ``key="model.width"``.
        """

    def lacks(self, capability: Capability) -> str | None:
        """Why models of this config cannot do something, with the way out if there is one; None: they can."""
        return (
            None
            if capability in self.capabilities
            else f"{self.name or type(self).__name__} does not declare Capability.{capability.name}"
        )


register_model = MODELS.of(ModelConfig)


def expect_model(config: ModelConfig, built: object) -> None:
    """ComponentFailed unless a config has built a model that computes in float32."""
    if not isinstance(built, Model):
        raise broken_contract(config, "build", found=f"a {type(built).__name__}", expected="a Model")
    for name, value in built.named_parameters():
        if value.dtype != torch.float32:
            raise broken_contract(config, f"build ({name})", found=value.dtype, expected=torch.float32)


def build_model(
    config: ModelConfig,
    *,
    dims: int,
    points: int,
    generator: torch.Generator,
    instruction: Instruction | None,
    label_dims: int = 1,
    classes: bool = False,
) -> Model:
    """The model of a config, told the ``instruction`` if there is one: `ModelConfig.build` and what comes after it.

    ``label_dims``: the numbers of a label; ``classes``: whether these are one-hot.
    """
    build: Callable[..., Model] = config.build
    more = given(instruction=instruction, label_dims=None if label_dims == 1 else label_dims)
    model = build(dims=dims, points=points, generator=generator, **more)
    model.built_for = dims, label_dims
    if classes:
        model.classes = True
    if instruction is not None:
        model.instruction = instruction
    lacking: dict[Capability, str] = {}
    for each in (Capability.ATTENTION, Capability.HEAD_MASK):
        # Whoever needs the ability says what is wrong with a plugin's own `lacks`.
        with contextlib.suppress(Exception):
            if (reason := config.lacks(each)) is not None:
                lacking[each] = str(reason)
    model.lacking = lacking
    if not config.takes_queries:
        model.takes_queries = False
    return model
