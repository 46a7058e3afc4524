"""How long the prompts of another code's training were, and how they grew."""

from __future__ import annotations

from typing import Any

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import option
from icl_curriculum.runs.importing.configuration import ForeignConfig


def trained_points(
    config: ForeignConfig, *, given: int | None, usual: int, most: int, file: str
) -> tuple[int, list[str]]:
    """The points of the longest prompts in training, and notes on how far that is known.

    ``given`` by the user, else the end to which the points grow, else ``n_points``, else the ``usual`` ones. UserError
    for more than the ``most`` that the positions allow. ``file``: what messages call the checkpoint.
    """
    notes = []
    grown, fixed = config.inside("points", "end"), config.whole("n_points")
    kind = config.text("curriculum_type")
    if fixed is not None and kind is not None and kind.value == "standard":
        grown = None
    if given is not None:
        points, source = given, option("--points")
    elif grown is not None:
        points, source = grown, f"{config.path}: curriculum.points.end"
    elif fixed is not None:
        points, source = fixed, f"{config.path}: n_points"
    else:
        points, source = min(usual, most), f"{file}: n_positions - 1"
        if not config.is_there:
            notes.append(
                f"Nothing says how long its training prompts were: taken to be of {points} points, one less than "
                f"n_positions; {option('--points')} says otherwise."
            )
    if not 2 <= points <= most:
        raise UserError(f"{source}: expected from 2 to {most} points, which the positions allow, found {points}")
    return points, notes


def growth(config: ForeignConfig, *, dims: int, points: int) -> dict[str, dict[str, Any]]:
    """The keys ``dims`` and ``points`` of ``[curriculum]``, where these grow."""
    made = {}
    for key, full in (("dims", dims), ("points", points)):
        start, add, every = (config.inside(key, name, least=0) for name in ("start", "inc", "interval"))
        if start and add and every and start < full:
            made[key] = {"start": start, "add": add, "every": every}
    return made


def not_grown(grown: dict[str, dict[str, Any]], *, dims: int, points: int, step: int) -> list[str]:
    """A note on a checkpoint from before its prompts had grown to their end."""
    reached = []
    for key, full, what in (("dims", dims, "dimensions"), ("points", points, "points")):
        if key in grown:
            now = grown[key]["start"] + step // grown[key]["every"] * grown[key]["add"]
            reached += [f"{now} of {full} {what}"] * (now < full)
    if not reached:
        return []
    return [
        f"At step {step:,} its prompts had grown to {' and '.join(reached)}; all up to {points} points count as in "
        f"distribution here."
    ]
