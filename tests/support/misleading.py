"""Components that mislead, each beside one that is right: what each does is chosen by a field."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

import icl_curriculum as icl
from icl_curriculum.baselines import LeastSquares
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models import Model, TransformerConfig
from icl_curriculum.training import add_gradients


def mean_label(ys: Tensor) -> Tensor:
    """The mean label before each entry."""
    counts = torch.arange(ys.shape[1]).clamp(min=1)
    return F.pad(ys.cumsum(dim=1)[:, :-1], (1, 0)) / counts


class Weighted(Model):
    """A learned number times the mean label and the query; what else it does is its way."""

    def __init__(self, points: int, way: str, generator: torch.Generator) -> None:
        super().__init__()
        self.max_points, self.way = 10 * points, way
        self.weight = nn.Parameter(torch.rand((), generator=generator))
        self.gate = nn.Parameter(torch.zeros(()))
        self.depth = 1

    def forward(self, xs: Tensor, ys: Tensor, queries: Tensor | None = None) -> Tensor:
        if self.way == "raises on queries" and queries is not None:
            raise TypeError("what are queries?")
        asked = xs if queries is None or self.way == "ignores queries" else queries
        answers = self.weight * mean_label(ys) * asked.sum(dim=-1)
        signs = bool((ys.abs() == 1).all())
        long = ys.shape[1] > 6
        ways = {"sees its label": True, "where labels are signs": signs, "where prompts are long": long}
        if ways.get(self.way.removeprefix("sees its label ")):
            answers = answers + self.gate * ys
        if self.way == "sees its label in training" and torch.is_grad_enabled():
            answers = answers + self.gate * ys
        if self.way == "sees its label once trained":
            answers = answers + F.relu(self.gate - 2) * ys
        if self.way == "sees later labels":
            answers = answers + self.gate * ys[:, -1:]
        if self.way == "sees other prompts":
            answers = answers + self.gate * ys.mean(dim=0)
        if self.way == "no number":
            answers = answers / (torch.arange(ys.shape[1]) - 2)
        if self.way == "random":
            answers = answers + self.gate * torch.randn(answers.shape)
        if self.way != "without a weight":
            answers = answers + self.gate
        for _ in range(self.depth - 1):
            answers = answers + 0 * (xs @ xs.mT).sum(dim=-1)
        return answers.detach() if self.way == "without gradients" else answers


@icl.register_model("weighted")
class WeightedConfig(icl.ModelConfig):
    """A learned number times the mean label and the query."""

    way: str = Field("right", description="how it misleads, if it does")

    def build(self, *, dims: int, points: int, generator: torch.Generator) -> Model:
        return Weighted(points, self.way, generator)

    def longest_prompt(self, points: int) -> int:
        return 10 * points


@icl.register_model("weighted_plain")
class WeightedPlain(WeightedConfig):
    """The same, for plain prompts alone."""

    takes_queries = False


@icl.register_baseline("told")
class Told(icl.Baseline):
    """The mean label, and perhaps what it may not know."""

    way: str = Field("right", description="how it misleads, if it does")

    def predict(self, prompts: Prompts) -> Tensor:
        answers = mean_label(prompts.ys)
        if self.way == "targets":
            return prompts.targets
        signs = bool((prompts.ys.abs() == 1).all())
        if self.way == "label" or (signs and self.way == "label where labels are signs"):
            return answers + 0.01 * prompts.ys
        if self.way == "raises when it is probed" and len(prompts) < 16:
            raise ValueError("too few")
        if self.way == "changes its prompts":
            prompts.ys.mul_(2)
        return answers


@icl.register_function_class("slopes")
class Slopes(icl.FunctionClass):
    """f(x) = w·x with w ~ N(0, I)."""

    way: str = Field("right", description="how it misleads, if it does")

    def sample(self, n, dims, generator):  # type: ignore[no-untyped-def]
        return {"w": torch.randn(n, dims, generator=generator)}

    def evaluate(self, parameters, xs):  # type: ignore[no-untyped-def]
        return torch.einsum("npd,nd->np", xs, parameters["w"])

    def trivial_error(self, dims: int) -> float:
        return float(dims)

    def draw(self, n, points, dims, inputs, streams):  # type: ignore[no-untyped-def]
        xs, values, parameters = super().draw(n, points, dims, inputs, streams)
        if self.way == "follows its inputs":
            parameters = {"w": parameters["w"] * xs[:, -1].abs()}
            values = self.evaluate(parameters, xs)
        return xs, values, parameters

    @property
    def oracle_kind(self):  # type: ignore[no-untyped-def]
        return "lower bound" if self.way == "a lower bound that knows" else "optimum"

    def oracle(self, prompts: Prompts) -> Tensor:
        if self.way in ("an optimum that knows", "a lower bound that knows"):
            assert self.way == "an optimum that knows" or prompts.truth is not None
            return self.evaluate(prompts.truth, prompts.query())  # type: ignore[no-any-return]
        if self.way == "an optimum that sees its label":
            return prompts.ys
        if self.way == "an optimum that says zero":
            return torch.zeros_like(prompts.ys)
        return LeastSquares().predict(prompts)


@icl.register_inputs("stretched")
class Stretched(icl.InputDistribution):
    """x ~ N(0, 4 I)."""

    stated: float = Field(4.0, description="E|x|^2 / d as stated")

    def sample(self, n, points, dims, generator):  # type: ignore[no-untyped-def]
        return 2 * torch.randn(n, points, dims, generator=generator)

    def squared_norm(self, dims: int) -> float:
        return self.stated * dims


@icl.register_shift("changed")
class Changed(icl.Shift):
    """Prompts of the task, changed."""

    way: str = Field("nothing", description="what is changed")

    def draw(self, task, n, points, streams):  # type: ignore[no-untyped-def]
        prompts = super().draw(task, n, points, streams)
        if self.way == "targets":
            return replace(prompts, ys=3 * prompts.ys, targets=3 * prompts.targets)
        if self.way == "outliers":
            made = torch.rand(prompts.ys.shape, generator=streams.generator("outliers"))
            return replace(prompts, ys=torch.where(made < 0.3, 30.0, prompts.ys))
        if self.way == "mask":
            made = torch.rand(prompts.ys.shape, generator=streams.generator("mask"))
            return replace(prompts, mask=made < 0.7)
        if self.way == "mask of nothing":
            return replace(prompts, mask=torch.zeros_like(prompts.ys, dtype=torch.bool))
        if self.way == "double precision":
            return replace(prompts, xs=prompts.xs.double())
        if self.way == "last inputs as queries":
            return replace(prompts, queries=prompts.xs, targets=prompts.targets)
        return prompts


@icl.register_shift("claiming")
class Claiming(Changed):
    """The same, with the claim that the oracle holds."""

    oracle_holds = True


@icl.register_shift("mistyped")
class Mistyped(icl.Shift):
    """Means to double the functions."""

    def aply(self, task):  # type: ignore[no-untyped-def]
        return replace(task, factor=2.0)


@icl.register_shift("doubled")
class Doubled(icl.Shift):
    """Doubles the functions."""

    def apply(self, task):  # type: ignore[no-untyped-def]
        return replace(task, factor=2.0)


@icl.register_shift("called_none")
class CalledNone(Doubled):
    """Doubles the functions, and says that nothing is shifted."""

    def columns(self, task):  # type: ignore[no-untyped-def]
        return task.inputs.id, "none"


@icl.register_method("changing")
class Changing(icl.TrainingMethod):
    """Plain training, on prompts that may be changed first."""

    way: str = Field("right", description="what is changed")

    def update(self, session):  # type: ignore[no-untyped-def]
        batch = session.batch()
        if self.way == "larger inputs":
            batch = [replace(item, prompts=replace(item.prompts, xs=3 * item.prompts.xs)) for item in batch]
        if self.way == "other labels":
            batch = [replace(item, prompts=replace(item.prompts, ys=item.prompts.ys.flip(0))) for item in batch]
        if self.way == "in place":
            for item in batch:
                item.prompts.xs.mul_(3)
        if self.way == "fewer pairs":
            batch = [replace(item, prompts=item.prompts.first_points(3)) for item in batch]
        if self.way == "deeper" and session.step >= 4:
            session.model.depth = 3
        losses = add_gradients(session.model, batch)
        session.step_optimizers()
        return {"training": losses}


@icl.register_model("own_transformer")
class OwnTransformer(TransformerConfig):
    """The suite's own transformer, as a plugin's."""
