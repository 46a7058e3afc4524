"""The answer to an experiment's question in one sentence: the word, and the numbers that it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from made_up_outcomes import LINEAR, QUADRATIC, made_up, variant

from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.summary import Numbers, summary
from icl_curriculum.results.comparison.verdict import Verdict, best_of_all, lowest_in_words, verdict

Errors = Mapping[tuple[str, str], Sequence[float]]
TEACH = "Does a mixed curriculum teach one model both classes?"
LOW, LOWER = (0.10, 0.11, 0.12), (0.02, 0.03, 0.04)


def asked(question: str, found: Outcomes) -> Verdict:
    made = verdict(found, Numbers(summary(found)), question)
    assert made is not None
    return made


def mixed(linear: Sequence[float], quadratic: Sequence[float]) -> Outcomes:
    return made_up({"mixed": variant({LINEAR: linear, QUADRATIC: quadratic})})


def test_yes_where_every_interval_lies_below_the_threshold() -> None:
    made = asked(TEACH, mixed(LOWER, LOW))
    assert made.word == "Yes"
    assert made.sentence == (
        "after 100 steps, at 20 examples, the error of `mixed` is below 0.5 on both classes, from 0.030 (0.013–0.047) "
        "on linear to 0.110 (0.093–0.127) on quadratic (90% intervals over seeds; 1 is predicting zero)."
    )


def test_no_where_one_lies_above_it_and_it_is_named() -> None:
    made = asked(TEACH, mixed(LOWER, (0.8, 0.81, 0.82)))
    assert made.word == "No"
    assert "stays above 0.5 on quadratic, 0.810 (" in made.sentence
    assert "linear" not in made.sentence


def test_not_resolved_where_one_holds_it() -> None:
    made = asked(TEACH, mixed(LOWER, (0.2, 0.5, 0.7)))
    assert made.word == "Not resolved"
    assert "does not lie below 0.5 on quadratic, 0.467 (" in made.sentence
    assert "as it does on 1 of 2" in made.sentence


def test_one_seed_resolves_nothing() -> None:
    made = asked(TEACH, mixed([0.1], [0.2]))
    assert made.word == "Not resolved"
    assert made.sentence.startswith("one seed (0) says nothing on others; after 100 steps")
    assert "0.100 on linear to 0.200 on quadratic (1 is predicting zero)" in made.sentence


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("Does everything run?", "Not resolved"),
        ("Is drawing them at random as good?", "Not resolved"),
        ("Can it learn both classes?", "Yes"),
        ("Which curriculum learns which classes?", ""),
        ("What is left of each class?", ""),
        ("A statement on what is taught.", ""),
        ("", ""),
    ],
)
def test_the_word_is_for_questions_that_a_rule_decides(question: str, word: str) -> None:
    made = asked(question, mixed(LOWER, LOW))
    assert made.word == word
    assert "0.030 (0.013–0.047) on linear" in made.sentence


def compared(linear: Sequence[float], quadratic: Sequence[float]) -> Outcomes:
    return made_up(
        {
            "single_linear": variant({LINEAR: (0.20, 0.21, 0.22)}),
            "single_quadratic": variant({QUADRATIC: (0.60, 0.61, 0.62)}),
            "random": variant({LINEAR: (0.9, 0.9, 0.9), QUADRATIC: (0.9, 0.9, 0.9)}),
            "mixed": variant({LINEAR: linear, QUADRATIC: quadratic}),
        }
    )


ALONE = "Does a mixed curriculum end better than training on each class alone?"


def test_a_comparison_is_decided_class_by_class_against_training_alone() -> None:
    better, worse = (0.1, 0.11, 0.12), (0.7, 0.71, 0.72)
    yes = asked(ALONE, compared(better, (0.5, 0.51, 0.52)))
    assert yes.word == "Yes"
    assert "the error of `mixed` at the end is lower on linear by −0.100 (" in yes.sentence
    assert asked(ALONE, compared((0.3, 0.31, 0.32), worse)).word == "No"
    both = asked(ALONE, compared(better, worse))
    assert both.word == "Not resolved"
    assert "lower on linear" in both.sentence
    assert "higher on quadratic by 0.100 (" in both.sentence
    # The variant that the question names is judged, else the best of those trained on all.
    other = asked("Is random better than training on each alone?", compared(better, better))
    assert (other.word, "`random`" in other.sentence) == ("No", True)


def test_a_question_on_data_is_decided_at_equal_exposure() -> None:
    found = compared((0.1, 0.11, 0.12), (0.5, 0.51, 0.52))
    made = asked("Does a mixed curriculum need fewer prompts than training on each class alone?", found)
    assert "after as many prompts of it" in made.sentence


def test_nothing_to_compare_with_is_said() -> None:
    made = asked(ALONE, mixed(LOWER, LOW))
    assert made.word == "Not resolved"
    assert made.sentence.startswith("there is one variant, and nothing to compare it with; after 100 steps")


def test_of_several_variants_the_best_over_all_is_named_with_what_it_is_read_against() -> None:
    found = compared((0.3, 0.31, 0.32), (0.7, 0.71, 0.72))
    assert best_of_all(found, Numbers(summary(found))) == "mixed"
    made = asked("Which curriculum learns which classes?", found)
    assert made.sentence.startswith(
        "After 100 steps, at 20 examples, of the models trained on both classes, `mixed` ends lowest over them, at 0.5"
    )
    assert "next is `random` 0.900" in made.sentence
    assert "a model for each class alone has 0.4" in made.sentence
    assert ". " not in made.sentence
    (lowest,) = lowest_in_words(found, Numbers(summary(found)))
    assert lowest.startswith("The lowest error of each: `single_linear` on linear, 0.210 (")
    assert "; `single_quadratic` on quadratic, 0.610 (" in lowest
