"""Plugins that consist of more than one file, written into folders for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

#: A function class that multiplies by whatever its folder says.
SCALED = '''
import torch

from icl_curriculum import FunctionClass, register_function_class
{imports}


@register_function_class("scaled")
class Scaled(FunctionClass):
    """f(x) = c w·x with w ~ N(0, I)."""

    def sample(self, n, dims, generator):
        return {{"w": torch.randn(n, dims, generator=generator)}}

    def evaluate(self, parameters, xs):
        {late}
        return torch.einsum("npd,nd->np", xs, parameters["w"]) * {factor}

    def trivial_error(self, dims):
        {late}
        return dims * {factor}**2
'''


def scaled(*, imports: str = "", late: str = "pass", factor: str = "FACTOR") -> str:
    return SCALED.format(imports=imports, late=late, factor=factor)


def plugin_folder(folder: Path, files: Mapping[str, str | float], plugin: str) -> Path:
    """Write ``mine.py`` with other files beside it, texts or arrays of one number; returns its path."""
    for name, content in {"mine.py": plugin, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content)
        else:
            np.save(path, np.array([content], dtype=np.float32))
    return folder / "mine.py"
