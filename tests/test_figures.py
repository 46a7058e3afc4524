"""Figures, as a reader of them would notice: what is shown, said and written, from made-up tables."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from icl_curriculum import figures
from icl_curriculum.figures.names import inputs_label, learner_styles, pretty, shift_label
from icl_curriculum.figures.panels import columns_for, short_count
from icl_curriculum.registry import UserError

K, STEPS, LEARNING_EVERY, LOG_EVERY, BATCH = 10, 1400, 100, 10, 64
FOUR = ("linear", "sparse_linear", "quadratic", "relu_network")
RATES = {"linear": 0.55, "sparse_linear": 0.4, "quadratic": 0.12, "relu_network": 0.2}
SHIFTS = ("scaled_inputs/0.333", "scaled_inputs/2", "random_quadrants", "label_noise/0.5", "longer_prompts/2")
UNDEFINED = ("relu_network", "random_quadrants")

NAMES = ("error_by_examples", "learning_curves", "out_of_distribution", "curriculum")

Tables = dict[str, pd.DataFrame]
Row = dict[str, Any]


def model_error(function_class: str, k: int, seed: int, difficulty: float = 1.0) -> float:
    return difficulty * (0.02 + float(np.exp(-RATES.get(function_class, 0.15) * k))) * (1 + 0.2 * seed)


def other_errors(function_class: str, k: int) -> dict[tuple[str, str], float]:
    """(learner, kind) -> error. Least squares is optimal for linear; knn is the third best and not shown."""
    optimum = max(0.0, 1 - k / 5)
    errors = {
        ("zero", "baseline"): 1.0,
        ("averaging", "baseline"): 6 / (k + 5),
        ("knn", "baseline"): 1 - 0.03 * k,
        ("least_squares", "baseline"): optimum if function_class == "linear" else max(0.3, optimum),
    }
    if function_class in ("linear", "quadratic"):
        errors["oracle", "oracle"] = optimum
    if function_class == "sparse_linear":
        errors["informed_oracle", "oracle"] = max(0.0, 1 - k / 2)
    return errors


def make_tables(
    classes: Sequence[str] = FOUR,
    seeds: Sequence[int] = (0, 1, 2),
    *,
    inputs: Sequence[str] = ("gaussian",),
    variants: Sequence[str] = ("sequential",),
    untrained: Sequence[str] = (),
    shifts: Sequence[str] = SHIFTS,
    median: Sequence[str] = (),
    block: int | None = None,
) -> Tables:
    """An experiment that trains on one class after another, ``block`` steps each.

    ``median``: classes, or input distributions, for which only the median error is finite.
    """
    block = block or STEPS // len(classes)
    rows: dict[str, list[Row]] = {"learning": [], "evaluation": [], "curriculum": []}

    def metrics(function_class: str, x: str, value: float) -> Iterator[Row]:
        if {function_class, x} & {*median}:
            yield {"metric": "median_error", "value": value}
        else:
            yield {"metric": "squared_error", "value": 5 * value}
            yield {"metric": "normalized_error", "value": value}

    for variant, seed in product(variants, seeds):
        run = {"experiment": "made_up", "run": f"{variant}-seed{seed}", "variant": variant, "seed": seed}
        for (i, name), x in product(enumerate(classes), inputs):
            cell = {"function_class": name, "input_distribution": x}
            for step, k in product(range(0, STEPS + 1, LEARNING_EVERY), range(K + 1)):
                trained = float(np.clip((step - i * block) / 300, 0, 1))
                value = trained * model_error(name, k, seed) + (1 - trained) * (1 + 0.02 * seed)
                at = {"step": step, "prompts_seen": step * BATCH, "n_context": k}
                errors = [row for row in metrics(name, x, value) if row["metric"] != "squared_error"]
                rows["learning"] += [run | cell | at | row for row in errors]
        for step in range(LOG_EVERY, STEPS + 1, LOG_EVERY):
            weights = np.random.default_rng([seed, step]).dirichlet([20] * len(inputs))
            updates = range(step - LOG_EVERY, step)
            trained_on = [min(update // block, len(classes) - 1) for update in updates]
            for (i, name), (j, x) in product(enumerate(classes), enumerate(inputs)):
                share = trained_on.count(i) / LOG_EVERY
                shares = {"planned_share": share / len(inputs), "drawn_share": share * weights[j]}
                cell = {"function_class": name, "input_distribution": x}
                rows["curriculum"].append(run | {"step": step} | cell | shares)

        names = [*classes, *untrained]
        banks = [(name, x, "none") for name, x in product(names, inputs)]
        banks += [(name, "skewed", "none") for name in names if "skewed" not in inputs]
        banks += [bank for bank in product(names, inputs, shifts) if (bank[0], bank[2]) != UNDEFINED]
        for name, x, shift in banks:
            longest = 2 * K if shift.startswith("longer") else K
            difficulty = {"none": 1.0, "scaled_inputs/2": 4.0, "label_noise/0.5": 6.0}.get(shift, 2.0)
            inside = name in classes and x in inputs and shift == "none"
            cell = {"function_class": name, "input_distribution": x, "shift": shift}
            for k in range(longest + 1):
                values = {("model", "model"): model_error(name, k, seed, difficulty if inside else 1.5 * difficulty)}
                for (learner, kind), value in (values | other_errors(name, k)).items():
                    who: Row = {"learner": learner, "learner_kind": kind, "step": STEPS, "in_distribution": inside}
                    for row in metrics(name, x, value):
                        interval = {"ci_low": 0.9 * row["value"], "ci_high": 1.2 * row["value"], "n_prompts": 256}
                        rows["evaluation"].append(run | who | cell | {"n_context": k} | row | interval)
    return {name: pd.DataFrame(of_table) for name, of_table in rows.items()}


def write(tables: Tables, directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(directory / f"{name}.csv", index=False)
    return directory


def draw(figure: str, tables: Tables, **options: Any) -> Figure:
    needed = {"learning_curves": ("learning", "curriculum"), "curriculum": ("curriculum",)}
    function: Callable[..., Figure] = getattr(figures, figure)
    return function(*(tables[name] for name in needed.get(figure, ("evaluation",))), **options)


@pytest.fixture(scope="module")
def four() -> Tables:
    return make_tables()


@pytest.fixture(scope="module")
def drawn(four: Tables) -> dict[str, Figure]:
    """The figures of ``four``, for tests that only look."""
    return {name: draw(name, four) for name in NAMES}


@pytest.fixture(scope="module")
def small() -> Tables:
    return make_tables(["hermite/3"], [0])


def panels(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title(): axes for axes in figure.axes}


def line(axes: Axes, gid: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = [item for item in axes.lines if item.get_gid() == gid]
    return np.asarray(found.get_xdata(), dtype=float), np.asarray(found.get_ydata(), dtype=float)


def vertices(area: Collection) -> np.ndarray:
    return np.asarray(area.get_paths()[0].vertices, dtype=float)


def band(axes: Axes, gid: str) -> dict[float, tuple[float, float]]:
    """x -> (low, high) of a filled band."""
    (found,) = [item for item in axes.collections if item.get_gid() == gid]
    xy = vertices(found)
    return {x: (xy[xy[:, 0] == x, 1].min(), xy[xy[:, 0] == x, 1].max()) for x in np.unique(xy[:, 0])}


def axes_hold(axes: Axes, values: Sequence[float]) -> bool:
    low, high = axes.get_ylim()
    return low <= min(values) and max(values) <= high


def said(figure: Figure) -> str:
    """The note under the title."""
    return " ".join(text.get_text().replace("\n", " ") for text in figure.texts)


def legend_labels(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def tick_labels(axes: Axes, which: str) -> list[Text]:
    """The labels of ticks within view."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.get_majorticklabels()  # brings the ticks up to date
    low, high = sorted(axis.get_view_interval())
    return [t.label1 for t in axis.get_major_ticks() if t.label1.get_visible() and low <= t.get_loc() <= high]


