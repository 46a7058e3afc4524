"""The cache of baseline errors that the runs of an experiment share: believed only as it was written."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from finished_runs import FINISHED, Finished, executed
from tiny_runs import tables

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.provenance import versions
from icl_curriculum.evaluation import Bank
from icl_curriculum.runs.banks import evaluation_banks
from icl_curriculum.runs.baseline_cache import baseline_rows


def test_a_cache_of_baselines_that_was_edited_or_exchanged_is_not_believed(copied: Finished, tmp_path: Path) -> None:
    """One digit of one number, and the whole answers to another bank."""
    cache = sorted((copied.path.parent / ".cache").glob("*.json"))
    texts = [file.read_text() for file in cache]
    digit = re.search(r"\d(?=\d\d[,\]])", texts[0].partition("\n")[2])
    assert digit is not None
    place = len(texts[0].partition("\n")[0]) + 1 + digit.start()
    cache[0].write_text(texts[0][:place] + str((int(texts[0][place]) + 1) % 10) + texts[0][place + 1 :])
    for one, other in itertools.pairwise(cache[1:]):
        one.write_text(other.read_text())
        one.with_suffix(".safetensors").write_bytes(other.with_suffix(".safetensors").read_bytes())
    other = executed(copied.results, FINISHED, seed=1)
    alone = executed(tmp_path / "alone", FINISHED, seed=1)
    assert tables(other.path) == tables(alone.path)
    assert [file.read_text() for file in cache] == texts


def test_a_cache_of_baselines_is_that_of_the_versions_that_made_it(
    copied: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = copied.path.parent / ".cache"
    before = {file.name for file in cache.glob("*.json")}
    executed(copied.results, FINISHED, seed=1)
    assert {file.name for file in cache.glob("*.json")} == before
    for name in ("scikit_learn_version", "numpy_version", "scipy_version", "numba_version", "python_version"):
        known = {file.name for file in cache.glob("*.json")}
        monkeypatch.setattr(
            "icl_curriculum.runs.baseline_cache._versions", lambda name=name: {**versions(), name: "0.0"}
        )
        baseline_rows(copied.run, *bank_and_prompts(copied.run), cache)
        assert len({file.name for file in cache.glob("*.json")} - known) == 1


def test_what_a_killed_process_left_of_its_answers_is_removed_by_who_answers_next(copied: Finished) -> None:
    cache = copied.path.parent / ".cache"
    written = sorted(path for path in cache.iterdir() if path.suffix in (".json", ".safetensors"))
    before = {path.name: path.read_bytes() for path in written}
    for path in written:
        path.unlink()
        (cache / f".{path.name}.0a1b2c3d.tmp").write_bytes(before[path.name][:20])
    executed(copied.results, FINISHED, seed=1)
    after = {path.name: path.read_bytes() for path in cache.iterdir() if not path.name.startswith(".lock")}
    assert after == before


def bank_and_prompts(run: Run) -> tuple[Bank, Prompts]:
    bank = next(evaluation_banks(run.experiment))
    return bank, bank.draw()
