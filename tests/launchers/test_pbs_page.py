"""The launcher that docs/clusters.md shows, with commands of OpenPBS that only pretend, and the machine as its node."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from places import ROOT
from tiny_runs import Icl, tiny_values, write_toml

#: A job is a process of this machine; the queue is a folder of files with their names.
QSUB = """#!/bin/sh
test "$1 $2" = "-q gpu" || { echo "qsub: no queue" >&2; exit 1; }
job=$(ls queue | wc -l).host
sed -n 's/^#PBS -N //p' "$3" > "queue/$job"
{ PBS_JOBID=$job sh "$3" > "queue/$job.out" 2>&1 < /dev/null; mv "queue/$job" "queue/$job.ended"; } &
echo "$job"
"""
QSTAT = """#!{python}
import json, pathlib
files = pathlib.Path("queue").glob("*.host")
jobs = {{file.name: {{"Job_Name": file.read_text().strip(), "job_state": "R"}} for file in files}}
print(json.dumps({{"Jobs": jobs}}))
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's file, on a machine with OpenPBS."""
    text = (ROOT / "docs/clusters.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```python\n(# pbs\.py\n.*?)```", text, re.DOTALL)
    (tmp_path / "pbs.py").write_text(found)
    (tmp_path / "queue").mkdir()
    for name, script in (("qsub", QSUB), ("qstat", QSTAT.format(python=sys.executable))):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("undrawn", "fresh_registries")
def test_a_run_by_the_launcher_on_the_page(icl: Icl, page: Path) -> None:
    write_toml(page / "tiny.toml", tiny_values())
    on = "{ name = 'pbs.py', options = '-q gpu', poll = 0.05, patience = 0.5 }"
    code, _, err = icl("run", "tiny.toml", "--on", on)
    assert code == 0, err
    assert "submitted 1 run as job 0.host\n" in err
    assert (page / "results/tiny/mixed-seed0/model.safetensors").is_file()
    # A launcher that was named by its file is no plugin of the run.
    assert not (page / "results/tiny/mixed-seed0/plugins").exists()
    code, _, err = icl("run", "tiny.toml", "--seeds", "1", "--on", "pbs.py")
    assert code == 2
    assert err.endswith("error: qsub refused the job: qsub: no queue\n")


@pytest.mark.usefixtures("fresh_registries")
def test_the_launcher_on_the_page_keeps_its_contract(icl: Icl, page: Path) -> None:
    options = ("--set", "options='-q gpu'", "--set", "poll=0.05", "--set", "patience=0.5")
    code, out, err = icl("check", "pbs", "--plugin", "pbs.py", *options)
    assert code == 0, out + err
    assert "8 rules hold, 0 do not, 0 do not apply" in out
