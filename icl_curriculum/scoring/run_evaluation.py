"""A finished run as it is asked: its model, the banks of a grid, and the tables that grow with the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from icl_curriculum import figures
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.files import check_writable, remove_leftovers, write_atomically
from icl_curriculum.core.locks import Claim, locked
from icl_curriculum.core.machine import computing_threads, reproducible
from icl_curriculum.core.options import given
from icl_curriculum.core.package_hashes import package_hash
from icl_curriculum.core.plugins import copies_of, load_plugin
from icl_curriculum.core.progress import Tell
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
from icl_curriculum.results.predictions import AskedPredictions, BankPredictions
from icl_curriculum.runs.evaluation import Scored, described_metrics, score_banks
from icl_curriculum.scoring.asked_models import asked_models
from icl_curriculum.scoring.bank_processes import BankFailed, reason_of
from icl_curriculum.scoring.grid import ALL, AskedCells, BankGrid, Frame, build_grid
from icl_curriculum.scoring.trained_runs import open_run
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


@dataclass(frozen=True)
class AnsweredBank:
    """What was answered to a bank, and to each of its prompts where that is wanted."""

    scored: Scored
    predictions: Sequence[BankPredictions] = ()


#: What answers all banks of a grid in some other way, in any order, telling how far it is.
Elsewhere = Callable[[Tell], Iterator[AnsweredBank]]


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
        predictions: AskedPredictions | None = None, elsewhere: Elsewhere | None = None,
    ) -> WrittenEvaluation:  # fmt: skip
        """Write ``output``/evaluation.csv, prediction_differences.csv, manifest.json and, if asked, the figures.

        Rows of other cells, learners and steps that an earlier call wrote for this run are kept, so that a table can
        grow, but none of a cell on other prompts than now; of a call that is interrupted, the banks that were answered.
        UserError, before anything is computed, if ``output`` holds what no such call wrote; RunFailed if a plugin
        breaks its contract or the memory does not suffice. ``models``: the model in all ways in which it is asked, by
        default as it is; ``adaptations``: how it is adapted to each cell, beside these. ``metrics``: beside those that
        every evaluation has, and the run's own. ``predictions``: what was answered is added to these, and all of them
        are written. ``elsewhere``: what answers the banks in the place of this process.
        """
        models = models or self.models()
        check_writable(output)
        with locked(output / ".lock") as claim, computing_threads(self.run.experiment.threads):
            remove_leftovers(output)
            self._tables(output).read()
            plugins = self.plugins_of(grid)
            found: dict[tuple[str, str, str], AnsweredBank] = {}
            asking = self.ask(grid.banks, tell, models, adaptations, metrics, predictions is not None, plugins)
            try:
                for answer in asking if elsewhere is None else elsewhere(tell):
                    found[answer.scored.bank.key] = answer
            except BankFailed as error:
                bank = "/".join(grid.banks[error.number].key)
                raise RunFailed(f"{bank}: {error.reason}; {_kept(len(found), output)}") from error
            except (ComponentFailed, MemoryError, RuntimeError) as error:
                bank = "/".join(grid.banks[len(found)].key)
                raise RunFailed(f"{bank}: {reason_of(error)}; {_kept(len(found), output)}") from error
            finally:
                # In the order of the grid, whoever was the first to answer.
                in_order = [found[bank.key] for bank in grid.banks if bank.key in found]
                answered = [item.scored for item in in_order]
                if answered:
                    self._write(output, answered, plugins, claim, metrics)
            if predictions is not None:
                predictions.found.extend(each for item in in_order for each in item.predictions)
                predictions.write(output, claim.check)
            failures = {item.name: item.failures for item in answered}
            names = [*(entry.id for entry in models), *dict.fromkeys(item.learner for item in adaptations)]
            drawn = [figures.draw_heat_map(output), figures.draw_prediction_differences(output)] if draw else []
            drawn += [figures.draw_along_training(output), figures.draw_adaptation(output)] if draw else []
            there = [path for path in drawn if path is not None]
            said = worded({self.run.name: {item.name: item.doubts for item in answered}})
            asked = [metric.id for metric in metrics]
            return WrittenEvaluation(output / "evaluation.csv", self.trained.step, there, failures, names, said, asked)

    def plugins_of(self, grid: BankGrid) -> tuple[str, ...]:
        """The hashes of the plugins and packages that define what is asked, which the run itself may not know."""
        packages = [package_hash(component) for bank in grid.banks for component in bank.components()]
        return (*self.plugins.values(), *sorted({item for item in packages if item is not None}))

    def ask(
        self,
        banks: Sequence[Bank],
        tell: Tell,
        models: Sequence[NamedLearner],
        adaptations: Sequence[Adaptation],
        metrics: Sequence[Metric],
        predictions: bool,
        plugins: tuple[str, ...],
    ) -> Iterator[AnsweredBank]:
        """What is answered to banks, one after another in this process.

        ``metrics``: beside the run's own. ``predictions``: whether the answers to each prompt are wanted, too.
        ``plugins``: hashes of those that the run itself does not know.
        """
        kept: list[BankPredictions] = []

        def keep(bank: Bank, prompts: Prompts, answers: Sequence[LearnerAnswers], points: int) -> None:
            if predictions:
                run, step = self.directory.run, self.trained.step
                kept.extend(gathered(run, bank, prompts, answers, step=step, trained_points=points))

        own = self.run.experiment.evaluation.metrics
        more = [*own, *(metric for metric in metrics if metric.id not in {item.id for item in own})]
        trained, cache = replace(self.trained, plugins=plugins), self.run_dir.parent / ".cache"
        with reproducible(self.device):
            for scored in score_banks(trained, banks, cache, tell, models, adaptations, more, answered=keep):
                yield AnsweredBank(scored, list(kept))
                kept.clear()

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


def _load_beside(plugin: Path) -> str:
    """Load a plugin beside those of the run, and say what to do if they are the same."""
    try:
        return load_plugin(plugin)
    except RegisteredTwice as error:
        hint = "the run's own plugins are loaded from its folder, as they were"
        raise UserError(f"{given('--plugin', plugin)}: {error}; {hint}") from error
    except UserError as error:
        raise UserError(f"{given('--plugin', plugin)}: {error}") from error


def _kept(answered: int, output: Path) -> str:
    banks = f"{answered} bank" + "s" * (answered != 1)
    return f"{banks} answered before are kept in {output / 'evaluation.csv'}" if answered else "nothing was written"
