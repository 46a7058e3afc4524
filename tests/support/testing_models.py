"""A model unlike the suite's own that can do everything a model may declare, in parts that tests break one by one."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from icl_curriculum.models import Capability, Model, ModelConfig

WIDTH, LAYERS, HEADS = 6, 2, 3


class Reader(Model):
    """Attention over all pairs and then all queries, made of torch's own layers."""

    def __init__(self, dims: int, points: int) -> None:
        super().__init__()
        self.max_points = 2 * points
        self.pair, self.query = nn.Linear(dims + 1, WIDTH), nn.Linear(dims, WIDTH)
        self.attend = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(LAYERS))
        self.mix = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))
        self.read_out = nn.Linear(WIDTH, 1)
        self.register_buffer("scale", torch.tensor(1 / math.sqrt(WIDTH // HEADS)))

    def forward(
        self,
        xs: Tensor,
        ys: Tensor,
        queries: Tensor | None = None,
        *,
        head_mask: Tensor | None = None,
        instruction: Tensor | None = None,
    ) -> Tensor:
        if xs.shape[1] > self.max_points:
            raise ValueError(f"{xs.shape[1]} points, of which {self.max_points} can be read")
        return self.read_out(self.hidden(xs, ys, queries, head_mask)[0][:, xs.shape[1] :]).squeeze(-1)

    def attention(self, xs: Tensor, ys: Tensor, queries: Tensor | None = None) -> Tensor:
        return torch.stack(self.hidden(xs, ys, queries)[1], dim=1)

    def hidden(
        self, xs: Tensor, ys: Tensor, queries: Tensor | None, head_mask: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        pairs = self.pair(torch.cat([xs, ys.unsqueeze(-1)], dim=-1))
        h = torch.cat([pairs, self.query(xs if queries is None else queries)], dim=1)
        seen, maps = self.seen(xs.shape[1], xs.device), []
        for layer, (attend, mix) in enumerate(zip(self.attend, self.mix, strict=True)):
            q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in attend(h).chunk(3, dim=-1))
            maps.append((q @ k.mT * self.scale).masked_fill(~seen, -math.inf).softmax(dim=-1))
            shares = maps[-1] if head_mask is None else maps[-1] * head_mask[layer][:, None, None]
            h = h + mix((shares @ v).transpose(1, 2).flatten(-2)).tanh()
        return h, maps

    def seen(self, points: int, device: Any) -> Tensor:
        """Pairs see the pairs up to themselves; query k sees pairs 0 to k - 1 and itself."""
        mask = torch.ones(points, points, dtype=torch.bool, device=device)
        alone = torch.eye(points, dtype=torch.bool, device=device)
        return torch.cat([torch.cat([mask.tril(), ~mask], 1), torch.cat([mask.tril(-1), alone], 1)])


class ReaderConfig(ModelConfig):
    """A small transformer whose queries come after all pairs."""

    capabilities = frozenset(Capability)
    model_type: ClassVar[type[Reader]] = Reader

    def build(self, *, dims: int, points: int, generator: torch.Generator) -> Model:
        # torch's layers draw as they are made.
        with torch.random.fork_rng(devices=[]):
            model = self.model_type(dims, points)
        with torch.no_grad():
            for value in model.parameters():
                value.copy_(torch.randn(value.shape, generator=generator) * 0.5)
        return model

    def longest_prompt(self, points: int) -> int:
        return 2 * points


def with_model(model_type: type[Reader], **members: Any) -> type[ReaderConfig]:
    """A config like `ReaderConfig` of another model, with other members of its own."""
    members = {"__doc__": "Like the reader.", "__module__": __name__, "model_type": model_type, **members}
    return type("Changed", (ReaderConfig,), members)
