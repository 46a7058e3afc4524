"""How prompts become the tokens that a transformer reads: alternate or joint, their positions, and instructions.

Tokens alternate x_1, y_1, x_2, y_2, ..., x_query, or join each x with the pair before it. Those of an instruction come
first, separate queries after all pairs.

Dimensions: b = prompts, p = points, d = dims, m = numbers of a label, an axis that is only there if they are several,
t = tokens (2 points - 1, or points, and those of an instruction),
w = width.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from icl_curriculum.core.errors import UserError
from icl_curriculum.models.heads import TokenPlaces
from icl_curriculum.models.instructions import Instruction
from icl_curriculum.models.model import Model


class InstructedModel(Model):
    """A model of a given width that reads its tokens, and those of an instruction before them, by one matrix.

    ``config``: one with a field ``width``.
    """

    read_in: nn.Parameter
    final_norm: nn.Parameter
    final_norm_bias: nn.Parameter
    read_out: nn.Parameter
    read_out_bias: nn.Parameter
    instruction_vectors: Tensor

    def __init__(
        self,
        config: Any,
        *,
        dims: int,
        max_points: int,
        instruction: Instruction | None = None,
        label_dims: int = 1,
    ) -> None:
        super().__init__()
        self.config = config
        self.instruction = instruction
        self.dims = dims
        self.label_dims = label_dims
        self.max_points = max_points

    def make_instruction_vectors(self) -> None:
        """Makes room for the vectors (names, vectors, w) of an instruction that is not read in, trained or not."""
        told = self.instruction
        if told is None or not told.vectors:
            return
        vectors = torch.empty(len(told.names), told.vectors, self.config.width)
        if told.kind == "learned":
            self.instruction_vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("instruction_vectors", vectors)

    def instructed(
        self, tokens: Float[Tensor, "b t token"], instruction: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b all wide"]:
        """The tokens with those of the instructions before them, as `reading_matrix` reads them."""
        return tokens if self.instruction is None else self.instruction.before(tokens, instruction)

    def reading_matrix(self) -> Float[Tensor, "w wide"]:
        """The matrix that reads tokens into the stream: the read-in, and beside it the instructions' own vectors."""
        if self.instruction is None or not self.instruction.vectors:
            return self.read_in
        return torch.cat([self.read_in, self.instruction_vectors.flatten(0, 1).mT], dim=1)

    def pairs(self, xs: Float[Tensor, "b p d"], ys: Float[Tensor, "b p *m"]) -> Float[Tensor, "b p pair"]:
        """Each input beside its label. ValueError for inputs or labels of another number of numbers."""
        return torch.cat([xs, self.label_columns(xs, ys)], dim=-1)

    def label_columns(self, xs: Float[Tensor, "b p d"], ys: Float[Tensor, "b p *m"]) -> Float[Tensor, "b p m"]:
        """The labels on a last axis. ValueError for inputs or labels of another number of numbers."""
        if xs.shape[-1] != self.dims:
            raise ValueError(f"inputs of {xs.shape[-1]} numbers; the model was built for {self.dims}")
        labels = ys.unsqueeze(-1) if ys.ndim == 2 else ys
        if labels.shape[-1] != self.label_dims:
            raise ValueError(f"labels of {labels.shape[-1]} numbers; the model was built for {self.label_dims}")
        return labels

    def check_points(self, xs: Tensor) -> int:
        """The points of prompts with these inputs; ValueError for more than the model reads."""
        points = xs.shape[1]
        if points > self.max_points:
            raise ValueError(f"the prompt has {points} points, the model's positions allow {self.max_points}")
        return points

    @abstractmethod
    def initialize(self, generator: torch.Generator) -> None:
        """Draw every weight from ``generator``, in the order of definition."""

    def normed_answer(self, h: Float[Tensor, "b p w"]) -> Float[Tensor, "b p *m"]:
        """Predictions read from the stream after the last layer norm, in float32."""
        with exactly(h):
            wide = h.to(self.final_norm.dtype)
            normed = F.layer_norm(wide, wide.shape[-1:], self.final_norm, self.final_norm_bias)
            return self.as_labels(F.linear(normed, self.read_out, self.read_out_bias))

    def as_labels(self, found: Float[Tensor, "b p m"]) -> Float[Tensor, "b p *m"]:
        """Predictions without the last axis where a label is one number."""
        return found.squeeze(-1) if self.label_dims == 1 else found


