"""What the shell offers at the tab key, in the words in which each shell asks."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an experiment, the results of two, and the console script."""
    for name in ("results/trained_a", "results/trained_b", "elsewhere/trained_c", "experiments"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "experiments/smoke_of_mine.toml").touch()
    (tmp_path / "results/trained.txt").touch()
    script = tmp_path / "icl"
    run = "import sys; sys.argv[0] = 'icl'; from icl_curriculum.__main__ import main; main()"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -X importtime -c {shlex.quote(run)} "$@"\n')
    script.chmod(0o755)
    return tmp_path


def asked(folder: Path, *command: str, **environment: str) -> tuple[str, set[str]]:
    """What a command prints, and which packages it imports."""
    path = f"{folder}:{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, **environment}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=True, timeout=60)
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "icl_curriculum" in imported
    return done.stdout, imported


def test_bash_completes_names_of_experiments(folder: Path) -> None:
    """In bash itself, with the script that `icl --install-completion` writes."""
    lines = 'eval "$(_ICL_COMPLETE=source_bash icl)"; COMP_WORDS=(icl run smo); COMP_CWORD=2; _icl_completion icl'
    out, imported = asked(folder, "bash", "-c", f'{lines}; echo "${{COMPREPLY[@]}}"')
    assert out == "smoke smoke_of_mine\n"
    assert not imported & {"torch", "numpy", "pandas"}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("icl compare trained_a ", ["trained_a", "trained_b"]),
        ("icl plot --results elsewhere tr", ["trained_c"]),
        ("icl list s", ["shifts"]),
        ("icl run smoke --device c", ["cpu", "cuda"]),
        ("icl run smoke --de", ["--device", "--debug"]),
        ("icl --v", ["--version", "--verbose"]),
        ("icl ev", ["evaluate"]),
    ],
)
def test_fish_completes_results_kinds_options_and_commands(folder: Path, typed: str, offered: list[str]) -> None:
    variables = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": typed}
    out, imported = asked(folder, "icl", _ICL_COMPLETE="complete_fish", **variables)
    assert [line.split("\t")[0] for line in out.splitlines()] == offered
    assert "torch" not in imported


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("sparse_l", "sparse_linear"), ("--kind models t", "transformer"), ("--kind meth", "methods")],
)
def test_zsh_completes_names_of_components(folder: Path, quick_python: Path, typed: str, offered: str) -> None:
    """These import torch, so in a process that has it already."""
    variables = {"_ICL_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": f"icl check {typed}"}
    command = [quick_python, "-c", "import sys; sys.argv[0] = 'icl'; from icl_curriculum.__main__ import main; main()"]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True)
    out = done.stdout
    assert out == f"_arguments '*: :((\"{offered}\"))'\n"
