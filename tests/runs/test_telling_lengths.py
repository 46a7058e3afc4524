"""Models that are asked prompt length by prompt length say at which one they are, whoever asks them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import tiny_run

from icl_curriculum.cli import progress as cli_progress
from icl_curriculum.core.streams import generator
from icl_curriculum.evaluation import NamedLearner, score
from icl_curriculum.runs.banks import evaluation_banks
from icl_curriculum.runs.execution import Progress, execute

BY_LENGTH: dict[str, Any] = {
    "model": {"name": "huggingface", "fields": {"n_embd": 8, "n_layer": 1, "n_head": 2}},
    "function_classes": ["linear"],
    "training.steps": 4,
    "evaluation.shifts": ["opposite_quadrants"],
    "evaluation.learning_shifts": ["orthogonal_queries"],
    "evaluation.n_prompts": 72,
    "evaluation.baselines": ["zero"],
}


def test_a_run_tells_the_length_while_it_trains_and_while_it_evaluates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reports: list[Progress] = []
    execute(tiny_run(BY_LENGTH), tmp_path, report=reports.append)
    training = [each for each in reports if each.phase == "training" and each.detail]
    # Before the first step, and after the fourth.
    assert [(each.done, each.detail) for each in training] == [
        (step, f"length {k} of 5") for step in (0, 4) for k in range(1, 6)
    ]
    assert all(each.total == 4 for each in training)
    evaluation = [each for each in reports if each.phase == "evaluation" and each.detail.startswith("length")]
    assert [each.detail for each in evaluation] == [
        f"length {k} of 5, prompts {prompts} of 72" for prompts in ("1-64", "65-72") for k in range(1, 6)
    ]
    shares = [each.done + each.share for each in reports if each.phase == "evaluation"]
    assert shares == sorted(shares)
    assert len(set(shares)) > 10
    assert shares[-1] == 2
    # As the command line says it where there is no terminal, but for the seconds between its lines.
    monkeypatch.setattr(cli_progress, "LINE_EVERY", 0.0)
    view = cli_progress.View(None)
    for each in reports:
        view.report(each)
    told = capsys.readouterr().err.splitlines()
    assert len([line for line in told if line.startswith("mixed-seed0: training 4/4 (length 3 of 5)")]) == 1
    of_banks = [line for line in told if "(length 3 of 5, prompts 65-72 of 72)" in line]
    assert len(of_banks) == 1
    assert of_banks[0].startswith("mixed-seed0: evaluation ")


@pytest.mark.parametrize(("model", "lengths"), [("huggingface", 5), ("recurrent", 0)])
def test_scores_tell_it_of_families_that_need_it_alone(model: str, lengths: int) -> None:
    changes = BY_LENGTH if model == "huggingface" else {**BY_LENGTH, "model": {"name": "recurrent", "width": 8}}
    experiment = tiny_run(changes).experiment
    bank = next(bank for bank in evaluation_banks(experiment) if bank.shift is not None)
    bank, told = replace(bank, n_prompts=8), list[str]()
    learner = experiment.build_model(generator(0, "initialization"))
    entry = NamedLearner("model", "model", learner, experiment.model)
    score([entry], bank, bank.draw(), None, tell=lambda share, detail="": told.append(detail))
    assert told == [f"length {k + 1} of 5" for k in range(lengths)]
