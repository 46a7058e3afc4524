"""The models that are timed in a training step: Hugging Face's GPT-2, and the suite's with and without autograd.

All read the same prompts of the linear class, predict at every x token, and take one optimizer step on the mean
squared error. Tokens of GPT-2: x_1, y_1, x_2, y_2, ..., labels padded with zeros to d (Garg et al. 2022).
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl_curriculum.bench.tables import ModelSize
from icl_curriculum.config.loading import RECIPES
from icl_curriculum.config.tables import OptimizerConfig, TrainingConfig
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.extras import install_command
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import Streams, generator
from icl_curriculum.models import Transformer, TransformerConfig
from icl_curriculum.tasks import Task
from icl_curriculum.training import Portion, add_gradients
from icl_curriculum.training.compiling import CompiledForward
from icl_curriculum.training.optimizers import Optimizers
from icl_curriculum.verify.cases import task_of

HUGGING_FACE = "Hugging Face GPT-2"
MISSING = f"{HUGGING_FACE} is left out: {install_command('bench')}"
#: The published model, and its optimizer.
GPT2: dict[str, Any] = {key: value for key, value in RECIPES["reference"]["model"].items() if key != "name"}
ADAM = OptimizerConfig(**RECIPES["reference"]["training"]["optimizer"])
#: Two names of one function: the first is computed operation by operation, the second by a single kernel.
ACTIVATIONS = ("gelu_new", "gelu_pytorch_tanh")
#: How many batches are drawn before the clock starts. Steps go through them in turn.
BATCHES = 8


class Missing(Exception):
    """A competitor is not installed; the message says how to install it."""


@dataclass(frozen=True)
class Competitor:
    """A model to time: ``step`` takes one training step, ``predict`` answers prompts. ``variant``: how it is set up."""

    name: str
    step: Callable[[], object]
    predict: Callable[[Prompts], Tensor]
    variant: str = ""


def batches(size: ModelSize, device: str, n: int = BATCHES) -> list[Prompts]:
    """Prompts of the linear class on the device."""
    task: Task = task_of("linear", size.dims)
    streams = (Streams(0, "bench", index, device) for index in range(n))
    return [task.draw(size.batch, size.points, each).without_truth() for each in streams]


def ours(
    name: str,
    size: ModelSize,
    prompts: Sequence[Prompts],
    device: str,
    *,
    gpt2: bool,
    autograd: bool = False,
    compiled: bool = False,
) -> Competitor:
    """A model as the trainer trains it. ``autograd``: take gradients by autograd even if the model has a faster way.

    ``compiled``: as with ``training.compile``.
    """
    config = TransformerConfig(
        width=size.width, layers=size.layers, heads=size.heads, max_points=size.points, **(GPT2 if gpt2 else {})
    )
    model: Transformer = config.build(dims=size.dims, points=size.points, generator=generator(0, "bench/weights"))
    model = model.to(device)
    if autograd or compiled:
        model.gradients = None
    forward = CompiledForward(model, device, sizes=1) if compiled else None
    training = TrainingConfig()
    optimizers = Optimizers(model, ADAM if gpt2 else training.optimizer, None if gpt2 else training.clip)
    given = cycle(prompts)

    def update() -> None:
        with model.threads_of_step():
            with contextlib.nullcontext() if forward is None else forward.in_place(model):
                add_gradients(model, [Portion(("linear", "gaussian"), next(given), 1.0)])
            optimizers.step(1.0)

    return Competitor(name, update, model.predict)


class GPT2Regressor(nn.Module):
    """Hugging Face's ``GPT2Model`` between a linear read-in and a linear read-out.

    It is set up for speed: fused attention, no dropout, no cache. `Missing` where transformers is not installed.
    """

    def __init__(self, size: ModelSize, activation: str) -> None:
        super().__init__()
        try:
            # Not an import statement, for which mypy would read all of transformers: half a minute.
            transformers = importlib.import_module("transformers")
        except ImportError:
            raise Missing(MISSING) from None
        config = transformers.GPT2Config(
            vocab_size=1, bos_token_id=None, eos_token_id=None, n_positions=2 * size.points, n_embd=size.width,
            n_layer=size.layers, n_head=size.heads, activation_function=activation, resid_pdrop=0.0, embd_pdrop=0.0,
            attn_pdrop=0.0, attn_implementation="sdpa", use_cache=False,
        )  # fmt: skip
        self.read_in = nn.Linear(size.dims, size.width)
        self.backbone: Any = transformers.GPT2Model(config)
        self.read_out = nn.Linear(size.width, 1)

    def forward(
        self, xs: Float[Tensor, "batch points dims"], ys: Float[Tensor, "batch points"]
    ) -> Float[Tensor, "batch points"]:
        labels = torch.zeros_like(xs)
        labels[..., 0] = ys
        tokens = torch.stack([xs, labels], dim=2).flatten(1, 2)
        hidden = self.backbone(inputs_embeds=self.read_in(tokens), use_cache=False).last_hidden_state
        predictions: Tensor = self.read_out(hidden[:, ::2]).squeeze(-1)
        return predictions


def hugging_face(
    size: ModelSize, prompts: Sequence[Prompts], device: str, activation: str = ACTIVATIONS[1], *, fused: bool = True
) -> Competitor:
    """`GPT2Regressor` with torch's Adam. `Missing` where transformers is not installed."""
    model = GPT2Regressor(size, activation).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=ADAM.learning_rate, betas=ADAM.betas, fused=fused or None)
    given = cycle(prompts)

    def step() -> None:
        batch = next(given)
        loss = (model(batch.xs, batch.ys) - batch.targets).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def predict(asked: Prompts) -> Tensor:
        answers: Tensor = model(asked.xs, asked.ys)
        return answers

    return Competitor(HUGGING_FACE, step, predict, f"{activation}, {'fused ' if fused else ''}Adam")


def hugging_face_variants(size: ModelSize, prompts: Sequence[Prompts], device: str) -> list[Competitor]:
    """The ways to set up Hugging Face's model, of which the fastest is shown."""
    return [
        hugging_face(size, prompts, device, activation, fused=f) for activation in ACTIVATIONS for f in (False, True)
    ]


#: By name: whether the model has GPT-2's architecture, and whether its gradients are taken by autograd.
OURS = {
    "ours, gpt2": (True, False),
    "ours, gpt2, autograd": (True, True),
    "ours, fast": (False, False),
    "ours, fast, autograd": (False, True),
}
#: Those that are compiled, by name, and which of the others has the same operations.
COMPILED = {"ours, gpt2, compiled": "ours, gpt2, autograd", "ours, fast, compiled": "ours, fast, autograd"}


def build(name: str, size: ModelSize, prompts: Sequence[Prompts], device: str) -> Competitor:
    """Build a competitor by its name; Hugging Face's in the variant that is usually fastest."""
    if name == HUGGING_FACE:
        return hugging_face(size, prompts, device)
    if (like := COMPILED.get(name, name)) not in OURS:
        raise UserError(f"unknown competitor {name!r}")
    gpt2, autograd = OURS[like]
    return ours(name, size, prompts, device, gpt2=gpt2, autograd=autograd, compiled=name in COMPILED)
