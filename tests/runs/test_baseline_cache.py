"""The cache of baseline errors that the runs of an experiment share: believed only as it was written."""

from __future__ import annotations

import errno
import fcntl
import itertools
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from finished_runs import FINISHED, Finished, executed
from tiny_runs import tables

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.hosts import machine_token
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.provenance import versions
from icl_curriculum.evaluation import Bank
from icl_curriculum.runs import baseline_cache
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
        (cache / f".{path.name}.{machine_token()}-0a1b2c3d.tmp").write_bytes(before[path.name][:20])
    executed(copied.results, FINISHED, seed=1)
    after = {path.name: path.read_bytes() for path in cache.iterdir() if path.suffix != ".lock"}
    assert after == before


def asked(run: Run, cache: Path) -> tuple[object, object]:
    """What the cache says of a bank, or what is computed where it says nothing."""
    found = baseline_rows(run, *bank_and_prompts(run), cache)
    return found.rows, [(answers.learner, answers.predictions.tobytes()) for answers in found.answers]


def no_locks(handle: Any, how: int) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.parametrize("flock", [no_locks, lambda handle, how: None], ids=["no flock", "flock of each machine"])
def test_two_that_answer_at_once_without_a_lock_leave_what_one_does(
    copied: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flock: Any
) -> None:
    """Both compute, as both found nothing, and both write."""
    alone = asked(copied.run, tmp_path / "alone")
    monkeypatch.setattr(fcntl, "flock", flock)
    computed, together, found = list[int](), threading.Barrier(2), list[object]()
    score = baseline_cache.score

    def counted(*arguments: Any, **options: Any) -> Any:
        computed.append(1)
        together.wait(10)
        return score(*arguments, **options)

    monkeypatch.setattr(baseline_cache, "score", counted)
    threads = [threading.Thread(target=lambda: found.append(asked(copied.run, tmp_path / "cache"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone, alone]
    assert len(computed) == 2
    assert asked(copied.run, tmp_path / "cache") == alone
    assert len(computed) == 2
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock") == [
        ".json", ".safetensors"
    ]  # fmt: skip


def test_who_reads_between_the_two_files_of_another_writer_computes_itself(copied: Finished, tmp_path: Path) -> None:
    """One who was killed there, or who computes other last bits."""
    alone = asked(copied.run, tmp_path / "alone")
    (answers,) = (tmp_path / "alone").glob("*.safetensors")
    for content in (None, answers.read_bytes()[:-1] + b"!"):
        (tmp_path / "cache").mkdir(exist_ok=True)
        if content is None:
            (tmp_path / "cache" / answers.name).write_bytes(answers.read_bytes())
        else:
            (tmp_path / "cache" / answers.name).write_bytes(content)
        assert asked(copied.run, tmp_path / "cache") == alone
        assert (tmp_path / "cache" / answers.name).read_bytes() == answers.read_bytes()


def test_two_of_one_machine_compute_once_and_nobody_waits_for_ever(
    copied: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = asked(copied.run, tmp_path)
    (known,) = tmp_path.glob("*.json")
    with known.with_suffix(".lock").open("ab") as frozen:
        fcntl.flock(frozen, fcntl.LOCK_EX)
        waiting = threading.Thread(target=lambda: asked(copied.run, tmp_path))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        fcntl.flock(frozen, fcntl.LOCK_UN)
        waiting.join(10)
        assert not waiting.is_alive()
        fcntl.flock(frozen, fcntl.LOCK_EX)
        monkeypatch.setattr(baseline_cache, "PATIENCE", 0.1)
        began = time.monotonic()
        assert asked(copied.run, tmp_path) == alone
        assert time.monotonic() - began > 0.1


def test_a_cache_that_is_cleaned_while_it_is_written_costs_nothing_but_time(
    copied: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = asked(copied.run, tmp_path / "alone")
    write = baseline_cache.write_atomically

    def cleaned(path: Path, data: str | bytes) -> None:
        write(path, data)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))

    monkeypatch.setattr(baseline_cache, "write_atomically", cleaned)
    assert asked(copied.run, tmp_path / "cache") == alone


def bank_and_prompts(run: Run) -> tuple[Bank, Prompts]:
    bank = next(evaluation_banks(run.experiment))
    return bank, bank.draw()
