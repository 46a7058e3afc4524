"""Models that are trained. Importing the package registers them."""

from icl_curriculum.models.base import Model, ModelConfig, register_model
from icl_curriculum.models.transformer import Transformer, TransformerConfig

__all__ = ["Model", "ModelConfig", "Transformer", "TransformerConfig", "register_model"]
