"""``icl verify published``: printed results stand beside those of finished runs of that size, read from their files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from finished_runs import Finished, executed
from resealed import reseal
from tiny_runs import Icl

from icl_curriculum.config.identifiers import component
from icl_curriculum.core.registry import SHIFTS
from icl_curriculum.results.columns import bytes_hash, text_hash
from icl_curriculum.verify import CheckOutcome, published, runs
from icl_curriculum.verify.published import Printed, checks

NOT_RUN = "not run"


def test_every_printed_number_stands_once() -> None:
    asked = {(row.trained_on, row.asked) for row in published.PRINTED}
    assert len(asked) == len(published.PRINTED)
    assert {row.trained_on for row in published.PRINTED} == {"linear", "sparse_linear", "relu_network", "decision_tree"}


def test_shifts_are_named_as_the_tables_name_them() -> None:
    for row in published.PRINTED:
        if row.shift != "none":
            assert component(row.shift, SHIFTS, "shift").id == row.shift


# Runs of the test's own size take the place of published ones

SEEDS = (0, 1)
PRINTED = [
    Printed("linear", 2, 0.5),
    Printed("linear", 2, 0.25, "scaled_inputs/2", note="an open question"),
    Printed("linear", 1, 0.75, "random_quadrants"),
    Printed("quadratic", 3, 0.25),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Finished]:
    """Two seeds trained on linear functions alone, asked about quadratic ones too."""
    results = tmp_path_factory.mktemp("published")
    single = {"curriculum.function_classes": {"name": "single", "only": "linear"}}
    return {seed: executed(results, single, seed=seed) for seed in SEEDS}


@pytest.fixture
def results(trained: dict[int, Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of their folder of results, and their size for the published one."""
    monkeypatch.setattr(runs, "DIMS", 2)
    monkeypatch.setattr(runs, "MODEL", {"name": "transformer", "layers": 1, "width": 8, "heads": 2})
    monkeypatch.setattr(published, "PRINTED", PRINTED)
    shutil.copytree(trained[0].results, tmp_path / "results")
    return tmp_path / "results"


def rows(results: Path) -> list[CheckOutcome]:
    """Those of the printed numbers; none is ever judged."""
    found = [check.outcome() for check in checks(results)]
    assert [row.holds for row in found] == [None] * len(found)
    return found


def value(run: Finished, shift: str = "none", k: int = 2) -> float:
    table = run.table("evaluation")
    table = table[(table.learner == "model") & (table.metric == "normalized_error") & (table.n_context == k)]
    return float(table.loc[(table.function_class == "linear") & (table["shift"] == shift), "value"].iloc[0])


def test_seeds_are_averaged_and_their_range_is_told(results: Path, trained: dict[int, Finished]) -> None:
    plain, scaled, quadrants, quadratic = rows(results)
    both = [value(run) for run in trained.values()]
    assert plain.expected == 0.5
    assert plain.found == pytest.approx(sum(both) / 2)
    family = f"tiny/{trained[0].run.variant}"
    assert plain.note == f"{family}, seeds 0, 1, {min(both):.3g} to {max(both):.3g}, 12 steps"
    assert scaled.found == pytest.approx(sum(value(run, "scaled_inputs/2") for run in trained.values()) / 2)
    assert scaled.note.startswith(f"an open question, {family}, seeds 0, 1, ")
    assert (quadrants.found, quadrants.note) == (NOT_RUN, f"{family}: not asked this")
    # Asked about quadratic functions, but not trained on them.
    assert (quadratic.found, quadratic.note) == (NOT_RUN, "")


def run_folders(results: Path) -> list[Path]:
    return sorted(path.parent for path in results.glob("*/*/manifest.json"))


def test_one_seed_stands_alone(results: Path, trained: dict[int, Finished]) -> None:
    shutil.rmtree(run_folders(results)[0])
    plain = rows(results)[0]
    assert plain.found == pytest.approx(value(trained[1]))
    assert plain.note == f"tiny/{trained[1].run.variant}, seed 1, 12 steps"


