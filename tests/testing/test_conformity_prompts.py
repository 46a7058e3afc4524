"""The conformity check: inputs of no named distribution, memory, prompts from a fixed set, and what is misdeclared."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch
from pydantic import Field
from testing_classes import LinearDynamics, Plain, finding_of, only_finding, result_of
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import Streams
from icl_curriculum.function_classes import FunctionClass, Linear
from icl_curriculum.function_classes.base import InputSampler
from icl_curriculum.testing import check

pytestmark = pytest.mark.usefixtures("fewer_prompts")


class Chosen(Plain):
    """Inputs on the side of w, of which nothing is stated."""

    reference_inputs: ClassVar[str | dict[str, Any]] = "own"
    owns_inputs: ClassVar[bool] = True

    def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
        parameters = self.draw_functions(n, dims, streams)
        xs = inputs.sample(n, points, dims, streams.generator("inputs"))
        xs = xs * self.evaluate(parameters, xs).sign().unsqueeze(2)
        return xs, self.evaluate(parameters, xs), parameters


class Summed(Plain):
    """w·(x_1 + ... + x_k) / k."""

    has_memory: ClassVar[bool] = True

    def evaluate(self, parameters: Any, xs: Tensor) -> Tensor:
        counts = torch.arange(1, xs.shape[1] + 1, device=xs.device, dtype=xs.dtype).view(1, -1, 1)
        return super().evaluate(parameters, xs.cumsum(dim=1) / counts)

    def trivial_error(self, dims: int) -> float:
        return dims * sum(1 / k for k in range(1, 22)) / 21


class Repeated(Plain):
    """One of 20 prompts."""

    reference_inputs: ClassVar[str | dict[str, Any]] = "own"
    owns_inputs: ClassVar[bool] = True
    repeats_prompts: ClassVar[bool] = True
    size: ClassVar[int] = 20

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Any:
        made = torch.Generator().manual_seed(0)
        w, xs = torch.randn(self.size, dims, generator=made), torch.randn(self.size, 64, dims, generator=made)
        which = torch.randint(self.size, (n,), generator=generator, device=generator.device)
        return {"w": w.to(which.device)[which], "xs": xs.to(which.device)[which]}

    def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
        parameters = self.draw_functions(n, dims, streams)
        xs = parameters["xs"][:, :points]
        return xs, self.evaluate(parameters, xs), parameters

    trivial_error = FunctionClass.trivial_error


def notes(component: Any) -> dict[str, str]:
    """What is said of each rule."""
    return {result.rule: result.note for result in check(component)}


def test_all_four_keep_the_contract_and_are_told_what_is_not_tested(own_prompts: ModuleType) -> None:
    said = {name: list(check(name)) for name in ("teaching", "history", "prompt_set", "filtered")}
    assert {name: [item.rule for item in results if item.findings] for name, results in said.items()} == {
        name: [] for name in said
    }
    untested = {
        name: {item.rule for item in results if item.note.startswith("not tested: ")} for name, results in said.items()
    }
    unnamed = {
        "inputs drawn", "independent inputs", "functions apart", "second moment", "growth", "reference posterior",
    }  # fmt: skip
    assert untested == {
        "teaching": unnamed, "history": unnamed, "prompt_set": {*unnamed, "fresh prompts"},
        "filtered": {"one function per prompt"},
    }  # fmt: skip
    for results in said.values():
        for item in results:
            assert not item.note.startswith("not tested: ") or "because the class declares" in item.note


# Inputs that have no name


def test_own_inputs_are_of_classes_that_make_their_own() -> None:
    class Unowned(Plain):
        """Names inputs of its own, and makes none."""

        reference_inputs: ClassVar[str | dict[str, Any]] = "own"

    finding = only_finding(Unowned, "reference inputs")
    assert finding.expected == "a class that makes its own inputs, as reference_inputs is 'own'"
    assert finding.found == "owns_inputs is False"
    assert finding.mend.startswith("declare owns_inputs: ClassVar[bool] = True and define draw, or name")


def test_named_inputs_of_which_the_class_makes_others_are_found_with_the_way_out() -> None:
    class Named(Chosen):
        """States uniform inputs, and makes half as wide ones."""

        reference_inputs: ClassVar[str | dict[str, Any]] = "uniform"

        def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
            xs, values, parameters = super().draw(n, points, dims, inputs, streams)
            return xs / 2, values / 2, parameters

    finding = finding_of(Named, "inputs drawn")
    assert finding.expected == "inputs distributed as 'uniform', the marginal of a class that owns its inputs"
    assert finding.mend.endswith('"own", where it has no name')


def test_a_history_that_states_named_inputs_is_found_in_few_dimensions(own_prompts: ModuleType) -> None:
    class Named(own_prompts.History):  # type: ignore[name-defined,misc]
        """States N(0, I), from which values of eight dimensions hardly differ."""

        reference_inputs = "gaussian"

    finding = finding_of(Named, "inputs drawn")
    assert " at d = 1 " in finding.found
    assert '"own", where it has no name' in finding.mend


def test_named_inputs_that_tell_of_the_functions_are_found_with_the_way_out() -> None:
    class Sided(Chosen):
        """States N(0, I), which each input is on the side of the largest coordinate of w, too."""

        reference_inputs: ClassVar[str | dict[str, Any]] = "gaussian"

        def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
            parameters = self.draw_functions(n, dims, streams)
            xs = inputs.sample(n, points, dims, streams.generator("inputs")).abs()
            xs = xs * parameters["w"].sign().unsqueeze(1)
            return xs, self.evaluate(parameters, xs), parameters

        def trivial_error(self, dims: int) -> float:
            return dims + dims * (dims - 1) * (2 / math.pi) ** 2

    finding = only_finding(Sided, "independent inputs")
    assert finding.mend.endswith('; or reference_inputs = "own", if inputs are to tell of the functions')


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"largest_input": 1.0}, "inputs within ±1 from draw"),
        ({"sign_inputs": True}, "inputs of -1 and 1, as sign_inputs is True from draw"),
    ],
)
def test_own_inputs_lie_in_the_domain(declared: dict[str, Any], expected: str) -> None:
    names = {"__doc__": "Leaves its domain.", "__module__": __name__, **declared}
    finding = finding_of(type("Outside", (Chosen,), names), "inputs drawn")
    assert finding.expected == expected
    assert finding.found.endswith(" coordinates are others, at d = 8")


def test_infinite_own_inputs_are_found() -> None:
    class Infinite(Chosen):
        """Divides by zero."""

        def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
            xs, values, parameters = super().draw(n, points, dims, inputs, streams)
            return torch.where(xs > 3, torch.inf, xs), values, parameters

    (result,) = (item for item in check(Infinite) if item.findings)
    assert result.rule in ("draw", "dtype", "inputs drawn")


# Functions that look at inputs of the class's own


def test_functions_of_several_streams_are_found_where_inputs_are_the_class_s_own() -> None:
    class Peeking(Chosen):
        """Turns w towards the first input."""

        def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
            xs = inputs.sample(n, points, dims, streams.generator("inputs"))
            w = self.draw_functions(n, dims, streams)["w"]
            parameters = {"w": w * self.evaluate({"w": w}, xs[:, :1]).sign()}
            return xs, self.evaluate(parameters, xs), parameters

    finding = finding_of(Peeking, "functions apart")
    assert finding.expected == "functions from one stream alone: other inputs from the others change none of them"
    assert finding.found.startswith("other numbers from the stream 'inputs' change the parameter 'w' of ")
    assert finding.found.endswith(", and so do those from 'functions'")
    assert finding.mend.startswith("in draw, take the functions as they are from self.draw_functions(n, dims, streams)")


def test_a_peek_in_a_pool_or_at_shared_functions_is_found() -> None:
    class WithAPool(Chosen):
        """Looks at inputs where functions are those of a pool."""

        def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
            xs, values, parameters = super().draw(n, points, dims, inputs, streams)
            if self.pool_size is not None:
                parameters = {"w": parameters["w"] * xs[:, 0].norm(dim=1, keepdim=True)}
            return xs, values, parameters

    assert finding_of(WithAPool, "functions apart").found.endswith("with pool_size = 5")


def test_functions_of_one_stream_of_another_name_are_right() -> None:
    class Renamed(Chosen):
        """Draws its weights from a part of its own."""

        def draw_functions(self, n: int, dims: int, streams: Streams) -> Any:
            return self.sample(n, dims, streams.generator("weights"))

    for right in (Chosen, Renamed, LinearDynamics):
        assert result_of(right, "functions apart").status == "ok"


# Memory


def test_memory_that_is_not_declared_is_found_with_its_name() -> None:
    class Forgetful(Summed):
        """Doesn't say that it remembers."""

        has_memory: ClassVar[bool] = False

    finding = finding_of(Forgetful, "one function per prompt")
    assert "the points in reverse order" in finding.expected
    assert "or declare has_memory: ClassVar[bool] = True, if a value depends on earlier inputs" in finding.mend


