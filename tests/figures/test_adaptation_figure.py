"""Errors against adaptation steps, as a reader would notice them; and all other figures without adapted models."""

from __future__ import annotations

import importlib
from pathlib import Path

import pandas as pd
import pytest
from made_up_tables import K, Tables, make_tables, write
from reading_figures import band, check_layout, legend_labels, line, panels, said

from icl_curriculum import figures
from icl_curriculum.cli.error_tables import error_table
from icl_curriculum.figures.drawing import FIGURES
from icl_curriculum.results.adaptation import AdaptedId
from icl_curriculum.results.comparison.outcomes import outcomes
from icl_curriculum.results.comparison.sources import open_source
from icl_curriculum.results.tables import final

BANK = {5: 0.8, 20: 0.5}


def adapted(table: pd.DataFrame, factors: dict[int, float], options: str = "", k: int | None = None) -> pd.DataFrame:
    """Rows of a model adapted for some steps, with so many times the errors of the model itself."""
    own = table[table["learner"] == "model"]
    own = own if k is None else own[own["n_context"] == k]
    found = []
    for steps, factor in factors.items():
        rows = own.assign(learner="/".join(filter(None, (f"model/adapted={steps}", options))))
        rows[["value", "ci_low", "ci_high"]] *= factor
        found.append(rows)
    return pd.concat(found, ignore_index=True)


def with_adapted(table: pd.DataFrame, *rows: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, *rows], ignore_index=True)


def made(**options: object) -> pd.DataFrame:
    table = make_tables(["linear", "quadratic"], **{"shifts": ("random_quadrants",), **options})["evaluation"]
    return with_adapted(
        table, adapted(table, BANK), adapted(table, {1: 0.9}, "per_prompt", k=5).assign(n_prompts=128),
        adapted(table, {5: 3.0}, "optimizer=adam/rate=0.1"),
    )  # fmt: skip


def longest(table: pd.DataFrame, learner: str = "model", k: int = K) -> pd.Series:
    """Errors of linear functions without a shift, by seed."""
    rows = table[(table["learner"] == learner) & (table["function_class"] == "linear") & (table["n_context"] == k)]
    rows = rows[(rows["metric"] == "normalized_error") & (rows["shift"] == "none")]
    return rows[rows["input_distribution"] == "gaussian"].set_index("seed")["value"]


def test_a_line_for_each_way_to_adapt_from_the_model_as_it_is() -> None:
    table = made()
    figure = figures.adaptation(table)
    assert {"linear\nGaussian inputs", "quadratic\nGaussian inputs"} <= {*panels(figure)}
    assert any("random quadrants" in title for title in panels(figure))
    axes = panels(figure)["linear\nGaussian inputs"]
    own = longest(table)
    steps, values = line(axes, "sequential")
    assert steps.tolist() == [0, 5, 20]
    assert values == pytest.approx([own.mean(), 0.8 * own.mean(), 0.5 * own.mean()])
    assert band(axes, "sequential range")[20] == pytest.approx((0.5 * own.min(), 0.5 * own.max()))
    steps, values = line(axes, "sequential per_prompt")
    shorter = longest(table, k=5)
    assert steps.tolist() == [0, 1]
    assert values == pytest.approx([shorter.mean(), 0.9 * shorter.mean()])
    assert line(axes, "sequential optimizer=adam/rate=0.1")[1][1] == pytest.approx(3 * own.mean())
    assert {"on a bank", "per prompt (k = 5)", "on a bank, Adam, rate = 0.1"} == {*legend_labels(figure)}
    note = said(figure)
    assert "On 128 prompts instead of 256: per prompt." in note
    assert "At k = 10 in-context examples; 0 steps: the model as it is." in note
    assert "Lines: mean of 3 seeds; bands: minimum to maximum over seeds." in note
    check_layout(figure, "adaptation")


