"""How far the folder of a run is: what is still to be done until it holds the run, or why it cannot come to that."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import option
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.results.manifests import MANIFEST, TRAINED, DamagedFile, check_name, is_lost, read_manifest
from icl_curriculum.results.staging import staged_manifest
from icl_curriculum.runs.changes import PLUGINS, Changes, changes_of
from icl_curriculum.runs.mending import is_trained, way_out_of

#: ``train``: from the first step; ``resume``: from a checkpoint; ``evaluate``: it is trained to the last step;
#: ``re-evaluate``: it is finished, and is asked anew; ``keep``: it is finished, and is what was asked for.
ToDo = Literal["train", "resume", "evaluate", "re-evaluate", "keep"]


@dataclass(frozen=True)
class Standing:
    """What is to be done for a run, and what has changed since its folder was written."""

    to_do: ToDo
    changes: Changes = field(default_factory=Changes)


class OtherConfig(UserError):
    """A folder holds a run of another config, which cannot become the one that is asked for. ``changed``: the keys."""

    def __init__(self, path: Path, changed: tuple[str, ...], more: str) -> None:
        super().__init__(
            f"{path} holds a run of another config; changed: {', '.join(changed)}. {more}Use {option('--fresh')} to "
            f"move it aside and start anew, or {option('--results', 'DIR')} to keep both"
        )
        self.changed = changed


def standing_of(run: Run, directory: RunDirectory) -> Standing:
    """How far a run's folder is. UserError if it holds a run of another config that cannot become this one.

    Its training can be kept where nothing has changed that decides it: a finished run is then evaluated anew, and an
    unfinished one goes on, unless a key has changed that also stands behind a table that is half written. Nothing is
    written.
    """
    path = directory.path
    manifest = staged_manifest(path) or read_manifest(path)
    has_state = (path / "state.pt").is_file()
    if manifest is None:
        # With its checkpoint, it is evaluated once more, which repeats what was lost.
        if is_lost(path) and not has_state:
            raise DamagedFile(path / MANIFEST, "it is missing", f"restore it, or start afresh with {option('--fresh')}")
        return Standing("resume" if has_state else "train")
    check_name(path, manifest)
    status = manifest["status"]
    unfinished: ToDo = "train" if not has_state else "evaluate" if status == TRAINED else "resume"
    if manifest["config_hash"] == run.hash():
        return Standing("keep" if status == "finished" else unfinished)
    changes = changes_of(run, path, manifest)
    if is_trained(run, directory):
        return Standing("evaluate", changes)
    if not changes.training and not changes.recording:
        if status == "finished" and changes.evaluation:
            return Standing("re-evaluate", changes)
        # A checkpoint of an earlier version does not say what trained it.
        if status != "finished" and not changes.both and "training_hash" in manifest:
            return Standing(unfinished, changes)
    blocking = changes.training or changes.recording or changes.both or changes.evaluation or (PLUGINS,)
    more = way_out_of(manifest)
    if not changes.training and status not in ("finished", TRAINED):
        more = (
            "It is not finished, and one table would hold both: finish it with the config that it was begun with, "
            "which is in its config.toml, and change that afterwards. "
        )
    raise OtherConfig(path, blocking, more)
