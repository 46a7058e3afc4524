"""Experiment files: finding, inheriting, overriding and reading them, with errors that name the key."""

from __future__ import annotations

import functools
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from icl_curriculum.config.component_files import ComponentFiles
from icl_curriculum.config.experiment import Experiment, Run, variant_name
from icl_curriculum.config.finding import experiment_names, is_file, is_there, packaged_folder
from icl_curriculum.config.mistakes import dotted, in_experiment, named, refuse_impossible, shown
from icl_curriculum.config.names import check_apart, check_cell, check_new_folder
from icl_curriculum.config.option_values import TOO_MUCH, parse_value
from icl_curriculum.config.sweeps import (
    Combination,
    combination_name,
    combinations,
    each_alone,
    flattened,
    labels_of,
    location,
    says,
)
from icl_curriculum.core.arguments import as_path, as_paths, as_texts, plain, whole_numbers
from icl_curriculum.core.component import Component
from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.mistakes import GatheredMistakes
from icl_curriculum.core.named_files import files_lie_in, placed
from icl_curriculum.core.options import given, option
from icl_curriculum.core.package_hashes import package_hashes
from icl_curriculum.core.plugin_files import COPIES, PluginFiles, read_copies
from icl_curriculum.core.plugins import load_files, load_plugin, plugins_of_a_run
from icl_curriculum.core.printable import harmless

#: What names or is an experiment: a name, the path of a TOML file, its content as a dict, or a checked one.
AnyExperiment = str | os.PathLike[str] | Mapping[str, Any] | Experiment

