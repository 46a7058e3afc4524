"""The baseline `mlp_gd`, against a network of torch.nn trained by torch.optim, one for each prompt and length."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers import baseline_of, draw, task_of
from torch import Tensor, nn

from icl_curriculum.baselines.networks import _Networks
from icl_curriculum.core.prompts import Prompts

SPEC = {"name": "mlp_gd", "hidden": 7, "steps": 5, "learning_rate": 0.02}


def trained_by_torch(prompts: Prompts, i: int, k: int) -> Tensor:
    """What such a network says, from the same initial weights."""
    start = _Networks(1, prompts.dims, 7, torch.device("cpu"))
    w, b, v, c = start._parts(start.flat)
    network = nn.Sequential(nn.Linear(prompts.dims, 7), nn.ReLU(), nn.Linear(7, 1)).double()
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), (w[0].T, b[0], v, c[0]), strict=True):
            parameter.copy_(value)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    xs, ys = prompts.xs[i, :k].double(), prompts.ys[i, :k].double()
    for _ in range(5):
        optimizer.zero_grad()
        (network(xs).squeeze(-1) - ys).square().mean().backward()
        optimizer.step()
    return network(prompts.query()[i, k : k + 1].double()).squeeze().detach()


def test_it_is_adam_on_the_examples() -> None:
    prompts = draw(task_of("relu_network", dims=3, label_noise=0.3), 3, 6)
    found = baseline_of(SPEC).predict(prompts)
    assert not found[:, 0].any()
    for i in range(3):
        for k in range(1, 6):
            assert float(found[i, k]) == pytest.approx(float(trained_by_torch(prompts, i, k)), rel=1e-9)


def test_it_answers_queries_of_their_own_at_the_lengths_asked_for() -> None:
    prompts = draw(task_of("relu_network", dims=3), 3, 6)
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[:, 4] = True
    asked = replace(prompts, queries=prompts.xs.flip(1), mask=mask)
    found = baseline_of(SPEC).predict(asked)
    assert float(found[1, 4]) == pytest.approx(float(trained_by_torch(asked, 1, 4)), rel=1e-9)
    assert not found[:, [1, 2, 3, 5]].any()


def test_it_starts_like_a_network_of_torch() -> None:
    start = _Networks(1, 50, 400, torch.device("cpu"))
    for part, fan_in in zip(start._parts(start.flat), (50, 50, 400, 400), strict=True):
        assert float(part.abs().max()) <= fan_in**-0.5
    assert float(start._parts(start.flat)[0].std()) == pytest.approx(50**-0.5 / 3**0.5, rel=0.02)


def test_it_learns_a_network() -> None:
    """Half of what predicting zero gives, at four examples a dimension; Garg et al. have .17 at five, d = 20."""
    prompts = draw(task_of("relu_network", dims=5), 32, 21)
    mask = torch.zeros(32, 21, dtype=torch.bool)
    mask[:, 20] = True
    found = baseline_of("mlp_gd").predict(replace(prompts, mask=mask))
    assert float((found - prompts.targets)[:, 20].square().mean()) / 5 < 0.25
