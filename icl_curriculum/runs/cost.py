"""What runs cost, before they are run: parameters, operations, prompts, disk, and hours on this machine.

Operations and prompts are those that a run counts in exposure.csv, but for what depends on losses. Times and sizes are
those of a few real updates, answers, rows and checkpoints, made here and now in a temporary folder.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from icl_curriculum.config.experiment import Experiment, Run
from icl_curriculum.config.loading import AnyExperiment, load
from icl_curriculum.core.contracts import at_work
from icl_curriculum.core.machine import computing_threads, reproducible, resolve_device
from icl_curriculum.core.progress import Tell, between, tell_nobody, within
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.settings import own_settings
from icl_curriculum.core.temporary import temporary_folder
from icl_curriculum.evaluation import Bank, NamedLearner, metric_rows
from icl_curriculum.evaluation.adapted import sharing_a_way
from icl_curriculum.evaluation.errors import evaluation_rows
from icl_curriculum.evaluation.learners import oracle_entry
from icl_curriculum.results.columns import csv_text, of_run
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.runs.banks import evaluation_banks
from icl_curriculum.runs.cadence import checkpoints_in
from icl_curriculum.runs.checkpoints import write_checkpoint, write_weights
from icl_curriculum.runs.failures import failures_named
from icl_curriculum.runs.live_logging import LiveLogging
from icl_curriculum.runs.measuring import measure, spread_over
from icl_curriculum.runs.recording import Recorder
from icl_curriculum.training import Diverged, Trainer
from icl_curriculum.training.balance import prompts_measured

#: Seconds for which updates are timed beyond the first of each size, all variants together.
SECONDS = 4.0
#: Prompts of each cell on which answers are timed; all that learning.csv asks where so few take less than `QUICK`.
FEW, QUICK = 4, 0.1
#: What a step of an adaptation takes on each prompt, in forward passes.
_BACKWARD_AND_FORWARD = 3


@dataclass(frozen=True)
class RunCost:
    """What one run of a variant costs, whichever of its ``seeds`` it has.

    Bytes and seconds are estimates. Baselines, figures and what other runs do meanwhile are not among the seconds, nor
    the experiment's own tables, which repeat those of all runs, among the bytes.
    """

    variant: str
    seeds: int
    steps: int
    parameters: int
    #: Prompts drawn in training, those among them that positions are balanced by.
    prompts: int
    #: Floating-point operations of the matrix products in training.
    operations: float
    #: ``model.safetensors`` and what ``training.keep_checkpoints`` keeps; ``state.pt``, of which the last that was
    #: written is kept.
    weights_bytes: int
    checkpoint_bytes: int
    checkpoints: int
    #: All CSV files of the run.
    table_bytes: int
    #: Updates with their rows; errors in learning.csv; the model's answers to the evaluation banks.
    training_seconds: float
    learning_seconds: float
    evaluation_seconds: float
    #: How many updates were timed, of how many prompts each, and where.
    timed_updates: int
    timed_batch: int
    device: str

    @property
    def seconds(self) -> float:
        """The time of the whole run."""
        return self.training_seconds + self.learning_seconds + self.evaluation_seconds

    @property
    def kept_bytes(self) -> int:
        """What the finished run takes on disk."""
        return self.weights_bytes + self.checkpoint_bytes + self.table_bytes

    @property
    def written_bytes(self) -> int:
        """What the run writes over its whole time, checkpoints that later ones replace included."""
        return self.weights_bytes + self.checkpoints * self.checkpoint_bytes + self.table_bytes


def cost(
    experiment: AnyExperiment,
    *,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    plugins: Sequence[str | Path] = (),
    sweep: Mapping[str, Any] | None = None,
    tell: Tell = tell_nobody,
) -> list[RunCost]:
    """What each variant of an experiment costs on this machine, as ``icl show NAME --cost`` prints it.

    The arguments are those of `run`; ``tell`` is told how far the measuring is, which takes up to half a minute. Raises
    UserError for a bad config, and RunFailed where a plugin breaks its contract or memory runs out.
    """
    runs = load(experiment, overrides=overrides, seeds=seeds, plugins=plugins, sweep=sweep)
    return costs_of(runs, resolve_device(device), tell)


@own_settings(training=True)
def costs_of(runs: Sequence[Run], device: str = "cpu", tell: Tell = tell_nobody) -> list[RunCost]:
    """What one run of each variant costs, in the order of the variants.

    Variants that differ in nothing but their curricula and steps share a measurement where each would take long.
    """
    variants: dict[str, list[Run]] = {}
    for run in runs:
        variants.setdefault(run.variant, []).append(run)
    known: dict[str, _Measurement] = {}
    found = []
    for number, (variant, of_variant) in enumerate(variants.items()):
        run = of_variant[0]
        key, seconds = _alike(run.experiment), SECONDS / len(variants)
        if key not in known or known[key].took < seconds:
            telling = _named(variant, within(tell, number, len(variants)))
            with computing_threads(run.experiment.threads), reproducible(device), failures_named(run.name):
                known[key] = _Measurement(run, device, seconds, telling)
        found.append(known[key].cost(run, len(of_variant)))
    tell(1.0)
    return found


def _alike(experiment: Experiment) -> str:
    """What an experiment says without what decides only which prompts are drawn when."""
    values = experiment.deciding()
    curriculum = {
        key: value for key, value in values["curriculum"].items() if key not in ("function_classes", "inputs")
    }
    training = {key: value for key, value in values["training"].items() if not key.endswith(("steps", "_every"))}
    return json.dumps({**values, "curriculum": curriculum, "training": training, "variants": {}}, sort_keys=True)


def _named(variant: str, tell: Tell) -> Tell:
    return lambda share, detail="": tell(share, f"{variant}: {detail}")


class _Measurement:
    """What was measured on one run; it serves for others of the same model and sizes."""

    def __init__(self, run: Run, device: str, seconds: float, tell: Tell) -> None:
        began = time.monotonic()
        self.device = device
        self.trainer = Trainer(run, device)
        with at_work(run.experiment.model, "prepare"):
            self.trainer.model.prepare()
        self.updates = measure(self.trainer, seconds, between(tell, 0.0, 0.7))
        with temporary_folder("icl-cost-") as folder:
            directory = RunDirectory(folder, experiment=run.experiment.name, variant=run.variant, seed=run.seed)
            tell(0.7, "timing a checkpoint")
            self._write(directory)
            tell(0.8, "timing the learning errors")
            self._record(directory)
        self.took = time.monotonic() - began

    def _write(self, directory: RunDirectory) -> None:
        """Write a checkpoint and the weights."""
        began = time.monotonic()
        write_checkpoint(directory, self.trainer.run, self.device, {"trainer": self.trainer.state_dict()})
        self.writing = time.monotonic() - began
        self.checkpoint_bytes = (directory.path / "state.pt").stat().st_size
        write_weights(directory, self.trainer.model)
        self.weights_bytes = (directory.path / "model.safetensors").stat().st_size

    def _record(self, directory: RunDirectory) -> None:
        """Write rows of every table that grows, and time the model's answers."""
        trainer = self.trainer
        run, wanted = trainer.run, trainer.run.experiment.evaluation.learning_prompts
        directory.start_tables()
        for asked in (min(FEW, wanted), wanted):
            evaluation = run.experiment.evaluation.model_copy(update={"learning_prompts": asked})
            trainer.run = replace(run, experiment=run.experiment.model_copy(update={"evaluation": evaluation}))
            recorder = Recorder(trainer, directory, LiveLogging((), run, directory.path, print))
            before, began = directory.table_lengths(), time.monotonic()
            recorder.evaluate()
            seconds = time.monotonic() - began
            if seconds > QUICK:
                break
        trainer.run = run
        self.learning_seconds = seconds * wanted / asked
        self.seconds_per_weight = seconds / (asked * sum(self._weight_of(prompts) for _, prompts in recorder.learning))
        after = directory.table_lengths()
        self.learning_bytes = sum(after.values()) - sum(before.values())
        recorder.pending.add(self.updates.latest)
        with contextlib.suppress(Diverged):  # which comes after the rows
            recorder.log()
        bytes_of = {name: length - after[name] for name, length in directory.table_lengths().items()}
        self.cell_bytes = bytes_of["training"] / max(1, len(self.updates.latest.n_prompts))
        self.log_bytes = bytes_of["curriculum"] + bytes_of["timing"]
        bank, prompts = recorder.learning[0]
        entry = NamedLearner("model", "model", trainer.model, run.experiment.model)
        errors = metric_rows(entry, torch.zeros_like(prompts.targets).double().numpy(), bank, prompts, 0.9)
        rows = evaluation_rows(errors, bank, step=trainer.step, trained_points=trainer.trained_points)
        self.answer_bytes = len(csv_text(of_run(directory.run, rows)))

    def weight(self, points: int, separate: bool = False) -> float:
        """The operations of a forward pass on one prompt, with separate queries or not; points where there are none."""
        return self.trainer.forward_operations(points, separate=separate) or points

    def cost(self, run: Run, seeds: int) -> RunCost:
        """What a run of the same model and sizes costs."""
        training, plan = run.experiment.training, run.experiment.plan()
        spent = self.updates.over(plan, self.weight)
        measured = prompts_measured(plan) if training.positions == "balanced" else 0
        training_seconds = spent.seconds + measured * self.weight(plan.points) * self.seconds_per_weight
        evaluations = 1 + -(-training.steps // training.learning_every)  # step 0 is one
        learning_seconds = evaluations * self.learning_seconds
        every = training.checkpoint_every
        by_time = checkpoints_in(training_seconds + learning_seconds, self.writing)
        logs, cells = -(-training.steps // training.log_every), self._cells(run)
        banks = list(evaluation_banks(run.experiment))
        asked = sum(self._asked_weight(run.experiment, bank) for bank in banks)
        table_bytes = (
            logs * (self.log_bytes + cells * self.cell_bytes)
            + evaluations * self.learning_bytes
            + sum(self._answers(run.experiment, bank) for bank in banks) * self.answer_bytes
        )
        return RunCost(
            variant=run.variant, seeds=seeds, steps=training.steps,
            parameters=sum(parameter.numel() for parameter in self.trainer.model.parameters()),
            prompts=round(spent.prompts) + measured,
            operations=spent.operations + measured * self.trainer.forward_operations(plan.points),
            weights_bytes=(1 + len(training.kept_steps())) * self.weights_bytes, checkpoint_bytes=self.checkpoint_bytes,
            checkpoints=by_time if every == "time" else -(-training.steps // every),
            table_bytes=round(table_bytes), training_seconds=training_seconds, learning_seconds=learning_seconds,
            evaluation_seconds=self.seconds_per_weight * asked,
            timed_updates=self.updates.updates, timed_batch=self.updates.batch, device=self.device,
        )  # fmt: skip

    def _asked_weight(self, experiment: Experiment, bank: Bank) -> float:
        """The weight of all that the model does with a bank: answering, and every adaptation before it."""
        prompts, n = replace(bank, n_prompts=2).draw(), bank.n_prompts
        own, costly = self._weight_of(prompts), experiment.evaluation.costly
        weight = n * own
        for options, steps in sharing_a_way(experiment.evaluation.adaptations()).items():
            if not options.per_prompt:
                weight += (n * len(steps) + _BACKWARD_AND_FORWARD * options.prompts * max(steps)) * own
                continue
            for k in costly.asked(prompts.dims, prompts.points):
                # Each of k examples is left out once, in a prompt of k points.
                one = self.weight(k + 1) * len(steps)
                one += _BACKWARD_AND_FORWARD * k * self.weight(k) * max(steps) if k > 1 else 0
                weight += min(n, costly.n_prompts) * one
        return weight

    def _weight_of(self, prompts: Prompts) -> float:
        """The weight of one of these prompts, all passes together that its answers take."""
        points, separate = prompts.points, prompts.queries is not None
        if prompts.steps is None:
            return self.trainer.read_operations(points, separate=separate) or points
        if prompts.steps_given:
            return self.weight(points)
        # As `core.steps.through_steps` asks for them.
        alone = sum(self.weight(k + 1) for k in range(points))
        return (prompts.n_steps + 1) * alone if separate else self.weight(points) + prompts.n_steps * alone

    @staticmethod
    def _cells(run: Run) -> float:
        """How many cells have a share at a step, in the mean: as many rows are written at a time."""
        plan = run.experiment.plan()
        state = plan.initial_state()
        cells = [len(plan.shares(step, state).offered()) for step in spread_over(range(plan.steps), 60)]
        return sum(cells) / len(cells)

    @staticmethod
    def _answers(experiment: Experiment, bank: Bank) -> float:
        """How many learners answer a bank; one that is asked at some lengths alone is that part of a learner."""
        chosen: Any = experiment.baselines_for(bank.drawn_task.function_class)
        asked = (
            len(experiment.evaluation.costly.asked(bank.drawn_task.shown_dims, experiment.points)) / experiment.points
        )
        costly = [*(item.costly for item in chosen), *(item.per_prompt for item in experiment.evaluation.adaptations())]
        return 1 + len(oracle_entry(bank)) + sum(min(1.0, asked) if of_few else 1.0 for of_few in costly)
