"""A model unlike the suite's own that can do everything a model may declare, in parts that tests break one by one."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from icl_curriculum.core.errors import UserError
from icl_curriculum.models import Capability, HeadEdit, Instruction, Model, ModelConfig, TokenPlaces

WIDTH, LAYERS, HEADS = 6, 2, 3


class Reader(Model):
    """Attention over instructions, then all pairs and then all queries, made of torch's own layers."""

    def __init__(self, dims: int, points: int, instruction: Instruction | None = None, label_dims: int = 1) -> None:
        super().__init__()
        self.max_points = 2 * points
        self.instruction = instruction
        self.pair, self.query = nn.Linear(dims + label_dims, WIDTH), nn.Linear(dims, WIDTH)
        self.attend = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(LAYERS))
        self.mix = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))
        self.read_out = nn.Linear(WIDTH, label_dims)
        self.register_buffer("scale", torch.tensor(1 / math.sqrt(WIDTH // HEADS)))
        if instruction is not None and instruction.kind != "one_hot":
            self.keep(torch.empty(len(instruction.names), instruction.vectors, WIDTH))

    def keep(self, vectors: Tensor) -> None:
        if self.instruction is not None and self.instruction.kind == "learned":
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)

    def forward(
        self,
        xs: Tensor,
        ys: Tensor,
        queries: Tensor | None = None,
        *,
        head_mask: HeadEdit | None = None,
        instruction: Tensor | None = None,
    ) -> Tensor:
        if xs.shape[1] > self.max_points:
            raise ValueError(f"{xs.shape[1]} points, of which {self.max_points} can be read")
        hidden = self.hidden(xs, ys, queries, instruction, head_mask)[0]
        found = self.read_out(hidden[:, -xs.shape[1] :])
        return found.squeeze(-1) if ys.ndim == 2 else found

    def attention(
        self, xs: Tensor, ys: Tensor, queries: Tensor | None = None, *, instruction: Tensor | None = None
    ) -> Tensor:
        return torch.stack(self.hidden(xs, ys, queries, instruction)[1], dim=1)

    def token_places(self, points: int) -> TokenPlaces:
        raise UserError("a label stands in one token with its input")

    def hidden(
        self,
        xs: Tensor,
        ys: Tensor,
        queries: Tensor | None,
        instruction: Tensor | None = None,
        head_mask: HeadEdit | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        pairs = self.pair(torch.cat([xs, ys.unsqueeze(-1) if ys.ndim == 2 else ys], dim=-1))
        told = self.told(xs, instruction)
        h = torch.cat([told, pairs, self.query(xs if queries is None else queries)], dim=1)
        first, maps = told.shape[1], []
        seen = torch.ones(h.shape[1], h.shape[1], dtype=torch.bool, device=xs.device).tril()
        seen[first:, first:] = self.seen(xs.shape[1], xs.device)
        for layer, (attend, mix) in enumerate(zip(self.attend, self.mix, strict=True)):
            q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in attend(h).chunk(3, dim=-1))
            maps.append((q @ k.mT * self.scale).masked_fill(~seen, -math.inf).softmax(dim=-1))
            mixed = maps[-1] @ v
            if head_mask is not None:
                mixed = head_mask.apply(layer, mixed, self.positions(xs))
            h = h + mix(mixed.transpose(1, 2).flatten(-2)).tanh()
        return h, maps

    def positions(self, xs: Tensor) -> Tensor:
        """The places of all tokens as if query k came before pair k, which makes them the same for all lengths."""
        first, places = self.instruction_tokens, 2 * torch.arange(xs.shape[1], device=xs.device)
        return torch.cat([torch.arange(first, device=xs.device), first + places + 1, first + places])

    def told(self, xs: Tensor, rows: Tensor | None) -> Tensor:
        """The vectors (batch, tokens, width) that stand before the prompts."""
        if self.instruction is None:
            return xs.new_zeros(len(xs), 0, WIDTH)
        return self.vectors_of(xs, self.instruction.check(len(xs), rows))

    def vectors_of(self, xs: Tensor, rows: Tensor) -> Tensor:
        assert self.instruction is not None
        known = (rows >= 0).to(xs)[:, None, None]
        if self.instruction.kind == "one_hot":
            one_hot = nn.functional.one_hot(rows.clamp(min=0), xs.shape[-1]).to(xs)[:, None] * known
            return self.query(one_hot).expand(-1, self.instruction.tokens, -1)
        return (self.vectors[rows] * known).expand(-1, self.instruction.tokens, -1)

    def seen(self, points: int, device: Any) -> Tensor:
        """Pairs see the pairs up to themselves; query k sees pairs 0 to k - 1 and itself."""
        mask = torch.ones(points, points, dtype=torch.bool, device=device)
        alone = torch.eye(points, dtype=torch.bool, device=device)
        return torch.cat([torch.cat([mask.tril(), ~mask], 1), torch.cat([mask.tril(-1), alone], 1)])


class InTurn(Reader):
    """A reader of joint pairs that says where they stand as if inputs and labels had a token each."""

    def token_places(self, points: int) -> TokenPlaces:
        return Model.token_places(self, points)


class ReaderConfig(ModelConfig):
    """A small transformer whose queries come after all pairs."""

    capabilities = frozenset(Capability)
    model_type: ClassVar[type[Reader]] = Reader

    def build(
        self,
        *,
        dims: int,
        points: int,
        generator: torch.Generator,
        instruction: Instruction | None = None,
        label_dims: int = 1,
    ) -> Model:
        # torch's layers draw as they are made.
        with torch.random.fork_rng(devices=[]):
            more = {} if label_dims == 1 else {"label_dims": label_dims}
            model = self.model_type(dims, points, instruction, **more)
        with torch.no_grad():
            for value in model.parameters():
                value.copy_(torch.randn(value.shape, generator=generator) * 0.5)
            if "vectors" in dict(model.named_buffers()):
                model.vectors.copy_(torch.randn(model.vectors.shape, generator=generator))
        return model

    def longest_prompt(self, points: int) -> int:
        return 2 * points


def with_model(model_type: type[Reader], **members: Any) -> type[ReaderConfig]:
    """A config like `ReaderConfig` of another model, with other members of its own."""
    members = {"__doc__": "Like the reader.", "__module__": __name__, "model_type": model_type, **members}
    return type("Changed", (ReaderConfig,), members)
