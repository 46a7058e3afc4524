"""``python pretended_updates.py``: what waits for a device in updates of every kind, as JSON on standard output.

In a process of its own, since torch must know of the device before it differentiates anything.
"""

from __future__ import annotations

import json
import math
from typing import Any

import torch
from pretended_device import PRETENDED, pretended_device, register
from tiny_runs import tiny_run

from icl_curriculum.core.registry import FUNCTION_CLASSES, INPUTS, OBSERVATIONS
from icl_curriculum.core.streams import Streams
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.tasks import Task
from icl_curriculum.training import InContext, Losses, Trainer, register_method
from icl_curriculum.training.session import Session
from icl_curriculum.verify.cases import built_in

#: Updates before the one that is looked at: what is made only once is made by then.
BEFORE = 1
_ADAM = {"training.optimizer": {"name": "adam"}}
_PLAIN = {"model.attention": "plain"}
_CLASSES = {"function_classes": [{"name": "multiclass_linear", "n_classes": 3}], "evaluation.baselines": None}
_MAML = {"training.method": {"name": "maml", "n_tasks": 2}, **_PLAIN}

#: The case whose method, from outside, asks for what it had to wait for.
LOOKING = "a method that looks at its loss"
#: Those whose curriculum decides by the losses of the update before, for which it can't but wait.
ADAPTIVE = ("when_converged", "bandit")
#: The one whose method asks within an update, whether anything counts in a batch, of which it would else skip none.
ASKING = "reptile, shortest prompt"

#: Changes to the tiny run, by name.
CASES: dict[str, dict[str, Any]] = {
    "in_context": {},
    "meta_icl": {"training.method": {"name": "meta_icl"}},
    "meta_ict": {"training.method": {"name": "meta_ict"}, "instruction": {"kind": "learned"}},
    "maml": _MAML,
    "maml, functions": {**_MAML, "training.method": {"name": "maml", "n_tasks": 2, "tasks": "functions"}},
    "maml, shared Adam": {
        **_MAML, **_ADAM,
        "training.method": {"name": "maml", "n_tasks": 2, "inner_rule": "shared_adam", "carry": True},
    },
    "fomaml": {"training.method": {"name": "fomaml", "n_tasks": 2, "inner_steps": 2}},
    "reptile": {"training.method": {"name": "reptile", "n_tasks": 2, "inner_steps": 2}},
    "plain attention": _PLAIN,
    "linear attention": {"model.attention": "linear"},
    "loops": {"model.loops": 3, "model.loss_loops": 2},
    "gpt-2": {
        "model": {"tokens": "alternate", "positions": "token", "activation": "gelu", "initialization": "reference"}
    },
    "gru": {"model": {"name": "recurrent", "width": 8, "layers": 2}},
    "lstm": {"model": {"name": "recurrent", "width": 8, "layers": 2, "cell": "lstm"}},
    "state_space": {"model": {"name": "state_space", "width": 8, "layers": 1}},
    "deep_sets": {"model": {"name": "deep_sets", "width": 8}},
    "one-hot instruction": {"instruction": {"kind": "one_hot"}, "dims": 3},
    "sequential": {"curriculum.function_classes": "sequential"},
    "random, by prompt": {"curriculum.function_classes": "random", "curriculum.draw": "prompt"},
    "when_converged": {"curriculum.function_classes": {"name": "when_converged", "window": 1}},
    "bandit": {"curriculum.function_classes": "bandit", "curriculum.draw": "prompt"},
    "growth": {"curriculum.dims": {"start": 1, "every": 1}, "curriculum.points": {"start": 2, "every": 1}},
    "no clip": {"training.clip": math.inf},
    "last position": {"training.positions": "last"},
    "later positions": {"training.positions": 2},
    "weighed positions": {"training.positions": [0.0, 1.0, 1.0, 2.0, 2.0]},
    "balanced positions": {"training.positions": "balanced"},
    "shortest prompt": {"training.shortest_prompt": 2},
    "shortest prompt by prompt": {
        "training.shortest_prompt": 2, "curriculum.function_classes": "random", "curriculum.draw": "prompt",
    },
    "meta_icl, shortest prompt": {"training.method": {"name": "meta_icl"}, "training.shortest_prompt": 2},
    "maml, shortest prompt": {**_MAML, "training.shortest_prompt": 2},
    "fomaml, shortest prompt": {
        "training.method": {"name": "fomaml", "n_tasks": 2}, "training.shortest_prompt": 2,
    },
    ASKING: {
        "training.method": {"name": "reptile", "n_tasks": 2, "inner_steps": 2}, "training.shortest_prompt": 2,
    },
    "fixed prompts": {"training.fixed_prompts": 16},
    "classes": _CLASSES,
    "label smoothing": {**_CLASSES, "training.label_smoothing": 0.1},
    "normalized loss": {"training.loss": "normalized"},
    "adamw": {"training.optimizer": {"name": "adamw"}},
    "adam": _ADAM,
    LOOKING: {"training.method": "looking"},
    "reasoning steps": {"function_classes": ["composition"]},
}  # fmt: skip


