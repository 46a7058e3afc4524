"""The conformity check: one broken class for every finding on reference inputs, own inputs, domains and signs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from pydantic import Field
from testing_classes import LinearDynamics, Majority, Plain, Ramp, failures, finding_of, only_finding, result_of
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.function_classes import Chebyshev, LinearClassification, OutsideDomain, Parameters, SignValued

# Reference inputs


pytestmark = pytest.mark.usefixtures("fewer_prompts")


@pytest.mark.parametrize(
    ("given", "expected", "found"),
    [
        (
            "gausian",
            "in reference_inputs, the name of a registered input distribution",
            "unknown input distribution 'gausian'; did you mean 'gaussian'?",
        ),
        (
            {"name": "unifrm", "half_width": 1.0},
            "in reference_inputs, the name of a registered input distribution",
            "unknown input distribution 'unifrm'; did you mean 'uniform'?",
        ),
        (
            {"half_width": 1.0},
            "in reference_inputs, the name of an input distribution, or a table with its name and parameters",
            "{'half_width': 1.0}",
        ),
        (
            None,
            "in reference_inputs, the name of an input distribution, or a table with its name and parameters",
            "None",
        ),
        (
            {"name": "uniform", "half_wdth": 1.0},
            "in reference_inputs, parameters that the input distribution 'uniform' has",
            "{'name': 'uniform', 'half_wdth': 1.0} cannot be built: half_wdth: unknown key; did you mean 'half_width'?",
        ),
        (
            {"name": "uniform", "half_width": -1.0},
            "in reference_inputs, parameters that the input distribution 'uniform' has",
            "{'name': 'uniform', 'half_width': -1.0} cannot be built: half_width: expected greater than or equal to "
            "0.000001, found -1.0",
        ),
    ],
)
def test_reference_inputs_that_cannot_be_built_are_found(given: Any, expected: str, found: str) -> None:
    class Wrong(Plain):
        """Names inputs that there are not."""

        reference_inputs = given

    finding = only_finding(Wrong, "reference inputs")
    assert finding.expected == expected
    assert finding.found == found
    assert "reference_inputs" in finding.mend or finding.mend.startswith('write, for example, "gaussian"')


def test_reference_inputs_are_looked_at_in_every_allowed_dimension() -> None:
    """Also in those in which nothing else is looked at."""

    class Late(Plain):
        """Wrong beyond 20 dimensions."""

        def reference(self, dims: int) -> str | dict[str, Any]:
            return "gaussian" if dims <= 20 else "gausian"

    finding = only_finding(Late, "reference inputs")
    assert finding.expected == "in reference(21), the name of a registered input distribution"
    assert finding.mend == "correct reference(21), or register 'gausian' in the same plugin file"


def test_reference_inputs_must_exist_where_the_class_does() -> None:
    class Flat(Plain):
        """Its inputs need two dimensions."""

        reference_inputs: ClassVar[str | dict[str, Any]] = "half_subspace"

    finding = only_finding(Flat, "reference inputs")
    assert finding.expected == "reference inputs that exist in every dimension that check_dims allows"
    assert finding.found == (
        "reference_inputs is 'half_subspace', which d = 1 is not for: half_subspace: expected 2 dimensions or more, "
        "found 1"
    )
    assert finding.mend == "let check_dims refuse d = 1, or override reference(dims) to give other inputs there"

    class Mended(Flat):
        """Refuses one dimension."""

        def check_dims(self, dims: int) -> None:
            if dims < 2:
                raise UserError("two dimensions at least")

    assert failures(Mended) == {}


@pytest.mark.parametrize(
    ("declared", "inputs", "wanted"),
    [
        ({"largest_input": 1.0}, "gaussian", "expected inputs within ±1"),
        ({"largest_input": 1.0}, "uniform", "expected inputs within ±1"),
        ({"sign_inputs": True}, "gaussian", "expected inputs of -1 and 1"),
    ],
)
def test_reference_inputs_must_be_in_the_declared_domain(declared: dict[str, Any], inputs: str, wanted: str) -> None:
    namespace = {"__doc__": "Contradicts itself.", "__module__": __name__, "reference_inputs": inputs, **declared}
    finding = only_finding(type("Torn", (Plain,), namespace), "reference inputs")
    assert finding.expected == f"reference inputs within the declared domain: {wanted}"
    assert finding.found.startswith(f"reference_inputs is {inputs!r}")
    assert finding.found.endswith(" at d = 1")
    assert "sign_inputs and largest_input" in finding.mend


# Inputs of a class's own


def test_a_draw_that_overlooks_the_inputs_asked_for_is_found() -> None:
    class Silent(LinearDynamics):
        """Doesn't say that its inputs are its own."""

        owns_inputs: ClassVar[bool] = False

    [finding] = result_of(Silent, "inputs drawn").findings
    assert finding.expected == "inputs distributed as 'scaled/0.5', as asked for"
    # Quartiles of both together: 1/3 and 1/6 lie below the lowest where one is twice as wide as the other.
    assert re.fullmatch(
        r"x\[0, \d\] is below a quartile in 3\d% of prompts where 1\d% were expected, at d = 8 \(1\d standard errors; "
        r"8 are allowed\)",
        finding.found,
    )
    assert finding.mend == (
        "take the inputs from inputs.sample(n, points, dims, ...) as they are, or declare owns_inputs: "
        "ClassVar[bool] = True"
    )


