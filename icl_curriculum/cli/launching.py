"""The launcher that ``--on`` and ``--slurm`` name."""

from __future__ import annotations

from icl_curriculum.core.errors import UserError
from icl_curriculum.launchers.base import Launcher
from icl_curriculum.launchers.slurm import Slurm
from icl_curriculum.runs.launchers import HERE, chosen_launcher


def launcher_of(on: str | None, slurm: str | None) -> Launcher | None:
    """The launcher; None: processes of this machine. UserError for options of SLURM's where it is another one."""
    found = chosen_launcher("slurm" if on is None and slurm is not None else on)
    if slurm is None:
        return found
    if not isinstance(found, Slurm):
        raise UserError(f"--slurm is for the launcher slurm, found {found.id if found else HERE!r} in --on")
    return found.model_copy(update={"options": slurm})
