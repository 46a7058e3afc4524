"""Function classes, one file per family. Importing the package registers them."""

from icl_curriculum.function_classes.base import FunctionClass, Parameters, register_function_class
from icl_curriculum.function_classes.hermite import Hermite
from icl_curriculum.function_classes.linear import Linear, SparseLinear
from icl_curriculum.function_classes.quadratic import Quadratic
from icl_curriculum.function_classes.relu_network import ReluNetwork

__all__ = [
    "FunctionClass",
    "Hermite",
    "Linear",
    "Parameters",
    "Quadratic",
    "ReluNetwork",
    "SparseLinear",
    "register_function_class",
]