def test_experiments_have_rows_of_their_own(results: Path) -> None:
    folder = run_folders(results)[1]
    other = results / "other" / folder.name
    shutil.copytree(folder, other)
    reseal(other / "manifest.json", {"experiment": "other"})
    notes = [row.note for row in rows(results) if row.expected == 0.5]
    assert [note.partition("/")[0] for note in notes] == ["other", "tiny"]


def test_what_icl_evaluate_asked_later_counts_too(results: Path, trained: dict[int, Finished]) -> None:
    folder = run_folders(results)[0] / "evaluate"
    folder.mkdir()
    table = (folder.parent / "evaluation.csv").read_text()
    (folder / "evaluation.csv").write_text(table.replace(",scaled_inputs/2,", ",random_quadrants,"))
    plain, _, quadrants, _ = rows(results)
    assert quadrants.found == pytest.approx(value(trained[0], "scaled_inputs/2", k=1))
    assert "seed 0, " in quadrants.note
    assert "seeds 0, 1, " in plain.note


def _config(old: str, new: str) -> Callable[[Path], None]:
    """Another config, as if the run had had it."""

    def change(folder: Path) -> None:
        _text("config.toml", old, new)(folder)
        reseal(folder / "manifest.json", {"config_file": bytes_hash((folder / "config.toml").read_bytes())})

    return change


def _text(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def _trained_on_both(folder: Path) -> None:
    """As if quadratic functions had been in the training distribution."""
    path, manifest = folder / "evaluation.csv", folder / "manifest.json"
    text = path.read_text().replace(",FALSE,", ",TRUE,")
    path.write_text(text)
    reseal(manifest, {"tables": {**json.loads(manifest.read_text())["tables"], "evaluation": text_hash(text)}})


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: reseal(folder / "manifest.json", {"status": "running"}),
        _config("dims = 2", "dims = 3"),
        _config("width = 8", "width = 16"),
        _trained_on_both,
    ],
    ids=["not finished", "other dimensions", "another width", "two classes"],
)
def test_other_runs_are_passed_over(results: Path, change: Callable[[Path], None]) -> None:
    for folder in run_folders(results):
        change(folder)
    assert [(row.found, row.note) for row in rows(results)[:1]] == [(NOT_RUN, "")]
    assert len(rows(results)) == len(PRINTED)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json is damaged"),
        (lambda folder: (folder / "config.toml").write_text("dims = "), "config.toml is damaged"),
        (lambda folder: (folder / "config.toml").unlink(), "config.toml is damaged: it is missing"),
        (lambda folder: (folder / "evaluation.csv").unlink(), "evaluation.csv is damaged: it is missing"),
        (_text("evaluation.csv", "linear", "linaer"), "evaluation.csv is damaged: it is not what the run wrote"),
    ],
    ids=["manifest", "config", "no config", "no table", "table"],
)
def test_a_damaged_run_is_named_and_skipped(
    icl: Icl, results: Path, change: Callable[[Path], object], reason: str
) -> None:
    broken, whole = run_folders(results)
    change(broken)
    plain, *_, last = rows(results)
    assert "seed 1, " in plain.note
    assert reason in str(last.found)
    code, out, _ = icl("verify", "published", "--results", results)
    assert code == 0
    lines = out.splitlines()
    damaged = lines.index("  damaged, skipped")
    assert lines[damaged + 1].startswith(f"    -      {broken} ")
    assert lines[-1] == "2 published results beside ours, 2 not run"
    assert whole.name not in lines[damaged + 1]


def test_without_runs_nothing_fails(icl: Icl, tmp_path: Path) -> None:
    code, out, err = icl("verify", "published", "--results", tmp_path)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"0 published results beside ours, {len(published.PRINTED)} not run"
    assert out.count(NOT_RUN) == len(published.PRINTED) + 1


def test_a_folder_of_results_that_is_not_there_is_a_mistake(icl: Icl, tmp_path: Path) -> None:
    path = tmp_path / "resluts"
    assert icl("verify", "published", "--results", path) == (
        2, "", f"error: --results {path}: expected a folder with experiments, found none\n",
    )  # fmt: skip
