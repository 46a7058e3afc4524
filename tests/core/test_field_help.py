"""``help()`` of a component and of a config's table: its own fields and methods, and none of pydantic's."""

from __future__ import annotations

import inspect
import pydoc

import pytest
from pydantic import Field

from icl_curriculum import Experiment
from icl_curriculum.core.component import Component
from icl_curriculum.core.registry import KINDS
from icl_curriculum.function_classes import Hermite


def shown(cls: type) -> str:
    return pydoc.render_doc(cls, renderer=pydoc.plaintext)  # type: ignore[attr-defined, unused-ignore]


@pytest.mark.parametrize("cls", [Experiment, *(registry.get(registry.names()[0]) for registry in KINDS.values())])
def test_help_is_of_the_class_and_not_of_pydantic(cls: type[Component]) -> None:
    text = shown(cls)
    for name in ("model_validate", "model_dump", "__pydantic", "__init__", "from_orm", "inherited from pydantic"):
        assert name not in text
    for name, info in cls.model_fields.items():
        assert f"\n |    {info.alias or name}" in text
        assert (info.description or "").split()[0] in text
    assert len(text.splitlines()) < 400


def test_fields_are_shown_with_default_values_bounds_and_words() -> None:
    text = shown(Hermite)
    assert "degree = 2  (int, at least 1, at most 4)\n |        highest degree, p" in text
    assert "pool_size = None  (int or None, at least 1, at most 100,000,000)" in text
    assert "weights = 'unit'  ('unit' or 'gaussian')" in text
    assert "evaluate(self, parameters" in text
    assert str(inspect.signature(Hermite)).endswith("degree=2, weights='unit')")
    assert "  curriculum = ...\n" in shown(Experiment)
    assert "  model = 'transformer'\n" in shown(Experiment)


def test_a_class_of_ones_own_is_described_and_its_summary_stays() -> None:
    class Mine(Component):
        """Mine alone.

        More words.
        """

        factor: float = Field(gt=0.5, description="by which mine is multiplied")

        def schema(self) -> str:  # type: ignore[override]
            """A name that pydantic has, too."""
            return "mine"

    assert Mine.summary() == "Mine alone."
    lines = (inspect.getdoc(Mine) or "").splitlines()
    assert lines[:3] == ["Mine alone.", "", "More words."]
    assert lines[-2:] == ["  factor  (float, above 0.5)", "      by which mine is multiplied"]
    assert {"summary", "spec", "id", "schema"} <= {*dir(Mine)}
    assert "model_dump" not in dir(Mine)
    assert Mine.model_validate({"factor": 2.0}).factor == 2.0