def texts(figure: Figure) -> list[Text]:
    found = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        found += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        found += [*tick_labels(axes, "x"), *tick_labels(axes, "y")]
    return [text for text in found if text.get_text()]


# error by examples


def test_examples_have_a_labelled_panel_per_class(drawn: dict[str, Figure]) -> None:
    figure = drawn["error_by_examples"]
    assert list(panels(figure)) == ["linear", "sparse linear", "quadratic", "ReLU network"]
    assert figure.get_suptitle() == "Error by number of in-context examples"
    for axes in figure.axes:
        assert axes.get_yscale() == "log"
        assert axes.get_xlabel() == "in-context examples k"
        assert axes.get_ylim() == figure.axes[0].get_ylim()
    assert figure.axes[0].get_ylabel() == "normalized error\n(1 = predicting zero)"


def test_classes_without_training_say_so() -> None:
    tables = make_tables(["linear"], [0], untrained=["quadratic"])
    assert list(panels(draw("error_by_examples", tables))) == ["linear", "quadratic\n(not trained on)"]
    assert list(panels(draw("out_of_distribution", tables))) == ["linear", "quadratic\n(not trained on)"]
    tables["learning"] = make_tables(["linear", "quadratic"], [0])["learning"]
    assert list(panels(draw("learning_curves", tables))) == ["linear", "quadratic\n(not trained on)"]


