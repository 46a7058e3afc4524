"""Figures of an experiment, drawn from its result tables and nothing else.

`draw_all` draws every figure that the tables allow, `draw_scores` those that an evaluation alone allows; the other
functions return one `matplotlib.figure.Figure` each, from data frames with the columns of the tables. Names are
imported when first used: matplotlib takes a second that what draws nothing need not wait for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icl_curriculum.figures.drawing import draw_all as draw_all
    from icl_curriculum.figures.drawing import draw_heat_map as draw_heat_map
    from icl_curriculum.figures.drawing import draw_scores as draw_scores
    from icl_curriculum.figures.examples import error_by_examples as error_by_examples
    from icl_curriculum.figures.heat_maps import heat_map as heat_map
    from icl_curriculum.figures.learning import learning_curves as learning_curves
    from icl_curriculum.figures.pool_sizes import error_by_pool_size as error_by_pool_size
    from icl_curriculum.figures.shares import curriculum as curriculum
    from icl_curriculum.figures.shifted import out_of_distribution as out_of_distribution
    from icl_curriculum.figures.trained_asked import trained_by_asked as trained_by_asked
    from icl_curriculum.figures.variant_curves import curves_by_variant as curves_by_variant
    from icl_curriculum.figures.variant_curves import error_by_exposure as error_by_exposure
    from icl_curriculum.figures.variant_rows import errors_by_seed as errors_by_seed
    from icl_curriculum.figures.variant_rows import forgetting as forgetting
    from icl_curriculum.figures.variant_shifts import errors_under_shifts as errors_under_shifts
    from icl_curriculum.result_tables import NothingToDraw as NothingToDraw

#: Public name: the module that defines it.
_EXPORTS = {
    "NothingToDraw": "drawing",
    "curriculum": "shares",
    "curves_by_variant": "variant_curves",
    "draw_all": "drawing",
    "draw_heat_map": "drawing",
    "draw_scores": "drawing",
    "error_by_examples": "examples",
    "error_by_exposure": "variant_curves",
    "error_by_pool_size": "pool_sizes",
    "errors_by_seed": "variant_rows",
    "errors_under_shifts": "variant_shifts",
    "forgetting": "variant_rows",
    "heat_map": "heat_maps",
    "learning_curves": "learning",
    "out_of_distribution": "shifted",
    "trained_by_asked": "trained_asked",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
