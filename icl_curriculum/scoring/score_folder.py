"""``icl score``: learners that are named on the command line, into a table that grows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from icl_curriculum import figures
from icl_curriculum.config.experiment import Experiment
from icl_curriculum.config.identifiers import component
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import RunFailed, UserError, described, did_you_mean
from icl_curriculum.core.files import check_writable, remove_leftovers
from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.core.locks import locked
from icl_curriculum.core.machine import computing_threads, is_out_of_memory
from icl_curriculum.core.options import given, option
from icl_curriculum.core.plugins import defined_in_module, load_plugin
from icl_curriculum.core.progress import Tell, within
from icl_curriculum.core.provenance import provenance
from icl_curriculum.core.registry import BASELINES, FUNCTION_CLASSES
from icl_curriculum.evaluation import BANK_VERSION, Bank, BaselineFailure
from icl_curriculum.evaluation.asking import CostlyConfig
from icl_curriculum.evaluation.failures import Failures, failures_in, for_manifest
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.results.columns import EvaluationRow, of_run
from icl_curriculum.results.doubts import Doubt, doubts_for_manifest, doubts_in, worded
from icl_curriculum.results.growing_table import CELL, GrowingTables
from icl_curriculum.results.predictions import AskedPredictions
from icl_curriculum.results.surveying import finished_runs
from icl_curriculum.runs.evaluation import described_metrics
from icl_curriculum.scoring.asked_bank import AskedBank
from icl_curriculum.scoring.asked_metrics import asked_metrics
from icl_curriculum.scoring.grid import ALL, AskedCells, BankGrid, Frame, build_grid, usual_points
from icl_curriculum.scoring.learners import (
    NAME,
    Contender,
    check_names,
    contender,
    for_training_on,
    read_dims,
    trained_contender,
)
from icl_curriculum.shifts import reference_task, standard_shifts

#: Marks the manifests of these tables, so that no other folder is taken for one.
COMMAND = "icl score"

#: By table, the columns in which new rows that equal old ones replace them.
_KEYS = {
    "evaluation": ("run", "learner", *CELL),
    "prediction_differences": ("run", "learner", "other_run", "other_learner", *CELL),
}


@dataclass(frozen=True)
class PromptSize:
    """What is asked of every learner; None: what the trained runs among them were asked, else the defaults."""

    dims: int | None = None
    points: int | None = None
    n_prompts: int | None = None
    bank_seed: int | None = None


@dataclass(frozen=True)
class WrittenScores:
    """The table and figures, which cells and learners were asked, what failed, and who answered nothing at all."""

    folder: Path
    grid: BankGrid
    learners: list[str]
    failures: Failures
    silent: list[str]
    figures: list[Path]
    warnings: list[str]
    #: The ids of the metrics that were asked for beside the usual ones.
    metrics: Sequence[str] = ()

    @property
    def table(self) -> Path:
        return self.folder / "evaluation.csv"


class Scoring:
    """Learners and what they are asked. UserError for what cannot be meant.

    ``predictions``: the format in which what everyone answers is written beside the tables. ``grid``: the banks that
    are asked in the place of those that ``asked`` and ``size`` name.
    """

    def __init__(
        self,
        learners: Sequence[str],
        asked: AskedCells,
        size: PromptSize,
        costly: CostlyConfig,
        *,
        plugins: Sequence[Path] = (),
        device: str = "cpu",
        metrics: Sequence[str] = (),
        predictions: str | None = None,
        grid: BankGrid | None = None,
    ) -> None:
        self.predictions = None if predictions is None else AskedPredictions(predictions)
        self.plugins = [load_plugin(plugin) for plugin in plugins]
        self.costly = costly
        found = _named_apart([item for text in learners for item in _contenders(text, device)])
        check_names(found)
        runs = [item.trained.run.experiment for item in found if item.trained is not None]
        self.threads = max((run.threads for run in runs), default=1)
        self.confidence = runs[0].evaluation.confidence if runs else 0.9
        self.grid = _grid(asked, size, runs) if grid is None else grid
        longest = max(bank.points if bank.shift is None else bank.shift.points(bank.points) for bank in self.grid.banks)
        costly.check(longest - 1, option("--lengths"))
        classes = [item for run in runs for item in run.function_classes]
        classes += [bank.drawn_task.function_class for bank in self.grid.banks]
        self.contenders = for_training_on(found, classes, read_dims([bank.drawn_task for bank in self.grid.banks]))
        asked_of = [bank.drawn_task for bank in self.grid.banks]
        known = [item for run in runs for item in run.evaluation.metrics]
        self.asked_metrics = asked_metrics(metrics, asked_of, known)
        self.metrics = tuple({metric.id: metric for metric in (*self.asked_metrics, *known)}.values())
        for item in self.contenders:
            reasons = [item.why_not(task.function_class) for task in asked_of]
            if None not in reasons:
                raise UserError(f"{reasons[0]}")

    def score(self, output: Path, tell: Tell) -> WrittenScores:
        """Write ``output``/evaluation.csv and manifest.json.

        Rows that an earlier call wrote for other learners and cells are kept. UserError, before anything is
        computed, if ``output`` holds what no such call wrote; RunFailed if a learner breaks or memory runs out.
        """
        check_writable(output)
        failures: dict[str, list[BaselineFailure]] = {}
        answered: set[str] = set()
        probed: set[tuple[str, str]] = set()
        doubts: dict[str, list[Doubt]] = {}
        with locked(output / ".lock") as claim, computing_threads(self.threads):
            remove_leftovers(output)
            tables = GrowingTables(output, COMMAND, _KEYS, self._why_not_beside)
            tables.read()
            for done, bank in enumerate(self.grid.banks):
                of_bank = within(tell, done, len(self.grid.banks))
                failed: list[BaselineFailure] = []
                asked = AskedBank(
                    bank, self.contenders, self.confidence, self.costly, failed.append, probed=probed,
                    metrics=self.metrics,
                )  # fmt: skip
                rows: list[tuple[Any, ...]] = []
                try:
                    everyone = asked.everyone()
                    for number, item in enumerate(everyone):
                        of_learner = within(of_bank, number, len(everyone))
                        of_learner(0.0, f"{item.entry.id} 0%")
                        found = self._rows(asked, item, of_learner)
                        rows += of_run(item.columns, found)
                        answered.update(row.learner for row in found)
                finally:
                    if rows:
                        failures[asked.name] = failed
                        doubts[asked.name] = asked.doubts()
                        apart = [row for columns, found in asked.differences() for row in of_run(columns, found)]
                        written = {"evaluation": rows, "prediction_differences": apart}
                        tables.add(written, self._describe(asked, failed, doubts[asked.name]), claim.check)
                if self.predictions is not None:
                    self.predictions.found.extend(asked.predictions())
                of_bank(1.0)
            if self.predictions is not None:
                self.predictions.write(output, claim.check)
        learners = list(dict.fromkeys(item.entry.id for item in self.contenders))
        silent = [name for name in learners if name not in answered]
        return WrittenScores(
            output, self.grid, learners, failures, silent, figures.draw_scores(output, baselines="all"),
            worded({NAME: doubts}), [metric.id for metric in self.asked_metrics],
        )  # fmt: skip

    def _rows(self, asked: AskedBank, item: Contender, tell: Tell) -> list[EvaluationRow]:
        name, bank = item.entry.id, "/".join(asked.bank.key)
        try:
            return asked.rows(item, tell)
        except (UserError, RunFailed):
            raise
        except ComponentFailed as error:
            raise RunFailed(f"{bank}: {error}") from error
        except Exception as error:
            if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_out_of_memory(error)):
                raise RunFailed(f"{bank}: {name}: memory ran out; lower {option('--n-prompts')}") from error
            if item.entry.kind != "baseline" or item.entry.component is not None:
                raise
            raise RunFailed(f"{bank}: {name} failed in predict: {described(error, item.entry.source)}") from error

    def _frame(self) -> dict[str, Any]:
        """What all rows of a table must share, so that they stand for the same prompts."""
        bank: Bank = self.grid.banks[0]
        numbers = {"dims": bank.task.dims, "points": bank.points, "n_prompts": bank.n_prompts, "bank_seed": bank.seed}
        return {**numbers, "bank_version": BANK_VERSION}

    def _why_not_beside(self, manifest: dict[str, Any]) -> str | None:
        for key, value in self._frame().items():
            if manifest.get(key) != value:
                return f"scores on other prompts ({key} = {manifest.get(key)}, now {value})"
        return None

    def _describe(self, asked: AskedBank, failed: Sequence[BaselineFailure], doubts: Sequence[Doubt]) -> Any:
        names = [item.entry.id for item in self.contenders]

        def describe(manifest: dict[str, Any]) -> dict[str, Any]:
            learners = {f"{item.run}/{item.entry.id}": item.origin for item in self.contenders}
            known = failures_in(manifest)
            # Keep what was asked before and is not asked anew.
            kept = [failure for failure in known.get(asked.name, []) if failure.learner not in names]
            return {
                **self._frame(),
                "learners": {**manifest.get("learners", {}), **learners},
                "costly": self.costly.model_dump(exclude_none=True),
                "plugins": sorted({*manifest.get("plugins", []), *self.plugins}),
                "banks": {**manifest.get("banks", {}), asked.name: asked.content},
                "metrics": described_metrics([asked.bank], self.metrics, manifest.get("metrics", {})),
                "baseline_failures": for_manifest({**known, asked.name: [*kept, *failed]}),
                "warnings": doubts_for_manifest({**doubts_in(manifest), asked.name: doubts}),
                **provenance(),
            }

        return describe


def _contenders(text: str, device: str) -> list[Contender]:
    """The learners that an argument means: runs of a folder, something of a Python file, or a baseline."""
    path = Path(text)
    if path.is_dir():
        inside = [] if (path / "manifest.json").is_file() else finished_runs(path)
        return [trained_contender(folder, "model", device) for folder in [run for run, _ in inside] or [path]]
    if text.endswith(".py") or re.search(r"\.py:", text):
        return [_from_file(text)]
    return [contender(component(_with_scikit_learn(text), BASELINES, "LEARNER"))]


def _with_scikit_learn(text: str) -> str:
    """``SVR`` as ``sklearn/SVR``: names of classes are scikit-learn's, unless a baseline is called so."""
    known = Identifier.parse(text).name in BASELINES.names()
    return f"sklearn/{text}" if text[:1].isupper() and not known else text


