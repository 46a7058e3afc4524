"""What identifiers are called in words: in tables, sentences and figures alike."""

from __future__ import annotations

from icl_curriculum.core.identifiers import Identifier, IdentifierPart
from icl_curriculum.results.shown_metric import shown_metric

_INPUTS = {"half subspace": "half-subspace"}
_SHIFTS = {
    "scaled_inputs": "inputs ×{}",
    "scaled_outputs": "outputs ×{}",
    "label_noise": "label noise, σ = {}",
    "label_noise/flips": "flipped labels, p = {}",
    "longer_prompts": "longer prompts ×{}",
}
#: Those whose first parameter is a component.
_HOLDING = {"other_observation": "{} in context", "other_functions": "functions of {}"}
_LEARNERS = {
    "oracle": "optimum (oracle)",
    "informed_oracle": "lower bound (oracle that knows more)",
    "dmmse": "posterior mean over the pool (dMMSE)",
}
#: The name of an id's first parameter, for learners whose value alone would say too little.
_PARAMETERS = {"lasso": "α", "gradient_descent": "steps", "preconditioned_gradient_descent": "steps"}
_FRACTIONS = {"0.333": "1/3", "0.667": "2/3"}


def pretty(identifier: str) -> str:
    """An identifier as a reader would write it.

    >>> pretty("relu_network"), pretty("hermite/3"), pretty("sparse_linear/sparsity=2")
    ('ReLU network', 'Hermite 3', 'sparse linear (sparsity = 2)')
    """
    parsed = Identifier.parse(identifier)
    return parsed.words + parsed.settings_in_words


def learner_label(learner: str) -> str:
    """A learner's identifier in words.

    >>> learner_label("lasso/0.01"), learner_label("gradient_descent/2/rate=0.1"), learner_label("oracle")
    ('lasso (α = 0.01)', 'gradient descent (steps = 2, rate = 0.1)', 'optimum (oracle)')
    """
    parsed = Identifier.parse(learner)
    if parsed.name in _PARAMETERS and len(parsed.values) == 1:
        settings = {_PARAMETERS[parsed.name]: parsed.values[0], **parsed.settings}
        return pretty(str(Identifier.of(parsed.name, settings=settings)))
    if learner == "zero":
        return shown_metric().nothing
    return _LEARNERS.get(learner) or pretty(learner)


def inputs_label(inputs: str) -> str:
    """An input distribution's identifier in words.

    >>> inputs_label("student_t/df=5"), inputs_label("scaled/2/of=laplace")
    ('Student t inputs (df = 5)', 'Laplace inputs ×2')
    """
    parsed = Identifier.parse(inputs)
    match parsed.name, parsed.parts:
        case "scaled", (IdentifierPart(factor, None),) if factor:
            return f"{inputs_label('gaussian')} ×{_number(factor)}"
        case "scaled", (IdentifierPart(factor, None), IdentifierPart(of, "of"), *_) if factor and of:
            return f"{inputs_label(str(parsed.held(1)))} ×{_number(factor)}"
        case "shifted", (IdentifierPart(mean, None),) if mean:
            return f"Gaussian inputs (mean = {_number(mean)})"
    return f"{_INPUTS.get(parsed.words, parsed.words)} inputs{parsed.settings_in_words}"


def shift_label(shift: str) -> str:
    """A shift's identifier in words.

    >>> shift_label("scaled_inputs/0.333"), shift_label("random_quadrants"), shift_label("label_noise/flips=0.1")
    ('inputs ×1/3', 'random quadrants', 'flipped labels, p = 0.1')
    >>> shift_label("other_observation/outliers/0.3"), shift_label("other_functions/cap_linear/180")
    ('outliers 0.3 in context', 'functions of cap linear 180')
    """
    parsed = Identifier.parse(shift)
    if parsed.name in _HOLDING and parsed.parts:
        return _HOLDING[parsed.name].format(pretty(str(parsed.held(0))))
    match parsed.parts:
        case (IdentifierPart(value, key),) if value:
            words = _SHIFTS.get(f"{parsed.name}/{key}" if key else parsed.name)
            if words is not None:
                return words.format(_number(value))
    return pretty(shift)


def _number(value: str) -> str:
    return _FRACTIONS.get(value, value)