def test_own_inputs_that_are_not_what_the_class_says_are_found() -> None:
    class Growing(LinearDynamics):
        """Forgets that noise adds up: the variance grows from step to step."""

        def draw(self, n: int, points: int, dims: int, inputs: Any, streams: Any) -> Any:
            xs, _, parameters = super().draw(n, points, dims, inputs, streams)
            xs = xs * torch.linspace(1, 2, points).view(1, -1, 1)
            return xs, self.evaluate(parameters, xs), parameters

    finding = finding_of(Growing, "inputs drawn")
    assert finding.expected == "inputs distributed as 'gaussian', the marginal of a class that owns its inputs"
    assert finding.found.startswith("x[3, "), "the last point is the farthest off"
    assert finding.mend.startswith("let every point by itself be distributed as the reference inputs")


def test_a_class_that_owns_its_inputs_must_make_them() -> None:
    class Idle(Plain):
        """Promises inputs of its own."""

        owns_inputs: ClassVar[bool] = True

    finding = only_finding(Idle, "inputs drawn")
    assert finding.expected == "a draw that makes the inputs, as owns_inputs is True"
    assert finding.found == "Idle does not define draw"
    assert finding.mend.startswith("define draw, which returns xs, self.evaluate(parameters, xs), parameters")
    assert result_of(Plain, "inputs drawn").note == "draw is FunctionClass's own"


def test_a_draw_of_its_own_with_the_inputs_asked_for_is_fine() -> None:
    class Verbose(Plain):
        """Overrides draw and changes nothing."""

        def draw(self, n: int, points: int, dims: int, inputs: Any, streams: Any) -> Any:
            return super().draw(n, points, dims, inputs, streams)

    assert result_of(Verbose, "inputs drawn").status == "ok"


# Signs


class Classifier(SignValued):
    """f(x) = sign(w·x), which is to be broken."""

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        return {"w": torch.randn(n, dims, generator=generator, device=generator.device)}

    def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
        t = torch.einsum("npd,nd->np", xs, parameters["w"])
        return torch.where(t < 0, -torch.ones_like(t), torch.ones_like(t))


def test_a_class_of_signs_keeps_the_contract() -> None:
    assert failures(Classifier) == {}
    assert result_of(Classifier, "signs").status == "ok"
    assert result_of(Majority, "signs").status == "ok"


