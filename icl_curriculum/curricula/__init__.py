"""Curricula decide what to train on at each step.

A curriculum decides probabilities; the trainer draws from them. The same curricula order function
classes and, independently, input distributions.
"""

from icl_curriculum.curricula.adaptive import Bandit, WhenConverged
from icl_curriculum.curricula.base import Curriculum, State, block_of, register_curriculum
from icl_curriculum.curricula.fixed import Mixed, Random, Sequential, Single
from icl_curriculum.curricula.plan import CurriculumPlan, Growth, Shares

__all__ = [
    "Bandit",
    "Curriculum",
    "CurriculumPlan",
    "Growth",
    "Mixed",
    "Random",
    "Sequential",
    "Shares",
    "Single",
    "State",
    "WhenConverged",
    "block_of",
    "register_curriculum",
]
