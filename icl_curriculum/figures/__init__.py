"""Figures of an experiment, drawn from its result tables.

`published` alone also takes what no table says, the dimensions and the size that a run's config.toml tells.
`draw_all` draws every figure that the tables allow, `draw_scores` those that an evaluation alone allows; the other
functions return one `matplotlib.figure.Figure` each, from data frames with the columns of the tables. Names are
imported when they are first used, so that code that draws nothing need not wait a second for matplotlib.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
