"""``icl evaluate``: a trained model on any task and shift, also on those that its experiment never named."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from icl_curriculum import figures
from icl_curriculum.checkpoints import load_model
from icl_curriculum.component_text import component
from icl_curriculum.computing import computing_threads, is_out_of_memory
from icl_curriculum.contracts import ComponentFailed, at_work
from icl_curriculum.evaluation import BANK_VERSION, Bank
from icl_curriculum.execution import RunFailed
from icl_curriculum.experiment import Run
from icl_curriculum.experiment_files import load_run
from icl_curriculum.files import check_writable, locked, remove_leftovers, write_atomically
from icl_curriculum.final_evaluation import Advanced, Scored, Trained, score_banks
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.inputs import InputDistribution
from icl_curriculum.models.base import Model
from icl_curriculum.plugin_files import copies_of, load_plugin, package_hash
from icl_curriculum.provenance import provenance
from icl_curriculum.registry import FUNCTION_CLASSES, INPUTS, SHIFTS, Component, Registry, UserError
from icl_curriculum.results import COLUMNS, RunDirectory, csv_text, read_manifest, text_hash
from icl_curriculum.shifts import Shift, standard_shifts, why_undefined
from icl_curriculum.tasks import Task

#: On the command line, every registered one, or for shifts the catalogue's grid.
ALL = "all"
#: Marks the manifests of these evaluations, so that no other folder is taken for one.
KIND = "icl evaluate"


@dataclass(frozen=True)
class Grid:
    """What a model is asked: the banks, and why other cells are none."""

    banks: tuple[Bank, ...]
    undefined: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """What the user named; empty: the run's own classes and inputs, and unless anything is named, all shifts."""

    function_classes: Sequence[str] = ()
    inputs: Sequence[str] = ()
    shifts: Sequence[str] = ()
    n_prompts: int | None = None


@dataclass(frozen=True)
class Written:
    """The table, the figure if there is one, and what baselines failed on."""

    table: Path
    figure: Path | None
    failures: list[str]


