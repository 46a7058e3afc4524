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


def draw_only(patch: pytest.MonkeyPatch, *stems: str) -> None:
    """Of the figures of an experiment only ``stems``, in their order, which is there again when ``patch`` is undone."""
    from icl_curriculum.figures import drawing

    patch.setattr(drawing, "FIGURES", {stem: each for stem, each in drawing.FIGURES.items() if stem in stems})


def draw_two_figures(patch: pytest.MonkeyPatch) -> None:
    """Of the figures of an experiment, its errors by examples and its heat map, of those over variants one."""
    from icl_curriculum.figures import drawing

    leave_out_pictures(patch)
    draw_only(patch, "error_by_examples", "heat_map")
    patch.setattr(drawing, "ACROSS_VARIANTS", drawing.ACROSS_VARIANTS[:1])
