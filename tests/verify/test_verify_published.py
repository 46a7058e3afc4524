"""``icl verify published``: printed results stand beside those of finished runs, read from their files."""

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
from icl_curriculum.results import printed
from icl_curriculum.results.columns import bytes_hash, text_hash
from icl_curriculum.results.printed import Printed
from icl_curriculum.verify import Check, CheckOutcome
from icl_curriculum.verify.published import checks

NOT_RUN = "not run"


def test_every_printed_number_stands_once() -> None:
    asked = {(row.trained_on, row.asked) for row in printed.PRINTED}
    assert len(asked) == len(printed.PRINTED)
    assert {row.trained_on for row in printed.PRINTED} == {"linear", "sparse_linear", "relu_network", "decision_tree"}


def test_shifts_are_named_as_the_tables_name_them() -> None:
    for row in printed.PRINTED:
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
    monkeypatch.setattr(printed, "DIMS", 2)
    monkeypatch.setattr(printed, "MODEL", {"name": "transformer", "layers": 1, "width": 8, "heads": 2})
    monkeypatch.setattr(printed, "PRINTED", PRINTED)
    shutil.copytree(trained[0].results, tmp_path / "results")
    return tmp_path / "results"


def rows(results: Path) -> list[CheckOutcome]:
    """Those of the printed numbers; none is ever judged."""
    found = [check.outcome() for check in checks(results)]
    assert [row.holds for row in found] == [None] * len(found)
    return found


def value(run: Finished, shift: str = "none", k: int = 2, column: str = "value") -> float:
    table = run.table("evaluation")
    table = table[(table.learner == "model") & (table.metric == "normalized_error") & (table.n_context == k)]
    return float(table.loc[(table.function_class == "linear") & (table["shift"] == shift), column].iloc[0])


def test_seeds_are_averaged_and_their_range_is_told(results: Path, trained: dict[int, Finished]) -> None:
    plain, scaled, quadrants, quadratic = rows(results)
    both = [value(run) for run in trained.values()]
    assert plain.expected == 0.5
    assert plain.found == pytest.approx(sum(both) / 2)
    family = f"tiny/{trained[0].run.variant}"
    assert plain.note == f"{family}, seeds 0, 1, {min(both):.3g} to {max(both):.3g}, 12 steps"
    assert plain.interval == pytest.approx((min(both), max(both)))
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
    low, high = plain.interval or (0.0, 0.0)
    assert (low, high) == pytest.approx((value(trained[1], column="ci_low"), value(trained[1], column="ci_high")))
    assert low < high
    family = f"tiny/{trained[1].run.variant}"
    assert plain.note == f"{family}, seed 1, {low:.3g} to {high:.3g} over prompts, 12 steps"


def test_what_is_printed_without_an_interval_says_so(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {row.source for row in rows(results)} == {"Garg et al., no interval printed"}
    monkeypatch.setattr(printed, "PRINTED", [Printed("linear", 2, 0.5, interval=(0.4, 0.625))])
    (plain,) = rows(results)
    assert (plain.source, plain.expected_interval) == ("Garg et al., 0.4 to 0.625", (0.4, 0.625))


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
        _trained_on_both,
    ],
    ids=["not finished", "other dimensions", "two classes"],
)
def test_other_runs_are_passed_over(results: Path, change: Callable[[Path], None]) -> None:
    for folder in run_folders(results):
        change(folder)
    assert [(row.found, row.note) for row in rows(results)[:1]] == [(NOT_RUN, "")]
    assert len(rows(results)) == len(PRINTED)


def of_another_size(results: Path) -> list[Check]:
    return [check for check in checks(results) if "another size" in check.case]


