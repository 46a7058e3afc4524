"""Runs of different kinds of device: what is said of them, and that no table pairs them seed by seed."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up_outcomes import LINEAR, made_up, variant
from made_up_scorecard import card_of, told
from resealed import reseal
from several_variants import VARIANTS, trained
from tiny_runs import Icl, tiny_values, write_toml

from icl_curriculum.config.loading import load
from icl_curriculum.results.comparison.answers import answers
from icl_curriculum.results.comparison.summary import Numbers, summary
from icl_curriculum.results.device_kinds import device_of_run, mixed_devices, of_one_kind
from icl_curriculum.results.scorecard.answer import scorecard_answer
from icl_curriculum.runs.launch import launch

# Pictures are tested in tests/figures and tests/pages.
pytestmark = pytest.mark.usefixtures("unpictured")

SAID = (
    "The runs were made on different kinds of device, which train on other prompts and round otherwise: on cpu alone, "
    "mixed (seed 1); on cuda sequential, mixed (seed 0). Runs of one seed are paired only where both were made on the "
    "same kind."
)
OF_SEEDS = "The seeds of mixed were made on different kinds of device: what they differ by may not be the seed alone."


def elsewhere(experiment: Path, *runs: str) -> None:
    """Have runs of an experiment be made on CUDA, as far as their manifests say."""
    for run in runs:
        reseal(experiment / run / "manifest.json", {"device": "cuda:1"})


@pytest.mark.parametrize(
    ("manifest", "device"),
    [
        ({"device": "cpu"}, "cpu"),
        ({"device": "cuda:3"}, "cuda"),
        ({"device": "cuda", "evaluated_with": {"device": "cpu"}}, "cuda, evaluated on cpu"),
        ({"device": "cuda:0", "evaluated_with": {"device": "cuda:1"}}, "cuda"),
        ({"device": 7}, None),
        ({}, None),
    ],
)
def test_the_device_of_a_run_is_its_kind(manifest: dict[str, Any], device: str | None) -> None:
    assert device_of_run(manifest) == device


def test_runs_are_of_one_kind_unless_something_is_known_to_differ() -> None:
    assert of_one_kind("cuda", "cuda")
    assert of_one_kind("cuda", None)
    assert not of_one_kind("cuda", "cpu")
    assert not of_one_kind("cuda", "cuda, evaluated on cpu")


def test_devices_are_spoken_of_where_they_differ() -> None:
    assert mixed_devices({("alone", 0): "cpu", ("alone", 1): "cpu"}) == []
    kinds = {("alone", 0): "cpu", ("sequential", 0): "cuda", ("mixed", 0): "cuda", ("mixed", 1): "cpu"}
    assert mixed_devices(kinds) == [SAID, OF_SEEDS]


def compared(table: pd.DataFrame, one: str, other: str) -> dict[str, float]:
    rows = table[(table["variant"] == one) & (table["versus"] == other) & (table["quantity"] == "error")]
    return dict(zip(rows["statistic"], rows["n_seeds"], strict=True))


def test_only_seeds_of_one_kind_of_device_are_paired() -> None:
    found = made_up(
        {
            "alone": variant({LINEAR: [0.3, 0.4, 0.5]}, devices=["cpu", "cpu", "cpu"]),
            "mixed": variant({LINEAR: [0.2, 0.3, 0.4]}, devices=["cpu", "cuda", "cpu"]),
            "other": variant({LINEAR: [0.1, 0.1, 0.1]}, devices=["cuda", "cuda", "cuda"]),
        }
    )
    table = summary(found)
    mixed = compared(table, "mixed", "alone")
    assert (mixed["paired_difference"], mixed["seeds_better"], mixed["mean"]) == (2, 2, 3)
    other = compared(table, "other", "alone")
    assert "paired_difference" not in other
    assert "seeds_better" not in other
    # What takes no pairs is said all the same.
    assert other["probability_of_improvement"] == 3
    exposure = table[table["quantity"].isin(["error_at_equal_exposure", "error_at_equal_steps"])]
    assert exposure[(exposure["variant"] == "other") & (exposure["versus"] == "alone")].empty
    (said,) = [answer for answer in answers(found, Numbers(table)) if answer.heading != "All together"]
    assert "not judged with `other`, of fewer than two seeds in common on one kind of device" in " ".join(
        said.sentences
    )


def test_where_all_are_of_one_kind_every_number_is_what_it_was() -> None:
    def of(devices: list[str]) -> pd.DataFrame:
        return summary(
            made_up(
                {
                    "alone": variant({LINEAR: [0.3, 0.4]}, devices=devices),
                    "mixed": variant({LINEAR: [0.2, 0.3]}, devices=devices),
                }
            )
        )

    pd.testing.assert_frame_equal(of(["cuda", "cuda"]), of([]))


def test_compare_says_which_runs_are_not_paired(tmp_path: Path, icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    several = trained(tmp_path)
    elsewhere(several, "sequential-seed0", "sequential-seed1", "mixed-seed0")
    code, _, said = icl("compare", "several")
    assert code == 0
    assert f"note: {SAID}" in " ".join(said.split())
    assert f"note: {OF_SEEDS}" in " ".join(said.split())
    table = pd.read_csv(several / "summary.csv")
    own = table[(table["function_class"] == "quadratic") & (table["versus"] == "alone")]
    assert compared(own, "mixed", "alone")["paired_difference"] == 1
    assert "paired_difference" not in compared(own, "sequential", "alone")
    # A copy of the tables alone knows it from runs.csv.
    for run in several.glob("*-seed*"):
        shutil.rmtree(run)
    assert SAID in " ".join(icl("compare", "several")[2].split())


def test_compare_says_that_experiments_of_different_devices_are_not_paired(
    tmp_path: Path, icl: Icl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained(tmp_path, "here")
    there = trained(tmp_path, "there")
    elsewhere(there, *(run.name for run in there.glob("*-seed*")))
    code, _, said = icl("compare", "here", "there")
    assert code == 0
    assert (
        "round otherwise: on cpu here/alone, here/sequential, here/mixed; on cuda there/alone, there/sequential, "
        "there/mixed. Runs of one seed"
    ) in " ".join(said.split())
    table = pd.read_csv(tmp_path / "results/compare/summary.csv")
    assert "paired_difference" not in compared(table[table["function_class"] == "linear"], "there/mixed", "here/mixed")


def test_the_report_says_it_too(tmp_path: Path, icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    several = trained(tmp_path)
    elsewhere(several, "mixed-seed0")
    assert icl("report", "several")[0] == 0
    assert OF_SEEDS in (several / "report.html").read_text(encoding="utf-8")


def test_who_gives_the_command_again_on_another_device_is_told_at_its_end(tmp_path: Path) -> None:
    values = tiny_values(
        {"name": "several", "seeds": [0, 1], "description": "Does it <compare>?", "variants": VARIANTS}
    )
    runs = load(str(write_toml(tmp_path / "several.toml", values)))
    elsewhere(trained(tmp_path), "sequential-seed0", "sequential-seed1", "mixed-seed0")
    ended = launch(runs, tmp_path / "results", jobs=0, report=lambda progress: None)
    assert len(ended.skipped) == 6
    assert ended.warnings[-2:] == [SAID, OF_SEEDS]


def test_learners_of_different_devices_are_not_paired_on_the_scorecard(tmp_path: Path) -> None:
    here = told("here", {0: 0.5, 1: 0.6}, devices={0: "cpu", 1: "cpu"})
    half = told("half", {0: 0.4, 1: 0.5}, devices={0: "cpu", 1: "cuda"})
    there = told("there", {0: 0.3, 1: 0.4}, devices={0: "cuda", 1: "cuda"})
    card = card_of(tmp_path, here, half, there)
    pairs = card[card["versus"].notna() & (card["axis"] == "mean")]
    found = {(str(a), str(b)): n for a, b, n in pairs[["learner", "versus", "n_seeds"]].itertuples(index=False)}
    assert found == {("here", "half"): 1, ("half", "there"): 1}
    alone = card_of(tmp_path / "two", here, there)
    assert ", of no seed in common on one kind of device, so that the difference is not resolved" in scorecard_answer(
        alone
    )
    assert not math.isnan(float(pairs["score"].iloc[0]))