class TokenReader(InstructedModel):
    """A model that reads prompts as vectors of a residual stream, one for each token. `Transformer` adds its blocks.

    ``config``: a `TransformerConfig`, or another with ``width``, ``tokens`` and ``positions``.
    """

    read_in_bias: nn.Parameter
    position: nn.Parameter
    label_token: nn.Parameter

    def __init__(
        self,
        config: Any,
        *,
        dims: int,
        max_points: int,
        instruction: Instruction | None = None,
        label_dims: int = 1,
    ) -> None:
        super().__init__(config, dims=dims, max_points=max_points, instruction=instruction, label_dims=label_dims)
        w, joint, before = config.width, config.tokens == "joint", self.instruction_tokens
        self.read_in = empty(w, 2 * dims + label_dims if joint else max(dims, label_dims))
        self.read_in_bias = empty(w)
        if config.positions != "none":
            per_token = config.positions == "token" and not joint
            # The last of 2 max_points positions is no token's, as in GPT-2: one instruction token has room there.
            self.position = empty(2 * max_points + max(0, before - 1) if per_token else max_points + before, w)
        if config.positions != "token" and not joint:
            self.label_token = empty(w)

    def token_places(self, points: int) -> TokenPlaces:
        if self.config.tokens == "joint":
            raise UserError(
                "with joint tokens a label stands in one token with the inputs of the next example, so there is no "
                "attention from a label to its own input",
                way_out='train with model.tokens = "alternate"',
            )
        return super().token_places(points)

    def layout(
        self, xs: Tensor, ys: Tensor, queries: Tensor | None, instruction: Tensor | None
    ) -> tuple[Float[Tensor, "b t w"], slice, Bool[Tensor, "t t"] | None, Int[Tensor, " t"]]:
        """The embedded tokens, which of them are read, who sees whom (None: all before), and their places in a prompt.

        The place of a query is that of the example in whose place it is asked.
        """
        points, step, first = self.check_points(xs), self.tokens_per_point, self.instruction_tokens
        tokens = self.instructed(self.tokens(xs, ys), instruction)
        places = torch.arange(tokens.shape[1])
        positions = self.token_positions(points) if self.instruction is None else self.token_offsets(points)
        if queries is None:
            return self._embed(tokens, positions), slice(first, None, step), None, places
        # Context first, then every query, which sees its own prefix of the context and itself.
        context = first + step * (points - 1)
        asking = self.instructed(self.tokens(queries, ys, xs), instruction)[:, first::step]
        places = torch.cat([places[:context], places[first::step]])
        mask = prefix_mask(points, step, tokens.device, first)
        embedded = self._embed(torch.cat([tokens[:, :context], asking], dim=1), positions[places])
        return embedded, slice(context, None), mask, places

    @property
    def tokens_per_point(self) -> int:
        return 1 if self.config.tokens == "joint" else 2

    def tokens(
        self,
        xs: Float[Tensor, "b p d"],
        ys: Float[Tensor, "b p *m"],
        examples: Float[Tensor, "b p d"] | None = None,
    ) -> Float[Tensor, "b t token"]:
        """The tokens that the model reads. ``examples``: the inputs of the pairs, where ``xs`` are only the queries.

        ``alternate``: x_1, y_1, x_2, ..., x_query, with a label where the first coordinates of x are, padded with
        zeros (Garg et al. 2022), as inputs are where labels have more numbers. ``joint``: (x_k, x_(k-1), y_(k-1)) for
        every k, zeros before the first pair. ValueError for inputs or labels of another number of numbers.
        """
        labels = self.label_columns(xs, ys)
        if self.config.tokens == "joint":
            pairs = torch.cat([xs if examples is None else examples, labels], dim=-1)
            return torch.cat([xs, F.pad(pairs[:, :-1], (0, 0, 1, 0))], dim=-1)
        wide = max(self.dims, self.label_dims)
        labels = F.pad(labels[:, :-1], (0, wide - self.label_dims))
        if wide > self.dims:
            xs = F.pad(xs, (0, wide - self.dims))
        return torch.cat([rearrange([xs[:, :-1], labels], "k b p d -> b (p k) d"), xs[:, -1:]], dim=1)

    def token_offsets(self, points: int) -> Float[Tensor, "t w"]:
        """What is added to the read tokens of a prompt: positions, and the read-in's bias where tokens are read in."""
        positions = self.token_positions(points)
        if self.instruction is None or not self.instruction.vectors:
            return positions + self.read_in_bias
        first = self.instruction_tokens
        return torch.cat([positions[:first], positions[first:] + self.read_in_bias])

    def streams(
        self, xs: Tensor, ys: Tensor, queries: Tensor | None, instruction: Tensor | None
    ) -> tuple[Float[Tensor, "b t w"], Float[Tensor, "b p w"] | None]:
        """The embedded tokens of a prompt, and those of its separate queries, each in the place of its own prefix.

        For models that pass a state from token to token: query k is asked of the state after k pairs.
        """
        points, first = self.check_points(xs), self.instruction_tokens
        positions = self.token_positions(points) if self.instruction is None else self.token_offsets(points)
        read = self._embed(self.instructed(self.tokens(xs, ys), instruction), positions)
        if queries is None:
            return read, None
        asking = self.instructed(self.tokens(queries, ys, xs), instruction)
        return read, self._embed(asking, positions)[:, first :: self.tokens_per_point]

    def _embed(self, tokens: Float[Tensor, "b t token"], positions: Float[Tensor, "t w"]) -> Float[Tensor, "b t w"]:
        with exactly(tokens):
            if self.instruction is not None:
                return F.linear(tokens, self.reading_matrix()) + positions
            return F.linear(tokens, self.read_in, self.read_in_bias) + positions

    def token_positions(self, points: int) -> Float[Tensor, "t w"]:
        """The vectors that are added to the tokens of a prompt of ``points`` points, and of its instruction."""
        positions, joint = self.config.positions, self.config.tokens == "joint"
        first, n_tokens = self.instruction_tokens, self.tokens_per_point * (points - 1) + 1
        if positions == "token" or (positions == "pair" and joint):
            return self.position[: first + n_tokens]
        nothing = torch.zeros(1, self.config.width, device=self.read_in.device)
        if joint:
            return nothing.repeat(first + n_tokens, 1)
        kinds = torch.stack([torch.zeros_like(self.label_token), self.label_token])
        if positions == "none":
            vectors = kinds.repeat(points, 1)[:n_tokens]
            return vectors if not first else torch.cat([nothing.repeat(first, 1), vectors])
        own = self.position[first : first + points].unsqueeze(1) + kinds
        vectors = rearrange(own, "p k w -> (p k) w")[:n_tokens]
        return vectors if not first else torch.cat([self.position[:first], vectors])


