"""What identifiers are called in words: in tables, sentences and figures alike."""

from __future__ import annotations

import re

_WORDS = {
    "relu": "ReLU", "hermite": "Hermite", "chebyshev": "Chebyshev", "gaussian": "Gaussian", "laplace": "Laplace",
    "cauchy": "Cauchy", "student": "Student", "rademacher": "Rademacher", "knn": "nearest neighbours",
    "mlp": "MLP", "gd": "by gradient descent", "sklearn": "scikit-learn",
}  # fmt: skip
_INPUTS = {"half subspace": "half-subspace"}
_SHIFTS = {
    "scaled_inputs": "inputs ×{}",
    "scaled_outputs": "outputs ×{}",
    "label_noise": "label noise, σ = {}",
    "label_noise/flips": "flipped labels, p = {}",
    "longer_prompts": "longer prompts ×{}",
}
_FRACTIONS = {"0.333": "1/3", "0.667": "2/3"}


def pretty(identifier: str) -> str:
    """An identifier as a reader would write it.

    >>> pretty("relu_network"), pretty("hermite/3"), pretty("sparse_linear/sparsity=2")
    ('ReLU network', 'Hermite 3', 'sparse linear (sparsity = 2)')
    """
    name, settings = _parts(identifier)
    return name + settings


def _parts(identifier: str) -> tuple[str, str]:
    """The words of an identifier, and its named parameters in brackets."""
    head, *parameters = identifier.split("/")
    name = " ".join([_words(head), *(part for part in parameters if "=" not in part)])
    named = [part.partition("=") for part in parameters if "=" in part]
    settings = ", ".join(f"{_words(key)} = {value}" for key, _, value in named)
    return name, f" ({settings})" if settings else ""


def inputs_label(inputs: str) -> str:
    """An input distribution's identifier in words.

    >>> inputs_label("student_t/df=5"), inputs_label("scaled/2/of=laplace")
    ('Student t inputs (df = 5)', 'Laplace inputs ×2')
    """
    if scaled := re.fullmatch(r"scaled/([^/=]+)(?:/of=(.+))?", inputs):
        return f"{inputs_label(scaled[2] or 'gaussian')} ×{_number(scaled[1])}"
    if shifted := re.fullmatch(r"shifted/([^/=]+)", inputs):
        return f"Gaussian inputs (mean = {_number(shifted[1])})"
    name, settings = _parts(inputs)
    return f"{_INPUTS.get(name, name)} inputs{settings}"


def shift_label(shift: str) -> str:
    """A shift's identifier in words.

    >>> shift_label("scaled_inputs/0.333"), shift_label("random_quadrants"), shift_label("label_noise/flips=0.1")
    ('inputs ×1/3', 'random quadrants', 'flipped labels, p = 0.1')
    """
    head, _, parameter = shift.partition("/")
    key, _, value = parameter.rpartition("=")
    words = _SHIFTS.get(f"{head}/{key}" if key else head)
    if words is None or not value or "/" in value:
        return pretty(shift)
    return words.format(_number(value))


def _number(value: str) -> str:
    return _FRACTIONS.get(value, value)


def _words(name: str) -> str:
    return " ".join(_WORDS.get(word, word) for word in name.split("_"))
