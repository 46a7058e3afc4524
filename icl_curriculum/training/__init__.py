"""The training loop, training methods and optimizers."""

from icl_curriculum.training.methods import InContext, Portion, Trainee, TrainingMethod, register_method
from icl_curriculum.training.trainer import Diverged, Trainer, Update

__all__ = [
    "Diverged",
    "InContext",
    "Portion",
    "Trainee",
    "Trainer",
    "TrainingMethod",
    "Update",
    "register_method",
]
