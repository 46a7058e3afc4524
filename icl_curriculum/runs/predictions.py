"""The predictions of finished runs, written after the runs where they are asked for.

They are asked of the trained model once more, on the same banks, and of the baselines' answers that are kept beside the
runs, so that nothing is trained for them and they are no part of what a run's config decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import load_run
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.machine import computing_threads, reproducible
from icl_curriculum.core.progress import Tell, tell_nobody
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.evaluation import Bank, LearnerAnswers
from icl_curriculum.evaluation.gathering import gathered
from icl_curriculum.results.manifests import finished_manifest
from icl_curriculum.results.predictions import BankPredictions, write_predictions
from icl_curriculum.runs.banks import evaluation_banks
from icl_curriculum.runs.checkpoints import load_model
from icl_curriculum.runs.evaluation import score_banks
from icl_curriculum.runs.execution import directory_of
from icl_curriculum.runs.trained import trained_model


def predictions_of_run(run: Run, results: Path, name: str, *, device: str = "cpu", tell: Tell = tell_nobody) -> Path:
    """Write what everyone answered in the evaluation of a finished run, in the format of this ``name``.

    Returns the file, in the place of any that is there: no hash says that nobody has edited it. UserError if the run is
    not finished or damaged, or if its prompts are not those that it was evaluated on.
    """
    directory = directory_of(run, results)
    with directory.locked(waiting=lambda holder: None), computing_threads(run.experiment.threads):
        manifest = finished_manifest(directory.path)
        as_it_was = load_run(directory.path / "config.toml", plugin_hashes=manifest.get("plugins"))
        trained = trained_model(as_it_was, load_model(directory.path).to(device), directory.path)
        experiment = as_it_was.experiment
        adaptations = experiment.evaluation.adaptations()
        banks = list(evaluation_banks(experiment))
        found: list[BankPredictions] = []

        def answered(bank: Bank, prompts: Prompts, answers: Sequence[LearnerAnswers], points: int) -> None:
            found.extend(
                gathered(directory.run, bank, prompts, answers, step=trained.step, trained_points=points)
            )  # fmt: skip

        with reproducible(device):
            cache = directory.path.parent / ".cache"
            for scored in score_banks(trained, banks, cache, tell, adaptations=adaptations, answered=answered):
                if manifest["banks"].get(scored.name) != scored.content:
                    raise UserError(
                        f"{directory.path}: the prompts of {scored.name} are not those that it was evaluated on, as "
                        f"what draws them has changed in between; its predictions cannot be told any more"
                    )
        return write_predictions(directory.path, name, found, before=directory.check_held)
