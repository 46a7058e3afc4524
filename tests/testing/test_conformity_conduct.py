"""The conformity check: one broken class for every rule on types, side effects, hidden state, devices and batches."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import pytest
import torch
from testing_classes import Plain, finding_of, only_finding, result_of
from torch import Tensor

from icl_curriculum.function_classes import Linear, Parameters
from icl_curriculum.testing.function_classes.conduct import _real_accelerator
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject
from icl_curriculum.testing.generators import untouched_generators

pytestmark = pytest.mark.usefixtures("fewer_prompts")


def test_dtype_of_the_parameters() -> None:
    class Double(Plain):
        """Draws in float64."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            w = torch.randn(n, dims, generator=generator, device=generator.device, dtype=torch.float64)
            return {"w": w}

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return super().evaluate({"w": parameters["w"].to(xs.dtype)}, xs)

    finding = only_finding(Double, "dtype")
    assert finding.found == "'w' is torch.float64 at d = 1"
    assert "no dtype=torch.float64" in finding.mend


def test_dtype_of_the_values_follows_the_inputs() -> None:
    class Single(Plain):
        """Always float32."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return super().evaluate(parameters, xs).float()

    finding = only_finding(Single, "dtype")
    assert finding.expected == "torch.float64 from evaluate where parameters and xs are torch.float64"
    assert finding.found == "torch.float32 at d = 1"


def test_dtype_asks_for_finite_values() -> None:
    class Root(Plain):
        """NaN for half the inputs."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return super().evaluate(parameters, xs).sqrt()

    finding = only_finding(Root, "dtype")
    assert "are infinite or NaN" in finding.found
    assert "roots of negative numbers" in finding.mend


def test_purity_of_the_inputs() -> None:
    class Mutating(Plain):
        """Scales its inputs in place."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return super().evaluate(parameters, xs.abs_())

    finding = only_finding(Mutating, "purity")
    assert finding.found == "evaluate changed xs at d = 1"
    assert "xs.clone()" in finding.mend


def test_purity_of_the_parameters() -> None:
    class Hoarding(Plain):
        """Leaves something behind."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            values = super().evaluate(parameters, xs)
            parameters["seen"] = values
            return values

    assert finding_of(Hoarding, "purity").found == "evaluate changed new entry seen at d = 1"


@pytest.mark.parametrize(
    ("draw", "library"),
    [
        (lambda: torch.rand(()), "torch"),
        (lambda: torch.manual_seed(0), "torch"),
        (lambda: np.random.normal(), "numpy"),
        (lambda: np.random.seed(0), "numpy"),
        (lambda: random.random(), "Python"),
        (lambda: random.seed(0), "Python"),
    ],
)
@pytest.mark.parametrize("method", ["sample", "evaluate"])
def test_global_generators_are_left_alone(draw: Any, library: str, method: str) -> None:
    class Leaning(Plain):
        """Draws elsewhere, to no effect."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            if method == "sample":
                draw()
            return super().sample(n, dims, generator)

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            if method == "evaluate":
                draw()
            return super().evaluate(parameters, xs)

    with untouched_generators():
        draw()  # a seeding with the seed that a generator has already is found too
        before = torch.get_rng_state(), np.random.get_state(), random.getstate()
        finding = finding_of(Leaning, "global generators")
        after = torch.get_rng_state(), np.random.get_state(), random.getstate()
    assert str(after) == str(before)
    assert finding.found.startswith(f"{library}'s global generator changed during {method}")
    assert "generator=generator" in finding.mend


def test_global_generators_are_the_only_rule_that_a_wasted_draw_breaks() -> None:
    class Wasteful(Plain):
        """Draws and forgets."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            torch.rand(())
            return super().evaluate(parameters, xs)

    only_finding(Wasteful, "global generators")


def test_global_generators_of_the_oracle() -> None:
    class Guessing(Linear):
        """Its oracle throws a coin and ignores it."""

        def oracle(self, prompts: Any) -> Tensor:
            random.random()
            return super().oracle(prompts)

    assert "during oracle" in finding_of(Guessing, "global generators").found


def test_determinism_of_sample() -> None:
    calls = []

    class Counting(Plain):
        """Keeps count."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            calls.append(n)
            return {"w": super().sample(n, dims, generator)["w"] + 1e-6 * len(calls)}

    finding = only_finding(Counting, "determinism")
    assert finding.found == "'w' differ between two calls of sample at n = 6, d = 1"
    assert "keep no state" in finding.mend


def test_determinism_of_evaluate() -> None:
    class Clocked(Plain):
        """Asks the operating system."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return super().evaluate(parameters, xs) + int.from_bytes(os.urandom(4), "little") * 1e-10

    finding = finding_of(Clocked, "determinism")
    assert "two calls at d = 1" in finding.found
    assert "function of its arguments" in finding.mend


