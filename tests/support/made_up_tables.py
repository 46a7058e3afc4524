"""Result tables of an experiment that nobody ran, for tests of what is drawn and printed from them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

K, STEPS, LEARNING_EVERY, LOG_EVERY, BATCH = 10, 1400, 100, 10, 64
FOUR = ("linear", "sparse_linear", "quadratic", "relu_network")
RATES = {"linear": 0.55, "sparse_linear": 0.4, "quadratic": 0.12, "relu_network": 0.2}
SHIFTS = ("scaled_inputs/0.333", "scaled_inputs/2", "random_quadrants", "label_noise/0.5", "longer_prompts/2")
UNDEFINED = ("relu_network", "random_quadrants")

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
    return dict(
        _made(
            (*classes,), (*seeds,), (*inputs,), (*variants,), (*untrained,), (*shifts,), (*median,),
            block or STEPS // len(classes),
        )
    )  # fmt: skip


@functools.cache
def _made(
    classes: Sequence[str],
    seeds: Sequence[int],
    inputs: Sequence[str],
    variants: Sequence[str],
    untrained: Sequence[str],
    shifts: Sequence[str],
    median: Sequence[str],
    block: int,
) -> Tables:
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


def make_scores(
    curves: Mapping[str, Mapping[int, float]],
    function_class: str = "linear",
    *,
    inputs: str = "gaussian",
    shift: str = "none",
    prompts: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Learners that were scored without a training run: errors by number of examples; on 640 prompts, or fewer.

    What is called a model is one, of an experiment's variant: ``model experiment variant seed``.
    """
    rows: list[Row] = []
    for name, errors in curves.items():
        learner, *trained = name.split()
        experiment, variant, seed = trained or ("score", "score", "0")
        kind = "model" if trained else "oracle" if learner.endswith("oracle") else "baseline"
        run = {"experiment": experiment, "run": f"{variant}-seed{seed}", "variant": variant, "seed": int(seed)}
        who: Row = {"step": STEPS if trained else 0, "learner": learner, "learner_kind": kind}
        cell = {"function_class": function_class, "input_distribution": inputs, "shift": shift}
        for k, value in errors.items():
            at = {"in_distribution": bool(trained) and shift == "none", "n_context": k, "metric": "normalized_error"}
            interval = {"value": value, "ci_low": 0.9 * value, "ci_high": 1.1 * value}
            rows.append(run | who | cell | at | interval | {"n_prompts": (prompts or {}).get(learner, 640)})
    return pd.DataFrame(rows)
