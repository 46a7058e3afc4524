"""Which entries of a prompt count, and batches that are joined."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers import draw, task_of

from icl_curriculum.core.prompts import Prompts, concatenate
from icl_curriculum.models.calling import prompt_errors


def plain() -> Prompts:
    return draw(task_of("linear", dims=3), 3, 4)


def test_what_counts_is_what_is_defined_in_equal_parts() -> None:
    prompts = plain()
    assert prompts.counted() is None
    assert torch.equal(prompts.entry_weights(), torch.full((3, 4), 0.25))
    mask = torch.tensor([[True, True, False, False], [False] * 4, [True] * 4])
    weights = replace(prompts, mask=mask).entry_weights()
    assert torch.equal(weights, torch.tensor([[0.5, 0.5, 0, 0], [0.0] * 4, [0.25] * 4]))


def test_weights_of_entries_are_shared_among_those_that_are_defined() -> None:
    given = torch.tensor([[0.0, 0.0, 0.25, 0.75]] * 3)
    mask = torch.tensor([[True, True, True, False]] * 3)
    prompts = replace(plain(), mask=mask, loss_weights=given)
    assert torch.equal(prompts.entry_weights(), torch.tensor([[0.0, 0, 1, 0]] * 3))
    assert torch.equal(replace(plain(), loss_weights=given).entry_weights(), given)
    assert torch.allclose(prompts.first_points(3).entry_weights(), torch.tensor([[0.0, 0, 1]] * 3))


def test_joined_batches_keep_their_masks_and_weights() -> None:
    one, mask = plain(), torch.tensor([[True, False, True, True]] * 3)
    masked = replace(one, mask=mask)
    weighed = replace(one, loss_weights=torch.tensor([[0.0, 0, 0, 1]] * 3))
    joined = concatenate([one, masked, weighed])
    assert joined.mask is not None
    assert torch.equal(joined.mask, torch.cat([torch.ones(3, 4, dtype=torch.bool), mask, torch.ones(3, 4) > 0]))
    assert torch.equal(joined.entry_weights(), torch.cat([item.entry_weights() for item in (one, masked, weighed)]))
    assert concatenate([one, one]).counted() is None


def test_batches_that_cannot_be_joined_are_refused() -> None:
    one = plain()
    with pytest.raises(ValueError, match="only prompts without separate queries can be concatenated"):
        concatenate([one, replace(one, queries=one.xs)])
    with pytest.raises(ValueError, match="classes cannot be concatenated with prompts of other labels"):
        concatenate([one, replace(one, classes=True)])


def test_errors_of_prompts_honour_what_counts_and_have_no_part_of_what_does_not() -> None:
    mask = torch.tensor([[True, True, False, True]] * 3)
    prompts = replace(plain(), mask=mask)
    prompts = replace(prompts, targets=torch.where(mask, prompts.targets, torch.nan))
    predictions = torch.randn(3, 4, requires_grad=True)
    errors = prompt_errors(predictions, prompts)
    expected = (predictions - prompts.targets)[:, [0, 1, 3]].square().mean(1)
    assert torch.allclose(errors, expected)
    errors.sum().backward()  # type: ignore[no-untyped-call]
    assert predictions.grad is not None
    assert predictions.grad.isfinite().all()
    assert (predictions.grad[:, 2] == 0).all()


def test_errors_of_vectors_are_summed_and_those_of_classes_are_cross_entropies() -> None:
    vectors = draw(task_of({"name": "linear_map", "label_dims": 3}, dims=3), 4, 5)
    predictions = torch.randn(4, 5, 3)
    assert torch.allclose(prompt_errors(predictions, vectors), (predictions - vectors.targets).square().sum(-1).mean(1))
    classes = draw(task_of({"name": "multiclass_linear", "n_classes": 3}, dims=3), 4, 5)
    index = classes.targets.argmax(-1)
    expected = torch.nn.functional.cross_entropy(predictions.flatten(0, 1), index.flatten(), reduction="none")
    assert torch.allclose(prompt_errors(predictions, classes), expected.view(4, 5).mean(1), atol=1e-6)
    with pytest.raises(
        ValueError, match=r"predictions have shape \(4, 5\), expected \(4, 5, 3\) \(prompts, points, num"
    ):
        prompt_errors(predictions[..., 0], classes)
