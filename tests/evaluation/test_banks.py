"""Frozen banks: the same prompts for every learner, run and process."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from helpers import bank_of, class_of, same, shift_of
from undefined import OF_STEPS, UNDEFINED

from icl_curriculum.config.experiment import Experiment, Run
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import FUNCTION_CLASSES, INPUTS, SHIFTS
from icl_curriculum.core.streams import Streams
from icl_curriculum.evaluation import banks, content_hash
from icl_curriculum.runs.banks import evaluation_banks
from icl_curriculum.runs.recording import learning_banks
from icl_curriculum.tasks import Task
from icl_curriculum.training import Trainer

SHIFTS_AND_NONE: list[str | None] = [None, *SHIFTS.names()]

Purpose = Literal["evaluation", "learning"]
PURPOSES: tuple[Purpose, ...] = ("evaluation", "learning")


# Banks

IN_ANOTHER_PROCESS = """
from icl_curriculum.evaluation import Bank, content_hash
from icl_curriculum.core.registry import FUNCTION_CLASSES, INPUTS, SHIFTS
from icl_curriculum.tasks import Task

for name, shift in {cases}:
    function_class = FUNCTION_CLASSES.build(name)
    dims = 1 if name == "chebyshev" else 5
    task = Task(function_class, INPUTS.build(function_class.reference(dims)), dims)
    print(content_hash(Bank(task, shift and SHIFTS.build(shift), 8, 5, 0).draw()))
"""
#: Shifts that ask about other functions.
OTHERS = ("other_class", "other_functions")
DEFINED: list[tuple[str, str]] = [
    (name, shift) for name in FUNCTION_CLASSES.names() for shift in SHIFTS.names() if (name, shift) not in UNDEFINED
]


def test_banks_are_the_same_in_every_process(quick_python: Path) -> None:
    """Of every class under every shift that is defined for it."""
    cases = [*((name, None) for name in FUNCTION_CLASSES.names()), *DEFINED]
    script = IN_ANOTHER_PROCESS.replace("{cases}", repr(cases))
    done = subprocess.run([str(quick_python), "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    hashes = [content_hash(bank_of(name, shift, None).draw()) for name, shift in cases]
    assert done.stdout.split() == hashes
    # All are different, but another class is that class whatever was trained; of two classes the inputs are others.
    others = {value for value, (_, shift) in zip(hashes, cases, strict=True) if shift == "other_class"}
    assert len(others) == 3
    assert hashes[FUNCTION_CLASSES.names().index("linear")] in others
    # Other functions are those of power_law_linear whatever was trained, with the noise that it was trained with.
    others = {value for value, (_, shift) in zip(hashes, cases, strict=True) if shift == "other_functions"}
    assert len(others) == 2
    assert hashes[FUNCTION_CLASSES.names().index("power_law_linear")] in others
    assert len(set(hashes)) == len([shift for _, shift in cases if shift not in OTHERS]) + 2 + 1


@pytest.mark.parametrize("shift", SHIFTS_AND_NONE)
def test_banks_are_the_same_at_every_call(shift: str | None) -> None:
    bank = bank_of("composition" if shift in OF_STEPS else "sparse_linear", shift)
    torch.manual_seed(1)
    first = bank.draw()
    torch.manual_seed(2)
    second = bank.draw()
    assert same(first, second, "xs", "ys", "targets")
    assert content_hash(first) == content_hash(second)


@pytest.mark.parametrize("field", ["xs", "ys", "targets", "queries"])
def test_the_hash_covers_everything_that_is_asked(field: str) -> None:
    prompts = bank_of(shift="random_quadrants").draw()
    changed = getattr(prompts, field).clone()
    changed.view(-1)[-1] += 1e-3
    assert content_hash(replace(prompts, **{field: changed})) != content_hash(prompts)
    assert content_hash(prompts.without_truth()) == content_hash(prompts)


@pytest.mark.parametrize("name", INPUTS.names())
def test_the_hash_changes_with_the_generator_of_every_distribution(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = bank_of("linear", None, name)
    before = content_hash(bank.draw())
    inputs = type(bank.task.inputs)
    sample = inputs.sample
    monkeypatch.setattr(inputs, "sample", lambda *arguments: sample(*arguments) * (1 + 1e-6))
    assert content_hash(bank.draw()) != before


@pytest.mark.parametrize("name", [name for name in FUNCTION_CLASSES.names() if not class_of(name).drawn_labels])
def test_the_hash_changes_with_the_values_of_every_class(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = bank_of(name, None, None)
    before = content_hash(bank.draw())
    function_class = type(bank.task.function_class)
    evaluate = function_class.evaluate
    # Another class, where values are classes.
    classes = function_class.class_valued
    monkeypatch.setattr(
        function_class, "evaluate",
        lambda *arguments: evaluate(*arguments).roll(1, -1) if classes else evaluate(*arguments) * (1 + 1e-6),
    )  # fmt: skip
    assert content_hash(bank.draw()) != before


def test_the_hash_changes_with_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = content_hash(bank_of().draw())
    with monkeypatch.context() as patch:
        patch.setattr(banks, "BANK_VERSION", banks.BANK_VERSION + 1)
        assert content_hash(bank_of().draw()) != before
    assert content_hash(bank_of().draw()) == before


@pytest.mark.parametrize("shift", ["random_quadrants", "overlapping_queries", "orthogonal_queries"])
def test_the_hash_covers_the_mask(shift: str) -> None:
    prompts = bank_of(shift=shift).draw()
    mask = torch.ones(8, 5, dtype=torch.bool) if prompts.mask is None else prompts.mask.clone()
    mask[-1, -1] = ~mask[-1, -1]
    assert content_hash(replace(prompts, mask=mask)) != content_hash(prompts)


@pytest.mark.parametrize(
    ("changes", "pooled"),
    [
        ({"id": "mine"}, False), ({"outputs": "unit"}, False), ({"label_noise": 0.4}, False),
        ({"pool_size": 1000}, True), ({"pool_size": 1000, "pool_seed": 3, "id": "mine"}, True),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("shift", [None, "opposite_quadrants", "overlapping_queries", "skewed"])
@pytest.mark.parametrize("name", ["linear", "quadratic", "decision_tree", "linear_classification", "hermite"])
def test_id_unit_noise_and_pool_leave_the_draws_alone(
    name: str, shift: str | None, changes: dict[str, Any], pooled: bool
) -> None:
    """Inputs and queries always; functions but for a pool, whose rows are other functions."""
    plain, changed = (bank_of(spec, shift).draw() for spec in (name, {"name": name, **changes}))
    assert plain.xs.equal(changed.xs)
    assert plain.query().equal(changed.query())
    assert plain.truth is not None
    assert changed.truth is not None
    assert all(value.equal(changed.truth[key]) for key, value in plain.truth.items()) != pooled


def test_another_parameter_of_a_class_is_another_bank() -> None:
    two, three = (bank_of({"name": "hermite", "degree": degree}).draw() for degree in (2, 3))
    assert not (two.xs == three.xs).any()


def test_training_never_meets_a_prompt_of_a_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal seeds notwithstanding."""
    trained: list[Prompts] = []

    def recording(task: Task, n: int, points: int, streams: Streams, *, active_dims: int | None = None) -> Prompts:
        trained.append(drawn_by(task, n, points, streams, active_dims=active_dims))
        return trained[-1]

    drawn_by = Task.draw
    small = experiment(seeds=(0,), curriculum={"function_classes": "single"}, inputs=("gaussian",))
    with monkeypatch.context() as patch:
        patch.setattr(Task, "draw", recording)
        Trainer(Run(small, "small", 0)).update()
    (batch,) = trained
    for seed in (0, 1):
        for purpose in PURPOSES:
            frozen = bank_of(n=len(batch), points=4, seed=seed, purpose=purpose).draw()
            assert not (frozen.xs == batch.xs).any()
            assert not (frozen.targets == batch.targets).any()


