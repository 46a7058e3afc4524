"""Kills a run at its operations on files, resumes it, and compares: ``python -m killing FOLDER`` prints JSON.

A process of its own, which forks for every attempt: pytest's has threads, and torch is imported once.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tiny_runs import tables, tiny_run

from icl_curriculum.results.grown_table import GrownTable
from icl_curriculum.runs.execution import execute

RUN = tiny_run(
    {
        "training.steps": 4,
        "training.checkpoint_every": 2,
        "training.log_every": 2,
        "training.learning_every": 2,
        "training.keep_checkpoints": [3],
        "evaluation.shifts": [],
        "evaluation.baselines": ["zero"],
        "evaluation.n_prompts": 4,
    }
)

Torn = Callable[..., None]
Before = Callable[[str, Torn | None, tuple[Any, ...]], None]


def patch(owner: Any, name: str, before: Before, torn: Torn | None) -> None:
    original = getattr(owner, name)

    def counted(*arguments: Any, **options: Any) -> Any:
        if not isinstance(arguments[0], GrownTable) or arguments[0].pending:
            before(name, torn, arguments)
        return original(*arguments, **options)

    setattr(owner, name, counted)


def watch(before: Before) -> None:
    """Have ``before`` called ahead of every operation that changes a file, with how to do half of it."""
    write_bytes = pathlib.Path.write_bytes

    def half_a_file(path: Path, data: bytes) -> None:
        write_bytes(path, data[: len(data) // 2])

    def half_the_rows(table: GrownTable, check: Callable[[], None]) -> None:
        with table.path.open("ab") as handle:
            handle.write(table.pending[: len(table.pending) // 2])

    patch(pathlib.Path, "write_bytes", before, half_a_file)
    patch(GrownTable, "flush", before, half_the_rows)
    for owner, name in ((os, "fsync"), (os, "truncate"), (pathlib.Path, "replace")):
        patch(owner, name, before, None)


def in_a_child(work: Callable[[], None]) -> int:
    """Do it in a fork of this process; how that ended, as `os.waitstatus_to_exitcode` has it."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(number: int, results: Path) -> int:
    """Execute the run and end the process by SIGKILL in the middle of its ``number``-th operation."""

    def work() -> None:
        seen = 0

        def before(name: str, torn: Torn | None, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            seen += 1
            if seen == number:
                if torn is not None:
                    torn(*arguments)
                os.kill(os.getpid(), signal.SIGKILL)

        watch(before)
        execute(RUN, results)

    return in_a_child(work)


def weights(run_dir: Path) -> dict[str, bytes]:
    """The bytes of the last weights and of those that were kept along training."""
    return {path.name: path.read_bytes() for path in run_dir.rglob("*.safetensors")}


def describe(name: str, arguments: tuple[Any, ...]) -> str:
    if isinstance(arguments[0], GrownTable):
        return f"{name} {arguments[0].path.stem}"
    # Temporary names are .NAME.XXXX.tmp.
    return f"{name} {Path(arguments[0]).name[1:].rsplit('.', 2)[0]}" if isinstance(arguments[0], Path) else name


def told_apart(operations: list[str]) -> Iterator[tuple[int, str]]:
    """The operations, by number, at which a kill leaves what no other kill leaves.

    A temporary file is half there, or whole before it takes its name. Half of one stands for all that are written in
    its place later; a flush changes nothing that a kill could show, so that what comes after it stands for it.
    """
    halves = set[str]()
    for number, (name, following) in enumerate(zip(operations, [*operations[1:], ""], strict=True), start=1):
        flushed = name == "fsync" and following.startswith(("replace ", "fsync"))
        again = name.startswith("write_bytes ") and name in halves
        halves.add(name)
        if not flushed and not again:
            yield number, name


def main(folder: Path) -> None:
    # Operations like the others, but the disk need not take its milliseconds: what is killed is no machine.
    os.fsync = lambda fd: None
    # Here first, so that what torch loads on its first step is loaded in every fork.
    execute(RUN, folder / "whole")
    whole = folder / "whole/tiny/mixed-seed0"
    reading, writing = os.pipe()

    def count() -> None:
        operations: list[str] = []
        watch(lambda name, torn, arguments: operations.append(describe(name, arguments)))
        execute(RUN, folder / "counted")
        os.write(writing, json.dumps(operations).encode())

    assert in_a_child(count) == 0
    operations = json.loads(os.read(reading, 1 << 20))
    attempts = []
    for number, name in told_apart(operations):
        results = folder / f"killed-{number}"
        ended = killed_at(number, results)
        # Here, in another process than the one that was killed.
        resumed = True
        try:
            execute(RUN, results)
        except Exception:
            resumed = False
        made = results / "tiny/mixed-seed0"
        attempts.append(
            {
                "operation": name,
                "killed": ended == -signal.SIGKILL,
                "resumed": resumed,
                "same tables": resumed and tables(made) == tables(whole),
                "same weights": resumed and weights(made) == weights(whole),
                "leftovers": [path.name for path in made.rglob(".*.tmp")],
            }
        )
    print(json.dumps(attempts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
