"""Launchers: where the runs of an experiment execute, if not in processes of this machine."""

from icl_curriculum.launchers.base import (
    Launch,
    Launcher,
    LaunchUnit,
    LaunchWatch,
    UnitProblem,
    UnitStanding,
    register_launcher,
)
from icl_curriculum.launchers.batch import BatchLauncher
from icl_curriculum.launchers.batch_files import JobArray
from icl_curriculum.launchers.batch_queue import NoAnswer, QueuedTask
from icl_curriculum.launchers.ray import Ray
from icl_curriculum.launchers.slurm import Slurm
from icl_curriculum.launchers.unit_process import UnitProcess

__all__ = [
    "BatchLauncher",
    "JobArray",
    "Launch",
    "LaunchUnit",
    "LaunchWatch",
    "Launcher",
    "NoAnswer",
    "QueuedTask",
    "Ray",
    "Slurm",
    "UnitProblem",
    "UnitProcess",
    "UnitStanding",
    "register_launcher",
]