CONSTANT = torch.ones(1)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda xs: xs * torch.ones(xs.shape[2]), "torch.ones at "),
        (lambda xs: xs * torch.ones(xs.shape[2], device="cpu"), "MixedDevices: mul meets"),
        (lambda xs: xs * torch.tensor([1.0]), "torch.tensor at "),
        (lambda xs: xs + torch.arange(xs.shape[2]) * 0, "torch.arange at "),
        (lambda xs: xs * torch.from_numpy(np.ones(1, dtype=np.float32)), "torch.from_numpy at "),
        (lambda xs: xs.cpu(), "'values' would stay on the CPU"),
        (lambda xs: torch.from_numpy(xs.numpy()), "cannot become a numpy array"),
        (lambda xs: xs * CONSTANT, "MixedDevices: mul meets"),
    ],
)
def test_device_of_evaluate(change: Any, word: str) -> None:
    class Forgetful(Plain):
        """Makes something on the CPU."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            if "cpu" in word or "stay" in word:
                return change(super().evaluate(parameters, xs))
            return super().evaluate(parameters, change(xs))

    finding = finding_of(Forgetful, "device")
    assert "in evaluate, every tensor on xs.device" in finding.expected
    assert word in finding.found
    assert "device=xs.device" in finding.mend


def test_device_of_sample_names_the_line() -> None:
    class Forgetful(Plain):
        """Makes a parameter on the CPU."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            return {**super().sample(n, dims, generator), "zero": torch.zeros(n, dims)}

    finding = finding_of(Forgetful, "device")
    assert "'zero' would stay on the CPU" in finding.found
    assert "torch.zeros at " in finding.found
    assert "test_conformity_conduct.py:" in finding.found
    assert "device=generator.device" in finding.mend


def test_device_accepts_what_works_on_an_accelerator() -> None:
    class Careful(Plain):
        """Scalars, indices, copies and moves across devices are fine."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            scale = torch.tensor(1.0) * torch.ones(xs.shape[2], device=xs.device)
            moved = torch.from_numpy(np.ones(1, dtype=np.float32)).to(xs.device, xs.dtype)
            moved = moved * CONSTANT.to(xs)
            order = torch.arange(xs.shape[2])
            kept = xs[:, :, order].clone()
            kept[:, :, 0] = kept[:, :, 0].cpu()
            rows = torch.stack(list(kept * scale * moved))
            return super().evaluate(parameters, rows)

    assert result_of(Careful, "device").status == "ok"
    assert not hasattr(CONSTANT, "_lies_away")


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda values: values - values.mean(dim=0), "the prompts one by one"),
        (lambda values: values - values.mean(dim=1, keepdim=True), "the first 3 points alone"),
        (lambda values: values.sort(dim=1).values, "the points in reverse order"),
    ],
)
def test_a_value_depends_on_one_function_and_one_input(change: Any, how: str) -> None:
    class Mixing(Plain):
        """Looks at the rest of the batch."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return change(super().evaluate(parameters, xs))

    finding = (
        only_finding(Mixing, "one function per prompt")
        if "prompts" in how
        else finding_of(Mixing, "one function per prompt")
    )
    assert f"the same values for {how}" in finding.expected
    assert "n = 6, points = 7" in finding.found
    assert "over the prompts or the points" in finding.mend


def test_device_is_the_only_rule_that_a_forgotten_device_breaks() -> None:
    class Forgetful(Plain):
        """Adds zeros of the CPU."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return super().evaluate(parameters, xs + torch.zeros(xs.shape[2]))

    only_finding(Forgetful, "device")


def test_device_on_a_real_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU plays the accelerator, and a device without data the place where the values should not be."""

    class Elsewhere(Plain):
        """Its values are on no accelerator."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return super().evaluate(parameters, xs).to(torch.device("meta"))

    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cpu"))
    (finding,) = _real_accelerator(FunctionClassSubject(Elsewhere))
    assert finding.found == "values on meta"
    assert finding.expected == "every tensor on cpu, where the generator and the inputs are"
    assert list(_real_accelerator(FunctionClassSubject(Plain))) == []
