"""The instruction that a model of Bhasin et al.'s code reads before every prompt, as our ``[instruction]``.

Their code has three: ``model_two`` and ``model_three`` put one or two one-hot tokens in front, as wide as x, and
``model_four`` a vector in the residual stream that it reads from a file for each class. Dimensions: w = width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from icl_curriculum.config.mistakes import shown
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import option
from icl_curriculum.runs.importing.checkpoint import load_plain, read_bytes, sha256_of
from icl_curriculum.runs.importing.configuration import ConfiguredValue, ForeignConfig
from icl_curriculum.runs.importing.trained_on import numbered

#: The kind of instruction and the number of its tokens, by the name that their configurations have for it.
PROMPT_TYPES: dict[str, tuple[Literal["none", "one_hot", "preset"], int]] = {
    "standard": ("none", 0), "model_two": ("one_hot", 1), "model_three": ("one_hot", 2), "model_four": ("preset", 1),
}  # fmt: skip


@dataclass(frozen=True)
class ToldBefore:
    """What stands before every prompt: ``table`` is ``[instruction]``, and empty without one.

    ``vectors``: those of a preset instruction, by row. ``files``: what they were read from, for the manifest.
    """

    table: dict[str, Any] = field(default_factory=dict)
    vectors: Tensor | None = None
    files: tuple[dict[str, str], ...] = ()

    @property
    def tokens(self) -> int:
        return int(self.table.get("tokens", 0))

    @property
    def extra_positions(self) -> int:
        """The rows of the positions beyond two for each point: the last of these has room for one token."""
        return max(0, self.tokens - 1)


def told_before(
    config: ForeignConfig,
    given: str | None,
    files: Sequence[Path],
    *,
    names: dict[str, int],
    width: int,
) -> ToldBefore:
    """What a configuration, or the user, says of the instruction before every prompt.

    ``given``: their name of the kind, ``files``: those of preset vectors in the order of their rows, both by the user.
    ``names``: how many function classes (``task``) and input distributions (``data``) are told apart. UserError for an
    instruction that no model here can have: without it, all tokens would stand at others' positions.
    """
    found = config.text("prompt_type")
    if found is not None and given is not None and found.value != given:
        raise UserError(
            f"{option('--prompt-type', given)}: {config.path} says {found.key} = {found.value!r}; leave the option out"
        )
    named = found or ConfiguredValue(option("--prompt-type"), given or "standard")
    if named.value not in PROMPT_TYPES:
        source = f"{config.path}: {named.key}" if found is not None else named.key
        raise UserError(
            f"{source}: found {shown(named.value)}, which tells nothing certain of the tokens before a prompt; "
            f"expected {', '.join(PROMPT_TYPES)}"
        )
    kind, tokens = PROMPT_TYPES[named.value]
    if files and kind != "preset":
        raise UserError(
            f"{option('--instruction-file')}: the model reads no preset instruction, its prompt_type is {named.value}"
        )
    if kind == "none":
        return ToldBefore()
    of = _of(config, names)
    table = {"kind": kind, "tokens": tokens, "of": "function_class" if of == "task" else "inputs"}
    if kind == "one_hot":
        return ToldBefore(table)
    if len(files) != names[of]:
        what = "function class" if of == "task" else "input distribution"
        raise UserError(
            f"{named.value} puts a preset vector before every prompt, read from a file for each {what}, as "
            f"instruction/linear_instruction.pt of their code; give {names[of]} times "
            f"{option('--instruction-file', 'FILE')}, in the order of their rows, found {len(files)}"
        )
    contents = [read_bytes(file) for file in files]
    vectors = torch.stack([_vector(file, data, width) for file, data in zip(files, contents, strict=True)])
    origins = [{"file": file.name, "sha256": sha256_of(data)} for file, data in zip(files, contents, strict=True)]
    return ToldBefore(table, vectors.unsqueeze(1), tuple(origins))


def _of(config: ForeignConfig, names: dict[str, int]) -> Literal["task", "data"]:
    """What the instructions tell apart. One that is the same before every prompt tells apart the only one there is."""
    table = config.table("prompt_kwargs")
    if table is None and not config.is_there:
        return "task"
    arguments = {} if table is None else table.value

    def expect(key: str, expected: Sequence[Any]) -> Any:
        value = arguments.get(key, expected[0])
        if value not in expected:
            raise config.error(
                ConfiguredValue(f"{'prompt_kwargs' if table is None else table.key}.{key}", value),
                " or ".join(map(str, expected)),
            )
        return value

    expect("position", [0])
    # Without any argument their code takes row 0 for every prompt, which is what it calls static.
    encoding, kind = expect("encoding", ["static", "dynamic"]), expect("type", ["task", "data"])
    if encoding == "static":
        if min(names.values()) > 1:
            raise UserError(
                f"{config.path}: prompt_kwargs: every prompt began with the same token, whatever its class and its "
                f"inputs, and with several of both no instruction here is like that"
            )
        return "task" if names["task"] == 1 else "data"
    of: Literal["task", "data"] = "task" if kind == "task" else "data"
    counted = numbered(config, of)
    if counted is not None and counted != names[of]:
        named_by = option("--function-class") if of == "task" else option("--inputs")
        raise UserError(
            f"{named_by}: the instruction has a row for each of the {counted} in {config.path}; give as many, in their "
            f"order, found {names[of]}"
        )
    return of


def _vector(file: Path, data: bytes, width: int) -> Tensor:
    """The vector of w numbers in a file, with or without further axes of one."""
    loaded = load_plain(file, data)
    if not isinstance(loaded, Tensor) or not loaded.is_floating_point() or loaded.numel() != width:
        found = f"shape {tuple(loaded.shape)}" if isinstance(loaded, Tensor) else f"a {type(loaded).__name__}"
        raise UserError(f"{file}: expected a vector of {width} numbers, as wide as the model, found {found}")
    vector = loaded.detach().to(torch.float32).flatten()
    if not bool(vector.isfinite().all()):
        raise UserError(f"{file}: holds values that are not finite")
    return vector
