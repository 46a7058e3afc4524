"""Experiment files: finding, inheriting, overriding and reading them, with errors that name the key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from icl_curriculum.experiment import Experiment, Run, variant_name
from icl_curriculum.plugin_files import file_hash, is_from_file, load_plugin
from icl_curriculum.registry import UserError, did_you_mean, source_of

# What `recipe` sets where the file does not. "fast" is the defaults themselves.
RECIPES: dict[str, dict[str, Any]] = {
    "fast": {},
    "reference": {
        "model": {
            "name": "transformer",
            "initialization": "reference",
            "positions": "token",
            "normalize_queries_and_keys": False,
            "activation": "gelu",
        },
        "training": {
            "optimizer": {"name": "adam", "learning_rate": 1e-4, "betas": [0.9, 0.999]},
            "schedule": {"name": "constant", "warmup": 0.0},
            "clip": float("inf"),
        },
    },
}


def packaged_folder() -> Path:
    """The experiments that come with the package: beside it in an installed wheel, above it in a checkout."""
    inside = Path(__file__).parent / "experiments"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "experiments"


def experiment_names() -> list[str]:
    """Names that `find` knows: files in ./experiments and those of the package."""
    folders = [Path("experiments"), packaged_folder()]
    return sorted({path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.toml")})


def find(name: str) -> Path:
    """The file NAME means: a path if it ends in .toml or exists, else ./experiments/NAME.toml, else the package's."""
    if name.endswith(".toml") or Path(name).is_file():
        path = Path(name)
        if not path.is_file():
            raise UserError(f"experiment file {name} does not exist")
        return path
    for folder in (Path("experiments"), packaged_folder()):
        if (folder / f"{name}.toml").is_file():
            return folder / f"{name}.toml"
    raise UserError(f"unknown experiment {name!r}{did_you_mean(name, experiment_names())}")


def load(
    name: str,
    *,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    plugins: Sequence[str | Path] = (),
) -> list[Run]:
    """The runs of experiment NAME, one per (variant, seed).

    ``overrides`` are ``key=value`` with a dotted key and a TOML value; ``plugins`` are added to the file's.
    Raises UserError naming the file and the key.
    """
    path = find(name)
    values = read(path)
    values.setdefault("name", path.stem)
    for override in overrides:
        values = merge(values, parse_override(override))
    if seeds is not None:
        values["seeds"] = list(seeds)
    plugin_files = list(
        dict.fromkeys([*values.get("plugins", []), *(str(Path(plugin).resolve()) for plugin in plugins)])
    )
    if plugin_files:
        values["plugins"] = plugin_files
    for plugin in plugin_files:
        load_plugin(Path(plugin))
    base = build(values, source=str(path))
    runs = []
    for variant, changes in (base.variants or {"": {}}).items():
        experiment = build(merge(values, changes), source=f"{path}, variant {variant!r}") if variant else base
        hashes = _source_hashes(experiment, [Path(plugin) for plugin in plugin_files])
        runs += [Run(experiment, variant or variant_name(experiment), seed, hashes) for seed in base.seeds]
    return runs


def load_run(config_file: Path) -> Run:
    """The run of a run directory's config.toml. Its plugins are loaded from copies beside it where there are any."""
    config = read_toml(config_file)
    copies = [config_file.parent / "plugins" / name for name in copy_names(config.get("plugins", []))]
    return rebuild(config, copies, source=str(config_file))


def copy_names(plugins: Sequence[str]) -> list[str]:
    """What copies of the plugin files are called in a run directory: their own names, numbered where two are equal.

    >>> copy_names(["a/mine.py", "b/mine.py", "b/yours.py"])
    ['0-mine.py', '1-mine.py', 'yours.py']
    """
    names = [Path(plugin).name for plugin in plugins]
    return [f"{number}-{name}" if names.count(name) > 1 else name for number, name in enumerate(names)]


def rebuild(config: dict[str, Any], plugins: Sequence[Path], *, source: str) -> Run:
    """The run whose `Run.config` this is, with its plugins loaded from the given files."""
    variant, seed = config.get("variant"), config.get("seed")
    if not isinstance(variant, str) or not isinstance(seed, int):
        raise UserError(f"{source}: expected the config of a run, with a variant and a seed, found none")
    for plugin in plugins:
        load_plugin(plugin)
    values = {key: value for key, value in config.items() if key not in ("variant", "seed")}
    experiment = build({**values, "seeds": [seed]}, source=source)
    return Run(experiment, variant, seed, _source_hashes(experiment, plugins))


def _source_hashes(experiment: Experiment, plugins: Sequence[Path]) -> tuple[str, ...]:
    """Content hashes of the plugin files, then of the files of installed packages that the experiment uses."""
    hashes = [file_hash(plugin) for plugin in plugins]
    sources = {source_of(component) for component in experiment.components() if not is_from_file(component)}
    installed = {file_hash(source) for source in sources if source is not None and source.is_file()}
    return (*hashes, *sorted(installed - set(hashes)))


