"""What is frozen is what the benchmark's experiment files ask."""

from __future__ import annotations

from icl_curriculum.config.loading import load
from icl_curriculum.evaluation.benchmark_banks import bank_of
from icl_curriculum.results.scorecard.axes import AXES, banks_of_axis
from icl_curriculum.results.scorecard.frozen import benchmark
from icl_curriculum.runs.banks import evaluation_banks


def test_the_frozen_banks_are_those_that_the_protocol_asks() -> None:
    """Of the benchmark itself: ids, dimensions and lengths; the prompts are `icl verify benchmark`'s."""
    frozen, experiment = benchmark(), load("benchmark_v1")[0].experiment
    asked = {"/".join(bank.key): bank for bank in evaluation_banks(experiment)}
    assert {name: bank_of(frozen, bank) for name, bank in frozen.banks.items()} == asked
    assert experiment.training.steps * experiment.training.batch_size == frozen.prompts
    assert {*frozen.trained} == {name for name, bank in asked.items() if bank.shift is None}
    families = load("benchmark")
    assert {run.experiment.evaluation for run in families} == {experiment.evaluation}
    assert len({run.variant for run in families}) == 14


def test_every_bank_counts_for_an_axis() -> None:
    frozen = benchmark()
    counted = [bank.name for axis in AXES for bank in banks_of_axis(frozen, axis)]
    assert {*counted} == {*frozen.banks}
    # Those of trained cells count for their own class and for few examples.
    assert sorted(counted) == sorted([*frozen.banks, *frozen.trained])
