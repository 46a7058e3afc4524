"""Finished runs asked from Python: `evaluate` and `heads`, as the commands of these names do."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from icl_curriculum.core.arguments import as_path, as_paths, as_texts, plain, whole_number, whole_numbers
from icl_curriculum.core.component import LARGEST, Component
from icl_curriculum.core.machine import resolve_device
from icl_curriculum.core.notebook import ProgressBoard
from icl_curriculum.core.progress import Tell
from icl_curriculum.core.settings import own_settings
from icl_curriculum.evaluation import Bank
from icl_curriculum.evaluation.failures import failure_sentences
from icl_curriculum.metrics import Metric
from icl_curriculum.results.predictions import check_format
from icl_curriculum.runs.results import Results
from icl_curriculum.scoring.asked_run import EvaluationQuestions
from icl_curriculum.scoring.evaluate import evaluate_run
from icl_curriculum.scoring.grid import AskedCells, BankGrid
from icl_curriculum.scoring.heads import HeadQuestions, study_heads
from icl_curriculum.scoring.run_evaluation import WrittenEvaluation


@own_settings(training=True)
def evaluate(
    run_dir: str | os.PathLike[str],
    *,
    function_classes: str | Component | Sequence[str | Component] = (),
    inputs: str | Component | Sequence[str | Component] = (),
    shifts: str | Component | Sequence[str | Component] = (),
    n_prompts: int | None = None,
    masks: str | Sequence[str] = (),
    instructions: str | Sequence[str] = (),
    adaptations: str | Sequence[str] = (),
    metrics: str | Metric | Sequence[str | Metric] = (),
    steps: int | str | Sequence[int | str] = (),
    predictions: str | None = None,
    output: str | os.PathLike[str] | None = None,
    device: str = "auto",
    plugins: Sequence[str | os.PathLike[str]] = (),
    jobs: int = 1,
    progress: bool | None = None,
) -> Results:
    """Ask a finished run about any class, inputs and shift as ``icl evaluate`` does, with the same files.

    Components are named as on the command line (``"scaled_inputs/0.5"``, ``"all"``), or given themselves; by default
    the run's own classes and inputs are asked under every shift. ``n_prompts``: of each bank, by default as many as the
    run had. ``masks``, ``instructions``, ``adaptations``: texts as for ``--mask``, ``--instruction`` and ``--adapt``,
    in which ways the model is asked beside as it is. ``steps``: at which the run kept its weights, or ``"all"``; by
    default the last. ``predictions``: ``"parquet"`` or ``"csv"``, in which what everyone answered to each prompt is
    written, too. ``jobs``: how many processes answer banks at once; the tables are the same. ``progress``: as for
    `run`.

    Returns the `Results` in ``output``, by default ``run_dir``/evaluate. Their ``evaluation`` and
    ``prediction_differences`` hold what was asked by this call alone; the files, and so `Results.open`, have what
    earlier calls wrote as well. ``notes``: which cells are undefined, and what failed or is to be doubted. Raises
    UserError for what cannot be meant, RunFailed where a plugin breaks its contract or memory runs out.
    """
    run = as_path(run_dir, "run_dir")
    questions = EvaluationQuestions(
        AskedCells(_several(function_classes), _several(inputs), _several(shifts)),
        None if n_prompts is None else whole_number(n_prompts, "n_prompts", least=2, most=LARGEST),
        masks=as_texts(masks, "masks"),
        instructions=as_texts(instructions, "instructions"),
        adaptations=as_texts(adaptations, "adaptations"),
        metrics=_several(metrics),
        steps=_steps(steps),
        predictions=None if predictions is None else check_format(predictions),
    )
    into = run / "evaluate" if output is None else as_path(output, "output")
    board = ProgressBoard(progress)

    @contextlib.contextmanager
    def view(name: str, banks: Sequence[Bank]) -> Iterator[Tell]:
        yield lambda share, detail="": board.set(name, f"{share:.0%} of {len(banks)} banks  {detail}".rstrip())
        board.set(name, "done", now=True)

    written, grid = evaluate_run(
        run, questions, output=into, device=resolve_device(device), plugins=as_paths(plugins, "plugins"),
        jobs=whole_number(jobs, "jobs", least=1), view=view,
    )  # fmt: skip
    whole, last = Results(into), written[-1]
    tables = {name: _asked_rows(whole.table(name), written, grid) for name in ("evaluation", "prediction_differences")}
    undefined = [f"undefined: {reason}" for reason in grid.undefined]
    return Results(into, tables=tables, notes=[*undefined, *failure_sentences(last.failures), *last.warnings])


def heads(
    path: str | os.PathLike[str],
    *,
    n: int | Sequence[int] | None = None,
    score: str = "retrospective",
    by: str = "zero",
    controls: int = 20,
    n_prompts: int = 256,
    jobs: int = 1,
    steps: int | str | Sequence[int | str] = (),
    output: str | os.PathLike[str] | None = None,
    device: str = "auto",
    progress: bool | None = None,
) -> Results:
    """What the attention heads of a run attend to, and what masking some does, as ``icl heads`` says, with its files.

    ``path``: the folder of a finished run, or a folder of such. ``n``: how many of the heads with the highest ``score``
    are masked, by default 7 of 96 and at least one; 0: none. ``by``: what takes the place of what a masked head says,
    ``zero`` or ``mean``. ``controls``: sets of as many other heads. ``n_prompts``: on which errors are measured.
    ``steps``: at which the run kept its weights, or ``"all"``. ``progress``: as for `run`.

    Returns the `Results` in ``output``, by default ``path``/heads: ``heads`` with the scores, ``evaluation`` with the
    errors, and of a folder of runs ``masking`` with means over seeds. UserError for what cannot be meant.
    """
    numbers = None if n is None else whole_numbers([n] if isinstance(plain(n), int) else n, "n")
    masked = None if numbers is None else tuple(dict.fromkeys(number for number in numbers if number))
    questions = HeadQuestions.checked(
        score, masked, by, whole_number(controls, "controls", least=0),
        whole_number(n_prompts, "n_prompts", least=2, most=LARGEST),
    )  # fmt: skip
    into, board = None if output is None else as_path(output, "output"), ProgressBoard(progress)
    with own_settings():
        written = study_heads(
            as_path(path, "path"), questions, output=into, device=resolve_device(device),
            jobs=whole_number(jobs, "jobs", least=1), steps=_steps(steps),
            tell=lambda share, detail="": board.set("heads", f"{share:.0%}  {detail}".rstrip()),
        )  # fmt: skip
    board.set("heads", f"results in {written.folder}", now=True)
    return Results(written.folder, notes=())


def _several(values: Any) -> list[Any]:
    """One text, number or component alone, or several."""
    return [values] if isinstance(values, str | int | Component) else list(plain(values))


def _steps(steps: int | str | Sequence[int | str]) -> list[str]:
    """Steps as the command line writes them."""
    found: Any = plain(steps)
    return [step if isinstance(step, str) else str(whole_number(step, "steps")) for step in _several(found)]


def _asked_rows(table: pd.DataFrame, written: Sequence[WrittenEvaluation], grid: BankGrid) -> pd.DataFrame:
    """The rows of a table that one call asked for: of its cells, and there of its steps and models or of no model."""
    cells = {bank.key for bank in grid.banks}
    keys = zip(table["function_class"], table["input_distribution"], table["shift"], strict=True)
    asked = pd.Series([key in cells for key in keys], index=table.index)
    models, steps = {name for each in written for name in each.models}, {each.step for each in written}
    own = table["learner"].isin(models) & table["step"].isin(steps)
    others = table["learner_kind"] != "model" if "learner_kind" in table else False
    return table[asked & (own | others)]
