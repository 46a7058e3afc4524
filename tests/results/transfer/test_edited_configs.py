"""Configs that were edited after the run: no comparison rests on one, and no command breaks on one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_up_transfer import Told, errors, ladder, write_folder
from resealed import note_collected
from tiny_runs import Icl

from icl_curriculum.results.columns import bytes_hash
from icl_curriculum.results.directory import RunDirectory

MAML = Told("maml", errors((0.05, 0.06, 0.05), (0.6, 0.75, 0.7), (0.5, 0.6, 0.5)), method="maml")
EDITS = {
    "no TOML": lambda text: text.replace("[training]", "[training"),
    "a number for a table": lambda text: text.split("[training]")[0] + "\ntraining = 3\n",
    "another method": lambda text: text.replace('name = "maml"', 'name = "in_context"'),
    "another kind of number": lambda text: text.replace("steps = 100", 'steps = "x"'),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_config_is_named_and_nothing_is_compared(edit: str, tmp_path: Path, icl: Icl) -> None:
    folder = write_folder(tmp_path / "meta", [*ladder(), MAML])
    for seed in range(3):
        run = folder / f"maml-seed{seed}"
        manifest = json.loads((run / "manifest.json").read_text())
        whole = (run / "config.toml").read_bytes()
        (run / "manifest.json").write_text(json.dumps({**manifest, "config_file": bytes_hash(whole)}))
        note_collected(folder)
        (run / "config.toml").write_text(EDITS[edit](whole.decode()))
        assert (run / "config.toml").read_bytes() != whole
    code, _, complaint = icl("transfer", str(folder))
    assert code == 2
    assert "maml-seed0/config.toml is damaged: it is not what the run wrote" in complaint
    assert not (folder / "transfer.csv").exists()


def test_a_run_of_its_own_is_no_experiment(tmp_path: Path, icl: Icl) -> None:
    folder = write_folder(tmp_path / "meta", [*ladder(), MAML])
    code, _, complaint = icl("transfer", str(folder / "maml-seed0"))
    assert (code, complaint) == (
        2, f"error: {folder / 'maml-seed0'} is the folder of one run; expected that of its experiment, {folder}\n",
    )  # fmt: skip


def test_a_finished_run_is_not_intact_with_another_config(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "meta", [MAML])
    run = folder / "maml-seed0"
    manifest = json.loads((run / "manifest.json").read_text())
    directory = RunDirectory(run, experiment="made_up", variant="maml", seed=0)
    config = bytes_hash((run / "config.toml").read_bytes())
    (run / "manifest.json").write_text(json.dumps({**manifest, "config_file": config}))
    (run / "config.toml").write_text((run / "config.toml").read_text() + "# and more\n")
    with pytest.raises(Exception, match=r"config\.toml is damaged: it is not what the run wrote"):
        directory.check_intact()
