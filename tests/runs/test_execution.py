"""One run from start to end: what it writes, and that equal runs are equal."""

from __future__ import annotations

import math
import random
import subprocess
import textwrap
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from finished_runs import FINISHED, PER_PROMPT, Finished, assert_same_results, executed, weights
from tiny_runs import tables, tiny_run, tiny_values, write_toml
from torch import Tensor

from icl_curriculum.baselines import Zero
from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import build
from icl_curriculum.core import provenance
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.progress import within
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models import Transformer, TransformerConfig, register_model
from icl_curriculum.results.columns import COLUMNS
from icl_curriculum.runs import evaluation as final_evaluation
from icl_curriculum.runs import execution
from icl_curriculum.runs.banks import evaluation_banks
from icl_curriculum.runs.checkpoints import load_model
from icl_curriculum.runs.execution import directory_of, execute, is_finished
from icl_curriculum.training import Trainer

# What a run writes


def test_a_run_writes_the_promised_files(finished: Finished) -> None:
    written = {path.name for path in finished.path.iterdir() if not path.name.startswith(".")}
    assert written == {
        "config.toml", "manifest.json", "training.csv", "learning.csv", "evaluation.csv", "curriculum.csv",
        "prediction_differences.csv", "exposure.csv", "timing.csv", "model.safetensors", "state.pt",
    }  # fmt: skip
    assert finished.path == finished.results / "tiny" / "mixed-seed0"


def test_a_model_may_have_two_names_for_one_weight(tmp_path: Path, fresh_registries: None) -> None:
    @register_model("tied")
    class Tied(TransformerConfig):
        """Its read-out has a second name."""

        def build(self, *, dims: int, points: int, generator: torch.Generator) -> Transformer:
            model = super().build(dims=dims, points=points, generator=generator)
            model.also = model.read_out
            return model

    run = tiny_run({"model.name": "tied"})
    execute(run, tmp_path)
    loaded = load_model(directory_of(run, tmp_path).path)
    assert loaded.also is loaded.read_out
    assert weights(Finished(run, tmp_path, []))["also"].equal(loaded.read_out)


def test_every_table_says_which_run_it_is_of(finished: Finished) -> None:
    for name, columns in COLUMNS.items():
        table = finished.table(name)
        assert list(table.columns) == columns
        assert len(table) > 0
        assert (table[["experiment", "run", "variant", "seed"]] == ["tiny", "mixed-seed0", "mixed", 0]).all(axis=None)