def test_model_line_is_the_mean_and_its_band_the_range_over_seeds(drawn: dict[str, Figure]) -> None:
    axes = panels(drawn["error_by_examples"])["quadratic"]
    ks, values = line(axes, "model")
    by_seed = np.array([[model_error("quadratic", k, seed) for k in range(K + 1)] for seed in range(3)])
    assert ks.tolist() == list(range(K + 1))
    assert values == pytest.approx(by_seed.mean(axis=0))
    spans = band(axes, "model range")
    assert [spans[k][0] for k in ks] == pytest.approx(by_seed.min(axis=0))
    assert [spans[k][1] for k in ks] == pytest.approx(by_seed.max(axis=0))
    thin = sorted(np.asarray(item.get_ydata())[0] for item in axes.lines if item.get_gid() == "model seed")
    assert thin == pytest.approx(by_seed[:, 0])


def test_a_single_seed_has_its_interval_over_prompts(small: Tables) -> None:
    figure = draw("error_by_examples", small)
    spans = band(panels(figure)["Hermite 3"], "model range")
    assert axes_hold(figure.axes[0], spans[0])
    assert spans[0] == pytest.approx((0.9 * model_error("hermite/3", 0, 0), 1.2 * model_error("hermite/3", 0, 0)))
    assert "confidence interval over prompts" in legend_labels(figure)
    assert not any(item.get_gid() == "model seed" for item in figure.axes[0].lines)


def test_a_perfect_oracle_runs_along_the_floor(drawn: dict[str, Figure]) -> None:
    figure = drawn["error_by_examples"]
    axes = panels(figure)["linear"]
    _, values = line(axes, "oracle")
    assert values == pytest.approx([max(1e-3, 1 - k / 5) for k in range(K + 1)])
    assert axes.get_ylim()[0] < 1e-3
    assert "≤0.001" in [label.get_text() for label in tick_labels(axes, "y")]
    assert "Errors below 0.001 are drawn at 0.001." in said(figure)


def test_a_diverged_seed_runs_along_the_ceiling() -> None:
    tables = make_tables(["linear"], [0, 1], shifts=())
    evaluation = tables["evaluation"]
    tables["evaluation"] = evaluation.assign(
        value=evaluation["value"].mask((evaluation["learner"] == "model") & (evaluation["seed"] == 1))
    )
    for name, gid in (("error_by_examples", "model"), ("out_of_distribution", "model")):
        figure = draw(name, tables)
        assert max(np.max(values) for values in line(figure.axes[0], gid)) == 100
        assert "Errors above 100 are drawn at 100." in said(figure)