# What `recipe` sets where the file does not. "fast" is the defaults themselves; how "decayed" was found stands in
# docs/recipe.md.
RECIPES: dict[str, dict[str, Any]] = {
    "fast": {},
    "decayed": {
        "training": {
            "positions": "balanced",
            "optimizer": {"muon_learning_rate": 0.01, "momentum": 0.95, "run_decay": 4.0},
            "schedule": {"name": "linear", "decay": 0.95},
        },
    },
    "reference": {
        "model": {
            "name": "transformer",
            "tokens": "alternate",
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


def find(name: str) -> Path:
    """The file NAME means: a path if it ends in .toml, else ./experiments/NAME.toml, else the package's, else a path.

    So a file that is merely called like an experiment, as ``icl run smoke > smoke`` leaves one, hides none.
    """
    path = Path(name)
    if "/" in name and is_file(path):
        return path
    if name.endswith(".toml"):
        if not is_file(path):
            what = "is no file" if is_there(path) else "does not exist"
            raise UserError(f"experiment file {named(name)} {what}")
        return path
    for folder in (Path("experiments"), packaged_folder()):
        if is_file(folder / f"{name}.toml"):
            return folder / f"{name}.toml"
    if is_file(path):
        return path
    raise UserError(f"unknown experiment {shown(name)}{did_you_mean(name, experiment_names())}")


def load(
    name: AnyExperiment,
    *,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    plugins: Sequence[str | Path] = (),
    sweep: Mapping[str, Any] | None = None,
) -> list[Run]:
    """The runs of an experiment, one per (variant, seed).

    ``name``: a name or a TOML file as on the command line, or in Python what such a file says as a dict, or an
    `Experiment`. Of a dict, paths are relative to the working directory, it may hold components themselves, and without
    ``name`` the experiment is called ``experiment``.

    ``overrides`` are ``key=value`` with a dotted key and a TOML value; ``plugins`` are added to the file's. What other
    plugin files have registered before is unknown to the experiment. ``sweep``: values to try, by dotted key, as in
    ``{"model.width": [8, 16]}``; they replace those that the file says of a key.
    Raises UserError naming the file and the key.
    """
    return load_whole(name, overrides=overrides, seeds=seeds, plugins=plugins, sweep=sweep).runs


@dataclass(frozen=True)
class LoadedExperiment:
    """An experiment that was read, with all of its variants and runs.

    ``values``: what it says itself, with what it extends and what overrides it; ``made``: the experiment that each
    combination of variant and swept values made.
    """

    values: dict[str, Any]
    base: Experiment
    made: list[tuple[Combination, Experiment]]
    runs: list[Run]


def load_whole(
    name: AnyExperiment,
    *,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    plugins: Sequence[str | Path] = (),
    sweep: Mapping[str, Any] | None = None,
) -> LoadedExperiment:
    """Read an experiment, as `load` does, with what its runs are made of."""
    with plugins_of_a_run(replacing=True):
        return _load(name, overrides, seeds, plugins, sweep)


def _load(
    name: AnyExperiment,
    overrides: Sequence[str],
    seeds: Sequence[int] | None,
    plugins: Sequence[str | Path],
    sweep: Mapping[str, Any] | None,
) -> LoadedExperiment:
    files = ComponentFiles()
    path, values = _said(name, files)
    said = dict(values)
    gathered, of_plugins = GatheredMistakes(), GatheredMistakes()
    #: The overrides by the dotted keys that they set.
    set_by: dict[str, str] = {}
    for override in as_texts(overrides, "overrides"):
        with gathered.noting():
            changes = files.named(parse_override(override), Path(), given("--set", named(override)))
            values = merge(values, changes)
            set_by[dotted(override.partition("=")[0].strip().split("."))] = given("--set", named(override))
    if seeds is not None:
        values["seeds"] = whole_numbers(seeds, "seeds")
    called: dict[str, str] = {}
    if sweep is not None:
        values["sweep"] = _swept(values.get("sweep", {}), sweep, files)
        called = {key: given("--sweep", key) for key in flattened(sweep)}
        set_by |= {location(key): source for key, source in called.items()}
    loaded: dict[str, str] = {}
    for number, file in enumerate(values.get("plugins", [])):
        with of_plugins.noting(functools.partial(_of_plugin, path, number)):
            loaded[file] = load_plugin(Path(file))
    loaded |= files.loaded
    for plugin in as_paths(plugins, "plugins"):
        with of_plugins.noting():
            if not is_file(plugin):
                raise UserError(f"plugin file {named(str(plugin))} does not exist")
            loaded[str(plugin.resolve())] = load_plugin(plugin)
    if of_plugins.found:
        # Without one of its plugins, an experiment may name much that is unknown.
        gathered.note(of_plugins.found)
        gathered.tell()
    if loaded:
        # As they are shown: a path may hold bytes that are no text, which no file of results can.
        values["plugins"] = [harmless(file) for file in loaded]
    base = None
    with gathered.noting(lambda mistake: _blamed(mistake, set_by, said)):
        base = build(values, source=path)
        check_names(base, path)
    # A variant's own experiment has none, so that it can be run by itself.
    own = {key: value for key, value in values.items() if key not in ("variants", "sweep")}
    made: list[tuple[Combination, Experiment]] = []
    for each in _parts_of(values, called) if base is None else combinations(base.variants, base.sweep, called):
        with gathered.noting():
            if not each.where:
                made += [] if base is None else [(each, base)]
                continue
            # Beside one that cannot work as a whole, only what is wrong with the keys of a part is its own.
            make = _typed if base is None else build
            merged = functools.reduce(merge, each.tables, own)
            _refuse_lost(each, merged, set_by)
            made.append((each, make(merged, source=_source_of(path, each))))
    gathered.tell()
    assert base is not None
    runs: list[Run] = []
    for each, experiment in made:
        check_ids(experiment, _source_of(path, each))
        hashes = (*loaded.values(), *sorted(package_hashes(experiment.components())))
        labels = labels_of(each.swept, experiment)
        name = combination_name(each.variant, labels) if labels else each.variant or variant_name(experiment)
        runs += [Run(experiment, name, seed, hashes, labels, each.variant if labels else "") for seed in base.seeds]
    check_swept_names(runs, path)
    return LoadedExperiment(values, base, made, runs)


def _swept(said: Any, tried: Any, files: ComponentFiles) -> Any:
    """What a file says of its sweep, with what is given beside it in its place."""
    if not isinstance(tried, Mapping):
        raise UserError(f"expected a dict of keys with lists of values, found {shown(tried)}", key="sweep")
    made = {
        key: list(values) if isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping) else values
        for key, values in flattened(tried).items()
    }
    made = _as_in_a_file(made)
    refuse_impossible({"sweep": made})
    for key in made:
        made |= files.named({"sweep": {key: made[key]}}, Path(), given("--sweep", key))["sweep"]
    return {**flattened(said), **made} if isinstance(said, Mapping) else said


def _of_plugin(path: str, number: int, mistake: UserError) -> UserError:
    """What is wrong with a plugin file, told of the place in an experiment that names it."""
    return UserError(str(mistake), source=path, key=f"plugins.{number}")


def _source_of(path: str, variant: Combination) -> str:
    """What the source of a variant's values is called in messages."""
    return f"{path}, {variant.where}" if variant.where else path


def _parts_of(values: Mapping[str, Any], called: Mapping[str, str]) -> list[Combination]:
    """The entries of ``[variants]`` and the swept values in values that make no experiment, each by itself.

    Left out is what is no table of changes, and no list of values.
    """
    said = values.get("variants")
    changes = {name: each for name, each in said.items() if isinstance(each, dict)} if isinstance(said, dict) else {}
    return combinations(changes, {}) + each_alone(values.get("sweep"), called)


def _blamed(mistake: UserError, set_by: Mapping[str, str], said: Mapping[str, Any]) -> UserError:
    """The mistake, told of the override that has set its key or a table around it, if one has.

    Or something within it, where the experiment itself has ``said`` nothing of that key.
    """
    own = f"{mistake.key}."
    # Of a table and a key in it, both overridden, it is the key.
    around = [key for key in set_by if own.startswith(f"{key}.")]
    within = [key for key in set_by if f"{key}.".startswith(own) and not says(said, str(mistake.key))]
    blamed = max(around, key=len) if around else next(iter(within), None)
    return mistake if blamed is None else mistake.found_in(set_by[blamed])


def _refuse_lost(each: Combination, merged: Mapping[str, Any], set_by: Mapping[str, str]) -> None:
    """UserError for an override that is lost with what a swept name names, which has parameters of its own."""
    for name, value in each.swept.items():
        for key, source in set_by.items() if name.endswith(".name") else ():
            if key.startswith(name.removesuffix("name")) and key != name and not says(merged, key):
                raise UserError(
                    f"is lost where {name} = {shown(value)}, which has parameters of its own",
                    key=key,
                    source=source,
                    way_out=f"give all of them {given('--sweep', f'{key}=...')}, or write [variants]",
                )


def _said(experiment: AnyExperiment, files: ComponentFiles) -> tuple[str, dict[str, Any]]:
    """What to call an experiment in messages, and what it says, defaults left out and ``files`` named."""
    if isinstance(experiment, Experiment):
        values = experiment.model_dump(exclude_unset=True, exclude_none=True)
        if any("recipe" in changes for changes in experiment.variants.values()):
            raise UserError(
                "a variant of an Experiment that was made already cannot choose another recipe: what the first one "
                "sets is written out in it; give the experiment as a dict",
                key="variants",
            )
        if "recipe" in experiment.sweep:
            raise UserError(
                "what the first recipe sets is written out in an Experiment that was made already; give the experiment "
                "as a dict",
                key=location("recipe"),
            )
        if build(values, source="the Experiment").resolved() != experiment.resolved():
            raise UserError(
                f"the Experiment says {experiment.recipe!r} and was made without its values, which only a file or a "
                f"dict is filled up with; give the experiment as a dict",
                key="recipe",
            )
        return "the Experiment", files.named(values, Path(), "the Experiment")
    if isinstance(experiment, Mapping):
        values = _as_in_a_file(dict(experiment))
        refuse_impossible(values)
        return "the dict", _inherited(values, Path(), "the dict", (), files)
    path = find(str(as_path(experiment, "experiment")))
    return str(path), {"name": path.stem, **read(path, files=files)}


def _as_in_a_file(value: Any) -> Any:
    """A value from Python as TOML would say it: components and tables as dicts, numbers and paths as such."""
    value = plain(value)
    if isinstance(value, Component):
        return value.spec()
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True, exclude_none=True)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, Mapping):
        # Python's None stands for a key that is not given, which TOML leaves out.
        return {key: _as_in_a_file(item) for key, item in value.items() if item is not None}
    return [_as_in_a_file(item) for item in value] if isinstance(value, list | tuple) else value


