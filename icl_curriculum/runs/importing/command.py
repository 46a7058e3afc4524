"""``icl import``: a checkpoint of another code becomes the folder of a finished run."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icl_curriculum.core.arguments import as_path, as_paths, as_texts, whole_number
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.files import check_writable
from icl_curriculum.core.machine import computing_threads, is_out_of_memory, reproducible, resolve_device
from icl_curriculum.core.options import option
from icl_curriculum.core.progress import Tell, tell_nobody
from icl_curriculum.core.settings import own_settings
from icl_curriculum.evaluation import Bank
from icl_curriculum.evaluation.failures import Failures
from icl_curriculum.results.collecting import collect
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.results.manifests import read_manifest
from icl_curriculum.results.surveying import finished_runs
from icl_curriculum.runs.banks import evaluation_banks
from icl_curriculum.runs.checkpoints import write_weights
from icl_curriculum.runs.description import described, what_is_finished, write_config
from icl_curriculum.runs.evaluation import evaluate
from icl_curriculum.runs.execution import directory_of, moved_aside
from icl_curriculum.runs.importing.foreign_run import ForeignRun, Told, read_run

#: What marks the manifest of a run that was imported.
IMPORTED = "imported"


@dataclass(frozen=True)
class WrittenImport:
    """The folder of the run, what to know of its errors, what baselines failed on, and runs that no table holds.

    ``kept``: it was there already, from the same file, and was left as it is.
    """

    directory: Path
    notes: list[str]
    failures: Failures
    left_out: list[str]
    kept: bool = False


class Import:
    """A checkpoint that was read and checked, ready to be written. UserError for one that cannot be imported."""

    def __init__(self, path: Path, told: Told) -> None:
        self.found: ForeignRun = read_run(path, told)
        self.run = self.found.run
        self.banks: list[Bank] = list(evaluation_banks(self.run.experiment))

    def write(self, results: Path, tell: Tell, *, device: str = "cpu", fresh: bool = False) -> WrittenImport:
        """Write the run to ``results``/<name>/<variant>-seed<seed>, evaluated, and the experiment's tables anew.

        Its tables of training hold their headers alone: what happened in training is not known. A run that is there
        from the same file is kept. UserError, before anything is written, if the folder holds anything else, unless
        ``fresh``, which moves that aside; RunFailed if a plugin breaks or memory runs out.
        """
        directory = directory_of(self.run, results)
        experiment = directory.path.parent
        self._check_beside(experiment)
        check_writable(experiment)
        if self._is_there(directory, fresh):
            return WrittenImport(directory.path, self.found.notes, {}, self._collected(experiment), kept=True)
        if directory.path.exists() and any(directory.path.iterdir()) and fresh:
            moved_aside(directory)
        with directory.locked(), computing_threads(self.run.experiment.threads), reproducible(device):
            failures = self._evaluated(directory, tell, device)
        return WrittenImport(directory.path, self.found.notes, failures, self._collected(experiment))

    def _evaluated(self, directory: RunDirectory, tell: Tell, device: str) -> Failures:
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        clock = time.monotonic()
        directory.start_tables()
        write_config(directory, self.run)
        try:
            trained = self.found.trained(device)
            evaluated = evaluate(trained, self.banks, directory, tell)
            weights = write_weights(directory, trained.model)
        except ComponentFailed as error:
            raise RunFailed(str(error), run=self.run.name) from error
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise
            raise RunFailed(f"memory ran out; lower {option('--n-prompts')}", run=self.run.name) from error
        seconds = time.monotonic() - clock
        about = described(self.run, "finished", device=device, started=started, seconds=seconds)
        # Last of all: without it the folder holds no run yet, and the same command begins it anew.
        directory.write_manifest(
            {**about, IMPORTED: self.found.origin, **what_is_finished(directory, evaluated, weights)}
        )
        return evaluated.failures

    def _check_beside(self, experiment: Path) -> None:
        """UserError if the experiment's folder is one of other things, whose tables would be written over."""
        trained = [path.name for path, manifest in finished_runs(experiment) if IMPORTED not in manifest]
        if trained:
            raise UserError(
                f"{experiment} holds runs that were trained here ({trained[0]}), and one table cannot hold both; give "
                f"another {option('--name')}, and compare them by icl compare or icl score"
            )
        if (experiment / "manifest.json").exists():
            raise UserError(f"{experiment} is no folder of an experiment; give another {option('--name')}")

    def _is_there(self, directory: RunDirectory, fresh: bool) -> bool:
        """Whether the folder holds this very import. UserError for another run, or a damaged one, unless ``fresh``."""
        if not directory.path.exists():
            return False
        try:
            manifest = read_manifest(directory.path)
            if manifest is None:
                return False
            if self._is_same(directory, manifest):
                directory.check_intact()
                return True
        except UserError:
            if fresh:
                return False
            raise
        if fresh:
            return False
        found = _origin_of(directory.path, manifest)
        what = f"imported from {found['file']} (SHA-256 {found['sha256'][:12]})" if found else "that was trained here"
        raise UserError(
            f"{directory.path} holds a run {what}, with another config or other weights; give another "
            f"{option('--name')}, {option('--variant')} or {option('--seed')} to keep both, or "
            f"{option('--fresh')} to move it aside"
        )

    def _is_same(self, directory: RunDirectory, manifest: dict[str, Any]) -> bool:
        origin = _origin_of(directory.path, manifest) or {}
        same = origin.get("sha256") == self.found.origin["sha256"] and manifest["config_hash"] == self.run.hash()
        return bool(same and manifest["status"] == "finished")

    def _collected(self, experiment: Path) -> list[str]:
        """Write the experiment's tables, by step of the checkpoints; the runs of another config that they leave out."""
        found = [(_origin_of(path, manifest) or {}, manifest) for path, manifest in finished_runs(experiment)]
        found.sort(key=lambda item: (item[0].get("step", 0), item[1]["variant"]))
        hashes = {manifest["variant"]: manifest["config_hash"] for _, manifest in found}
        return collect(experiment, {**hashes, self.run.variant: self.run.hash()}).left_out


