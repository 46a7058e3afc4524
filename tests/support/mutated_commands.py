"""Mutated experiment files and command lines: ``python tests/support/mutated_commands.py --count 1000 --seed 0``.

Each case is a function of the seed and its number: an experiment that ships, or a command with its options, after some
accidents. It is put to the console script's entry point, in this process or, for a few, in one of its own. What may not
happen: an exit code that is not documented, a traceback, more or less than one message, a message that names nothing
of what was given, a character that a terminal would obey, content that is no longer anywhere on the disk.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import tomli_w
import typer.main
from mistaken import NAMES, ODD, PLUGIN, VALID, Answer, after_accident, icl, places
from tiny_runs import TINY, tiny_run, write_toml

from icl_curriculum.config.experiment import Run
from icl_curriculum.config.finding import packaged_folder
from icl_curriculum.results.collecting import collect
from icl_curriculum.runs.execution import execute
from icl_curriculum.runs.launch import RunFailure, WorkerPool

#: Seconds for one case; no command here has that much to do.
LONGEST = 60
#: Numbers are tiny or out of bounds: what is merely large would be computed.
NUMBERS = [
    "-1", "0", "1", "2", "3", "9" * 8, "9" * 30, "-" + "9" * 30, "nan", "inf", "-inf", "1e9", "0x10", "½", "٣", "1,,2",
]  # fmt: skip
TEXTS = [
    "", " ", "-", "--", "---", "é∑线", "a\nb", "a\tb", "x" * 300, "x" * 5000, "[red]", "[/]", ":smile:", "$HOME", "%s",
    "\x1b[31mred", "\x1b]8;;http://x\x1b\\", "\x9b31m", "\u202eabc", "\udcff\udce9", "=cmd()", "+1", "@x", "-rf",
    "--help", ".", "/dev/null", "/dev/zero", "nowhere.toml", "folder.toml", "binary.toml", "my.toml", "smokee", "smoke",
    "mixed", "empty", "plugin.py", "binary.py", "results", "results/tiny", "results/tiny/mixed-seed0", "tiny", "linear",
    "hermite/3", "{ name = 'linear' }", "{ name = ", "{", "[", "all", "auto", "cuda:99", "none", "zero", "ridge", "SVR",
    "plugin.py:x", "aside", "CON", "a/b", "a\x00b", "{}",
]  # fmt: skip
#: Every command with options of every kind, valid as it stands or refused for the sake of the time it would take.
COMMANDS: list[list[str]] = [
    ["run", "my.toml", "--seeds", "0,1", "--jobs", "1", "--device", "cpu", "--results", "results", "--fresh"],
    ["run", "smoke", "--set", "training.steps=1", "--set", "dims=3", "--plugin", "plugin.py", "--results", "results"],
    ["show", "mixed", "--set", "training.steps=8", "--seeds", "3", "--plugin", "plugin.py", "--debug"],
    ["show", "my.toml", "--set", "variants.a.dims=3", "--sweep", "model.width=8,16", "--set", "name='mine'"],
    ["list", "baselines", "--plugin", "plugin.py"],
    ["evaluate", "results/tiny/mixed-seed1", "--function-class", "linear", "--inputs", "gaussian", "--shift", "none",
     "--n-prompts", "2", "--mask", "1.1", "--adapt", "steps=1,rate=0.1", "--instruction", "neutral", "--step", "all"],
    ["heads", "results/tiny/mixed-seed1", "--n", "1", "--score", "retrospective", "--by", "zero", "--controls", "0",
     "--n-prompts", "2", "--jobs", "1", "--step", "3", "--output", "out"],
    ["score", "ridgee", "--function-class", "linear", "--inputs", "gaussian", "--shift", "none", "--dims", "2",
     "--points", "3", "--n-prompts", "2", "--bank-seed", "0", "--costly-prompts", "2", "--lengths", "1",
     "--output", "out"],
    ["import", "empty", "--results", "results", "--name", "mine", "--variant", "one", "--seed", "0", "--heads", "1",
     "--points", "3", "--step", "1", "--function-class", "linear", "--inputs", "gaussian", "--prompt-type", "standard"],
    ["plot", "nothing", "--baselines", "all", "--variant", "all", "--results", "results"],
    ["compare", "tiny", "--against", "mixed", "--error", "0.5", "--examples", "2", "--output", "out"],
    ["transfer", "tiny", "--output", "out", "--results", "results"],
    ["report", "nothing", "--error", "0.5", "--results", "results"],
    ["clean", "tiny", "--kind", "cache", "--results", "results"],
    ["check", "linearr", "--kind", "function_classes", "--set", "label_noise=0.1", "--plugin", "plugin.py"],
    ["verify", "nothing", "--results", "results"],
    ["bench", "nothing", "--threads", "1", "--device", "cpu", "--rounds", "2", "--set", "dims=2", "--results", "out"],
]  # fmt: skip
#: The options that any of them has.
OPTIONS = [word for words in COMMANDS for word in words if word[:2] == "--"]


@dataclass(frozen=True)
class Case:
    """A command, and the experiment file that it is given, if it is one of those."""

    words: list[str]
    experiment: bytes | None = None


def case(seed: int, number: int) -> Case:
    """The case of a number, the same on every machine."""
    chosen = random.Random(f"{seed}/{number}")
    if chosen.random() < 0.5:
        content = _mutated_text(chosen) if chosen.random() < 0.5 else _mutated_values(chosen)
        return Case(["run" if chosen.random() < 0.2 else "show", "mutated.toml"], content)
    words = list(chosen.choice(COMMANDS))
    for _ in range(chosen.randint(1, 3)):
        place = chosen.randint(0, max(0, len(words) - 1))
        accidents = ["drop", "double", "swap", "replace", "replace", "replace", "insert", "shorten", "join"]
        accident = chosen.choice(accidents)
        others = TEXTS + OPTIONS if accident == "insert" else NUMBERS + TEXTS
        words = after_accident(words, accident, place, chosen.choice(others))
    return Case(words)


def _mutated_text(chosen: random.Random) -> bytes:
    """An experiment that ships after accidents of an editor, a disk or a keyboard."""
    content = chosen.choice(sorted(packaged_folder().glob("*.toml"))).read_bytes()
    for _ in range(chosen.randint(1, 3)):
        place, other = sorted(chosen.choices(range(len(content) + 1), k=2))
        lines = content.splitlines(keepends=True) or [b""]
        line = chosen.randrange(len(lines))
        match chosen.choice(["cut", "flip", "lines", "twice", "insert", "mark", "latin", "deep", "reverse", "empty"]):
            case "cut":
                content = content[:place]
            case "flip":
                content = (
                    content[:place]
                    + bytes(byte ^ 1 << chosen.randrange(8) for byte in content[place : place + 1])
                    + content[place + 1 :]
                )
            case "lines":
                content = b"".join(lines[:line] + lines[line + 1 :])
            case "twice":
                content = b"".join([*lines[: line + 1], *lines[line:]])
            case "insert":
                content = (
                    content[:place]
                    + chosen.choice(NUMBERS + TEXTS).encode("utf-8", "surrogateescape")
                    + content[place:]
                )
            case "mark":
                content = chosen.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\xef\xbb\xbf\xef\xbb\xbf"]) + content
            case "latin":
                content = content[:place] + "é".encode("latin-1") + content[place:]
            case "deep":
                content += b"deep = " + b"[" * 2000 + b"]" * chosen.choice([2000, 1])
            case "reverse":
                content = content[:place] + content[place:other][::-1] + content[other:]
            case "empty":
                content = b""
    return content


def _mutated_values(chosen: random.Random) -> bytes:
    """A valid experiment with values of other types, in other places, under other names, or missing."""
    values = deepcopy(chosen.choice(VALID))
    for _ in range(chosen.randint(1, 3)):
        everywhere: list[tuple[Any, Any]] = list(places(values)) or [(values, "dims")]
        holder, key = chosen.choice(everywhere)
        old = holder[key] if isinstance(holder, list) else holder.get(key)
        match chosen.choice(["odd", "odd", "odd", "name", "lose", "misspell", "move", "wrap"]):
            case "odd":
                holder[key] = deepcopy(chosen.choice([*ODD, *TEXTS]))
            case "name":
                holder[key] = chosen.choice(NAMES)
            case "wrap":
                holder[key] = chosen.choice([[old], {"name": old}, {str(key): old}, str(old)])
            case "lose":
                holder.pop(key)
            case "misspell" if isinstance(holder, dict):
                holder[chosen.choice([key[:-1], key + "s", key.upper(), f"{key} ", f"a.{key}", "\x1b[31m", "=1"])] = old
            case _ if isinstance(values, dict):
                values[str(key)] = deepcopy(old)
    try:
        return tomli_w.dumps(values).encode("utf-8", "surrogateescape")
    except (TypeError, ValueError):  # no TOML holds it
        return b""


def prepare(folder: Path) -> None:
    """What the commands meet: experiment files, plugins, and a finished experiment of two seeds."""
    folder.mkdir()
    write_toml(folder / "my.toml", TINY)
    (folder / "plugin.py").write_text(PLUGIN, encoding="utf-8")
    (folder / "binary.toml").write_bytes(bytes(range(256)))
    (folder / "binary.py").write_bytes(bytes(range(256)))
    (folder / "folder.toml").mkdir()
    (folder / "empty").mkdir()
    runs = [
        tiny_run({"evaluation.shifts": [], "evaluation.n_prompts": 4, "training.steps": 4}, seed=seed)
        for seed in (0, 1)
    ]
    for run in runs:
        execute(run, folder / "results")
    collect(folder / "results/tiny", {run.variant: run.hash() for run in runs})


def contents(folder: Path) -> set[str]:
    """Hashes of what may not be lost: the user's files, and the tables, weights, configs and manifests of runs."""
    kept = [path for path in folder.iterdir() if path.is_file() and path.name != "mutated.toml"]
    for pattern in ("*.csv", "model.safetensors", "config.toml"):
        kept += [path for path in folder.glob(f"results/**/mixed-seed*/{pattern}") if path.is_file()]
        kept += [path for path in folder.glob(f"results/**/mixed-seed*-[0-9]/{pattern}") if path.is_file()]
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def faults(found: Case, answer: Answer) -> Iterator[str]:
    """What is wrong with the answer to a case."""
    printed, message = answer.out + answer.err, answer.err
    if answer.code not in (0, 1, 2):
        yield f"exit code {answer.code}"
    if "Traceback" in printed and "--debug" not in found.words:
        yield "a traceback"
    if "an error of icl itself" in printed:
        yield "an error of icl itself"
    if re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", printed):
        yield "characters that a terminal obeys"
    if answer.code == 2 and "Traceback" not in printed:
        begun = len(re.findall(r"^error: ", message, re.MULTILINE)) + message.count("─ Error ─")
        if begun != 1 and "Usage: " not in printed:
            yield f"{begun} messages"
        if len(message) > 4000:
            yield f"a message of {len(message)} characters"
        if found.experiment is not None and "mutated.toml" not in message:
            yield "a message that does not name the file"
        if found.experiment is None and "Usage: " not in printed and not _names(found.words, message):
            yield "a message that names nothing of what was given"
    told = message.startswith(("error: ", "failed: "))
    if answer.code == 1 and not told and not re.search("trained nothing|failed|do not", printed):
        yield "exit code 1 without a reason"
    if answer.code == 0 and re.search(r"^(error|failed): ", message, re.MULTILINE):
        yield "an error, and exit code 0"


