"""How a trained model is adapted at test time: a description with a text, as the command line takes it, and an id."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from icl_curriculum.core.errors import UserError, did_you_mean

AdaptationOptimizer = Literal["gradient_descent", "adam"]

#: The rate where none is named, by the optimizer, and whether each prompt is adapted to by itself.
#:
#: Chosen on one model of `mixed` (3 dimensions, 11 points, width 32, 2 layers, 1,500 steps), by its errors at the
#: longest prompts of 24 cells, classes under inputs and shifts. On a bank, 20 steps of gradient descent at 0.003
#: multiplied them by 0.9 to 1.0. At 0.01 that was 0.8 to 1.0, but quadratic functions of half-size inputs, the hardest
#: cell, diverged, which they do not at 0.005; at 0.1 a third of all cells got ten times worse or infinite. 20 steps of
#: Adam at 0.0003: 0.6 to 1.3. One step per prompt at 0.001: 0.9 to 1.3; at 0.01, five steps ruined most cells.
DEFAULT_RATES: dict[tuple[AdaptationOptimizer, bool], float] = {
    ("gradient_descent", False): 0.005,
    ("gradient_descent", True): 0.001,
    ("adam", False): 3e-4,
    ("adam", True): 1e-4,
}
#: The number of adaptation prompts where none is named.
DEFAULT_PROMPTS = 64
_KEYS = ("steps", "rate", "prompts", "optimizer", "per_prompt")
#: The most prompts and steps have six digits.
_NUMBER = "[1-9][0-9]{0,5}"


@dataclass(frozen=True)
class Adaptation:
    """Steps that a copy of a trained model takes before it predicts: on a bank of prompts, or for each prompt anew.

    ``steps``: from 1 on, since 0 steps are the model itself. ``rate``: the learning rate of every step; 0 stands for
    that of `DEFAULT_RATES`. ``prompts``: how many adaptation prompts there are. ``optimizer``: plain gradient descent,
    or Adam with moments that begin at zero and decay by 0.9 and 0.999. ``per_prompt``: test-time training on each
    prompt's own examples, which needs no other prompts.

    Every step takes all adaptation prompts at once, and no gradient is clipped. The loss is the mean squared error over
    prompts and positions, divided by the mean squared target of the adaptation prompts, so that one rate serves classes
    of any scale. Raises UserError for options that cannot be.
    """

    steps: int
    rate: float = 0.0
    prompts: int = DEFAULT_PROMPTS
    optimizer: AdaptationOptimizer = "gradient_descent"
    per_prompt: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError("steps: expected a number from 1 on; 0 steps are the model itself, which is always asked")
        if self.optimizer not in ("gradient_descent", "adam"):
            hint = did_you_mean(str(self.optimizer), ("gradient_descent", "adam"))
            raise UserError(f"optimizer: expected gradient_descent or adam, found {self.optimizer!r}{hint}")
        if not (0 <= self.rate < math.inf):
            raise UserError(f"rate: expected a number above 0, found {self.rate:g}")
        if self.prompts < 1:
            raise UserError(f"prompts: expected a number from 1 on, found {self.prompts}")
        if self.per_prompt and self.prompts != DEFAULT_PROMPTS:
            raise UserError("prompts: with per_prompt each prompt is adapted to its own examples; leave the number out")
        object.__setattr__(self, "rate", float(self.rate) or DEFAULT_RATES[self.optimizer, self.per_prompt])

    @classmethod
    def parse(cls, text: str) -> Adaptation:
        """The adaptation that a text says: ``steps=20,rate=0.1,prompts=128,optimizer=adam``, ``per_prompt,steps=5``.

        ``per_prompt`` alone takes one step; on a bank the number must be given.

        UserError, which begins with the text, for any other.

        >>> Adaptation.parse("rate=0.5,steps=20").id
        'adapted=20/rate=0.5'
        """
        options: dict[str, Any] = {}
        for part in text.split(","):
            key, separator, value = (piece.strip() for piece in part.partition("="))
            if key not in _KEYS:
                hint = did_you_mean(key, _KEYS)
                raise UserError(f"{text!r}: expected options such as steps=20,rate=0.1, found {part.strip()!r}{hint}")
            if key in options:
                raise UserError(f"{text!r}: {key}: expected every option once")
            if (key == "per_prompt") == bool(separator):
                expected = "the word alone" if key == "per_prompt" else f"{key}=..."
                raise UserError(f"{text!r}: {key}: expected {expected}, found {part.strip()!r}")
            options[key] = _read(text, key, value)
        if options.get("per_prompt"):
            # One step, as in arXiv 2503.11842.
            options.setdefault("steps", 1)
        if "steps" not in options:
            raise UserError(f"{text!r}: how many steps? expected steps=20, say")
        try:
            return cls(**options)
        except UserError as error:
            raise UserError(f"{text!r}: {error}") from None

    @property
    def id(self) -> str:
        """What the id of the adapted model says of it: the steps, and every option that is not at its default.

        >>> Adaptation(5, per_prompt=True, optimizer="adam").id
        'adapted=5/per_prompt/optimizer=adam'
        """
        parts = [f"adapted={self.steps}"]
        parts += ["per_prompt"] * self.per_prompt
        parts += [f"optimizer={self.optimizer}"] * (self.optimizer != "gradient_descent")
        parts += [f"rate={self.rate:.12g}"] * (self.rate != DEFAULT_RATES[self.optimizer, self.per_prompt])
        parts += [f"prompts={self.prompts}"] * (self.prompts != DEFAULT_PROMPTS)
        return "/".join(parts)

    @property
    def learner(self) -> str:
        """What the tables call the adapted model: ``model/adapted=20/rate=0.1``."""
        return f"model/{self.id}"


def _read(text: str, key: str, value: str) -> Any:
    """The value of an option. UserError for what is none."""
    if key == "per_prompt":
        return True
    if key == "optimizer":
        return value
    if key == "rate":
        try:
            rate = float(value)
        except ValueError:
            rate = 0.0
        if not 0 < rate < math.inf:
            raise UserError(f"{text!r}: rate: expected a number above 0, found {value!r}")
        return rate
    if key == "steps" and re.fullmatch("0+", value):
        return 0
    if not re.fullmatch(_NUMBER, value):
        raise UserError(f"{text!r}: {key}: expected a whole number from 1 to 999999, found {value!r}")
    return int(value)
