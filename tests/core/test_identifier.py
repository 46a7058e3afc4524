"""Identifiers taken apart and written again."""

from __future__ import annotations

import doctest

import pytest

from icl_curriculum.core import identifiers
from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.core.registry import KINDS


def test_examples_in_docstrings_hold() -> None:
    result = doctest.testmod(identifiers)
    assert result.attempted >= 5
    assert result.failed == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_component_is_called_by_its_name_first(kind: str) -> None:
    for name in KINDS[kind].names():
        assert Identifier.parse(KINDS[kind].build(name).id).name == name


@pytest.mark.parametrize("text", ["", "a", "a/", "//b", "a/=b", "a/b=", "a=b/c", "a/b=c=d/e", "hermite/3/of=x/y=1"])
def test_any_text_is_written_again_as_it_was(text: str) -> None:
    assert str(Identifier.parse(text)) == text


def test_a_part_is_split_at_its_first_equals_sign_and_the_name_never() -> None:
    parsed = Identifier.parse("my=class/2/key=a=b")
    assert parsed.name == "my=class"
    assert parsed.values == ("2",)
    assert parsed.settings == {"key": "a=b"}
