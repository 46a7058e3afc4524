"""What is to be doubted of results is said on the terminal, in the manifest and on the page, by every command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mended_runs import a_python_of_its_own
from tiny_runs import Icl, tiny_values, write_toml

PLUGIN = '''
from dataclasses import replace

import icl_curriculum as icl


@icl.register_shift("trebled")
class Trebled(icl.Shift):
    """The functions times 3, and not what their errors are divided by."""

    def draw(self, task, n, points, streams):
        prompts = super().draw(task, n, points, streams)
        return replace(prompts, ys=3 * prompts.ys, targets=3 * prompts.targets)


@icl.register_shift("trebled_rightly")
class TrebledRightly(icl.Shift):
    """The functions times 3."""

    def apply(self, task):
        return replace(task, factor=3.0)


class Peeping:
    def predict(self, prompts):
        return prompts.ys
'''

CALLED_NONE = '''

@icl.register_shift("called_none")
class CalledNone(TrebledRightly):
    """The functions times 3, and the tables do not say so."""

    def columns(self, task):
        return task.inputs.id, "none"
'''


@pytest.mark.usefixtures("unpictured")
def test_doubts_are_on_the_terminal_in_the_manifest_and_on_the_page(
    tmp_path: Path, icl: Icl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icl_curriculum.runs.experiment.figures.draw_all", lambda directory, **options: [])
    (tmp_path / "mine.py").write_text(PLUGIN)
    file = write_toml(
        tmp_path / "tiny.toml",
        tiny_values({
            "plugins": ["mine.py"], "evaluation.shifts": ["trebled", "trebled_rightly"], "evaluation.n_prompts": 640,
            "function_classes": ["linear"], "seeds": [0],
        }),
    )  # fmt: skip
    results = tmp_path / "results"
    with a_python_of_its_own():
        code, _, err = icl("run", file, "--results", results)
    assert code == 0, err
    said = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert [line.split(": ")[1] for line in said] == ["linear/gaussian/trebled"] * 2
    assert "E f(q)^2 = 2, which is too small" in said[0]
    assert "no oracle: the shift 'trebled' makes prompts in a way of its own" in said[1]
    run = results / "tiny" / "mixed-seed0"
    warnings = json.loads((run / "manifest.json").read_text())["warnings"]
    assert {bank: [item["about"] for item in items] for bank, items in warnings.items()} == {
        "linear/gaussian/trebled": ["denominator", "oracle"]
    }
    page = (results / "tiny" / "report.html").read_text(encoding="utf-8")
    assert "which is too small: over the prompts" in page
    assert "no oracle: the shift" in page
    table = (results / "tiny" / "evaluation.csv").read_text()
    assert ",trebled_rightly," in next(
        line for line in table.splitlines() if ",oracle,oracle," in line and "treb" in line
    )
    shifts = {line.split(",")[9] for line in table.splitlines() if ",oracle,oracle," in line}
    assert shifts == {"none", "trebled_rightly"}
    with a_python_of_its_own():
        code, _, err = icl("evaluate", run, "--shift", "trebled", "--n-prompts", "640")
    assert code == 0
    assert "warning: linear/gaussian/trebled: errors are divided by" in err
    assert "denominator" in (run / "evaluate" / "manifest.json").read_text()


@pytest.mark.parametrize("learner", ["zero", "mine.py:Peeping"])
def test_icl_score_says_them_too_and_refuses_a_learner_that_leaks(
    learner: str, tmp_path: Path, icl: Icl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(PLUGIN)
    asked = ("--shift", "trebled", "--plugin", "mine.py", "--n-prompts", "640", "--dims", "2", "--points", "5")
    with a_python_of_its_own():
        code, out, err = icl("score", learner, *asked, "--output", "scores")
    if learner == "zero":
        assert code == 0
        assert "warning: linear/gaussian/trebled: errors are divided by E f(q)^2 = 2, which is too small" in err
        assert "denominator" in (tmp_path / "scores" / "manifest.json").read_text()
    else:
        assert code == 1
        assert "'Peeping' (" in err + out
        assert "leaks: entry 0 changes by" in err + out
        assert not (tmp_path / "scores" / "evaluation.csv").exists()


def test_two_shifts_that_the_tables_could_not_tell_apart_are_refused(tmp_path: Path, icl: Icl) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN + CALLED_NONE)
    values = tiny_values({"plugins": ["mine.py"], "evaluation.shifts": ["called_none"]})
    file = write_toml(tmp_path / "tiny.toml", values)
    with a_python_of_its_own():
        code, _, err = icl("run", file, "--results", tmp_path / "results")
    assert code == 2
    assert "evaluation.shifts: 'called_none' would stand in the tables as linear/gaussian/none" in err
    assert "let its columns tell it apart, or give it an id" in err
    assert not (tmp_path / "results").exists()
