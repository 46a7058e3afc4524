"""The conformity check: functions that look at the inputs drawn with them, and inputs that look at the functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from testing_classes import LinearDynamics, Majority, Plain, Ramp, finding_of, only_finding, result_of
from torch import Tensor

from icl_curriculum.core.draws import normal
from icl_curriculum.core.streams import Streams
from icl_curriculum.core.streams import generator as made_from
from icl_curriculum.function_classes.apart import functions_depend_on_inputs
from icl_curriculum.function_classes.base import InputSampler
from icl_curriculum.inputs import Gaussian, Uniform

pytestmark = pytest.mark.usefixtures("fewer_prompts")


RULE = "functions apart"


class Peeking(Plain):
    """Lets `peek` change the functions it has drawn."""

    peek: ClassVar[Callable[[Tensor, Tensor, Any], Tensor]]

    def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
        xs = inputs.sample(n, points, dims, streams.generator("inputs"))
        parameters = {"w": type(self).peek(self.draw_functions(n, dims, streams)["w"].clone(), xs, self)}
        return xs, self.evaluate(parameters, xs), parameters


def sizes(w: Tensor, xs: Tensor, _: Any) -> Tensor:
    return w * (1 + 1e-6 * xs[:, -1].abs())


def order_of_points(w: Tensor, xs: Tensor, _: Any) -> Tensor:
    return torch.where(xs[:, :1, 0] < xs[:, -1:, 0], w, -w)


def one_in_sixteen(w: Tensor, xs: Tensor, _: Any) -> Tensor:
    w[15::16] *= xs[15::16, 0].sign()
    return w


def in_large_batches(w: Tensor, xs: Tensor, _: Any) -> Tensor:
    return w * xs[:, 0].sign() if len(w) > 1024 else w


def in_long_prompts(w: Tensor, xs: Tensor, _: Any) -> Tensor:
    return w * xs[:, 60].sign() if xs.shape[1] > 64 else w


def with_a_pool(w: Tensor, xs: Tensor, self: Any) -> Tensor:
    return w if self.pool_size is None else w * xs[:, 0].sign()


def another_prompt(w: Tensor, xs: Tensor, _: Any) -> Tensor:
    return w * xs.roll(1, dims=0)[:, 0].sign()


@pytest.mark.parametrize(
    "peek", [sizes, order_of_points, one_in_sixteen, in_large_batches, in_long_prompts, with_a_pool, another_prompt]
)
def test_functions_that_look_at_the_inputs_are_found(peek: Callable[[Tensor, Tensor, Any], Tensor]) -> None:
    found = type("Peeks", (Peeking,), {"__doc__": "Peeks.", "__module__": __name__, "peek": staticmethod(peek)})
    finding = finding_of(found, RULE)
    assert finding.found.startswith("other inputs from the same streams change the parameter 'w' of ")
    assert finding.found.endswith("with pool_size = 5") is (peek is with_a_pool)
    assert "take the functions from self.draw_functions" in finding.mend


def test_one_that_looks_at_nothing_is_right() -> None:
    honest = type("Honest", (Peeking,), {"__doc__": "Fine.", "__module__": __name__, "peek": lambda w, xs, self: w})
    for right in (Plain, honest, Majority, Ramp):
        assert result_of(right, RULE).status == "ok"
    assert result_of(LinearDynamics, RULE).note == (
        "not tested: whether inputs look at the functions, because the class declares owns_inputs; the functions come "
        "from one stream alone"
    )


def test_functions_from_the_generator_of_the_inputs_are_found() -> None:
    class Folded(Plain):
        """The weights are the sizes of the first inputs, drawn once more from the same stream."""

        def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
            xs = inputs.sample(n, points, dims, streams.generator("inputs"))
            again = normal(n, points, dims, generator=streams.generator("inputs"))
            parameters = {"w": again[:, 0].abs() - 0.8}
            return xs, self.evaluate(parameters, xs), parameters

    assert "the parameter 'w'" in finding_of(Folded, RULE).found


def test_functions_from_a_stream_of_another_name_are_right() -> None:
    class Renamed(Plain):
        """Draws its weights from a part of its own."""

        def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
            xs = inputs.sample(n, points, dims, streams.generator("inputs"))
            parameters = self.sample(n, dims, streams.generator("weights"))
            return xs, self.evaluate(parameters, xs), parameters

    assert result_of(Renamed, RULE).status == "ok"


def test_inputs_made_with_a_generator_of_the_class_s_own_are_exchanged_too() -> None:
    class Own(Peeking):
        """Makes a generator from the streams' name and number, and looks at what it draws."""

        def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
            xs = inputs.sample(n, points, dims, made_from(streams.seed, f"{streams.name}/mine", streams.index))
            parameters = {"w": self.draw_functions(n, dims, streams)["w"] * xs[:, 0].sign()}
            return xs, self.evaluate(parameters, xs), parameters

    assert "other inputs from the same streams change the parameter 'w'" in finding_of(Own, RULE).found


def test_inputs_that_look_at_the_functions_are_found() -> None:
    class Aligned(Plain):
        """Turns every input to the side of the weights."""

        def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
            parameters = self.draw_functions(n, dims, streams)
            xs = inputs.sample(n, points, dims, streams.generator("inputs"))
            xs = xs * self.evaluate(parameters, xs).sign().unsqueeze(2)
            return xs, self.evaluate(parameters, xs), parameters

    class Unasked(Plain):
        """Draws inputs of its own, without saying so."""

        def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
            parameters = self.draw_functions(n, dims, streams)
            xs = normal(n, points, dims, generator=streams.generator("inputs"))
            return xs, self.evaluate(parameters, xs), parameters

    assert finding_of(Aligned, RULE).found.startswith("other functions from the same streams change the inputs of ")
    assert "which it does not ask for any" in finding_of(Unasked, RULE).found


def test_a_run_can_ask_for_its_own_points() -> None:
    class AtForty(Peeking):
        """Looks at the inputs in prompts of 41 points alone."""

        @staticmethod
        def peek(w: Tensor, xs: Tensor, self: Any) -> Tensor:
            return w * xs[:, 0].sign() if xs.shape[1] == 41 else w

    assert functions_depend_on_inputs(AtForty(), Gaussian(), 3, 41) is not None
    assert functions_depend_on_inputs(AtForty(), Gaussian(), 3, 16) is None
    assert functions_depend_on_inputs(Plain(), Uniform(), 3, 41) is None


def test_what_is_checked_breaks_no_other_rule() -> None:
    class Late(Peeking):
        """Looks at how large a late point is, unless its functions are those of a pool."""

        @staticmethod
        def peek(w: Tensor, xs: Tensor, self: Any) -> Tensor:
            if self.pool_size is not None:
                return w
            return torch.where(xs[:, -1:, :1].abs().squeeze(2) < 0.6745, w, -w)

    only_finding(Late, RULE)
