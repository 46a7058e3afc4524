"""What tests of mistakes share: the command line in this process, valid experiments, and ways to spoil them."""

from __future__ import annotations

import contextlib
import copy
import datetime
import io
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from tiny_runs import TINY, tiny_values

from icl_curriculum.cli import main
from icl_curriculum.config.finding import experiment_names
from icl_curriculum.config.loading import find, read_toml
from icl_curriculum.core.registry import KINDS

#: The same examples on every machine, with nothing kept between runs.
steady = settings(
    derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)  # fmt: skip


def after_accident(words: list[str], accident: str, place: int, other: str) -> list[str]:
    """The words of a command after an accident at a place; ``other``: the word that comes in, where one does."""
    before, here, after = words[:place], words[place : place + 1], words[place + 1 :]
    match accident:
        case "drop":
            return [*before, *after]
        case "double":
            return [*before, *here, *here, *after]
        case "swap":
            return [*before, *after[:1], *here, *after[1:]]
        case "replace":
            return [*before, other, *after]
        case "insert":
            return [*before, other, *here, *after]
        case "shorten":
            return [*before, *(word[:-1] for word in here), *after]
        case "join":
            return [*before, *(f"{word}={other}" for word in here), *after]
    raise ValueError(accident)


@dataclass
class Answer:
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str


def icl(*arguments: str) -> Answer:
    """The console script's entry point; whatever it lets through fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mock.patch.object(sys, "argv", ["icl"]):
        sys.argv += arguments
        try:
            main()
        except SystemExit as end:
            return Answer(int(end.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("a command ends with an exit code")


def files(folder: Path) -> dict[str, bytes | None]:
    """What is on disk, so that a test can say that nothing was written."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


PLUGIN = "from icl_curriculum import register_function_class\n"

#: Valid experiments that use, between them, every table and every way to write a component.
VALID: list[dict[str, Any]] = [
    TINY,
    tiny_values({"variants": {"wide": {"model": {"width": 16}}, "plain": {}}, "recipe": "reference"}),
    tiny_values({"curriculum.dims": {"start": 1, "every": 2}, "curriculum.points": {"start": 2, "every": 2, "add": 1}}),
    tiny_values(
        {
            "function_classes": [{"name": "hermite", "degree": 3, "id": "mine"}, "relu_network", "sparse_linear"],
            "dims": 3,
            "inputs": ["skewed", {"name": "student_t", "df": 9}],
            "curriculum.function_classes": {"name": "single", "only": "mine"},
            "curriculum.inputs": "random",
            "evaluation.baselines": ["zero", {"name": "ridge", "penalty": 0.5}],
            "evaluation.shifts": ["skewed", {"name": "label_noise", "level": 0.1}, "longer_prompts"],
        }
    ),
    tiny_values(
        {
            "plugins": ["my_plugin.py"],
            "training.method": "in_context",
            "training.optimizer": {"name": "adamw", "learning_rate": 0.1, "betas": [0.5, 0.9], "weight_decay": 0.1},
            "training.schedule": {"name": "cosine", "warmup": 0.5, "decay": 0.5},
            "training.clip": math.inf,
        }
    ),
    tiny_values(
        {
            "function_classes": ["linear", {"name": "parity", "size": 1}],
            "inputs": ["rademacher", {"name": "scaled", "factor": 1.0, "of": {"name": "rademacher"}}],
            "curriculum.function_classes": "random",
            "evaluation.shifts": [
                "opposite_quadrants",
                {"name": "other_inputs", "inputs": {"name": "scaled", "of": {"name": "laplace", "scale": 0.5}}},
                {"name": "other_class", "function_class": {"name": "hermite", "degree": 3}},
                {"name": "scaled_outputs", "factor": 0.5},
            ],
        }
    ),
    tiny_values(
        {
            "function_classes": [{"name": "multiclass_linear", "n_classes": 4, "label_noise": 0.1}],
            "training.loss": "cross_entropy",
            "training.label_smoothing": 0.1,
            "training.shortest_prompt": 3,
            "training.positions": [0, 1, 2, 0, 1],
            "evaluation.baselines": ["zero", {"name": "logistic_regression", "penalty": 0.5}],
            "evaluation.metrics": ["accuracy", "negative_log_likelihood"],
        }
    ),
    *(read_toml(find(name)) for name in experiment_names()),
]

ODD: list[Any] = [
    -1, 0, 1, 2, 2**31, 2**62, 2**63, 10**30, -(2**63) - 1, -0.5, 0.0, 0.5, 1e-300, 1e300, math.inf, -math.inf,
    math.nan, True, False, "", "x", "x" * 5000, "é∑线", "\x00", "a\nb", "a\tb", "../..", "/dev/null", "inf", "$x_{$",
    "base.toml", [], [[]], [[1]], [{}], [0, 0], ["", "linear"], {}, {"name": "x"}, {"name": 3},
    {"name": ["linear"]}, {"a": {"b": 1}}, {"start": 1}, {"": 1}, {"a.b": 1}, {"a\nb": 1},
    datetime.date(2020, 1, 1), datetime.time(7, 32), datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    [datetime.date(2020, 1, 1)],
]  # fmt: skip
NAMES: list[Any] = [name for registry in KINDS.values() for name in registry.names()]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (table or list, key or index) below a value."""
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    for key, inner in items:
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


@st.composite
def spoiled(draw: st.DrawFn) -> dict[str, Any]:
    """A valid experiment after one to three accidents."""
    values = copy.deepcopy(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 3))):
        everywhere = list(places(values)) or [(values, "dims")]
        holder, key = draw(st.sampled_from(everywhere))
        old = holder[key] if isinstance(holder, list) else holder.get(key)
        match draw(st.sampled_from(["odd", "odd", "odd", "name", "lose", "misspell", "move", "double", "wrap"])):
            case "odd":
                holder[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
            case "name":
                holder[key] = draw(st.sampled_from(NAMES))
            case "wrap":
                holder[key] = draw(st.sampled_from([[old], {"name": old}, {str(key): old}, str(old)]))
            case "lose" if isinstance(holder, list):
                del holder[key]
            case "lose":
                holder.pop(key, None)
            case "misspell" if isinstance(holder, dict):
                holder[draw(st.sampled_from([key[:-1], key + "s", key.upper(), f"{key} ", f"a.{key}"]))] = old
            case "move":
                target = draw(st.sampled_from(everywhere))[0]
                if isinstance(target, dict):
                    target[str(key)] = copy.deepcopy(old)
                else:
                    target.append(copy.deepcopy(old))
            case _:
                if isinstance(holder, list):
                    holder.append(copy.deepcopy(old))
    return values
