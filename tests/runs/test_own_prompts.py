"""Runs of classes with inputs of no named distribution, with memory, or with prompts from a fixed set."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import torch
from helpers import Spec, baseline_of, class_of, draw, inputs_of, shift_of, task_of
from places import SUPPORT
from tiny_runs import Icl, tiny_run, tiny_values, write_toml
from torch import Tensor

from icl_curriculum.baselines import pool_posterior_mean
from icl_curriculum.config.loading import build
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import FUNCTION_CLASSES
from icl_curriculum.core.streams import Streams
from icl_curriculum.evaluation import Bank, oracle_entry
from icl_curriculum.evaluation.doubts import doubts_on_bank
from icl_curriculum.function_classes import Linear
from icl_curriculum.function_classes.estimates import POINTS, estimated_moment, moment_points
from icl_curriculum.runs.probes import probe_components
from icl_curriculum.shifts import Shift, reference_task, why_undefined
from icl_curriculum.tasks import Task, from_table

QUERIES = ("random_quadrants", "opposite_quadrants", "orthogonal_queries", "overlapping_queries")
MEMORY = "a value follows from the inputs before its own, too"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registries: None) -> Path:
    shutil.copy(SUPPORT / "own_prompts.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["teaching", "history", "prompt_set", "filtered"])
def test_a_run_trains_and_is_asked_under_shifts(name: str, folder: Path, icl: Icl) -> None:
    """On other inputs where the class takes any, on longer prompts, and about other classes."""
    changes = {
        "function_classes": [name], "plugins": ["own_prompts.py"],
        "evaluation.shifts": [
            {"name": "other_inputs", "inputs": "laplace"}, "longer_prompts", "overlapping_queries",
            {"name": "other_class", "function_class": "linear"}, {"name": "other_class", "function_class": "teaching"},
        ],
    }  # fmt: skip
    write_toml(Path("my.toml"), tiny_values(changes))
    code, _, err = icl("run", "my.toml")
    assert code == 0, err
    run = next(Path("results/tiny").glob("*-seed0"))
    table = pd.read_csv(run / "evaluation.csv", keep_default_na=False)
    columns = ["function_class", "input_distribution", "shift"]
    found = set(table[columns].drop_duplicates().itertuples(index=False, name=None))
    inputs = "gaussian" if name == "filtered" else "own"
    expected = {
        (name, inputs, "none"), (name, inputs, "longer_prompts/2"), ("linear", "gaussian", "none"),
        ("teaching", "own", "none"),
    }  # fmt: skip
    assert found == expected | ({("filtered", "laplace", "none")} if name == "filtered" else set())
    longer = table[table["shift"] == "longer_prompts/2"]
    assert set(longer["n_context"]) == set(range(9))
    assert set(pd.read_csv(run / "training.csv")["input_distribution"]) == {inputs}


# What is drawn


def test_values_with_memory_are_those_of_whole_prompts(own_prompts: ModuleType) -> None:
    prompts = draw(task_of("filtered", dims=3), 4, 6)
    assert prompts.truth is not None
    after = prompts.xs[:, 1:] + prompts.xs[:, :-1]
    wanted = torch.einsum("npd,nd->np", after, prompts.truth["w"]) / 2**0.5
    torch.testing.assert_close(prompts.ys[:, 1:], wanted)


def test_teaching_shows_the_largest_coordinates_first(own_prompts: ModuleType) -> None:
    prompts = draw(task_of("teaching", "own", dims=4), 50, 4)
    assert prompts.truth is not None
    shown = prompts.xs.abs().argmax(dim=2)
    assert (prompts.truth["w"].abs().gather(1, shown).diff(dim=1) <= 0).all()


def test_inputs_of_a_history_are_earlier_values(own_prompts: ModuleType) -> None:
    prompts = draw(task_of("history", "own", dims=3), 5, 8)
    assert prompts.xs[:, 1:, 1:].equal(prompts.xs[:, :-1, :-1])


# Inputs that have no name


def test_only_a_class_that_makes_them_has_own_inputs(own_prompts: ModuleType) -> None:
    with pytest.raises(
        UserError, match=r'^linear: it makes no inputs of its own, found own; set inputs = \["gaussian"\]$'
    ):
        task_of("linear", "own").check()
    with pytest.raises(UserError, match="it makes no inputs of its own, found scaled/2/of=own"):
        task_of("linear", {"name": "scaled", "of": "own"}).check()
    with pytest.raises(UserError, match=r'^history: it makes its own inputs, found laplace; set inputs = \["own"\]$'):
        task_of("history", "laplace").check()
    with pytest.raises(
        UserError, match=r"^linear_dynamics: it makes its own inputs, each of which is gaussian, found own"
    ):
        task_of("linear_dynamics", "own").check()
    reference_task(class_of("history")).check()


def test_a_baseline_cannot_be_made_for_inputs_of_which_nothing_is_stated() -> None:
    chosen = baseline_of({"name": "preconditioned_gradient_descent", "inputs": "own"})
    with pytest.raises(UserError, match="expected inputs with a covariance, found own"):
        chosen.check_dims(3)


def test_inputs_default_to_own_and_a_mixture_is_refused(own_prompts: ModuleType) -> None:
    experiment = build(tiny_values({"function_classes": ["history", "teaching"], "evaluation.shifts": []}), source="t")
    assert [item.id for item in experiment.inputs] == ["own"]
    with pytest.raises(UserError) as error:
        build(tiny_values({"function_classes": ["linear", "history"]}), source="t")
    assert str(error.value) == (
        "t: function_classes.1: 'history' makes inputs that have no name, 'linear' has others, and all classes of an "
        "experiment have the same inputs; train on them apart, and ask about the other by the shift other_class"
    )


def test_another_class_is_asked_about_its_own_inputs(own_prompts: ModuleType) -> None:
    to_own = shift_of({"name": "other_class", "function_class": "history"})
    assert Bank(task_of("linear", "laplace"), to_own, 4, 5, 0).key == ("history", "own", "none")
    back = shift_of({"name": "other_class", "function_class": "chebyshev"})
    assert Bank(task_of("history", "own", dims=1), back, 4, 5, 0).key[:2] == ("chebyshev", "uniform/half_width=1")
    between = shift_of({"name": "other_class", "function_class": "quadratic"})
    assert Bank(task_of("linear", "laplace"), between, 4, 5, 0).key == ("quadratic", "laplace", "none")


@pytest.mark.parametrize("shift", [*QUERIES, "skewed", "scaled_inputs", "half_subspace"])
@pytest.mark.parametrize("name", ["teaching", "history", "prompt_set"])
def test_shifts_of_inputs_and_queries_mean_nothing_for_own_inputs(
    name: str, shift: str, own_prompts: ModuleType
) -> None:
    assert why_undefined(shift_of(shift), task_of(name, "own", dims=4)) == "it makes its own inputs"


# Memory


@pytest.mark.parametrize("shift", QUERIES)
def test_shifts_of_queries_mean_nothing_with_memory(shift: str, own_prompts: ModuleType) -> None:
    assert why_undefined(shift_of(shift), task_of("filtered")) == MEMORY


@pytest.mark.parametrize("shift", ["skewed", "half_subspace", "scaled_inputs", "longer_prompts", "label_noise"])
def test_shifts_of_whole_prompts_are_defined_with_memory(shift: str, own_prompts: ModuleType) -> None:
    assert why_undefined(shift_of(shift), task_of("filtered")) is None


class Mirrored(Shift):
    """A shift from outside whose author has not heard of memory."""

    def draw(self, task: Task, n: int, points: int, streams: Streams) -> Any:
        xs, values, truth = task.clean(n, points, streams)
        return task.label(xs, values, truth, streams, queries=-xs, query_values=task.values(truth, -xs))


class Replaced(Shift):
    """Another, which makes its prompts by hand."""

    def draw(self, task: Task, n: int, points: int, streams: Streams) -> Any:
        prompts = task.draw(n, points, streams)
        return replace(prompts, queries=-prompts.xs)


class Turned(Shift):
    """One that changes the whole prompt."""

    def draw(self, task: Task, n: int, points: int, streams: Streams) -> Any:
        xs, _, truth = task.clean(n, points, streams)
        return task.label(-xs, task.values(truth, -xs), truth, streams)


def test_a_shift_from_outside_that_asks_separately_is_refused_with_memory(own_prompts: ModuleType) -> None:
    for shift in (Mirrored(), Replaced()):
        assert why_undefined(shift, task_of("filtered")) == MEMORY
        assert why_undefined(shift, task_of("linear")) is None
    assert why_undefined(Turned(), task_of("filtered")) is None
    with pytest.raises(UserError, match=f"filtered: expected no queries beside the inputs: {MEMORY}"):
        Mirrored().draw(task_of("filtered"), 2, 3, Streams(0, "test"))


def test_a_pool_with_memory_is_weighed_by_whole_prompts(own_prompts: ModuleType) -> None:
    """Two examples without noise tell which of four functions it is, at the next input as at another query."""
    pooled = class_of({"name": "filtered", "pool_size": 4})
    prompts = draw(Task(pooled, inputs_of("gaussian"), 3), 16, 6)
    assert (pool_posterior_mean(pooled, prompts, 1.0) - prompts.targets)[:, 2:].abs().max() < 1e-5
    assert prompts.truth is not None
    queries = torch.randn(16, 6, 3, generator=torch.Generator().manual_seed(0))
    answers = pool_posterior_mean(pooled, replace(prompts, queries=queries), 1.0)
    for k in (2, 5):
        xs = torch.cat([prompts.xs[:, :k], queries[:, k : k + 1]], dim=1)
        wanted = pooled.evaluate(dict(prompts.truth), xs)[:, k]
        torch.testing.assert_close(answers[:, k], wanted.double(), atol=1e-5, rtol=1e-4)


# What errors are divided by


def test_moments_are_means_over_the_points_of_a_prompt(own_prompts: ModuleType) -> None:
    filtered = class_of("filtered")
    estimate = estimated_moment(filtered, inputs_of("gaussian"), 4)
    assert abs(estimate.mean - filtered.trivial_error(4)) < 5 * estimate.error
    assert POINTS == 21
    # By an independent draw: the standard error is that of prompts, not of values.
    squares = draw(task_of("filtered", dims=4), 1 << 13, POINTS).targets.double().square().mean(dim=1)
    assert estimate.error == pytest.approx(float(squares.std()) / 2**7.5, rel=0.1)
    assert task_of("filtered", "laplace", dims=4).second_moment() == pytest.approx(
        2 * filtered.trivial_error(4), rel=0.05
    )
    history = Bank(task_of("history", "own", dims=2), None, 64, 5, 0)
    assert history.second_moment == history.reference_error


def test_a_class_whose_prompts_are_short_has_the_mean_over_these(own_prompts: ModuleType) -> None:
    class Short(own_prompts.Teaching):  # type: ignore[name-defined,misc]
        """Has a coordinate after the other, and no more points."""

        def draw(self, n: int, points: int, dims: int, inputs: Any, streams: Streams) -> Any:
            if points > dims:
                raise UserError(f"expected at most {dims} points, found {points}")
            return super().draw(n, points, dims, inputs, streams)

    assert [moment_points(Short(), inputs_of("own"), dims) for dims in (2, 30)] == [2, 21]
    # Of three squares of normal weights, each times that of a normal input.
    assert Short().trivial_error(3) == pytest.approx(1, abs=0.05)
    bank = Bank(Task(Short(), inputs_of("own"), 3), None, 256, 3, 0)
    assert [doubt.text for doubt in doubts_on_bank(bank, bank.draw()) if "which is too" in doubt.text] == []
    frame = pd.DataFrame({"x": [1.0, 2.0, 4.0, 3.0], "y": [0.0, 2.0, 1.0, 3.0]})
    few_rows = Bank(from_table(frame), None, 64, 4, 0)
    assert list(doubts_on_bank(few_rows, few_rows.draw())) == []


@pytest.mark.parametrize("name", ["teaching", "history", "filtered"])
@pytest.mark.parametrize("shift", [None, "longer_prompts"])
def test_positions_that_differ_are_no_doubt(name: str, shift: str | None, own_prompts: ModuleType) -> None:
    bank = Bank(reference_task(class_of(name)), None if shift is None else shift_of(shift), 256, 5, 0)
    assert [doubt.text for doubt in doubts_on_bank(bank, bank.draw()) if "which is too" in doubt.text] == []


def test_a_wrong_denominator_is_doubted_where_positions_differ(own_prompts: ModuleType) -> None:
    class Wrong(own_prompts.Filtered):  # type: ignore[name-defined,misc]
        """States twice as much."""

        def trivial_error(self, dims: int) -> float:
            return 2.0 * dims

    bank = Bank(Task(Wrong(), inputs_of("gaussian"), 3), None, 256, 5, 0)
    (doubt,) = (each for each in doubts_on_bank(bank, bank.draw()) if each.about == "denominator")
    assert "too large: over the prompts f(q)^2 has the mean" in doubt.text


# Oracles


def oracles(function_class: Any, inputs: Spec = "own", noise: float | None = None) -> list[str]:
    return [entry.id for entry in oracle_entry(Bank(Task(function_class, inputs_of(inputs), 3, noise), None, 4, 5, 0))]


def test_an_oracle_is_not_inherited_by_what_declares_more(own_prompts: ModuleType) -> None:
    class Known(Linear):
        """Linear functions whose author says that least squares is best."""

        @property
        def oracle_kind(self) -> Any:
            return "optimum"

    class Taught(Known):
        """The same, with inputs that depend on the function."""

        reference_inputs = "own"
        owns_inputs = True

        def draw(self, n: int, points: int, dims: int, inputs: Any, streams: Streams) -> Any:
            return super().draw(n, points, dims, inputs, streams)

    class Remembering(Known):
        """The same, with memory."""

        has_memory = True

        def evaluate(self, parameters: Any, xs: Tensor) -> Tensor:
            return super().evaluate(parameters, xs.cumsum(dim=1))

    class Claimed(Taught):
        """Says that it knows better."""

        @property
        def oracle_kind(self) -> Any:
            return "optimum"

    assert oracles(Known(), "gaussian") == ["oracle"]
    assert (oracles(Taught()), oracles(Remembering(), "gaussian")) == ([], [])
    assert oracles(Claimed()) == ["oracle"]


def test_a_pool_has_no_oracle_where_its_first_input_may_tell_of_the_function() -> None:
    assert oracles(class_of({"name": "linear_dynamics", "pool_size": 4}), "gaussian") == ["oracle"]
    assert oracles(class_of({"name": "table", "pool_size": 4})) == []


# The probes before a run


def test_a_run_whose_own_inputs_change_its_functions_fails(own_prompts: ModuleType) -> None:
    @FUNCTION_CLASSES.register("peeking")
    class Peeking(own_prompts.Teaching):  # type: ignore[name-defined,misc]
        """Turns w towards the first input."""

        def draw(self, n: int, points: int, dims: int, inputs: Any, streams: Streams) -> Any:
            xs, values, parameters = super().draw(n, points, dims, inputs, streams)
            return xs, values.abs(), {"w": parameters["w"] * values[:, :1].sign()}

    for name in ("teaching", "history", "prompt_set", "filtered"):
        sound = tiny_run({"function_classes": [name], "evaluation.shifts": []}).experiment
        probe_components(sound, sound.build_model(torch.Generator().manual_seed(0)))
    cheat = tiny_run({"function_classes": ["peeking"], "evaluation.shifts": []}).experiment
    with pytest.raises(
        ComponentFailed, match="functions that depend on their inputs: other numbers from the stream 'inp"
    ):
        probe_components(cheat, cheat.build_model(torch.Generator().manual_seed(0)))
