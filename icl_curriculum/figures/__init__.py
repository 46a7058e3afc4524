"""Figures of an experiment, drawn from its result tables and nothing else.

`draw_all` draws every figure that the tables allow; the other functions return one
`matplotlib.figure.Figure` each, from data frames with the columns of the tables.
"""

from icl_curriculum.figures.drawing import draw_all, draw_heat_map
from icl_curriculum.figures.examples import error_by_examples
from icl_curriculum.figures.heat_map import heat_map
from icl_curriculum.figures.learning import learning_curves
from icl_curriculum.figures.pool_sizes import error_by_pool_size
from icl_curriculum.figures.shares import curriculum
from icl_curriculum.figures.shifted import out_of_distribution
from icl_curriculum.figures.tables import NothingToDraw

__all__ = [
    "NothingToDraw",
    "curriculum",
    "draw_all",
    "draw_heat_map",
    "error_by_examples",
    "error_by_pool_size",
    "heat_map",
    "learning_curves",
    "out_of_distribution",
]
