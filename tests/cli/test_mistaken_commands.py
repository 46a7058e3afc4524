"""Mistaken commands: one message, exit code 2 (or 1 for a run that failed), no traceback."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mistaken import PLUGIN, Answer, after_accident, files, icl, steady
from tiny_runs import TINY, write_toml

from icl_curriculum.config.experiment import Run
from icl_curriculum.runs.launch import RunFailure, WorkerPool


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("commands"))
    write_toml(Path("my.toml"), TINY)
    Path("my_plugin.py").write_text(PLUGIN)
    Path("binary.toml").write_bytes(bytes(range(256)))
    Path("binary.py").write_bytes(bytes(range(256)))
    Path("folder.toml").mkdir()
    Path("empty").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerPool, "execute", _nothing_trains)
        yield
    os.chdir(before)


def _nothing_trains(pool: WorkerPool, runs: Sequence[Run], jobs: int) -> list[RunFailure]:
    assert jobs >= 1
    return [RunFailure(run.name, f"{run.name}: trained nothing") for run in runs]


COMMANDS: list[list[str]] = [
    ["run", "my.toml", "--seeds", "0,1", "--jobs", "1", "--device", "cpu", "--results", "here", "--fresh"],
    ["run", "smoke", "--set", "training.steps=8", "--set", "dims=3", "--plugin", "my_plugin.py"],
    ["plot", "empty", "--results", "here"],
    ["list", "baselines", "--plugin", "my_plugin.py"],
    ["show", "mixed", "--set", "training.steps=8", "--seeds", "3", "--plugin", "my_plugin.py"],
]
JUNK = [
    "", " ", "-", "--", "---", "-1", "0", "1e9", "9" * 30, "nan", "é∑线", "a\nb", "x" * 5000, "[red]", "[/]", "$HOME",
    ".", "..", "/", "/dev/null", "/dev/zero", "nowhere.toml", "folder.toml", "binary.toml", "binary.py", "my.toml",
    "%s", "empty", "my_plugin.py", "smokee", "smoke", "inputz", "run", "plot", "list", "show", "--help", "--set",
    "--seeds", "--jobs", "--device", "--results", "--plugin", "--fresh", "--set=", "--seeds=0,,1", "--seeds=1,1",
    "--jobs=0", "--device=cuda:99", "--device=:", "--results=my.toml", "--plugin=empty", "--set=a.b.=", "--set==1",
    "--set=dims=[", "--set=dims.a=1", "--set=training=3", "--set=dims=" + "9" * 400, "--set=variants.a.dims=3",
    "--set=plugins=[3]", "--set=name=..", "--set=extends=3", "--set=seeds=[]", "--set=recipe=[]",
    '--set=model={name="x"}', "--unknown",
]  # fmt: skip


@st.composite
def mistaken(draw: st.DrawFn) -> list[str]:
    """A valid command after one to three accidents."""
    words = list(draw(st.sampled_from(COMMANDS)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, len(words) - 1)))
        accident = draw(st.sampled_from(["drop", "double", "swap", "replace", "insert", "shorten"]))
        words = after_accident(words, accident, place, draw(st.sampled_from(JUNK)))
    return words


def answer_to(*words: str) -> Answer:
    """What a command says, which is one message at most, and about what the user wrote."""
    answer = icl(*words)
    assert answer.code in (0, 1, 2), words
    printed = answer.out + answer.err
    assert "Traceback" not in printed
    assert "an error of icl itself" not in printed
    # A usage error of typer's stands in a box.
    messages = len(re.findall(r"^error: ", answer.err, re.MULTILINE)) + answer.err.count("─ Error ─")
    if answer.code == 2:
        assert messages == 1 or "Usage: " in printed, answer
        assert len(answer.err) < 2500
    if answer.code == 1:
        assert messages == 1 or "trained nothing" in answer.err, answer
    if answer.code == 0:
        assert not re.search(r"^(error|failed): ", answer.err, re.MULTILINE)
    return answer


@given(words=mistaken())
@example(words=[])
@example(words=["run"])
@settings(steady, max_examples=100)
def test_a_mistaken_command_is_one_message(words: list[str]) -> None:
    answer_to(*words)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_the_commands_that_the_test_spoils_are_valid(command: list[str]) -> None:
    answer = answer_to(*command)
    if command[0] == "run":
        assert answer.code == 1
        assert "trained nothing" in answer.err
    elif command[0] == "plot":
        assert (answer.code, answer.err) == (2, "error: empty/learning.csv is missing: figures are drawn from the "
                                                "experiment's tables, so run the experiment first\n")  # fmt: skip
    else:
        assert answer.code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "folder.toml"], "error: experiment file folder.toml is no file\n"),
        (["run", "binary.toml"], "error: binary.toml: not a valid TOML file: "),
        (["run", "/dev/zero"], "error: unknown experiment '/dev/zero'; known: "),
        (["show", "x" * 5000], f"error: unknown experiment '{'x' * 47}...{'x' * 48}'; known: "),
        (["show", "my.toml", "--plugin", "empty"], "error: plugin file empty does not exist\n"),
        (["show", "my.toml", "--plugin", "x" * 5000], "error: plugin file 'xxx"),
        (["show", "my.toml", "--plugin", "binary.py"], "binary.py failed to import: "),
        (["show", "my.toml", "--set", "plugins=3"], "error: --set plugins=3: plugins: expected a list of file names"),
        (["run", "my.toml", "--seeds", "9" * 30], "error: my.toml: seeds.0: expected less than or equal to 9223372036"),
        (["run", "my.toml", "--results", "my.toml"], "error: my.toml/tiny: cannot be written to: Not a directory\n"),
    ],
)
def test_what_was_once_said_badly(words: list[str], message: str) -> None:
    before: dict[str, Any] = files(Path())
    answer = answer_to(*words)
    assert answer.code == 2
    assert message in answer.err
    assert len(answer.err) < 400
    assert files(Path()) == before