def test_only_the_best_baselines_that_can_be_told_apart_are_shown(drawn: dict[str, Figure]) -> None:
    figure = drawn["error_by_examples"]
    shown = {
        title: {item.get_gid() for item in axes.lines} - {"model", "model seed"}
        for title, axes in panels(figure).items()
    }
    assert shown == {
        "linear": {"oracle", "zero", "averaging", "knn"},
        "sparse linear": {"informed_oracle", "zero", "least_squares", "averaging"},
        "quadratic": {"oracle", "zero", "least_squares", "averaging"},
        "ReLU network": {"zero", "least_squares", "averaging"},
    }
    assert "Left out where indistinguishable from a line that is shown: least squares." in said(figure)
    assert {"optimum (oracle)", "predicting zero", "least squares", "averaging"} <= {*legend_labels(figure)}


def test_where_only_the_median_is_finite_it_is_shown() -> None:
    tables = make_tables(["quadratic"], [0, 1], median=["quadratic"])
    for name in ("error_by_examples", "learning_curves"):
        assert draw(name, tables).axes[0].get_ylabel() == "median error\n(1 = predicting zero)"
    assert draw("out_of_distribution", tables).axes[0].get_xlabel() == "median error\n(1 = predicting zero)"


def test_several_inputs_have_a_panel_each_and_their_own_metric() -> None:
    tables = make_tables(["linear"], [0], inputs=["gaussian", "student_t"], shifts=SHIFTS[:1], median=["student_t"])
    for name in ("error_by_examples", "learning_curves", "out_of_distribution"):
        figure = draw(name, tables)
        assert list(panels(figure)) == ["linear\nGaussian inputs", "linear\nStudent t inputs"]
        if name != "out_of_distribution":
            assert [axes.get_ylabel().split()[0] for axes in figure.axes] == ["normalized", "median"]
            continue
        assert any(label.startswith("hollow: median error") for label in legend_labels(figure))
        for axes, hollow in zip(figure.axes, (False, True), strict=True):
            at_first_row = [
                item for item in axes.lines if item.get_gid() == "model" and np.asarray(item.get_ydata())[0] < 0.5
            ]
            assert [item.get_markerfacecolor() == "white" for item in at_first_row] == [hollow]


