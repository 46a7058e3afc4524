"""Observations: how the context of a prompt shows its examples. Importing the package registers them."""

from icl_curriculum.observations.base import (
    ALL_KINDS,
    OF_NUMBERS,
    AnyObservation,
    LabelKind,
    Observation,
    Pairs,
    register_observation,
)
from icl_curriculum.observations.features import MissingFeatures
from icl_curriculum.observations.noises import HUBER, HeteroscedasticNoise, Outliers, StudentTNoise

__all__ = [
    "ALL_KINDS",
    "HUBER",
    "OF_NUMBERS",
    "AnyObservation",
    "HeteroscedasticNoise",
    "LabelKind",
    "MissingFeatures",
    "Observation",
    "Outliers",
    "Pairs",
    "StudentTNoise",
    "register_observation",
]
