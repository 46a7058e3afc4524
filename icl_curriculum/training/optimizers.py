"""Optimizers: AdamW by torch's fused kernel, and Muon with all matrices of a shape orthogonalised as one batch.

They do not build on `torch.optim.Optimizer`, which imports torch's compiler when the first one is made: 1.4 seconds
with torch 2.13 on two cores, about as long as the experiment ``smoke`` trains. `torch.optim.Muon` orthogonalises one
matrix after another and cost more than the rest of the step.

Rates are numbers, which a kernel takes as arguments, and Adam counts its steps on the parameters' device: nothing goes
there and nothing is waited for. They would have to be tensors if the optimizers were a part of what is compiled, where
a number is a constant; they are not (`training.compiling`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from icl_curriculum.config.tables import OptimizerConfig, ScheduleConfig
from icl_curriculum.core.machine import arithmetic
from icl_curriculum.core.threads import in_threads, sharing, threads_to_share
from icl_curriculum.models.base import Model

# Odd quintics a x + b x^3 + c x^5, one after another: each brings what the one before leaves of [0.003, 1] as near to 1
# as a quintic can (Amsel et al. 2025, "The Polar Express"; a test solves for them). Together they turn every singular
# value of that interval into one between 0.80 and 1.20.
POLAR = (
    (8.38367, -24.76591, 18.35708),
    (4.04342, -3.01141, 0.56951),
    (3.50557, -2.62665, 0.52572),
    (2.49012, -1.83428, 0.43683),
)


def orthogonalize(matrices: Tensor, quintics: Sequence[tuple[float, float, float]] = POLAR) -> Tensor:
    """Replace the singular values of each matrix (..., rows, columns) by values near 1, in float32.

    Source: Jordan et al. 2024, "Muon", with the polynomials above. All matrices are one batch. For long ones the
    iteration runs on their Gram matrices alone, whose side is the short one.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    shape = x.shape
    x = x.reshape(-1, *shape[-2:])
    if shape[-1] >= 2 * shape[-2]:
        x = torch.bmm(_factor_by_gram(torch.bmm(x, x.mT), quintics), x)
    else:
        for a, b, c in quintics:
            gram = torch.bmm(x, x.mT)
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = x.reshape(shape)
    return x.mT if tall else x


def _factor_by_gram(gram: Tensor, quintics: Sequence[tuple[float, float, float]]) -> Tensor:
    """The matrix by which the quintics together multiply x (n, rows, columns), from ``gram`` = x x^T alone."""
    factors: list[Tensor] = []
    for i, (a, b, c) in enumerate(quintics):
        if i:
            # Polynomials of one symmetric matrix: they commute.
            gram = torch.bmm(torch.bmm(factors[-1], gram), factors[-1])
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        factors.append(factor)
    product = factors[0]
    for factor in factors[1:]:
        product = torch.bmm(factor, product)
    return product


def _multiplications(shape: torch.Size, quintics: int = len(POLAR)) -> int:
    """The multiplications of `orthogonalize` for matrices of a shape."""
    short, long = sorted(shape[-2:])
    # By the Gram matrix there are two products with the long side, and else three for every quintic.
    sides = 2 * long + (4 * quintics - 3) * short if long >= 2 * short else quintics * (2 * long + short)
    return math.prod(shape[:-2]) * short**2 * sides


State = dict[str, list[Tensor]]


class AdamW:
    """Adam with decoupled weight decay, by the kernel behind ``torch.optim.AdamW(fused=True)``, bit by bit.

    Source: Loshchilov and Hutter 2019.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        self.parameters = list(parameters)
        self.lr, self.betas, self.weight_decay, self.eps = lr, betas, weight_decay, eps
        self.state: State = {
            "means": [torch.zeros_like(p) for p in self.parameters],
            "squares": [torch.zeros_like(p) for p in self.parameters],
            "steps": [torch.zeros((), device=p.device) for p in self.parameters],
        }

    @torch.no_grad()
    def step(self) -> None:
        moved = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        if not moved:
            return
        means, squares, steps = ([self.state[name][i] for i in moved] for name in ("means", "squares", "steps"))
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            [self.parameters[i] for i in moved], [grad for p in self.parameters if (grad := p.grad) is not None],
            means, squares, [], steps, lr=self.lr, beta1=self.betas[0], beta2=self.betas[1],
            weight_decay=self.weight_decay, eps=self.eps, amsgrad=False, maximize=False,
        )  # fmt: skip


class Muon:
    """Nesterov momentum whose direction is orthogonalised, for parameters whose last two axes are matrices.

    Leading axes are a batch: one call per parameter serves all blocks. Updates are scaled by
    sqrt(max(1, rows / columns)), so that the rate is a step in spectral norm from input to output.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        self.parameters = list(parameters)
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.state: State = {"momentum": [torch.zeros_like(p) for p in self.parameters]}

    @torch.no_grad()
    def step(self) -> None:
        if sharing() and self.parameters:
            in_threads(self._move, self._shares(threads_to_share()))
        else:
            self._move(range(len(self.parameters)))

    @torch.no_grad()
    def _move(self, numbers: Iterable[int]) -> None:
        """Move some of the parameters."""
        for number in numbers:
            parameter, momentum = self.parameters[number], self.state["momentum"][number]
            if parameter.grad is None:
                continue
            momentum.lerp_(parameter.grad, 1 - self.momentum)
            direction = parameter.grad.lerp(momentum, self.momentum)
            rows, columns = parameter.shape[-2:]
            scale = math.sqrt(max(1.0, rows / columns))
            if self.weight_decay:
                parameter.mul_(1 - self.lr * self.weight_decay)
            parameter.add_(orthogonalize(direction), alpha=-self.lr * scale)

    def _shares(self, threads: int) -> list[list[int]]:
        """The parameters by thread: from the costliest on, each to the thread that has least to do."""
        costs = [_multiplications(parameter.shape) for parameter in self.parameters]
        shares: list[list[int]] = [[] for _ in range(min(threads, len(costs)))]
        for number in sorted(range(len(costs)), key=lambda number: -costs[number]):
            min(shares, key=lambda share: sum(costs[other] for other in share)).append(number)
        return shares


