"""Experiments that end with few pictures, or none, where a test is of what else they leave: most of their time."""

from __future__ import annotations

import sys

import pytest


def leave_out_pictures(patch: pytest.MonkeyPatch) -> None:
    """Pages have no pictures."""
    from icl_curriculum.pages import content  # noqa: F401 (which imports all of them)

    for name, module in list(sys.modules.items()):
        if name.startswith("icl_curriculum.pages.") and hasattr(module, "drawn"):
            patch.setattr(module, "drawn", lambda *about, **settings: [])


def draw_two_figures(patch: pytest.MonkeyPatch) -> None:
    """Of the figures of an experiment, its errors by examples and its heat map, of those over variants one."""
    from icl_curriculum.figures import drawing

    leave_out_pictures(patch)
    patch.setattr(drawing, "FIGURES", {name: drawing.FIGURES[name] for name in ("error_by_examples", "heat_map")})
    patch.setattr(drawing, "ACROSS_VARIANTS", drawing.ACROSS_VARIANTS[:1])
