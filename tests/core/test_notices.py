"""What could not be shown: said as a warning, while mistakes of the user and of the system pass unchanged."""

from __future__ import annotations

import pytest

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.notices import NotShown, said_if_not_shown


def test_what_goes_wrong_is_warned_of_and_the_rest_goes_on() -> None:
    with pytest.warns(NotShown) as caught, said_if_not_shown("the figure a"):
        raise KeyError("b")
    (notice,) = (warning.message for warning in caught)
    assert isinstance(notice, NotShown)
    assert str(notice) == "the figure a could not be drawn: KeyError: 'b'"
    assert "Traceback" in notice.details
    assert str(notice.of("linear")) == "the figure a of linear could not be drawn: KeyError: 'b'"


@pytest.mark.parametrize("error", [UserError("evaluation.csv is damaged"), OSError(28, "No space left on device")])
def test_what_the_user_is_to_mend_is_raised(error: Exception) -> None:
    with pytest.raises(type(error), match=r"damaged|No space"), said_if_not_shown("the figure a"):
        raise error


def test_a_notice_may_be_collected_instead() -> None:
    missed: list[NotShown] = []
    with said_if_not_shown("a table", "shown", missed=missed.append):
        raise ZeroDivisionError
    assert [str(notice) for notice in missed] == ["a table could not be shown: ZeroDivisionError"]
