"""Names that nothing calls, told from the names of the contract."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from pydantic import Field, field_validator

from icl_curriculum.baselines import Baseline
from icl_curriculum.core.misspelling import misspelt
from icl_curriculum.core.registry import KINDS
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.inputs import Gaussian, InputDistribution
from icl_curriculum.shifts import Shift


def having(base: type, **members: Any) -> type:
    return type("Mine", (base,), {"__doc__": "Mine.", "__module__": __name__, **members})


@pytest.mark.parametrize(
    ("base", "name", "meant"),
    [
        (Shift, "aply", "apply"),
        (Shift, "point", "points"),
        (Shift, "undefned", "undefined"),
        (InputDistribution, "squared_nrm", "squared_norm"),
        (InputDistribution, "rotation_invariance", "rotation_invariant"),
        (FunctionClass, "second_momment", "second_moment"),
    ],
)
def test_a_method_is_found_by_the_name_that_was_meant(base: type, name: str, meant: str) -> None:
    assert misspelt(having(base, **{name: lambda self: None}), base) == {name: meant}
    assert misspelt(having(base, **{meant: lambda self: None}), base) == {}


def test_properties_and_class_variables_are_found_too() -> None:
    class Mine(FunctionClass):
        """Says so under names that nobody reads."""

        sign_value: ClassVar[bool] = True
        id_field: ClassVar[tuple[str, ...]] = ("degree",)
        oracle_knd = property(lambda self: "optimum")

    assert misspelt(Mine, FunctionClass) == {
        "sign_value": "sign_valued",
        "id_field": "id_fields",
        "oracle_knd": "oracle_kind",
    }


def test_a_method_beside_an_inherited_one_is_found() -> None:
    """The package's class gives the method of the contract, and the author's does not."""
    assert misspelt(having(Gaussian, squared_nrm=lambda self, dims: 2.0 * dims), InputDistribution) == {
        "squared_nrm": "squared_norm"
    }


def test_helpers_beside_what_they_help_are_left_alone() -> None:
    class Mine(Baseline):
        """Helpers, a field and a validator of its own."""

        costs: float = Field(1.0, description="a field of the author's")

        def predict(self, prompts: Any) -> Any:
            return self.predicts(prompts)

        def predicts(self, prompts: Any) -> Any:
            return self._check_dim(prompts)

        def _check_dim(self, prompts: Any) -> Any:
            return prompts

        @field_validator("costs")
        @classmethod
        def check_dim(cls, value: float) -> float:
            return value

        def unlike_any(self) -> None:
            pass

    assert misspelt(Mine, Baseline) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_suite_is_misspelt(kind: str) -> None:
    for name in KINDS[kind].names():
        assert misspelt(KINDS[kind].get(name), KINDS[kind]._base) == {}
