"""What each key decides is said at the key, and the hashes follow it."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_runs import tiny_run

from icl_curriculum.config.deciding import decided_by, keys_by_part
from icl_curriculum.config.experiment import NOT_HASHED, Experiment

#: All keys that a file may set and that do not decide the training. A new field decides the training, unless it says
#: otherwise and stands here, or in the list of those that do.
OTHERS = {
    "training.log_every": ("recording",),
    "training.learning_every": ("recording",),
    "training.checkpoint_every": ("recording",),
    "training.keep_checkpoints": ("recording",),
    "evaluation.learning_prompts": ("recording",),
    "evaluation.learning_shifts": ("recording",),
    "evaluation.bank_seed": ("evaluation", "recording"),
    "evaluation.metrics": ("evaluation", "recording"),
    "evaluation.n_prompts": ("evaluation",),
    "evaluation.shifts": ("evaluation",),
    "evaluation.baselines": ("evaluation",),
    "evaluation.adapt": ("evaluation",),
    "evaluation.costly": ("evaluation",),
    "evaluation.confidence": ("evaluation",),
    "name": (), "description": (), "seeds": (), "variants": (), "sweep": (), "plugins": (),
}  # fmt: skip
TRAINING = {
    "recipe", "dims", "points", "threads", "function_classes", "inputs", "model",
    "curriculum.function_classes", "curriculum.inputs", "curriculum.draw", "curriculum.dims", "curriculum.points",
    "instruction.kind", "instruction.tokens", "instruction.of",
    "training.method", "training.steps", "training.batch_size", "training.shards", "training.fixed_prompts",
    "training.loss", "training.label_smoothing", "training.positions", "training.shortest_prompt", "training.precision",
    "training.compile", "training.clip", "training.divergence",
    "training.optimizer.name", "training.optimizer.learning_rate", "training.optimizer.muon_learning_rate",
    "training.optimizer.betas", "training.optimizer.momentum", "training.optimizer.weight_decay",
    "training.optimizer.run_decay",
    "training.schedule.name", "training.schedule.warmup", "training.schedule.decay",
}  # fmt: skip


def test_every_key_says_what_it_decides() -> None:
    """A field that is new stands in neither list: think what it decides, mark it, and write it down here."""
    assert dict(keys_by_part(Experiment)) == {**dict.fromkeys(TRAINING, ("training",)), **OTHERS}


def test_what_decides_nothing_is_left_out_of_the_hash() -> None:
    unhashed = {key for key, parts in OTHERS.items() if not parts}
    assert unhashed == {*NOT_HASHED, "seeds", "variants", "sweep"} - {"variant", "seed"}


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("evaluation.shifts.0.factor", ("evaluation",)),
        ("evaluation.costly.n_prompts", ("evaluation",)),
        ("evaluation.learning_shifts.1.name", ("recording",)),
        ("function_classes.0.label_noise", ("training",)),
        ("training.optimizer.betas.1", ("training",)),
        ("what no version knows", ("training",)),
    ],
)
def test_a_key_within_a_component_decides_what_the_component_does(key: str, parts: tuple[str, ...]) -> None:
    assert decided_by(Experiment, key) == parts


@pytest.mark.parametrize(
    ("changes", "training", "evaluation"),
    [
        ({"training.clip": 2.0}, True, False),
        ({"model.width": 16}, True, False),
        ({"function_classes": ["quadratic", "linear"]}, True, False),
        ({"instruction.kind": "preset"}, True, False),
        ({"evaluation.confidence": 0.5}, False, True),
        ({"evaluation.shifts": []}, False, True),
        ({"evaluation.costly": {"n_prompts": 8}}, False, True),
        ({"evaluation.adapt": ["steps=1,rate=0.1"]}, False, True),
        ({"evaluation.metrics": ["absolute_error"]}, False, True),
        ({"evaluation.bank_seed": 1}, False, True),
        ({"training.log_every": 3, "training.keep_checkpoints": [4]}, False, False),
        ({"evaluation.learning_prompts": 4, "evaluation.learning_shifts": ["skewed"]}, False, False),
        ({"name": "other"}, False, False),
    ],
    ids=str,
)
def test_the_hashes_of_training_and_evaluation(changes: dict[str, Any], training: bool, evaluation: bool) -> None:
    run, changed = tiny_run(), tiny_run(changes, seed=3)
    assert (changed.training_hash() != run.training_hash()) == training
    assert (changed.evaluation_hash() != run.evaluation_hash()) == evaluation


def test_the_hash_of_training_is_that_of_the_first_version_that_had_one() -> None:
    """Finished runs would otherwise be taken for others by a later version."""
    assert tiny_run().training_hash() == "71adea12b4bc9106"
