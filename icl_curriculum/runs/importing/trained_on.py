"""What a configuration of another code says that its model was trained on, as our components."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from icl_curriculum.config.mistakes import shown
from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.options import option
from icl_curriculum.runs.importing.configuration import ConfiguredValue, ForeignConfig

Spec = dict[str, Any]


def _instead() -> str:
    return f"{option('--function-class', 'CLASS')} says what stands for it here"


def _inputs_instead() -> str:
    return f"{option('--inputs', 'INPUTS')} says what stands for them here"


@dataclass(frozen=True)
class TrainedOn:
    """Function classes and inputs as tables of an experiment file, and curricula over them, as far as there are any.

    ``elsewhere``: positions of inputs that are of the kind that was trained on, and not of that very distribution.
    ``notes``: what a reader of the errors has to know.
    """

    function_classes: list[Spec] = field(default_factory=list)
    inputs: list[Spec] = field(default_factory=list)
    curricula: dict[str, Any] = field(default_factory=dict)
    elsewhere: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Counterpart:
    """Our name of one of their classes or inputs; ``fields``: of their arguments our field and what they default to.

    ``neutral``: arguments that change nothing if they have this value, and cannot be had otherwise.
    """

    name: str
    fields: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    neutral: Mapping[str, Any] = field(default_factory=dict)


_TASKS = {
    "linear_regression": _Counterpart("linear", neutral={"scale": 1}),
    "sparse_linear_regression": _Counterpart(
        "sparse_linear", {"sparsity": ("sparsity", 3)}, {"scale": 1, "valid_coords": None}
    ),
    "linear_classification": _Counterpart("linear_classification", neutral={"scale": 1}),
    "noisy_linear_regression": _Counterpart(
        "noisy_linear", {"noise_std": ("label_noise", 0.0)}, {"scale": 1, "renormalize_ys": False}
    ),
    "quadratic_regression": _Counterpart("quadratic", neutral={"scale": 1}),
    "relu_2nn_regression": _Counterpart("relu_network", {"hidden_layer_size": ("hidden", 100)}, {"scale": 1}),
    "decision_tree": _Counterpart("decision_tree", {"depth": ("depth", 4)}),
    "hermite_regression": _Counterpart("hermite", {"degree": ("degree", 1)}, {"scale": 1}),
}
_DATA = {
    "gaussian": _Counterpart("gaussian", neutral={"bias": None, "scale": None}),
    "laplace": _Counterpart("laplace", neutral={"bias": None, "scale": None}),
    "cauchy": _Counterpart("cauchy", neutral={"bias": None, "scale": None}),
    "studentT": _Counterpart("student_t", {"df": ("df", 1.0)}, {"bias": None, "scale": None}),
}
_SCHEDULES = {"sequential": "sequential", "random": "random", "mixed_sequential": "mixed"}


def trained_on(config: ForeignConfig, *, classes_given: bool, inputs_given: bool) -> TrainedOn:
    """What the configuration says; what is given by options is not looked for, and stays empty.

    UserError for what the suite has no counterpart of.
    """
    notes: list[str] = []
    classes: list[Spec] = []
    inputs: list[Spec] = []
    elsewhere: set[int] = set()
    if not classes_given:
        classes = [_function_class(config, *task) for task in _tasks(config)]
        if any(item["name"] == "linear_classification" for item in classes):
            notes.append(
                "It was trained on cross-entropy, so its answers are logits: accuracy and normalized_error, which go "
                "by their signs, mean something, squared_error does not."
            )
    if not inputs_given:
        for number, data in enumerate(_data(config)):
            made, rotated = _distribution(config, *data)
            inputs.append(made)
            if rotated:
                elsewhere.add(number)
                notes.append(
                    "Its skewed inputs had one rotation throughout, which no checkpoint holds: here every prompt has a "
                    "rotation of its own, and the rows do not count as in distribution."
                )
    for key, what in (("num_tasks", "functions"), ("num_training_examples", "seeds of prompts")):
        if (found := config.whole(key)) is not None:
            notes.append(
                f"It was trained on {found:,} {what} alone ({key}), which no checkpoint holds: its errors are on fresh "
                f"functions of the class."
            )
    curricula = {}
    for key, schedule, items in (
        ("function_classes", "task_schedule", classes),
        ("inputs", "data_schedule", inputs),
    ):
        found_text = config.text(schedule)
        if len(items) > 1 and found_text is not None:
            if found_text.value not in _SCHEDULES:
                raise config.error(found_text, " or ".join(_SCHEDULES))
            curricula[key] = _SCHEDULES[found_text.value]
    return TrainedOn(classes, inputs, curricula, frozenset(elsewhere), tuple(dict.fromkeys(notes)))


def numbered(config: ForeignConfig, kind: str) -> int | None:
    """How many tasks (``kind`` task) or inputs (data) a configuration numbers; None where it has one of its own."""
    table = config.table(f"{kind}_kwargs")
    if table is None or not any(isinstance(value, dict) for value in table.value.values()):
        return None
    return len(table.value)


def _tasks(config: ForeignConfig) -> list[tuple[ConfiguredValue, dict[str, Any]]]:
    """The tasks in their order, each as the name of it with its arguments."""
    arguments, single = config.table("task_kwargs"), config.text("task")
    if arguments is not None and any(isinstance(value, dict) for value in arguments.value.values()):
        return _numbered(config, arguments, "task")
    if single is None:
        raise UserError(f"{config.path}: task: expected the task that the model was trained on; {_instead()}")
    return [(single, dict(arguments.value) if arguments else {})]


def _data(config: ForeignConfig) -> list[tuple[ConfiguredValue, dict[str, Any]]]:
    arguments, single = config.table("data_kwargs"), config.text("data")
    if arguments is not None and any(isinstance(value, dict) for value in arguments.value.values()):
        return _numbered(config, arguments, "data")
    if single is None:
        raise UserError(f"{config.path}: data: expected the inputs that the model was trained on; {_inputs_instead()}")
    return [(single, dict(arguments.value) if arguments else {})]


def _numbered(config: ForeignConfig, table: ConfiguredValue, kind: str) -> list[tuple[ConfiguredValue, dict[str, Any]]]:
    """The tables ``task_0``, ``task_1``, ... in their order: the name under ``kind``, and the other keys."""
    found = {}
    for key, value in table.value.items():
        number = re.fullmatch(rf"{kind}_(\d+)", str(key))
        if number is None or not isinstance(value, dict):
            raise config.error(ConfiguredValue(f"{table.key}.{key}", value), f"tables {kind}_0, {kind}_1, ...")
        name = ConfiguredValue(f"{table.key}.{key}.{kind}", value.get(kind))
        if not isinstance(name.value, str):
            raise config.error(name, "a name")
        found[int(number[1])] = name, {inner: each for inner, each in value.items() if inner != kind}
    return [found[number] for number in sorted(found)]


def _function_class(config: ForeignConfig, task: ConfiguredValue, arguments: dict[str, Any]) -> Spec:
    weights = config.text("weight_type")
    unit = weights is not None and weights.value == "normalized"
    if weights is not None and weights.value not in ("standard", "normalized"):
        raise config.error(weights, "standard or normalized")
    spec = _spec(config, task, arguments, _TASKS, _instead())
    if spec["name"] == "hermite":
        return {**spec, "weights": "unit" if unit else "gaussian"}
    if unit and spec["name"] == "linear":
        # w·x with w on the sphere: the first Hermite polynomial.
        return {"name": "hermite", "degree": 1, "weights": "unit"}
    if unit:
        assert weights is not None
        raise config.error(weights, f"standard, for the task {task.value} ({_instead()})")
    return spec


def _distribution(config: ForeignConfig, data: ConfiguredValue, arguments: dict[str, Any]) -> tuple[Spec, bool]:
    """The inputs, and whether their one rotation is lost. Of ``type`` only ``skewed`` means anything to their code."""
    kind = arguments.pop("type", None)
    bias = arguments.get("bias")
    if data.value == "gaussian" and kind != "skewed" and _is_number(bias):
        return {"name": "shifted", "mean": float(arguments.pop("bias"))}, False
    spec = _spec(config, data, arguments, _DATA, _inputs_instead())
    if kind != "skewed":
        return spec, False
    if spec["name"] != "gaussian":
        raise config.error(ConfiguredValue(data.key, data.value), f"gaussian, for skewed inputs ({_inputs_instead()})")
    return {"name": "skewed"}, True


def _spec(
    config: ForeignConfig,
    named: ConfiguredValue,
    arguments: dict[str, Any],
    known: Mapping[str, _Counterpart],
    instead: str,
) -> Spec:
    """Our component for one of theirs. UserError for a name or an argument that has no counterpart."""
    if named.value not in known:
        hint = did_you_mean(named.value, known)
        raise UserError(f"{config.path}: {named.key}: no counterpart of {shown(named.value)} here{hint}; {instead}")
    ours = known[named.value]
    spec: Spec = {"name": ours.name}
    for key, value in arguments.items():
        place = ConfiguredValue(f"{named.key}, {key}", value)
        if key in ours.neutral and (value is None or value == ours.neutral[key]):
            continue
        if key not in ours.fields:
            neutral = ours.neutral.get(key, "no such argument")
            raise config.error(place, f"{neutral}, for {named.value} ({instead})")
        if not _is_number(value):
            raise config.error(place, "a number")
        spec[ours.fields[key][0]] = value
    for field_name, default in (item for key, item in ours.fields.items() if key not in arguments):
        spec[field_name] = default
    return spec


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
