"""The `Prompts` batch: cutting it keeps everything aligned."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from beartype.roar import BeartypeCallHintParamViolation, BeartypeCallHintReturnViolation
from helpers import baseline_of, class_of, draw, same, shift_of, task_of

from icl_curriculum.core.prompts import Learner, Prompts, concatenate
from icl_curriculum.core.registry import BASELINES
from icl_curriculum.core.streams import Streams


def with_queries(n: int = 6, points: int = 8) -> Prompts:
    """Prompts with separate queries, a mask, an instruction and noisy labels."""
    prompts = shift_of("random_quadrants").draw(task_of("sparse_linear", label_noise=0.5), n, points, Streams(0, "t"))
    mask = torch.arange(n * points).view(n, points) % 3 > 0
    return replace(prompts, mask=mask, instruction=torch.arange(n))


def test_sizes() -> None:
    prompts = with_queries(6, 8)
    assert (len(prompts), prompts.points, prompts.dims) == (6, 8, 5)


def test_rows_keep_their_functions() -> None:
    prompts = with_queries()
    part = prompts[2:5]
    assert len(part) == 3
    assert part.truth is not None
    assert part.queries is not None
    assert class_of("sparse_linear").evaluate(dict(part.truth), part.queries).equal(part.targets)
    assert part.xs.equal(prompts.xs[2:5])
    assert part.ys.equal(prompts.ys[2:5])
    assert part.mask is not None
    assert prompts.mask is not None
    assert part.mask.equal(prompts.mask[2:5])
    assert part.instruction is not None
    assert part.instruction.tolist() == [2, 3, 4]
    assert (part.function_class, part.label_noise) == (prompts.function_class, prompts.label_noise)


def test_first_points_cuts_every_axis_of_points_and_keeps_the_functions() -> None:
    prompts = with_queries()
    cut = prompts.first_points(3)
    assert cut.truth is not None
    assert cut.queries is not None
    assert cut.mask is not None
    assert cut.xs.shape == cut.queries.shape == (6, 3, 5)
    assert cut.ys.shape == cut.targets.shape == cut.mask.shape == (6, 3)
    assert class_of("sparse_linear").evaluate(dict(cut.truth), cut.queries).equal(cut.targets)
    assert cut.ys.equal(prompts.ys[:, :3])


@pytest.mark.parametrize("k", [0, 1, 4, 7])
def test_at_prefix_asks_the_question_of_k_as_a_plain_prompt(k: int) -> None:
    prompts = with_queries()
    question = prompts.at_prefix(k)
    assert prompts.queries is not None
    assert question.queries is None
    assert question.points == k + 1
    assert question.xs[:, :k].equal(prompts.xs[:, :k])
    assert question.xs[:, k].equal(prompts.queries[:, k])
    assert question.targets[:, k].equal(prompts.targets[:, k])
    learner = baseline_of("least_squares")
    torch.testing.assert_close(learner.predict(question)[:, k], learner.predict(prompts)[:, k])


@pytest.mark.parametrize("shift", ["opposite_quadrants", "orthogonal_queries", "overlapping_queries"])
def test_rows_prefixes_and_cuts_of_shifted_prompts(shift: str) -> None:
    """With a mask that is one row for all prompts."""
    prompts = shift_of(shift).draw(task_of("linear"), 6, 8, Streams(0, "t"))
    cut = prompts[1:3].first_points(4)
    assert (len(cut), cut.points) == (2, 4)
    assert cut.query().equal(prompts.query()[1:3, :4])
    assert (cut.mask is None) == (prompts.mask is None)
    if cut.mask is not None and prompts.mask is not None:
        assert cut.mask.equal(prompts.mask[1:3, :4])
        moved = replace(prompts, mask=prompts.mask.clone())
        assert moved.mask is not None
        assert moved.mask.equal(prompts.mask)
    for k in (1, 3):
        question = prompts.at_prefix(k)
        assert question.xs[:, k].equal(prompts.query()[:, k])
        learner = baseline_of("least_squares")
        torch.testing.assert_close(
            learner.predict(question)[:, k], learner.predict(prompts)[:, k], rtol=1e-4, atol=1e-6
        )


def test_at_prefix_of_plain_prompts_is_their_beginning() -> None:
    prompts = draw(task_of("linear"), 4, 6)
    assert same(prompts.at_prefix(3), prompts.first_points(4), "xs", "ys", "targets")


def test_query_is_the_next_input_unless_given() -> None:
    plain, separate = draw(task_of("linear"), 4, 6), with_queries()
    assert plain.query().equal(plain.xs)
    assert separate.queries is not None
    assert separate.query().equal(separate.queries)
    assert not separate.query().equal(separate.xs)


def test_without_truth_hides_the_functions_and_nothing_else() -> None:
    prompts = with_queries()
    hidden = prompts.without_truth()
    assert hidden.truth is None
    assert same(hidden, prompts, "xs", "ys", "targets", "queries", "mask")
    assert prompts.truth is not None


def test_a_learner_is_shown_neither_the_functions_nor_the_targets() -> None:
    prompts = with_queries()
    shown = prompts.without_answers()
    assert shown.truth is None
    assert shown.targets.isnan().all()
    assert shown.targets.shape == prompts.targets.shape
    assert same(shown, prompts, "xs", "ys", "queries", "mask")


def test_a_copy_has_tensors_of_its_own_and_what_was_changed_is_named() -> None:
    prompts = with_queries()
    copied = prompts.copy()
    assert copied.unlike(prompts) is None
    copied.ys[0, 2] += 1
    assert copied.unlike(prompts) == "ys"


def test_concatenate_keeps_the_order() -> None:
    one, other = draw(task_of("linear"), 2, 6), draw(task_of("quadratic"), 3, 6)
    joined = concatenate([one, other])
    assert len(joined) == 5
    assert same(joined[:2], one, "xs", "ys", "targets")
    assert same(joined[2:], other, "xs", "ys", "targets")


# The import hook that conftest.py installs


@pytest.mark.parametrize("wrong", ["ys", "queries", "mask"])
def test_shapes_of_arguments_are_checked(wrong: str) -> None:
    tensors = {"xs": torch.zeros(2, 3, 4), "ys": torch.zeros(2, 3), "targets": torch.zeros(2, 3)}
    Prompts(**tensors)
    with pytest.raises(BeartypeCallHintParamViolation, match=f"parameter {wrong}="):
        Prompts(**{**tensors, wrong: torch.zeros(2, 5)})


def test_shapes_of_results_are_checked() -> None:
    """Where a method computes something of another shape than it states."""
    prompts = draw(task_of("linear"), 2, 3)
    object.__setattr__(prompts, "xs", prompts.xs[0])
    with pytest.raises(BeartypeCallHintReturnViolation, match="2 dimensions, not the 3 expected"):
        prompts.query()


@pytest.mark.parametrize("name", BASELINES.names())
def test_baselines_are_learners(name: str) -> None:
    assert isinstance(baseline_of(name), Learner)
