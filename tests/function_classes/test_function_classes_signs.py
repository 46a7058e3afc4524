"""Linear classification, parities and decision trees: values by a plain walk through the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import Spec, assert_mean, class_of, draw, reference_task, task_of
from pydantic import ValidationError
from scipy.stats import chisquare

from icl_curriculum.core.errors import UserError
from icl_curriculum.function_classes import OutsideDomain


def sampled(spec: Spec, n: int, dims: int) -> dict[str, torch.Tensor]:
    return class_of(spec).sample(n, dims, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["linear_classification", "parity"])
def test_values_are_signs_of_either_kind(name: str) -> None:
    task = reference_task(name)
    targets = draw(task, 4000, 1).targets[:, 0]
    assert set(torch.unique(targets).tolist()) == {-1.0, 1.0}
    assert_mean(targets, 0)
    assert task.function_class.sign_valued
    with pytest.raises(ValidationError, match=r"less than or equal to 0\.5"):
        class_of({"name": name, "label_noise": 0.6})


def test_a_classification_is_the_sign_of_the_linear_function_of_its_weights() -> None:
    prompts = draw(task_of("linear_classification", "skewed"), 50, 9)
    assert prompts.truth is not None
    expected = np.sign(np.einsum("npd,nd->np", prompts.xs.numpy(), prompts.truth["w"].numpy()))
    np.testing.assert_array_equal(prompts.targets.numpy(), expected)
    assert_mean(sampled("linear_classification", 5000, 4)["w"].square(), [1.0] * 4)


def test_a_classification_on_the_border_is_1() -> None:
    chosen = class_of("linear_classification")
    assert chosen.evaluate(sampled("linear_classification", 3, 4), torch.zeros(3, 2, 4)).tolist() == [[1.0, 1.0]] * 3


# Parities


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_a_parity_is_the_product_over_its_subset(size: int) -> None:
    prompts = draw(reference_task({"name": "parity", "size": size}, dims=6), 40, 7)
    assert prompts.truth is not None
    for i in range(40):
        subset = prompts.truth["subset"][i].tolist()
        assert len(set(subset)) == size
        for p in range(7):
            assert prompts.targets[i, p] == math.prod(float(prompts.xs[i, p, j]) for j in subset)


def test_subsets_are_uniform_and_fresh_for_every_function() -> None:
    subsets = sampled("parity", 6000, 5)["subset"].sort(dim=1).values.numpy()
    codes, counts = np.unique(subsets @ [1, 10], return_counts=True)
    assert len(codes) == math.comb(5, 2)
    assert chisquare(counts).pvalue > 6e-7
    assert_mean((subsets[1:] == subsets[:-1]).all(axis=1), 1 / math.comb(5, 2))


@pytest.mark.parametrize("x", [0.0, 0.5, -1.0001, math.nan])
def test_a_parity_refuses_what_is_no_sign(x: float) -> None:
    prompts = draw(reference_task("parity"), 2, 3)
    xs = prompts.xs.clone()
    xs[1, 2, 4] = x
    assert prompts.truth is not None
    with pytest.raises(OutsideDomain, match="parity: expected inputs of -1 and 1, found "):
        class_of("parity").evaluate(dict(prompts.truth), xs)
    message = r'^parity: expected inputs of -1 and 1, found gaussian; set inputs = \["rademacher"\]$'
    with pytest.raises(UserError, match=message):
        task_of("parity", "gaussian").check()


def test_a_parity_of_more_coordinates_than_there_are_is_a_clear_error() -> None:
    spec = {"name": "parity", "size": 6}
    for raising in (lambda: sampled(spec, 3, 5), lambda: reference_task(spec).check()):
        with pytest.raises(UserError, match=r"^parity: size 6 exceeds the number of dimensions 5$"):
            raising()
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        class_of({"name": "parity", "size": 0})


# Decision trees


@pytest.mark.parametrize("depth", [1, 2, 4, 7])
def test_a_tree_is_walked_down_as_it_is_drawn(depth: int) -> None:
    prompts = draw(reference_task({"name": "decision_tree", "depth": depth}), 20, 15)
    assert prompts.truth is not None
    asked, leaves = prompts.truth["coordinates"].tolist(), prompts.truth["leaves"]
    assert len(asked[0]) == 2**depth - 1
    assert leaves.shape == (20, 2**depth)
    for i in range(20):
        for p in range(15):
            node = 0
            while node < len(asked[i]):
                node = 2 * node + (2 if prompts.xs[i, p, asked[i][node]] > 0 else 1)
            assert prompts.targets[i, p] == leaves[i, node - len(asked[i])]


def test_every_leaf_of_a_tree_can_be_reached_and_left_of_the_threshold_is_0() -> None:
    """Three nodes asking three coordinates: the eight corners reach the leaves in order, zeros as if negative."""
    parameters = {"coordinates": torch.tensor([[0, 1, 2]]), "leaves": torch.tensor([[10.0, 11.0, 12.0, 13.0]])}
    xs = torch.tensor([[[-1.0, -1, 5], [-1, 1, 5], [1, 5, -1], [1, 5, 1], [0, 0, 5]]])
    assert class_of({"name": "decision_tree", "depth": 2}).evaluate(parameters, xs).tolist() == [[10, 11, 12, 13, 10]]


def test_trees_ask_uniform_coordinates_and_have_normal_leaves() -> None:
    parameters = sampled("decision_tree", 1000, 5)
    counts = np.bincount(parameters["coordinates"].flatten().numpy(), minlength=5)
    assert chisquare(counts).pvalue > 6e-7
    assert_mean(parameters["leaves"], [0.0] * 16)
    assert_mean(parameters["leaves"].square(), [1.0] * 16)
    assert_mean((parameters["coordinates"][1:] == parameters["coordinates"][:-1]).double(), [0.2] * 15)


@pytest.mark.parametrize("depth", [0, 17])
def test_a_depth_out_of_range_is_an_error(depth: int) -> None:
    with pytest.raises(ValidationError, match="depth"):
        class_of({"name": "decision_tree", "depth": depth})
