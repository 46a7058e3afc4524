"""The conformity check of observations, and of classes that show or ask something of their own: one broken for each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from testing_classes import failures, finding_of, result_of

from icl_curriculum.function_classes import Linear, Quadratic
from icl_curriculum.observations import ALL_KINDS, OF_NUMBERS, MissingFeatures, Observation, Outliers, Pairs

pytestmark = pytest.mark.usefixtures("fewer_prompts")


@pytest.mark.parametrize("observation", [Outliers(share=1.0), MissingFeatures(indicator="left_out")])
def test_right_observations_keep_the_contract(observation: Any) -> None:
    assert failures(observation, "observations") == {}


def having(**members: Any) -> type[Observation]:
    return type("Broken", (Observation,), {"__doc__": "Broken.", "__module__": __name__, "show": noisy, **members})


def noisy(self: Any, pairs: Pairs, generator: Any) -> Pairs:
    noise = torch.randn(pairs.ys.shape, generator=generator, device=generator.device)
    return replace(pairs, ys=pairs.ys + 0.5 * pairs.size * noise)


def showing(change: Any, **members: Any) -> type[Observation]:
    """An observation of numbers alone that shows ``change(pairs, generator)``."""
    own = {"kinds": frozenset({"numbers"}), **members}
    return having(show=lambda self, pairs, generator: change(pairs, generator), **own)


def adding(noise: Any) -> type[Observation]:
    return showing(lambda pairs, generator: replace(pairs, ys=pairs.ys + noise(pairs, generator)))


def in_place(pairs: Pairs, generator: Any) -> Pairs:
    pairs.ys.add_(1.0)
    return pairs


BROKEN: list[tuple[type[Observation], str, str]] = [
    (having(kinds={"numbers"}), "kinds", "frozenset"),
    (having(kinds=OF_NUMBERS, baselines=("ridges",)), "kinds", "did you mean 'ridge'?"),
    (having(kinds=OF_NUMBERS, shown_dims=lambda self, dims: dims / 2), "shown dims", "0.5"),
    (having(kinds=ALL_KINDS), "show", "no signs"),
    (showing(lambda pairs, _: pairs.ys), "show", "a Tensor"),
    (showing(lambda pairs, _: replace(pairs, xs=pairs.xs.repeat(1, 1, 2))), "show", "shape"),
    (showing(lambda pairs, _: replace(pairs, ys=pairs.ys.flip(1))), "show", "the labels before entry"),
    (adding(lambda pairs, _: torch.randn(pairs.ys.shape)), "show", "torch"),
    (showing(in_place), "purity", "it changed ys in place"),
    (adding(lambda pairs, made: torch.ones(pairs.ys.shape)), "device", "add meets tensors on"),
    (showing(lambda pairs, _: pairs), "change", "it changes nothing"),
    (having(kinds=OF_NUMBERS, noise_variance=property(lambda self: 1.0)), "noise variance", "1, which is too large"),
    (having(kinds=OF_NUMBERS, noise_variance=property(lambda self: -1.0)), "noise variance", "-1.0"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("broken", "rule", "found"), BROKEN, ids=[f"{rule}-{i}" for i, (_, rule, _) in enumerate(BROKEN)]
)
def test_each_rule_finds_what_breaks_it(broken: type[Observation], rule: str, found: str) -> None:
    finding = finding_of(broken, rule)
    assert found in finding.found or found in finding.expected, finding


def test_what_changes_nothing_of_some_labels_is_noted() -> None:
    only = showing(
        lambda pairs, _: replace(pairs, ys=pairs.ys + (1.0 if pairs.ys.ndim == 3 else 0.0)), kinds=OF_NUMBERS
    )
    assert result_of(only, "change").note == "it changes nothing for numbers, d = 1; numbers, d = 4"


class Slopes(Quadratic):
    """f(x) = sum_j w_j x_j^2 / sqrt(3); asked is half its slope along (1, ..., 1)."""

    def ask(self, parameters: Any, queries: Any) -> Any:
        return torch.einsum("npd,nd->np", queries, parameters["w"]) / 3**0.5


class Drawing(Linear):
    """f(x) = w·x; asked is a draw."""

    def ask(self, parameters: Any, queries: Any) -> Any:
        return self.evaluate(parameters, queries) + torch.randn(queries.shape[:2])


class Summing(Linear):
    """f(x) = w·x; asked is its sum so far."""

    def ask(self, parameters: Any, queries: Any) -> Any:
        return self.evaluate(parameters, queries).cumsum(dim=1)


class Ahead(Linear):
    """f(x) = w·x, shown less its mean."""

    def show(self, pairs: Pairs, parameters: Any, generator: Any) -> Pairs:
        return replace(pairs, ys=pairs.ys - pairs.ys.mean(dim=1, keepdim=True))


class Halved(Linear):
    """f(x) = w·x; asked is half of it, of half the size as labels show."""

    def ask(self, parameters: Any, queries: Any) -> Any:
        return self.evaluate(parameters, queries)[:, :, None] / 2


@pytest.mark.parametrize(
    ("cls", "rule", "found"),
    [
        (Slopes, "trivial error", "too large"),
        (Drawing, "asked", "it draws from torch's global generator"),
        (Summing, "asked", "another value where the query is asked by itself"),
        (Halved, "asked", "shape"),
        (Ahead, "shown", "the labels before entry 1 depend on what stands from entry 1 on"),
    ],
)
def test_classes_that_ask_or_show_amiss_are_found(cls: type[Linear], rule: str, found: str) -> None:
    assert found in finding_of(cls, rule).found


def test_an_oracle_that_is_inherited_is_not_asked_for() -> None:
    note = result_of(Ahead, "oracle").note
    assert note == "the class shows something else than the one whose oracle it inherits, which is not claimed"
