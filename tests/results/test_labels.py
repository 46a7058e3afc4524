"""The examples in docstrings of what words and numbers are made by."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from icl_curriculum.figures import names
from icl_curriculum.results import labels
from icl_curriculum.results.comparison import wording


@pytest.mark.parametrize("module", [labels, names, wording], ids=lambda module: module.__name__)
def test_examples_in_docstrings_hold(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted >= 1
    assert result.failed == 0


@pytest.mark.parametrize(("function", "name"), [(labels.pretty, "a$b"), (labels.shift_label, "x$y")])
def test_only_figures_escape_what_would_start_a_formula(function, name: str) -> None:  # type: ignore[no-untyped-def]
    assert "\\$" not in function(name)
    assert "\\$" in getattr(names, function.__name__)(name)
