"""Which variants are compared with each other: all of a few, and of many so that summary.csv grows as they do."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_outcomes import LINEAR, QUADRATIC, made_up, variant
from several_variants import trained
from tiny_runs import Icl

from icl_curriculum.results.comparison.answers import answers
from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.pairs import MOST_BRIEF, MOST_PAIRED, compared_with
from icl_curriculum.results.comparison.sheets import pairs
from icl_curriculum.results.comparison.summary import Numbers, summary, summary_rows, write_summary


def errors(number: int) -> list[float]:
    return list(np.round(0.02 * (number + 1) + np.random.default_rng(number).normal(0, 0.005, 3), 6))


def many(count: int, **more: Any) -> Outcomes:
    """One variant alone, one alone for fewer steps, and others that are trained on both classes."""
    mixed = {f"mixed_{i:02}": variant({LINEAR: errors(i), QUADRATIC: errors(i + 7)}) for i in range(count - 2)}
    alone = variant({LINEAR: errors(3)}, asked={QUADRATIC: errors(90)})
    brief = variant({LINEAR: errors(40)}, asked={QUADRATIC: errors(91)}, steps=25, prompts=1600.0)
    return dataclasses.replace(made_up({"alone": alone, "brief": brief, **mixed}), **more)


def lines(found: Outcomes, path: Path, **options: Any) -> list[str]:
    write_summary(path, summary_rows(found, **options))
    return path.read_text().splitlines()


def test_few_variants_are_all_compared(tmp_path: Path) -> None:
    found = many(MOST_PAIRED)
    assert {len(others) for others in compared_with(found, LINEAR).values()} == {MOST_PAIRED - 1}
    assert lines(found, tmp_path / "a") == lines(found, tmp_path / "b", all_pairs=True)


def test_rows_grow_as_variants_do() -> None:
    rows = [len(summary(many(count))) for count in (16, 18, 20)]
    assert rows[2] - rows[1] == rows[1] - rows[0]
    compared = [sum(map(len, compared_with(many(count), LINEAR).values())) for count in (20, 40)]
    # Each with the one that was trained alone, and with the one that was for fewer steps.
    assert compared == [38, 78]


def test_what_remains_are_rows_of_all_pairs_in_their_order(tmp_path: Path) -> None:
    found = many(16)
    some, whole = lines(found, tmp_path / "some"), lines(found, tmp_path / "all", all_pairs=True)
    left = iter(whole)
    assert all(line in left for line in some)
    assert len(some) < len(whole) / 3
    assert len({line.split(",")[2] for line in whole}) == 16 + 2


def test_sentences_and_sheets_find_all_their_numbers() -> None:
    found = many(16)
    some, whole = (Numbers(summary(found, against="mixed_05", all_pairs=every)) for every in (False, True))
    assert [answer.sentences for answer in answers(found, some)] == [
        answer.sentences for answer in answers(found, whole)
    ]
    assert "with about as many prompts of it" not in str(answers(found, some))
    for cell in found.cells:
        for reference in ("mixed_05", "alone" if cell == LINEAR else "mixed_05"):
            own = found.trained_on(cell)
            assert pairs(own, some, cell, reference) == pairs(own, whole, cell, reference)
    assert not np.isnan(some("error", "paired_difference", "mixed_07", QUADRATIC, "mixed_05").value)
    plain = Numbers(summary(found))
    assert np.isnan(plain("error", "paired_difference", "mixed_07", QUADRATIC, "mixed_05").value)


def test_many_variants_of_fewer_steps_do_not_make_many_pairs() -> None:
    schedules = {f"alone_{i:02}": variant({LINEAR: errors(i)}, steps=10 + i) for i in range(40)}
    found = made_up({**schedules, **{f"mixed_{i}": variant({LINEAR: errors(i)}, steps=10) for i in range(9)}})
    assert max(map(len, compared_with(found, LINEAR).values())) <= MOST_BRIEF + 1


def test_variants_of_the_same_name_in_several_experiments_are_compared() -> None:
    names = {f"{folder}/v{i:02}": f"v{i:02}" for folder in ("one", "two") for i in range(10)}
    found = made_up({name: variant({LINEAR: errors(i), QUADRATIC: errors(i)}) for i, name in enumerate(names)})
    chosen = compared_with(dataclasses.replace(found, own_names=names), LINEAR)
    assert chosen["two/v04"] == ["one/v00", "one/v04"]
    assert chosen["one/v04"] == ["one/v00", "two/v04"]
    assert sum(map(len, chosen.values())) == 2 * 1 + 18 * 2


def test_all_pairs_are_written_where_they_are_asked_for(
    tmp_path: Path, icl: Icl, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = trained(tmp_path)
    monkeypatch.setattr("icl_curriculum.results.comparison.pairs.MOST_PAIRED", 1)
    texts = []
    for options in ([], ["--all-pairs"]):
        code, printed, _ = icl("compare", several, *options)
        assert code == 0
        texts.append((printed, (several / "summary.csv").read_text()))
    (said, some), (said_again, whole) = texts
    assert said == said_again
    assert ",alone,mixed,quadratic," not in some
    assert ",alone,mixed,quadratic," in whole
    assert {*some.splitlines()} < {*whole.splitlines()}
