"""Training: the loop, the methods that own what an update is, and the optimizers."""

from icl_curriculum.training.methods import InContext, Losses, TrainingMethod, add_gradients, register_method
from icl_curriculum.training.returned import Loss
from icl_curriculum.training.session import Cell, Draw, Portion, Session
from icl_curriculum.training.trainer import Diverged, Trainer, Update

__all__ = [
    "Cell",
    "Diverged",
    "Draw",
    "InContext",
    "Loss",
    "Losses",
    "Portion",
    "Session",
    "Trainer",
    "TrainingMethod",
    "Update",
    "add_gradients",
    "register_method",
]
