"""In-context learning of synthetic function classes: generators, curricula, training, evaluation.

Names are imported when first used, so that ``import icl_curriculum`` and ``icl --help`` load nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icl_curriculum.baselines import Baseline as Baseline
    from icl_curriculum.baselines import register_baseline as register_baseline
    from icl_curriculum.checkpoints import load_model as load_model
    from icl_curriculum.curricula import Curriculum as Curriculum
    from icl_curriculum.curricula import register_curriculum as register_curriculum
    from icl_curriculum.experiment_files import load as load
    from icl_curriculum.function_classes import FunctionClass as FunctionClass
    from icl_curriculum.function_classes import register_function_class as register_function_class
    from icl_curriculum.inputs import InputDistribution as InputDistribution
    from icl_curriculum.inputs import register_inputs as register_inputs
    from icl_curriculum.launch import run as run
    from icl_curriculum.models import ModelConfig as ModelConfig
    from icl_curriculum.models import register_model as register_model
    from icl_curriculum.prompts import Learner as Learner
    from icl_curriculum.prompts import Prompts as Prompts
    from icl_curriculum.registry import RunFailed as RunFailed
    from icl_curriculum.registry import UserError as UserError
    from icl_curriculum.scoring import score as score
    from icl_curriculum.shifts import Shift as Shift
    from icl_curriculum.shifts import register_shift as register_shift
    from icl_curriculum.streams import Streams as Streams
    from icl_curriculum.tasks import Task as Task
    from icl_curriculum.training import TrainingMethod as TrainingMethod
    from icl_curriculum.training import register_method as register_method

# Public name: (module, name in the module).
_EXPORTS = {
    "Baseline": ("baselines", "Baseline"),
    "Curriculum": ("curricula", "Curriculum"),
    "FunctionClass": ("function_classes", "FunctionClass"),
    "InputDistribution": ("inputs", "InputDistribution"),
    "Learner": ("prompts", "Learner"),
    "ModelConfig": ("models", "ModelConfig"),
    "Prompts": ("prompts", "Prompts"),
    "RunFailed": ("registry", "RunFailed"),
    "Shift": ("shifts", "Shift"),
    "Streams": ("streams", "Streams"),
    "Task": ("tasks", "Task"),
    "TrainingMethod": ("training", "TrainingMethod"),
    "UserError": ("registry", "UserError"),
    "load": ("experiment_files", "load"),
    "load_model": ("checkpoints", "load_model"),
    "register_baseline": ("baselines", "register_baseline"),
    "register_curriculum": ("curricula", "register_curriculum"),
    "register_function_class": ("function_classes", "register_function_class"),
    "register_inputs": ("inputs", "register_inputs"),
    "register_method": ("training", "register_method"),
    "register_model": ("models", "register_model"),
    "register_shift": ("shifts", "register_shift"),
    "run": ("launch", "run"),
    "score": ("scoring", "score"),
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _EXPORTS[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
