"""Rows of models that adapted before they predicted: how their ids are read, and tables without them."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.identifiers import Identifier

#: What the id of an adapted model begins with; the number of steps follows, then the other options.
ADAPTED = "model/adapted="


@dataclass(frozen=True)
class AdaptedId:
    """An adapted model's id, taken apart: its ``steps``, and the other ``options`` as the id has them, joined by /."""

    steps: int
    options: str

    @classmethod
    def parse(cls, learner: str) -> AdaptedId:
        """The parts of an id that begins with `ADAPTED`. UserError for one that names no number of steps.

        >>> AdaptedId.parse("model/adapted=20/rate=0.1/prompts=128")
        AdaptedId(steps=20, options='rate=0.1/prompts=128')
        """
        steps, _, options = learner.removeprefix(ADAPTED).partition("/")
        if not (steps.isascii() and steps.isdigit() and len(steps) < 10):
            expected = "a number of steps, as in model/adapted=20"
            raise UserError(f"learner {learner!r}: expected {expected}, behind {ADAPTED!r}")
        return cls(int(steps), options)

    @property
    def words(self) -> str:
        """The options in words.

        >>> AdaptedId.parse("model/adapted=5").words, AdaptedId.parse("model/adapted=5/per_prompt/optimizer=adam").words
        ('on a bank', 'per prompt, Adam')
        """
        parts = Identifier.parse(f"/{self.options}").parts if self.options else ()
        words = {part.key or part.value: part.value for part in parts}
        first = "per prompt" if words.pop("per_prompt", None) else "on a bank"
        named = (value.capitalize() if key == "optimizer" else f"{key} = {value}" for key, value in words.items())
        return ", ".join([first, *named])


def without_adapted(evaluation: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table with a column ``learner`` that are of no adapted model."""
    adapted = is_adapted(evaluation)
    return evaluation[~adapted] if adapted.any() else evaluation


def is_adapted(evaluation: pd.DataFrame) -> pd.Series[bool]:
    """Which rows of a table with a column ``learner`` are of adapted models."""
    learners = evaluation["learner"].unique()
    return evaluation["learner"].isin([name for name in learners if str(name).startswith(ADAPTED)])


def only_adapted(evaluation: pd.DataFrame) -> pd.DataFrame:
    """The rows of adapted models, and of the models themselves as ``model``."""
    return evaluation[is_adapted(evaluation) | (evaluation["learner"] == "model")]