def test_runs_start_their_evaluation_at_different_banks_and_write_one_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that runs which end together don't wait for one another's baselines."""
    asked: list[list[tuple[str, ...]]] = []
    score_banks = final_evaluation.score_banks

    def noted(trained: Any, banks: Any, *others: Any, **options: Any) -> Any:
        asked.append([bank.key for bank in banks])
        return score_banks(trained, banks, *others, **options)

    monkeypatch.setattr(final_evaluation, "score_banks", noted)
    rows = []
    for seed in range(3):
        run = tiny_run(seed=seed)
        execute(run, tmp_path)
        table = pd.read_csv(directory_of(run, tmp_path).path / "evaluation.csv")
        rows.append(table[["learner", "function_class", "shift", "n_context", "metric"]])
    banks = [bank.key for bank in evaluation_banks(tiny_run().experiment)]
    assert asked[0] == banks
    assert all(sorted(order) == sorted(banks) for order in asked)
    assert len({order[0] for order in asked}) == 3
    assert rows[0].equals(rows[1])
    assert rows[0].equals(rows[2])


def test_training_rows(finished: Finished) -> None:
    table = finished.table("training")
    assert sorted(set(table["step"])) == [5, 10, 12]
    assert (table["input_distribution"] == "gaussian").all()
    np.testing.assert_allclose(table["normalized_loss"], table["loss"] / 2, rtol=1e-8)
    assert table["loss"].between(1e-3, 1e3).all()
    warmed_up = {5: 1 - 4 / 12, 10: 1 - 9 / 12, 12: 1 - 11 / 12}
    np.testing.assert_allclose(table["learning_rate"], 3e-3 * table["step"].map(warmed_up), rtol=1e-6)


@pytest.mark.parametrize("which", ["finished", "per_prompt"])
def test_prompts_are_counted_once_each(which: str, request: pytest.FixtureRequest) -> None:
    run: Finished = request.getfixturevalue(which)
    table, drawn = run.table("training"), run.table("curriculum")
    assert (table["prompts_seen"] == 8 * table["step"]).all()
    assert (table.groupby("step")["n_prompts"].sum().cumsum() == 8 * np.array(sorted(set(table["step"])))).all()
    by_class = table.groupby(["function_class", "step"])["n_prompts"].sum().groupby(level=0).cumsum()
    found = table.drop_duplicates(["function_class", "step"]).set_index(["function_class", "step"])
    assert (found["class_prompts_seen"] == by_class.reindex(found.index)).all()
    keys = ["step", "function_class", "input_distribution"]
    joined = drawn.merge(table[[*keys, "n_prompts"]], on=keys, how="left").fillna({"n_prompts": 0})
    of_step = joined.groupby("step")["n_prompts"].transform("sum")
    np.testing.assert_allclose(joined["drawn_share"], joined["n_prompts"] / of_step, rtol=1e-8)


def test_curriculum_rows_average_what_was_planned_since_the_row_before(finished: Finished) -> None:
    """Steps 1-6 are the first block, so a row at 10 averages one step of it and four of the second."""
    table = finished.table("curriculum").pivot_table(index="step", columns="function_class", values="planned_share")
    np.testing.assert_allclose(table["linear"], [1.0, (1 + 4 * 0.5) / 5, 0.5])
    np.testing.assert_allclose(table["linear"] + table["quadratic"], 1.0)
    drawn = finished.table("curriculum").groupby("step")["drawn_share"].sum()
    np.testing.assert_allclose(drawn, 1.0)


def test_every_cell_has_a_planned_and_a_drawn_share(per_prompt: Finished) -> None:
    table = per_prompt.table("curriculum")
    assert (table.groupby("step").size() == 4).all()
    assert (table["planned_share"] == 0.25).all()
    np.testing.assert_allclose(table.groupby("step")["drawn_share"].sum(), 1.0)


def test_learning_curves_begin_before_training_and_end_after_the_last_step(finished: Finished) -> None:
    table = finished.table("learning")
    assert sorted(set(table["step"])) == [0, 5, 10, 12]
    assert (table["prompts_seen"] == 8 * table["step"]).all()
    assert set(table["metric"]) == {"normalized_error"}
    cells = table.groupby(["step", "function_class"])["n_context"].apply(list)
    assert len(cells) == 8
    assert all(lengths == [0, 1, 2, 3, 4] for lengths in cells)
    start = table[table["step"] == 0]
    assert start["value"].between(0.05, 50).all()
    assert not np.array_equal(start["value"], table[table["step"] == 12]["value"])


def test_timing_has_every_interval_and_the_evaluation(finished: Finished) -> None:
    table = finished.table("timing")
    assert list(table["phase"]) == ["training", "training", "training", "evaluation"]
    assert list(table["step"]) == [5, 10, 12, 12]
    assert (table[["seconds", "prompts_per_second"]] > 0).all(axis=None)


def test_models_prepare_before_the_clock_of_training_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    recorder = execution.Recorder

    def prepared(model: Any) -> None:
        order.append("prepared")

    def made(*arguments: Any) -> Any:
        order.append("clock")
        return recorder(*arguments)

    monkeypatch.setattr(Transformer, "prepare", prepared)
    monkeypatch.setattr(execution, "Recorder", made)
    execute(tiny_run(), tmp_path, report=lambda progress: order.append(progress.phase))
    assert order[:3] == ["prepared", "clock", "training"]


def test_a_run_does_not_import_what_takes_seconds_and_is_not_needed(tmp_path: Path, quick_python: Path) -> None:
    """Every worker would, once."""
    file = write_toml(tmp_path / "tiny.toml", tiny_values())
    script = f"""
        import sys
        import icl_curriculum
        icl_curriculum.run({str(file)!r}, results={str(tmp_path)!r}, device="cpu")
        print(*(name for name in ("torch._dynamo", "sympy") if name in sys.modules))
    """
    done = subprocess.run([str(quick_python), "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.stdout == "\n", done.stderr


def test_provenance_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        if name == "numba":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(provenance, "version", missing)
    monkeypatch.setattr(provenance, "_installed", provenance._installed.__wrapped__)
    assert provenance.provenance()["numba_version"] is None


def test_the_manifest_says_what_the_run_was_made_with(finished: Finished) -> None:
    manifest = finished.manifest()
    assert manifest["status"] == "finished"
    assert manifest["config_hash"] == finished.run.hash()
    assert (manifest["device"], manifest["threads"]) == ("cpu", 1)
    assert manifest["torch_version"] == torch.__version__
    assert manifest["numba_version"] == version("numba")
    assert {"package_version", "python_version", "git_commit", "git_dirty", "started"} <= set(manifest)
    assert manifest["wall_seconds"] > 0
    assert set(manifest["banks"]) == {
        f"{function_class}/gaussian/{shift}"
        for function_class in ("linear", "quadratic")
        for shift in ("none", "scaled_inputs/2")
    }
    assert len(set(manifest["banks"].values())) == 4


def test_progress_goes_from_training_to_evaluation(finished: Finished) -> None:
    assert [(p.phase, p.done, p.total) for p in finished.progress] == [
        *[("training", done, 12) for done in (5, 10, 12)],
        *[("evaluation", done, 4) for done in (1, 2, 3, 4)],
    ]
    assert {p.run for p in finished.progress} == {"mixed-seed0"}
    losses = finished.table("training")
    weighted = (losses["normalized_loss"] * losses["n_prompts"]).groupby(losses["step"]).sum()
    by_hand = weighted / losses.groupby("step")["n_prompts"].sum()
    np.testing.assert_allclose([p.loss for p in finished.progress[:3] if p.loss is not None], by_hand, rtol=1e-6)


def test_shares_of_the_work_are_told_as_banks() -> None:
    """Also where a third is a little less than 1 / 3."""
    told: list[execution.Progress] = []
    tell = execution.telling_of_banks("run", 3, told.append)
    for number in range(3):
        of_bank = within(tell, number, 3)
        within(of_bank, 1, 2)(0.5, "ridge")
        of_bank(1.0)
    assert [(item.done, round(item.share, 6), item.detail) for item in told] == [
        (0, 0.75, "ridge"), (1, 0.0, ""), (1, 0.75, "ridge"), (2, 0.0, ""), (2, 0.75, "ridge"), (3, 0.0, ""),
    ]  # fmt: skip
    assert all(item.rate for item in told)


# Evaluation


def test_evaluation_has_every_learner_on_every_bank_at_every_length(finished: Finished) -> None:
    table = finished.table("evaluation")
    assert set(zip(table["learner"], table["learner_kind"], strict=True)) == {
        ("model", "model"), ("zero", "baseline"), ("least_squares", "baseline"), ("oracle", "oracle")
    }  # fmt: skip
    cells = table.groupby(["learner", "function_class", "shift", "metric"])["n_context"].apply(list)
    assert len(cells) == 4 * 2 * 2 * 3
    assert all(lengths == [0, 1, 2, 3, 4] for lengths in cells)
    assert (table["step"] == 12).all()
    assert (table["n_prompts"] == 16).all()
    assert (table["ci_low"] <= table["value"]).mean() > 0.95
    assert (table["ci_high"] >= table["value"]).mean() > 0.95


def test_a_loaded_model_gives_the_numbers_of_the_evaluation(finished: Finished) -> None:
    model = load_model(finished.path)
    table = finished.table("evaluation")
    rows = table[(table["learner"] == "model") & (table["metric"] == "squared_error")]
    for bank in evaluation_banks(finished.run.experiment):
        prompts = bank.draw()
        errors = (model.predict(prompts) - prompts.targets).square().mean(dim=0)
        written = rows[(rows["function_class"] == bank.function_class) & (rows["shift"] == bank.shift_id)]
        np.testing.assert_allclose(written["value"], errors, rtol=1e-5)
    assert not model.training


def test_load_model_wants_a_finished_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected the directory of a finished run, found no run"):
        load_model(tmp_path)


def in_distribution(run: Finished) -> set[tuple[str, str, str, int]]:
    table = run.table("evaluation")
    assert set(table["in_distribution"]) <= {True, False}
    inside = table[table["in_distribution"]]
    return set(
        inside[["function_class", "input_distribution", "shift", "n_context"]].itertuples(index=False, name=None)
    )


def test_in_distribution_is_what_a_single_curriculum_trained_on(tmp_path: Path) -> None:
    run = executed(
        tmp_path,
        {
            "inputs": ["gaussian", {"name": "student_t", "df": 9.0}],
            "curriculum.function_classes": {"name": "single", "only": "quadratic"},
            "curriculum.inputs": "single",
            "evaluation.shifts": ["skewed", "scaled_inputs", "longer_prompts"],
        },
    )
    assert in_distribution(run) == {("quadratic", "gaussian", "none", k) for k in range(5)}
    kinds = run.table("evaluation").groupby("learner_kind")["in_distribution"].any()
    assert kinds.all(), "learners share a bank's mark"


def test_every_class_that_was_offered_is_in_distribution(finished: Finished) -> None:
    expected = {(name, "gaussian", "none", k) for name in ("linear", "quadratic") for k in range(5)}
    assert in_distribution(finished) == expected


def test_lengths_beyond_the_trained_ones_are_out_of_distribution(tmp_path: Path) -> None:
    run = executed(
        tmp_path,
        {
            "function_classes": ["linear"],
            "curriculum.points": {"start": 2, "add": 1, "every": 6},
            "curriculum.dims": {"start": 1, "add": 1, "every": 6},
        },
    )
    assert in_distribution(run) == {("linear", "gaussian", "none", k) for k in range(3)}
    table = run.table("evaluation")
    assert set(table["n_context"]) == {0, 1, 2, 3, 4}, "evaluated all the same"


def test_heavy_tails_get_a_median_where_the_mean_is_infinite(tmp_path: Path) -> None:
    """Student-t with 4 degrees of freedom: degree 1 has a mean but no interval, degree 3 not even a mean."""
    run = executed(
        tmp_path,
        {
            "function_classes": [{"name": "hermite", "degree": 1}, {"name": "hermite", "degree": 3}],
            "inputs": ["gaussian", "skewed", "student_t"],
            "training.steps": 4,
        },
    )
    for name in ("learning", "evaluation"):
        table = run.table(name)
        metrics = table.groupby(["function_class", "input_distribution"])["metric"].unique().map(set)
        assert len(metrics) == 6
        for (function_class, inputs), found in metrics.items():
            infinite = (function_class, inputs) == ("hermite/3", "student_t")
            assert ("median_error" in found) == infinite
            assert ("normalized_error" in found) == (not infinite)
    evaluation = run.table("evaluation")
    median = evaluation[evaluation["metric"] == "median_error"]
    assert (median["ci_low"] <= median["value"]).all()
    assert (median["value"] <= median["ci_high"]).all()
    no_variance = (evaluation["function_class"] == "hermite/1") & (evaluation["input_distribution"] == "student_t")
    assert evaluation.loc[no_variance, ["ci_low", "ci_high"]].isna().all(axis=None)
    assert evaluation["value"].notna().all()


@pytest.fixture
def zero_predictions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A count of the banks that the zero baseline was asked about."""
    asked, predict = [0], Zero.predict

    def counted(self: Zero, prompts: Prompts) -> Tensor:
        asked[0] += 1
        return predict(self, prompts)

    monkeypatch.setattr(Zero, "predict", counted)
    return asked


