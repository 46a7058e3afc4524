"""Training methods: what an update is. A file for each, beside the contract that they keep."""

from icl_curriculum.training.methods.base import Losses, TrainingMethod, register_method
from icl_curriculum.training.methods.fomaml import FirstOrderMaml
from icl_curriculum.training.methods.in_context import InContext, add_gradients
from icl_curriculum.training.methods.maml import Maml
from icl_curriculum.training.methods.meta_icl import MetaIcl
from icl_curriculum.training.methods.meta_ict import MetaIct
from icl_curriculum.training.methods.meta_training import MetaTask, MetaTraining
from icl_curriculum.training.methods.reptile import Reptile

__all__ = [
    "FirstOrderMaml",
    "InContext",
    "Losses",
    "Maml",
    "MetaIcl",
    "MetaIct",
    "MetaTask",
    "MetaTraining",
    "Reptile",
    "TrainingMethod",
    "add_gradients",
    "register_method",
]