def empty(*shape: int) -> nn.Parameter:
    """A parameter of this shape, to be drawn."""
    return nn.Parameter(torch.empty(*shape))


def causal(tokens: int, device: torch.device) -> Bool[Tensor, "t t"]:
    """The mask by which every token sees itself and all before it.

    It is made anew in each pass: two of the 370 operations of an update of the default model, which no cache is worth.
    """
    return torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril()


def exactly(like: Tensor) -> AbstractContextManager[None]:
    """Computes in float32 whatever the precision of training: reading in and out bounds the error from below."""
    return torch.autocast(like.device.type, enabled=False)


def prefix_mask(points: int, per_point: int, device: torch.device, first: int = 0) -> Bool[Tensor, "t t"]:
    """The mask of which token sees which when every prompt length has a query of its own.

    Tokens: the ``first`` of an instruction and the 2 (points - 1) of the context, causal among themselves, then one
    query per prompt length k, which sees the instruction, the first 2 k context tokens and itself.
    """
    context = first + per_point * (points - 1)
    mask = torch.eye(context + points, dtype=torch.bool, device=device)
    mask[:context, :context] = causal(context, device)
    lengths = first + per_point * torch.arange(points, device=device).unsqueeze(1)
    mask[context:, :context] = torch.arange(context, device=device).unsqueeze(0) < lengths
    return mask