def test_baselines_are_computed_once_per_bank(tmp_path: Path, zero_predictions: list[int]) -> None:
    first = executed(tmp_path, seed=0)
    assert zero_predictions == [4]
    second = executed(tmp_path, seed=1)
    assert zero_predictions == [4]
    executed(tmp_path, {"evaluation.bank_seed": 1, "name": "other banks"})
    assert zero_predictions == [8]
    tables_of = [run.table("evaluation").drop(columns=["run", "seed"]) for run in (first, second)]
    references = [table[table["learner_kind"] != "model"].reset_index(drop=True) for table in tables_of]
    pd.testing.assert_frame_equal(*references, check_exact=True)
    models = [table.loc[table["learner_kind"] == "model", "value"] for table in tables_of]
    assert not np.array_equal(*models)


def test_an_empty_list_of_baselines_means_none(tmp_path: Path) -> None:
    run = executed(tmp_path, {"evaluation.baselines": [], "training.steps": 2})
    assert set(run.table("evaluation")["learner_kind"]) == {"model", "oracle"}


def test_baselines_default_to_those_that_suit_each_class(tmp_path: Path) -> None:
    values = tiny_values({"training.steps": 2, "evaluation.shifts": []})
    del values["evaluation"]["baselines"]
    run = Run(build(values, source=""), "mixed", 0)
    execute(run, tmp_path)
    table = Finished(run, tmp_path, []).table("evaluation")
    baselines = table[table["learner_kind"] == "baseline"].groupby("function_class")["learner"].unique().map(set)
    for function_class in run.experiment.function_classes:
        assert baselines[function_class.id] == set(function_class.baselines)


