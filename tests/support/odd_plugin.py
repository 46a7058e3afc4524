"""A plugin whose components are legal and odd: tests copy this file and run them to the end."""

from dataclasses import replace

import torch
from torch import nn

import icl_curriculum as icl
from icl_curriculum.models import Model


@icl.register_model("transformer_of_mine")
class NoNumbers(icl.ModelConfig):
    """The mean label so far, times one learned number; its ``layers`` are no number."""

    layers: str = "many"

    def build(self, *, dims, points, generator):
        return MeanModel()


@icl.register_model("exploding")
class Exploding(icl.ModelConfig):
    """The same, which answers infinity to the prompts of the evaluation."""

    def build(self, *, dims, points, generator):
        return ExplodingModel()


class MeanModel(Model):
    max_points = 1000

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, xs, ys, queries=None):
        counts = torch.arange(1, ys.shape[1], device=ys.device)
        means = ys[:, :-1].cumsum(dim=1) / counts
        return self.scale * torch.cat([torch.zeros_like(ys[:, :1]), means], dim=1)


class ExplodingModel(MeanModel):
    def forward(self, xs, ys, queries=None):
        found = super().forward(xs, ys, queries)
        return found + float("inf") if len(xs) == 5 and not torch.is_grad_enabled() else found


@icl.register_function_class(r"${_%&\<b>")
class Nought(icl.FunctionClass):
    """f(x) = 0, though it says 1 of E f(x)^2."""

    def sample(self, n, dims, generator):
        return {"w": torch.zeros(n, dims)}

    def evaluate(self, parameters, xs):
        return torch.einsum("npd,nd->np", xs, parameters["w"])

    def trivial_error(self, dims):
        return 1.0


@icl.register_shift("one_point")
class OnePoint(icl.Shift):
    """Prompts without an example, k = 0 alone."""

    def points(self, points):
        return 1


@icl.register_shift("nothing_left")
class NothingLeft(icl.Shift):
    """A mask that leaves nothing."""

    def draw(self, task, n, points, streams):
        prompts = super().draw(task, n, points, streams)
        return replace(prompts, mask=torch.zeros_like(prompts.ys, dtype=torch.bool))


@icl.register_shift("no_text")
class NoText(icl.Shift):
    """Columns that are no texts."""

    def columns(self, task):
        return task.inputs.id, 3


@icl.register_shift("no_task")
class NoTask(icl.Shift):
    """Fails to make a task."""

    def apply(self, task):
        raise KeyError("no task")


@icl.register_baseline("never")
class Never(icl.Baseline):
    """Fails on every prompt of the evaluation."""

    def predict(self, prompts):
        return torch.zeros_like(prompts.ys) + (float("nan") if len(prompts) == 5 else 0)


@icl.register_baseline("exact")
class Exact(icl.Baseline):
    """Zero, which for functions that are zero is exact."""

    def predict(self, prompts):
        return torch.zeros_like(prompts.ys)
