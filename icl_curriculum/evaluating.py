"""``icl evaluate``: a trained model on any task and shift, also on those that its experiment never named."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from icl_curriculum.checkpoints import load_model
from icl_curriculum.component_text import component
from icl_curriculum.contracts import at_work
from icl_curriculum.evaluation import BANK_VERSION, Bank
from icl_curriculum.execution import computing_threads
from icl_curriculum.experiment import Run
from icl_curriculum.experiment_files import load_run
from icl_curriculum.figures import draw_heat_map
from icl_curriculum.files import check_writable, locked, remove_leftovers, write_atomically
from icl_curriculum.final_evaluation import Advanced, Scored, Trained, score_banks
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.inputs import InputDistribution
from icl_curriculum.plugin_files import load_plugin
from icl_curriculum.provenance import provenance
from icl_curriculum.registry import FUNCTION_CLASSES, INPUTS, SHIFTS, Registry, UserError
from icl_curriculum.results import COLUMNS, RunDirectory, csv_text, read_manifest
from icl_curriculum.shifts import Shift, standard_shifts, why_undefined
from icl_curriculum.tasks import Task

#: On the command line, every registered one, or for shifts the catalogue's grid.
ALL = "all"


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


class Evaluation:
    """A finished run, ready to be asked. UserError if the directory holds none, or a damaged one."""

    def __init__(self, run_dir: Path, *, plugins: Sequence[Path] = (), device: str = "cpu") -> None:
        manifest = read_manifest(run_dir)
        if manifest is None or manifest["status"] != "finished":
            found = "no run" if manifest is None else f"a run that is {manifest['status']}"
            raise UserError(f"{run_dir}: expected the directory of a finished run, found {found}{_runs_in(run_dir)}")
        self.run_dir, self.manifest = run_dir, manifest
        self.run = load_run(run_dir / "config.toml")
        for plugin in plugins:
            load_plugin(plugin)
        experiment = self.run.experiment
        self.directory = RunDirectory(run_dir, experiment=experiment.name, variant=self.run.variant, seed=self.run.seed)
        self.directory.check_intact()
        self.trained = _trained(self.run, run_dir, device)

    def grid(self, asked: Asked) -> Grid:
        """Every asked cell that is defined. UserError for what cannot be meant."""
        experiment = self.run.experiment
        named = asked.function_classes or asked.inputs or asked.shifts
        classes: list[FunctionClass] = _components(asked.function_classes, FUNCTION_CLASSES, "--function-class")
        inputs: list[InputDistribution] = _components(asked.inputs, INPUTS, "--inputs")
        others = [text for text in asked.shifts if text != ALL]
        shifts: list[Shift] = _components(others, SHIFTS, "--shift")
        if ALL in asked.shifts or not named:
            shifts = [*standard_shifts(), *shifts]
        banks: dict[tuple[str, str, str], Bank] = {}
        undefined: dict[str, None] = {}
        for function_class in classes or experiment.function_classes:
            for distribution in inputs or experiment.inputs:
                task = Task(function_class, distribution, experiment.dims)
                for shift in (None, *shifts):
                    reason = self._why_undefined(task, shift)
                    if reason is not None:
                        name = "" if shift is None else f" under {shift.id}"
                        undefined[f"{function_class.id} with {distribution.id} inputs{name}: {reason}"] = None
                        if shift is None:
                            break
                        continue
                    n_prompts = asked.n_prompts or experiment.evaluation.n_prompts
                    bank = Bank(task, shift, n_prompts, experiment.points, experiment.evaluation.bank_seed)
                    banks.setdefault(bank.key, bank)
        if not banks:
            raise UserError("nothing to evaluate: " + "; ".join(undefined))
        return Grid(tuple(banks.values()), tuple(undefined))

    def _why_undefined(self, task: Task, shift: Shift | None) -> str | None:
        if shift is None:
            try:
                task.check()
            except UserError as error:
                return str(error).removeprefix(f"{task.function_class.id}: ")
            return None
        reason = why_undefined(shift, task)
        if reason is not None:
            return reason
        experiment = self.run.experiment
        with at_work(experiment.model, "longest_prompt"):
            asked, allowed = shift.points(experiment.points), experiment.model.longest_prompt(experiment.points)
        return None if asked <= allowed else f"prompts of {asked} points, and the model's positions allow {allowed}"

    def score(self, grid: Grid, output: Path, advanced: Advanced) -> tuple[Path, Path | None]:
        """Write ``output``/evaluation.csv, manifest.json and the heat map; the table and the figure, if there is one.

        Rows of other cells that an earlier call wrote for the same weights are kept, so that a table can grow;
        of a call that is interrupted, the banks that were answered.
        """
        cache = self.run_dir.parent / ".cache"
        check_writable(output)
        with locked(output / ".lock"), computing_threads(self.run.experiment.threads):
            remove_leftovers(output)
            answered: list[Scored] = []
            try:
                for scored in score_banks(self.trained, grid.banks, cache, advanced):
                    answered.append(scored)
            finally:
                if answered:
                    self._write(output, answered)
            return output / "evaluation.csv", draw_heat_map(output)

    def _write(self, output: Path, answered: Sequence[Scored]) -> None:
        written, banks = self._written(output)
        for scored in answered:
            banks |= scored.hashed
        rows = ([*self.directory.prefix, *row] for scored in answered for row in scored.rows)
        manifest = {
            "run": self.run.name,
            "config_hash": self.manifest["config_hash"],
            "weights": self.manifest.get("weights"),
            "bank_version": BANK_VERSION,
            "banks": banks,
            **provenance(),
        }
        write_atomically(
            output / "evaluation.csv", csv_text([COLUMNS["evaluation"]]) + _merged(written, csv_text(rows))
        )
        write_atomically(output / "manifest.json", json.dumps(manifest, indent=2) + "\n")

    def _written(self, output: Path) -> tuple[str, dict[str, str]]:
        """The rows and bank hashes of an earlier call for the same weights and banks; none otherwise."""
        header = csv_text([COLUMNS["evaluation"]])
        try:
            manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
            text = (output / "evaluation.csv").read_text(encoding="utf-8")
            same = (manifest["weights"], manifest["bank_version"]) == (self.manifest.get("weights"), BANK_VERSION)
            if same and text.startswith(header):
                return text[len(header) :], dict(manifest["banks"])
        except (OSError, ValueError, LookupError, TypeError):
            pass
        return "", {}


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


def _components(texts: Sequence[str], registry: Registry, option: str) -> list[Any]:
    """The components of the registry's kind that the texts mean, each once."""
    names = [name for text in texts for name in (registry.names() if text == ALL else [text])]
    return [component(name, registry, option) for name in dict.fromkeys(names)]


def _trained(run: Run, run_dir: Path, device: str) -> Trained:
    """The model with what it was trained on, as its own evaluation.csv says."""
    columns = ["step", "function_class", "input_distribution", "in_distribution", "n_context"]
    types = {"function_class": "str", "input_distribution": "str"}
    own = pd.read_csv(run_dir / "evaluation.csv", usecols=columns, dtype=types, keep_default_na=False)
    step = int(own["step"].max())
    own = own[own["in_distribution"]]
    offered = frozenset(zip(own["function_class"], own["input_distribution"], strict=True))
    points = int(own["n_context"].max()) + 1 if len(own) else 0
    return Trained(run, load_model(run_dir).to(device), step, offered, points)


def _runs_in(folder: Path) -> str:
    """A hint for who names an experiment's folder instead of a run's."""
    runs = sorted(path.parent.name for path in folder.glob("*/manifest.json"))
    return f"; its runs are {', '.join(runs[:5])}{', …' if len(runs) > 5 else ''}" if runs else ""
