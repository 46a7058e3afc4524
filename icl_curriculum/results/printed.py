"""Errors of trained transformers as a paper prints them, to set beside those of our own runs.

The numbers are those of the text and the appendix of Garg et al. 2022, arXiv 2208.01066: transformers of 12 layers, 256
wide with 8 heads, trained for 500,000 steps of 64 prompts in d = 20 dimensions on one class with Gaussian inputs. The
paper gives no interval for any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

#: Of all models whose errors are printed: the dimensions of their prompts, and their size as a config has it.
DIMS = 20
MODEL = {"name": "transformer", "layers": 12, "width": 256, "heads": 8}
#: The weights of such a model, and what it was trained for.
WEIGHTS, STEPS, PROMPTS = 9_534_977, 500_000, 32_000_000
PAPER = "Garg et al. 2022"

Metric = Literal["normalized_error", "error_over_reference"]
#: The raw error over the trivial error without a shift, which is the convention of Garg et al.'s text.
OVER_REFERENCE: Metric = "error_over_reference"


class AskedError(NamedTuple):
    """What a model was asked, and in which metric its error is: values of columns of evaluation.csv."""

    function_class: str
    input_distribution: str
    shift: str
    n_context: int
    metric: str


@dataclass(frozen=True)
class Printed:
    """A printed error of a transformer: the class it was trained on, what it was asked, and after how many examples.

    ``function_class``: the class it was asked about, if that is another one. ``interval``: its ends as printed, None
    where the paper prints none. ``note``: what the text leaves open.
    """

    trained_on: str
    n_context: int
    value: float
    shift: str = "none"
    input_distribution: str = "gaussian"
    function_class: str = ""
    metric: Metric = "normalized_error"
    interval: tuple[float, float] | None = None
    note: str = ""

    @property
    def asked(self) -> AskedError:
        """The values that the asked rows have in the columns of evaluation.csv."""
        function_class = self.function_class or self.trained_on
        return AskedError(function_class, self.input_distribution, self.shift, self.n_context, self.metric)

    @property
    def interval_in_words(self) -> str:
        """``0.1 to 0.2``, or that no interval is printed."""
        if self.interval is None:
            return "no interval printed"
        low, high = self.interval
        return f"{low:g} to {high:g}"

    def __str__(self) -> str:
        words = [self.function_class, self.input_distribution, self.shift]
        named = [word for word in words if word not in ("", "gaussian", "none")]
        return ", ".join([*named, f"k = {self.n_context}"])


def _linear(values: dict[int, float], shift: str = "none", inputs: str = "gaussian") -> list[Printed]:
    return [Printed("linear", k, value, shift, inputs) for k, value in values.items()]


_SCALES = ("0.333", "0.5", "2", "3")
_OPEN = "the text doesn't say whether over c^2"

#: Linear functions asked as they were trained on. Source: section 3.
LINEAR = _linear({20: 0.02, 40: 0.0006})

#: Linear functions asked with other inputs, or with queries apart from the context. Source: section 4.
SHIFTED = [
    *_linear({10: 0.036, 20: 0.0014, 40: 0.00057}, inputs="half_subspace"),
    *_linear({20: 0.062, 40: 0.004}, "random_quadrants"),
    *_linear({10: 0.001, 20: 0.001, 40: 0.0005}, "overlapping_queries"),
    Printed("linear", 10, 1.0, "orthogonal_queries", note="about 1 at every k"),
]

#: Linear functions whose inputs or outputs are scaled by a factor, each printed at one length. Source: section 4 and
#: the appendix.
SCALED = [
    *(
        Printed("linear", 40, value, f"scaled_outputs/{scale}", metric=OVER_REFERENCE)
        for scale, value in zip(_SCALES, (0.0012, 0.0008, 0.0016, 0.0278), strict=True)
    ),
    *(
        Printed("linear", 40, value, f"scaled_inputs/{scale}", note=_OPEN)
        for scale, value in zip(_SCALES, (0.30, 0.013, 0.043, 0.58), strict=True)
    ),
]

#: Sparse linear functions of 3 weights. Source: section 5.
SPARSE = [Printed("sparse_linear", k, value) for k, value in {5: 0.58, 10: 0.09}.items()]

#: ReLU networks of 100 units; the same model asked about linear functions, too. Source: section 5.
RELU = [
    Printed("relu_network", 100, 0.17),
    *(
        Printed("relu_network", k, value, function_class="linear")
        for k, value in {20: 0.34, 50: 0.05, 100: 0.01}.items()
    ),
]

#: Decision trees of depth 4. Source: section 5.
TREE = [Printed("decision_tree", 100, 0.12)]

PRINTED = [*LINEAR, *SHIFTED, *SCALED, *SPARSE, *RELU, *TREE]