class Evaluation:
    """A finished run, ready to be asked. UserError if the directory holds none, or a damaged one."""

    def __init__(self, run_dir: Path, *, plugins: Sequence[Path] = (), device: str = "cpu") -> None:
        manifest = read_manifest(run_dir)
        if manifest is None or manifest["status"] != "finished":
            found = "no run" if manifest is None else f"a run that is {manifest['status']}"
            raise UserError(f"{run_dir}: expected the directory of a finished run, found {found}{_runs_in(run_dir)}")
        self.run_dir, self.manifest = run_dir, manifest
        self.run = load_run(run_dir / "config.toml")
        self.plugins = {str(plugin): _load_beside(plugin) for plugin in plugins}
        experiment = self.run.experiment
        self.directory = RunDirectory(run_dir, experiment=experiment.name, variant=self.run.variant, seed=self.run.seed)
        model = load_model(run_dir).to(device)
        self.directory.check_intact()
        self.trained = _trained(self.run, model, run_dir)

    def grid(self, asked: Asked) -> Grid:
        """Every asked cell that is defined. UserError for what cannot be meant."""
        experiment = self.run.experiment
        named = asked.function_classes or asked.inputs or asked.shifts
        classes: list[FunctionClass] = _components(
            asked.function_classes, FUNCTION_CLASSES, "--function-class", experiment.function_classes
        )
        inputs: list[InputDistribution] = _components(asked.inputs, INPUTS, "--inputs", experiment.inputs)
        others = [text for text in asked.shifts if text != ALL]
        shifts: list[Shift] = _components(others, SHIFTS, "--shift", experiment.evaluation.shifts)
        if ALL in asked.shifts or not named:
            shifts = [*standard_shifts(), *shifts]
        banks: dict[tuple[str, str, str], Bank] = {}
        undefined: dict[str, None] = {}
        for function_class in classes or experiment.function_classes:
            for distribution in inputs or experiment.inputs:
                task = Task(function_class, distribution, experiment.dims)
                reason = _outside(task)
                if reason is not None:
                    undefined[f"{function_class.id} with {distribution.id} inputs: {reason}"] = None
                    continue
                for shift in (None, *shifts):
                    reason = None if shift is None else self._why_undefined(task, shift)
                    if shift is not None and reason is not None:
                        undefined[f"{function_class.id} with {distribution.id} inputs under {shift.id}: {reason}"] = (
                            None
                        )
                        continue
                    n_prompts = asked.n_prompts or experiment.evaluation.n_prompts
                    bank = Bank(task, shift, n_prompts, experiment.points, experiment.evaluation.bank_seed)
                    _expect_same(banks.setdefault(bank.key, bank), bank)
        if not banks:
            raise UserError("nothing to evaluate: " + "; ".join(undefined))
        return Grid(tuple(banks.values()), tuple(undefined))

    def _why_undefined(self, task: Task, shift: Shift) -> str | None:
        reason = why_undefined(shift, task)
        if reason is not None:
            return reason
        experiment = self.run.experiment
        with at_work(experiment.model, "longest_prompt"):
            asked, allowed = shift.points(experiment.points), experiment.model.longest_prompt(experiment.points)
        return None if asked <= allowed else f"prompts of {asked} points, and the model's positions allow {allowed}"

    def score(self, grid: Grid, output: Path, advanced: Advanced) -> Written:
        """Write ``output``/evaluation.csv, manifest.json and the heat map.

        Rows of other cells that an earlier call wrote for this run are kept, so that a table can grow; of a call
        that is interrupted, the banks that were answered. UserError, before anything is computed, if ``output``
        holds what no such call wrote; RunFailed if a plugin breaks its contract or the memory does not suffice.
        """
        cache = self.run_dir.parent / ".cache"
        check_writable(output)
        with locked(output / ".lock"), computing_threads(self.run.experiment.threads):
            remove_leftovers(output)
            self._written(output)
            packages = [package_hash(component) for bank in grid.banks for component in _asked(bank)]
            plugins = (*self.plugins.values(), *sorted({item for item in packages if item is not None}))
            trained = replace(self.trained, plugins=plugins)
            answered: list[Scored] = []
            try:
                for scored in score_banks(trained, grid.banks, cache, advanced):
                    answered.append(scored)
            except (ComponentFailed, MemoryError, RuntimeError) as error:
                bank = "/".join(grid.banks[len(answered)].key)
                raise RunFailed(f"{bank}: {_reason(error)}; {_kept(len(answered), output)}") from error
            finally:
                if answered:
                    self._write(output, answered, plugins)
            failures = [f"{key}: {text}" for item in answered for key, all_ in item.failed.items() for text in all_]
            return Written(output / "evaluation.csv", figures.draw_heat_map(output), failures)

    def _write(self, output: Path, answered: Sequence[Scored], plugins: Sequence[str]) -> None:
        written, manifest = self._written(output)
        rows = ([*self.directory.prefix, *row] for scored in answered for row in scored.rows)
        table = csv_text([COLUMNS["evaluation"]]) + _merged(written, csv_text(rows))
        manifest = {
            "kind": KIND,
            "run": self.run.name,
            "config_hash": self.manifest["config_hash"],
            "weights": self.manifest.get("weights"),
            "plugins": sorted({*manifest.get("plugins", []), *plugins}),
            "bank_version": BANK_VERSION,
            "banks": {
                **manifest.get("banks", {}),
                **{key: value for item in answered for key, value in item.hashed.items()},
            },
            "baseline_failures": _failures(manifest.get("baseline_failures", {}), answered),
            # Either may be there after a crash between the two files.
            "tables": [text_hash(table), *manifest.get("tables", [])[:1]],
            **provenance(),
        }
        for name, content in copies_of(list(self.plugins), list(self.plugins.values())).items():
            write_atomically(output / "plugins" / name, content)
        write_atomically(output / "manifest.json", json.dumps(manifest, indent=2) + "\n")
        write_atomically(output / "evaluation.csv", table)

    def _written(self, output: Path) -> tuple[str, dict[str, Any]]:
        """The rows and the manifest of earlier calls for this run, empty where there are none.

        UserError if the folder holds the files of somebody else, or damaged ones.
        """
        table, path = output / "evaluation.csv", output / "manifest.json"
        if not table.exists() and not path.exists():
            return "", {}
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            text = table.read_text(encoding="utf-8") if table.exists() else None
        except (OSError, ValueError):
            manifest, text = None, ""
        if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
            raise UserError(f"{output} holds files that icl evaluate did not write; give another folder with --output")
        if manifest.get("weights") != self.manifest.get("weights") or manifest.get("bank_version") != BANK_VERSION:
            raise UserError(
                f"{output} holds the evaluation of {manifest.get('run')} with other weights or other banks; "
                f"give another folder with --output, or remove it"
            )
        if text is None and len(manifest["tables"]) == 1:
            return "", {}
        if text is None or text_hash(text) not in manifest["tables"]:
            raise UserError(f"{table} is damaged: it is not what icl evaluate wrote; restore it, or remove {output}")
        return text.split("\n", 1)[1], manifest


