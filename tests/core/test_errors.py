"""Errors have fields, and a message that is made of them."""

from __future__ import annotations

import doctest
import pickle

import pytest

from icl_curriculum.core import errors
from icl_curriculum.core.errors import RunFailed, UserError, closest_and_known


def test_the_examples_of_the_docstrings() -> None:
    assert doctest.testmod(errors).failed == 0


@pytest.mark.parametrize(
    "error",
    [UserError("so", key="model.width", subject="mine", way_out="set model.width = 8"), RunFailed("so", run="a-seed0")],
    ids=lambda error: type(error).__name__,
)
def test_fields_survive_the_way_to_another_process(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), vars(copy)) == (str(error), vars(error))


def test_the_closest_name_and_all_there_are() -> None:
    assert closest_and_known("rigde", ["ridge", "lasso"]) == "; did you mean 'ridge'? known: lasso, ridge"
    assert closest_and_known("x", ["ridge", "lasso"]) == "; known: lasso, ridge"
