"""Models that are trained. Importing the package registers them."""

from icl_curriculum.models.base import Capability, GradientStrategy, Model, ModelConfig, prompt_errors, register_model
from icl_curriculum.models.transformer import Transformer, TransformerConfig

__all__ = [
    "Capability",
    "GradientStrategy",
    "Model",
    "ModelConfig",
    "Transformer",
    "TransformerConfig",
    "prompt_errors",
    "register_model",
]
