"""`icl transfer`: what it prints, writes and refuses; and what `icl run` leaves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from fewer_pictures import draw_only
from made_up_transfer import LINEAR, QUADRATIC, Told, errors, ladder, write_folder
from tiny_runs import Icl, tiny_values, write_toml

import icl_curriculum
from icl_curriculum.results.columns import TABLES
from icl_curriculum.results.transfer.command import write_if_methods_differ
from icl_curriculum.runs.experiment import _write_transfer

MAML = Told("maml", errors((0.15, 0.2, 0.16), (0.6, 0.75, 0.7), (0.05, 0.06, 0.05)), method="maml", operations=1500)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def write(*told: Told, name: str = "meta", configs: bool = True) -> Path:
    return write_folder(Path("results") / name, told, configs=configs)


def test_a_table_for_each_domain(icl: Icl) -> None:
    adapted = {"model/adapted=20/rate=0.1": errors((0.1, 0.2, 0.15), (0.5, 0.6, 0.5), (0.05, 0.06, 0.05))}
    limited = dataclasses.replace(MAML, variant="maml_limited", fixed_prompts=64)
    folder = write(*ladder(), dataclasses.replace(MAML, adapted=adapted), limited)
    code, printed, complaint = icl("transfer", "meta")
    assert code == 0, complaint
    assert max(map(len, (line for line in printed.splitlines() if not line.startswith(("note", "Each"))))) <= 100
    titles = [line for line in printed.splitlines() if " examples, " in line]
    assert titles == [
        f"{title}: normalized error at 8 examples, {cells}"
        for title, cells in (
            ("seen cells, unadapted", "2 cells"), ("seen cells, adapted = 20", "2 cells"),
            ("unseen classes, unadapted", "2 cells"), ("unseen classes, adapted = 20", "2 cells"),
            ("unseen inputs, unadapted", "1 cell"), ("unseen inputs, adapted = 20", "1 cell"),
            ("seen cells, unadapted, 64 fixed prompts a cell", "2 cells"),
            ("unseen classes, unadapted, 64 fixed prompts a cell", "2 cells"),
            ("unseen inputs, unadapted, 64 fixed prompts a cell", "1 cell"),
        )
    ]  # fmt: skip
    # The mean difference of .05, .06, .05 and .6, .65, .7, with the least that is resolved.
    table = pd.read_csv(folder / "transfer.csv")
    assert list(table.columns) == TABLES["transfer"].header
    own = table[(table["variant"] == "maml") & (table["domain"] == "unseen_inputs")]
    own = own[(own["comparison"] == "equal_updates") & (own["adaptation"] == "unadapted")].iloc[0]
    assert f"−0.597 ±{own['resolvable']:.3f}" in printed
    assert "Each difference is the variant's error less that of plain training" in printed
    assert "note: maml at equal updates: plain_100 was not asked about the same" in complaint
    missing = "no plain variant has 100 steps of 8 prompts and training.fixed_prompts = 64 on the same cells"
    assert complaint.count(f"note: maml_limited at equal updates: {missing}") == 1
    assert complaint.rstrip().endswith("table:   results/meta/transfer.csv")
    # Python does the same.
    before = (folder / "transfer.csv").read_bytes()
    pd.testing.assert_frame_equal(icl_curriculum.transfer("meta", output="elsewhere"), icl_curriculum.transfer(folder))
    assert (folder / "transfer.csv").read_bytes() == before == Path("elsewhere/transfer.csv").read_bytes()


def test_without_comparisons_there_is_nothing_to_read_of_them(icl: Icl) -> None:
    write(*ladder())
    code, printed, _ = icl("transfer", "meta", "--output", "elsewhere")
    assert code == 0
    assert "at equal" not in printed
    assert "Each difference" not in printed
    assert Path("elsewhere/transfer.csv").is_file()
    assert not Path("results/meta/transfer.csv").exists()


def refused(icl: Icl, *arguments: str) -> str:
    code, printed, complaint = icl("transfer", *arguments)
    assert (code, printed) == (2, "")
    assert not list(Path("results").rglob("transfer.csv"))
    return " ".join(complaint.split())


def test_what_is_refused(icl: Icl) -> None:
    write(*(dataclasses.replace(told, errors={c: told.errors[c] for c in (LINEAR, QUADRATIC)}) for told in ladder()))
    assert "no model was asked about a class or inputs that it was not trained on" in refused(icl, "meta")
    write(dataclasses.replace(MAML, variant="a", method="reptile"), MAML, name="methods")
    complaint = refused(icl, "methods")
    assert 'no variant was trained plainly (training.method = "in_context")' in complaint
    assert "its methods are maml, reptile" in complaint
    write(*ladder(), MAML, name="bare", configs=False)
    assert "the config of maml, plain_100, plain_200, plain_50 is not there" in refused(icl, "bare")
    assert "did you mean 'bare'?" in refused(icl, "bar")


@pytest.mark.parametrize(
    ("cell", "said"), [("linear/gaussian", "linear, gaussian inputs"), ("linear/skewed", "linear, skewed inputs")]
)
def test_other_banks_are_refused_on_seen_and_on_unseen_cells(cell: str, said: str, icl: Icl) -> None:
    write(*ladder(), dataclasses.replace(MAML, banks={f"{cell}/none": "other"}))
    complaint = refused(icl, "meta")
    assert "not comparable: " in complaint
    assert "were asked other prompts (banks of another" in complaint
    assert f"({said})" in complaint


def test_no_finished_run(icl: Icl) -> None:
    folder = write(*ladder())
    for path in folder.glob("*.csv"):
        path.unlink()
    for path in folder.glob("*/manifest.json"):
        path.write_text(path.read_text().replace('"finished"', '"running"'))
    assert "holds no finished run (plain_100-seed0 is running" in refused(icl, "meta")


def test_the_table_that_a_run_writes_is_never_of_other_runs() -> None:
    plain = write(*ladder(), name="plain")
    assert write_if_methods_differ(plain) is None
    folder = write(*ladder(), MAML)
    assert write_if_methods_differ(folder) == folder / "transfer.csv"
    seen = [dataclasses.replace(told, errors={LINEAR: told.errors[LINEAR]}, trained=(LINEAR,)) for told in ladder()]
    write(*seen)
    assert write_if_methods_differ(folder) is None
    assert not (folder / "transfer.csv").exists()
    write(*ladder(), dataclasses.replace(MAML, banks={"linear/skewed/none": "other"}))
    (folder / "transfer.csv").touch()
    notes: list[str] = []
    _write_transfer(folder, notes.append)
    assert notes[0].startswith("transfer.csv was not written: not comparable: meta/maml-seed0 and meta/plain_100-seed0")
    assert not (folder / "transfer.csv").exists()


PLUGIN = '''
import icl_curriculum as icl
from icl_curriculum.training import add_gradients

@icl.register_method("two_steps")
class TwoSteps(icl.TrainingMethod):
    """Plain in-context training by another name."""

    def update(self, session):
        losses = add_gradients(session.model, session.batch())
        session.step_optimizers()
        return {"training": losses}
'''


@pytest.mark.usefixtures("undrawn", "fresh_registries")
def test_a_run_of_several_methods_leaves_the_table() -> None:
    Path("method.py").write_text(PLUGIN)
    values = tiny_values(
        {"name": "methods", "evaluation.shifts": ["skewed"], "seeds": [0], "function_classes": ["linear"]}
    )
    values["variants"] = {"plain": {}, "also_plain": {"training": {"steps": 6}}}
    folder = icl_curriculum.run(write_toml(Path("methods.toml"), values), plugins=["method.py"])
    # One method leaves nothing new.
    assert not (folder / "transfer.csv").exists()
    values["variants"]["other"] = {"training": {"method": "two_steps"}}
    icl_curriculum.run(write_toml(Path("methods.toml"), values), plugins=["method.py"])
    table = pd.read_csv(folder / "transfer.csv")
    assert set(table["domain"]) == {"seen", "unseen_inputs"}
    # On the same prompts with the same operations it is plain training.
    compared = table[(table["variant"] == "other") & (table["comparison"] != "none")]
    assert len(compared) == 5
    assert compared["difference"].abs().max() < 1e-12


def test_adaptations_asked_on_fewer_prompts_or_at_other_lengths_are_said(tmp_path: Path, icl: Icl) -> None:
    given = errors((0.05, 0.06, 0.05), (0.6, 0.75, 0.7), (0.5, 0.6, 0.5))
    few, short = "model/adapted=1/per_prompt", "model/adapted=2/per_prompt"
    told = Told("maml", given, method="maml", adapted={few: given, short: given}, few=[few, short], short=[short])
    code, printed, said = icl("transfer", str(write_folder(tmp_path / "meta", [*ladder(), told])))
    assert code == 0
    assert "seen cells, adapted = 1, per_prompt: normalized error at 8 examples, 2 cells, on 4 prompts" in printed
    assert f"{short}: no row, as it was not asked at 8 examples (evaluation.costly)." in " ".join(said.split())
    table = icl_curriculum.transfer(tmp_path / "meta")
    assert set(table.loc[table["learner"] == few, "n_prompts"]) == {4}
    assert set(table.loc[table["learner"] == "model", "n_prompts"]) == {16}


def test_an_adapted_id_without_steps_is_one_message(tmp_path: Path, icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_only(monkeypatch, "adaptation")
    given = errors((0.05, 0.06, 0.05), (0.6, 0.75, 0.7), (0.5, 0.6, 0.5))
    told = Told("maml", given, method="maml", adapted={"model/adapted=x": given})
    folder = write_folder(tmp_path / "meta", [*ladder(), told])
    for command in ("transfer", "plot"):
        code, _, complaint = icl(command, str(folder))
        assert (code, complaint.count("\n")) == (2, 1)
        assert "learner 'model/adapted=x': expected a number of steps, as in model/adapted=20, behind" in complaint


def test_the_longest_adaptations_are_shown_and_all_are_written(tmp_path: Path, icl: Icl) -> None:
    given = errors((0.05, 0.06, 0.05), (0.6, 0.75, 0.7), (0.5, 0.6, 0.5))
    told = Told("maml", given, method="maml", adapted={"model/adapted=5": given, "model/adapted=20": given})
    code, printed, _ = icl("transfer", str(write_folder(tmp_path / "meta", [*ladder(), told])))
    assert code == 0
    assert "seen cells, adapted = 20: " in printed
    assert "adapted = 5" not in printed
    assert "Adaptations of fewer steps than others are in transfer.csv alone." in printed
    written = pd.read_csv(tmp_path / "meta" / "transfer.csv")
    # In the order of their steps, not of their names.
    assert list(written["adaptation"].unique()) == ["unadapted", "adapted=5", "adapted=20"]
