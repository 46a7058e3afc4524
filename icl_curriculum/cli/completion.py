"""What the shell offers at the tab key.

All of it is light, except the names of components and the kinds that are checked, which import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

#: What `icl list` prints beside kinds of components: what else can be installed, where each shift is defined, and the
#: columns of the result files.
EXTRAS, COVERAGE, COLUMNS = "extras", "coverage", "columns"


def experiments() -> list[str]:
    """The names of experiment files."""
    from icl_curriculum.config.finding import experiment_names

    return experiment_names()


def results(ctx: typer.Context) -> list[str]:
    """The names of experiments with results, in the folder of --results where that stands before the names."""
    folder = Path(ctx.params.get("results") or "results")
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def kinds() -> list[str]:
    """What `icl list` can list."""
    from icl_curriculum.core.registry import KINDS

    return ["experiments", *KINDS, EXTRAS, COVERAGE, COLUMNS]


def registered(kind: str) -> Callable[[], list[str]]:
    """Returns a function that lists the names of all components of a kind, e.g. ``baselines``."""

    def names() -> list[str]:
        from icl_curriculum.core.registry import KINDS

        return KINDS[kind].names()

    return names


def checked_kinds() -> list[str]:
    """The kinds of components that `icl check` can check."""
    from icl_curriculum.testing.kinds import CHECKED

    return list(CHECKED)


def checkable(ctx: typer.Context) -> list[str]:
    """The names of all components that `icl check` can check, of the kind of --kind where that stands before them."""
    kind = ctx.params.get("kind")
    # Two kinds may have one name.
    return list(dict.fromkeys(name for each in checked_kinds() if kind in (None, each) for name in registered(each)()))


def devices() -> list[str]:
    """The kinds of devices. One of several is named by its number, as in cuda:1, which is not offered."""
    return ["auto", "cpu", "cuda", "mps"]


def removable() -> list[str]:
    """The kinds of files that `icl clean` can remove."""
    from icl_curriculum.results.cleaning import KINDS

    return list(KINDS)


def loggers() -> list[str]:
    """What `icl run` can log to live."""
    return ["tensorboard", "wandb"]