def test_variants_have_lines_of_their_own() -> None:
    figure = figures.adaptation(made(variants=("mixed", "alone"), seeds=(0,), shifts=()))
    assert {"mixed: on a bank", "alone: on a bank"} <= {*legend_labels(figure)}


def test_one_seed_has_the_interval_over_prompts_and_what_diverged_is_drawn_at_the_upper_bound() -> None:
    table = made(seeds=(0,), shifts=())
    table.loc[table["learner"] == "model/adapted=20", ["value", "ci_low", "ci_high"]] = float("nan")
    figure = figures.adaptation(table)
    assert "Bands: confidence interval over prompts." in said(figure)
    axes = panels(figure)["linear\nGaussian inputs"]
    assert band(axes, "sequential range")[5][0] < 0.8 * longest(table).mean()
    assert line(axes, "sequential")[1][2] == 10
    assert "Errors above 10 are drawn at 10." in said(figure)


def test_of_many_cells_those_are_left_out_that_adaptation_changes_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("icl_curriculum.figures.adaptation"), "MOST_PANELS", 6)
    shifts = tuple(f"scaled_outputs/{factor}" for factor in (2, 3, 19))
    table = make_tables(["linear", "quadratic"], [0], shifts=shifts)["evaluation"]
    rows = adapted(table, BANK)
    rows.loc[rows["shift"] == "scaled_outputs/19", "value"] *= 50
    figure = figures.adaptation(with_adapted(table, rows))
    assert len(figure.axes) == 6
    assert sum("19" in title for title in panels(figure)) == 2
    assert "cells that adaptation changes least." in said(figure)


def test_without_an_adapted_model_there_is_nothing_to_draw(tmp_path: Path) -> None:
    tables = make_tables(["linear"], [0])
    with pytest.raises(figures.NothingToDraw):
        figures.adaptation(tables["evaluation"])
    write(tables, tmp_path)
    assert figures.draw_adaptation(tmp_path) is None


def test_its_file_stands_beside_the_others(tmp_path: Path) -> None:
    tables: Tables = make_tables(["linear"], [0], shifts=())
    more = with_adapted(tables["evaluation"], adapted(tables["evaluation"], BANK))
    write(tables | {"evaluation": more}, tmp_path)
    assert figures.draw_adaptation(tmp_path) == tmp_path / "figures/adaptation.png"
    assert (tmp_path / "figures/adaptation.png").stat().st_size > 10_000
    assert FIGURES["adaptation"].across_variants  # what `icl run` and `icl plot` draw


def test_no_other_figure_table_or_comparison_knows_adapted_models(tmp_path: Path) -> None:
    tables = make_tables(["linear", "quadratic"], (0, 1), variants=("mixed", "alone"), shifts=("random_quadrants",))
    plain, more = tmp_path / "plain", tmp_path / "more"
    evaluation = with_adapted(tables["evaluation"], adapted(tables["evaluation"], BANK))
    for folder, table in ((plain, tables["evaluation"]), (more, evaluation)):
        write(tables | {"evaluation": table}, folder)
    pd.testing.assert_frame_equal(final(evaluation), final(tables["evaluation"]))
    assert sorted(legend_labels(figures.error_by_examples(evaluation))) == sorted(
        legend_labels(figures.error_by_examples(tables["evaluation"]))
    )
    one, other = (outcomes(open_source(folder)) for folder in (plain, more))
    pd.testing.assert_frame_equal(one.rows, other.rows)
    pd.testing.assert_frame_equal(one.shifted, other.shifted)
    printed = [[list(column.cells) for column in error_table(folder).columns] for folder in (plain, more)]
    assert printed[0] == printed[1]


def test_an_id_in_words() -> None:
    assert AdaptedId.parse("model/adapted=20/per_prompt/rate=0.01").words == "per prompt, rate = 0.01"
    assert AdaptedId.parse("model/adapted=3/optimizer=adam/prompts=8") == AdaptedId(3, "optimizer=adam/prompts=8")
