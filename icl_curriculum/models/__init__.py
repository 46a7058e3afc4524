"""Models that are trained. Importing the package registers them."""

from icl_curriculum.models.adaptation import Adaptation
from icl_curriculum.models.adapting import AdaptedModel
from icl_curriculum.models.base import (
    Capability,
    GradientStrategy,
    Model,
    ModelConfig,
    build_model,
    prompt_errors,
    register_model,
)
from icl_curriculum.models.deep_sets import DeepSets, DeepSetsConfig
from icl_curriculum.models.descent import AdaptationDiverged
from icl_curriculum.models.heads import HeadEdit, HeadMask, HeadMeans, TokenPlaces, head_scores
from icl_curriculum.models.huggingface import HuggingFace, HuggingFaceConfig
from icl_curriculum.models.instructions import Instruction
from icl_curriculum.models.masking import HeadChoice, MaskedModel, control_sets
from icl_curriculum.models.recurrent import Recurrent, RecurrentConfig
from icl_curriculum.models.state_space import StateSpace, StateSpaceConfig
from icl_curriculum.models.transformer import Transformer, TransformerConfig

__all__ = [
    "Adaptation",
    "AdaptationDiverged",
    "AdaptedModel",
    "Capability",
    "DeepSets",
    "DeepSetsConfig",
    "GradientStrategy",
    "HeadChoice",
    "HeadEdit",
    "HeadMask",
    "HeadMeans",
    "HuggingFace",
    "HuggingFaceConfig",
    "Instruction",
    "MaskedModel",
    "Model",
    "ModelConfig",
    "Recurrent",
    "RecurrentConfig",
    "StateSpace",
    "StateSpaceConfig",
    "TokenPlaces",
    "Transformer",
    "TransformerConfig",
    "build_model",
    "control_sets",
    "head_scores",
    "prompt_errors",
    "register_model",
]
