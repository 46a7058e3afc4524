"""The conformity check: one broken class for every rule on what a class declares, gives back and leaves alone."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from pydantic import Field, field_validator
from testing_classes import Plain, finding_of, only_finding, result_of
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.function_classes import FunctionClass, Parameters, register_function_class

pytestmark = pytest.mark.usefixtures("fewer_prompts")


def test_construction_names_the_missing_methods() -> None:
    class Half(FunctionClass):
        """Half a class."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            return {}

    finding = only_finding(Half, "construction")
    assert finding.found == "Half lacks evaluate"
    assert "define evaluate" in finding.mend


def test_construction_names_the_fields_without_a_default() -> None:
    class Demanding(Plain):
        """Its field has no default."""

        degree: int = Field(ge=1, description="no default")

    finding = only_finding(Demanding, "construction")
    assert finding.found == "no default for degree"
    assert "degree: ... = Field(<default>" in finding.mend
    assert result_of(Demanding(degree=2), "construction").status == "ok"


def test_documentation_asks_for_a_docstring() -> None:
    class Silent(Plain):
        pass

    finding = only_finding(Silent, "documentation")
    assert finding.found == "Silent has no docstring"
    assert "first line is a summary" in finding.expected


def test_documentation_asks_for_a_summary_of_one_line() -> None:
    class Rambling(Plain):
        """A summary that goes on
        in the second line."""

    finding = finding_of(Rambling, "documentation")
    assert "'in the second line.'" in finding.found
    assert "blank line" in finding.mend


def test_documentation_asks_for_a_description_of_every_field() -> None:
    class Mysterious(Plain):
        """Its field says nothing."""

        factor: float = 1.0

    finding = finding_of(Mysterious, "documentation")
    assert finding.found == "the field 'factor' has none"
    assert "factor: ... = Field(..., description=" in finding.mend


def test_config_finds_a_field_that_toml_cannot_give() -> None:
    class Strict(Plain):
        """A tuple is a list in TOML, which a strict field refuses."""

        scales: tuple[float, ...] = Field((1.0, 2.0), description="numbers")

    finding = only_finding(Strict, "config")
    assert "'scales': [1.0, 2.0]" in finding.found
    assert "ValidationError" in finding.found
    assert "strict=False" in finding.mend

    class Lenient(Strict):
        """The same, mended."""

        scales: tuple[float, ...] = Field((1.0, 2.0), strict=False, description="numbers")

    assert result_of(Lenient, "config").status == "ok"


def test_config_finds_a_field_that_changes_when_read_again() -> None:
    class Doubling(Plain):
        """Its field is not what was given."""

        factor: float = Field(1.0, validate_default=False, description="doubled when read")

        @field_validator("factor")
        @classmethod
        def double(cls, value: float) -> float:
            return 2 * value

    finding = finding_of(Doubling, "config")
    assert "factor=1.0" in finding.found
    assert "became" in finding.found
    assert "factor=2.0" in finding.found
    assert "the value that was given" in finding.mend


def test_config_finds_what_toml_cannot_hold() -> None:
    class Holding(Plain):
        """Its field is a set of bytes."""

        keys: frozenset[bytes] = Field(frozenset({b"a"}), description="no TOML type")

    finding = finding_of(Holding, "config")
    assert "cannot be written as TOML" in finding.found
    assert "numbers, strings, booleans" in finding.mend


def test_config_of_a_registered_class_goes_through_the_registry(fresh_registries: None) -> None:
    @register_function_class("registered_plain")
    class Registered(Plain):
        """Built by name."""

        factor: float = Field(1.0, description="a number")

    assert result_of("registered_plain", "config").status == "ok"
    assert result_of(Registered(factor=3.0), "config").status == "ok"


def test_baselines_must_be_registered() -> None:
    class Misspelt(Plain):
        """Names an unknown baseline."""

        baselines = ("zero", "least_square")

    finding = only_finding(Misspelt, "baselines")
    assert finding.found == "unknown baseline 'least_square'; did you mean 'least_squares'?"


def test_dimensions_must_be_allowed_somewhere() -> None:
    class Homeless(Plain):
        """Lives nowhere."""

        def check_dims(self, dims: int) -> None:
            raise UserError(f"not in {dims}")

    finding = only_finding(Homeless, "dimensions")
    assert "d = 1 with: not in 1" in finding.found
    assert "from 1 to 64" in finding.expected