def check_names(experiment: Experiment, source: str) -> None:
    """UserError for what a new experiment may not call itself or its variants; what old runs are called is read."""
    try:
        check_new_folder("name", experiment.name)
        for variant in experiment.variants:
            check_new_folder("variants", variant)
        check_apart("variants", experiment.variants)
        if not experiment.variants and not experiment.sweep:
            check_new_folder("curriculum.function_classes.id", variant_name(experiment))
    except UserError as error:
        raise error.found_in(source) from None


def check_swept_names(runs: Sequence[Run], source: str) -> None:
    """UserError for combinations of a sweep whose names are one, or can be none of a folder."""
    names = [run.variant for run in runs if run.swept and run.seed == runs[0].seed]
    try:
        for number, name in enumerate(names):
            check_new_folder("sweep", name)
            if name in names[:number]:
                raise UserError(
                    f"two combinations are both called {name!r}",
                    key="sweep",
                    way_out='give components an id = "..." that tells them apart, or write [variants]',
                )
        check_apart("sweep", names)
    except UserError as error:
        raise error.found_in(source) from None


def check_ids(experiment: Experiment, source: str) -> None:
    """UserError for an id that no new table may hold."""
    for component in experiment.components():
        try:
            check_cell("id", component.id)
        except UserError as error:
            raise error.found_in(source) from None


