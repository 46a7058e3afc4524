"""The generated tables of the pages: ``python docs/site/tables.py`` writes them anew between their marks.

They come from the registries and from pydantic's fields, so they say what the package does. A test compares.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from icl_curriculum.cli.listing import columns_tables, coverage_table
from icl_curriculum.cli.standings import short_score
from icl_curriculum.config.experiment import Experiment
from icl_curriculum.config.tables import (
    CurriculumConfig,
    EvaluationConfig,
    InstructionConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainingConfig,
)
from icl_curriculum.core.component import Component
from icl_curriculum.core.named_files import NamedFile
from icl_curriculum.core.registry import (
    BASELINES,
    BUILT_IN,
    CURRICULA,
    FUNCTION_CLASSES,
    INPUTS,
    LAUNCHERS,
    METHODS,
    METRICS,
    MODELS,
    OBSERVATIONS,
    SHIFTS,
    Registered,
    Registry,
)
from icl_curriculum.curricula import Growth
from icl_curriculum.evaluation.asking import CostlyConfig
from icl_curriculum.function_classes import LinearClassification, LinearMap, MulticlassLinear
from icl_curriculum.inputs import Gaussian
from icl_curriculum.metrics import usual_metrics
from icl_curriculum.results.scorecard.answer import TITLES
from icl_curriculum.results.scorecard.axes import AXES
from icl_curriculum.results.scorecard.leaderboard import committed_leaderboard
from icl_curriculum.tasks import Task

DOCS = Path(__file__).parents[1]
MARKED = re.compile(r"^<!-- ([a-z ]+) -->\n(.*?)^<!-- /\1 -->$", re.MULTILINE | re.DOTALL)
#: What every function class has, and stands once.
COMMON = ("outputs", "label_noise", "pool_size", "pool_seed", "show_steps")
#: Dimensions in which numbers are given.
DIMS = 5


def markdown_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(header)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def built_in(registry: Registry) -> dict[str, Any]:
    names = [name for name in registry.names() if registry.origin(name) == BUILT_IN]
    return {name: registry.get(name) for name in names}


def code(text: object) -> str:
    return f"`{text}`"


def component_rows(registry: Registry, more: Callable[[Any], list[str]] = lambda item: []) -> Iterable[list[str]]:
    for name, cls in built_in(registry).items():
        yield [code(name), cls.summary(), *more(cls)]


def function_classes() -> str:
    def numbers(cls: Any) -> list[str]:
        item = cls()
        # A class of one dimension is given in it.
        dims = DIMS if fits(item, DIMS) else 1
        oracle = item.oracle_for(dims, 0.0) or "–"
        if oracle == "–" and item.oracle_for(1, 0.0):
            oracle = f"{item.oracle_for(1, 0.0)} for d = 1"
        suits = ", ".join(code(BASELINES.build(each).id) for each in cls.baselines)
        return [f"{item.trivial_error(dims):.4g}", oracle, inputs_of(item.reference(dims)), suits]

    header = ["function class", "f(x)", f"E[f²], d = {DIMS}", "oracle", "reference inputs", "baselines that suit it"]
    return markdown_table(header, component_rows(FUNCTION_CLASSES, numbers))


def fits(item: Any, dims: int) -> bool:
    from icl_curriculum.core.errors import UserError

    try:
        item.check_dims(dims)
    except UserError:
        return False
    return True


def inputs_of(reference: str | dict[str, Any]) -> str:
    return code(INPUTS.build(reference).id)


def inputs() -> str:
    def numbers(cls: Any) -> list[str]:
        item = cls()
        moment = item.squared_norm(DIMS)
        bound = item.largest(DIMS)
        shown = "∞" if math.isinf(moment) else "–" if math.isnan(moment) else f"{moment:.4g}"
        return [shown, "–" if math.isinf(bound) else f"{bound:.4g}"]

    header = ["inputs", "what they are", f"E|x|², d = {DIMS}", "largest coordinate"]
    return markdown_table(header, component_rows(INPUTS, numbers))


def observations() -> str:
    def columns(cls: Any) -> list[str]:
        return [", ".join(sorted(cls().kinds)), code(cls().id)]

    header = ["observation", "what it does", "labels", "id in the tables"]
    return markdown_table(header, component_rows(OBSERVATIONS, columns))


def shifts() -> str:
    def columns(cls: Any) -> list[str]:
        return [code(cls().id)]

    return markdown_table(["shift", "what it does", "id in the tables"], component_rows(SHIFTS, columns))


def baselines() -> str:
    def columns(cls: Any) -> list[str]:
        return ["few prompts and lengths" if cls.costly else "every prompt and length"]

    return markdown_table(["baseline", "its prediction", "asked on"], component_rows(BASELINES, columns))


def metrics() -> str:
    tasks = {
        "numbers, vectors": Task(LinearMap(), Gaussian(), DIMS),
        "signs": Task(LinearClassification(), Gaussian(), DIMS),
        "classes": Task(MulticlassLinear(), Gaussian(), DIMS),
    }

    def columns(cls: Any) -> list[str]:
        metric, where = cls(), list[tuple[str, bool]]()
        for labels, task in tasks.items():
            if metric.undefined(task) is None:
                usual = metric.id in {item.id for item in usual_metrics(task)}
                where.append((labels, usual))
        usually = ", ".join(labels for labels, usual in where if usual)
        asked = ", ".join(labels for labels, usual in where if not usual)
        said = [*filter(None, [usually]), *([f"if asked for: {asked}"] if asked else [])]
        return ["; ".join(said), "less" if cls.improves == "down" else "more"]

    return markdown_table(["metric", "what it is", "where labels are", "better is"], component_rows(METRICS, columns))


def curricula() -> str:
    return markdown_table(["curriculum", "what it does"], component_rows(CURRICULA))


def parameters(registry: Registry, common: Iterable[str] = ()) -> str:
    rows = []
    for name, cls in built_in(registry).items():
        for key, info in cls.model_fields.items():
            inherited = key in common and info.description == COMMON_FIELDS[key].description
            if key != "given_id" and not inherited:
                rows.append([code(name), *parameter(key, info)])
    return markdown_table(["of", "parameter", "values", "default", "what it is"], rows)


def common_parameters() -> str:
    rows = [parameter(key, COMMON_FIELDS[key]) for key in COMMON]
    return markdown_table(["parameter", "values", "default", "what it is"], rows)


def table_fields(*tables: tuple[str, type[BaseModel]]) -> str:
    rows = []
    for prefix, cls in tables:
        for key, info in cls.model_fields.items():
            rows.append(parameter(f"{prefix}{key}", info))
    return markdown_table(["key", "values", "default", "what it is"], rows)


def parameter(key: str, info: FieldInfo) -> list[str]:
    return [code(key), values(info.annotation, info.metadata), default(info), info.description or ""]


def default(info: FieldInfo) -> str:
    if info.is_required():
        return "must be given"
    if info.default_factory is not None:
        if not info.default_factory_takes_validated_data:
            return "as below"
        return "by `training.steps`" if info.annotation is int else "those of the classes"
    found = info.default
    if found is None:
        return "none"
    if isinstance(found, Component):
        return code(f'"{found.id}"')
    if isinstance(found, bool):
        return code(str(found).lower())
    if isinstance(found, float) and found.is_integer() and found < 1e6:
        return code(f"{found:.1f}")
    if isinstance(found, float):
        return code(f"{found:.6g}")
    if isinstance(found, tuple):
        return code(str(list(found)).replace("'", '"'))
    return code(f'"{found}"' if isinstance(found, str) else found)


def values(annotation: Any, metadata: Iterable[Any]) -> str:
    """The values of a field in words."""
    for item in metadata:
        if isinstance(item, Registered):
            return f"a {item.registry.kind}".replace("a input", "an input")
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return values(arguments[0], arguments[1:])
    if origin is typing.Literal:
        return " or ".join(code(f'"{each}"' if isinstance(each, str) else each) for each in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(values(each, metadata) for each in arguments if each is not type(None))
    if origin is tuple:
        each = values(arguments[0], ())
        return f"a list, each {each}" if each[0] == "a" else f"a list, each a {each}"
    if origin is dict:
        return "a table"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a table"
    plain = {bool: "true or false", int: "whole number", float: "number", str: "text", NamedFile: "a path"}
    words = plain.get(annotation, "anything")
    bounds = [
        f"{sign} {amount(bound)}"
        for item in flattened(metadata)
        for kind, sign, bound in (
            (Ge, "≥", getattr(item, "ge", 0)),
            (Gt, ">", getattr(item, "gt", 0)),
            (Le, "≤", getattr(item, "le", 0)),
            (Lt, "<", getattr(item, "lt", 0)),
        )
        if isinstance(item, kind)
    ]
    return " ".join([words, ", ".join(bounds)]).strip()


def amount(bound: float) -> str:
    return f"{bound:,.0f}" if float(bound).is_integer() and bound < 2**53 else f"{bound:g}"


def flattened(metadata: Iterable[Any]) -> Iterable[Any]:
    for item in metadata:
        yield from item.metadata if isinstance(item, FieldInfo) else [item]


def leaderboard() -> str:
    """The committed leaderboard: a learner in a row, an axis in a column."""
    table = committed_leaderboard()
    means = table[table["seed"].isna()]
    rows = []
    for learner in means["learner"].drop_duplicates():
        own = means[means["learner"] == learner].set_index("axis")
        rows.append([code(learner), *(short_score(own, axis) or "–" for axis in TITLES)])
    return markdown_table(["learner", *TITLES.values()], rows)


def axes() -> str:
    rows = [[code(axis.name), axis.about] for axis in AXES.values()]
    return markdown_table(["axis", "what it is a mean over"], rows)


COMMON_FIELDS = built_in(FUNCTION_CLASSES)["linear"].model_fields

#: What stands between the marks, by the marks' name.
TABLES: dict[str, Callable[[], str]] = {
    "axes": axes,
    "leaderboard": leaderboard,
    "columns": columns_tables,
    "coverage": coverage_table,
    "function classes": function_classes,
    "parameters of every function class": common_parameters,
    "parameters of function classes": lambda: parameters(FUNCTION_CLASSES, COMMON),
    "inputs": inputs,
    "parameters of inputs": lambda: parameters(INPUTS),
    "observations": observations,
    "parameters of observations": lambda: parameters(OBSERVATIONS),
    "shifts": shifts,
    "parameters of shifts": lambda: parameters(SHIFTS),
    "baselines": baselines,
    "parameters of baselines": lambda: parameters(BASELINES),
    "metrics": metrics,
    "curricula": curricula,
    "parameters of curricula": lambda: parameters(CURRICULA),
    "parameters of models": lambda: parameters(MODELS),
    "parameters of training methods": lambda: parameters(METHODS),
    "parameters of launchers": lambda: parameters(LAUNCHERS),
    "keys of an experiment": lambda: table_fields(("", Experiment)),
    "keys of curriculum": lambda: table_fields(("curriculum.", CurriculumConfig), ("curriculum.dims.", Growth)),
    "keys of instruction": lambda: table_fields(("instruction.", InstructionConfig)),
    "keys of training": lambda: table_fields(
        ("training.", TrainingConfig),
        ("training.optimizer.", OptimizerConfig),
        ("training.schedule.", ScheduleConfig),
    ),
    "keys of evaluation": lambda: table_fields(("evaluation.", EvaluationConfig), ("evaluation.costly.", CostlyConfig)),
}


def main() -> None:
    for page in (DOCS.parent / "README.md", *DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        page.write_text(MARKED.sub(renewed, text), encoding="utf-8")


def renewed(match: re.Match[str]) -> str:
    name = match[1]
    return f"<!-- {name} -->\n{TABLES[name]()}\n<!-- /{name} -->" if name in TABLES else match[0]


if __name__ == "__main__":
    main()