def test_a_look_ahead_is_no_memory() -> None:
    class Centred(Plain):
        """Takes off the mean over all points."""

        def evaluate(self, parameters: Any, xs: Tensor) -> Tensor:
            return super().evaluate(parameters, xs - xs.mean(dim=1, keepdim=True))

    assert "has_memory" not in finding_of(Centred, "one function per prompt").mend

    class Declared(Centred):
        """Calls it memory."""

        has_memory: ClassVar[bool] = True

    finding = finding_of(Declared, "memory")
    assert finding.expected.startswith(
        "the same values of the first 1 points when the inputs from point 1 on are others"
    )
    assert finding.mend.startswith("let evaluate look back alone")


def test_memory_of_the_length_of_a_prompt_is_found() -> None:
    class Relative(Summed):
        """Multiplies by the number of points."""

        def evaluate(self, parameters: Any, xs: Tensor) -> Tensor:
            return super().evaluate(parameters, xs) * xs.shape[1]

    assert "of prompts of 1 points alone" in finding_of(Relative, "memory").expected


def test_memory_that_is_declared_and_not_there_is_found() -> None:
    class Boastful(Plain):
        """Remembers nothing."""

        has_memory: ClassVar[bool] = True

    finding = only_finding(Boastful, "memory")
    assert finding.expected == "a value that depends on an earlier input of its prompt, as has_memory is True"
    assert finding.mend.startswith("leave has_memory False")


