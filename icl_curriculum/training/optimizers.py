"""Optimizers: torch's AdamW, and Muon with all matrices of a shape orthogonalised as one batch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from icl_curriculum.config import OptimizerConfig, ScheduleConfig
from icl_curriculum.models.base import Model

# Quintic Newton-Schulz coefficients of Jordan et al. 2024, chosen for a steep slope at zero.
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Replace the singular values of each matrix (..., rows, columns) by values near 1, in float32.

    Five quintic Newton-Schulz iterations on the whole batch at once. Source: Jordan et al. 2024, "Muon".
    """
    a, b, c = _NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    shape = x.shape
    x = x.reshape(-1, *shape[-2:])
    for _ in range(iterations):
        gram = torch.bmm(x, x.mT)
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    x = x.reshape(shape)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose direction is orthogonalised, for parameters whose last two axes are matrices.

    Leading axes are a batch: one call per parameter serves all blocks. Updates are scaled by
    sqrt(max(1, rows / columns)), so that the rate is a step in spectral norm from input to output.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"]
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                direction = parameter.grad.lerp(momentum, group["momentum"])
                rows, columns = parameter.shape[-2:]
                scale = math.sqrt(max(1.0, rows / columns))
                if group["weight_decay"]:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(orthogonalize(direction), alpha=-group["lr"] * scale)


class Optimizers:
    """All optimizers of one model, driven by one schedule.

    ``muon`` takes the parameters that the model names in ``matrices`` and leaves the rest to AdamW.
    """

    def __init__(self, model: Model, config: OptimizerConfig) -> None:
        matrices = set(model.matrices)
        by_muon = [p for name, p in model.named_parameters() if config.name == "muon" and name in matrices]
        decayed = [p for name, p in model.named_parameters() if config.name != "muon" and name in matrices]
        others = [p for name, p in model.named_parameters() if name not in matrices]
        decay = 0.0 if config.name == "adam" else config.weight_decay
        groups = [{"params": decayed, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        self.members: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [group for group in groups if group["params"]],
                lr=config.learning_rate,
                betas=config.betas,
                fused=True,
            )
        ]
        self.peaks = [config.learning_rate]
        if by_muon:
            self.members.append(Muon(by_muon, config.muon_learning_rate, config.momentum, decay))
            self.peaks.append(config.muon_learning_rate)

    def step(self, factor: float) -> None:
        """Update with every peak rate times ``factor``, and clear the gradients."""
        for member, peak in zip(self.members, self.peaks, strict=True):
            for group in member.param_groups:
                group["lr"] = peak * factor
            member.step()
            member.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        return [member.state_dict() for member in self.members]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for member, state in zip(self.members, states, strict=True):
            member.load_state_dict(state)


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
