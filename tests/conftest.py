"""Shapes in the package's signatures are checked whenever the tests run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import pytest
import torch
from jaxtyping import install_import_hook

# Open for the whole session, and before anything imports the package.
install_import_hook("icl_curriculum", "type_checker.check")

from icl_curriculum.registry import KINDS  # noqa: E402  (only now does the hook see the package)

torch.set_num_threads(1)


@pytest.fixture
def fresh_registries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test registers or imports is forgotten when it ends."""
    for registry in KINDS.values():
        importlib.import_module(registry._module)  # so that the copy holds what is built in
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))
        monkeypatch.setattr(registry, "_origins", dict(registry._origins))
    imported = set(sys.modules)
    yield
    for name in set(sys.modules) - imported:
        if name.startswith(("icl_curriculum_plugin_", "installed_")):
            del sys.modules[name]
