"""``icl clean``: what it lists, removes and leaves alone, and that every table and model can be read afterwards."""

from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path

import pytest
from finished_runs import FINISHED, Finished, executed
from resealed import reseal
from tiny_runs import Icl, tables

import icl_curriculum
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.locks import Claim, locked
from icl_curriculum.results.cleaning import find_removable, remove_all
from icl_curriculum.runs.execution import directory_of
from icl_curriculum.runs.kept_weights import kept_steps


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run that kept weights, with another one moved aside, and what a killed process left."""
    found = executed(tmp_path_factory.mktemp("whole"), {**FINISHED, "training.keep_checkpoints": [4, 8]})
    shutil.copytree(found.path, found.path.parent / "aside/mixed-seed0-1")
    (found.path / ".training.csv.x.tmp").write_text("half")
    (found.path.parent / "aside/notes").mkdir()
    (found.path.parent / "aside/notes/mine.txt").write_text("my own")
    return found


@pytest.fixture
def mine(whole: Finished, tmp_path: Path) -> Finished:
    shutil.copytree(whole.results, tmp_path / "results")
    return Finished(whole.run, tmp_path / "results", [])


def everything(folder: Path) -> dict[str, bytes]:
    """All files but the locks, which say who looked last."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def found_kinds(*folders: Path) -> list[tuple[str, str, int]]:
    return [(item.kind, item.place.name, item.count) for item in find_removable(folders).removable]


def test_it_says_what_there_is_and_removes_nothing(mine: Finished, icl: Icl) -> None:
    before = everything(mine.results)
    code, out, err = icl("clean", "--results", mine.results)
    assert code == 0, err
    assert everything(mine.results) == before
    listed = [tuple(line.split()[:2]) for line in out.splitlines()[1:6]]
    assert listed == [("checkpoints", "2"), ("state", "1"), ("temporary", "1"), ("aside", "15"), ("cache", "12")]
    size = sum(path.stat().st_size for path in (mine.path / "checkpoints").iterdir())
    assert re.search(rf"^checkpoints +2 +{size / 1000:.1f} kB +{mine.path}$", out, re.MULTILINE)
    assert "in all; nothing was removed: --remove does" in out


def test_the_places_that_it_takes_are_a_run_an_experiment_and_results(mine: Finished) -> None:
    of_run = [("checkpoints", "mixed-seed0", 2), ("state", "mixed-seed0", 1), ("temporary", "mixed-seed0", 1)]
    assert found_kinds(mine.path) == of_run
    more = [("aside", "mixed-seed0-1", 15), ("cache", "tiny", 12)]
    # Each place once, however often it is meant.
    assert found_kinds(mine.path.parent) == found_kinds(mine.results, mine.path) == [*of_run, *more]


def test_what_is_needed_is_there_afterwards(mine: Finished, icl: Icl) -> None:
    before, outside = tables(mine.path), mine.path.parent / "aside/mixed-seed0-1"
    code, out, err = icl("clean", mine.results, "--remove")
    assert code == 0, err
    assert "removed: " in out
    assert f"left alone: {outside}: runs that --fresh moved aside, whole; removed only with --kind aside\n" in err
    assert not any((mine.path / name).exists() for name in ("checkpoints", "state.pt", ".training.csv.x.tmp"))
    assert not (mine.path.parent / ".cache").exists()
    assert outside.is_dir()
    directory_of(mine.run, mine.results).check_intact()
    assert tables(mine.path) == before
    assert icl_curriculum.load_model(mine.path).dims == 2
    assert kept_steps(mine.path) == [12]


def test_a_kind_is_removed_alone(mine: Finished, icl: Icl) -> None:
    before = everything(mine.results)
    assert icl("clean", mine.results, "--kind", "aside", "--remove")[0] == 0
    assert everything(mine.results) == {name: it for name, it in before.items() if "aside/mixed" not in name}
    assert icl("clean", mine.results, "--kind", "aside", "--remove") == (0, "nothing to remove\n", "")


def test_a_folder_goes_whole_where_open_files_keep_their_names(mine: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system over a network, which keeps those of the lock until that is released."""
    place, remove = mine.path.parent / "aside/mixed-seed0-1", shutil.rmtree

    def busy(path: Path, **options: bool) -> None:
        remove(path, **options)
        if is_held:
            path.mkdir()
            (path / ".nfs0001").touch()
            raise OSError(errno.ENOTEMPTY, "Directory not empty", str(path))

    is_held = True
    monkeypatch.setattr(shutil, "rmtree", busy)
    release = Claim.release

    def released(claim: Claim) -> None:
        nonlocal is_held
        is_held = False
        release(claim)

    monkeypatch.setattr(Claim, "release", released)
    remove_all(find_removable([mine.path.parent]), ["aside"])
    assert not place.exists()


def test_a_run_in_use_unfinished_or_damaged_is_left_alone_and_named(mine: Finished) -> None:
    manifest = mine.path / "manifest.json"
    with locked(mine.path / ".lock"):
        found = find_removable([mine.path.parent])
        assert found.left_alone[mine.path].startswith("in use by process ")
        # What baselines answered is in use, too.
        assert {item.kind for item in found.removable} == {"aside"}
    taken = find_removable([mine.path])
    reseal(manifest, {"status": "running"})
    before = everything(mine.path)
    assert find_removable([mine.path]).left_alone == {mine.path: "not finished"}
    # Begun anew after somebody looked.
    remove_all(taken, ["checkpoints", "state"])
    assert taken.left_alone == {mine.path: "not finished"}
    assert everything(mine.path) == before


def test_damaged_weights_keep_their_checkpoint(mine: Finished) -> None:
    (mine.path / "model.safetensors").write_bytes(b"nothing")
    found = find_removable([mine.path])
    assert found.removable == []
    assert "model.safetensors is damaged" in found.left_alone[mine.path]


def test_another_folder_is_refused(tmp_path: Path, icl: Icl) -> None:
    (tmp_path / "state.pt").write_text("not a run's")
    (tmp_path / ".cache").mkdir()
    expected = f"error: {tmp_path}: expected the folder of a run, of an experiment or of results, found none of these\n"
    assert icl("clean", tmp_path, "--remove") == (2, "", expected)
    assert (tmp_path / "state.pt").is_file()


def test_links_are_not_followed(mine: Finished, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "tiny").symlink_to(mine.path.parent)
    with pytest.raises(UserError, match="found none of these"):
        find_removable([linked])


def test_an_unknown_kind_is_named(mine: Finished) -> None:
    with pytest.raises(UserError, match=r"unknown kind 'chekpoints'; did you mean 'checkpoints'\?"):
        find_removable([mine.path], ["chekpoints"])


def test_predictions_are_listed_and_removed_only_when_named(mine: Finished, icl: Icl) -> None:
    answers = mine.path / "predictions.csv"
    answers.write_text("large")
    assert ("predictions", "mixed-seed0", 1) in found_kinds(mine.path)
    code, _, err = icl("clean", mine.path, "--remove")
    assert (code, answers.is_file()) == (0, True)
    assert f"left alone: {mine.path}: what --predictions wrote" in err
    code, out, _ = icl("clean", mine.path, "--kind", "predictions", "--remove")
    assert (code, answers.exists(), out.splitlines()[-1]) == (0, False, "removed: 5 bytes")
