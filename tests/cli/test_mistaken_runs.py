"""Experiments that load are run: at the edge of what is allowed they finish, or fail with one message."""

from __future__ import annotations

import contextlib
import math
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistaken import steady
from tiny_runs import tiny_run, tiny_values

from icl_curriculum.config.loading import build
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.figures import draw_all
from icl_curriculum.results.collecting import collect
from icl_curriculum.runs.execution import execute

#: Values of each key, small enough for a run of a fraction of a second; some are too far out.
EDGES: dict[str, list[Any]] = {
    "recipe": ["reference"],
    "dims": [1, 2, 6, 0],
    "points": [2, 3, 9, 1],
    "threads": [2],
    "seeds": [[2**63 - 1], [0, 0], []],
    "function_classes": [
        ["linear"],
        [{"name": "linear", "label_noise": 1e6}, {"name": "linear", "pool_size": 1}],
        [{"name": "quadratic", "outputs": "unit", "label_noise": 0.5}, {"name": "hermite", "degree": 4}],
        [{"name": "sparse_linear", "sparsity": 2}, {"name": "relu_network", "hidden": 7}],
        [{"name": "linear", "id": 'a,"b" $x_{ \\frac{'}, {"name": "quadratic", "id": "NA"}],
        ["linear_classification", {"name": "decision_tree", "depth": 1}],
        [{"name": "parity", "size": 1, "label_noise": 0.5}, "gaussian_mixture"],
        ["linear_dynamics", "sinusoid", "noisy_linear"],
        [{"name": "chebyshev", "lowest": 0, "highest": 20}, {"name": "low_rank_linear", "rank": 1}],
        [],
    ],
    "inputs": [
        ["gaussian", "skewed"],
        [{"name": "student_t", "df": 0.5}],
        [{"name": "student_t", "df": 1e6}, {"name": "skewed", "basis": "shared", "id": "none"}],
        ["rademacher", {"name": "scaled", "factor": 1.0, "of": "rademacher"}],
        ["cauchy", {"name": "scaled", "factor": 1e-6, "of": {"name": "scaled", "factor": 1e6}}],
        ["half_subspace", "sphere", {"name": "shifted", "mean": 1e3}],
        [{"name": "uniform", "half_width": 1.0}],
    ],
    "curriculum.function_classes": ["single", "sequential", "random", {"name": "single", "only": "quadratic"}],
    "curriculum.inputs": ["mixed", "sequential", {"name": "single", "only": "skewed"}],
    "curriculum.draw": ["prompt"],
    "curriculum.dims": [{"start": 1, "every": 1}, {"start": 2, "every": 10**18, "add": 2**63 - 1}],
    "curriculum.points": [{"start": 1, "every": 1}, {"start": 2, "every": 3, "add": 10**18}],
    "model.width": [1, 2, 16],
    "model.heads": [1, 2, 8],
    "model.mlp_ratio": [1],
    "model.positions": ["none", "token"],
    "model.position_scale": [1e-300, 1e6],
    "model.attention": ["plain"],
    "model.normalize_queries_and_keys": [False],
    "model.max_points": [4, 5, 9, 30],
    "training.steps": [1, 2, 5],
    "training.batch_size": [1, 2],
    "training.loss": ["normalized"],
    "training.optimizer.name": ["adam", "adamw"],
    "training.optimizer.learning_rate": [1e-300, 1e6],
    "training.optimizer.muon_learning_rate": [1e-300, 1e6],
    "training.optimizer.betas": [[0, 0], [0.999999, 0.999999]],
    "training.optimizer.momentum": [0, 0.999999],
    "training.optimizer.weight_decay": [1e6],
    "training.schedule.name": ["constant", "cosine"],
    "training.schedule.warmup": [1],
    "training.schedule.decay": [1e-300],
    "training.clip": [1e-300, math.inf],
    "training.shards": [2, 3, 999],
    "training.divergence": [1.000001, math.inf],
    "training.log_every": [1, 5, 2**63 - 1],
    "training.learning_every": [1, 2**63 - 1],
    "training.checkpoint_every": [1, 2**63 - 1],
    "evaluation.n_prompts": [2, 1],
    "evaluation.bank_seed": [2**63 - 1],
    "evaluation.learning_prompts": [1],
    "evaluation.shifts": [
        [],
        ["skewed", "random_quadrants", {"name": "label_noise", "level": 1e6}],
        ["longer_prompts", {"name": "longer_prompts", "factor": 1.001}],
        ["opposite_quadrants", "orthogonal_queries", "overlapping_queries", "half_subspace"],
        [{"name": "other_inputs", "inputs": {"name": "scaled", "of": "cauchy"}}, "other_inputs"],
        ["other_class", {"name": "other_class", "function_class": "linear_classification"}],
        [{"name": "scaled_outputs", "factor": 1e6}, {"name": "label_noise", "flips": 0.5}],
        [{"name": "scaled_inputs", "factor": 1e6}, {"name": "scaled_inputs", "factor": 1e-6}],
    ],
    "evaluation.baselines": [[], [{"name": "knn", "neighbors": 10**9}, {"name": "ridge", "penalty": 1e300}]],
    "evaluation.confidence": [1e-300, 1 - 1e-16],
}
CHANGES = st.lists(st.sampled_from(sorted(EDGES)), min_size=2, max_size=8, unique=True).flatmap(
    lambda keys: st.fixed_dictionaries({key: st.sampled_from(EDGES[key]) for key in keys})
)


