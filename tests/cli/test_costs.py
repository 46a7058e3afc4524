"""What `icl show NAME --cost` prints."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from tiny_runs import Icl, tiny_values, write_toml

from icl_curriculum.cli import costs
from icl_curriculum.runs import cost as costing


@pytest.fixture(autouse=True)
def _no_time_to_lose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(costing, "SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)
    values = tiny_values({"seeds": [0, 1], "evaluation.shifts": []})
    write_toml(Path("my.toml"), values | {"variants": {"short": {}, "long": {"training": {"steps": 24}}}})


def test_the_numbers_in_words() -> None:
    for function in (costs.number_shown, costs._bytes, costs.time_shown):
        finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
        assert [runner.run(example).failed for example in finder.find(function, globs=vars(costs))] == [0]


def test_a_row_for_each_variant_and_one_for_all(icl: Icl) -> None:
    code, out, err = icl("show", "my.toml", "--cost", "--device", "cpu")
    assert code == 0
    assert err.splitlines()[0] == "tiny: timing a few updates, answers and a checkpoint on cpu"
    lines = out.splitlines()
    assert lines[0].split() == [
        "one", "run", "of", "runs", "parameters", "steps", "prompts", "operations", "training", "evaluation",
        "weights", "checkpoint", "tables", "written",
    ]  # fmt: skip
    short, long, together = (line.split() for line in lines[1:])
    assert short[:5] == ["short", "2", "1.02k", "12", "96"]
    assert long[:5] == ["long", "2", "1.02k", "24", "192"]
    assert together[:5] == ["all", "together", "4", "72", "576"]
    assert float(long[5]) == pytest.approx(2 * float(short[5]), rel=0.01)
    # The config is not printed as well, and nothing is left behind.
    assert "checkpoint_every" not in out
    assert [path.name for path in Path.cwd().iterdir()] == ["my.toml"]


def test_without_it_the_config_is_printed_as_ever(icl: Icl) -> None:
    _, out, _ = icl("show", "my.toml")
    assert out.count("checkpoint_every = 5") == 1
    assert "[variants.long.training]\nsteps = 24\n" in out


def test_a_device_that_is_not_there_is_a_mistake(icl: Icl) -> None:
    code, _, err = icl("show", "my.toml", "--cost", "--device", "tpu")
    assert (code, err) == (2, "error: --device tpu: not on this machine; available: auto, cpu\n")
