"""Messages name options in the words of whoever has called: the command line's, or those of Python's functions."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT

import icl_curriculum as icl
from icl_curriculum.core.options import given, named_as_on_the_command_line, option

PACKAGE = ROOT / "icl_curriculum"
#: What the command line alone says: itself, and what is a command's own and has no function in Python.
ITS_OWN = ("cli/", "bench/", "verify/record", "core/options.py", "config/option_values.py",
           "launchers/batch_", "launchers/slurm")  # fmt: skip


def test_an_option_is_named_as_the_caller_knows_it() -> None:
    assert (option("--function-class"), option("--fresh"), given("--step", "x", python="steps")) == (
        "function_classes", "fresh=True", "steps 'x'",
    )  # fmt: skip
    with named_as_on_the_command_line():
        assert (option("--function-class"), option("--fresh"), given("--step", "x", python="steps")) == (
            "--function-class", "--fresh", "--step x",
        )  # fmt: skip
        with named_as_on_the_command_line(False):
            assert option("--n-prompts") == "n_prompts"
    assert option("--results", "DIR") == "results=DIR"


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """The texts in a file that are no docstrings, with their lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    # The option itself, where `option` or `given` is called, or a command line is made or read.
    named = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("option", "given", "_git")
        for argument in node.args
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs | named:
            yield node.lineno, node.value


def test_no_message_outside_the_command_line_names_its_options_in_its_own_words() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not str(path.relative_to(PACKAGE)).startswith(ITS_OWN)
        for line, text in messages(path)
        # What is said of a whole command, as `icl plot NAME --variant all`, is the same for whoever reads it.
        if re.search(r"(^|[\s(:])--[a-z]", text) and "icl " not in text
    ]
    allowed = (
        "--end-with-stdin",
        "--can-stop",
        "--follow",
        "--task",
        "``icl run NAME --on",
        "--debug shows",
        "runs that --fresh moved aside",
        "--variant all",
        "--variant NAME",
        "by `--metric ",
        "what --predictions wrote",
    )
    assert [each for each in found if not any(words in each for words in allowed)] == []


FUNCTIONS = (icl.run, icl.score, icl.evaluate, icl.heads, icl.compare, icl.plot, icl.report, icl.check, icl.transfer,
             icl.load, icl.import_checkpoint)  # fmt: skip


def test_the_names_in_python_are_those_of_parameters() -> None:
    parameters = {name for function in FUNCTIONS for name in inspect.signature(function).parameters}
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in PACKAGE.rglob("*.py")
        if not str(path.relative_to(PACKAGE)).startswith(ITS_OWN)
    )
    named = set(re.findall(r"(?:option|given)\([\"'](--[a-z-]+)", text))
    assert len(named) > 20
    missing = {name for name in named if option(name).partition("=")[0] not in parameters}
    # `icl score` takes dimensions, and Python's `score` a task, which has them.
    assert missing == {"--dims"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: icl.load("smoke", overrides=["dims"]), r"^overrides 'dims': expected key=value"),
        (lambda: icl.load("smoke", overrides=["dimz=3"]), r"^overrides 'dimz=3': dimz: unknown key"),
        (lambda: icl.run("smoke", device="tpu"), "^device 'tpu': not on this machine"),
    ],
)
def test_a_mistake_in_python_names_the_parameter(call: object, message: str) -> None:
    with pytest.raises(icl.UserError, match=message) as error:
        call()  # type: ignore[operator]
    assert "--" not in str(error.value)
