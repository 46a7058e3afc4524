"""What differs between the config that a run's folder holds and the one that it is to have now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icl_curriculum.config.deciding import as_it_was, decided_by, keys_by_part, plugins_behind
from icl_curriculum.config.experiment import NOT_HASHED, Experiment, Run
from icl_curriculum.config.loading import read_toml

#: The dotted keys that nothing reads before the last step of training is done.
AFTER_TRAINING = tuple(key for key, parts in keys_by_part(Experiment) if parts == ("evaluation",))

#: What stands in the place of a key where plugins have other contents, or other plugins are given.
PLUGINS = "plugin contents"


@dataclass(frozen=True)
class Changes:
    """What differs between the run that a folder holds and the one that it is to hold, as dotted keys.

    ``training``: what decides the weights; ``evaluation``: what is asked after training; ``recording``: what is written
    in training and decides no weights. A key that is of evaluation and recording stands in ``evaluation`` and in
    ``both``.
    """

    training: tuple[str, ...] = ()
    evaluation: tuple[str, ...] = ()
    recording: tuple[str, ...] = ()
    both: tuple[str, ...] = ()


def changes_of(run: Run, run_dir: Path, manifest: Mapping[str, Any]) -> Changes:
    """What differs between a folder, whose manifest this is, and a run.

    A manifest of an earlier version has no ``training_hash``: its config.toml alone says what trained it.
    """
    found: dict[str, list[str]] = {"training": [], "evaluation": [], "recording": [], "both": []}
    for key in changed_keys(run, run_dir):
        parts = decided_by(Experiment, key)
        if parts == ("training",):
            found["training"].append(key)
            continue
        # A list of shifts is one thing: which of them differ says less than that it does.
        field = next(each for each, _ in keys_by_part(Experiment) if key == each or key.startswith(f"{each}."))
        for part in (parts[0], *["both"] * (len(parts) > 1)):
            found[part] += [field] * (field not in found[part])
    same_training = manifest.get("training_hash")
    if same_training is not None and same_training == run.training_hash():
        # Written otherwise, and the same all the same.
        found["training"] = []
    before, now = {*(manifest.get("plugins") or ())}, {*run.plugin_hashes}
    if before != now:
        trains_alike = same_training == run.training_hash() if same_training else _only_added(run, before)
        found["evaluation" if trains_alike or found["training"] else "training"].append(PLUGINS)
        asked = run.experiment.evaluation
        on_the_way = plugins_behind([*asked.learning_shifts, *asked.metrics], run.plugin_hashes)
        found["both"] += [PLUGINS] * (not {*on_the_way} <= before)
    elif same_training not in (None, run.training_hash()) and not found["training"]:
        # What a version of the package takes the config to say has changed.
        found["training"].append("the code that reads the config")
    return Changes(**{part: tuple(keys) for part, keys in found.items()})


def _only_added(run: Run, before: set[str]) -> bool:
    """Whether plugins were only added to those that a run had, and none of what trains it is theirs."""
    return before <= {*run.plugin_hashes} and {*run.training_plugins()} <= before


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

    def same(key: str) -> bool:
        before, now = (as_it_was(Experiment, key, values.get(key)) for values in (old, new))
        return bool(before == now)

    changed = [key for key in sorted({*old, *new}) if not same(key) and not added_later(key)]
    return [key for key in changed if key.split(".")[0] not in NOT_HASHED]


def touching_training(changed: Sequence[str]) -> list[str]:
    """Those of some changed keys that decide more than the evaluation after training.

    >>> touching_training(["evaluation.shifts.0.factor", "evaluation.bank_seed", "training.steps"])
    ['evaluation.bank_seed', 'training.steps']
    """
    return [key for key in changed if decided_by(Experiment, key) != ("evaluation",)]


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