def test_evaluations_before_the_last_step_are_left_out(small: Tables) -> None:
    late = small["evaluation"]
    early = late[late["learner"] == "model"].assign(step=STEPS // 2, value=1.0)
    both = small | {"evaluation": pd.concat([early, late])}
    for figure in ("error_by_examples", "out_of_distribution"):
        shown, expected = (line(draw(figure, tables).axes[0], "model") for tables in (both, small))
        assert np.array_equal(shown, expected)


# learning curves


def test_learning_curves_show_three_context_lengths(drawn: dict[str, Figure]) -> None:
    figure = drawn["learning_curves"]
    assert list(panels(figure)) == ["linear", "sparse linear", "quadratic", "ReLU network"]
    axes = panels(figure)["linear"]
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "training step"
    for k in (10, 5, 2):
        steps, values = line(axes, f"k={k}")
        assert steps.tolist() == list(range(0, STEPS + 1, LEARNING_EVERY))
        last = [model_error("linear", k, seed) for seed in range(3)]
        assert values[-1] == pytest.approx(np.mean(last))
        assert band(axes, f"k={k} range")[STEPS] == pytest.approx((min(last), max(last)))
    assert {"k = 10 examples", "k = 5 examples", "k = 2 examples"} <= {*legend_labels(figure)}
    assert "1,400 steps, 89,600 prompts in all." in said(figure)


def boundaries(axes: Axes) -> list[float]:
    return [float(np.asarray(item.get_xdata())[0]) for item in axes.lines if item.get_gid() == "boundary"]


def spans(axes: Axes) -> list[tuple[float, float]]:
    found = [patch.get_window_extent() for patch in axes.patches if patch.get_gid() == "in training"]
    return [tuple(axes.transData.inverted().transform(box.get_points())[:, 0]) for box in found]


def test_blocks_are_marked_and_the_panels_own_is_shaded(drawn: dict[str, Figure]) -> None:
    figure = drawn["learning_curves"]
    for i, axes in enumerate(figure.axes):
        assert boundaries(axes) == [350, 700, 1050]
        assert spans(axes) == [pytest.approx((350 * i, 350 * (i + 1)))]
    assert {"panel's class in training", "curriculum moves on"} <= {*legend_labels(figure)}


@pytest.mark.parametrize("block", [333, 466, 470])
def test_a_block_may_end_between_logged_steps(block: int) -> None:
    tables = make_tables(["linear", "quadratic", "relu_network"], [0], block=block)
    assert boundaries(draw("learning_curves", tables).axes[0]) == pytest.approx([block, 2 * block])


def test_a_class_that_stays_in_training_is_shaded_to_the_end() -> None:
    tables = make_tables(["linear", "quadratic"], [0], block=333)
    curriculum = tables["curriculum"].set_index(["step", "function_class"])["planned_share"].unstack()
    mixed = pd.DataFrame({"linear": 1 - curriculum["quadratic"] / 2, "quadratic": curriculum["quadratic"] / 2})
    shares = mixed.melt(ignore_index=False, var_name="function_class", value_name="planned_share").reset_index()
    tables["curriculum"] = tables["curriculum"].drop(columns="planned_share").merge(shares)
    linear, quadratic = draw("learning_curves", tables).axes
    assert boundaries(linear) == pytest.approx([333])
    assert spans(linear) == [pytest.approx((0, 333)), pytest.approx((333, 1400))]
    assert spans(quadratic) == [pytest.approx((333, 1400))]


# out of distribution


def categories(figure: Figure) -> list[str]:
    return [label.get_text() for label in tick_labels(figure.axes[0], "y")]


def test_every_shift_is_a_row(drawn: dict[str, Figure]) -> None:
    assert categories(drawn["out_of_distribution"]) == [
        "in distribution",
        "skewed inputs",
        "inputs ×1/3",
        "inputs ×2",
        "random quadrants",
        "label noise, σ = 0.5",
        "longer prompts ×2 (k = 10)",
        "longer prompts ×2 (k = 20)",
    ]


def test_rows_hold_the_model_beside_the_oracle_or_the_best_baseline(drawn: dict[str, Figure]) -> None:
    figure = drawn["out_of_distribution"]
    rows = categories(figure)
    axes = panels(figure)["quadratic"]
    assert axes.get_xscale() == "log"
    xs, ys = line(axes, "model")
    places = dict(zip((rows[round(y)] for y in ys), xs, strict=True))
    mean = 1.2  # of the factors of the three seeds
    assert places["in distribution"] == pytest.approx(mean * model_error("quadratic", K, 0))
    assert places["inputs ×2"] == pytest.approx(mean * model_error("quadratic", K, 0, 6))
    assert places["longer prompts ×2 (k = 20)"] == pytest.approx(mean * model_error("quadratic", 2 * K, 0, 3))
    xs, ys = line(axes, "model range")
    whisker = sorted(xs[(np.round(ys) == rows.index("inputs ×2")) & ~np.isnan(xs)])
    assert whisker == pytest.approx([model_error("quadratic", K, seed, 6) for seed in (0, 2)])
    assert len(line(axes, "oracle")[0]) == len(rows)
    best = line(panels(figure)["ReLU network"], "least_squares")
    assert best[0] == pytest.approx(0.3)
    # At 20 examples averaging is better, and is what the model is compared with.
    assert [rows[round(y)] for y in line(panels(figure)["ReLU network"], "averaging")[1]] == rows[-1:]
    assert [np.asarray(item.get_xdata())[0] for item in axes.lines if item.get_gid() == "zero"] == [1]


def test_an_oracle_is_shown_even_where_a_baseline_is_better(small: Tables) -> None:
    evaluation = small["evaluation"]
    knn = evaluation[evaluation["learner"] == "knn"]
    oracle = knn.assign(learner="oracle", learner_kind="oracle", value=0.9)
    axes = draw("out_of_distribution", {"evaluation": pd.concat([evaluation, oracle])}).axes[0]
    assert {item.get_gid() for item in axes.lines} == {"model", "model range", "oracle", "zero"}


def test_an_undefined_shift_says_so(drawn: dict[str, Figure]) -> None:
    figure = drawn["out_of_distribution"]
    missing = {title: [(text.get_text(), text.get_position()[1]) for text in axes.texts]
               for title, axes in panels(figure).items()}  # fmt: skip
    assert missing.pop("ReLU network") == [("n/a", categories(figure).index("random quadrants"))]
    assert not any(missing.values())


def test_many_rows_stand_side_by_side() -> None:
    many = [f"scaled_inputs/{factor}" for factor in range(2, 20)]
    figure = draw("out_of_distribution", make_tables(FOUR, [0], shifts=many))
    assert len(categories(figure)) == 20
    assert figure.get_figheight() < 8
    check_layout(figure, "out_of_distribution")
    assert len({axes.get_subplotspec().rowspan.start for axes in figure.axes}) == 1  # type: ignore[union-attr]


# curriculum


def areas(axes: Axes, step: float) -> dict[str, float]:
    """Height of each stacked area at a step within an interval."""
    heights = {}
    for area in axes.collections:
        # The upper edge is traced in one direction and the lower one in the other.
        xs, ys = vertices(area).T
        crossed = (np.minimum(xs[:-1], xs[1:]) < step) & (step < np.maximum(xs[:-1], xs[1:]))
        heights[str(area.get_label())] = float(np.ptp(ys[:-1][crossed]))
    return heights


def test_curriculum_shows_planned_and_drawn_shares(drawn: dict[str, Figure]) -> None:
    figure = drawn["curriculum"]
    assert list(panels(figure)) == ["as planned", "as drawn"]
    assert legend_labels(figure) == ["linear", "sparse linear", "quadratic", "ReLU network"]
    for axes in figure.axes:
        assert axes.get_xlabel() == "training step"
        assert areas(axes, 345)["linear"] == pytest.approx(1)
        assert areas(axes, 355)["sparse linear"] == pytest.approx(1)
        assert areas(axes, 355)["linear"] == 0
    assert "Each value is a mean over 10 steps as planned, over 30 as drawn, and over 3 seeds." in said(figure)


def test_drawn_shares_are_the_mean_over_seeds() -> None:
    tables = make_tables(["linear"], [0, 1], inputs=["gaussian", "skewed"], shifts=())
    figure = draw("curriculum", tables)
    assert [axes.get_ylabel() for axes in figure.axes] == ["share of classes", "", "share of inputs", ""]
    table = tables["curriculum"]
    first = table[(table["step"] <= 30) & (table["input_distribution"] == "gaussian")]["drawn_share"].mean()
    assert areas(figure.axes[3], 20)["Gaussian inputs"] == pytest.approx(first)
    assert areas(figure.axes[2], 20)["Gaussian inputs"] == pytest.approx(0.5)


# what figures have in common


NINE = ["linear", "sparse_linear/sparsity=2", *(f"hermite/{p}" for p in range(1, 5)), "chebyshev", "sinusoid", "x" * 30]
CASES: dict[str, dict[str, Any]] = {
    "four": {"untrained": ["decision_tree"]},
    "small": {"classes": ["hermite/3"], "seeds": [0], "shifts": ()},
    "nine": {"classes": NINE, "seeds": [0, 1], "shifts": SHIFTS[:2], "variants": ["a_$_in_a_long_name" * 5]},
    "inputs": {"classes": ["linear", "quadratic"], "seeds": [0], "inputs": ["gaussian", "skewed", "student_t"],
               "median": ["student_t"], "shifts": SHIFTS[:1]},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_nothing_overlaps_or_leaves_the_figure(case: str) -> None:
    tables = make_tables(**CASES[case])
    for name in NAMES:
        figure = draw(name, tables, variant=str(tables["evaluation"]["variant"].iloc[0]))
        check_layout(figure, name)


def check_layout(figure: Figure, name: str) -> None:
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    edges = figure.bbox.padded(1)
    shown = texts(figure)
    left, low, right, high = np.array([text.get_window_extent().padded(-1).extents for text in shown]).T
    outside = (left < edges.x0) | (low < edges.y0) | (right > edges.x1) | (high > edges.y1)
    assert not [text for text, out in zip(shown, outside, strict=True) if out], name
    apart = (right[:, None] < left) | (high[:, None] < low)
    overlaps = ~(apart | apart.T | np.eye(len(shown), dtype=bool))
    assert not [(shown[i], shown[j]) for i, j in np.argwhere(overlaps)], name
    (legend,) = figure.legends
    for axes in figure.axes:
        assert not legend.get_window_extent().overlaps(axes.get_window_extent()), name
        assert axes.get_window_extent().height / figure.dpi > 0.3, name
    assert min(float(text.get_fontsize()) for text in shown) >= 8


def test_colours_are_the_same_in_every_figure(drawn: dict[str, Figure]) -> None:
    shading: dict[str, str] = {}
    for title, axes in panels(drawn["learning_curves"]).items():
        (shaded,) = [patch for patch in axes.patches if patch.get_gid() == "in training"]
        shading[title] = to_hex(np.asarray(shaded.get_facecolor()).tolist())
    stacked = {
        str(area.get_label()): to_hex(np.asarray(area.get_facecolor())[0].tolist())
        for area in drawn["curriculum"].axes[0].collections
    }
    assert shading == stacked
    assert len(set(shading.values())) == 4
    colours = [
        {item.get_gid(): item.get_color() for axes in drawn[name].axes for item in axes.lines}
        for name in ("error_by_examples", "out_of_distribution")
    ]
    shared = {"model", "oracle", "zero", "least_squares", "averaging"}
    assert all(colours[0][learner] == colours[1][learner] for learner in shared)


def test_learners_can_be_told_apart_without_colour(four: Tables) -> None:
    styles = learner_styles(four["evaluation"])
    shown = [styles[name] for name in ("model", "oracle", "least_squares", "averaging", "knn", "ridge")]
    assert len({(str(style.line), style.width > 2) for style in shown}) == len(shown)
    assert len({style.marker for style in shown}) == len(shown)


def test_a_variant_must_be_named_where_there_are_several() -> None:
    tables = make_tables(["linear"], [0], variants=["single", "mixed"], shifts=())
    for name in NAMES:
        with pytest.raises(ValueError, match="name one of the table's 2 variants: single, mixed"):
            draw(name, tables)
        assert draw(name, tables, variant="mixed").get_suptitle().endswith(": mixed")


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("relu_network", "ReLU network"),
        ("hermite/3", "Hermite 3"),
        ("sparse_linear/sparsity=2", "sparse linear (sparsity = 2)"),
        ("cost_$", r"cost \$"),
    ],
)
def test_identifiers_become_words(identifier: str, expected: str) -> None:
    assert pretty(identifier) == expected


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("scaled_inputs/0.333", "inputs ×1/3"),
        ("scaled_outputs/2", "outputs ×2"),
        ("label_noise/0.5", "label noise, σ = 0.5"),
        ("label_noise/flips=0.1", "flipped labels, p = 0.1"),
        ("label_noise/0.5/flips=0.2", "label noise 0.5 (flips = 0.2)"),
        ("opposite_quadrants", "opposite quadrants"),
        ("my_own/strength=2", "my own (strength = 2)"),
    ],
)
def test_shifts_become_words(identifier: str, expected: str) -> None:
    assert shift_label(identifier) == expected


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("gaussian", "Gaussian inputs"),
        ("half_subspace", "half-subspace inputs"),
        ("student_t/df=5", "Student t inputs (df = 5)"),
        ("scaled/2", "Gaussian inputs ×2"),
        ("scaled/0.333/of=student_t/df=5", "Student t inputs (df = 5) ×1/3"),
        ("shifted/1", "Gaussian inputs (mean = 1)"),
    ],
)
def test_inputs_become_words(identifier: str, expected: str) -> None:
    assert inputs_label(identifier) == expected