def test_other_seeds_and_purposes_are_other_banks() -> None:
    bank = bank_of()
    drawn = [each.draw() for each in (bank, replace(bank, seed=1), replace(bank, purpose="learning"))]
    firsts = {float(prompts.xs[0, 0, 0]) for prompts in drawn} | {float(prompts.targets[0, 0]) for prompts in drawn}
    assert len(firsts) == 6


@pytest.mark.parametrize(("name", "shift"), [(name, shift) for name, shift in DEFINED if shift not in OTHERS])
def test_a_shifted_bank_asks_about_the_same_functions(name: str, shift: str) -> None:
    plain, shifted = bank_of(name, None, None).draw(), bank_of(name, shift, None).draw()
    assert plain.truth is not None
    assert shifted.truth is not None
    assert plain.truth.keys() == shifted.truth.keys()
    assert all(value.equal(shifted.truth[key]) for key, value in plain.truth.items())


def test_other_inputs_ask_about_the_same_functions() -> None:
    plain, other = bank_of().draw(), bank_of(inputs="student_t").draw()
    assert plain.truth is not None
    assert other.truth is not None
    assert plain.truth["w"].equal(other.truth["w"])


def experiment(**more: object) -> Experiment:
    values: dict[str, object] = {
        "function_classes": ("linear", "quadratic"),
        "inputs": ("gaussian", "skewed"),
        "evaluation": {
            "shifts": ["skewed", "random_quadrants", "longer_prompts"],
            "n_prompts": 6,
            "learning_prompts": 3,
            "bank_seed": 7,
        },
        "points": 4,
    }
    return Experiment.model_validate({**values, **more})


def test_an_experiment_has_each_bank_once() -> None:
    keys = [bank.key for bank in evaluation_banks(experiment())]
    cells = [(c, i) for c in ("linear", "quadratic") for i in ("gaussian", "skewed")]
    # The skewed shift of either input distribution is the skewed cell, which is there already.
    assert keys == [(*cell, shift) for shift in ("none", "random_quadrants", "longer_prompts/2") for cell in cells]
    assert [bank.key for bank in learning_banks(experiment())] == [(*cell, "none") for cell in cells]


def test_banks_have_the_sizes_and_the_seed_of_the_experiment() -> None:
    sizes = {bank.shift_id: bank.draw().xs.shape[:2] for bank in evaluation_banks(experiment())}
    assert sizes == {"none": (6, 4), "random_quadrants": (6, 4), "longer_prompts/2": (6, 7)}
    assert {bank.draw().xs.shape[:2] for bank in learning_banks(experiment())} == {(3, 4)}
    assert {bank.seed for bank in [*evaluation_banks(experiment()), *learning_banks(experiment())]} == {7}


def test_the_runs_seeds_do_not_touch_the_banks() -> None:
    one, other = (
        [content_hash(bank.draw()) for bank in evaluation_banks(experiment(seeds=seeds))] for seeds in ((0,), (1, 2))
    )
    assert one == other


def test_an_undefined_shift_has_no_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    quadrants = type(shift_of("random_quadrants"))

    def undefined(self: object, task: Task) -> str | None:
        return "even classes do not notice" if task.function_class.name == "quadratic" else None

    monkeypatch.setattr(quadrants, "undefined", undefined)
    keys = [bank.key for bank in evaluation_banks(experiment())]
    assert ("linear", "gaussian", "random_quadrants") in keys
    assert not any(c == "quadratic" and shift == "random_quadrants" for c, _, shift in keys)
