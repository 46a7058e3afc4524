"""The training loop, training methods and optimizers."""

from icl_curriculum.training.loop import Diverged, Trainer, Update
from icl_curriculum.training.methods import InContext, Portion, Trainee, TrainingMethod, register_method

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
