"""``icl verify benchmark`` and the record behind it: what has changed is noticed, and nothing overwritten."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from places import ROOT
from toy_benchmark import toy_benchmark
from verifying import outcomes

from icl_curriculum.core.errors import UserError
from icl_curriculum.evaluation.benchmark_banks import bank_of
from icl_curriculum.function_classes import Linear
from icl_curriculum.results.scorecard import frozen
from icl_curriculum.verify.record_benchmark import record

LINEAR, SPARSE = "linear/gaussian/none", "sparse_linear/gaussian/none"

PROTOCOL = """
dims = 3
points = 5
function_classes = ["linear", "sparse_linear"]
training = { steps = 8, batch_size = 4 }
evaluation = { n_prompts = 64, shifts = ["label_noise", "longer_prompts", { name = "scaled_inputs", factor = 2.0 }] }
"""


def test_what_is_recorded_are_the_prompts_and_the_best_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "protocol.toml").write_text(PROTOCOL)
    assert record(tmp_path / "toy.json", protocol=tmp_path / "protocol.toml") == 8
    monkeypatch.setattr(frozen, "FROZEN", tmp_path / "toy.json")
    made = frozen.benchmark()
    assert (made.prompts, made.trained) == (32, (LINEAR, SPARSE))
    assert {bank.name: bank.axis for bank in made.banks.values() if "sparse" in bank.name} == {
        SPARSE: "linear_functions",
        "sparse_linear/gaussian/label_noise/0.5": "label_noise",
        "sparse_linear/gaussian/longer_prompts/2": "longer_prompts",
        "sparse_linear/gaussian/scaled_inputs/2": "other_scales",
    }
    assert made.banks[LINEAR].known
    assert not made.banks[SPARSE].known
    prompts = bank_of(made, made.banks[LINEAR]).draw()
    for k in range(1, 5):
        left = [
            (q @ np.linalg.lstsq(xs[:k], ys[:k], rcond=None)[0] - target) ** 2
            for xs, ys, q, target in zip(
                prompts.xs.double().numpy(), prompts.ys.double().numpy(), prompts.query()[:, k].double().numpy(),
                prompts.targets[:, k].double().numpy(), strict=True,
            )
        ]  # fmt: skip
        assert made.banks[LINEAR].best[k] == pytest.approx(np.mean(left) / 3, abs=1e-6)
    # Where all three weights may differ from 0, the posterior mean is exact from three examples on.
    assert [made.banks[SPARSE].best[k] for k in (3, 4)] == pytest.approx([0, 0], abs=1e-6)
    assert len(made.banks["linear/gaussian/longer_prompts/2"].best) == 9
    before = (tmp_path / "toy.json").read_bytes()
    with pytest.raises(UserError, match="is written down already; another benchmark has another name"):
        record(tmp_path / "toy.json", protocol=tmp_path / "protocol.toml")
    assert (tmp_path / "toy.json").read_bytes() == before


def test_a_changed_generator_or_optimum_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy_benchmark(tmp_path, monkeypatch)
    content = json.loads(frozen.FROZEN.read_text())
    content["banks"][SPARSE]["hash"] = "0123456789abcdef"
    content["banks"]["quadratic/gaussian/none"]["fingerprint"]["xs"][1] *= 2
    content["banks"]["quadratic/gaussian/none"]["hash"] = "0123456789abcdef"
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(content))
    monkeypatch.setattr(frozen, "FROZEN", path)
    oracle = Linear.oracle
    monkeypatch.setattr(Linear, "oracle", lambda self, prompts: oracle(self, prompts) * 0.9)
    found = outcomes("benchmark", f"({LINEAR}|{SPARSE}|quadratic/gaussian/none): .*")
    assert (found[f"{LINEAR}: prompts"].holds, found[f"{LINEAR}: prompts"].found) == (True, "same bytes")
    # Another hash of the same numbers is that of other last bits.
    assert (found[f"{SPARSE}: prompts"].holds, found[f"{SPARSE}: prompts"].found) == (
        True, "same prompts, other last bits",
    )  # fmt: skip
    assert found[f"{LINEAR}: best errors"].holds is False
    changed = found["quadratic/gaussian/none: prompts"]
    assert changed.holds is False
    assert "make another benchmark" in changed.note


def test_the_record_ships_with_the_package() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert any(
        frozen.FROZEN.match(pattern) for pattern in setuptools["package-data"]["icl_curriculum.results.scorecard"]
    )
    assert setuptools["package-dir"]["icl_curriculum.leaderboard"] == "results"
    # Of the optimum of linear functions: what is left of 5 weights after k examples.
    best = frozen.benchmark().banks[LINEAR].best
    assert np.array([best[k] for k in range(6)]) == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0], abs=0.15)
