"""A plugin with one component of every kind, as somebody outside would write it; tests copy and install this file."""

from dataclasses import replace

import torch
from torch import nn

import icl_curriculum as icl
from icl_curriculum.inputs import Gaussian
from icl_curriculum.launchers import UnitProcess
from icl_curriculum.models import Model
from icl_curriculum.training import add_gradients


@icl.register_function_class("halved")
class Halved(icl.FunctionClass):
    """f(x) = w·x / 2 with w ~ N(0, I)."""

    def sample(self, n, dims, generator):
        return {"w": torch.randn(n, dims, generator=generator, device=generator.device)}

    def evaluate(self, parameters, xs):
        return torch.einsum("npd,nd->np", xs, parameters["w"]) / 2

    def trivial_error(self, dims):
        return dims / 4


@icl.register_inputs("wide")
class Wide(icl.InputDistribution):
    """x ~ N(0, 4 I)."""

    def sample(self, n, points, dims, generator):
        return 2 * torch.randn(n, points, dims, generator=generator, device=generator.device)

    def squared_norm(self, dims):
        return 4.0 * dims


@icl.register_observation("doubled")
class Doubled(icl.Observation):
    """Every label is shown twice as large."""

    kinds = frozenset({"numbers", "vectors"})
    noise_variance = property(lambda self: 1.0)  # (2 f - f)^2 over f^2

    def show(self, pairs, generator):
        return replace(pairs, ys=2 * pairs.ys)


@icl.register_shift("as_gaussian")
class AsGaussian(icl.Shift):
    """Standard normal inputs whatever the task's."""

    def apply(self, task):
        return replace(task, inputs=Gaussian())


@icl.register_curriculum("backwards")
class Backwards(icl.Curriculum):
    """The last item in the first half, all of them in the second."""

    def shares(self, step, state, *, items, steps):
        if step < steps // 2:
            return [0.0] * (len(items) - 1) + [1.0]
        return [1 / len(items)] * len(items)


@icl.register_baseline("last_label")
class LastLabel(icl.Baseline):
    """The label of the last example."""

    def predict(self, prompts):
        return torch.cat([torch.zeros_like(prompts.ys[:, :1]), prompts.ys[:, :-1]], dim=1)


@icl.register_model("scaled_mean")
class ScaledMean(icl.ModelConfig):
    """The mean label so far, times one learned number."""

    def build(self, *, dims, points, generator):
        model = MeanModel()
        model.scale.data = torch.rand((), generator=generator)
        return model

    def longest_prompt(self, points):
        return 10 * points


class MeanModel(Model):
    max_points = 1000

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, xs, ys, queries=None):
        counts = torch.arange(1, ys.shape[1], device=ys.device)
        means = ys[:, :-1].cumsum(dim=1) / counts
        return self.scale * torch.cat([torch.zeros_like(ys[:, :1]), means], dim=1)


@icl.register_method("twice")
class Twice(icl.TrainingMethod):
    """Plain in-context training with two steps on every batch."""

    def update(self, session):
        batch = session.batch()
        losses = add_gradients(session.model, batch)
        session.step_optimizers()
        add_gradients(session.model, batch)
        session.step_optimizers()
        return {"training": losses}


@icl.register_metric("far_off")
class FarOff(icl.Metric):
    """The share of answers that are off by more than 1/2."""

    power = 0

    def errors(self, predictions, targets, task):
        off = (predictions - targets).abs()
        return torch.where(off.isnan(), torch.nan, (off > 0.5).double())

    def undefined(self, task):
        return "its labels are no single numbers" if task.function_class.label_dims > 1 else None


@icl.register_launcher("one_by_one")
class OneByOne(icl.Launcher):
    """A process for each run, one after another."""

    def check(self):
        pass

    def execute(self, launch, watch):
        for unit in launch.units:
            file = unit.write(launch.folder / "units" / unit.name)
            for _ in range(3):
                process = UnitProcess(unit.command, file, name=unit.name)
                watch.started(unit.name)
                for message in process.messages():
                    watch.heard(unit.name, message)
                if not process.was_killed:
                    break
            watch.ended(unit.name, process.problem)
