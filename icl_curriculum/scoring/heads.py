"""``icl heads``: what the attention heads of finished runs attend to, and what masking the highest-scoring ones does.

Source: Bhasin et al. 2024 (arXiv 2404.03558). Their score took one prompt and its first six pairs, and their masks were
compared with one set of other heads; here are all pairs, 64 prompts of each cell, and at least 20 sets.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import torch

from icl_curriculum import figures
from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.files import check_writable, remove_leftovers, write_atomically
from icl_curriculum.core.locks import Claim, locked
from icl_curriculum.core.machine import computing_threads
from icl_curriculum.core.options import option
from icl_curriculum.core.progress import Tell, tell_nobody, within
from icl_curriculum.core.provenance import provenance
from icl_curriculum.core.safe_path import safe_path
from icl_curriculum.evaluation import BANK_VERSION, Bank, NamedLearner, content_hash, evaluation_rows, score
from icl_curriculum.models.heads import SCORES, head_scores
from icl_curriculum.models.masking import (
    CONTROL_SETS_VERSION,
    HeadChoice,
    MaskedModel,
    control_sets,
    head_mask,
    heads_of,
    mean_outputs,
)
from icl_curriculum.results.columns import COLUMNS, TABLES, EvaluationRow, bytes_hash, csv_text, of_run, text_hash
from icl_curriculum.results.head_rows import HeadsRow
from icl_curriculum.results.manifests import DamagedFile, read_of_command, write_of_command
from icl_curriculum.results.masking import write_masking
from icl_curriculum.results.older_tables import as_written_now, is_older
from icl_curriculum.results.statistics.prompts import mean_interval
from icl_curriculum.results.surveying import finished_runs
from icl_curriculum.runs.checkpoints import USUAL_PROMPTS
from icl_curriculum.scoring.trained_runs import TrainedRun, asked_steps, open_run

#: Marks the manifests of these tables, so that no other folder is taken for one.
COMMAND = "icl heads"
#: The share of heads that Bhasin et al. mask: 7 of 12 x 8.
_SHARE = 7 / 96
_TABLES = ("heads", "evaluation")


@dataclass(frozen=True)
class HeadQuestions:
    """What is asked of the heads of each run.

    ``masked``: numbers of heads that are masked, each the highest of ``score``; None: as large a share as the paper's;
    empty: nothing is masked. ``by``: what takes the place of what a masked head says. ``controls``: sets of as many
    other heads. ``n_prompts``: of the banks on which errors are measured.
    """

    score: str = "retrospective"
    masked: tuple[int, ...] | None = None
    by: Literal["zero", "mean"] = "zero"
    controls: int = 20
    n_prompts: int = 256

    @classmethod
    def checked(
        cls, score: str, masked: tuple[int, ...] | None, by: str, controls: int, n_prompts: int
    ) -> HeadQuestions:
        """The questions that these words mean. UserError for a score that there is not, and for other words."""
        if score not in SCORES:
            raise UserError(f"{option('--score')}: unknown score {score!r}{did_you_mean(score, SCORES)}")
        if by not in ("zero", "mean"):
            raise UserError(f"{option('--by')}: expected zero or mean, found {by!r}")
        return cls(score, masked, "mean" if by == "mean" else "zero", controls, n_prompts)

    def choices(self, heads: int) -> list[HeadChoice]:
        """The choices of heads to mask in a model of so many."""
        numbers = self.masked if self.masked is not None else (max(1, round(_SHARE * heads)),)
        return [HeadChoice((), self.score, n, self.by) for n in numbers]


@dataclass(frozen=True)
class WrittenHeads:
    """The folder with the tables, the figures, and for a folder of runs how many there were."""

    folder: Path
    figures: list[Path]
    runs: int
    controls: int


def study_heads(
    path: Path,
    questions: HeadQuestions,
    *,
    output: Path | None = None,
    device: str = "cpu",
    jobs: int = 1,
    steps: Sequence[str] = (),
    tell: Tell = tell_nobody,
) -> WrittenHeads:
    """Write heads.csv and the errors with masks of a run, or of every finished run in a folder, and draw them.

    ``steps``: those whose kept weights are asked, numbers or ``all``; by default the last.

    A run's tables are in ``RUN/heads``; what stands there from an earlier call that asked the same of the same weights
    is kept. For a folder of runs, ``FOLDER/heads`` has the tables of all, and masking.csv. ``output``: another folder
    for what is written last. UserError for a folder without finished runs, and for models whose heads cannot be asked.
    """
    if (path / "manifest.json").is_file():
        written = study_run(path, questions, output or path / "heads", device, steps, tell)
        return WrittenHeads(written, figures.draw_heads(written, path), 1, _fewest_controls([written]))
    runs = [run for run, _ in finished_runs(path)] if path.is_dir() else []
    if not runs:
        raise UserError(f"{path}: expected the folder of a finished run, or a folder of such, found none")
    folders = [run / "heads" for run in runs]
    _study_all(runs, folders, questions, device, jobs, steps, tell)
    whole = output or path / "heads"
    with _writing(whole) as claim:
        tables = {name: "".join(_rows_of(folder, name) for folder in folders) for name in _TABLES}
        manifests = {run.name: read_of_command(COMMAND, folder) for run, folder in zip(runs, folders, strict=True)}
        _write(whole, tables, {"runs": manifests, "questions": dataclasses.asdict(questions)}, claim)
        write_masking(whole)
    return WrittenHeads(whole, figures.draw_heads(whole), len(runs), _fewest_controls(folders))


def _study_all(
    runs: Sequence[Path],
    folders: Sequence[Path],
    questions: HeadQuestions,
    device: str,
    jobs: int,
    steps: Sequence[str],
    tell: Tell,
) -> None:
    if jobs == 1:
        for number, (run, folder) in enumerate(zip(runs, folders, strict=True)):
            of_run = within(tell, number, len(runs))
            of_run(0.0, run.name)
            study_run(run, questions, folder, device, steps, of_run)
        return
    with safe_path(), ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        pending = [
            pool.submit(study_run, run, questions, folder, device, steps)
            for run, folder in zip(runs, folders, strict=True)
        ]
        try:
            for done, future in enumerate(as_completed(pending), start=1):
                tell(done / len(pending), future.result().parent.name)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def study_run(
    run_dir: Path,
    questions: HeadQuestions,
    output: Path,
    device: str = "cpu",
    steps: Sequence[str] = (),
    tell: Tell = tell_nobody,
) -> Path:
    """Write the tables of one run into ``output``, unless they are there; returns it."""
    asked = asked_steps(run_dir, steps) if steps else [None]
    all_opened = [open_run(run_dir, device, step) for step in asked]
    opened = all_opened[-1]
    described = {
        "run": opened.run.name,
        "steps": [each.trained.step for each in all_opened],
        "config_hash": opened.manifest["config_hash"],
        "weights": opened.manifest.get("weights"),
        "bank_version": BANK_VERSION,
        "control_sets_version": CONTROL_SETS_VERSION,
        "questions": json.loads(json.dumps(dataclasses.asdict(questions))),
    }
    with _writing(output) as claim, computing_threads(opened.run.experiment.threads):
        if _is_there(output, described):
            return output
        tables = dict.fromkeys(_TABLES, "")
        for number, each in enumerate(all_opened):
            study = _Study(each, questions)
            tables["heads"] += csv_text(of_run(each.directory.run, study.scores()))
            errors = study.errors(within(tell, number, len(all_opened)))
            tables["evaluation"] += csv_text(of_run(each.directory.run, errors))
        _write(output, tables, {**described, "banks": study.banks, "controls": study.controls}, claim)
    return output


class _Study:
    """The heads of one run."""

    def __init__(self, opened: TrainedRun, questions: HeadQuestions) -> None:
        self.trained, self.questions = opened.trained, questions
        experiment = opened.run.experiment
        self.model, self.confidence = opened.trained.model, experiment.evaluation.confidence
        self.tasks = experiment.tasks()
        self.banks: dict[str, str] = {}
        self.controls = questions.controls
        seed, points = experiment.evaluation.bank_seed, experiment.points
        self.drawn = {cell: Bank(task, None, USUAL_PROMPTS, points, seed, "heads") for cell, task in self.tasks.items()}
        self.found = {cell: head_scores(self.model, bank.draw()) for cell, bank in self.drawn.items()}
        # Before the first step nothing has been trained on yet.
        own = [
            scores for cell, scores in self.found.items() if cell in self.trained.offered or not self.trained.offered
        ]
        self.mean = {name: torch.stack([scores[name].mean(dim=0) for scores in own]).mean(dim=0) for name in SCORES}

    def scores(self) -> Iterator[HeadsRow]:
        """The rows of heads.csv, cell by cell."""
        for cell, scores in self.found.items():
            self._note(self.drawn[cell], "heads")
            for name, values in scores.items():
                n, _, heads = values.shape
                flat = values.reshape(n, -1).double().numpy()
                low, high = mean_interval(flat, self.confidence)
                for index, value in enumerate(flat.mean(axis=0)):
                    layer, head = divmod(index, heads)
                    yield HeadsRow(
                        step=self.trained.step, function_class=cell[0], input_distribution=cell[1], layer=layer + 1,
                        head=head + 1, score=name, value=float(value), ci_low=float(low[index]),
                        ci_high=float(high[index]), n_prompts=n,
                    )  # fmt: skip

    def _note(self, bank: Bank, purpose: str) -> None:
        self.banks["/".join([purpose, *bank.key])] = content_hash(bank.draw())

    def errors(self, tell: Tell) -> Iterator[EvaluationRow]:
        """The rows of evaluation.csv: the model as it is, with heads masked, and with each control set masked."""
        entries = list(self._learners())
        experiment = self.trained.run.experiment
        cells = [cell for cell in self.tasks if cell in self.trained.offered]
        for number, cell in enumerate(cells if len(entries) > 1 else []):
            config = experiment.evaluation
            bank = Bank(self.tasks[cell], None, self.questions.n_prompts, experiment.points, config.bank_seed)
            self._note(bank, "evaluation")
            prompts = bank.draw()
            of_bank = within(tell, number, len(cells))
            for asked, entry in enumerate(entries):
                of_bank(asked / len(entries), "/".join(bank.key))
                found = score([entry], bank, prompts, self.confidence, tell=within(of_bank, asked, len(entries)))
                yield from evaluation_rows(found, bank, step=self.trained.step, trained_points=self.trained.points)

    def _learners(self) -> Iterator[NamedLearner]:
        config = self.trained.run.experiment.model
        yield NamedLearner("model", "model", self.model, config)
        first = next(iter(self.drawn.values())).draw()
        shape = heads_of(self.model, first)
        for choice in self.questions.choices(shape[0] * shape[1]):
            heads = choice.of(lambda: self.mean, shape)
            means = None
            if choice.by == "mean":
                usual = self.model.usual_prompts
                assert usual is not None
                # As long as the model reads, as `Model.masked` has it: one id is one mask.
                means = mean_outputs(self.model, shape[0], usual(self.model.max_points))
            sets = control_sets(heads, shape, self.questions.controls)
            self.controls = min(self.controls, len(sets))
            for number, masked in enumerate([heads, *sets]):
                named = dataclasses.replace(choice, control=number)
                learner = MaskedModel(self.model, named, masked, head_mask(masked, shape, means))
                yield NamedLearner(learner.id, "model", learner, config)


def _writing(folder: Path) -> contextlib.AbstractContextManager[Claim]:
    """Hold a folder that this command may write to. UserError for one that holds somebody else's files."""
    check_writable(folder)
    if (folder / "manifest.json").exists() or (folder / "evaluation.csv").exists():
        read_of_command(COMMAND, folder)
    return locked(folder / ".lock", waiting=lambda holder: None)