def test_values_other_than_signs_are_found() -> None:
    class Margin(Classifier):
        """Abstains near its border."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            t = torch.einsum("npd,nd->np", xs, parameters["w"]) / parameters["w"].norm(dim=1, keepdim=True)
            return t.sign() * (t.abs() > 0.1)

    finding = finding_of(Margin, "signs")
    assert finding.expected == "values of -1 and 1 alone, as sign_valued is True"
    assert finding.found == "6% of the values at the reference inputs are others, at d = 1"
    assert finding.mend == "torch.where(t < 0, -1.0, 1.0), say: torch.sign(0) is 0; or leave sign_valued False"


def test_a_class_of_numbers_that_calls_them_signs_is_found() -> None:
    class Numbers(Plain):
        """Declares too much."""

        sign_valued: ClassVar[bool] = True
        label_noise: float = Field(0.0, ge=0, le=0.5, description="probability of a flip")

    assert only_finding(Numbers, "signs").found == "100% of the values at the reference inputs are others, at d = 1"


def test_signs_that_are_zero_where_inputs_are_are_found() -> None:
    """Coordinates that a curriculum over dimensions has not reached are zero."""

    class Pair(Classifier):
        """The product of the signs of the first two coordinates, up to a random sign."""

        def check_dims(self, dims: int) -> None:
            if dims < 2:
                raise UserError("two coordinates at least")

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return (xs[:, :, 0] * xs[:, :, 1] * parameters["w"][:, :1]).sign()

    finding = finding_of(Pair, "signs")
    assert finding.found == (
        "100% of the values at inputs of which all but the first coordinate are 0 are others, at d = 2"
    )


def test_the_noise_of_signs_is_a_probability() -> None:
    class Handmade(Plain):
        """Signs without SignValued's label_noise."""

        sign_valued: ClassVar[bool] = True
        evaluate = Classifier.evaluate
        growth = SignValued.growth
        trivial_error = SignValued.trivial_error

    finding = only_finding(Handmade, "signs")
    assert finding.expected == "label_noise from 0 to 0.5, as it is the probability of a flip where sign_valued is True"
    assert finding.found == "label_noise = 0.6 is accepted"
    assert "derive from SignValued" in finding.mend


def test_signs_that_are_not_declared_are_a_note_and_numbers_are_none() -> None:
    class Undeclared(Plain):
        """Signs, as numbers."""

        evaluate = Classifier.evaluate
        growth = SignValued.growth
        trivial_error = SignValued.trivial_error

    result = result_of(Undeclared, "signs")
    assert result.status == "ok"
    assert result.note == (
        "all values are -1 or 1: derive from SignValued for accuracies, and for noise that flips labels"
    )
    assert result_of(Plain, "signs").note == "sign_valued is False"


def test_noise_of_signs_is_tried_as_flips() -> None:
    """A standard deviation of half the labels' size would be more than all flips: units and oracle hold with 1/4."""
    for rule in ("units", "oracle"):
        assert result_of("parity", rule).status == "ok"
    assert result_of(Classifier, "units").status == "ok"
    assert result_of(LinearClassification, "oracle").note == "oracle_kind is None: no oracle is known"


# Where moments and growth are looked at


def test_second_moments_are_tried_in_the_domain_alone() -> None:
    result = result_of(Ramp, "second moment")
    assert result.status == "ok"
    assert "outside the domain: skewed: expected inputs within ±1; " in result.note
    assert "of half the scale: expected" not in result.note.replace("Gaussian of half the scale", "")
    owner = result_of("linear_dynamics", "second moment")
    assert "skewed: it makes its own inputs, each of which is gaussian" in owner.note
    assert result_of(Chebyshev, "second moment").note == "second_moment gives no closed form for other inputs"


@pytest.mark.parametrize(("largest", "inputs"), [(1.0, "rademacher"), (math.inf, "gaussian")])
def test_a_second_moment_is_held_to_the_reference_inputs_too(largest: float, inputs: str) -> None:
    """The one distribution that a class of bounded domain surely has."""

    class Off(Plain):
        """Twice too large."""

        reference_inputs = inputs
        largest_input = largest

        def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
            return 2 * squared_norm

    finding = only_finding(Off, "second moment")
    assert finding.expected.startswith("E f(x)^2 = ")
    assert f"for the reference inputs, {inputs}, at d = 3" in finding.expected
    assert "second_moment(3, squared_norm=3, " in finding.found


def test_growth_does_not_apply_to_a_bounded_domain() -> None:
    for chosen in (Majority, Ramp, Chebyshev):
        assert result_of(chosen, "growth").note == "the declared domain is bounded"


def test_what_evaluate_refuses_of_its_own_reference_inputs_is_found() -> None:
    class Narrow(Plain):
        """Refuses part of what it is meant for."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            if bool((xs.abs() > 1).any()):
                raise OutsideDomain("narrow: x outside [-1, 1]")
            return super().evaluate(parameters, xs)

    finding = only_finding(Narrow, "shape")
    assert finding.found.startswith("OutsideDomain: narrow: x outside [-1, 1] (")
    assert finding.expected.startswith("no exception in evaluate of xs of shape")
