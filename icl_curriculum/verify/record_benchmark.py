"""``python -m icl_curriculum.verify.record_benchmark``: write down what the benchmark asks, once and for all.

It is for maintainers who make a new version of the benchmark. What is written down already is not replaced, unless
``--replace`` says that nobody has used that version yet.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from icl_curriculum.config.experiment import Experiment, Run
from icl_curriculum.config.loading import AnyExperiment, load
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.files import write_atomically
from icl_curriculum.core.registry import BASELINES
from icl_curriculum.evaluation import BANK_VERSION, Bank
from icl_curriculum.evaluation.benchmark_banks import described
from icl_curriculum.results.scorecard.frozen import BENCHMARK, FROZEN, PROTOCOL
from icl_curriculum.shifts import why_undefined
from icl_curriculum.verify.benchmark import best_errors

#: Floating-point operations that training may take: those of the default transformer, and a tenth more.
OPERATIONS = 1.09e12
#: Where no optimum is known, the best of these is what a score of 1 means.
BASELINES_OF_V1: list[str | dict[str, Any]] = [
    "zero",
    "averaging",
    "least_squares",
    "ridge",
    {"name": "ridge", "penalty": 1.25},
    "lasso",
    "sparse_posterior",
    "quadratic_features",
    "kernel_ridge",
    {"name": "kernel_ridge", "penalty": 1.25},
    {"name": "kernel_ridge", "kernel": "arc_cosine", "penalty": 1e-4},
    {"name": "kernel_ridge", "kernel": "arc_cosine", "penalty": 1.25},
    {"name": "kernel_ridge", "kernel": "laplacian"},
    "knn",
    {"name": "knn", "neighbors": 1},
]
_SCALES = ("scaled_inputs", "scaled_outputs")
_FAMILIES = {
    "linear": "linear_functions",
    "sparse_linear": "linear_functions",
    "quadratic": "quadratic_functions",
    "relu_network": "relu_networks",
}


def axis_of(bank: Bank) -> str:
    """The axis of the scorecard that a bank of the protocol counts for."""
    if bank.function_class not in _FAMILIES:
        return "unseen_classes"
    if bank.shift is None:
        return _FAMILIES[bank.function_class]
    return {"longer_prompts": "longer_prompts", "label_noise": "label_noise"}.get(
        bank.shift.name, "other_scales" if bank.shift.name in _SCALES else "other_inputs"
    )


def banks_of(experiment: Experiment) -> dict[str, Bank]:
    """All banks that the protocol asks after training, by name, each once."""
    config = experiment.evaluation
    found: dict[str, Bank] = {}
    for shift in (None, *config.shifts):
        for task in experiment.tasks().values():
            if shift is None or why_undefined(shift, task) is None:
                bank = Bank(task, shift, config.n_prompts, experiment.points, config.bank_seed)
                found.setdefault("/".join(bank.key), bank)
    return found


def asks(run: Run) -> dict[str, Any]:
    """The keys of a run's resolved config that a model of one's own may not change, as TOML has them."""
    config = run.config()
    curriculum = {key: value for key, value in config["curriculum"].items() if key != "function_classes"}
    found = {key: config[key] for key in ("dims", "points", "function_classes", "inputs", "instruction")}
    made: dict[str, Any] = json.loads(json.dumps({**found, "curriculum": curriculum}))
    return made


def best_while_learning(experiment: Experiment) -> dict[str, list[float]]:
    """The best errors on the small banks that are asked of the trained cells while training."""
    config = experiment.evaluation
    found = {}
    for task in experiment.tasks().values():
        bank = Bank(task, None, config.learning_prompts, experiment.points, config.bank_seed, "learning")
        found["/".join(bank.key)] = [float(f"{value:.9g}") for value in best_errors(bank, BASELINES_OF_V1)[0]]
    return found


def content(run: Run, seeds: Sequence[int]) -> dict[str, Any]:
    """What is written down of a run of the protocol, which has these seeds."""
    experiment = run.experiment
    banks = banks_of(experiment)
    frozen = BASELINES_OF_V1
    built = [BASELINES.build(item).id for item in frozen]
    records = {}
    for name, bank in banks.items():
        best, by = best_errors(bank, frozen)
        records[name] = {
            "axis": axis_of(bank),
            "function_class": bank.task.function_class.spec(),
            "inputs": bank.task.inputs.spec(),
            "shift": None if bank.shift is None else bank.shift.spec(),
            **described(bank),
            "best": [float(f"{value:.9g}") for value in best],
            "best_by": by,
        }
    return {
        "benchmark": BENCHMARK,
        "bank_version": BANK_VERSION,
        "dims": experiment.dims,
        "points": experiment.points,
        "n_prompts": experiment.evaluation.n_prompts,
        "bank_seed": experiment.evaluation.bank_seed,
        "learning_prompts": experiment.evaluation.learning_prompts,
        "prompts": experiment.training.steps * experiment.training.batch_size,
        "operations": OPERATIONS,
        "seeds": list(seeds),
        "asks": asks(run),
        "best_while_learning": best_while_learning(experiment),
        "trained": [name for name, bank in banks.items() if bank.shift is None],
        "baselines": built,
        "banks": records,
    }


def record(path: Path = FROZEN, *, protocol: AnyExperiment = PROTOCOL, replace: bool = False) -> int:
    """Write the benchmark down and return the number of its banks. UserError if it is written down already."""
    if path.exists() and not replace:
        raise UserError(
            f"{path} is written down already; another benchmark has another name, or use --replace if nobody has used "
            f"this one yet"
        )
    runs = load(protocol)
    made = content(runs[0], sorted({run.seed for run in runs}))
    head = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in made.items() if key != "banks"]
    rows = [f"    {json.dumps(name)}: {json.dumps(bank)}" for name, bank in made["banks"].items()]
    write_atomically(path, "\n".join(["{", *head, '  "banks": {', ",\n".join(rows), "  }", "}", ""]))
    return len(rows)


def main(arguments: list[str] | None = None) -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m icl_curriculum.verify.record_benchmark", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--replace", action="store_true", help="although it is written down already")
    try:
        count = record(replace=parser.parse_args(arguments).replace)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{count} banks of {BENCHMARK} recorded in {FROZEN}")


if __name__ == "__main__":
    main()