def _origin_of(run_dir: Path, manifest: dict[str, Any]) -> dict[str, Any] | None:
    """What a manifest says of an import; None for a run that was trained here, UserError if it is damaged."""
    origin = manifest.get(IMPORTED)
    kinds = {"file": str, "sha256": str, "step": int}
    if origin is not None and not (
        isinstance(origin, dict) and all(isinstance(origin.get(key), kind) for key, kind in kinds.items())
    ):
        raise UserError(
            f"{run_dir / 'manifest.json'} is damaged ({IMPORTED}: expected {', '.join(kinds)}); restore it, or "
            f"{option('--fresh')}"
        )
    return origin


@own_settings(training=True)
def import_checkpoint(
    path: str | Path,
    *,
    results: str | Path = "results",
    name: str | None = None,
    variant: str | None = None,
    seed: int | None = None,
    heads: int | None = None,
    points: int | None = None,
    step: int | None = None,
    function_classes: Sequence[str] = (),
    inputs: Sequence[str] = (),
    config: str | Path | None = None,
    prompt_type: str | None = None,
    instruction_files: Sequence[str | Path] = (),
    n_prompts: int | None = None,
    device: str = "auto",
    plugins: Sequence[str | Path] = (),
    fresh: bool = False,
    tell: Tell = tell_nobody,
) -> Path:
    """Make a run of a checkpoint of Garg et al.'s or Bhasin et al.'s code, as ``icl import`` does; returns its folder.

    ``path``: a folder with ``config.yaml`` and ``state.pt``, or a ``model_STEP.pt``, with a ``config.yaml`` beside it,
    ``config`` elsewhere, or none. Where no configuration says it: ``heads``; ``points``, the longest prompts of its
    training, by default one less than its positions allow; ``step``; ``function_classes`` and ``inputs``, by id, by
    default linear functions and Gaussian inputs; ``prompt_type``, the instruction before every prompt as Bhasin et
    al.'s code calls it, with ``instruction_files``, a vector each, for ``model_four``. The folder is
    ``results``/``name``/<``variant``>-seed<``seed``>. ``n_prompts``: of its evaluation; ``fresh``: as for ``--fresh``;
    ``tell`` is told how far the evaluation is.

    Raises UserError, before anything is written, for a file that is damaged, of another code, or of another shape than
    its configuration says, and for a model or a training that has no counterpart here.
    """
    seed, heads, points, step, n_prompts = (
        None if value is None else whole_number(value, key, least=least)
        for key, value, least in (
            ("seed", seed, 0), ("heads", heads, 1), ("points", points, 2), ("step", step, 0),
            ("n_prompts", n_prompts, 2),
        )
    )  # fmt: skip
    told = Told(
        name=name, variant=variant, seed=seed, heads=heads, points=points, step=step,
        function_classes=as_texts(function_classes, "function_classes"), inputs=as_texts(inputs, "inputs"),
        config=None if config is None else as_path(config, "config"), prompt_type=prompt_type,
        instruction_files=as_paths(instruction_files, "instruction_files"),
        n_prompts=n_prompts, plugins=as_paths(plugins, "plugins"),
    )  # fmt: skip
    found = Import(as_path(path, "path"), told)
    return found.write(as_path(results, "results"), tell, device=resolve_device(device), fresh=fresh).directory