def load_run(config_file: Path, *, plugin_hashes: Sequence[str] | None = None) -> Run:
    """The run of a run directory's config.toml. Its plugins are loaded from copies beside it where there are any.

    ``plugin_hashes``: those of the run's manifest. UserError, before anything of them is executed, where copies are
    not what they say, and where an installed package that the run was made with has changed.
    """
    config = read_toml(config_file)
    plugins = config.get("plugins", [])
    if not isinstance(plugins, list) or not all(isinstance(plugin, str) for plugin in plugins):
        raise UserError(f"{config_file}: plugins: expected a list of file names, found {shown(plugins)}")
    return rebuild(
        config, read_copies(config_file.parent / COPIES, plugins), source=str(config_file),
        plugin_hashes=plugin_hashes, folder=config_file.parent,
    )  # fmt: skip


def rebuild(
    config: dict[str, Any],
    plugins: Sequence[PluginFiles],
    *,
    source: str,
    plugin_hashes: Sequence[str] | None = None,
    folder: Path = Path(),
) -> Run:
    """The run whose `Run.config` this is, with its plugins loaded from their files or from copies of these.

    No other plugin files are known to it. ``plugin_hashes``: what `Run.plugin_hashes` is to be, see `load_run`.
    ``folder``: where the copies of other files lie.
    """
    variant, seed = config.get("variant"), config.get("seed")
    if not isinstance(variant, str) or not isinstance(seed, int):
        raise UserError(f"{source}: expected the config of a run, with a variant and a seed, found none")
    if plugin_hashes is not None:
        plugin_hashes = [*plugin_hashes] if isinstance(plugin_hashes, list | tuple) else []
        _expect_copies(plugins, plugin_hashes)
    with plugins_of_a_run(replacing=False):
        hashes = [load_files(plugin) for plugin in plugins]
        values = {key: value for key, value in config.items() if key not in ("variant", "seed")}
        with files_lie_in(folder):
            experiment = build({**values, "seeds": [seed]}, source=source)
        packages = package_hashes(experiment.components())
    if plugin_hashes is not None:
        _expect_packages(source, packages, plugin_hashes[len(plugins) :])
    return Run(experiment, variant, seed, (*hashes, *sorted(packages)))


def _expect_copies(plugins: Sequence[PluginFiles], hashes: Sequence[str]) -> None:
    """UserError unless the copies of plugins, none of which was executed yet, are those that a run wrote."""
    for number, plugin in enumerate(plugins):
        if hashes[number : number + 1] != [plugin.hash]:
            what = f" with {', '.join(sorted(plugin.beside))} beside it" if plugin.beside else ""
            raise UserError(
                f"{plugin.known_as}{what} is not what the run wrote: the manifest knows another content; restore it, "
                f"or use {option('--fresh')}"
            )


def _expect_packages(source: str, packages: dict[str, str], hashes: Sequence[str]) -> None:
    """UserError unless the installed packages that a run uses are those that it was made with, if it says which."""
    changed = [components for digest, components in packages.items() if digest not in hashes]
    if changed and hashes:
        raise UserError(
            f"{source}: the code of {', '.join(sorted(changed))} has changed since the run was made, and no copy of it "
            f"is kept; install what it was made with, or train anew with {option('--fresh')}"
        )