def _failures(known: dict[str, list[str]], answered: Sequence[Scored]) -> dict[str, list[str]]:
    """What baselines failed on, by bank: of banks that are answered anew, what they failed on now."""
    anew = {key for item in answered for key in item.hashed}
    kept = {key: failures for key, failures in known.items() if key not in anew}
    return kept | {key: failures for item in answered for key, failures in item.failed.items()}


def _merged(old: str, new: str) -> str:
    """Rows by cell: those of cells that stand in both are the new ones, in the old one's place."""
    columns = [COLUMNS["evaluation"].index(name) for name in ("function_class", "input_distribution", "shift")]
    cells: dict[tuple[str, ...], list[list[str]]] = {}
    for text in (old, new):
        found: dict[tuple[str, ...], list[list[str]]] = {}
        for row in csv.reader(io.StringIO(text, newline="")):
            found.setdefault(tuple(row[column] for column in columns), []).append(row)
        cells.update(found)
    return csv_text(row for rows in cells.values() for row in rows)


def _components(texts: Sequence[str], registry: Registry, option: str, known: Sequence[Component]) -> list[Any]:
    """The components of the registry's kind that the texts mean, each once."""
    names = [name for text in texts for name in (registry.names() if text == ALL else [text])]
    return [component(name, registry, option, known) for name in dict.fromkeys(names)]


def _outside(task: Task) -> str | None:
    """Why a function class is not defined in these dimensions or for these inputs."""
    try:
        task.function_class.check_dims(task.dims)
        task.inputs.check_dims(task.dims)
    except UserError as error:
        # What to set in an experiment file is no help: the run's dimensions are what they are.
        text = str(error).split("; set ")[0]
        return f"{text.removeprefix(f'{task.function_class.name}: ')}, the run's dimensions"
    reason = task.outside_domain()
    return None if reason is None else f"{reason}; give --inputs {task.reference_inputs().id}"


def _expect_same(one: Bank, other: Bank) -> None:
    """UserError for two components of one id, of which the table could hold only one."""
    if one.drawn_task != other.drawn_task or (one.shift_id != "none" and one.shift != other.shift):
        raise UserError(
            f'two different cells are called {"/".join(one.key)}; give one of them id = "...", in a TOML table'
        )


def _asked(bank: Bank) -> list[Component]:
    return [bank.drawn_task.function_class, bank.drawn_task.inputs, *([] if bank.shift is None else [bank.shift])]


def _load_beside(plugin: Path) -> str:
    """Load a plugin beside those of the run, and say what to do if they are the same."""
    try:
        return load_plugin(plugin)
    except UserError as error:
        hint = "; the run's own plugins are loaded from its folder, as they were" if "twice" in str(error) else ""
        raise UserError(f"--plugin {plugin}: {error}{hint}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, ComponentFailed):
        return str(error)
    if isinstance(error, RuntimeError) and not is_out_of_memory(error):
        raise error
    return "memory ran out; lower --n-prompts"


def _kept(answered: int, output: Path) -> str:
    banks = f"{answered} bank" + "s" * (answered != 1)
    return f"{banks} answered before are kept in {output / 'evaluation.csv'}" if answered else "nothing was written"


def _trained(run: Run, model: Model, run_dir: Path) -> Trained:
    """The model with what it was trained on, as its own evaluation.csv says."""
    columns = ["step", "function_class", "input_distribution", "in_distribution", "n_context"]
    types = {"function_class": "str", "input_distribution": "str"}
    own = pd.read_csv(run_dir / "evaluation.csv", usecols=columns, dtype=types, keep_default_na=False)
    step = int(own["step"].max())
    own = own[own["in_distribution"]]
    offered = frozenset(zip(own["function_class"], own["input_distribution"], strict=True))
    points = int(own["n_context"].max()) + 1 if len(own) else 0
    return Trained(run, model, step, offered, points)


def _runs_in(folder: Path) -> str:
    """A hint for who names an experiment's folder instead of a run's."""
    runs = sorted(path.parent.name for path in folder.glob("*/manifest.json"))
    return f"; its runs are {', '.join(runs[:5])}{', …' if len(runs) > 5 else ''}" if runs else ""
