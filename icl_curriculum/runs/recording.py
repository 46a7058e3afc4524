"""The tables that grow during training, and what has happened since they were last written."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from icl_curriculum.core.contracts import at_work
from icl_curriculum.core.transfers import numbers_of
from icl_curriculum.curricula import Shares
from icl_curriculum.evaluation import Bank, NamedLearner, metric_rows, put_to
from icl_curriculum.metrics import Metric, shown_first, usual_metrics
from icl_curriculum.results.columns import CurriculumRow, ExposureRow, LearningRow, TimingRow, TrainingRow
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.runs.banks import learning_banks
from icl_curriculum.runs.live_logging import LiveLogging
from icl_curriculum.training import Cell, Trainer, Update
from icl_curriculum.training.session import TRAINING


class Interval:
    """What happened since the tables were last written."""

    def __init__(self) -> None:
        self.updates = 0
        self.learning_rate = 0.0
        self.planned: dict[Cell, float] = {}
        self.n_prompts: Counter[Cell] = Counter()
        #: Role, cell, prompts and loss, a number or a tensor that was not yet waited for, with the number of the update
        #: since the tables were last written.
        self.losses: list[tuple[str, Cell, int, Any, int]] = []

    def plan(self, shares: Shares) -> None:
        """Count an update with these shares."""
        self.updates += 1
        for function_class, p in shares.function_classes.items():
            for inputs, q in shares.inputs.items():
                cell = (function_class, inputs)
                self.planned[cell] = self.planned.get(cell, 0.0) + p * q

    def add(self, update: Update) -> None:
        self.plan(update.shares)
        self.learning_rate = update.learning_rate
        self.n_prompts.update(update.n_prompts)
        self.losses += [(loss.role, loss.cell, loss.n_prompts, loss.value, self.updates) for loss in update.losses]

    def means(self, cells: Iterable[Cell]) -> dict[tuple[str, Cell], tuple[float, int]]:
        """Mean losses by role and cell, in the order of ``cells``, with numbers of prompts. Waits for the device."""
        self._read()
        sums: dict[tuple[str, Cell], float] = {}
        counts: Counter[tuple[str, Cell]] = Counter()
        for role, cell, n, loss, _ in self.losses:
            sums[role, cell] = sums.get((role, cell), 0) + n * loss
            counts[role, cell] += n
        roles = dict.fromkeys(role for role, _ in sums)
        found = [(role, cell) for cell in cells for role in roles if (role, cell) in sums]
        return {key: (sums[key] / counts[key], counts[key]) for key in found}

    def _read(self) -> None:
        """Put numbers in the place of all losses that are still on a device, which is waited for once."""
        waiting = [number for number, entry in enumerate(self.losses) if isinstance(entry[3], Tensor)]
        for number, loss in zip(waiting, numbers_of([self.losses[number][3] for number in waiting]), strict=True):
            role, cell, n, _, update = self.losses[number]
            self.losses[number] = (role, cell, n, loss, update)

    def to_plain(self) -> dict[str, Any]:
        self._read()
        return {
            "updates": self.updates,
            "learning_rate": self.learning_rate,
            "planned": [[*cell, share] for cell, share in self.planned.items()],
            "n_prompts": [[*cell, n] for cell, n in self.n_prompts.items()],
            "losses": [[role, *cell, n, loss, number] for role, cell, n, loss, number in self.losses],
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Interval:
        made = cls()
        made.updates, made.learning_rate = plain["updates"], plain["learning_rate"]
        made.planned = {(c, i): share for c, i, share in plain["planned"]}
        made.n_prompts = Counter({(c, i): n for c, i, n in plain["n_prompts"]})
        # Version 0.2.0 wrote no role, there was only one; nor did it write the number of the update.
        whole = [[TRAINING, *entry] if len(entry) == 4 else entry for entry in plain["losses"]]
        numbered = [entry if len(entry) == 6 else [*entry, made.updates] for entry in whole]
        made.losses = [(role, (c, i), n, loss, number) for role, c, i, n, loss, number in numbered]
        return made


class Recorder:
    """Writes training.csv, curriculum.csv, learning.csv, exposure.csv and timing.csv of one run.

    What is logged live has the names of tables and columns: ``training/loss/linear/gaussian``.
    """

    def __init__(self, trainer: Trainer, directory: RunDirectory, live: LiveLogging) -> None:
        self.trainer = trainer
        self.directory = directory
        self.live = live
        self.pending = Interval()
        self.learning = [(bank, bank.draw()) for bank in learning_banks(trainer.run.experiment)]
        self.shifted = bool(trainer.run.experiment.evaluation.learning_shifts)
        self.roles = trainer.method.roles or (trainer.method.signal,)
        self.mark = time.monotonic()

    def start_tables(self) -> None:
        """Begin the tables that grow, empty."""
        longer = {"learning": self.shifted, "training": bool(self.trainer.method.roles)}
        self.directory.start_tables(optional={name for name, is_longer in longer.items() if is_longer})

    def record(self, update: Update, logged: Callable[[float, float], None] = lambda loss, rate: None) -> None:
        """Take note of an update, and write the rows that are due after it.

        ``logged`` is told what `log` returns, before the errors are measured, which may take a while.
        """
        self.pending.add(update)
        step, config = self.trainer.step, self.trainer.config
        last = step == config.steps
        if step % config.log_every == 0 or last:
            logged(*self.log())
        if step % config.learning_every == 0 or last:
            self.evaluate()

    def log(self) -> tuple[float, float]:
        """Write the interval since the last call; returns its normalized loss and updates per second.

        Raises Diverged, after writing, if a loss is not finite or far above that of predicting zero.
        """
        step, interval = self.trainer.step, self.pending
        seen = self.trainer.prompts_seen
        classes: Counter[str] = Counter()
        for (function_class, _), n in seen.items():
            classes[function_class] += n
        means, signal = interval.means(self.trainer.tasks), self.trainer.method.signal
        losses = {cell: loss for (role, cell), (loss, _) in means.items() if role == signal}
        normalized = {cell: loss / self.trainer.trivial[cell] for cell, loss in losses.items()}
        behind = {cell: n for (role, cell), (_, n) in means.items() if role == signal}
        drawn = interval.n_prompts.total()
        rows = [
            TrainingRow(
                step=step, function_class=cell[0], input_distribution=cell[1], role=role,
                n_prompts=n, loss=loss,
                normalized_loss=loss / self.trainer.trivial[cell] if self.trainer.comparable[cell] else math.nan,
                learning_rate=interval.learning_rate, prompts_seen=seen.total(),
                class_prompts_seen=classes[cell[0]],
            )
            for (role, cell), (loss, n) in means.items() if role in self.roles
        ]  # fmt: skip
        plain = [row.without_role() for row in rows]
        self.directory.append("training", rows if self.trainer.method.roles else plain)
        self.directory.append(
            "curriculum",
            [
                CurriculumRow(
                    step=step, function_class=cell[0], input_distribution=cell[1],
                    planned_share=interval.planned[cell] / interval.updates,
                    drawn_share=interval.n_prompts[cell] / drawn,
                )
                for cell in self.trainer.tasks
            ],
        )  # fmt: skip
        now = time.monotonic()
        seconds, self.mark = now - self.mark, now
        self.directory.append("timing", [TimingRow(step, "training", seconds, prompts_per_second=drawn / seconds)])
        self.live.scalars(step, {
            **{f"training/loss/{'/'.join(cell)}": loss for cell, loss in losses.items()},
            **{f"training/normalized_loss/{'/'.join(cell)}": loss
               for cell, loss in normalized.items() if self.trainer.comparable[cell]},
            **{f"training/{role}_loss/{'/'.join(cell)}": loss
               for (role, cell), (loss, _) in means.items() if role != signal},
            "training/learning_rate": interval.learning_rate,
            "training/prompts_seen": seen.total(),
            **{f"curriculum/drawn_share/{'/'.join(cell)}": interval.n_prompts[cell] / drawn
               for cell in self.trainer.tasks},
        })  # fmt: skip
        # No rate or time left is taken from what the logger needs.
        self.mark += time.monotonic() - now
        self._check(means)
        updates, self.pending = interval.updates, Interval()
        mean = sum(normalized[cell] * behind[cell] for cell in losses) / sum(behind.values())
        return mean, updates / seconds

    def _check(self, means: dict[tuple[str, Cell], tuple[float, int]]) -> None:
        """Raise Diverged if the mean of a role in a cell does; it names the first loss that did, whatever its role."""
        wrong = [key for key, (loss, _) in means.items() if self.trainer.diverges(key[1], loss)]
        if not wrong:
            return
        before, signal = self.trainer.step - self.pending.updates, self.trainer.method.signal
        for role, cell, _, loss, number in self.pending.losses:
            if self.trainer.diverges(cell, loss):
                if role != signal:
                    self.trainer.check_loss(cell, loss, role, before + number)
                break
        role, cell = next((key for key in wrong if key[0] == signal), wrong[0])
        self.trainer.check_loss(cell, means[role, cell][0], role)

    def _metrics(self, bank: Bank) -> list[Metric]:
        """The metrics of learning.csv: the one that is shown first, and those that the experiment asks for."""
        usual = usual_metrics(bank.drawn_task, self.trainer.run.experiment.evaluation.metrics)
        asked = {metric.id for metric in self.trainer.run.experiment.evaluation.metrics}
        first = shown_first(bank.drawn_task).id
        return [metric for metric in usual if metric.id in {first, *asked}]

    def evaluate(self) -> None:
        """Write the model's errors on the learning banks, which no training stream can draw, and what was spent."""
        rows: list[LearningRow] = []
        config = self.trainer.run.experiment.model
        entry = NamedLearner("model", "model", self.trainer.model, config)
        began = time.monotonic()
        for bank, prompts in self.learning:
            with at_work(config, "predict"):
                predictions = put_to(entry, prompts)
            rows += [
                LearningRow(
                    step=self.trainer.step, prompts_seen=self.trainer.prompts_seen.total(),
                    function_class=bank.function_class, input_distribution=bank.input_distribution,
                    shift=bank.shift_id, n_context=row.n_context, metric=row.metric, value=row.value,
                )
                for row in metric_rows(entry, predictions, bank, prompts, None, self._metrics(bank))
            ]  # fmt: skip
        self.directory.append("learning", rows if self.shifted else [row.without_shift() for row in rows])
        seen, flops = self.trainer.prompts_seen, self.trainer.flops
        self.directory.append(
            "exposure",
            [
                ExposureRow(self.trainer.step, *cell, prompts=seen[cell], flops=flops[cell])
                for cell in self.trainer.tasks
            ],
        )
        # The longest prompt of every bank and metric comes last and is the one that is kept.
        errors = {f"learning/{row.metric}/{_bank_name(row)}": row.value for row in rows}
        self.live.scalars(self.trainer.step, errors)
        self.mark += time.monotonic() - began


def _bank_name(row: LearningRow) -> str:
    """Names a row's bank for a logger: ``linear/gaussian``, or ``linear/gaussian/scaled_inputs/2`` under a shift."""
    return "/".join([row.function_class, row.input_distribution, *[row.shift] * (row.shift != "none")])
