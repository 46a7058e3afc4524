"""Function classes, one file per family. Importing the package registers them."""

from icl_curriculum.function_classes.base import (
    AnyFunctionClass,
    ClassValued,
    FunctionClass,
    OutsideDomain,
    Parameters,
    SignValued,
    labels_of,
    one_hot,
    register_function_class,
    steps_of,
)
from icl_curriculum.function_classes.chebyshev import Chebyshev
from icl_curriculum.function_classes.classification import GaussianClasses, MulticlassLinear
from icl_curriculum.function_classes.composition import Composition, trained_pairs
from icl_curriculum.function_classes.decision_tree import DecisionTree
from icl_curriculum.function_classes.gaussian_mixture import GaussianMixture
from icl_curriculum.function_classes.hermite import Hermite
from icl_curriculum.function_classes.linear import Linear, LinearClassification, NoisyLinear, SparseLinear
from icl_curriculum.function_classes.linear_dynamics import LinearDynamics
from icl_curriculum.function_classes.linear_map import LinearMap
from icl_curriculum.function_classes.low_rank_linear import LowRankLinear
from icl_curriculum.function_classes.other_weights import CapLinear, PowerLawLinear
from icl_curriculum.function_classes.parity import Parity
from icl_curriculum.function_classes.quadratic import Quadratic
from icl_curriculum.function_classes.relu_network import ReluNetwork
from icl_curriculum.function_classes.sinusoid import Sinusoid
from icl_curriculum.function_classes.table import Table, table_of

__all__ = [
    "AnyFunctionClass",
    "CapLinear",
    "Chebyshev",
    "ClassValued",
    "Composition",
    "DecisionTree",
    "FunctionClass",
    "GaussianClasses",
    "GaussianMixture",
    "Hermite",
    "Linear",
    "LinearClassification",
    "LinearDynamics",
    "LinearMap",
    "LowRankLinear",
    "MulticlassLinear",
    "NoisyLinear",
    "OutsideDomain",
    "Parameters",
    "Parity",
    "PowerLawLinear",
    "Quadratic",
    "ReluNetwork",
    "SignValued",
    "Sinusoid",
    "SparseLinear",
    "Table",
    "labels_of",
    "one_hot",
    "register_function_class",
    "steps_of",
    "table_of",
    "trained_pairs",
]
