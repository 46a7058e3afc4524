"""Classes that show or ask something of their own: targets, denominators, oracles, and what a run refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_runs import Icl, tiny_values, write_toml

from icl_curriculum.config.loading import load
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import RunFailed
from icl_curriculum.core.registry import BASELINES, SHIFTS
from icl_curriculum.core.streams import Streams
from icl_curriculum.evaluation import Bank, oracle_entry
from icl_curriculum.function_classes import Linear
from icl_curriculum.function_classes.showing import shows_too_much
from icl_curriculum.inputs import Gaussian
from icl_curriculum.observations import Pairs
from icl_curriculum.runs.execution import execute
from icl_curriculum.shifts import why_undefined
from icl_curriculum.tasks import Task

N, POINTS, DIMS = 50, 6, 3


class Magnitudes(Linear):
    """f(x) = w·x; asked is |f(q)|."""

    def ask(self, parameters: Any, queries: Any) -> Any:
        return self.evaluate(parameters, queries).abs()


class Doubled(Linear):
    """f(x) = w·x, shown twice as large."""

    def show(self, pairs: Pairs, parameters: Any, generator: Any) -> Pairs:
        return super().show(replace(pairs, ys=2 * pairs.ys), parameters, generator)


def task(cls: type[Linear], **fields: Any) -> Task:
    return Task(cls(**fields), Gaussian(), DIMS)


@pytest.mark.parametrize("shift", [None, "orthogonal_queries", "scaled_outputs"])
def test_what_is_asked_is_the_target_of_every_prompt(shift: str | None) -> None:
    built: Any = None if shift is None else SHIFTS.build(shift)
    plain, asked = (Bank(task(cls), built, N, POINTS, 0).draw() for cls in (Linear, Magnitudes))
    assert asked.ys.equal(plain.ys)
    assert asked.targets.equal(plain.targets.abs())


def test_an_estimated_denominator_is_of_what_is_asked() -> None:
    class Squares(Linear):
        """f(x) = w·x; asked is f(q)^2."""

        def ask(self, parameters: Any, queries: Any) -> Any:
            return self.evaluate(parameters, queries).square()

        def second_moment(self, dims: int, **_: Any) -> None:
            return None

        def trivial_error(self, dims: int) -> float:
            return 3.0 * dims * (dims + 2)  # E (w·x)^4 = 3 E |x|^4

    wide = replace(task(Squares), inputs=SHIFTS.build({"name": "other_inputs", "inputs": "uniform"}).inputs)
    # E |x|^4 of d independent uniform coordinates of variance 1, whose fourth moment is 9/5.
    assert wide.second_moment() == pytest.approx(3 * (DIMS * 1.8 + DIMS * (DIMS - 1)), rel=0.02)


def test_a_class_shows_its_own_and_what_its_observation_makes_of_it() -> None:
    plain, shown = (task(cls).draw(N, POINTS, Streams(0, "a")) for cls in (Linear, Doubled))
    assert shown.ys.equal(2 * plain.ys)
    assert shown.targets.equal(plain.targets)
    both = task(Doubled, observation={"name": "missing_features", "share": 0.5}).draw(N, POINTS, Streams(0, "a"))
    assert both.xs.shape == (N, POINTS, 2 * DIMS)
    assert both.ys.equal(shown.ys)


class Zeros(Linear):
    """f(x) = w·x, shown as zeros whatever an observation says."""

    def show(self, pairs: Pairs, parameters: Any, generator: Any) -> Pairs:
        return replace(pairs, ys=torch.zeros_like(pairs.ys))


def test_an_observation_is_of_what_a_class_shows_that_knows_nothing_of_it() -> None:
    shown = task(Zeros, observation={"name": "outliers", "share": 0.5}).draw(400, POINTS, Streams(0, "a"))
    assert abs(float((shown.ys == 0).float().mean()) - 0.5) < 0.05


def test_other_functions_are_asked_and_shown_as_the_trained_ones() -> None:
    other: Any = SHIFTS.build({"name": "other_functions", "function_class": "power_law_linear"})
    noisy = task(Linear, observation={"name": "outliers", "share": 0.5})
    kept = other.apply(noisy).function_class
    assert kept.observation == noisy.function_class.observation
    assert not oracle_entry(Bank(noisy, other, 4, 4, 0))
    for cls in (Magnitudes, Doubled):
        assert why_undefined(other, task(cls)) == "the functions of power_law_linear/1 have another form"


def test_a_moment_that_is_inherited_is_not_of_what_is_asked_instead() -> None:
    class First(Linear):
        """f(x) = w·x; asked is w_1."""

        def ask(self, parameters: Any, queries: Any) -> Any:
            return parameters["w"][:, :1].expand(queries.shape[:2]).clone()

        def trivial_error(self, dims: int) -> float:
            return 1.0

    scaled: Any = SHIFTS.build("scaled_inputs")
    assert task(First).second_moment() == 1.0
    assert scaled.apply(task(First)).second_moment() == pytest.approx(1.0, rel=0.02)


def test_steps_that_are_shown_leave_no_inherited_oracle() -> None:
    class Stepped(Linear):
        """f(x) = w·x; its steps are the terms of the first two coordinates."""

        n_steps = 2

        def steps(self, parameters: Any, xs: Any) -> Any:
            return (xs * parameters["w"].unsqueeze(1))[..., :2]

    assert not oracle_entry(Bank(task(Stepped), None, 4, 4, 0))
    assert oracle_entry(Bank(task(Stepped, show_steps=False), None, 4, 4, 0))


@pytest.mark.parametrize("cls", [Magnitudes, Doubled])
def test_neither_inherits_an_oracle_nor_is_known_by_its_pool(cls: type[Linear]) -> None:
    assert not oracle_entry(Bank(task(cls), None, 4, 4, 0))
    assert not oracle_entry(Bank(task(cls, pool_size=3), None, 4, 4, 0))


def test_the_posterior_over_a_pool_answers_what_is_asked() -> None:
    prompts = task(Magnitudes, pool_size=5).draw(N, POINTS, Streams(0, "a"))
    dmmse: Any = BASELINES.build("dmmse").for_training_on([task(Magnitudes, pool_size=5).function_class])
    found = dmmse.predict(prompts)
    assert torch.allclose(found[:, -1].float(), prompts.targets[:, -1], atol=1e-4), "one member is left by then"
    assert bool((found[:, 0] > 0).all()), "the mean magnitude"


def showing(change: Any) -> Task:
    """Linear functions with what is shown changed: ``change(pairs, parameters, generator)``."""

    class Shown(Linear):
        """f(x) = w·x."""

        def show(self, pairs: Pairs, parameters: Any, generator: Any) -> Pairs:
            return change(pairs, parameters, generator)

    return task(Shown)


def centred(pairs: Pairs, parameters: Any, generator: Any) -> Pairs:
    return replace(pairs, ys=pairs.ys - pairs.ys.mean(dim=1, keepdim=True))


def standardised(pairs: Pairs, parameters: Any, generator: Any) -> Pairs:
    return replace(pairs, ys=pairs.ys / pairs.ys[0].std())


def told_by_the_label(pairs: Pairs, parameters: Any, generator: Any) -> Pairs:
    return replace(pairs, xs=pairs.xs + 1e-3 * pairs.ys.unsqueeze(-1))


def told_by_the_function(pairs: Pairs, parameters: Any, generator: Any) -> Pairs:
    return replace(pairs, xs=pairs.xs + 1e-3 * parameters["w"].unsqueeze(1))


def told_by_the_query(pairs: Pairs, parameters: Any, generator: Any) -> Pairs:
    told = pairs.ys if pairs.queries is None else pairs.ys + 1e-3 * pairs.queries.sum(-1)
    return replace(pairs, ys=told)


TOO_MUCH = [
    (centred, "the labels before entry 1 depend on what stands from entry 1 on"),
    (standardised, "the labels before entry 1 depend on what stands from entry 1 on"),
    (told_by_the_label, "the input asked about at entry 0 depends on its own label or a later one"),
    (told_by_the_function, "the inputs asked about depend on the function"),
    (told_by_the_query, "the examples depend on the queries"),
]


@pytest.mark.parametrize(("change", "reason"), TOO_MUCH)
def test_what_shows_too_much_is_found(change: Any, reason: str) -> None:
    shown = showing(change)
    assert shows_too_much(shown.function_class, shown.inputs, DIMS) == reason


def test_labels_that_are_changed_in_place_leave_the_targets() -> None:
    plain = task(Linear).draw(N, POINTS, Streams(0, "a"))
    shown = showing(lambda pairs, *_: replace(pairs, ys=pairs.ys.add_(1.0))).draw(N, POINTS, Streams(0, "a"))
    assert shown.targets.equal(plain.targets)
    assert torch.allclose(shown.ys, plain.ys + 1)


def test_a_batch_tells_nothing_of_other_prompts() -> None:
    shown = showing(lambda pairs, parameters, generator: replace(pairs, ys=pairs.ys - pairs.ys[:, :1].mean()))
    found = shows_too_much(shown.function_class, shown.inputs, DIMS)
    assert found == "the labels of a prompt depend on what stands in other prompts"


def test_what_goes_by_earlier_entries_alone_is_right() -> None:
    shown = showing(lambda pairs, parameters, generator: replace(pairs, ys=pairs.ys.cumsum(dim=1)))
    assert shows_too_much(shown.function_class, shown.inputs, DIMS) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pairs, *_: pairs.ys, "show returned a Tensor, expected Pairs"),
        (lambda pairs, *_: replace(pairs, xs=pairs.xs[..., :1]), r"show \(xs\) returned shape \(50, 6, 1\)"),
        (lambda pairs, *_: replace(pairs, ys=pairs.ys.double()), r"show \(ys\) returned torch.float64"),
        (lambda pairs, *_: replace(pairs, ys=pairs.ys / 0), r"show \(ys\) returned values that are not finite"),
        (lambda pairs, *_: replace(pairs, queries=pairs.xs), "show returned queries where there were none"),
    ],
)
def test_what_breaks_the_contract_of_show_is_named(change: Any, message: str) -> None:
    with pytest.raises(ComponentFailed, match=message):
        showing(change).draw(N, POINTS, Streams(0, "a"))


PEEKING = '''
from dataclasses import replace
from icl_curriculum import Observation, register_observation

@register_observation("centred")
class Centred(Observation):
    """Labels less their mean over the prompt."""

    kinds = frozenset({"numbers"})

    def show(self, pairs, generator):
        return replace(pairs, ys=pairs.ys - pairs.ys.mean(dim=1, keepdim=True))
'''


@pytest.mark.usefixtures("fresh_registries")
def test_a_run_refuses_an_observation_that_looks_ahead(tmp_path: Any) -> None:
    (tmp_path / "centred.py").write_text(PEEKING)
    values = tiny_values(
        {"plugins": ["centred.py"], "function_classes": [{"name": "linear", "observation": "centred"}]}
    )
    (run,) = load(str(write_toml(tmp_path / "my.toml", values)))
    told = "'centred'.*prompts that tell too much: the labels before entry 1 depend on what stands from entry 1 on"
    with pytest.raises(RunFailed, match=told):
        execute(run, tmp_path / "results")


def test_a_model_reads_what_is_shown_and_is_asked_nothing_of_another_width(icl: Icl, tmp_path: Any) -> None:
    observation = {"name": "missing_features", "share": 0.3}
    values = tiny_values(
        {
            "function_classes": [{"name": "linear", "observation": observation}],
            "evaluation.shifts": [
                {"name": "other_observation", "observation": {**observation, "share": 0.6}},
                "overlapping_queries",
            ],
        }
    )
    results = tmp_path / "results"
    (run,) = load(str(write_toml(tmp_path / "my.toml", values)))
    execute(run, results)
    rows = (results / "tiny/mixed-seed0/evaluation.csv").read_text()
    assert "linear/observation=missing_features:0.3,gaussian,other_observation/missing_features/0.6,FALSE" in rows
    directory = str(results / "tiny/mixed-seed0")
    code, _, err = icl("evaluate", directory, "--function-class", "linear", "--output", str(tmp_path / "more"))
    assert code == 2
    assert "linear: it shows inputs as 2 numbers, and the model reads 4" in " ".join(err.split())
    code, _, err = icl(
        "score", directory, "--function-class", "linear", "--dims", "2", "--output", str(tmp_path / "score")
    )
    assert code == 2
    assert "reads inputs of 4 numbers, and they are shown as 2" in " ".join(err.split())


def test_classes_of_two_widths_are_refused(icl: Icl, tmp_path: Any) -> None:
    values = tiny_values({"function_classes": ["linear", {"name": "quadratic", "observation": "missing_features"}]})
    code, _, err = icl("run", str(write_toml(tmp_path / "my.toml", values)))
    assert code == 2
    assert "shows inputs as 4 numbers, 'linear' as 2; one model reads inputs of one kind" in " ".join(err.split())
