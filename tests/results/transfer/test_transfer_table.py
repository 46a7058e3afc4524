"""transfer.csv against a few lines of numpy, from made-up tables whose every error is chosen."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_transfer import CAUCHY, LINEAR, PARITY, QUADRATIC, SKEWED, TREE, K, Told, errors, ladder, write_folder
from scipy import stats

import icl_curriculum
from icl_curriculum.core.errors import UserError
from icl_curriculum.results.transfer.domains import adaptation_names

MAML = Told(
    "maml", errors((0.15, 0.2, 0.16), (0.6, 0.75, 0.7), (0.5, 0.6, 0.5)), method="maml", operations=1500,
    changes={"training": {"optimizer": {"learning_rate": 0.01}}, "curriculum": {"draw": "prompt"},
             "model": {"attention": "explicit"}},
)  # fmt: skip


def made(folder: Path, told: Sequence[Told], **options: bool) -> pd.DataFrame:
    return icl_curriculum.transfer(write_folder(folder / "made_up", told, **options))


def row(table: pd.DataFrame, variant: str, domain: str, comparison: str = "none", **more: str) -> pd.Series:
    wanted = {"variant": variant, "domain": domain, "comparison": comparison, "adaptation": "unadapted", **more}
    found = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(found) == 1, found
    return found.iloc[0]


def check_difference(found: pd.Series, differences: Sequence[float]) -> None:
    """A t interval; the bootstrap's standard error is s / sqrt(n) up to its sampling."""
    n = len(differences)
    reach = stats.t.ppf(0.95, n - 1) * np.std(differences, ddof=1) / math.sqrt(n)
    assert found["difference"] == pytest.approx(np.mean(differences))
    assert found["resolvable"] == pytest.approx(reach, rel=0.05)
    assert found["difference_high"] - found["difference"] == pytest.approx(found["resolvable"])
    assert found["difference"] - found["difference_low"] == pytest.approx(found["resolvable"])
    assert found["n_pairs"] == n


def test_errors_of_each_domain(tmp_path: Path) -> None:
    table = made(tmp_path, [*ladder(), MAML])
    assert set(table["n_context"]) == {K}  # 4 d, of longer prompts
    assert set(table["metric"]) == {"normalized_error"}
    seen = row(table, "maml", "seen")
    values = np.sort([*MAML.errors[LINEAR], *MAML.errors[QUADRATIC]])
    # Of six values, a quarter is one.
    assert seen["error"] == pytest.approx(values[1:-1].mean())
    assert seen["median"] == pytest.approx(np.median(values))
    assert seen["ci_low"] < seen["error"] < seen["ci_high"]
    assert (seen["n_cells"], seen["n_seeds"], seen["method"], seen["steps"]) == (2, 3, "maml", 100)
    classes = np.sort([*MAML.errors[TREE], *MAML.errors[PARITY]])
    assert row(table, "maml", "unseen_classes")["error"] == pytest.approx(classes[1:-1].mean())
    # An unseen class under unseen inputs, with errors of 9, and scaled outputs are of no domain.
    inputs = row(table, "maml", "unseen_inputs")
    assert inputs["error"] == pytest.approx(np.mean(MAML.errors[SKEWED]))
    assert inputs["n_cells"] == 1
    # Plain variants are compared with nothing.
    assert set(table[table["method"] == "in_context"]["comparison"]) == {"none"}


def test_at_equal_updates_seeds_are_paired(tmp_path: Path) -> None:
    table = made(tmp_path, [*ladder(), MAML])
    plain = next(told for told in ladder() if told.steps == 100)
    for domain, cells in {
        "seen": (LINEAR, QUADRATIC), "unseen_classes": (TREE, PARITY), "unseen_inputs": (SKEWED,),
    }.items():  # fmt: skip
        found = row(table, "maml", domain, "equal_updates")
        ours, theirs = (np.mean([told.errors[cell] for cell in cells], axis=0) for told in (MAML, plain))
        check_difference(found, ours - theirs)
        assert found["versus"] == "plain_100"
        assert found["versus_error"] == pytest.approx(theirs.mean())
        assert (found["n_seeds"], found["versus_seeds"]) == (3, 3)
        assert pd.isna(found["note"])


def test_at_equal_operations_the_ladder_is_read_in_their_logarithm(tmp_path: Path) -> None:
    found = row(made(tmp_path, [*ladder(), MAML]), "maml", "unseen_classes", "equal_operations")
    assert found["versus"] == "plain_50 plain_100 plain_200"
    # 1500 operations for each of 100 updates, where plain updates take 1000.
    at = [np.mean([told.errors[TREE], told.errors[PARITY]], axis=0) for told in ladder()]
    share = math.log(1.5) / math.log(2)
    theirs = (1 - share) * at[1] + share * at[2]
    ours = np.mean([MAML.errors[TREE], MAML.errors[PARITY]], axis=0)
    check_difference(found, ours - theirs)
    assert found["versus_error"] == pytest.approx(theirs.mean())