def test_panels_leave_few_gaps() -> None:
    assert [columns_for(count) for count in range(1, 11)] == [1, 2, 3, 4, 3, 3, 4, 4, 3, 4]


def test_counts_stay_short() -> None:
    assert [short_count(value) for value in (0, 1400, 250_000, 1.5e6)] == ["0", "1400", "250k", "1.5M"]


# files


def test_figures_are_written_alike_every_time(small: Tables, tmp_path: Path) -> None:
    directory = write(small, tmp_path / "made_up")
    before = dict(matplotlib.rcParams)
    drawn = figures.draw_all(directory)
    folder = directory / "figures"
    stems = ["error_by_examples", "learning_curves", "out_of_distribution", "heat_map", "curriculum"]
    assert drawn == [folder / f"{stem}.png" for stem in stems]
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(files) == sorted(f"{stem}{suffix}" for stem in stems for suffix in (".png", ".svg"))
    assert all(content.startswith(b"\x89PNG") for name, content in files.items() if name.endswith("png"))
    assert all(b"</svg>" in content for name, content in files.items() if name.endswith("svg"))
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.hashsalt": None}):
        figures.draw_all(directory)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_several_variants_have_files_of_their_own(tmp_path: Path) -> None:
    tables = make_tables(["linear"], [0], variants=["single-linear", "a/b"], shifts=())
    tables |= {name: tables[name].iloc[:0] for name in ("evaluation", "learning")}
    drawn = figures.draw_all(write(tables, tmp_path))
    assert [path.stem for path in drawn] == ["curriculum_single-linear", "curriculum_a%2Fb"]
    assert all(path.parent == tmp_path / "figures" for path in drawn)


