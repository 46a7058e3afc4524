"""Function classes that keep the contract and are as unlike the suite's own as possible; and how to check one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.draws import normal
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.regression import predict_every_prefix
from icl_curriculum.core.streams import Streams
from icl_curriculum.function_classes import FunctionClass, OutsideDomain, Parameters, SignValued
from icl_curriculum.function_classes.base import InputSampler, OracleKind
from icl_curriculum.inputs import random_rotations
from icl_curriculum.testing import Checkable, Finding, Result, check


def failures(component: Checkable, kind: str | None = None) -> dict[str, Finding]:
    """The first finding of every rule that fails."""
    return {result.rule: result.findings[0] for result in check(component, kind=kind) if result.findings}


def only_finding(component: Checkable, rule: str) -> Finding:
    """The finding of a component that breaks one rule and keeps all others."""
    found = failures(component)
    assert set(found) == {rule}, found
    assert found[rule].rule == rule
    return found[rule]


def finding_of(component: Checkable, rule: str) -> Finding:
    """The first finding of one rule, whatever the others say."""
    return result_of(component, rule).findings[0]


def result_of(component: Checkable, rule: str) -> Result:
    (result,) = check(component, rules=[rule])
    return result


class Plain(FunctionClass):
    """f(x) = w·x with w ~ N(0, I), without an oracle or closed forms."""

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        return {"w": normal(n, dims, generator=generator)}

    def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
        return torch.einsum("npd,nd->np", xs, parameters["w"])

    def trivial_error(self, dims: int) -> float:
        return float(dims)


class DecisionTree(Plain):
    """A tree of a few levels: uniform coordinates, threshold 0, leaves N(0, 1). Whole-number parameters."""

    depth: int = Field(3, ge=1, description="levels of decisions")

    @property
    def growth(self) -> float:
        return 0.0

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        nodes = 2**self.depth
        asked = torch.randint(dims, (n, nodes), generator=generator, device=generator.device)
        return {"asked": asked, "leaves": normal(n, nodes, generator=generator)}

    def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
        node = torch.ones(xs.shape[:2], dtype=torch.long, device=xs.device)
        for _ in range(self.depth):
            asked = parameters["asked"].gather(1, node)
            node = 2 * node + (xs.gather(2, asked.unsqueeze(2)).squeeze(2) > 0)
        return parameters["leaves"].gather(1, node - 2**self.depth)

    def trivial_error(self, dims: int) -> float:
        return 1.0


class ParityOfSigns(Plain):
    """The product of the signs of two coordinates, drawn per function: d (d - 1) / 2 functions, values of 1 and -1."""

    @property
    def growth(self) -> float:
        return 0.0

    def check_dims(self, dims: int) -> None:
        if dims < 2:
            raise UserError(f"parity needs two coordinates, not {dims}")

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        order = torch.rand(n, dims, generator=generator, device=generator.device).argsort(dim=1)
        return {"pair": order[:, :2].sort(dim=1).values}

    def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
        pair = parameters["pair"].unsqueeze(1).expand(-1, xs.shape[1], -1)
        return xs.gather(2, pair).sign().prod(dim=2)

    def trivial_error(self, dims: int) -> float:
        return 1.0


class LinearDynamics(Plain):
    """f(x) = c·rho Q x on a path x_+ = rho Q x + noise: the class makes its own inputs."""

    owns_inputs: ClassVar[bool] = True

    rho: float = Field(0.8, gt=0, lt=1, description="how much of a state is kept")

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        return {"c": normal(n, dims, generator=generator), "q": random_rotations(n, dims, generator)}

    def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
        return self.rho * torch.einsum("nd,nde,npe->np", parameters["c"], parameters["q"], xs)

    def trivial_error(self, dims: int) -> float:
        return self.rho**2 * dims

    def draw(self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams) -> Any:
        parameters = self.draw_functions(n, dims, streams)
        noise = normal(n, points, dims, generator=streams.generator("inputs"))
        path = [noise[:, 0]]
        for k in range(1, points):
            carried = torch.einsum("nde,ne->nd", parameters["q"], path[-1])
            path.append(self.rho * carried + math.sqrt(1 - self.rho**2) * noise[:, k])
        xs = torch.stack(path, dim=1)
        return xs, self.evaluate(parameters, xs), parameters


class Majority(SignValued):
    """The sign of the sum of three coordinates, for inputs of -1 and 1 alone, which it refuses otherwise."""

    reference_inputs: ClassVar[str | dict[str, Any]] = "rademacher"
    sign_inputs: ClassVar[bool] = True

    def check_dims(self, dims: int) -> None:
        if dims < 3:
            raise UserError(f"majority needs three coordinates, not {dims}")

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        order = torch.rand(n, dims, generator=generator, device=generator.device).argsort(dim=1)
        return {"chosen": order[:, :3].sort(dim=1).values}

    def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
        if bool((xs.abs() != 1).any()):
            raise OutsideDomain("majority: expected inputs of -1 and 1")
        chosen = parameters["chosen"].unsqueeze(1).expand(-1, xs.shape[1], -1)
        return xs.gather(2, chosen).sum(dim=2).sign()


class Ramp(Plain):
    """f(x) = w·x with |x_j| <= 1: reference inputs by the dimension, an oracle in few dimensions without noise."""

    largest_input: ClassVar[float] = 1.0

    @property
    def oracle_kind(self) -> OracleKind:
        return "optimum"

    def oracle_for(self, dims: int, label_noise: float) -> OracleKind:
        return "optimum" if dims <= 2 and label_noise == 0 else None

    def reference(self, dims: int) -> str | dict[str, Any]:
        return {"name": "uniform", "half_width": 1.0} if dims > 1 else "rademacher"

    def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
        if bool((xs.abs() > 1).any()):
            raise OutsideDomain("ramp: expected inputs within ±1")
        return super().evaluate(parameters, xs)

    def trivial_error(self, dims: int) -> float:
        return dims / 3 if dims > 1 else 1.0

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        return squared_norm

    def oracle(self, prompts: Prompts) -> Tensor:
        if prompts.dims > 2 or prompts.label_noise > 0:
            raise NotImplementedError("ramp has an oracle in one and two dimensions without noise")
        return predict_every_prefix(prompts.xs, prompts.ys, prompts.queries)


class OneNumber(Plain):
    """f(x) = a x^2 for a ~ U[1, 3] in one or two dimensions beyond twenty: one label without noise tells a."""

    @property
    def growth(self) -> float:
        return 2.0

    @property
    def oracle_kind(self) -> OracleKind:
        return "optimum"

    def check_dims(self, dims: int) -> None:
        if dims not in (21, 22):
            raise UserError(f"only 21 and 22 dimensions, not {dims}")

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        return {"a": 1 + 2 * torch.rand(n, generator=generator, device=generator.device)}

    def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
        return parameters["a"].unsqueeze(1) * xs[:, :, 0].square()

    def trivial_error(self, dims: int) -> float:
        return 3 * (4 + 4 / 12)

    def oracle_for(self, dims: int, label_noise: float) -> OracleKind:
        return "optimum" if label_noise == 0 else None

    def oracle(self, prompts: Prompts) -> Tensor:
        """The prior mean of a, then least squares."""
        squares, ys = prompts.xs[:, :, 0].double().square(), prompts.ys.double() / prompts.scale
        told = (squares * ys).cumsum(1) / squares.square().cumsum(1)
        a = torch.cat([torch.full_like(told[:, :1], 2.0), told[:, :-1]], dim=1)
        return a * prompts.query()[:, :, 0].double().square() * prompts.scale


UNUSUAL: list[type[FunctionClass]] = [Plain, DecisionTree, ParityOfSigns, LinearDynamics, Majority, Ramp, OneNumber]
