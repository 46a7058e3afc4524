"""Damages every file of an experiment's results in turn, and asks every command: nothing that was changed is believed.

``python tests/support/damaged_files.py [--damages 2] [--seed 0] [--only NAME]``. A tiny experiment of two seeds with a
plugin is trained, evaluated, scored and looked into. Then each of its files is damaged in turn (a bit flipped, cut in
half, emptied, taken away, values exchanged for null, text for a number, thousands of brackets, the other seed's file),
and each command is called on a copy. It must end without a traceback, and with

- 0 and the very tables that the whole results give, since it does not read the file or makes it anew;
- 1, naming the file, with the tables that the results without that run give (`run`, `plot`, `report`, `compare`);
- 2, naming the file, and nothing on disk changed.

A table of what came of it is printed, and the exit code is 1 if anything was otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tiny_runs import tiny_values, write_toml

PLUGIN = """
import torch
from icl_curriculum.function_classes import register_function_class
from icl_curriculum.function_classes.linear import Linear

@register_function_class("doubled")
class Doubled(Linear):
    def evaluate(self, parameters, xs):
        return 2 * super().evaluate(parameters, xs)

    def trivial_error(self, dims):
        return 4 * super().trivial_error(dims)
"""

#: The run that is damaged, and the one beside it.
RUN, OTHER = "results/tiny/mixed-seed1", "results/tiny/mixed-seed0"

#: The commands, by name; the ones that collect many runs go on without a damaged one.
COMMANDS: dict[str, list[str]] = {
    "run": ["run", "my.toml", "--jobs", "1"],
    "plot": ["plot", "tiny"],
    "report": ["report", "tiny"],
    "compare": ["compare", "tiny"],
    "transfer": ["transfer", "tiny"],
    "evaluate": ["evaluate", RUN, "--shift", "skewed"],
    "evaluate --step": ["evaluate", RUN, "--shift", "skewed", "--step", "6"],
    "heads": ["heads", RUN, "--n", "0", "--n-prompts", "4"],
    "heads of all": ["heads", "results/tiny", "--n", "0", "--n-prompts", "4"],
    "score a run": ["score", RUN, "--n-prompts", "8"],
    "score all": ["score", "results/tiny", "--n-prompts", "8"],
    "plot scores": ["plot", "score"],
    "clean": ["clean", "results/tiny"],
    "load_model": [],
    "run the other": ["run", "my.toml", "--jobs", "1", "--seeds", "0"],
}
#: What gives the results without the damaged run, where the command itself would make it anew.
WITHOUT = {"run": "run the other"}
COLLECTING = ("run", "plot", "report", "compare", "transfer")


def _flipped(data: bytes, drawn: random.Random) -> bytes:
    changed = bytearray(data)
    changed[drawn.randrange(len(changed))] ^= 1 << drawn.randrange(8)
    return bytes(changed)


def _null(data: bytes, drawn: random.Random) -> bytes:
    """A value of JSON or TOML, or a cell, is null."""
    places = list(re.finditer(rb"(?<=[:=,] )(\"[^\"\n]*\"|[\d.]+|\{|\[)|(?<=,)[^,\n]+", data))
    place = drawn.choice(places) if places else None
    return data[: place.start()] + b"null" + data[place.end() :] if place else b"null"


def _text(data: bytes, drawn: random.Random) -> bytes:
    places = list(re.finditer(rb"\b\d+(\.\d+)?\b", data))
    place = drawn.choice(places) if places else None
    return data[: place.start()] + b'"many"' + data[place.end() :] if place else b"many"


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "one bit flipped": _flipped,
    "missing": lambda data, drawn: None,
    "cut in half": lambda data, drawn: data[: len(data) // 2],
    "null for a value": _null,
    "text for a number": _text,
    "deep brackets": lambda data, drawn: b"[" * 100_000,
    "empty": lambda data, drawn: b"",
}


@dataclass
class Ended:
    """How a command ended: its exit code, what it printed, and the tables that lay there afterwards."""

    code: int
    said: str
    tables: dict[str, bytes]
    files: dict[str, bytes]


@dataclass
class Findings:
    counts: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def files_of(folder: Path) -> dict[str, bytes]:
    there = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in there if not path.name.startswith(".lock")}


def tables_of(files: dict[str, bytes]) -> dict[str, bytes]:
    """The tables, but for those that a clock writes, and without those of the runs themselves, which are not made."""
    return {
        name: data
        for name, data in files.items()
        if name.endswith(".csv") and not name.endswith("timing.csv") and not re.search(r"-seed\d+/[a-z_]+\.csv$", name)
    }


def call(folder: Path, command: str) -> Ended:
    """Call a command in a fork of this process, which has imported everything already."""
    said = folder / "said.txt"
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        code = 1
        try:
            code = _load() if command == "load_model" else _command(COMMANDS[command])
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = said.read_text(encoding="utf-8", errors="replace")
    said.unlink()
    files = files_of(folder)
    return Ended(code, text, tables_of(files), files)


def _command(arguments: list[str]) -> int:
    from icl_curriculum.__main__ import main

    sys.argv = ["icl", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _load() -> int:
    """Load the model in Python, and have it answer."""
    import torch

    from icl_curriculum.core.errors import UserError
    from icl_curriculum.core.prompts import Prompts
    from icl_curriculum.runs.checkpoints import load_model

    try:
        model = load_model(RUN)
    except UserError as error:
        print(f"error: {error}")
        return 2
    drawn = torch.Generator().manual_seed(0)
    xs, ys = torch.randn(4, 5, 2, generator=drawn), torch.randn(4, 5, generator=drawn)
    answers = model.predict(Prompts(xs=xs, ys=ys, targets=ys, function_class="doubled"))
    Path("answers.csv").write_text(repr(answers.tolist()))
    return 0


def whole(folder: Path) -> None:
    """Train, evaluate, score and look into the tiny experiment."""
    (folder / "mine.py").write_text(PLUGIN)
    values = tiny_values({
        "name": "tiny", "seeds": [0, 1], "function_classes": ["linear", "doubled"], "plugins": ["mine.py"],
        "training.keep_checkpoints": [6], "model.tokens": "alternate", "evaluation.baselines": ["zero"],
        "evaluation.shifts": ["skewed"],
    })  # fmt: skip
    write_toml(folder / "my.toml", values)
    for command in ("run", "evaluate", "heads", "score a run"):
        ended = call(folder, command)
        assert ended.code == 0, ended.said


def expected(folder: Path, place: Path, command: str) -> Ended:
    """What a command gives of the results without damage, once in ``folder`` and once for all."""
    copied = shutil.copytree(folder, place / "copy")
    try:
        return call(copied, command)
    finally:
        shutil.rmtree(copied)


def damaged_files(folder: Path) -> list[Path]:
    """The files to damage: of one run, of the experiment, and of scores."""
    roots = [RUN, "results/tiny", "results/score"]
    found: dict[Path, None] = {}
    for root in roots:
        for path in sorted((folder / root).rglob("*")):
            name = str(path.relative_to(folder))
            drawn = path.suffix in (".png", ".svg", ".html") or path.name.startswith(".lock")
            if path.is_file() and not name.startswith(OTHER) and not drawn:
                found[path.relative_to(folder)] = None
    return list(found)


def main() -> int:
    parser = argparse.ArgumentParser(description="damage every file of a run in turn, and ask every command")
    parser.add_argument("--damages", type=int, default=2, help="kinds of damage for each file and command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="only files whose path holds this")
    parser.add_argument("--commands", default="", help="only these, separated by commas")
    options = parser.parse_args()
    drawn, found = random.Random(options.seed), Findings()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="icl-damaged-") as place, _everything_imported():
        folder = Path(place) / "whole"
        folder.mkdir()
        whole(folder)
        without = shutil.copytree(folder, Path(place) / "without")
        shutil.rmtree(without / RUN)
        chosen = [name for name in options.commands.split(",") if name] or [
            name for name in COMMANDS if name not in WITHOUT.values()
        ]
        right = {command: expected(folder, Path(place), command) for command in chosen}
        less = {
            command: expected(without, Path(place), WITHOUT.get(command, command))
            for command in chosen
            if command in COLLECTING
        }
        kinds = itertools.cycle(DAMAGES)
        for path in damaged_files(folder):
            if options.only not in str(path):
                continue
            for _ in range(options.damages):
                kind = next(kinds)
                data = DAMAGES[kind]((folder / path).read_bytes(), drawn)
                if data == (folder / path).read_bytes():
                    continue
                for command in chosen:
                    copied = shutil.copytree(folder, Path(place) / "copy")
                    (copied / path).unlink() if data is None else (copied / path).write_bytes(data)
                    before = files_of(copied)
                    ended = call(copied, command)
                    problem = why_wrong(ended, right[command], less.get(command), path, before)
                    found.counts[command, ended.code] += 1
                    if problem:
                        found.wrong.append(f"{path} ({kind}), icl {command}: {problem}\n    {ended.said[-600:]}")
                        print(f"WRONG {found.wrong[-1]}", flush=True)
                    shutil.rmtree(copied)
            print(f"{time.monotonic() - began:6.0f} s  {path}", flush=True)
    for command in chosen:
        codes = ", ".join(
            f"{found.counts[command, code]} x {code}" for code in (0, 1, 2) if found.counts[command, code]
        )
        print(f"{command:16} {codes}")
    print(f"{sum(found.counts.values())} calls, {len(found.wrong)} wrong")
    return int(bool(found.wrong))


def why_wrong(ended: Ended, right: Ended, less: Ended | None, path: Path, before: dict[str, bytes]) -> str:
    """What is wrong with an ending; empty if nothing is."""
    if "Traceback" in ended.said or "error of icl itself" in ended.said:
        return "a traceback, or an error of icl itself"
    flat = re.sub(r"\s+", "", ended.said)
    if ended.code in (1, 2) and path.name not in flat:
        return f"exit code {ended.code} without the name of the file"
    if ended.code == 0:
        differing = [
            name for name, data in right.tables.items() if ended.tables.get(name) != data and name != str(path)
        ]
        return f"exit code 0, and {', '.join(differing)} differ" if differing else ""
    if ended.code == 1 and less is not None:
        # Either without the run, or with what of it is whole.
        for wanted in (less, right):
            differing = [name for name, data in wanted.tables.items() if ended.tables.get(name) != data]
            if not [name for name in differing if name != str(path)]:
                return ""
        return "exit code 1, and the tables are neither those with the run nor those without it"
    if ended.code == 2:
        changed = [name for name, data in before.items() if ended.files.get(name) != data]
        return f"exit code 2, and {', '.join(changed)} changed" if changed else ""
    return f"exit code {ended.code}"


@contextlib.contextmanager
def _everything_imported() -> Iterator[None]:
    """Import here what every fork needs."""
    import icl_curriculum.cli
    import icl_curriculum.pages
    import icl_curriculum.runs.experiment
    import icl_curriculum.scoring.heads
    import icl_curriculum.scoring.score_folder  # noqa: F401

    os.fsync = lambda fd: None
    yield


if __name__ == "__main__":
    sys.exit(main())