# Equal runs are equal


@pytest.mark.parametrize("changes", [{}, PER_PROMPT], ids=["per batch", "per prompt"])
def test_equal_runs_write_equal_bytes_whatever_the_global_generators_hold(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    runs = []
    for number in (1, 2):
        torch.manual_seed(number)
        np.random.seed(number)
        random.seed(number)
        states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
        runs.append(executed(tmp_path / str(number), changes))
        assert torch.equal(torch.get_rng_state(), states[0])
        assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index]
        assert random.getstate() == states[2]
    assert_same_results(*runs)
    assert runs[0].manifest()["banks"] == runs[1].manifest()["banks"]


def test_seeds_differ_and_share_their_banks(finished: Finished, tmp_path: Path) -> None:
    other = executed(tmp_path, FINISHED, seed=1)
    assert not torch.equal(weights(other)["qkv"], weights(finished)["qkv"])
    assert other.manifest()["banks"] == finished.manifest()["banks"]


def test_a_run_leaves_the_number_of_threads_as_it_was(tmp_path: Path) -> None:
    before, during = torch.get_num_threads(), []
    execute(
        tiny_run({"threads": 2, "training.steps": 2}), tmp_path, report=lambda _: during.append(torch.get_num_threads())
    )
    assert torch.get_num_threads() == before
    assert set(during) == {2}


