"""Randomness as a pure function of ``(seed, stream, index)``.

No generator lives longer than the draw it was made for, and the global generators are neither read
nor seeded. A batch at step 700 is therefore the same whether a run went there in one go, resumed
at step 650, or never drew step 699 at all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from icl_curriculum.core.arguments import whole_number

# Layout of the Mersenne Twister's state as torch exports it, in 64-bit words: seed, (left, seeded),
# next, then the 624 words of the twister, then the Box-Muller cache. A test holds torch to it.
_TWISTER_WORDS = 624
_TWISTER_START = 3
_SEEDED_STATE = torch.Generator().manual_seed(0).get_state().numpy().view(np.int64)


def generator(seed: int, stream: str, index: int = 0, device: str | torch.device = "cpu") -> torch.Generator:
    """A fresh generator for ``(seed, stream, index)``, the same in every process.

    On the CPU the whole state of the Mersenne Twister (19,937 bits) is filled from SHAKE-128 of the
    key: ``manual_seed`` would keep 32 bits of it, and among a million steps of a few streams some
    would then coincide. Other devices use a counter-based generator with a 64-bit seed.
    """
    # A number of numpy is the number that it equals.
    key = f"{_whole(seed)}/{stream}/{_whole(index)}".encode()
    device = torch.device(device)
    if device.type != "cpu":
        word = int.from_bytes(hashlib.shake_128(key).digest(8), "little")
        return torch.Generator(device=device).manual_seed(word >> 1)
    state = _SEEDED_STATE.copy()
    words = np.frombuffer(hashlib.shake_128(key).digest(4 * _TWISTER_WORDS), dtype=np.uint32)
    state[_TWISTER_START : _TWISTER_START + _TWISTER_WORDS] = words
    made = torch.Generator()
    made.set_state(torch.frombuffer(state, dtype=torch.uint8))
    return made


def _whole(number: int) -> int:
    return number if type(number) is int else whole_number(number, "seed or index of a stream")


@dataclass(frozen=True)
class Streams:
    """The streams of one step or bank: ``Streams(0, "training", 12).generator("inputs")``.

    Inputs, functions and noise are parts with different names, so they never share a stream;
    neither do training, evaluation and initialisation, whose ``name`` differs.

    ``functions_from``: name and index of the streams that the part ``functions`` is taken from instead, for prompts
    that share their functions with others. ``prompts_per_function``: so many prompts one after another have the same
    function, which is how `FunctionClass.draw_functions` draws them.
    """

    seed: int
    name: str
    index: int = 0
    device: str = "cpu"
    functions_from: tuple[str, int] | None = None
    prompts_per_function: int = 1

    def generator(self, part: str) -> torch.Generator:
        """A fresh generator for one part of what is drawn: ``inputs``, ``functions``, ``noise``, or a part's own."""
        name, index = self.name, self.index
        if part == "functions" and self.functions_from is not None:
            name, index = self.functions_from
        return generator(self.seed, f"{name}/{part}", index, self.device)
