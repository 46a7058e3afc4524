"""Kills a run while it is evaluated anew, at every operation on files: ``python -m killing_renewed FOLDER``.

The run was finished under one config. What was killed is one of the two evaluations, whole, or says that it is half in
place; then it is finished under the new config, or under the old one again. What was found of each is printed as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from killing import Torn, describe, in_a_child, told_apart, watch
from killing_mended import NEW, OLD, finish, is_on_the_run

from icl_curriculum.core.errors import UserError
from icl_curriculum.results.manifests import check_intact, is_half_renewed, read_manifest
from icl_curriculum.runs.execution import execute

RUN = "tiny/mixed-seed0"


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


def what_is_left(made: Path) -> str:
    """What a reader finds of a run whose process was killed."""
    if is_half_renewed(made):
        return "half renewed"
    manifest = read_manifest(made) or {}
    try:
        check_intact(made, manifest)
    except UserError as error:
        return str(error)
    return {OLD.hash(): "the old run", NEW.hash(): "the new run"}[manifest["config_hash"]]


def main(folder: Path) -> None:
    os.fsync = lambda fd: None
    finished = folder / "finished"
    execute(OLD, finished)
    expected = {run.hash(): finish(run, folder / run.hash()) for run in (OLD, NEW)}
    reading, writing = os.pipe()

    def in_a_copy(name: str) -> Path:
        shutil.copytree(finished, folder / name)
        return folder / name

    def counting() -> None:
        operations: list[str] = []
        watch(lambda name, _, found: operations.append(describe(name, found)) if is_on_the_run(found) else None)
        execute(NEW, in_a_copy("counted"))
        os.write(writing, json.dumps(operations).encode())

    assert in_a_child(counting) == 0
    operations = json.loads(os.read(reading, 1 << 20))
    # Until the new manifest is there, the old run is whole, whatever is asked next.
    decided = operations.index("replace manifest.json")
    attempts = []
    for number, name in told_apart(operations):
        for again in (NEW, OLD) if number > decided else (NEW,):
            results = in_a_copy(f"killed-{number}-{again.hash()}")
            assert killed_at_operation(number, results) == -signal.SIGKILL
            left = what_is_left(results / RUN)
            attempts.append(
                {
                    "operation": name,
                    "left": left,
                    "found": {**finish(again, results), "stage": (results / RUN / "renewed").exists()},
                    "expected": {**expected[again.hash()], "stage": False},
                }
            )
    print(json.dumps(attempts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