def test_errors_of_a_model_are_needed(small: Tables) -> None:
    evaluation = small["evaluation"]
    no_model = small | {"evaluation": evaluation[evaluation["learner"] != "model"]}
    for name in ("error_by_examples", "out_of_distribution"):
        with pytest.raises(figures.NothingToDraw):
            draw(name, no_model)
    inside = small | {"evaluation": evaluation[evaluation["in_distribution"]]}
    with pytest.raises(figures.NothingToDraw, match="out of distribution"):
        draw("out_of_distribution", inside)


@pytest.mark.parametrize("table", ["learning", "evaluation", "curriculum"])
def test_a_table_without_rows_costs_only_its_own_figures(table: str, small: Tables, tmp_path: Path) -> None:
    empty = {name: rows.iloc[:0] for name, rows in small.items() if name != table}
    of_errors = ["error_by_examples", "out_of_distribution", "heat_map"]
    expected = {"learning": ["learning_curves"], "evaluation": of_errors}
    drawn = figures.draw_all(write(small | empty, tmp_path))
    assert [path.stem for path in drawn] == expected.get(table, ["curriculum"])


@pytest.mark.parametrize("table", ["learning", "evaluation", "curriculum"])
def test_a_missing_table_is_named(table: str, small: Tables, tmp_path: Path) -> None:
    directory = write(small, tmp_path)
    (directory / f"{table}.csv").unlink()
    with pytest.raises(UserError, match=rf"{table}\.csv is missing: figures are drawn from"):
        figures.draw_all(directory)


def test_a_missing_column_is_named(small: Tables, tmp_path: Path) -> None:
    directory = write(small | {"learning": small["learning"].drop(columns="value")}, tmp_path)
    with pytest.raises(UserError, match=r"learning\.csv lacks the column 'value'; found: experiment, run"):
        figures.draw_all(directory)


def test_names_that_look_like_missing_values_or_numbers_are_kept(tmp_path: Path) -> None:
    tables = make_tables(["None", "7"], [0], shifts=())
    write(tables, tmp_path)
    from icl_curriculum.figures.tables import read_table

    figure = draw("error_by_examples", {"evaluation": read_table(tmp_path, "evaluation")})
    assert list(panels(figure)) == ["None", "7"]


def test_a_failed_write_leaves_the_old_figure(small: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write(small, tmp_path)
    folder = directory / "figures"
    folder.mkdir()
    (folder / "error_by_examples.png").write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        figures.draw_all(directory)
    assert [path.name for path in folder.iterdir()] == ["error_by_examples.png"]
    assert (folder / "error_by_examples.png").read_bytes() == b"old"


def test_drawing_needs_no_torch_and_no_pyplot() -> None:
    code = "import sys, icl_curriculum.figures; print({'torch', 'matplotlib.pyplot'} & {*sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
