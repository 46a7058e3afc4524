"""The seal of a manifest, the version of its format, and what it says of the files beside it."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from finished_runs import Finished
from resealed import reseal, unsealed

from icl_curriculum.core.errors import UserError
from icl_curriculum.results.manifests import FORMAT, DamagedFile, NewerFormat, check_intact, read_manifest, sealed
from icl_curriculum.runs.checkpoints import load_model
from icl_curriculum.scoring.trained_runs import open_run


@pytest.fixture
def run_dir(finished: Finished, tmp_path: Path) -> Path:
    return shutil.copytree(finished.path, tmp_path / "results/tiny" / finished.path.name)


def test_every_flipped_bit_of_a_manifest_is_noticed(run_dir: Path) -> None:
    file = run_dir / "manifest.json"
    whole, known = file.read_bytes(), read_manifest(run_dir)
    drawn = random.Random(0)
    noticed = 0
    for _ in range(400):
        data = bytearray(whole)
        data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
        file.write_bytes(data)
        try:
            found = read_manifest(run_dir)
        except DamagedFile as error:
            noticed += str(error).startswith(f"{file} is damaged: ")
        else:
            # A blank that has become another blank says the same.
            assert found == known
    assert noticed > 380


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Expecting value"),
        ("null", "expected an object, found NoneType"),
        ("[" * 100_000, "brackets in thousands of brackets"),
        ('{"seed": "0"}', "expected the manifest of a run"),
    ],
)
def test_what_is_no_manifest_is_named(run_dir: Path, text: str, problem: str) -> None:
    (run_dir / "manifest.json").write_text(text)
    with pytest.raises(DamagedFile, match=rf"manifest\.json is damaged: .*{problem}.*; restore it"):
        read_manifest(run_dir)


def test_a_later_format_is_refused_with_the_version_to_use(run_dir: Path) -> None:
    file = run_dir / "manifest.json"
    content = json.loads(file.read_text()) | {"format": FORMAT + 1, "package_version": "9.1"}
    file.write_text(json.dumps(content))
    with pytest.raises(NewerFormat, match=rf"has format {FORMAT + 1}, of icl_curriculum 9\.1; .*use icl_curriculum 9"):
        load_model(run_dir)


def test_a_manifest_of_the_first_format_is_read(run_dir: Path) -> None:
    unsealed(run_dir / "manifest.json", {})
    assert load_model(run_dir)
    with (run_dir / "evaluation.csv").open("a") as table:
        table.write("another row\n")
    with pytest.raises(DamagedFile, match=r"evaluation\.csv is damaged: it is not what the run wrote"):
        open_run(run_dir)


def test_the_seal_is_of_the_content_and_of_nothing_else(run_dir: Path) -> None:
    content = json.loads((run_dir / "manifest.json").read_text())
    assert sealed(content) == content
    assert sealed(dict(reversed(content.items()))) == content
    assert sealed({**content, "seed": 1})["seal"] != content["seal"]


@pytest.mark.parametrize(
    "name", ["config.toml", "model.safetensors", "training.csv", "evaluation.csv", "prediction_differences.csv"]
)
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_file_that_is_not_what_the_run_wrote_is_named(run_dir: Path, name: str, how: str) -> None:
    file = run_dir / name
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.unlink() if how == "missing" else file.write_bytes(data)
    problem = "it is missing" if how == "missing" else "it is not what the run wrote"
    with pytest.raises(DamagedFile, match=rf"{name} is damaged: {problem}"):
        check_intact(run_dir, read_manifest(run_dir) or {})
    with pytest.raises(DamagedFile, match=rf"{name} is damaged: {problem}"):
        open_run(run_dir)


def test_a_model_is_not_loaded_from_a_folder_that_was_swapped(run_dir: Path) -> None:
    other = run_dir.rename(run_dir.with_name("mixed-seed9"))
    with pytest.raises(DamagedFile, match=r"it is that of another run, mixed-seed0"):
        load_model(other)
    # Under a name that no run has, it is a copy that somebody made.
    assert load_model(other.rename(run_dir.with_name("best")))


def test_a_run_without_its_manifest_is_not_begun_anew_over_what_it_left(run_dir: Path) -> None:
    (run_dir / "manifest.json").unlink()
    with pytest.raises(DamagedFile, match=r"manifest\.json is damaged: it is missing; restore it"):
        load_model(run_dir)


def test_hashes_of_another_kind_are_damage(run_dir: Path) -> None:
    reseal(run_dir / "manifest.json", {"tables": ["no", "hashes"]})
    with pytest.raises(UserError, match=r"manifest\.json is damaged: expected the manifest of a run"):
        read_manifest(run_dir)
