"""``icl evaluate``: a trained model on any task and shift, also on those that its experiment never named."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from icl_curriculum import figures
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.files import check_writable, remove_leftovers, write_atomically
from icl_curriculum.core.locks import Claim, locked
from icl_curriculum.core.machine import computing_threads, is_out_of_memory, reproducible
from icl_curriculum.core.options import given, option
from icl_curriculum.core.package_hashes import package_hash
from icl_curriculum.core.plugins import copies_of, load_plugin
from icl_curriculum.core.progress import Tell, tell_nobody
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.provenance import provenance
from icl_curriculum.core.registry import RegisteredTwice
from icl_curriculum.evaluation import BANK_VERSION, Bank, LearnerAnswers, NamedLearner
from icl_curriculum.evaluation.failures import Failures, failures_in, for_manifest
from icl_curriculum.evaluation.gathering import gathered
from icl_curriculum.function_classes import FunctionClass, labels_of, steps_of
from icl_curriculum.metrics import Metric
from icl_curriculum.models import Adaptation
from icl_curriculum.results.columns import of_run
from icl_curriculum.results.doubts import doubts_for_manifest, doubts_in, worded
from icl_curriculum.results.growing_table import CELL, GrowingTables
from icl_curriculum.results.predictions import AskedPredictions
from icl_curriculum.runs.evaluation import Scored, described_metrics, score_banks
from icl_curriculum.scoring.asked_metrics import asked_metrics
from icl_curriculum.scoring.asked_models import asked_adaptations, asked_models
from icl_curriculum.scoring.grid import ALL, AskedCells, BankGrid, Frame, build_grid
from icl_curriculum.scoring.trained_runs import asked_steps, open_run
from icl_curriculum.shifts import Shift, standard_shifts

#: Marks the manifests of these evaluations, so that no other folder is taken for one.
COMMAND = "icl evaluate"


@dataclass(frozen=True)
class WrittenEvaluation:
    """The table of errors, the step whose rows were written, the figures, what failed, and the models' ids.

    ``metrics``: the ids of those that were asked for beside the usual ones.
    """

    table: Path
    step: int
    figures: list[Path]
    failures: Failures
    models: Sequence[str]
    warnings: Sequence[str] = ()
    metrics: Sequence[str] = ()


class Evaluation:
    """A finished run, ready to be asked; as it was at a ``step``, or at the end. UserError as by `open_run`."""

    def __init__(
        self, run_dir: Path, *, plugins: Sequence[Path] = (), device: str = "cpu", step: int | None = None
    ) -> None:
        opened = open_run(run_dir, device, step)
        self.run_dir, self.run, self.manifest, self.device = run_dir, opened.run, opened.manifest, device
        self.directory, self.trained = opened.directory, opened.trained
        self.plugins = {str(plugin): _load_beside(plugin) for plugin in plugins}

    def grid(self, asked: AskedCells, n_prompts: int | None = None) -> BankGrid:
        """Every asked cell that is defined: of the run's own classes and inputs, and unless anything is named, all
        shifts. UserError for what cannot be meant.
        """
        experiment = self.run.experiment
        named = asked.function_classes or asked.inputs or asked.shifts
        shifts = asked.named_shifts(experiment.evaluation.shifts)
        if ALL in asked.shifts or not named:
            shifts = [*standard_shifts(), *shifts]
        return build_grid(
            asked.classes(experiment.function_classes) or experiment.function_classes,
            asked.distributions(experiment.inputs) or experiment.inputs,
            shifts,
            Frame(
                experiment.dims,
                experiment.points,
                n_prompts or experiment.evaluation.n_prompts,
                experiment.evaluation.bank_seed,
                "the run's dimensions",
            ),
            self._too_long,
            self._other_form,
        )

    def _other_form(self, function_class: FunctionClass) -> str | None:
        experiment = self.run.experiment
        trained = experiment.function_classes[0]
        own, asked = labels_of(trained), labels_of(function_class)
        if own != asked:
            return f"{function_class.id}: its labels are {asked}, and the model predicts {own}"
        reads, shown = experiment.shown_dims, function_class.read_dims(experiment.dims)
        if reads != shown:
            return f"{function_class.id}: it shows inputs as {shown} numbers, and the model reads {reads}"
        if function_class.shown_steps not in (0, trained.shown_steps):
            return (
                f"{function_class.id}: it shows {steps_of(function_class)}, and the model has read {steps_of(trained)}"
            )
        return None

    def _too_long(self, shift: Shift) -> str | None:
        experiment = self.run.experiment
        return experiment.why_too_long(shift.points(experiment.points))

    def models(self, *, masks: Sequence[str] = (), instructions: Sequence[str] = ()) -> list[NamedLearner]:
        """The model as it is, and in further ways, see `asked_models`. UserError for what it cannot be asked."""
        with computing_threads(self.run.experiment.threads):
            return asked_models(self.trained, masks=masks, instructions=instructions)

    def score(
        self, grid: BankGrid, output: Path, tell: Tell, models: Sequence[NamedLearner] | None = None, *,
        adaptations: Sequence[Adaptation] = (), draw: bool = True, metrics: Sequence[Metric] = (),
        predictions: AskedPredictions | None = None,
    ) -> WrittenEvaluation:  # fmt: skip
        """Write ``output``/evaluation.csv, prediction_differences.csv, manifest.json and, if asked, the figures.

        Rows of other cells, learners and steps that an earlier call wrote for this run are kept, so that a table can
        grow, but none of a cell on other prompts than now; of a call that is interrupted, the banks that were answered.
        UserError, before anything is computed, if ``output`` holds what no such call wrote; RunFailed if a plugin
        breaks its contract or the memory does not suffice. ``models``: the model in all ways in which it is asked, by
        default as it is; ``adaptations``: how it is adapted to each cell, beside these. ``metrics``: beside those that
        every evaluation has, and the run's own. ``predictions``: what was answered is added to these, and all of them
        are written.
        """
        models = models or self.models()
        cache = self.run_dir.parent / ".cache"
        check_writable(output)
        with locked(output / ".lock") as claim, computing_threads(self.run.experiment.threads):
            remove_leftovers(output)
            self._tables(output).read()
            packages = [package_hash(component) for bank in grid.banks for component in bank.components()]
            plugins = (*self.plugins.values(), *sorted({item for item in packages if item is not None}))
            trained = replace(self.trained, plugins=plugins)
            answered: list[Scored] = []

            def keep(bank: Bank, prompts: Prompts, answers: Sequence[LearnerAnswers], points: int) -> None:
                if predictions is not None:
                    run, step = self.directory.run, self.trained.step
                    found = gathered(run, bank, prompts, answers, step=step, trained_points=points)
                    predictions.found.extend(found)

            try:
                with reproducible(self.device):
                    own = self.run.experiment.evaluation.metrics
                    more = [*own, *(metric for metric in metrics if metric.id not in {item.id for item in own})]
                    asking = score_banks(trained, grid.banks, cache, tell, models, adaptations, more, answered=keep)
                    for scored in asking:
                        answered.append(scored)
            except (ComponentFailed, MemoryError, RuntimeError) as error:
                bank = "/".join(grid.banks[len(answered)].key)
                raise RunFailed(f"{bank}: {_reason(error)}; {_kept(len(answered), output)}") from error
            finally:
                if answered:
                    self._write(output, answered, plugins, claim, metrics)
            if predictions is not None:
                predictions.write(output, claim.check)
            failures = {item.name: item.failures for item in answered}
            names = [*(entry.id for entry in models), *dict.fromkeys(item.learner for item in adaptations)]
            drawn = [figures.draw_heat_map(output), figures.draw_prediction_differences(output)] if draw else []
            drawn += [figures.draw_along_training(output), figures.draw_adaptation(output)] if draw else []
            there = [path for path in drawn if path is not None]
            said = worded({self.run.name: {item.name: item.doubts for item in answered}})
            asked = [metric.id for metric in metrics]
            return WrittenEvaluation(output / "evaluation.csv", self.trained.step, there, failures, names, said, asked)

    def _tables(self, output: Path) -> GrowingTables:
        keys = {
            "evaluation": ("step", "learner", *CELL),
            "prediction_differences": ("step", "learner", "other_learner", *CELL),
        }
        return GrowingTables(output, COMMAND, keys, self._why_not_beside)

    def _why_not_beside(self, manifest: dict[str, Any]) -> str | None:
        if manifest.get("weights") != self.manifest.get("weights") or manifest.get("bank_version") != BANK_VERSION:
            return f"the evaluation of {manifest.get('run')} with other weights or other banks"
        # A run may have been evaluated anew with another config since.
        same = manifest.get("config_hash") == self.manifest["config_hash"]
        level, now = manifest.get("confidence"), self.run.experiment.evaluation.confidence
        if level == now or (level is None and same):
            return None
        before = "another level" if level is None else f"level {level:g}"
        return f"intervals of {before}, and evaluation.confidence is {now:g} now"

    def _write(
        self, output: Path, answered: Sequence[Scored], plugins: Sequence[str], claim: Claim, metrics: Sequence[Metric]
    ) -> None:
        hashed = {item.name: item.content for item in answered}
        failed = {item.name: item.failures for item in answered}
        doubted = {item.name: item.doubts for item in answered}

        def described(manifest: dict[str, Any]) -> dict[str, Any]:
            return {
                "run": self.run.name,
                "config_hash": self.manifest["config_hash"],
                "weights": self.manifest.get("weights"),
                "confidence": self.run.experiment.evaluation.confidence,
                "plugins": sorted({*manifest.get("plugins", []), *plugins}),
                "bank_version": BANK_VERSION,
                "banks": {**manifest.get("banks", {}), **hashed},
                "metrics": described_metrics(
                    [item.bank for item in answered],
                    [*self.run.experiment.evaluation.metrics, *metrics],
                    manifest.get("metrics", {}),
                ),
                "baseline_failures": for_manifest({**failures_in(manifest), **failed}),
                "warnings": doubts_for_manifest({**doubts_in(manifest), **doubted}),
                **provenance(),
            }

        for name, content in copies_of(list(self.plugins), list(self.plugins.values())).items():
            write_atomically(output / "plugins" / name, content, before=claim.check)
        run = self.directory.run
        rows = {
            "evaluation": of_run(run, (row for scored in answered for row in scored.rows)),
            "prediction_differences": of_run(run, (row for scored in answered for row in scored.differences)),
        }
        self._tables(output).add(rows, described, claim.check)


@dataclass(frozen=True)
class EvaluationQuestions:
    """What a finished run is asked, in the words of the command line.

    ``cells``: classes, inputs and shifts, by default the run's own classes and inputs under every shift, on
    ``n_prompts`` prompts each, by default as many as the run had. ``masks``, ``instructions``: in which ways the model
    is asked beside as it is, see `asked_models`; ``adaptations``: how it is adapted, see `Adaptation.parse`.
    ``metrics``: beside those that every evaluation has. ``steps``: those whose kept weights are asked, numbers or
    ``all``; by default the last. ``predictions``: the format in which what everyone answers is written, too.
    """

    cells: AskedCells = field(default_factory=AskedCells)
    n_prompts: int | None = None
    masks: Sequence[str] = ()
    instructions: Sequence[str] = ()
    adaptations: Sequence[str] = ()
    metrics: Sequence[str | Metric] = ()
    steps: Sequence[str] = ()
    predictions: str | None = None


@contextlib.contextmanager
def unseen(run: str, banks: Sequence[Bank]) -> Iterator[Tell]:
    """Shows nobody how far the evaluation of a run has come."""
    yield tell_nobody


def evaluate_run(
    run_dir: Path,
    questions: EvaluationQuestions,
    *,
    output: Path | None = None,
    device: str = "cpu",
    plugins: Sequence[Path] = (),
    view: Callable[[str, Sequence[Bank]], AbstractContextManager[Tell]] = unseen,
) -> tuple[list[WrittenEvaluation], BankGrid]:
    """Ask a finished run and write the answers into ``output``, by default ``run_dir``/evaluate; figures at the end.

    Returns what was written for each step, and the cells that were asked. ``view``: opens what is told how far the
    evaluation has come, given the name of the run and its banks. Raises what `Evaluation` and its methods raise.
    """
    written: list[WrittenEvaluation] = []
    predictions = None if questions.predictions is None else AskedPredictions(questions.predictions)
    adaptations = asked_adaptations(questions.adaptations)
    steps: list[int | None] = [*asked_steps(run_dir, questions.steps)] if questions.steps else [None]
    for step in steps:
        evaluation = Evaluation(run_dir, plugins=plugins, device=device, step=step)
        grid = evaluation.grid(questions.cells, questions.n_prompts)
        models = evaluation.models(masks=questions.masks, instructions=questions.instructions)
        tasks = [bank.drawn_task for bank in grid.banks]
        metrics = asked_metrics(questions.metrics, tasks, evaluation.run.experiment.evaluation.metrics)
        name = evaluation.run.name if step is None else f"{evaluation.run.name} at step {step}"
        into, last = output or run_dir / "evaluate", step == steps[-1]
        with view(name, grid.banks) as tell:
            written.append(
                evaluation.score(
                    grid,
                    into,
                    tell,
                    models,
                    adaptations=adaptations,
                    draw=last,
                    metrics=metrics,
                    predictions=predictions,
                )
            )
    return written, grid


def _load_beside(plugin: Path) -> str:
    """Load a plugin beside those of the run, and say what to do if they are the same."""
    try:
        return load_plugin(plugin)
    except RegisteredTwice as error:
        hint = "the run's own plugins are loaded from its folder, as they were"
        raise UserError(f"{given('--plugin', plugin)}: {error}; {hint}") from error
    except UserError as error:
        raise UserError(f"{given('--plugin', plugin)}: {error}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, ComponentFailed):
        return str(error)
    if isinstance(error, RuntimeError) and not is_out_of_memory(error):
        raise error
    return f"memory ran out; lower {option('--n-prompts')}"


def _kept(answered: int, output: Path) -> str:
    banks = f"{answered} bank" + "s" * (answered != 1)
    return f"{banks} answered before are kept in {output / 'evaluation.csv'}" if answered else "nothing was written"
