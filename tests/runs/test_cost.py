"""What runs cost before they are run, held to what a run then counts and leaves behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from finished_runs import Finished, executed
from helpers import bank_of
from places import SUPPORT
from tiny_runs import tiny_run, tiny_values, write_toml

import icl_curriculum
from icl_curriculum.config.loading import load
from icl_curriculum.core.errors import RunFailed
from icl_curriculum.runs import cost as costing
from icl_curriculum.runs import measuring
from icl_curriculum.runs.cost import RunCost, costs_of
from icl_curriculum.runs.measuring import spread_over, steps_by_points
from icl_curriculum.training import Trainer
from icl_curriculum.training.balance import N_PROMPTS

#: Prompts grow from 2 points to 9, two classes are mixed, positions are balanced, and one shift has separate queries.
GROWING: dict[str, Any] = {
    "points": 9,
    "training.steps": 40,
    "training.positions": "balanced",
    "training.learning_every": 9,
    "curriculum.points": {"start": 2, "add": 3, "every": 7},
    "evaluation.n_prompts": 64,
    "evaluation.shifts": ["random_quadrants"],
    "evaluation.learning_shifts": ["random_quadrants"],
    "training.keep_checkpoints": [20, 40],
    "evaluation.adapt": ["steps=1,prompts=4", "per_prompt,steps=1"],
    "evaluation.costly.n_prompts": 4,
}


@pytest.fixture(scope="module", autouse=True)
def _no_time_to_lose() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(costing, "SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return executed(tmp_path_factory.mktemp("growing"), GROWING)


@pytest.fixture(scope="module")
def foreseen(growing: Finished) -> RunCost:
    (found,) = costs_of([growing.run])
    return found


def test_predicted_steps_are_counted_with_every_pass() -> None:
    """One pass over a whole prompt of 5 pairs, and for each of these a pass up to it for each of its two steps."""
    made = costing._Measurement(tiny_run({"function_classes": ["composition"]}), "cpu", 0.0, lambda *told: None)
    task = made.trainer.tasks["composition", "gaussian"]
    plain, given, left_out, separate = (
        replace(bank_of("composition", shift, n=2), task=task).draw()
        for shift in (None, "steps_given", "steps_left_out", "random_quadrants")
    )
    one = [made.trainer.read_operations(3 * (k + 1)) for k in range(5)]
    assert made._weight_of(given) == one[-1]
    assert made._weight_of(plain) == one[-1] + 2 * sum(one)
    assert made._weight_of(separate) == 3 * sum(one)
    assert made._weight_of(left_out) == made.trainer.read_operations(5)


def test_operations_and_prompts_are_those_that_the_run_counts(growing: Finished, foreseen: RunCost) -> None:
    exposure = growing.table("exposure")
    at_end = exposure[exposure["step"] == 40]
    # Errors by position are measured at step 0 for one class, at 20 for the one that comes then, and at 25 for both.
    assert foreseen.prompts == at_end["prompts"].sum() == 40 * 8 + 4 * N_PROMPTS
    assert foreseen.operations == pytest.approx(at_end["flops"].sum(), rel=1e-12)


def test_parameters_and_files_are_those_that_the_run_leaves(growing: Finished, foreseen: RunCost) -> None:
    sizes = {path.name: path.stat().st_size for path in growing.path.iterdir()}
    assert foreseen.parameters == sum(value.numel() for value in icl_curriculum.load_model(growing.path).parameters())
    kept = [path.stat().st_size for path in (growing.path / "checkpoints").iterdir()]
    assert len(kept) == 2
    assert foreseen.weights_bytes == 3 * sizes["model.safetensors"]
    assert kept == pytest.approx([sizes["model.safetensors"]] * 2, abs=500)  # which also say a few words of the run
    # It also holds names, table lengths and counts, in fewer bytes than the least of models.
    assert foreseen.checkpoint_bytes == pytest.approx(sizes["state.pt"], abs=3000)
    tables = sum(size for name, size in sizes.items() if name.endswith(".csv"))
    assert foreseen.table_bytes == pytest.approx(tables, rel=0.3)
    assert foreseen.checkpoints == 8
    assert foreseen.kept_bytes == foreseen.weights_bytes + foreseen.checkpoint_bytes + foreseen.table_bytes
    assert foreseen.written_bytes - foreseen.kept_bytes == 7 * foreseen.checkpoint_bytes


def test_times_are_of_updates_at_the_sizes_that_the_run_has(foreseen: RunCost) -> None:
    assert foreseen.timed_updates == 3
    assert foreseen.timed_batch == 8
    assert all(seconds > 0 for seconds in (foreseen.training_seconds, foreseen.learning_seconds))
    assert foreseen.seconds > foreseen.evaluation_seconds > 0
    assert foreseen.seconds < 60


def test_checkpoints_by_time_are_as_many_as_the_time_allows(growing: Finished) -> None:
    (by_time,) = costs_of([tiny_run({**GROWING, "training.checkpoint_every": "time"})])
    assert by_time.checkpoints == 1


@pytest.mark.parametrize("growth", [None, {"start": 2, "add": 2, "every": 5}, {"start": 9, "add": 1, "every": 1}])
def test_the_steps_of_each_size_are_those_of_the_plan(growth: dict[str, int] | None) -> None:
    changes = {"points": 9, "training.steps": 17} | ({"curriculum.points": growth} if growth else {})
    plan = tiny_run(changes).experiment.plan()
    state = plan.initial_state()
    found = {step: points for points, steps in steps_by_points(plan).items() for step in steps}
    assert found == {step: plan.shares(step, state).points for step in range(17)}


def test_the_sizes_that_are_timed_are_spread_over_all() -> None:
    assert spread_over([11, 13, 15, 17, 19], 3) == [11, 15, 19]
    assert spread_over([41], 3) == [41]
    assert spread_over(range(100), 2) == [0, 99]


def test_an_update_that_takes_long_is_timed_on_fewer_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """And all of its costs are scaled up."""
    monkeypatch.setattr(measuring, "LONGEST_UPDATE", 1e-9)
    (found,) = costs_of([tiny_run({"training.batch_size": 64})])
    assert found.timed_batch == 1
    assert found.prompts == 12 * 64


def test_variants_that_differ_in_the_curriculum_alone_share_what_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = tiny_values({"evaluation.shifts": [], "seeds": [0, 1]}) | {
        "variants": {
            "one": {"curriculum": {"function_classes": {"name": "single", "only": "linear"}}},
            "longer": {"training": {"steps": 24}, "curriculum": {"function_classes": "random"}},
            "wider": {"model": {"width": 16}},
        }
    }
    built: list[str] = []
    build = Trainer.__init__

    def counted(trainer: Trainer, run: Any, device: str = "cpu") -> None:
        built.append(run.variant)
        build(trainer, run, device)

    monkeypatch.setattr(Trainer, "__init__", counted)
    told: list[str] = []
    one, longer, wider = icl_curriculum.cost(
        write_toml(tmp_path / "my.toml", values), device="cpu", tell=lambda share, detail="": told.append(detail)
    )
    assert built == ["one", "wider"]
    assert [cost.seeds for cost in (one, longer, wider)] == [2, 2, 2]
    assert longer.operations == pytest.approx(2 * one.operations)
    assert wider.parameters > longer.parameters == one.parameters
    assert "one: timing updates of 5 points" in told


@pytest.mark.usefixtures("fresh_registries")
def test_a_method_from_outside_is_counted_under_all_its_roles(tmp_path: Path) -> None:
    """It refuses the few prompts of a trial."""
    method = {"name": "two_loops", "inner_steps": 2}
    values = tiny_values({"training.method": method, "plugins": [str(SUPPORT / "two_loops.py")]})
    (found,) = icl_curriculum.cost(write_toml(tmp_path / "my.toml", values), device="cpu")
    (run,) = load(str(tmp_path / "my.toml"))
    # As its own test counts them: 2 support and 2 query prompts of each of two tasks.
    assert found.prompts == 12 * 8
    assert found.operations == pytest.approx(12 * 4 * (7 + 3) * Trainer(run).forward_operations(5))


def with_model_from_outside(folder: Path, *, broken: bool = False) -> list[RunCost]:
    """The cost of training a model that has one parameter and no matrix products."""
    text = (SUPPORT / "every_kind.py").read_text()
    (folder / "mine.py").write_text(text.replace("self.scale *", "self.lost *") if broken else text)
    file = write_toml(folder / "my.toml", tiny_values({"model": {"name": "scaled_mean"}, "evaluation.shifts": []}))
    return icl_curriculum.cost(file, device="cpu", plugins=[folder / "mine.py"])


@pytest.mark.usefixtures("fresh_registries")
def test_a_model_without_matrix_products_has_no_operations_but_a_time(tmp_path: Path) -> None:
    (found,) = with_model_from_outside(tmp_path)
    assert (found.parameters, found.operations) == (1, 0)
    assert found.training_seconds > 0
    assert found.evaluation_seconds > 0


@pytest.mark.usefixtures("fresh_registries")
def test_a_model_that_breaks_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"mixed-seed0: 'scaled_mean' .*mine\.py.* failed in training: AttributeError"):
        with_model_from_outside(tmp_path, broken=True)


def test_adaptations_are_among_the_answers() -> None:
    """64 prompts are answered three times, and 8 go forward and backward, as much as three times forward, 5 times."""
    run = tiny_run({"evaluation.n_prompts": 64})
    measured = costing._Measurement(run, "cpu", 0.0, lambda share, detail="": None)
    adapting = tiny_run({"evaluation.n_prompts": 64, "evaluation.adapt": ["steps=2,prompts=8", "steps=5,prompts=8"]})
    plain, adapted = (measured.cost(each, 1).evaluation_seconds for each in (run, adapting))
    assert adapted / plain == pytest.approx((3 * 64 + 5 * 3 * 8) / 64)