def _from_file(text: str) -> Contender:
    """``FILE.py:NAME``: a function, a learner, a regressor, or a class of one of these."""
    file, _, name = text.rpartition(":") if not text.endswith(".py") else (text, "", "")
    digest = load_plugin(Path(file))
    known = defined_in_module(digest)
    if name not in known:
        found = f"{name!r}{did_you_mean(name, known)}" if name else f"none; it defines: {', '.join(sorted(known))}"
        raise UserError(f"{file}: expected FILE.py:NAME with a name that the file defines, found {found}")
    made = contender(known[name], name)
    entry = replace(made.entry, source=Path(file).resolve())
    return replace(made, entry=entry, origin={"file": Path(file).name, "name": name, "hash": digest})


def _named_apart(found: Sequence[Contender]) -> list[Contender]:
    """Models of one experiment and variant are ``model``; of several, each is called after its own."""
    places = {item.run: _place(item) for item in found if item.trained is not None}
    several = set(places.values())
    if len(several) < 2:
        return list(found)
    variants = [variant for _, variant in several]
    named = []
    for item in found:
        if item.run in places:
            experiment, variant = places[item.run]
            name = variant if variants.count(variant) == 1 else f"{experiment}/{variant}"
            item = replace(item, entry=replace(item.entry, id=name))
        named.append(item)
    return named