class Moments(NamedTuple):
    """Adam's running means of a parameter's gradient and of its square, the steps behind them, and their decays."""

    mean: Tensor
    square: Tensor
    steps: Tensor
    betas: tuple[float, float]


class Optimizers:
    """All optimizers of one model, driven by one schedule.

    ``muon`` takes the parameters that the model names in ``matrices`` and leaves the rest to AdamW. ``clip``: the
    largest norm of the gradient over all parameters; None or infinite: it is not clipped. ``steps``: those of the run,
    over which ``run_decay`` is spread.
    """

    def __init__(self, model: Model, config: OptimizerConfig, clip: float | None = None, *, steps: int = 1) -> None:
        self.clipped = list(model.parameters())
        self.clip = None if clip is None or math.isinf(clip) else clip
        matrices = set(model.matrices)
        by_muon = [p for name, p in model.named_parameters() if config.name == "muon" and name in matrices]
        decayed = [p for name, p in model.named_parameters() if config.name != "muon" and name in matrices]
        others = [p for name, p in model.named_parameters() if name not in matrices]
        rate, of_muon, betas = config.learning_rate, config.muon_learning_rate, config.betas
        decay = config.decay(rate, steps)
        self.members: list[AdamW | Muon] = [AdamW(decayed, rate, betas, decay), AdamW(others, rate, betas)]
        if by_muon:
            self.members.append(Muon(by_muon, of_muon, config.momentum, config.decay(of_muon, steps)))
        self.device = next(model.parameters()).device.type
        self.peaks = [member.lr for member in self.members]

    def step(self, factor: float) -> None:
        """Clip the gradient, update in float32 with every peak rate times ``factor``, and clear the gradients."""
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.clipped, self.clip)
        with arithmetic("float32", self.device):
            for member, peak in zip(self.members, self.peaks, strict=True):
                member.lr = peak * factor
                member.step()
                for parameter in member.parameters:
                    parameter.grad = None

    def moments(self, parameter: nn.Parameter) -> Moments:
        """Adam's moments of a parameter, which are the optimizer's own. KeyError for one that Muon moves."""
        for member in self.members:
            if isinstance(member, AdamW):
                for number, own in enumerate(member.parameters):
                    if own is parameter:
                        mean, square, steps = (member.state[name][number] for name in ("means", "squares", "steps"))
                        return Moments(mean, square, steps, member.betas)
        raise KeyError("Adam moves no such parameter")

    def state_dict(self) -> list[State]:
        return [member.state for member in self.members]

    @torch.no_grad()
    def load_state_dict(self, states: list[State]) -> None:
        """Copy what `state_dict` returned. Raises KeyError, ValueError or RuntimeError for another model's."""
        for member, state in zip(self.members, states, strict=True):
            for name, values in member.state.items():
                for value, saved in zip(values, state[name], strict=True):
                    value.copy_(saved)


def schedule_factor(config: ScheduleConfig, step: int, steps: int) -> float:
    """The factor on the peak rates at ``step`` (0-based) of ``steps``: linear warm-up, 1, then the decay to 0.

    >>> config = ScheduleConfig(name="linear", warmup=0.4, decay=0.4)
    >>> [round(schedule_factor(config, step, 5), 2) for step in range(5)]
    [0.5, 1.0, 1.0, 1.0, 0.5]
    """
    warmup, decay = round(config.warmup * steps), round(config.decay * steps)
    rising = (step + 1) / warmup if step < warmup else 1.0
    left = min(1.0, (steps - step) / max(1, decay))
    falling = {"constant": 1.0, "linear": left, "cosine": 0.5 * (1 - math.cos(math.pi * left))}[config.name]
    return min(rising, falling)