def _names(words: Sequence[str], message: str) -> bool:
    """Whether a message has something of what was given, or of what a command expects."""
    parts = {part for word in words for part in re.split(r"[=,/:.\s]", word) if len(part) > 1}
    named = any(part in message for part in parts) or any(repr(word) in message for word in words)
    return named or any(option in message for option in ("--", "expected", "results"))


def _nothing_trains(pool: WorkerPool, runs: Sequence[Run], jobs: int) -> list[RunFailure]:
    return [RunFailure(run.name, f"{run.name}: trained nothing") for run in runs]


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError


def ask(found: Case) -> Answer:
    """The answer of the entry point in this process, in which nothing trains."""
    if found.experiment is not None:
        Path("mutated.toml").write_bytes(found.experiment)
    with mock.patch.object(WorkerPool, "execute", _nothing_trains), mock.patch.dict(os.environ):
        return icl(*found.words)


def ask_a_process(found: Case) -> Answer:
    """The answer of a process of its own. What is to train is only shown."""
    if found.experiment is not None:
        Path("mutated.toml").write_bytes(found.experiment)
    words = ["show" if word == "run" else word for word in found.words]
    command = [sys.executable, "-m", "icl_curriculum", *words]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="surrogateescape", timeout=10 * LONGEST
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def wrong(seed: int, numbers: Sequence[int], folder: Path, *, processes: int = 0) -> list[str]:
    """The cases that went wrong, a line each. ``processes``: so many of them are also put to a process of their own."""
    before = Path.cwd()
    prepare(folder / "prepared")
    shutil.copytree(folder / "prepared", folder / "used")
    told = []
    apart = set(random.Random(seed).sample(list(numbers), min(processes, len(numbers))))
    signal.signal(signal.SIGALRM, _too_long)
    os.chdir(folder / "used")
    try:
        whole = contents(Path())
        for number in numbers:
            found = case(seed, number)
            askers = [ask, ask_a_process] if number in apart and "\x00" not in "".join(found.words) else [ask]
            for asker in askers:
                signal.alarm(LONGEST if asker is ask else 0)
                try:
                    seen = list(faults(found, asker(found)))
                except TimeoutError:
                    seen = [f"more than {LONGEST} s"]
                except Exception as error:
                    seen = [f"{type(error).__name__}: {error}"]
                finally:
                    signal.alarm(0)
                if not whole <= contents(Path()):
                    seen.append("content that is no longer there")
                told += [f"{seed}/{number} {found.words!r:.300}: {fault}" for fault in seen]
            if contents(Path()) != whole or number % 100 == 99:
                os.chdir(folder)
                shutil.rmtree(folder / "used")
                shutil.copytree(folder / "prepared", folder / "used")
                os.chdir(folder / "used")
    finally:
        os.chdir(before)
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--processes", type=int, default=10, help="cases that are also put to processes of their own")
    parser.add_argument("--show", action="store_true", help="print the answers instead")
    asked = parser.parse_args()
    # Typer reads the signatures of all commands anew at every call, which is most of what a mistake takes.
    typer.main.get_command = functools.cache(typer.main.get_command)
    numbers = range(asked.first, asked.first + asked.count)
    with tempfile.TemporaryDirectory(prefix="icl-mutated-") as place:
        if asked.show:
            prepare(Path(place) / "prepared")
            with contextlib.chdir(Path(place) / "prepared"):
                for number in numbers:
                    found = case(asked.seed, number)
                    print(number, found, ask(found), sep="\n", end="\n\n")
            return 0
        told = wrong(asked.seed, numbers, Path(place), processes=asked.processes)
    print("\n".join([*told, f"{asked.count} cases, {len(told)} faults"]))
    return int(bool(told))


if __name__ == "__main__":
    sys.exit(main())
