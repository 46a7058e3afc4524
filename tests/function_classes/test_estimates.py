"""Trivial errors of classes that state none: Monte Carlo, the same every time, and said wherever numbers are shown."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers import Spec, class_of, inputs_of
from tiny_runs import Icl, tiny_values, write_toml
from torch import Tensor

from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.streams import Streams
from icl_curriculum.function_classes import FunctionClass, Linear, LinearMap, Parameters
from icl_curriculum.function_classes.estimates import estimated_trivial_error
from icl_curriculum.tasks import Task
from icl_curriculum.testing import check

PLUGIN = '''
import torch
from icl_curriculum import FunctionClass, register_function_class


@register_function_class("wave")
class Wave(FunctionClass):
    """f(x) = cos w·x."""

    def sample(self, n, dims, generator):
        return {"w": torch.randn(n, dims, generator=generator, device=generator.device)}

    def evaluate(self, parameters, xs):
        return torch.einsum("npd,nd->np", xs, parameters["w"]).cos()
'''


class Unstated(Linear):
    """The linear class by another's formula."""

    trivial_error = FunctionClass.trivial_error


class UnstatedMap(LinearMap):
    """Its vectors have E|f(x)|^2 = m d."""

    trivial_error = FunctionClass.trivial_error


class Nonnegative(Unstated):
    """Counts where f(x) is at least 0, which is half of the time, and as large there as elsewhere."""

    def counts(self, parameters: Parameters, xs: Tensor) -> Tensor:
        return self.evaluate(parameters, xs) >= 0


@pytest.mark.parametrize(
    ("function_class", "expected"),
    [(Unstated(), 5), (UnstatedMap(label_dims=3), 15), (Nonnegative(), 5), (Unstated(pool_size=2, outputs="unit"), 5)],
)
def test_it_is_the_second_moment_within_its_standard_error(function_class: FunctionClass, expected: float) -> None:
    found = estimated_trivial_error(function_class, 5)
    assert found.mean == pytest.approx(expected, abs=5 * found.error)
    assert found.error < 0.01 * expected
    assert not function_class.states_trivial_error
    assert function_class.trivial_error(5) == found.mean
    assert estimated_trivial_error(type(function_class)(**function_class.model_dump(exclude={"given_id"})), 5) == found


def test_classes_that_state_theirs_are_not_estimated() -> None:
    assert class_of("linear").states_trivial_error
    assert class_of("parity").states_trivial_error


def test_unit_outputs_have_second_moment_one() -> None:
    task = Task(Unstated(outputs="unit"), inputs_of("gaussian"), 4)
    assert task.trivial_error() == pytest.approx(1)
    targets = task.draw(20_000, 2, Streams(0, "test")).targets
    assert float(targets.square().mean()) == pytest.approx(1, rel=0.05)


def test_values_that_are_all_zero_have_none() -> None:
    class Nothing(Unstated):
        """f(x) = 0."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return torch.zeros(xs.shape[:2])

    with pytest.raises(ComponentFailed, match=r"E f\(x\)\^2 = 0 over 262,144 functions in 2 dimensions"):
        Nothing().trivial_error(2)


@pytest.mark.usefixtures("fewer_prompts")
def test_the_check_says_that_it_is_an_estimate() -> None:
    (result,) = check(Unstated(), rules=["trivial error"])
    assert result.status == "ok"
    assert result.note.startswith("the class states none, so that errors are divided by an estimate: 1.00")
    assert "in 8 dimensions" in result.note


@pytest.mark.usefixtures("fresh_registries", "two_figures")
def test_a_run_says_so_on_the_terminal_in_the_manifest_and_on_the_page(
    icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wave.py").write_text(PLUGIN)
    values: dict[str, Spec] = {"function_classes": ["wave"], "evaluation.shifts": []}  # type: ignore[dict-item]
    file = write_toml(tmp_path / "tiny.toml", tiny_values({**values, "plugins": ["wave.py"]}))
    code, _, complaint = icl("run", file, "--device", "cpu", "--jobs", "1")
    assert code == 0, complaint
    # E cos^2(w·x) = (1 + E cos(2 w·x)) / 2, with E exp(-2|x|^2) = 1 / 5 in two dimensions.
    said = "the class 'wave' states no trivial error, so that its errors are divided by a Monte Carlo estimate: 0.6"
    assert said in " ".join(complaint.split())
    run = tmp_path / "results/tiny/mixed-seed0"
    assert said in json.loads((run / "manifest.json").read_text())["warnings"]["wave/gaussian/none"][0]["text"]
    assert "states no trivial error" in (tmp_path / "results/tiny/report.html").read_text()
    rows = pd.read_csv(run / "evaluation.csv").query("learner == 'zero'")
    over = rows.query("metric == 'error_over_reference'")["value"].to_numpy()
    squared = rows.query("metric == 'squared_error'")["value"].to_numpy()
    assert squared / over == pytest.approx(0.6, abs=0.01)


def test_what_a_class_raises_while_it_is_estimated_names_it() -> None:
    class Raising(Unstated):
        """f is not there."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            raise KeyError("oops")

    with pytest.raises(ComponentFailed, match=r"failed in draw: KeyError: 'oops'"):
        Task(Raising(outputs="unit"), inputs_of("gaussian"), 2).trivial_error()
