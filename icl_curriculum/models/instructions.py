"""Instruction tokens: what may stand before every prompt to say which function class, or which inputs, it is of.

Source: Bhasin et al. 2024 (arXiv 2404.03558), who tried one or two one-hot tokens, and a preset vector.
Dimensions: batch = prompts, tokens = instruction tokens before a prompt, width = that of the residual stream, d = dims.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from icl_curriculum.core.prompts import Prompts

#: The row of the neutral instruction, which belongs to no name: tokens of zeros, at the places of the others.
NEUTRAL = -1


@dataclass(frozen=True)
class Instruction:
    """What a model is told before every prompt; a run's ``[instruction]`` table and the names that it tells apart.

    ``kind``: ``one_hot``: tokens as wide as x, before they are read in, 1 at the name's row and 0 elsewhere;
    ``preset``: a vector for each name in the residual stream, drawn from N(0, I) and never trained; ``learned``:
    vectors that are trained. ``tokens``: how many stand before the prompt; they are equal, but for learned ones,
    which have a vector each. ``of``: whether the names are those of function classes or of input distributions.
    ``names``: their ids, row by row.
    """

    kind: Literal["one_hot", "preset", "learned"]
    tokens: int
    of: Literal["function_class", "inputs"]
    names: tuple[str, ...]

    def row(self, name: str) -> int:
        """The row of a name; `NEUTRAL` for one that it does not tell apart."""
        return self.names.index(name) if name in self.names else NEUTRAL

    def rows(self, prompts: Prompts) -> Int[Tensor, " batch"]:
        """The row of each prompt: those of ``prompts.instruction`` if given, else that of what the prompts are of."""
        if prompts.instruction is not None:
            return prompts.instruction
        name = prompts.function_class if self.of == "function_class" else prompts.input_distribution
        return torch.full((len(prompts),), self.row(name), device=prompts.xs.device)

    @property
    def vectors(self) -> int:
        """How many vectors a name has: one for equal tokens, none for one-hot ones, whose vectors are the read-in's."""
        return {"one_hot": 0, "preset": 1, "learned": self.tokens}[self.kind]

    def before(
        self, tokens: Float[Tensor, "batch t token"], rows: Int[Tensor, " batch"] | None
    ) -> Float[Tensor, "batch all wide"]:
        """Returns the tokens with the instruction's before them, as what a matrix turns into vectors of the stream.

        The matrix is the read-in for one-hot tokens; else it has further columns, the vectors of all names, and the
        instruction's tokens choose one of these. Raises what `check` raises.
        """
        rows = self.check(len(tokens), rows)
        wide = tokens.shape[-1] + self.vectors * len(self.names)
        before = tokens.new_zeros(len(tokens), self.tokens, wide)
        first = tokens.shape[-1] if self.vectors else 0
        vector = torch.arange(self.tokens, device=rows.device).clamp(max=max(0, self.vectors - 1))
        columns = first + rows.clamp(min=0).unsqueeze(1) * max(1, self.vectors) + vector
        told = (rows != NEUTRAL).to(tokens).unsqueeze(1).expand_as(columns)
        before.scatter_(2, columns.unsqueeze(2), told.unsqueeze(2))
        padded = tokens if not self.vectors else torch.nn.functional.pad(tokens, (0, wide - tokens.shape[-1]))
        return torch.cat([before, padded], dim=1)

    def check(self, batch: int, rows: Tensor | None) -> Int[Tensor, " batch"]:
        """The rows of so many prompts, which a model that reads instructions was given.

        Raises ValueError if there are none, and for rows that fit neither the prompts nor the names. What the rows are
        is looked at on a CPU alone: elsewhere that would make the machine wait.
        """
        if rows is None:
            raise ValueError(
                "the model reads instructions, and got none: pass instruction=prompts.instruction, or rows of "
                f"{NEUTRAL} for the neutral one"
            )
        if rows.shape != (batch,) or rows.dtype != torch.int64:
            raise ValueError(f"instruction: expected int64 of shape ({batch},), found {rows.dtype} {tuple(rows.shape)}")
        looked_at = len(rows) and rows.device.type == "cpu" and not torch.compiler.is_compiling()
        if looked_at and not NEUTRAL <= int(rows.min()) <= int(rows.max()) < len(self.names):
            raise ValueError(
                f"instruction: rows from {int(rows.min())} to {int(rows.max())}, expected {NEUTRAL} to "
                f"{len(self.names) - 1}"
            )
        return rows