def _place(item: Contender) -> tuple[str, str]:
    assert item.trained is not None
    return item.trained.run.experiment.name, item.trained.run.variant


def _grid(asked: AskedCells, size: PromptSize, runs: Sequence[Experiment]) -> BankGrid:
    known_classes = [item for run in runs for item in run.function_classes]
    classes: list[FunctionClass] = asked.classes(known_classes)
    if not classes:
        # Where two runs mean other classes by one name, those of the first.
        classes = list({item.id: item for item in [*known_classes, *reversed(known_classes)]}.values())
    if not classes:
        built = FUNCTION_CLASSES.build("linear")
        assert isinstance(built, FunctionClass)
        classes = [built]
    dims = _agreed("dims", size.dims, [run.dims for run in runs])
    if dims is None:
        dims = reference_task(classes[0]).dims
    points = size.points or _agreed("points", None, [run.points for run in runs]) or usual_points(dims)
    seeds = [run.evaluation.bank_seed for run in runs]
    frame = Frame(
        dims, points,
        size.n_prompts or min((run.evaluation.n_prompts for run in runs), default=1280),
        size.bank_seed if size.bank_seed is not None else min(seeds, default=0),
        "the runs' dimensions" if runs else given("--dims", dims),
    )  # fmt: skip
    shifts = asked.named_shifts([shift for run in runs for shift in run.evaluation.shifts])
    if ALL in asked.shifts:
        shifts = [*standard_shifts(), *shifts]

    def why_too_long(asked: int) -> str | None:
        reasons = (run.why_too_long(asked) for run in runs)
        return next((reason for reason in reasons if reason is not None), None)

    if reason := why_too_long(points):
        raise UserError(f"{given('--points', points)}: {reason}")

    inputs = asked.distributions([item for run in runs for item in run.inputs])
    return build_grid(classes, inputs, shifts, frame, lambda shift: why_too_long(shift.points(points)))


def _agreed(what: str, given: int | None, found: Sequence[int]) -> int | None:
    """The number that trained runs share. UserError if they don't, or if another one is asked for."""
    numbers = sorted({*found, *([] if given is None else [given])})
    if len(numbers) > 1:
        listed = " and ".join(map(str, numbers))
        raise UserError(f"{what}: the runs and --{what} must agree, found {listed}; score them apart")
    return numbers[0] if numbers else None


__all__ = ["COMMAND", "NAME", "PromptSize", "Scoring", "WrittenScores"]