def test_at_equal_seen_error_the_ladder_is_read_in_its_logarithm(tmp_path: Path) -> None:
    table = made(tmp_path, [*ladder(), MAML])
    found = row(table, "maml", "unseen_inputs", "equal_seen_error")
    seen = [1.1 * np.array(told.errors[LINEAR]) for told in ladder()]
    at = [np.array(told.errors[SKEWED]) for told in ladder()]
    own = 1.1 * np.array(MAML.errors[LINEAR])
    theirs = [
        np.interp(-np.log(own[i]), -np.log([rung[i] for rung in seen]), [rung[i] for rung in at]) for i in range(3)
    ]
    check_difference(found, np.array(MAML.errors[SKEWED]) - theirs)
    # The error at which it is read is compared with nothing.
    assert not ((table["domain"] == "seen") & (table["comparison"] == "equal_seen_error")).any()


def test_what_the_ladder_does_not_reach_is_no_number_and_says_so(tmp_path: Path) -> None:
    better = dataclasses.replace(
        MAML, variant="better", errors=errors((0.05, 0.06, 0.07), (0.6, 0.7, 0.8), (0.5, 0.6, 0.7)), operations=9000
    )
    worse = dataclasses.replace(
        MAML, variant="worse", errors=errors((0.9, 0.2, 0.16), (0.6, 0.7, 0.8), (0.5, 0.6, 0.7))
    )
    table = made(tmp_path, [*ladder(), better, worse])
    found = row(table, "better", "unseen_inputs", "equal_seen_error")
    assert pd.isna(found[["difference", "versus_error", "resolvable"]]).all()
    assert (found["n_pairs"], found["versus_seeds"]) == (0, 3)
    assert found["note"] == "the ladder's best seen error is 0.136, it is 0.066"
    found = row(table, "better", "unseen_inputs", "equal_operations")
    assert found["note"] == "the ladder takes 50 k to 200 k operations, it 900 k"
    assert pd.isna(found["difference"])
    found = row(table, "worse", "unseen_inputs", "equal_seen_error")
    assert found["note"] == "seed 0: the ladder's worst seen error is 0.440, it is 0.990"
    assert found["n_pairs"] == 2


def test_limited_data_is_compared_with_limited_data(tmp_path: Path) -> None:
    limited = dataclasses.replace(MAML, variant="maml_limited", fixed_prompts=64)
    other = dataclasses.replace(MAML, variant="maml_other", fixed_prompts=16)
    # What `limited` has, plain training has too, were it on the same data.
    table = made(tmp_path, [limited, other, MAML, *ladder(64, "limited"), *ladder()])
    assert row(table, "maml", "unseen_classes", "equal_updates")["versus"] == "plain_100"
    assert row(table, "maml_limited", "unseen_classes", "equal_updates")["versus"] == "limited_100"
    assert row(table, "maml_limited", "seen", "equal_operations")["versus"] == "limited_50 limited_100 limited_200"
    found = row(table, "maml_other", "seen", "equal_updates")
    assert found["note"] == (
        "no plain variant has 100 steps of 8 prompts and training.fixed_prompts = 16 on the same cells"
    )
    assert row(table, "maml_other", "seen", "equal_operations")["note"].startswith("no plain variants make a ladder")
    assert pd.isna(row(table, "maml", "seen")["fixed_prompts"])
    assert row(table, "maml_limited", "seen")["fixed_prompts"] == 64


def test_of_several_plain_variants_the_closest_counts(tmp_path: Path) -> None:
    same_draw = dataclasses.replace(
        ladder()[1],
        variant="plain_prompt",
        changes={"curriculum": {"draw": "prompt"}, "model": {"attention": "explicit"}},
    )
    wider = dataclasses.replace(ladder()[2], variant="wider", changes={"model": {"width": 32}})
    table = made(tmp_path, [*ladder()[:2], same_draw, wider, MAML])
    assert row(table, "maml", "seen", "equal_updates")["versus"] == "plain_prompt"
    # A model of another size is no rung.
    assert row(table, "maml", "seen", "equal_operations")["versus"] == "plain_50 plain_prompt"


def test_other_cells_in_training_are_other_domains(tmp_path: Path) -> None:
    """A class is seen by those alone who trained on it, and what is unseen differs then."""
    alone = dataclasses.replace(MAML, variant="alone", trained=(LINEAR,))
    table = made(tmp_path, [*ladder(), alone])
    assert row(table, "alone", "seen")["n_cells"] == 1
    assert row(table, "alone", "unseen_classes")["n_cells"] == 3
    assert "on the same cells" in row(table, "alone", "seen", "equal_updates")["note"]


