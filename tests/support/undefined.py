"""Which shifts make no sense for which classes under their reference inputs, and why; Chebyshev has one dimension."""

from __future__ import annotations

from helpers import Spec

from icl_curriculum.core.registry import FUNCTION_CLASSES

_OWN = "it makes its own inputs, each of which is gaussian"
_UNNAMED = "it makes its own inputs"
_CORNERS = "every input is a corner of the cube"
_SIGNS = "expected inputs of -1 and 1"
_BOUNDED = "expected inputs within ±1"
_OWN_CLOUDS = "it makes its own inputs, each of which is scaled/1.12"
_DRAWN = "labels are drawn with their inputs, so other queries have none"


def _other(asked: str, own: str) -> str:
    return f"{asked} has other labels: numbers, not {own}"


#: The labels of classes that have others than numbers.
LABELS = {
    "gaussian_classes": "3 classes",
    "linear_map": "vectors of 2 numbers",
    "multiclass_linear": "3 classes",
}

#: Classes with the functions of the linear one.
_LINEAR = (
    "cap_linear", "gaussian_mixture", "linear", "low_rank_linear", "noisy_linear", "power_law_linear", "sparse_linear",
)  # fmt: skip
_FORM = "the functions of power_law_linear/1 have another form"

#: The classes with reasoning steps between x and y, and the shifts of these.
STEPS = ("composition",)
OF_STEPS = ("steps_given", "steps_left_out")

#: (function class, shift): the reason.
UNDEFINED: dict[tuple[str, str], str] = {
    ("chebyshev", "half_subspace"): "half_subspace: expected 2 dimensions or more, found 1",
    ("chebyshev", "orthogonal_queries"): "nothing is orthogonal to an example in one dimension",
    ("chebyshev", "other_inputs"): _BOUNDED,
    ("chebyshev", "scaled_inputs"): _BOUNDED,
    ("chebyshev", "skewed"): _BOUNDED,
    ("gaussian_classes", "half_subspace"): _OWN_CLOUDS,
    ("gaussian_classes", "opposite_quadrants"): _DRAWN,
    ("gaussian_classes", "orthogonal_queries"): _DRAWN,
    ("gaussian_classes", "other_inputs"): _OWN_CLOUDS,
    ("gaussian_classes", "overlapping_queries"): _DRAWN,
    ("gaussian_classes", "random_quadrants"): _DRAWN,
    ("gaussian_classes", "scaled_inputs"): _UNNAMED,
    ("gaussian_classes", "scaled_outputs"): "its values are classes",
    ("gaussian_classes", "skewed"): _OWN_CLOUDS,
    ("composition", "other_class"): "linear shows no reasoning steps, and composition 2 reasoning steps",
    **{
        (name, s): "it shows no reasoning steps"
        for name in FUNCTION_CLASSES.names()
        if name not in STEPS
        for s in OF_STEPS
    },
    ("linear_classification", "scaled_outputs"): "its values are signs",
    ("multiclass_linear", "scaled_outputs"): "its values are classes",
    **{(name, "other_class"): _other("linear", labels) for name, labels in LABELS.items()},
    **{(name, "other_functions"): _FORM for name in FUNCTION_CLASSES.names() if name not in _LINEAR},
    **{(name, "other_functions"): _other("power_law_linear/1", labels) for name, labels in LABELS.items()},
    ("linear_dynamics", "half_subspace"): _OWN,
    ("linear_dynamics", "opposite_quadrants"): _UNNAMED,
    ("linear_dynamics", "other_inputs"): _OWN,
    ("linear_dynamics", "random_quadrants"): _UNNAMED,
    ("linear_dynamics", "scaled_inputs"): _UNNAMED,
    ("linear_dynamics", "skewed"): _OWN,
    **{("table", name): _UNNAMED for name in ("half_subspace", "other_inputs", "skewed")},
    **{("table", f"{name}_queries"): _DRAWN for name in ("orthogonal", "overlapping")},
    **{("table", f"{name}_quadrants"): _DRAWN for name in ("opposite", "random")},
    ("table", "scaled_inputs"): _UNNAMED,
    ("parity", "half_subspace"): _SIGNS,
    ("parity", "opposite_quadrants"): _CORNERS,
    ("parity", "orthogonal_queries"): _CORNERS,
    ("parity", "other_inputs"): _SIGNS,
    ("parity", "random_quadrants"): _CORNERS,
    ("parity", "scaled_inputs"): _SIGNS,
    ("parity", "scaled_outputs"): "its values are signs",
    ("parity", "skewed"): _SIGNS,
}

#: Every shift once, with inputs of light tails.
SHIFT_SPECS: dict[str, Spec] = {
    "half_subspace": "half_subspace",
    "label_noise": "label_noise",
    "longer_prompts": "longer_prompts",
    "opposite_quadrants": "opposite_quadrants",
    "orthogonal_queries": "orthogonal_queries",
    "other_class": {"name": "other_class", "function_class": {"name": "decision_tree", "depth": 2}},
    "other_functions": {"name": "other_functions", "function_class": "power_law_linear"},
    "other_observation": {"name": "other_observation", "observation": {"name": "outliers", "share": 0.3}},
    "other_inputs": {"name": "other_inputs", "inputs": "laplace"},
    "overlapping_queries": "overlapping_queries",
    "random_quadrants": "random_quadrants",
    "scaled_inputs": {"name": "scaled_inputs", "factor": 1.5},
    "scaled_outputs": {"name": "scaled_outputs", "factor": 3.0},
    "skewed": "skewed",
    "steps_given": "steps_given",
    "steps_left_out": "steps_left_out",
}
