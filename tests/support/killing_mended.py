"""Kills a run while it keeps a training, at every operation on files: ``python -m killing_mended FOLDER`` prints JSON.

The run was trained under one config, and is evaluated under another. What was killed is finished under the new config,
or under the old one again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from killing import Torn, describe, in_a_child, told_apart, watch, weights
from tiny_runs import Killed, killed_at, tables, tiny_run

from icl_curriculum.config.experiment import Run
from icl_curriculum.runs.execution import execute

SMALL = {
    "training.steps": 2, "training.learning_every": 2, "evaluation.shifts": [], "evaluation.n_prompts": 4,
    "evaluation.baselines": ["zero"],
}  # fmt: skip
OLD = tiny_run(SMALL)
NEW = tiny_run({**SMALL, "evaluation.n_prompts": 6})


def finish(run: Run, results: Path) -> dict[str, Any]:
    """What comes of a run: its files but the clock's, and what its manifest and config say of it."""
    execute(run, results)
    made = results / "tiny/mixed-seed0"
    manifest = json.loads((made / "manifest.json").read_text())
    about = {key: manifest[key] for key in ("status", "config_hash")}
    config = (made / "config.toml").read_text()
    files = {name: hash(content) for name, content in {**tables(made), **weights(made)}.items()}
    return {**about, "config": config, **files, "leftovers": [path.name for path in made.rglob(".*.tmp")]}


def is_on_the_run(arguments: tuple[Any, ...]) -> bool:
    """Whether an operation changes a file of the run itself, not of its repetition in a temporary folder."""
    place = arguments[0] if isinstance(arguments[0], Path) else getattr(arguments[0], "path", Path())
    return "mixed-seed0" in place.parts and "tiny" in place.parts


def killed_at_operation(number: int, results: Path) -> int:
    def work() -> None:
        seen = 0

        def before(name: str, torn: Torn | None, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            seen += is_on_the_run(arguments)
            if seen == number:
                if torn is not None:
                    torn(*arguments)
                os.kill(os.getpid(), signal.SIGKILL)

        watch(before)
        execute(NEW, results)

    return in_a_child(work)


def main(folder: Path) -> None:
    os.fsync = lambda fd: None
    trained = folder / "trained"
    with contextlib.suppress(Killed):
        execute(OLD, trained, report=killed_at("evaluation", 1))
    assert json.loads((trained / "tiny/mixed-seed0/manifest.json").read_text())["status"] == "trained"
    expected = {run.hash(): finish(run, folder / run.hash()) for run in (OLD, NEW)}
    reading, writing = os.pipe()

    def in_a_copy(name: str) -> Path:
        shutil.copytree(trained, folder / name)
        return folder / name

    def counting() -> None:
        operations: list[str] = []
        watch(lambda name, _, found: operations.append(describe(name, found)) if is_on_the_run(found) else None)
        execute(NEW, in_a_copy("counted"))
        os.write(writing, json.dumps(operations).encode())

    assert in_a_child(counting) == 0
    operations = json.loads(os.read(reading, 1 << 20))
    # What comes after is an evaluation like any other.
    operations = operations[: operations.index("replace prediction_differences.csv") + 1]
    attempts = []
    for number, name in told_apart(operations):
        # A file that is half written is none, so the old config is told nothing new by it.
        for again in (NEW, OLD) if name.startswith("replace") else (NEW,):
            results = in_a_copy(f"killed-{number}-{again.hash()}")
            assert killed_at_operation(number, results) == -signal.SIGKILL
            attempts.append({"operation": name, "found": finish(again, results), "expected": expected[again.hash()]})
    print(json.dumps(attempts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