def _is_there(folder: Path, described: dict[str, Any]) -> bool:
    """Whether a folder holds what was asked, as it was written."""
    if not (folder / "manifest.json").is_file():
        return False
    manifest = read_of_command(COMMAND, folder)
    if any(manifest.get(key) != value for key, value in described.items()):
        return False
    return all(
        (folder / f"{name}.csv").is_file()
        and bytes_hash((folder / f"{name}.csv").read_bytes()) == manifest["tables"].get(name)
        for name in _TABLES
    )


def _rows_of(folder: Path, name: str) -> str:
    """The rows of a run's table as they are written now. UserError where it is not what was written."""
    older = is_older(_rows(folder, "evaluation"))
    rows = _rows(folder, name)
    return as_written_now(name, TABLES[name].header, rows) if older else rows


def _rows(folder: Path, name: str) -> str:
    """The rows of a run's table, without its header. UserError where it is not what was written."""
    data = (folder / f"{name}.csv").read_bytes()
    if bytes_hash(data) != read_of_command(COMMAND, folder)["tables"].get(name):
        raise DamagedFile(folder / f"{name}.csv", f"it is not what {COMMAND} wrote", f"remove {folder}")
    return data.decode().split("\n", 1)[1]


def _write(folder: Path, tables: dict[str, str], described: dict[str, Any], claim: Claim) -> None:
    """Write tables from their rows, each under its header, and the manifest."""
    remove_leftovers(folder)
    headers = {"heads": TABLES["heads"].header, "evaluation": COLUMNS["evaluation"]}
    whole = {name: csv_text([headers[name]]) + rows for name, rows in tables.items()}
    manifest = {**described, **provenance(), "tables": {name: text_hash(text) for name, text in whole.items()}}
    for name, text in whole.items():
        write_atomically(folder / f"{name}.csv", text, before=claim.check)
    write_of_command(COMMAND, folder, manifest, claim.check)


def _fewest_controls(folders: Sequence[Path]) -> int:
    return min(int(read_of_command(COMMAND, folder)["controls"]) for folder in folders)


__all__ = ["COMMAND", "HeadQuestions", "WrittenHeads", "study_heads", "study_run"]
