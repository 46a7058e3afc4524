"""Classification: linear maps whose largest number is the class, and classes that are clouds of points.

Dimensions: n = functions (one per prompt), points = K + 1, dims = d, classes = C.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.draws import normal
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import Streams
from icl_curriculum.function_classes.base import (
    ClassValued,
    InputSampler,
    OracleKind,
    Parameters,
    one_hot,
    register_function_class,
)


@register_function_class("multiclass_linear")
class MulticlassLinear(ClassValued):
    """The class of x is the index of the largest number of W x, with independent N(0, 1) entries in the C × d matrix W.

    Every class is as likely as any other. No oracle in closed form: the posterior of W is a Gaussian cut to a cone.
    With two classes it is `linear_classification` with other labels.
    """

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        return {"W": normal(n, self.n_classes, dims, generator=generator)}

    def classify(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Int[Tensor, "n points"]:
        return torch.einsum("npd,ncd->npc", xs, parameters["W"]).argmax(dim=-1)


@register_function_class("gaussian_classes")
class GaussianClasses(ClassValued):
    """Clouds of points: a point's class c is uniform, x | c ~ N(mu_c, sigma^2 I), with mu_c ~ N(0, I) per function.

    It makes its own inputs, each of which is N(0, (1 + sigma^2) I), and its labels are drawn with them: no learner can
    know them all. `evaluate` gives the class of the nearest mean, which is right most often. Oracle: the exact
    posterior predictive. Of the n examples of a class, with mean m, its own mean is N(n m / (n + sigma^2), v I) with
    v = sigma^2 / (n + sigma^2), so a query of that class is N(n m / (n + sigma^2), (v + sigma^2) I), and Bayes' rule
    with equally likely classes gives their probabilities. None under label noise.
    """

    owns_inputs: ClassVar[bool] = True
    drawn_labels: ClassVar[bool] = True

    sigma: float = Field(
        0.5, gt=0, le=1e3, description="standard deviation of the points about the mean of their class"
    )

    def oracle_for(self, dims: int, label_noise: float) -> OracleKind:
        return "optimum" if label_noise == 0 else None

    @property
    def oracle_kind(self) -> OracleKind:
        return self.oracle_for(1, self.label_noise)

    def reference(self, dims: int) -> str | dict[str, Any]:
        return {"name": "scaled", "factor": math.sqrt(1 + self.sigma**2)}

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        return {"means": normal(n, self.n_classes, dims, generator=generator)}

    def classify(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Int[Tensor, "n points"]:
        means = parameters["means"]
        return (torch.einsum("npd,ncd->npc", xs, means) - means.square().sum(-1).unsqueeze(1) / 2).argmax(dim=-1)

    def draw(
        self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams
    ) -> tuple[Float[Tensor, "n points dims"], Float[Tensor, "n points classes"], Parameters]:
        """Draw the class of every point, then the point about the mean of its class.

        ``inputs`` gives N(0, (1 + sigma^2) I), of which sigma e is made, e ~ N(0, I).
        """
        spread = inputs.sample(n, points, dims, streams.generator("inputs"))
        parameters = self.draw_functions(n, dims, streams)
        made = streams.generator("classes")
        classes = torch.randint(self.n_classes, (n, points), generator=made, device=made.device)
        own = parameters["means"].gather(1, classes.unsqueeze(-1).expand(-1, -1, dims))
        xs = own + spread * (self.sigma / math.sqrt(1 + self.sigma**2))
        return xs, one_hot(classes, self.n_classes), parameters

    def oracle(self, prompts: Prompts) -> Float[Tensor, "batch points classes"]:
        xs, labels, queries = prompts.xs.double(), prompts.ys.double(), prompts.query().double()
        # Before each entry: how many examples of each class there are, and the sum of their inputs.
        counts = F.pad(labels.cumsum(dim=1)[:, :-1], (0, 0, 1, 0))
        sums = F.pad((labels.unsqueeze(-1) * xs.unsqueeze(2)).cumsum(dim=1)[:, :-1], (0, 0, 0, 0, 1, 0))
        variance = self.sigma**2
        means = sums / (counts + variance).unsqueeze(-1)
        spreads = variance / (counts + variance) + variance
        distances = (queries.unsqueeze(2) - means).square().sum(dim=-1)
        return (-distances / (2 * spreads) - prompts.dims / 2 * spreads.log()).log_softmax(dim=-1)