class Looking(InContext):
    """Plain training that asks for its loss, as nothing in an update should."""

    def update(self, session: Session) -> Losses:
        found = super().update(session)
        assert all(float(loss.cpu()) > 0 for loss in found["training"].values())
        return found


def updates(changes: dict[str, Any]) -> dict[str, Any]:
    """The waits of an update on the device, and how far its losses are from those on the CPU."""
    run = tiny_run(changes)
    plain = Trainer(run)
    # As on any other device.
    plain.model.gradients = None
    expected = [plain.update() for _ in range(BEFORE + 1)]
    with pretended_device() as device:
        trainer = Trainer(run, PRETENDED)
        found = []
        for _ in range(BEFORE + 1):
            device.waits.clear()
            found.append(trainer.update())
        waits = [f"{name} at {line}" for name, line in device.waits]
    differences = [
        abs(float(mine.value.numbers) / float(theirs.value) - 1)  # type: ignore[attr-defined]
        for here, there in zip(found, expected, strict=True)
        for mine, theirs in zip(here.losses, there.losses, strict=True)
    ]
    return {"waits": waits, "difference": max(differences), "operations": sorted(device.operations)}


def draws(task: Task) -> dict[str, Any]:
    """The waits of a draw of prompts on the device, the second of two, and how far it is from one on the CPU."""
    plain = task.draw(6, 5, Streams(0, "pretended", 1))
    with pretended_device() as device:
        task.draw(6, 5, Streams(0, "pretended", 0, PRETENDED))
        device.waits.clear()
        found = task.draw(6, 5, Streams(0, "pretended", 1, PRETENDED))
    difference = max(
        float((getattr(found, name).numbers - getattr(plain, name)).abs().max()) for name in ("xs", "ys", "targets")
    )
    waits = [f"{name} at {line}" for name, line in device.waits]
    return {"waits": waits, "difference": difference, "operations": sorted(device.operations)}


def tasks() -> dict[str, Task]:
    """Every function class, every input distribution and every observation that the package ships, once each."""
    found = {}
    for name in built_in(FUNCTION_CLASSES):
        dims = 1 if name == "chebyshev" else 4
        function_class = FUNCTION_CLASSES.build(name)
        assert isinstance(function_class, FunctionClass)
        found[f"class {name}"] = Task(function_class, function_class.reference(dims), dims)
    for name in built_in(INPUTS):
        if name != "own":
            found[f"inputs {name}"] = Task("linear", name, 4)
    found["inputs skewed, shared"] = Task("linear", {"name": "skewed", "basis": "shared"}, 4)
    for name in built_in(OBSERVATIONS):
        found[f"observation {name}"] = Task({"name": "linear", "observation": name}, "gaussian", 4)
    found["a pool"] = Task({"name": "linear", "pool_size": 3}, "gaussian", 4)
    pooled = {"name": "composition", "first_functions": 3, "second_functions": 3, "held_out": 0.3}
    found["composition of pools"] = Task(pooled, "gaussian", 4)
    found["outliers of classes"] = Task({"name": "multiclass_linear", "observation": "outliers"}, "gaussian", 4)
    found["noise on signs"] = Task({"name": "linear_classification", "label_noise": 0.1}, "gaussian", 4)
    found["noise on classes"] = Task({"name": "multiclass_linear", "label_noise": 0.1}, "gaussian", 4)
    return found


def main() -> None:
    torch.set_num_threads(1)  # Tiny tensors, beside other tests.
    register()
    # Here alone: whoever imports this module has no such method.
    register_method("looking")(Looking)
    found = {name: updates(changes) for name, changes in CASES.items()}
    found |= {name: draws(task) for name, task in tasks().items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
