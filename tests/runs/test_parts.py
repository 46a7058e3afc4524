"""Evaluation in parts: the same bytes, whatever parts did, left undone, damaged or were killed over."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from finished_runs import Finished, assert_same_results, executed
from tiny_runs import Icl, Killed, tiny_run, tiny_values, write_toml

import icl_curriculum
from icl_curriculum.config.experiment import Run
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.launchers import JobArray, Launch, Launcher, LaunchWatch
from icl_curriculum.launchers.base import UnitStanding
from icl_curriculum.launchers.batch_files import Ended
from icl_curriculum.results.cleaning import find_removable, remove_all
from icl_curriculum.runs import evaluation
from icl_curriculum.runs.answered_banks import folder_of
from icl_curriculum.runs.banks import evaluation_banks
from icl_curriculum.runs.execution import Progress, directory_of
from icl_curriculum.runs.failures import RunFailure
from icl_curriculum.runs.launch import launch
from icl_curriculum.runs.part_work import work_on
from icl_curriculum.runs.parts import RunPart, dealt, run_name_of, slices_of
from icl_curriculum.runs.status import RunStatus, status
from icl_curriculum.runs.worker import work

RUN = tiny_run()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The run that was evaluated at once."""
    return executed(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The banks that are answered, by name, in the order in which they are."""
    found: list[str] = []
    score_banks = evaluation.score_banks

    def noted(trained: Any, banks: Any, *others: Any, **options: Any) -> Iterator[Any]:
        for scored in score_banks(trained, banks, *others, **options):
            found.append(scored.name)
            yield scored

    monkeypatch.setattr(evaluation, "score_banks", noted)
    return found


def do(work: Run | RunPart, results: Path, report: Callable[[Progress], None] = lambda progress: None) -> None:
    work_on(work, results, device="cpu", report=report)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Results with the run, trained and not asked yet."""
    do(RunPart(RUN), tmp_path)
    assert json.loads((directory_of(RUN, tmp_path).path / "manifest.json").read_text())["status"] == "trained"
    return tmp_path


def kept(results: Path) -> list[Path]:
    """The files of the banks that were answered."""
    return sorted(folder_of(directory_of(RUN, results).path).glob("*.json"))


def test_parts_put_together_are_what_is_evaluated_at_once(whole: Finished, trained: Path, asked: list[str]) -> None:
    told: list[Progress] = []
    for part in slices_of(RUN, 3):
        do(part, trained, told.append)
    assert sorted(asked) == sorted(whole.manifest()["banks"])
    assert [(item.run, item.phase, item.done, item.total) for item in told] == [
        ("mixed-seed0.part-1-of-3", "evaluation", 1, 2), ("mixed-seed0.part-1-of-3", "evaluation", 2, 2),
        ("mixed-seed0.part-2-of-3", "evaluation", 1, 1), ("mixed-seed0.part-3-of-3", "evaluation", 1, 1),
    ]  # fmt: skip
    assert len(kept(trained)) == 4
    asked.clear()
    do(RUN, trained)
    found = Finished(RUN, trained, [])
    assert asked == []
    assert_same_results(found, whole)
    times = ("started", "wall_seconds", "seal", "tables")
    assert [{key: value for key, value in each.manifest().items() if key not in times} for each in (found, whole)] == [
        {key: value for key, value in whole.manifest().items() if key not in times}
    ] * 2
    assert not folder_of(found.path).exists()


def test_what_is_damaged_missing_or_of_another_bank_is_answered_again(
    whole: Finished, trained: Path, asked: list[str]
) -> None:
    for part in slices_of(RUN, 4):
        do(part, trained)
    first, second, third, _ = kept(trained)
    text = first.read_text()
    place = text.index("0.", text.index("\n"))
    first.write_text(text[: place + 2] + str((int(text[place + 2]) + 1) % 10) + text[place + 3 :])
    second.write_text(third.read_text())
    third.unlink()
    asked.clear()
    do(RUN, trained)
    assert len(asked) == 3
    assert_same_results(Finished(RUN, trained, []), whole)


def test_answers_of_other_weights_or_another_seed_are_not_taken(
    whole: Finished, trained: Path, tmp_path: Path, asked: list[str]
) -> None:
    """Neither those of the same run with another training, which may lie there since it was moved aside."""
    other = tiny_run({"training.steps": 11})
    do(RunPart(other), tmp_path / "other")
    for part in slices_of(other, 1):
        do(part, tmp_path / "other")
    do(RunPart(tiny_run(seed=1)), tmp_path / "other2")
    do(RunPart(tiny_run(seed=1), 1, 1), tmp_path / "other2")
    own = folder_of(directory_of(RUN, trained).path)
    own.parent.mkdir()
    folder_of(directory_of(other, tmp_path / "other").path).rename(own)
    for file in folder_of(directory_of(tiny_run(seed=1), tmp_path / "other2").path).iterdir():
        file.rename(own / file.name)
    assert len(kept(trained)) == 8
    asked.clear()
    do(RUN, trained)
    assert len(asked) == 4
    assert_same_results(Finished(RUN, trained, []), whole)


@pytest.mark.parametrize("part", [None, RunPart(RUN, 1, 1)])
def test_an_evaluation_that_is_killed_goes_on_where_it_was(
    whole: Finished, trained: Path, monkeypatch: pytest.MonkeyPatch, part: RunPart | None
) -> None:
    monkeypatch.setattr(evaluation, "KEEP_EVERY", 0.0)

    def die(progress: Progress) -> None:
        if (progress.phase, progress.done) == ("evaluation", 2):
            assert len(kept(trained)) == 2, "one that is killed has no time to write any more"
            raise Killed

    with pytest.raises(Killed):
        do(part or RUN, trained, die)
    told: list[Progress] = []
    do(RUN, trained, told.append)
    assert [(item.done, item.total) for item in told if item.phase == "evaluation"] == [(2, 4), (3, 4), (4, 4)]
    assert_same_results(Finished(RUN, trained, []), whole)


def test_a_short_evaluation_writes_no_answers(whole: Finished, trained: Path) -> None:
    do(RUN, trained, lambda progress: assert_none_are_kept(trained))


def assert_none_are_kept(results: Path) -> None:
    assert not kept(results)


def test_a_part_ends_when_the_run_is_finished_by_another_and_leaves_nothing(whole: Finished, trained: Path) -> None:
    def finish(progress: Progress) -> None:
        if progress.done == 1:
            do(RUN, trained)

    do(RunPart(RUN, 1, 1), trained, finish)
    assert_same_results(Finished(RUN, trained, []), whole)
    assert not folder_of(directory_of(RUN, trained).path).exists()


def test_a_part_of_a_run_that_was_moved_aside_makes_no_folder_anew(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icl_curriculum.runs.part_work.SEEN_WITHIN", 0.0)

    def move(progress: Progress) -> None:
        if progress.done == 1:
            (trained / "tiny").rename(trained / "moved")

    do(RunPart(RUN, 1, 1), trained, move)
    assert not (trained / "tiny" / "mixed-seed0").exists()
    do(RunPart(RUN, 1, 1), trained / "nowhere")
    assert not (trained / "nowhere").exists()


def test_a_run_that_is_seen_late_is_waited_for(trained: Path) -> None:
    (trained / "tiny").rename(trained / "hidden")

    def show(progress: Progress) -> None:
        if progress.phase == "waiting for its training":
            (trained / "hidden").rename(trained / "tiny")

    do(RunPart(RUN, 1, 4), trained, show)
    assert len(kept(trained)) == 1


def test_a_full_disk_ends_a_part_with_a_word_and_keeps_no_run_from_its_evaluation(
    whole: Finished, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, **options: Any) -> Any:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("icl_curriculum.runs.answered_banks.atomic_path", full)
    monkeypatch.setattr(evaluation, "KEEP_EVERY", 0.0)
    told: list[Progress] = []
    with pytest.raises(RunFailed, match=r"^mixed-seed0: part-2-of-2: .*\.json: No space left on device$"):
        do(RunPart(RUN, 2, 2), trained, told.append)
    assert told == [], "what cannot be kept is not worth answering"
    do(RUN, trained)
    assert_same_results(Finished(RUN, trained, []), whole)


def test_a_finished_run_is_evaluated_anew_in_parts(trained: Path, tmp_path: Path, asked: list[str]) -> None:
    do(RUN, trained)
    other = tiny_run({"evaluation.n_prompts": 8})
    asked.clear()
    for part in slices_of(other, 2):
        do(part, trained)
    assert len(asked) == 4
    do(other, trained)
    assert len(asked) == 4
    fresh = executed(tmp_path / "fresh", {"evaluation.n_prompts": 8})
    assert_same_results(Finished(other, trained, []), fresh)


# How banks are dealt out


def test_every_bank_is_dealt_once_and_classes_and_lengths_are_spread() -> None:
    shifts = [{"name": "longer_prompts", "factor": 2.0}, {"name": "scaled_inputs"}]
    banks = list(evaluation_banks(tiny_run({"evaluation.shifts": shifts, "points": 3}).experiment))
    for parts in (1, 2, 3, len(banks)):
        slices = dealt(banks, parts)
        assert sorted(bank.key for each in slices for bank in each) == sorted(bank.key for bank in banks)
        for bank in banks:
            alike = [
                sum((b.function_class, b.length) == (bank.function_class, bank.length) for b in own) for own in slices
            ]
            assert max(alike) - min(alike) <= 1
    assert [part.name for part in slices_of(RUN, 99)] == [f"mixed-seed0.part-{n}-of-4" for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("unit", ["a.b-seed1", "a.b-seed1.training", "a.b-seed1.part-2-of-14"])
def test_a_unit_is_named_after_its_run(unit: str) -> None:
    assert run_name_of(unit) == "a.b-seed1"


# Launching


@dataclasses.dataclass
class Watcher:
    """What a launch said, in order."""

    events: list[tuple[str, ...]] = dataclasses.field(default_factory=list)
    progress: list[Progress] = dataclasses.field(default_factory=list)
    failures: list[RunFailure] = dataclasses.field(default_factory=list)

    def launch(self, runs: list[Run], results: Path, **options: Any) -> Any:
        outcome = launch(
            runs, results, report=self.progress.append, started=lambda run: self.events.append(("started", run)),
            ended=lambda run, failure: self.events.append(("ended", run, "failed" if failure else "done")),
            note=lambda text: self.events.append(("note", text)), **options,
        )  # fmt: skip
        self.failures = outcome.failures
        return outcome


def test_workers_that_answer_parts_show_as_one_run_that_starts_and_ends_once(
    whole: Finished, tmp_path: Path, quick_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(quick_python))
    watcher = Watcher()
    assert watcher.launch([RUN], tmp_path, parts=2, jobs=2).finished == ["mixed-seed0"]
    assert watcher.events == [("started", "mixed-seed0"), ("ended", "mixed-seed0", "done")]
    assert {item.run for item in watcher.progress} == {"mixed-seed0"}
    told = [item for item in watcher.progress if item.phase == "evaluation"]
    assert [item.done for item in told] == sorted(item.done for item in told)
    assert {item.total for item in told} == {4}
    assert ("trained", 0) in [(item.phase, item.total) for item in watcher.progress]
    assert_same_results(Finished(RUN, tmp_path, []), whole)


class InThisProcess(Launcher):
    """Executes units as a worker does, and notes which."""

    _launched: ClassVar[list[list[str]]] = []

    def check(self) -> None:
        pass

    def execute(self, launch: Launch, watch: LaunchWatch) -> None:
        self._launched.append([unit.name for unit in launch.units])
        for unit in launch.units:
            watch.started(unit.name)
            file = unit.write(launch.folder.parent / "units" / unit.key.replace("/", "-"))
            assert work(file, lambda message, name=unit.name: watch.heard(name, message)) == 0  # type: ignore[misc]
            watch.ended(unit.name, None)


def test_a_launcher_is_given_trainings_then_parts_then_runs(
    whole: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InThisProcess, "_launched", [])
    runs, watcher = [tiny_run(seed=1), RUN], Watcher()
    do(RunPart(RUN), tmp_path)
    watcher.launch(runs, tmp_path, parts=2, on=InThisProcess())
    assert InThisProcess._launched == [
        ["mixed-seed1.training"],
        ["mixed-seed1.part-1-of-2", "mixed-seed1.part-2-of-2", "mixed-seed0.part-1-of-2", "mixed-seed0.part-2-of-2"],
        ["mixed-seed1", "mixed-seed0"],
    ]
    assert sorted(watcher.events) == [
        *[("ended", f"mixed-seed{seed}", "done") for seed in (0, 1)],
        *[("started", f"mixed-seed{seed}") for seed in (0, 1)],
    ]
    assert_same_results(Finished(RUN, tmp_path, []), whole)


def test_a_training_that_fails_is_a_failure_of_its_run_and_is_asked_nothing(tmp_path: Path, asked: list[str]) -> None:
    diverges, watcher = tiny_run({"training.divergence": 1.001}), Watcher()
    watcher.launch([diverges], tmp_path, parts=2, jobs=0)
    assert watcher.events == [("started", "mixed-seed0"), ("ended", "mixed-seed0", "failed")]
    assert [(failure.run, failure.message[:40]) for failure in watcher.failures] == [
        ("mixed-seed0", "mixed-seed0: training diverged by step 2")
    ]
    assert asked == []


def test_what_makes_a_part_fail_is_told_and_fails_the_run_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*arguments: Any, **options: Any) -> Any:
        raise MemoryError

    watcher = Watcher()
    monkeypatch.setattr("icl_curriculum.runs.evaluation.baseline_rows", run_out)
    watcher.launch([RUN], tmp_path, parts=1, jobs=0)
    (failure,) = watcher.failures
    assert failure.message.startswith("mixed-seed0: memory ran out; lower training.batch_size")
    assert watcher.events == [
        ("started", "mixed-seed0"),
        ("note", f"{failure.message}; these banks are asked again by the run itself"),
        ("ended", "mixed-seed0", "failed"),
    ]


def test_what_a_part_left_of_a_finished_run_is_removed_by_the_next_command(trained: Path) -> None:
    do(RunPart(RUN, 1, 1), trained)
    left = {file: file.read_bytes() for file in kept(trained)}
    do(RUN, trained)
    folder = folder_of(directory_of(RUN, trained).path)
    folder.mkdir()
    for file, content in left.items():
        file.write_bytes(content)
    (found,) = (item for item in find_removable([trained / "tiny"]).removable if item.kind == "cache")
    assert {*left} < {*found.paths}
    Watcher().launch([RUN], trained)
    assert not folder.exists()


def test_answers_of_runs_that_are_not_finished_can_be_cleaned(trained: Path) -> None:
    do(RunPart(RUN, 1, 1), trained)
    remove_all(find_removable([trained]))
    assert not (trained / "tiny" / ".cache").exists()


class Queue(InThisProcess):
    """Knows two units that are at work."""

    def standings(self, folder: Path) -> dict[str, UnitStanding]:
        ended = UnitStanding("ended", "6_0")
        at_work = {f"mixed-seed0.part-{n}-of-2": UnitStanding("running", f"7_{n - 1}") for n in (1, 2)}
        return {"mixed-seed0.training": ended, **at_work}


def test_the_status_of_a_run_adds_up_what_its_parts_have_answered(trained: Path) -> None:
    folder = trained / "tiny"
    for token, units in (("6", ["training"]), ("7", ["part-1-of-2", "part-2-of-2"])):
        names = [f"mixed-seed0.{unit}" for unit in units]
        array = JobArray(token, "tiny", folder / "launched" / token, names, units, [["true"]] * len(units), ["true"])
        array.write()
        for number, name in enumerate(names):
            progress = {"run": name, "phase": "evaluation", "done": 1 + number, "total": 2}
            array.task(number).path.mkdir()
            array.task(number).begin("once", "node")
            array.task(number).tell("once", 1, {"progress": progress if token == "7" else {}})
    assert status(folder, on=Queue()) == [RunStatus("mixed-seed0", "running", "evaluation 3/4", "job 7_1")]
    array.task(0).end(Ended("once", "stopped", at="evaluation 0/2"))
    assert [row.at for row in status(folder, on=Queue())] == ["evaluation 2/4"]


# Options


def test_a_dry_run_says_how_banks_are_dealt_out(icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icl_curriculum.cli.planning.with_costs", lambda found, device, tell: found)
    file = write_toml(tmp_path / "tiny.toml", tiny_values())
    code, _, err = icl("run", file, "--parts", "3", "--dry-run", "--results", tmp_path / "results")
    assert code == 0
    assert "mixed-seed0: once trained, 4 banks are answered in 3 parts of at most 2, and then put together\n" in err


@pytest.mark.parametrize(("parts", "found"), [(0, "0"), (2.5, "2.5"), (True, "True"), ("two", "'two'")])
def test_parts_are_a_whole_number_from_one(tmp_path: Path, parts: Any, found: str) -> None:
    with pytest.raises(UserError) as caught:
        icl_curriculum.run(tiny_values(), results=tmp_path, parts=parts)
    assert str(caught.value) == f"parts: expected a whole number of at least 1, found {found}"
    assert not [*tmp_path.iterdir()]


def test_no_part_is_a_mistake_on_the_command_line(icl: Icl, tmp_path: Path) -> None:
    code, _, err = icl("run", write_toml(tmp_path / "tiny.toml", tiny_values()), "--parts", "0")
    assert code == 2
    assert "'--parts': Input should be greater than or equal to 1" in err