# Divergence


@pytest.fixture
def diverging() -> Run:
    return tiny_run({"training.optimizer": {"name": "adam", "learning_rate": 1e6}, "training.clip": math.inf})


def test_a_diverging_run_fails_and_keeps_what_it_wrote(tmp_path: Path, diverging: Run) -> None:
    with pytest.raises(RunFailed) as error:
        execute(diverging, tmp_path)
    found = Finished(diverging, tmp_path, [])
    for part in ("mixed-seed0", "diverged by step", "training.divergence", "learning rate", str(found.path)):
        assert part in str(error.value)
    manifest = found.manifest()
    assert manifest["status"] == "diverged"
    assert "diverged by step" in manifest["error"]
    assert len(found.table("training")) > 0
    assert set(found.table("learning")["step"]) >= {0}
    assert not (found.path / "model.safetensors").exists()
    assert not (found.path / "evaluation.csv").exists()
    assert not is_finished(diverging, tmp_path)


def test_a_diverged_run_diverges_alike_when_asked_again(tmp_path: Path, diverging: Run) -> None:
    messages = []
    for _ in range(2):
        with pytest.raises(RunFailed) as error:
            execute(diverging, tmp_path)
        messages.append((str(error.value), tables(directory_of(diverging, tmp_path).path)))
    assert messages[0] == messages[1]


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = Trainer.update

    def poisoned(self: Trainer) -> Any:
        if self.step == 5:
            with torch.no_grad():
                self.model.read_out_bias.fill_(math.nan)
        return update(self)

    monkeypatch.setattr(Trainer, "update", poisoned)
    with pytest.raises(RunFailed, match=r"diverged by step 6: the loss on .* is nan"):
        execute(tiny_run(), tmp_path)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory")])
def test_a_run_that_needs_more_memory_than_there_is_says_what_to_lower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(self: Trainer) -> None:
        raise error

    monkeypatch.setattr(Trainer, "update", refuse)
    with pytest.raises(RunFailed, match=r"mixed-seed0: memory ran out; lower training.batch_size, .*jobs"):
        execute(tiny_run(), tmp_path)
