"""The package's extras: what only some need, and pip installs where it is asked for by name.

Light: whether something is installed is looked up without importing it.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass


def install_command(name: str) -> str:
    """The command that installs the extra of this name."""
    return f"pip install 'icl_curriculum[{name}]'"


def is_installed(package: str) -> bool:
    """Whether a package can be imported here; it is not."""
    spec = importlib.util.find_spec(package)
    # A folder of that name where Python was started, with logs in it say, would be found as well.
    return spec is not None and spec.origin is not None


@dataclass(frozen=True)
class Extra:
    """What ``pip install 'icl_curriculum[NAME]'`` adds. ``package``: the module that shows whether it is there."""

    name: str
    package: str
    what: str

    @property
    def install(self) -> str:
        """The command that installs it.

        >>> EXTRAS["parquet"].install
        "pip install 'icl_curriculum[parquet]'"
        """
        return install_command(self.name)

    @property
    def installed(self) -> bool:
        """Whether its package is installed here."""
        return is_installed(self.package)

    @property
    def here(self) -> str:
        """Says whether it is installed here."""
        return "installed here" if self.installed else "not installed here"


#: The extras that users may want, by name; those for developers are left out.
EXTRAS: dict[str, Extra] = {
    extra.name: extra
    for extra in (
        Extra("transformers", "transformers", "architectures of Hugging Face's transformers, the model huggingface"),
        Extra("tensorboard", "tensorboard", "live logging by icl run --log tensorboard"),
        Extra("wandb", "wandb", "live logging by icl run --log wandb"),
        Extra("ray", "ray", "runs on a Ray cluster by icl run --on ray"),
        Extra("parquet", "pyarrow", "icl run --predictions parquet"),
        Extra("ray", "ray", "icl run --on ray"),
        Extra("bench", "transformers", "Hugging Face's GPT-2 beside the suite's models in icl bench step"),
    )
}
