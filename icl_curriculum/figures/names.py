"""Names and styles of classes, inputs, shifts and learners, which are the same in every figure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from icl_curriculum.results import labels

# Okabe and Ito's colours, which readers with any colour vision can tell apart.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#8C8C8C"

#: Blue is the model's colour, so it comes last among classes.
CLASS_COLOURS = (ORANGE, GREEN, PURPLE, SKY, VERMILLION, YELLOW, GREY, BLACK, BLUE)
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx")


def plain(text: str) -> str:
    """Text escaped so that matplotlib draws it as it stands; a dollar sign would start a formula."""
    return text.replace("$", r"\$")


def pretty(identifier: str) -> str:
    """`labels.pretty`, escaped for drawing."""
    return plain(labels.pretty(identifier))


def inputs_label(inputs: str) -> str:
    """`labels.inputs_label`, escaped for drawing."""
    return plain(labels.inputs_label(inputs))


def shift_label(shift: str) -> str:
    """`labels.shift_label`, escaped for drawing."""
    return plain(labels.shift_label(shift))


def learner_label(learner: str, seeds: int = 1, which: str = "") -> str:
    """A learner's name in a legend. ``seeds``: how many trained models its line averages; ``which``: of several models.

    >>> learner_label("lasso/0.01"), learner_label("model", 3, "mixed")
    ('lasso (α = 0.01)', 'model: mixed, mean of 3 seeds')
    """
    name = plain(labels.learner_label(learner))
    name += f": {plain(which)}" if which else ""
    return f"{name}, mean of {seeds} seeds" if seeds > 1 else name


@dataclass(frozen=True)
class LearnerStyle:
    """How a learner is drawn, as a line or as a marker."""

    colour: str
    line: Any
    marker: str
    width: float

    @property
    def thin(self) -> LearnerStyle:
        """The same style for a line that joins markers."""
        return replace(self, line="-", width=0.7)


#: The zero predictor, whose error is 1 by definition: a line at 1, not a curve.
ZERO = "zero"

#: Oracles look the same everywhere.
FIXED = {
    "oracle": LearnerStyle(BLACK, (0, (4, 2)), "D", 1.4),
    "informed_oracle": LearnerStyle(BLACK, (0, (1, 1.2)), "d", 1.4),
}
_MODEL_COLOURS = (BLUE, SKY, "#00304D")
_MODEL_LINES = (("-", "o"), ((0, (3, 0.8)), "h"), ((0, (1, 0.6)), "*"))
#: Five colours with four lines or seven markers. As these numbers share no factor, counting through both at once gives
#: twenty pairs of colour and line, and thirty-five of colour and marker.
_BASELINE_COLOURS = (VERMILLION, ORANGE, GREEN, PURPLE, SKY)
_LINES = ((0, (6, 1.5, 1, 1.5)), (0, (2, 1)), (0, (6, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
_MARKERS = ("s", "^", "v", "P", "X", "<", ">")
_STYLES = len(_BASELINE_COLOURS) * len(_LINES)
_FAMILIAR = (
    "least_squares", "ridge", "averaging", "knn", "lasso/0.01", "kernel_ridge", "greedy_tree", "gradient_boosting",
    "quadratic_features", "mlp_gd", "dmmse", "sparse_posterior", "sklearn/RandomForestRegressor",
    "lasso/0.0001", "lasso/0.1", "lasso/0.001", "lasso/1",
)  # fmt: skip


def learner_styles(evaluation: pd.DataFrame) -> dict[str, LearnerStyle]:
    """A style for every learner but the zero predictor. Familiar learners look the same whatever others there are."""
    learners = evaluation.drop_duplicates("learner").set_index("learner")["learner_kind"]
    models = [str(name) for name in learners.index[learners == "model"]]
    others = {str(name) for name in learners.index} - {*models, *FIXED, ZERO}
    styles = {name: model_style(i) for i, name in enumerate(models)}
    styles |= {name: _baseline_style(i) for i, name in enumerate(_FAMILIAR)}
    # Styles of familiar learners that are not there are used last.
    free = sorted(range(_STYLES), key=lambda i: (i < len(_FAMILIAR), i))
    free = [i for i in free if i >= len(_FAMILIAR) or _FAMILIAR[i] not in others]
    unfamiliar = sorted(others - {*_FAMILIAR})
    styles |= dict(zip(unfamiliar, map(_baseline_style, itertools.chain(free, itertools.count(_STYLES))), strict=False))
    return styles | FIXED


def styles_apart(
    styles: Mapping[str, LearnerStyle], baselines: Iterable[str], models: Iterable[str] = ()
) -> dict[str, LearnerStyle]:
    """The same styles, changed where two of a few ``baselines`` share a colour or a line, or one a model's colour.

    The first keeps what it has. So they can be told apart by either alone: by the lines in shades of grey, too. Of more
    than there are lines, nothing is changed.
    """
    made = dict(styles)
    names = list(dict.fromkeys(baselines))
    if len(names) > len(_LINES):
        return made
    colours = [styles[name].colour for name in models]
    lines: list[Any] = []
    for name in names:
        style = made[name]
        colour = style.colour if style.colour not in colours else next(c for c in _BASELINE_COLOURS if c not in colours)
        line = style.line if style.line not in lines else next(each for each in _LINES if each not in lines)
        colours.append(colour)
        lines.append(line)
        made[name] = replace(style, colour=colour, line=line)
    return made


def model_style(i: int) -> LearnerStyle:
    """The style of one of several models."""
    round_, colour = divmod(i, len(_MODEL_COLOURS))
    line, marker = _MODEL_LINES[round_ % len(_MODEL_LINES)]
    return LearnerStyle(_MODEL_COLOURS[colour], line, marker, 2.2)


def _baseline_style(i: int) -> LearnerStyle:
    """The style of one of several baselines. Past the number of styles they recur with thinner lines."""
    colour, line = _BASELINE_COLOURS[i % len(_BASELINE_COLOURS)], _LINES[i % len(_LINES)]
    return LearnerStyle(colour, line, _MARKERS[i % len(_MARKERS)], 1.3 if i < _STYLES else 0.8)
