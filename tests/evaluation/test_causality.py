"""Whether a learner leaks is told from its answers: each kind of peeping is named, and honest learners pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from icl_curriculum.baselines import Baseline
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import BASELINES, FUNCTION_CLASSES
from icl_curriculum.core.streams import Streams
from icl_curriculum.evaluation.causality import Leak, Unanswered, Unrepeatable, first_leak
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.shifts import reference_task

POINTS = 7


def _prompts(name: str = "linear", n: int = 2) -> tuple[Prompts, Prompts]:
    built = FUNCTION_CLASSES.build(name)
    assert isinstance(built, FunctionClass)
    task = reference_task(built)
    first, second = (task.draw(n, POINTS, Streams(0, "causality", index)) for index in (0, 1))
    return first, second


def _mean_label(prompts: Prompts) -> Tensor:
    """An honest learner: the mean of the labels before each entry, times the sum of the query."""
    counts = torch.arange(prompts.points).clamp(min=1)
    earlier = torch.cat([torch.zeros_like(prompts.ys[:, :1]), prompts.ys.cumsum(1)[:, :-1]], dim=1)
    answers: Tensor = earlier / counts * prompts.query().sum(-1)
    return answers


def _own_label_from(first: int) -> Callable[[Prompts], Tensor]:
    def predict(prompts: Prompts) -> Tensor:
        answers = _mean_label(prompts).clone()
        answers[:, first:] += 0.01 * prompts.ys[:, first:]
        return answers

    return predict


def _last_label(prompts: Prompts) -> Tensor:
    return _mean_label(prompts) + prompts.ys[:, -1:]


def _next_input(prompts: Prompts) -> Tensor:
    answers = _mean_label(prompts).clone()
    answers[:, 4] += prompts.xs[:, 5, 0]
    return answers


def _targets(prompts: Prompts) -> Tensor:
    return prompts.targets


def _batch(prompts: Prompts) -> Tensor:
    return _mean_label(prompts) + prompts.ys.mean(0)


def _no_queries(prompts: Prompts) -> Tensor:
    return _mean_label(replace(prompts, queries=None))


def _other_queries(prompts: Prompts) -> Tensor:
    return _mean_label(prompts) + (0 if prompts.queries is None else prompts.queries.mean((1, 2)).unsqueeze(1))


def _first_query(prompts: Prompts) -> Tensor:
    return _mean_label(prompts) + prompts.query()[:, :1, 0]


def _next_pair_of_queries(prompts: Prompts) -> Tensor:
    """Honest for plain prompts; with separate queries it reads the pair whose input the plain query would be."""
    return _mean_label(prompts) + (0 if prompts.queries is None else prompts.ys)


LEAKS: dict[str, tuple[Callable[[Prompts], Tensor], int, str]] = {
    "its own label at every entry": (_own_label_from(0), 0, "when its own label changes"),
    "its own label from entry 5 on": (_own_label_from(5), 5, "when its own label changes"),
    "the last label of the prompt": (_last_label, 0, "when later pairs change"),
    "the input of the pair after it": (_next_input, 4, "when later pairs change"),
    "the labels of other prompts": (_batch, 0, "with the other prompts of the batch"),
    "queries that are ignored": (_no_queries, 1, "where query 1 is asked separately"),
    "the queries of other entries": (_other_queries, 0, "where query 0 is asked separately"),
    "the query of entry 0": (_first_query, 1, "where query 1 is asked separately"),
    "its own label with queries alone": (_next_pair_of_queries, 0, "where query 0 is asked separately"),
}


@pytest.mark.parametrize("case", LEAKS)
def test_a_learner_that_leaks_is_found_at_the_first_entry_that_does(case: str) -> None:
    predict, entry, cause = LEAKS[case]
    leak = first_leak(predict, *_prompts())
    assert leak is not None
    assert (leak.entry, cause in leak.cause) == (entry, True), str(leak)


def test_the_sentence_says_what_was_found_and_what_was_expected() -> None:
    assert str(Leak(1, "when its own label changes", 0.25)) == (
        "entry 1 changes by 0.25 of the size of answers and labels when its own label changes; expected an answer that "
        "follows from the first 1 pair and query 1 alone"
    )


@pytest.mark.parametrize("name", ["linear", "linear_classification", "quadratic", "parity"])
def test_honest_learners_pass_on_classes_of_every_kind(name: str) -> None:
    for predict in (_mean_label, *(_built(baseline).predict for baseline in ("least_squares", "knn", "ridge"))):
        assert first_leak(predict, *_prompts(name)) is None


def test_a_costly_learner_is_asked_at_the_lengths_given_alone() -> None:
    asked: list[Tensor] = []

    def predict(prompts: Prompts) -> Tensor:
        assert prompts.mask is not None
        asked.append(prompts.mask.any(0))
        return torch.where(prompts.mask, _mean_label(prompts), torch.nan)

    assert first_leak(predict, *_prompts(), lengths=(2, 5, 40)) is None
    assert {tuple(each.nonzero().flatten().tolist()) for each in asked} == {(2, 5)}

    def peeping(prompts: Prompts) -> Tensor:
        return predict(prompts) + prompts.ys

    leak = first_leak(peeping, *_prompts(), lengths=(2, 5, 40))
    assert leak is not None
    assert leak.entry == 2


def test_of_answers_that_do_not_repeat_nothing_is_told() -> None:
    made = torch.Generator().manual_seed(0)
    with pytest.raises(Unrepeatable, match="answers to equal prompts that differ"):
        first_leak(lambda prompts: torch.randn(prompts.ys.shape, generator=made), *_prompts())


def test_targets_are_no_numbers_and_a_learner_that_says_them_answers_nothing() -> None:
    with pytest.raises(Unanswered, match="no answer that is a finite number"):
        first_leak(_targets, *_prompts())


def test_a_learner_that_takes_no_separate_queries_is_not_asked_any() -> None:
    assert first_leak(_no_queries, *_prompts(), queries=False) is None


def _built(name: str) -> Baseline:
    made = BASELINES.build(name)
    assert isinstance(made, Baseline)
    return made