def test_dimensions_must_be_refused_with_a_user_error() -> None:
    class Rude(Plain):
        """Refuses by another exception."""

        def check_dims(self, dims: int) -> None:
            if dims < 3:
                raise ValueError("too few")

    finding = only_finding(Rude, "dimensions")
    assert finding.found.startswith("ValueError: too few")
    assert finding.expected == "no exception in check_dims(1)"


def test_dimensions_refused_by_sample_alone_are_a_finding() -> None:
    class Late(Plain):
        """Refuses when it is too late."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            if dims < 3:
                raise UserError("three dimensions at least")
            return super().sample(n, dims, generator)

    finding = only_finding(Late, "sample")
    assert finding.found.startswith("UserError: three dimensions at least")
    assert finding.expected == "no exception in sample(n=1, dims=1)"


@pytest.mark.parametrize(
    ("given", "expected", "found"),
    [
        (lambda n, d: torch.ones(n, d), "a dict of tensors", "sample(n=1, dims=1) gives a Tensor"),
        (lambda n, d: None, "a dict of tensors", "gives None"),
        (lambda n, d: {}, "at least one entry", "gives {}"),
        (lambda n, d: {"w": torch.ones(n, d), "s": 3}, "tensors under names", "gives 's': a int"),
        (lambda n, d: {"w": torch.ones(d, n)}, "leading axis n = 2", "'w' has shape (1, 2)"),
        (lambda n, d: {"w": torch.ones(())}, "leading axis n = 1", "'w' has shape ()"),
    ],
)
def test_sample_gives_tensors_of_leading_axis_n(given: Any, expected: str, found: str) -> None:
    class Wrong(Plain):
        """Samples something else."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            return given(n, dims)

    finding = only_finding(Wrong, "sample")
    assert expected in finding.expected
    assert found in finding.found


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (lambda values: values.squeeze(), "shape () at n = 1, points = 1, d = 1"),
        (lambda values: values.unsqueeze(2), "shape (1, 1, 1) at n = 1, points = 1, d = 1"),
        (lambda values: values.mT, "shape (4, 1) at n = 1, points = 4, d = 1"),
        (lambda values: values.tolist(), "a list at n = 1"),
    ],
)
def test_shape_of_values(given: Any, found: str) -> None:
    class Wrong(Plain):
        """Values of another shape."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return given(super().evaluate(parameters, xs))

    finding = only_finding(Wrong, "shape")
    assert "(n, points) = (1, " in finding.expected
    assert found in finding.found
    assert "squeeze(-1)" in finding.mend


def test_shape_is_looked_at_in_odd_dimensions() -> None:
    class Halved(Plain):
        """Loses a coordinate of an odd number."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            halves = xs.reshape(len(xs), xs.shape[1], 2, -1) if xs.shape[2] > 1 else xs.unsqueeze(2)
            return torch.einsum("npd,nd->np", halves.flatten(2), parameters["w"])

    finding = only_finding(Halved, "shape")
    assert finding.expected == "no exception in evaluate of xs of shape (1, 1, 3) and float32"
    assert "RuntimeError" in finding.found


def test_draw_gives_clean_values() -> None:
    class Noisy(Plain):
        """Adds the label noise itself."""

        def draw(self, n: int, points: int, dims: int, inputs: Any, streams: Any) -> Any:
            xs, values, parameters = super().draw(n, points, dims, inputs, streams)
            return xs, values + 0.1 * torch.randn(values.shape, generator=streams.generator("mine")), parameters

    finding = only_finding(Noisy, "draw")
    assert "the clean values that evaluate gives" in finding.expected
    assert "at n = 1, points = 1, d = 1" in finding.found
    assert "label noise is added later" in finding.mend


def test_draw_gives_the_promised_shapes() -> None:
    class Long(Plain):
        """One point too many."""

        def draw(self, n: int, points: int, dims: int, inputs: Any, streams: Any) -> Any:
            return super().draw(n, points + 1, dims, inputs, streams)

    finding = only_finding(Long, "draw")
    assert "((1, 1, 1), (1, 1))" in finding.expected
    assert "((1, 2, 1), (1, 2))" in finding.found


class Configured(Plain):
    """A class variable of its own."""

    id_fields: ClassVar[tuple[str, ...]] = ("factor",)

    factor: float = Field(1.0, description="a number")


def test_an_instance_is_looked_at_as_it_is() -> None:
    class Halved(Configured):
        """Breaks for one value of its field."""

        def trivial_error(self, dims: int) -> float:
            return dims * self.factor

    assert result_of(Halved, "trivial error").status == "ok"
    assert "trivial_error(1) = 2 is too large" in finding_of(Halved(factor=2.0), "trivial error").found
