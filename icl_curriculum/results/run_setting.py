"""What a run was trained with, read from its resolved config: what no table says and a printed number depends on."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class RunSetting:
    """The dimensions of a run's prompts, and its model as the config has it."""

    dims: int
    model: Mapping[str, Any] = field(hash=False)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> RunSetting | None:
        """The setting in a resolved config; None where it does not say."""
        dims, model = config.get("dims"), config.get("model")
        return cls(dims, model) if type(dims) is int and isinstance(model, Mapping) else None

    def has_model(self, values: Mapping[str, Any]) -> bool:
        """Whether the model has these values at these keys."""
        return all(self.model.get(key) == value for key, value in values.items())

    @property
    def size(self) -> str:
        """The size of the model, with its name and its tokens where these are not those of Garg et al. 2022.

        >>> RunSetting(20, {"name": "transformer", "layers": 4, "width": 64, "heads": 2, "tokens": "joint"}).size
        '4 layers of 64, 2 heads, joint tokens'
        """
        name, layers, width = (self.model.get(key) for key in ("name", "layers", "width"))
        parts = [] if name == "transformer" else [str(name)]
        if type(layers) is int and type(width) is int:
            parts.append(f"{layers} layer{'s' if layers > 1 else ''} of {width}")
        elif type(width) is int:
            parts.append(f"width {width}")
        if type(heads := self.model.get("heads")) is int:
            parts.append(f"{heads} head{'s' if heads > 1 else ''}")
        if isinstance(tokens := self.model.get("tokens"), str) and tokens != "alternate":
            parts.append(f"{tokens} tokens")
        return ", ".join(parts)


def settings_of_variants(directory: Path, evaluation: pd.DataFrame, variants: Collection[str]) -> dict[str, RunSetting]:
    """The setting of each of some variants of an experiment, from the folder of one of its runs.

    A variant is left out where no folder of it is there, as beside a copy of the tables alone.
    """
    models = evaluation.loc[evaluation["learner_kind"] == "model", ["variant", "run"]].drop_duplicates()
    found: dict[str, RunSetting] = {}
    for variant, run in models.astype(str).itertuples(index=False):
        if variant in variants and variant not in found:
            with contextlib.suppress(OSError, ValueError, RecursionError):
                config = tomllib.loads((directory / run / "config.toml").read_text("utf-8"))
                if (setting := RunSetting.of(config)) is not None:
                    found[variant] = setting
    return found
