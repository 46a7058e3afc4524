"""Error by pool size, as a reader would notice it: what is compared, where, and with what words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_tables import make_tables, write
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from reading_figures import band, legend_labels, line, panels, said, texts, tick_labels

from icl_curriculum import figures
from icl_curriculum.figures import drawing
from icl_curriculum.results.tables import read_table

K = 4
FRESH = "noisy_linear/label_noise=0.5"
RIDGE = 0.25


def model_error(size: int | None, seed: int, on_pool: bool) -> float:
    return (RIDGE + (-0.2 if on_pool else 0.5) / (size or 1e9)) * (1 + 0.2 * seed)


def posterior_mean_error(size: int, on_pool: bool) -> float:
    return RIDGE * (1 - 1 / size) if on_pool else 1.5 / np.log2(2 * size)


def make_pools(
    sizes: Sequence[int | None] = (2, 16, 64),
    seeds: Sequence[int] = (0, 1, 2),
    *,
    fresh: str = FRESH,
    oracle: float = RIDGE,
) -> pd.DataFrame:
    """A variant per size, evaluated on its own pool and on fresh functions; None: trained on fresh functions."""
    rows: list[dict[str, Any]] = []
    for size in sizes:
        variant = f"pool={size}"
        pooled = [(f"{fresh}/pool_size={size}", True)] if size else []
        for seed in seeds:
            for name, on_pool in [*pooled, (fresh, False)]:
                errors = {
                    ("model", "model"): model_error(size, seed, on_pool),
                    ("zero", "baseline"): 1.0,
                    ("averaging", "baseline"): 0.9,
                    ("ridge", "baseline"): RIDGE,
                }
                if size:
                    errors["dmmse", "baseline"] = posterior_mean_error(size, on_pool)
                if not on_pool:
                    errors["oracle", "oracle"] = oracle
                for ((learner, kind), error), k in ((item, k) for item in errors.items() for k in range(K + 1)):
                    value = error if k == K else 1.0
                    rows.append(
                        {
                            "experiment": "pools", "run": f"{variant}-seed{seed}", "variant": variant, "seed": seed,
                            "step": 100, "learner": learner, "learner_kind": kind, "function_class": name,
                            "input_distribution": "gaussian", "shift": "none",
                            "in_distribution": on_pool or not size, "n_context": k, "metric": "normalized_error",
                            "value": value, "ci_low": 0.9 * value, "ci_high": 1.1 * value, "n_prompts": 64,
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def drawn() -> Figure:
    return figures.error_by_pool_size(make_pools())


def test_the_pool_stands_beside_fresh_functions(drawn: Figure) -> None:
    assert list(panels(drawn)) == ["functions of the pool", "fresh functions"]
    assert "At k = 4 in-context examples." in said(drawn)
    for axes in drawn.axes:
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert axes.get_xlabel() == "functions in the training pool"
    assert drawn.axes[0].get_ylabel() == "normalized error\n(1 = predicting zero)"


def test_the_model_has_its_mean_and_range_over_seeds_at_every_size(drawn: Figure) -> None:
    for axes, on_pool in zip(drawn.axes, (True, False), strict=True):
        sizes, errors = line(axes, "model")
        assert sizes.tolist() == [2, 16, 64]
        assert errors == pytest.approx([1.2 * model_error(size, 0, on_pool) for size in (2, 16, 64)])
        span = band(axes, "model range")[16]
        assert span == pytest.approx([model_error(16, seed, on_pool) for seed in (0, 2)])


def test_the_references_are_of_each_size(drawn: Figure) -> None:
    for axes, on_pool in zip(drawn.axes, (True, False), strict=True):
        expected = [posterior_mean_error(size, on_pool) for size in (2, 16, 64)]
        assert line(axes, "dmmse")[1] == pytest.approx(expected)
        assert line(axes, "ridge")[1] == pytest.approx([RIDGE] * 3)
    assert {"posterior mean over the pool (dMMSE)", "ridge", "model, mean of 3 seeds"} <= {*legend_labels(drawn)}
    assert "averaging" not in legend_labels(drawn)


def test_an_oracle_is_shown_unless_it_looks_like_ridge(drawn: Figure) -> None:
    assert "optimum (oracle)" not in legend_labels(drawn)
    assert "Left out where indistinguishable from a line that is shown: optimum (oracle)." in said(drawn)
    other = figures.error_by_pool_size(make_pools(oracle=0.1))
    assert line(panels(other)["fresh functions"], "oracle")[1] == pytest.approx([0.1] * 3)


def test_sizes_are_powers_of_two(drawn: Figure) -> None:
    assert [label.get_text() for label in tick_labels(drawn.axes[0], "x")] == [f"$2^{{{n}}}$" for n in range(1, 7)]
    wide = figures.error_by_pool_size(make_pools([2, 2**24], [0]))
    assert [label.get_text() for label in tick_labels(wide.axes[0], "x")][:2] == ["$2^{1}$", "$2^{3}$"]
    between = figures.error_by_pool_size(make_pools([100, 120], [0]))
    assert [label.get_text() for label in tick_labels(between.axes[0], "x")] == ["100", "120"]


def test_a_model_trained_on_fresh_functions_is_a_line_beside_the_others() -> None:
    figure = figures.error_by_pool_size(make_pools([2, 16, None]))
    _, errors = line(panels(figure)["fresh functions"], "without pool")
    assert errors == pytest.approx([1.2 * RIDGE] * 2)
    assert "model trained on fresh functions" in legend_labels(figure)
    assert "without pool" not in {item.get_gid() for item in panels(figure)["functions of the pool"].lines}


def test_classes_have_panels_of_their_own() -> None:
    figure = figures.error_by_pool_size(pd.concat([make_pools(), make_pools(fresh="quadratic")]))
    names = [f"{name}\n{which}" for name in ("noisy linear (label noise = 0.5)", "quadratic")
             for which in ("functions of the pool", "fresh functions")]  # fmt: skip
    assert list(panels(figure)) == names


def test_without_fresh_functions_there_is_one_panel() -> None:
    table = make_pools()
    assert list(panels(figures.error_by_pool_size(table[table["in_distribution"]]))) == ["functions of the pool"]


def test_two_sizes_are_needed() -> None:
    two_in_one = make_pools([2, 16]).assign(variant="both")
    for table in (make_pools([16]), make_pools([16, None]), make_pools().iloc[:0], two_in_one):
        with pytest.raises(figures.NothingToDraw, match="two sizes"):
            figures.error_by_pool_size(table)


def test_variants_with_pools_of_one_size_are_averaged() -> None:
    again = make_pools([16], [0]).assign(variant="again", run="again")
    figure = figures.error_by_pool_size(pd.concat([make_pools([2, 16], [0]), again]))
    assert "Variants whose pools are of one size are averaged." in said(figure)


@pytest.mark.parametrize("sizes", [[2, 4], [2**n for n in range(1, 13)], [2, None, 3, 2**20]])
def test_nothing_overlaps_or_leaves_the_figure(sizes: list[int | None]) -> None:
    figure = figures.error_by_pool_size(make_pools(sizes, [0, 1], oracle=0.1))
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    boxes = [(text, text.get_window_extent().padded(-1)) for text in texts(figure)]
    edges = figure.bbox.padded(1)
    assert not [text for text, box in boxes if box.x0 < edges.x0 or box.x1 > edges.x1 or box.y0 < edges.y0]
    assert not [(a, b) for i, (a, box) in enumerate(boxes) for b, other in boxes[:i] if box.overlaps(other)]
    (legend,) = figure.legends
    assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes)


def test_one_file_shows_all_variants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_pools([2, 16], [0])
    empty = {name: rows.iloc[:0] for name, rows in make_tables(["linear"], [0], shifts=()).items()}
    write(empty | {"evaluation": table}, tmp_path)
    save = drawing._save

    def save_one(figure: Figure, stem: Path) -> Path:
        return save(figure, stem) if stem.name == "error_by_pool_size" else Path(f"{stem}.png")

    monkeypatch.setattr(drawing, "_save", save_one)
    drawn = [path.stem for path in figures.draw_all(tmp_path)]
    assert drawn[:3] == ["error_by_examples_pool=2", "error_by_examples_pool=16", "error_by_pool_size"]
    # Without learning curves, as of imported runs, the final errors of variants are set side by side.
    assert drawn[3:] == ["errors_by_seed", "trained_by_asked"]
    save(figures.error_by_pool_size(read_table(tmp_path, "evaluation")), tmp_path / "again")
    for suffix in (".png", ".svg"):
        assert (tmp_path / f"again{suffix}").read_bytes() == (tmp_path / f"figures/{drawn[2]}{suffix}").read_bytes()
