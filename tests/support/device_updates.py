"""``python device_updates.py DEVICE [--tiny]``: updates of every kind on a real device, twice each, for gpu_check.sh.

It says of each kind whether its updates waited for the device, which is an error with `machine.NEVER_WAIT`, and whether
both times gave the same weights and losses, bit by bit. The exit code is 1 if one of them did not.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import torch
from pretended_updates import ADAPTIVE, ASKING, CASES, LOOKING
from tiny_runs import tiny_run

from icl_curriculum.core.machine import NEVER_WAIT, device_kind, never_waiting, reproducible, waiting_for
from icl_curriculum.core.transfers import numbers_of
from icl_curriculum.training import Trainer

#: The first of these that waits is an error: two are for what is made only once.
UPDATES = 6


def kinds(device: str) -> dict[str, dict[str, Any]]:
    """The cases of `pretended_updates`, and those that need a real device."""
    found = {name: changes for name, changes in CASES.items() if name != LOOKING}
    found["bfloat16"] = {"training.precision": "bfloat16"}
    found["bfloat16, fomaml"] = {**found["fomaml"], "training.precision": "bfloat16"}
    found["bfloat16, gru"] = {**found["gru"], "training.precision": "bfloat16"}
    if device_kind(device) == "cuda":
        found["tf32"] = {"training.precision": "tf32"}
        found["compiled"] = {"training.compile": True}
        found["compiled, growth"] = {**found["growth"], "training.compile": True}
        found["compiled, bfloat16"] = {"training.compile": True, "training.precision": "bfloat16"}
    return found


def trained(changes: dict[str, Any], device: str) -> tuple[list[bytes], list[float]]:
    """The weights and the losses of a few updates."""
    trainer = Trainer(tiny_run(changes), device)
    losses = [loss.value for _ in range(UPDATES) for loss in trainer.update().losses]
    weights = [value.detach().cpu().numpy().tobytes() for value in trainer.model.parameters()]
    return weights, numbers_of(losses)


def noticed(device: str) -> bool:
    """Whether a program that waits for the device is told so."""
    value = torch.ones(2, device=device)
    try:
        with never_waiting(device):
            value.sum().item()
    except RuntimeError:
        return True
    return False


def main() -> int:
    device, tiny = sys.argv[1], "--tiny" in sys.argv
    failed = []
    with reproducible(device):
        if device_kind(device) == "cuda":
            print(f"a wait is an error: {'yes' if noticed(device) else 'NO'}")
        for name, changes in list(kinds(device).items())[: 4 if tiny else None]:
            began = time.monotonic()
            # To compile, and to record a graph of it, takes what it takes.
            looked_at = name != ASKING and not changes.get("training.compile")
            os.environ[NEVER_WAIT] = "1" if looked_at else "0"
            try:
                one, other = (trained(changes, device) for _ in range(2))
                said = "repeats" if one == other else "DIFFERS"
            except Exception as error:
                said = f"FAILED: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            waiting_for(device)()
            failed += [] if said == "repeats" else [name]
            waits = ", and waits as is said on the page" if name in (ASKING, *ADAPTIVE) else ""
            print(f"{name}: {said}{waits}; {time.monotonic() - began:.1f} s", flush=True)
    print(f"{len(failed)} failed{': ' if failed else ''}{'; '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
