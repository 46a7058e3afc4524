"""What differs between the config that a run's folder holds and the one that it is to have now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from icl_curriculum.config.experiment import NOT_HASHED, Experiment, Run
from icl_curriculum.config.loading import read_toml

#: The keys of ``[evaluation]`` that nothing reads before the last step of training is done.
AFTER_TRAINING = ("shifts", "baselines", "adapt", "n_prompts", "confidence", "costly")


def changed_keys(run: Run, run_dir: Path) -> list[str]:
    """The dotted keys in which a run's config differs from the config.toml of a folder; none where there is no file."""
    file = run_dir / "config.toml"
    if not file.is_file():
        return []
    written = read_toml(file)
    old, new, deciding = _flat(written), _flat(run.config()), _flat(run.experiment.deciding())
    default = _flat(Experiment().resolved())

    def added_later(key: str) -> bool:
        """Whether a later version added a key, or its whole table, and it is at its default: that is no change."""
        whole = key.split(".")[0] not in written and new[key] == default.get(key)
        return key not in old and (whole or key not in deciding)

    changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key) and not added_later(key)]
    return [key for key in changed if key.split(".")[0] not in NOT_HASHED]


def touching_training(changed: Sequence[str]) -> list[str]:
    """Those of some changed keys that decide more than the evaluation after training.

    >>> touching_training(["evaluation.shifts.0.factor", "evaluation.bank_seed", "training.steps"])
    ['evaluation.bank_seed', 'training.steps']
    """
    return [key for key in changed if key.split(".")[0] != "evaluation" or key.split(".")[1] not in AFTER_TRAINING]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, list | tuple):
        items = [(str(key), inner) for key, inner in enumerate(value)]
    else:
        return {prefix: value}
    return {
        key: leaf for name, inner in items for key, leaf in _flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }
