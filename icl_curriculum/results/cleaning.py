"""What a folder of results holds that nothing needs any more: found, weighed, and removed when asked.

Tables, configs, manifests, figures and the last weights of a run are never among it, so that every table can be read
and every model loaded afterwards.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.locks import Locked, holder, is_locked, locked
from icl_curriculum.core.progress import Tell, tell_nobody
from icl_curriculum.results.directory import KEPT_WEIGHTS
from icl_curriculum.results.manifests import check_intact, read_manifest
from icl_curriculum.results.predictions import FORMATS, predictions_file

#: The kinds of what can be removed, and what is lost with each.
KINDS: dict[str, str] = {
    "checkpoints": "weights that finished runs kept along training; icl evaluate --step can't ask them any more",
    "state": "state.pt of finished runs, from which they would be resumed, which they need not be",
    "aside": "runs that --fresh moved aside, whole; removed only with --kind aside",
    "predictions": "what --predictions wrote beside the tables of runs; removed only with --kind predictions",
    "cache": "what baselines answered, and banks of runs not finished; computed anew where it is asked for again",
    "temporary": "what killed processes left half-written",
}

#: The kinds that are removed without being named: all but whole runs, and what was asked for.
USUAL = tuple(kind for kind in KINDS if kind not in ("aside", "predictions"))

#: The kinds that only a finished run can do without.
_OF_FINISHED = ("checkpoints", "state")


@dataclass(frozen=True)
class Removable:
    """Files of one kind at one place: a run, or the folder of an experiment. ``lock``: that of the place."""

    kind: str
    place: Path
    lock: Path
    paths: tuple[Path, ...]

    @property
    def size(self) -> int:
        """What they take, in bytes."""
        return sum(file.lstat().st_size for path in self.paths for file in _files(path))

    @property
    def count(self) -> int:
        """The number of files."""
        return sum(1 for path in self.paths for _ in _files(path))


@dataclass
class Findings:
    """What can be removed, and the places that are left alone, each with the reason."""

    removable: list[Removable] = field(default_factory=list)
    left_alone: dict[Path, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """What all of it takes, in bytes."""
        return sum(item.size for item in self.removable)


_Look = Callable[[Path, Findings], Iterator[Removable]]


def find_removable(
    folders: Sequence[Path], kinds: Collection[str] = tuple(KINDS), tell: Tell = tell_nobody
) -> Findings:
    """What can be removed of runs, of experiments, or of folders of experiments, each place once.

    A run that is in use, unfinished or damaged is left alone: its checkpoint may be all that is left of it. Symbolic
    links are not followed. UserError for a folder that is none of these, and for a kind that there is none of.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"unknown kind {kind!r}{did_you_mean(kind, KINDS)}")
    places: dict[Path, tuple[Path, _Look]] = {}
    for folder in folders:
        if _is_run(folder):
            runs, experiments = [folder], []
        else:
            experiments = [folder] if _is_experiment(folder) else list(filter(_is_experiment, _folders(folder)))
            runs = [run for experiment in experiments for run in _runs(experiment)]
        if not runs and not experiments:
            raise UserError(
                f"{folder}: expected the folder of a run, of an experiment or of results, found none of these"
            )
        looks: list[tuple[Path, _Look]] = [(run, _of_run) for run in runs]
        looks += [(experiment, _of_experiment) for experiment in experiments]
        for place, look in looks:
            places.setdefault(place.resolve(), (place, look))
    found = Findings()
    for number, (place, look) in enumerate(places.values()):
        tell(number / len(places), str(place))
        found.removable += [item for item in look(place, found) if item.kind in kinds]
    return found


def remove_all(found: Findings, kinds: Collection[str] = USUAL, tell: Tell = tell_nobody) -> int:
    """Remove what is of these kinds; returns the bytes. A run that was taken up since is left alone, too."""
    freed = 0
    chosen = [item for item in found.removable if item.kind in kinds]
    for number, item in enumerate(chosen):
        tell(number / len(chosen), str(item.place))
        size = item.size
        try:
            with locked(item.lock):
                reason = _why_needed(item.place) if item.kind in _OF_FINISHED else None
                if reason is not None:
                    found.left_alone[item.place] = reason
                    continue
                for path in item.paths:
                    _remove(path)
        except Locked:
            found.left_alone[item.place] = f"in use by {holder(item.lock)}"
            continue
        # A file system over a network keeps the names of open files, as is the lock of a folder that is removed whole.
        if not item.place.joinpath("manifest.json").exists() and item.place in item.paths:
            shutil.rmtree(item.place, ignore_errors=True)
        freed += size
    return freed


def _of_run(run: Path, found: Findings) -> Iterator[Removable]:
    lock = run / ".lock"
    if is_locked(lock):
        found.left_alone[run] = f"in use by {holder(lock)}"
        return
    folder = run / KEPT_WEIGHTS.split("/")[0]
    parts = {
        "checkpoints": tuple(sorted(run.glob(KEPT_WEIGHTS))),
        "state": (run / "state.pt",),
        "predictions": tuple(predictions_file(run, name) for name in FORMATS),
        "temporary": tuple(path for each in (run, run / "plugins", folder) for path in sorted(each.glob(".*.tmp"))),
    }
    there = list(_existing(parts, run, lock))
    # Of a run that has nothing to remove, it is all the same what is needed.
    reason = _why_needed(run) if there else None
    if reason is None:
        yield from there
    else:
        found.left_alone[run] = reason


def _why_needed(run: Path) -> str | None:
    """Why a run's checkpoint and the weights that it kept are still needed; None if it is finished and intact."""
    try:
        manifest = read_manifest(run)
        if manifest is None or manifest["status"] != "finished":
            return "not finished"
        check_intact(run, manifest)
    except UserError as error:
        return str(error)
    return None


def _of_experiment(experiment: Path, found: Findings) -> Iterator[Removable]:
    """What lies beside an experiment's runs."""
    for place in _moved_aside(experiment):
        if is_locked(place / ".lock"):
            found.left_alone[place] = f"in use by {holder(place / '.lock')}"
        else:
            yield Removable("aside", place, place / ".lock", (place,))
    cache, lock = experiment / ".cache", experiment / ".lock"
    working = [run for run in _runs(experiment) if is_locked(run / ".lock")]
    if working or is_locked(lock) or cache.is_symlink():
        return
    # Beside what baselines answered: a folder for each run that was being evaluated.
    folders = (*_folders(cache), cache)
    answers = tuple(
        path for each in folders for end in ("json", "lock", "safetensors") for path in sorted(each.glob(f"*.{end}"))
    )
    halves = tuple(path for each in (experiment, *folders) for path in sorted(each.glob(".*.tmp")))
    yield from _existing({"cache": answers, "temporary": halves}, experiment, lock)


def _existing(parts: dict[str, tuple[Path, ...]], place: Path, lock: Path) -> Iterator[Removable]:
    for kind, paths in parts.items():
        if there := tuple(path for path in paths if path.is_file() or path.is_symlink()):
            yield Removable(kind, place, lock, there)


def _is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, even of a damaged one; `icl evaluate` leaves a manifest without a config."""
    return (folder / "manifest.json").is_file() and (folder / "config.toml").is_file()


def _is_experiment(folder: Path) -> bool:
    return bool(_runs(folder) or _moved_aside(folder))


def _folders(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    return []


def _runs(experiment: Path) -> list[Path]:
    return [path for path in _folders(experiment) if _is_run(path)]


def _moved_aside(experiment: Path) -> list[Path]:
    """The runs in an experiment's ``aside``; whatever else lies there is somebody's own and has no lock."""
    aside = experiment / "aside"
    return [] if aside.is_symlink() else [path for path in _folders(aside) if (path / ".lock").is_file()]


def _files(path: Path) -> Iterator[Path]:
    """The files at a path, which may be a folder; a symbolic link is a file of its own."""
    if path.is_symlink() or path.is_file():
        yield path
    elif path.is_dir():
        for inner in sorted(path.iterdir()):
            yield from _files(inner)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        try:
            shutil.rmtree(path)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
    else:
        path.unlink(missing_ok=True)
    # A folder that is empty now says nothing any more.
    with contextlib.suppress(OSError):
        if path.parent.name in ("checkpoints", "aside", ".cache") or path.parent.parent.name == ".cache":
            path.parent.rmdir()
