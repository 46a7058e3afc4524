"""Input distributions. Each states E|x|^2, and a Gaussian its spectrum. Importing the package registers them."""

from icl_curriculum.core.draws import random_rotations
from icl_curriculum.inputs.base import AnyInputs, InputDistribution, register_inputs
from icl_curriculum.inputs.bounded import Rademacher, Sphere, Uniform
from icl_curriculum.inputs.derived import InOneOrthant, Scaled, random_orthants
from icl_curriculum.inputs.gaussian import Gaussian, HalfSubspace, Shifted, Skewed
from icl_curriculum.inputs.heavy_tailed import Cauchy, Laplace, StudentT
from icl_curriculum.inputs.own import Own

__all__ = [
    "AnyInputs",
    "Cauchy",
    "Gaussian",
    "HalfSubspace",
    "InOneOrthant",
    "InputDistribution",
    "Laplace",
    "Own",
    "Rademacher",
    "Scaled",
    "Shifted",
    "Skewed",
    "Sphere",
    "StudentT",
    "Uniform",
    "random_orthants",
    "random_rotations",
    "register_inputs",
]