@given(changes=CHANGES)
@settings(steady, max_examples=12)
def test_whatever_loads_finishes_or_fails_with_a_message(changes: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(UserError, RunFailed):
        run = tiny_run(changes)
        execute(run, Path(folder))
        table = pd.read_csv(Path(folder) / "tiny" / run.name / "evaluation.csv")
        assert table["step"].eq(run.experiment.training.steps).all()


SMALLEST: dict[str, Any] = {
    "dims": 1, "points": 2, "function_classes": ["linear"], "curriculum.points": {"start": 1, "every": 1},
    "model": {"width": 1, "heads": 1, "mlp_ratio": 1, "position_scale": 1e-300},
    "training.steps": 1, "training.batch_size": 1, "training.log_every": 10, "training.learning_every": 10,
    "training.schedule": {"warmup": 1.0, "decay": 1e-300}, "training.optimizer.betas": [0, 0],
    "training.clip": 1e-300, "evaluation.n_prompts": 2, "evaluation.learning_prompts": 1,
    "evaluation.confidence": 1e-300, "evaluation.shifts": [{"name": "scaled_inputs", "factor": 1e-6}],
    "evaluation.baselines": [],
}  # fmt: skip
LARGEST: dict[str, Any] = {
    "seeds": [2**63 - 1], "curriculum.dims": {"start": 2, "every": 2**63 - 1, "add": 2**63 - 1},
    "function_classes": [{"name": "linear", "label_noise": 1e6}, {"name": "quadratic", "id": "线" * 40}],
    "inputs": [{"name": "student_t", "df": 1e6}], "model.position_scale": 1e6, "model.max_points": 30,
    "training.log_every": 2**63 - 1, "training.divergence": math.inf, "evaluation.confidence": 1 - 1e-16,
    "evaluation.bank_seed": 2**63 - 1,
    "evaluation.shifts": [{"name": "scaled_inputs", "factor": 1e6}, {"name": "label_noise", "level": 1e6}],
    "evaluation.baselines": [{"name": "ridge", "penalty": 1e300}, {"name": "knn", "neighbors": 10**9}],
}  # fmt: skip


@pytest.mark.parametrize("changes", [SMALLEST, LARGEST], ids=["smallest", "largest"])
def test_the_edges_all_at_once_are_run_and_drawn(changes: dict[str, Any], tmp_path: Path) -> None:
    run = tiny_run(changes, seed=changes.get("seeds", [0])[0])
    execute(run, tmp_path)
    collect(tmp_path / "tiny", {run.variant: run.hash()})
    drawn = [path.stem for path in draw_all(tmp_path / "tiny")]
    assert drawn == [
        "error_by_examples",
        "learning_curves",
        "out_of_distribution",
        "heat_map",
        # Without baselines there is nobody to compare with.
        *(["prediction_differences"] if run.experiment.evaluation.baselines else []),
        "curriculum",
    ]
    assert set(pd.read_csv(tmp_path / "tiny" / "evaluation.csv")["n_prompts"]) == {run.experiment.evaluation.n_prompts}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.width": 9}, "tiny.toml: model.width: 9 is not divisible by model.heads = 2"),
        ({"function_classes": ["sparse_linear"]}, "tiny.toml: function_classes.0: sparse_linear: sparsity 3 exceeds"),
        ({"training.steps": 1}, "tiny.toml: curriculum.function_classes: curriculum 'mixed' needs a step for each of"),
        (
            {"curriculum.inputs": "sequential", "inputs": ["gaussian", "skewed", "student_t"], "training.steps": 2},
            "tiny.toml: curriculum.inputs: curriculum 'sequential' needs a step for each of 3 blocks, found 2 steps",
        ),
        ({"model.max_points": 4}, "tiny.toml: model.max_points: 4 is less than the 5 points of a prompt"),
        ({"model.max_points": 8, "evaluation.shifts": ["longer_prompts"]}, "tiny.toml: evaluation.shifts: 'longer_pro"),
        ({"curriculum.dims": {"start": 3, "every": 1}}, "tiny.toml: curriculum.dims.start: 3 exceeds the exper"),
        ({"curriculum.points": {"start": 6, "every": 1}}, "tiny.toml: curriculum.points.start: 6 exceeds"),
        ({"curriculum.inputs": {"name": "single", "only": "x"}}, "tiny.toml: curriculum.inputs: curriculum 'single': "),
        ({"inputs": []}, "tiny.toml: inputs: expected a list of at least 1 item"),
        ({"evaluation.n_prompts": 1}, "tiny.toml: evaluation.n_prompts: expected greater than or equal to 2, found 1"),
        ({"evaluation.confidence": 1}, "tiny.toml: evaluation.confidence: expected less than 1, found 1"),
    ],
)  # fmt: skip
def test_impossible_combinations_are_refused_by_their_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        build(tiny_values(changes), source="tiny.toml")
    assert str(error.value).startswith(message)