def read_toml(path: Path) -> dict[str, Any]:
    try:
        # Some editors begin a file with a byte order mark.
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a valid TOML file: {error}") from error
    except (ValueError, RecursionError):
        raise UserError(f"{path}: not a valid TOML file: {TOO_MUCH}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        refuse_impossible(values)
    except UserError as error:
        raise error.found_in(str(path)) from None
    return values


def read(path: Path, seen: tuple[Path, ...] = (), files: ComponentFiles | None = None) -> dict[str, Any]:
    """A file's values merged over those it extends. Plugin paths become absolute.

    ``files``: what loads the files that stand for components, and names these; without it they are left as they are.
    """
    if path.resolve() in seen:
        raise UserError(f"{path}: extends itself, by way of {', '.join(str(p.name) for p in seen)}")
    values = placed(read_toml(path), path.parent)
    return _inherited(values, path.parent, str(path), (*seen, path.resolve()), files)


def _inherited(
    values: dict[str, Any], folder: Path, source: str, seen: tuple[Path, ...], files: ComponentFiles | None
) -> dict[str, Any]:
    """Values merged over those of the file that they extend. What they name is looked for in ``folder``."""
    if values.get("plugins", []) != []:
        values["plugins"] = _absolute(values["plugins"], folder, f"{source}: plugins")
    if "sweep" in values:
        values["sweep"] = flattened(values["sweep"])
    if files is not None:
        values = files.named(values, folder, source)
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str):
        raise UserError(f"{source}: extends: expected a file name, found {shown(parent)}")
    candidates = [folder / parent, packaged_folder() / parent]
    parent_path = next((candidate for candidate in candidates if is_file(candidate)), None)
    if parent_path is None:
        where = "beside this file" if seen else "in the working directory"
        raise UserError(f"{source}: extends: {named(parent)} is neither {where} nor in the package")
    inherited = read(parent_path, seen, files)
    for own in ("name", "description"):
        inherited.pop(own, None)
    return merge(inherited, values)


def _absolute(plugins: Any, folder: Path, source: str) -> list[str]:
    """Plugin files as absolute paths; UserError that begins with ``source`` for anything but file names."""
    if not isinstance(plugins, list) or not all(isinstance(plugin, str) for plugin in plugins):
        raise UserError(f"{source}: expected a list of file names, found {shown(plugins)}")
    for number, plugin in enumerate(plugins):
        if not is_file(folder / plugin):
            raise UserError(f"{source}.{number}: plugin file {named(str(folder / plugin))} does not exist")
    return [str((folder / plugin).resolve()) for plugin in plugins]


# Keys that hold one component, and what a table without a name is where there is a default.
_COMPONENTS = {
    "model": "transformer",
    "training.method": "in_context",
    "curriculum.function_classes": None,
    "curriculum.inputs": None,
}
# Tables whose ``name`` is a plain choice: their other keys hold whatever it is.
_PLAIN_TABLES = ("training.optimizer", "training.schedule")
# Keys of a table of which one is given: a change that names one of them takes the place of the other.
_EITHER = {"curriculum.dims": {"every", "over"}, "curriculum.points": {"every", "over"}}


def merge(base: dict[str, Any], changes: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``changes`` over ``base``: tables merge key by key, unless the change names another component."""
    either = _EITHER.get(prefix.removesuffix("."), set())
    merged = {key: value for key, value in base.items() if not (key in either and either & changes.keys())}
    for key, value in changes.items():
        path, old = f"{prefix}{key}", merged.get(key)
        if path in _COMPONENTS:
            old, value = _as_table(old), _as_table(value)
        if isinstance(old, dict) and isinstance(value, dict):
            known = old.get("name", _COMPONENTS.get(path))
            if path in _PLAIN_TABLES or value.get("name", known) == known:
                value = merge(old, value, f"{path}.")
        merged[key] = value
    return merged


def _as_table(component: Any) -> Any:
    return {"name": component} if isinstance(component, str) else component


def parse_override(text: str) -> dict[str, Any]:
    """``training.steps=200`` as nested tables. A value that is no TOML is taken as a string."""
    source = given("--set", named(text))
    key, separator, value = text.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise UserError(f"{source}: expected key=value with a dotted key, e.g. {given('--set', 'training.steps=200')}")
    parsed = parse_value(value, source)
    for part in reversed(parts):
        parsed = {part: parsed}
    try:
        refuse_impossible(parsed)
    except UserError as error:
        raise error.found_in(source) from None
    if "plugins" in parsed:
        parsed["plugins"] = _absolute(parsed["plugins"], Path(), f"{source}: plugins")
    return dict(parsed)


def build(values: dict[str, Any], *, source: str) -> Experiment:
    """A checked `Experiment`; UserError names ``source``, the dotted key, what was expected and the closest name."""
    experiment = _typed(values, source=source)
    try:
        experiment.check()
    except UserError as error:
        raise error.found_in(source) from None
    return experiment


def _typed(values: dict[str, Any], *, source: str) -> Experiment:
    """The `Experiment` of values each of which is what its key may hold, whether or not they go together."""
    recipe = values.get("recipe", "fast")
    try:
        if isinstance(recipe, str) and recipe in RECIPES:
            values = merge(RECIPES[recipe], values)
        return Experiment.model_validate(values)
    except ValidationError as error:
        raise in_experiment(error, source) from None
    except UserError as error:
        raise error.found_in(source) from None
