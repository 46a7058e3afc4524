"""Of many variants both ends are drawn and spoken of, what they are compared with, and what was asked for by name."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

import pytest
from matplotlib.figure import Figure
from outcomes_to_draw import LINEAR, QUADRATIC, make_outcomes

from icl_curriculum import figures
from icl_curriculum.results.comparison.answers import answers
from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.shown import MOST_SHOWN, OF_EITHER_END, shown_of_all, shown_variants
from icl_curriculum.results.comparison.summary import Numbers, summary


def many(count: int, **more: Sequence[str]) -> Outcomes:
    """Variants whose errors rise with their number, after one that was trained on one class alone, in the middle."""
    names = [f"v{i:02}" for i in range(count - 1)]
    factors = {name: 0.5 + 0.05 * i for i, name in enumerate(names)} | {"alone": 1.5}
    both = {LINEAR: (0.0, 400.0), QUADRATIC: (0.0, 400.0)}
    found = make_outcomes({"alone": {LINEAR: (0, 400)}, **dict.fromkeys(names, both)}, (0.1, 0.11), factors=factors)
    return dataclasses.replace(found, **more)


ENDS = [f"v{i:02}" for i in (*range(10), *range(29, 39))]


def test_up_to_thirty_are_all_shown() -> None:
    found = many(MOST_SHOWN)
    assert len(shown_variants(found, LINEAR)) == MOST_SHOWN
    assert len(shown_of_all(found)) == MOST_SHOWN


def test_of_more_both_ends_and_what_they_are_compared_with() -> None:
    assert len(ENDS) == 2 * OF_EITHER_END
    assert shown_variants(many(40), LINEAR) == ["alone", *ENDS]
    # The first of the others is what these are compared with.
    assert shown_variants(many(40), QUADRATIC) == ENDS
    assert shown_variants(many(40, named=("v20",)), QUADRATIC) == sorted([*ENDS, "v20"])


def written(figure: Figure) -> str:
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


@pytest.mark.parametrize("draw", [figures.errors_by_seed, figures.errors_under_shifts, figures.error_by_exposure])
def test_figures_draw_these_alone_and_say_so(draw: Callable[..., Figure]) -> None:
    figure = draw(many(40), cells=[LINEAR])
    gids = {str(line.get_gid()).split(" ")[0] for axes in figure.axes for line in axes.get_lines()}
    assert {gid for gid in gids if re.fullmatch(r"v\d\d|alone", gid)} == {"alone", *ENDS}
    assert "Chosen: 21 of 40 variants, those with the 10 lowest and the 10 highest errors" in written(figure)
    assert figure.get_figheight() < 12
    whole = draw(many(20), cells=[LINEAR])
    assert "Chosen" not in written(whole)


def test_the_table_of_trained_and_asked_draws_both_ends() -> None:
    text = written(figures.trained_by_asked(many(40)))
    assert "21 of 40 variants" in text


def test_sentences_name_both_ends_and_how_many_are_between() -> None:
    found = many(40)
    said = {answer.heading: answer.sentences for answer in answers(found, Numbers(summary(found)))}
    assert "19 more between, `v29`" in said["linear"][0]
    assert "`v20`" not in said["linear"][0]
    few = many(20)
    said = {answer.heading: answer.sentences for answer in answers(few, Numbers(summary(few)))}
    assert "more between" not in str(said["linear"])