def test_memory_may_depend_on_a_field() -> None:
    class Fading(Plain):
        """w·(x_k + fade x_{k-1})."""

        fade: float = Field(0.5, description="share of the last input")
        has_memory = property(lambda self: self.fade != 0)  # type: ignore[assignment]

        def evaluate(self, parameters: Any, xs: Tensor) -> Tensor:
            before = torch.nn.functional.pad(xs, (0, 0, 1, 0))[:, :-1]
            return super().evaluate(parameters, xs + self.fade * before)

        def trivial_error(self, dims: int) -> float:
            return dims * (1 + self.fade**2 * 20 / 21)

    for component in (Fading(), Fading(fade=0.0)):
        assert [item.rule for item in check(component) if item.findings] == []


def test_memory_keeps_the_other_rules_and_says_where_values_differ() -> None:
    said = notes(Summed)
    assert "from 0." in said["trivial error"]
    assert "errors at all k are divided by the mean over 21 points" in said["trivial error"]

    class Wrong(Summed):
        """States E f^2 at the first point."""

        def trivial_error(self, dims: int) -> float:
            return float(dims)

    assert "too large" in only_finding(Wrong, "trivial error").found


# Prompts from a fixed set


def test_prompts_that_repeat_undeclared_are_found_with_the_name() -> None:
    class Silent(Repeated):
        """Doesn't say it."""

        repeats_prompts: ClassVar[bool] = False

    finding = only_finding(Silent, "fresh prompts")
    assert finding.expected.startswith("prompts that are drawn anew, 512 different ones among 512 of 64 points")
    assert finding.found == "20 different ones at d = 8, inputs, values and functions alike"
    assert finding.mend.startswith("declare repeats_prompts: ClassVar[bool] = True, if prompts come from a fixed set")


def test_a_set_of_prompts_says_how_many_were_seen() -> None:
    assert result_of(Repeated, "fresh prompts").note == (
        "not tested: that no prompt comes twice, because the class declares repeats_prompts; 20 are different among "
        "512 of 64 points"
    )


def test_a_set_of_one_prompt_is_found() -> None:
    class Single(Repeated):
        """Always the same inputs, with functions that differ in nothing that is seen."""

        size: ClassVar[int] = 1

    assert finding_of(Single, "independent prompts").expected == "other functions from other generators"


def test_prompts_that_repeat_within_a_batch_alone_are_found() -> None:
    class Shared(Chosen):
        """Every second prompt is that before it."""

        def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
            xs, values, parameters = super().draw(n, points, dims, inputs, streams)
            rows = torch.arange(n) // 2 * 2
            return xs[rows], values[rows], {"w": parameters["w"][rows]}

    finding = finding_of(Shared, "fresh prompts")
    assert finding.expected.startswith("about as many different prompts in a batch of 512 as in 512 batches")
    assert finding.found == "256 at d = 8"


def test_repeating_prompts_are_of_classes_that_make_their_own_inputs() -> None:
    class Few(Plain):
        """A few functions, at fresh inputs."""

        repeats_prompts: ClassVar[bool] = True

    finding = only_finding(Few, "fresh prompts")
    assert finding.expected == "a class that makes its own inputs, as repeats_prompts is True"


def test_prompts_of_a_bounded_length_are_looked_at_as_far_as_they_go() -> None:
    class Short(Repeated):
        """At most 10 points."""

        def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
            if points > 30:
                raise UserError(f"expected at most 30 points, found {points}")
            return super().draw(n, points, dims, inputs, streams)

    assert "20 are different among 512 of 16 points" in result_of(Short, "fresh prompts").note


# Oracles


@pytest.mark.parametrize("base", [Chosen, Summed, Repeated])
def test_an_inherited_oracle_is_neither_claimed_nor_checked(base: type[Plain]) -> None:
    class Inherits(base, Linear):  # type: ignore[valid-type,misc]
        """Linear functions, with other prompts."""

    said = notes(Inherits)
    assert said["oracle"].startswith("not tested: the oracle, which no run asks, as it is inherited")
    assert said["unbeaten oracle"].startswith("no oracle is declared")


def test_an_oracle_of_the_class_s_own_is_checked() -> None:
    class Told(Summed):
        """Says that zero is best."""

        oracle_kind = property(lambda self: "optimum")  # type: ignore[assignment]

        def oracle(self, prompts: Prompts) -> Tensor:
            return torch.zeros_like(prompts.ys)

    said = {result.rule: result for result in check(Told)}
    assert (
        "not tested: answers to queries beside the inputs, because the class declares has_memory" in said["oracle"].note
    )
    assert said["reference posterior"].status == "failed"