def test_adapted_models_are_compared_with_adapted_ones(tmp_path: Path) -> None:
    halved = {cell: [value / 2 for value in values] for cell, values in MAML.errors.items()}
    maml = dataclasses.replace(MAML, adapted={"model/adapted=20/rate=0.1": halved})
    plain = []
    for told in ladder():
        third = {cell: [value / 3 for value in values] for cell, values in told.errors.items()}
        plain.append(dataclasses.replace(told, adapted={"model/adapted=20/rate=0.01": third}))
    table = made(tmp_path, [*plain, maml])
    found = row(table, "maml", "unseen_inputs", "equal_updates", adaptation="adapted=20")
    check_difference(found, np.array(halved[SKEWED]) - np.array(ladder()[1].errors[SKEWED]) / 3)
    assert found["learner"] == "model/adapted=20/rate=0.1"
    # Seen errors are those without adaptation, also where adapted models are compared.
    unadapted = row(table, "maml", "unseen_inputs", "equal_seen_error")
    adapted = row(table, "maml", "unseen_inputs", "equal_seen_error", adaptation="adapted=20")
    assert adapted["versus_error"] == pytest.approx(unadapted["versus_error"] / 3)
    row(table, "maml", "seen", "equal_seen_error", adaptation="adapted=20")


def test_rates_stand_in_names_of_adaptations_only_where_one_variant_has_two() -> None:
    twice = [("a", "model/adapted=20/rate=0.1"), ("a", "model/adapted=20/rate=0.01"), ("b", "model/adapted=5/rate=0.1")]
    assert list(adaptation_names([("a", "model"), *twice]).values()) == [
        "unadapted", "adapted=20/rate=0.1", "adapted=20/rate=0.01", "adapted=5",
    ]  # fmt: skip


def test_cells_of_infinite_mean_have_rows_of_their_own(tmp_path: Path) -> None:
    with_cauchy = [
        dataclasses.replace(told, errors={**told.errors, CAUCHY: [0.5, 0.6, 0.7]}, medians=(CAUCHY,))
        for told in (*ladder(), MAML)
    ]
    table = made(tmp_path, with_cauchy)
    own = row(table, "maml", "unseen_inputs", metric="median_error")
    assert (own["error"], own["n_cells"]) == (pytest.approx(0.6), 1)
    assert row(table, "maml", "unseen_inputs", metric="normalized_error")["n_cells"] == 1
    # It is read at the normalized error on seen cells.
    found = row(table, "maml", "unseen_inputs", "equal_seen_error", metric="median_error")
    assert found["difference"] == pytest.approx(0.0, abs=1e-12)


def test_seeds_that_one_side_alone_has(tmp_path: Path) -> None:
    table = made(tmp_path, [*ladder(), dataclasses.replace(MAML, seeds=(0, 1, 7))])
    found = row(table, "maml", "seen", "equal_updates")
    assert found["note"] == "only on one side: seeds 2 and 7"
    assert (found["n_seeds"], found["versus_seeds"], found["n_pairs"]) == (3, 3, 2)


def test_one_seed_gives_no_interval_and_an_overflow_no_difference(tmp_path: Path) -> None:
    one = Told("maml", errors((0.1,), (0.2,), (math.nan,)), method="maml")
    table = made(
        tmp_path, [*(dataclasses.replace(t, errors={c: v[:1] for c, v in t.errors.items()}) for t in ladder()), one]
    )
    found = row(table, "maml", "seen", "equal_updates")
    assert not math.isnan(found["difference"])
    assert pd.isna(found[["difference_low", "difference_high", "resolvable", "ci_low", "ci_high"]]).all()
    assert row(table, "maml", "unseen_inputs")["error"] == math.inf
    found = row(table, "maml", "unseen_inputs", "equal_updates")
    assert (found["note"], found["n_pairs"]) == ("an error is infinite", 1)
    assert pd.isna(found["difference"])


def test_without_the_ledger_of_operations(tmp_path: Path) -> None:
    found = row(made(tmp_path, [*ladder(), MAML], exposure=False), "maml", "seen", "equal_operations")
    assert found["note"] == "there is no exposure.csv, which tells what training took"


def test_equal_tables_give_equal_bytes_whatever_the_order_of_their_rows(tmp_path: Path) -> None:
    told = [*ladder(), MAML, dataclasses.replace(MAML, variant="limited", fixed_prompts=64)]
    first = write_folder(tmp_path / "first", told)
    icl_curriculum.transfer(first)
    other = write_folder(tmp_path / "other" / "first", told[::-1], shuffled=1)
    icl_curriculum.transfer(other)
    assert (other / "transfer.csv").read_bytes() == (first / "transfer.csv").read_bytes()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no results for"):
        icl_curriculum.transfer("nowhere", results=tmp_path)


def test_seeds_of_other_kinds_of_device_are_not_paired(tmp_path: Path) -> None:
    table = made(tmp_path, [*ladder(), dataclasses.replace(MAML, device="cuda:1")])
    for comparison in ("equal_updates", "equal_operations", "equal_seen_error"):
        found = row(table, "maml", "unseen_classes", comparison)
        assert found["n_pairs"] == 0
        assert math.isnan(found["difference"])
        assert found["note"] == "made on another kind of device, and so not paired: seeds 0, 1 and 2"
    together = made(tmp_path / "together", [*ladder(), MAML])
    assert row(table, "maml", "unseen_classes")["error"] == row(together, "maml", "unseen_classes")["error"]