def test_a_model_of_another_size_has_rows_of_its_own(icl: Icl, results: Path, trained: dict[int, Finished]) -> None:
    small, _ = run_folders(results)
    _config("width = 8", "width = 4")(small)
    plain, *_ = rows(results)
    assert plain.found == pytest.approx(value(trained[1]))  # the published size alone
    first, second = of_another_size(results)
    assert [first.name, second.name] == ["k = 2", "scaled_inputs/2, k = 2"]  # what else is printed was not asked
    outcome = first.outcome()
    assert (outcome.holds, outcome.expected) == (None, 0.5)
    assert outcome.found == pytest.approx(value(trained[0]))
    assert outcome.interval == pytest.approx((value(trained[0], column="ci_low"), value(trained[0], column="ci_high")))
    exposure, timing = trained[0].table("exposure"), trained[0].table("timing")
    model = outcome.model
    assert model is not None
    assert (model.size, model.published_size, model.seeds) == ("1 layer of 4, 2 heads, joint tokens", False, (0,))
    assert (model.prompts, model.steps) == (12 * 8, 12)
    assert model.operations == exposure.loc[exposure.step == 12, "flops"].sum() > 0
    assert model.seconds == pytest.approx(timing.loc[timing.phase == "training", "seconds"].sum())
    assert first.case == f"trained on linear, another size: {model}"
    assert str(model).startswith(f"tiny/{trained[0].run.variant}, {model.size}; 12 steps, 96 prompts, ")
    code, out, _ = icl("verify", "published", "--results", results)
    assert code == 0
    assert out.splitlines()[-1] == "2 published results beside ours, 2 not run; 2 beside models of another size"
    code, out, _ = icl("verify", "published", "--results", results, "--json")
    found = [row for row in json.loads(out)["checks"] if row["model"] and not row["model"]["published_size"]]
    assert [row["model"]["operations"] for row in found] == [model.operations] * 2
    assert found[0]["interval"] == list(outcome.interval or ())
    assert found[0]["expected_interval"] is None


def test_models_that_were_trained_alike_share_rows(results: Path, trained: dict[int, Finished]) -> None:
    for folder in run_folders(results):
        _config("width = 8", "width = 4")(folder)
    plain, _ = (check.outcome() for check in of_another_size(results))
    both = [value(run) for run in trained.values()]
    assert plain.model is not None
    assert plain.model.seeds == (0, 1)
    assert plain.found == pytest.approx(sum(both) / 2)
    assert plain.interval == pytest.approx((min(both), max(both)))


@pytest.mark.parametrize(
    ("change", "of_second"),
    [
        (_config("width = 4", "width = 2"), "1 layer of 2, 2 heads, joint tokens"),
        (_config('name = "transformer"', 'name = "another"'), "another, 1 layer of 4, 2 heads, joint tokens"),
        (lambda folder: reseal(folder / "manifest.json", {"experiment": "other"}), "other/"),
    ],
    ids=["another width", "another model", "another experiment"],
)
def test_models_that_differ_have_rows_of_their_own(
    results: Path, change: Callable[[Path], None], of_second: str
) -> None:
    for folder in run_folders(results):
        _config("width = 8", "width = 4")(folder)
    change(run_folders(results)[1])
    models = [check.outcome().model for check in of_another_size(results) if check.name == "k = 2"]
    assert sorted(model.seeds for model in models if model) == [(0,), (1,)]
    assert [of_second in str(model) for model in models if model and model.seeds == (1,)] == [True]


def test_what_training_took_is_left_out_where_no_table_says_it(results: Path) -> None:
    small, _ = run_folders(results)
    _config("width = 8", "width = 4")(small)
    tables = json.loads((small / "manifest.json").read_text())["tables"]
    reseal(small / "manifest.json", {"tables": {name: tables[name] for name in tables if name != "exposure"}})
    (small / "exposure.csv").unlink()
    model = of_another_size(results)[0].outcome().model
    assert model is not None
    assert (model.prompts, model.operations) == (None, None)
    assert " prompts" not in str(model)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json is damaged"),
        (lambda folder: (folder / "config.toml").write_text("dims = "), "config.toml is damaged"),
        (lambda folder: (folder / "config.toml").unlink(), "config.toml is damaged: it is missing"),
        (lambda folder: (folder / "evaluation.csv").unlink(), "evaluation.csv is damaged: it is missing"),
        (_text("evaluation.csv", "linear", "linaer"), "evaluation.csv is damaged: it is not what the run wrote"),
        (_text("exposure.csv", "linear", "linaer"), "exposure.csv is damaged: it is not what the run wrote"),
        (lambda folder: (folder / "timing.csv").unlink(), "timing.csv is damaged: it is missing"),
    ],
    ids=["manifest", "config", "no config", "no table", "table", "exposure", "no timing"],
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
    assert out.splitlines()[-1] == f"0 published results beside ours, {len(printed.PRINTED)} not run"
    assert out.count(NOT_RUN) == len(printed.PRINTED) + 1


def test_a_folder_of_results_that_is_not_there_is_a_mistake(icl: Icl, tmp_path: Path) -> None:
    path = tmp_path / "resluts"
    assert icl("verify", "published", "--results", path) == (
        2, "", f"error: --results {path}: expected a folder with experiments, found none\n",
    )  # fmt: skip
