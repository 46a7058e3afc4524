"""The conformity check: one broken class for every rule on distributions and pools."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from testing_classes import Plain, finding_of, only_finding
from torch import Tensor

from icl_curriculum.core.draws import normal
from icl_curriculum.function_classes import Parameters
from icl_curriculum.inputs import random_rotations
from icl_curriculum.testing.function_classes import distribution
from icl_curriculum.testing.function_classes.distribution import COUNT_SPREAD, rows_of

# Independent prompts


pytestmark = pytest.mark.usefixtures("fewer_prompts")
WHOLE = distribution.BATCHES, distribution.INPUT_BATCHES


@pytest.fixture
def fewer_prompts(fewer_prompts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As elsewhere, but with all batches of the rules that these tests are of."""
    for name, count in zip(("BATCHES", "INPUT_BATCHES"), WHOLE, strict=True):
        monkeypatch.setattr(distribution, name, count)


def one_support(w: Tensor, made: torch.Generator) -> Tensor:
    support = torch.randperm(w.shape[1], generator=made, device=made.device)[: (w.shape[1] + 1) // 2]
    return torch.zeros_like(w).index_copy_(1, support, w[:, support]) * math.sqrt(w.shape[1] / len(support))


def one_component(w: Tensor, made: torch.Generator) -> Tensor:
    sign = 2 * torch.randint(2, (1,), generator=made, device=made.device) - 1
    return (w + 2 * sign) / math.sqrt(5)


def one_rotation(w: Tensor, made: torch.Generator) -> Tensor:
    stretched = w * torch.linspace(0.1, 2, w.shape[1], device=w.device)
    rotated = stretched @ random_rotations(1, w.shape[1], made)[0]
    return rotated / rotated.norm(dim=1, keepdim=True) * math.sqrt(w.shape[1])


def antithetic(w: Tensor, made: torch.Generator) -> Tensor:
    return torch.cat([w[: (len(w) + 1) // 2], -w[: len(w) // 2]])


@pytest.mark.parametrize("once_per_batch", [one_support, one_component])
def test_what_is_drawn_once_per_batch_is_found(once_per_batch: Any) -> None:
    class Shared(Plain):
        """The weights are fresh, and something else is not."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            return {"w": once_per_batch(normal(n, dims, generator=generator), generator)}

    finding = only_finding(Shared, "independent prompts")
    assert "tell nothing about each other" in finding.expected
    assert "w[" in finding.found
    assert "of prompts 0 and 1 has correlation" in finding.found
    assert "over 768 batches at d = 8" in finding.found
    assert "leading axis n, (n, ...)" in finding.mend


def test_a_rotation_drawn_once_per_batch_is_found() -> None:
    class Shared(Plain):
        """One rotation turns all functions of a batch."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            turned = random_rotations(1, dims, generator).expand(n, -1, -1)
            return {"w": normal(n, dims, generator=generator), "q": turned}

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return torch.einsum("npd,nde,ne->np", xs, parameters["q"], parameters["w"])

    assert "the parameter q[0, 0]" in only_finding(Shared, "independent prompts").found


def test_opposite_functions_in_one_batch_are_found() -> None:
    class Paired(Plain):
        """The second half of a batch mirrors the first."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            return {"w": antithetic(normal(n, dims, generator=generator), generator)}

    assert "of prompts 0 and 2 has correlation -1.00" in finding_of(Paired, "independent prompts").found


def test_what_the_parameters_hide_shows_in_the_values() -> None:
    class Hiding(Plain):
        """The sign that the batch shares is spread over two parameters."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            shared = 2.0 * torch.randint(2, (1, 1), generator=generator, device=generator.device) - 1
            own = normal(n, dims, generator=generator).sign()
            return {"own": own, "both": own * shared}

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return torch.einsum("npd,nd->np", xs, parameters["own"] * parameters["both"])

    assert "the value at a common input of prompts 0 and 1" in finding_of(Hiding, "independent prompts").found


def test_a_generator_that_is_not_used_is_found() -> None:
    class Stubborn(Plain):
        """Draws from a generator of its own."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            return {"w": torch.randn(n, dims, generator=torch.Generator().manual_seed(0), device=generator.device)}

    finding = finding_of(Stubborn, "independent prompts")
    assert finding.expected == "other functions from other generators"
    assert "768 generators gave the same first function" in finding.found


@pytest.mark.parametrize("what", ["different parameters", "different functions"])
def test_functions_recycled_in_a_large_batch_are_found(what: str) -> None:
    class Recycling(Plain):
        """Repeats 64 functions; with a useless parameter that differs, the functions still repeat."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            w = normal(min(n, 64), dims, generator=generator)
            repeated = {"w": w[torch.arange(n, device=generator.device) % 64]}
            return repeated if what == "different parameters" else {**repeated, "u": normal(n, generator=generator)}

    finding = only_finding(Recycling, "independent prompts")
    assert f"about as many {what} in a batch of 512 as in 512 batches of their own, 512" in finding.expected
    assert finding.found == "64 at d = 8"
    assert "no expand, repeat or modulo" in finding.mend


def test_the_allowed_spread_of_distinct_functions_is_mcdiarmid_s() -> None:
    """Two bounds, each held except with probability 2 exp(-2 t^2 / n) = 1e-7."""
    t = COUNT_SPREAD / 2
    assert 2 * math.exp(-2 * t**2 / 512) == pytest.approx(1e-7)


# Independent inputs, pools


@pytest.mark.parametrize("stream", ["inputs", "functions"])
def test_functions_and_inputs_from_one_stream_are_found(stream: str) -> None:
    class Careless(Plain):
        """Feeds both from streams of one name."""

        def draw(self, n: int, points: int, dims: int, inputs: Any, streams: Any) -> Any:
            xs = inputs.sample(n, points, dims, streams.generator("functions"))
            parameters = self.draw_functions(n, dims, streams)
            if stream == "inputs":  # a draw in between: w and x are no longer in step from the first number on
                made = streams.generator("inputs")
                xs = inputs.sample(n, points, dims, made)
                parameters = {"w": xs[:, 0] * 0.8 + 0.6 * normal(n, dims, generator=made)}
            return xs, self.evaluate(parameters, xs), parameters

    finding = finding_of(Careless, "independent inputs")
    assert re.match(r"w\[(\d)\] and x\[0, \1\] have correlation", finding.found)
    assert "over 256 prompts at d = 8" in finding.found
    assert "never both from a generator of one name" in finding.mend


def test_one_stream_shows_in_the_single_point_of_a_large_batch_alone() -> None:
    class Sly(Plain):
        """Wrong for large batches only."""

        def draw(self, n: int, points: int, dims: int, inputs: Any, streams: Any) -> Any:
            xs, values, parameters = super().draw(n, points, dims, inputs, streams)
            if n > 1000 and points == 1:
                parameters = {"w": xs[:, 0].clone()}
                values = self.evaluate(parameters, xs)
            return xs, values, parameters

    assert "over 4096 prompts" in only_finding(Sly, "independent inputs").found


def test_a_draw_that_overlooks_pools_is_found() -> None:
    class Poolless(Plain):
        """Calls sample."""

        def draw(self, n: int, points: int, dims: int, inputs: Any, streams: Any) -> Any:
            xs = inputs.sample(n, points, dims, streams.generator("inputs"))
            parameters = self.sample(n, dims, streams.generator("functions"))
            return xs, self.evaluate(parameters, xs), parameters

    finding = only_finding(Poolless, "pools")
    assert finding.found == "64 different functions, 0 of them from the pool, at d = 8"
    assert "the 1 functions of pool(dims)" in finding.expected
    assert "self.draw_functions(n, dims, streams)" in finding.mend


def test_a_pool_of_which_one_function_never_turns_up_is_found() -> None:
    class Choosy(Plain):
        """Never takes the last of the pool."""

        def draw_functions(self, n: int, dims: int, streams: Any) -> Parameters:
            if self.pool_size is None:
                return super().draw_functions(n, dims, streams)
            rows = torch.arange(n) % max(1, self.pool_size - 1)
            return {name: value[rows] for name, value in self.pool(dims).items()}

    assert finding_of(Choosy, "pools").found.startswith("2 different functions, 2 of them from the pool")


def test_rows_are_told_apart_by_all_their_parameters() -> None:
    rows = rows_of({"a": torch.tensor([1, 1, 2, 1]), "b": torch.tensor([[0.0, -0.0], [-0.0, 0.0], [0.0, 0.0], [1, 0]])})
    assert rows[0] == rows[1]
    assert len(set(rows)) == 3