def read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a valid TOML file: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def read(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A file's values merged over those it extends. Plugin paths become absolute."""
    if path.resolve() in seen:
        raise UserError(f"{path}: extends itself, by way of {', '.join(str(p.name) for p in seen)}")
    values = read_toml(path)
    plugins = values.get("plugins", [])
    if not isinstance(plugins, list) or not all(isinstance(plugin, str) for plugin in plugins):
        raise UserError(f"{path}: plugins: expected a list of file names, found {plugins!r}")
    if plugins:
        values["plugins"] = [str((path.parent / plugin).resolve()) for plugin in plugins]
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str):
        raise UserError(f"{path}: extends: expected a file name, found {parent!r}")
    candidates = [path.parent / parent, packaged_folder() / parent]
    parent_path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if parent_path is None:
        raise UserError(f"{path}: extends: {parent} is neither beside this file nor in the package")
    inherited = read(parent_path, (*seen, path.resolve()))
    for own in ("name", "description"):
        inherited.pop(own, None)
    return merge(inherited, values)


# What a table without a name is, for keys that hold a component with a default.
_DEFAULT_COMPONENTS = {"model": "transformer", "training.method": "in_context"}
# Tables whose ``name`` is a plain choice: their other keys hold whatever it is.
_PLAIN_TABLES = ("training.optimizer", "training.schedule")


def merge(base: dict[str, Any], changes: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``changes`` over ``base``: tables merge key by key, unless the change names another component."""
    merged = dict(base)
    for key, value in changes.items():
        path, old = f"{prefix}{key}", merged.get(key)
        if path in _DEFAULT_COMPONENTS and isinstance(value, str):
            value = {"name": value}
        if isinstance(old, dict) and isinstance(value, dict):
            known = old.get("name", _DEFAULT_COMPONENTS.get(path))
            if path in _PLAIN_TABLES or value.get("name", known) == known:
                value = merge(old, value, f"{path}.")
        merged[key] = value
    return merged


def parse_override(text: str) -> dict[str, Any]:
    """``training.steps=200`` as nested tables. A value that is no TOML is taken as a string."""
    key, separator, value = text.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise UserError(f"--set {text}: expected key=value with a dotted key, e.g. --set training.steps=200")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    for part in reversed(parts):
        parsed = {part: parsed}
    return dict(parsed)


def build(values: dict[str, Any], *, source: str) -> Experiment:
    """A checked `Experiment`; UserError names ``source``, the dotted key, what was expected and the closest name."""
    recipe = values.get("recipe", "fast")
    try:
        if isinstance(recipe, str) and recipe in RECIPES:
            values = merge(RECIPES[recipe], values)
        experiment = Experiment.model_validate(values)
        experiment.check()
    except ValidationError as error:
        items = error.errors()
        # A list is also called too short when its only item is wrong: that item says it better.
        spoiled = {item["loc"][:-1] for item in items}
        items = [item for item in items if item["type"] != "too_short" or item["loc"] not in spoiled]
        problems = [line for item in items for line in _explain(item)]
        raise UserError("\n".join(f"{source}: {problem}" for problem in problems)) from None
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    return experiment


# Python's words for what a TOML file calls something else.
_WORDING = {
    "Input should (be|have)": "expected",
    r"a valid tuple|a valid list": "a list",
    r"a valid dictionary( or (object|instance) .*)?": "a table",
    r"Tuple should have (at \w+ \d+ items?)( after validation)?": r"expected a list of \1",
}


def _explain(error: Any, prefix: tuple[str | int, ...] = (), known: Iterable[str] = ()) -> list[str]:
    """One pydantic error as ``key: what was wrong``; errors inside a component are unfolded."""
    location = (*prefix, *error["loc"])
    key = ".".join(str(part) for part in location)
    context = error.get("ctx", {})
    if error["type"] == "component_parameters":
        return [line for inner in context["errors"] for line in _explain(inner, location, context["known"])]
    if error["type"] == "component":
        return [f"{key}: {context['message']}"]
    if error["type"] == "extra_forbidden":
        names = list(known) or _fields_at(Experiment, error["loc"][:-1])
        hint = did_you_mean(str(location[-1]), (name for name in names if name != "given_id"))
        return [f"{key}: unknown key{hint}"]
    message = error["msg"]
    for said, meant in _WORDING.items():
        message = re.sub(said, meant, message)
    return [f"{key}: {message}, found {error['input']!r}"]


def _fields_at(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys of the table at a location, for suggestions."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            return []
        candidates = [field.annotation, *get_args(field.annotation)]
        inner = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)
