"""The tables of an experiment, collected from its runs: made, held against the runs, and made anew where they differ.

Beside them lies collected.json, which says of which runs they were made, with the hashes of all of them. The tables are
derived from the runs, so that what is damaged of them is made anew; what is damaged of a run is named, and the run is
left out.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import itertools
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.files import atomic_path, remove_leftovers, write_atomically
from icl_curriculum.core.locks import Claim, locked
from icl_curriculum.core.notices import LeftOut, MadeAnew, warn_of
from icl_curriculum.core.options import option
from icl_curriculum.results.columns import COLUMNS, OPTIONAL, TABLES, RunColumns, RunsRow, csv_text, of_run
from icl_curriculum.results.manifests import (
    MANIFEST,
    DamagedFile,
    header_of,
    read_finished,
    read_sealed,
    sealed,
    tables_of,
)
from icl_curriculum.results.older_tables import as_written_now, is_older
from icl_curriculum.results.standing_once import standing_once
from icl_curriculum.results.surveying import Survey, survey
from icl_curriculum.results.sweep_rows import sweep_rows

R = TypeVar("R", RunColumns, RunsRow)

#: The name of the file that says what the tables were collected from.
COLLECTED = "collected.json"

#: The tables of an experiment that are collected from its runs.
COLLECTED_TABLES = ("runs", "sweep", *COLUMNS, *OPTIONAL)


@dataclass(frozen=True)
class Collection:
    """What became of an experiment's tables.

    ``left_out``: finished runs of another config or variant; ``damaged``: runs that are left out since a file of
    theirs is damaged, with what is wrong; ``gone``: runs that stood in the tables and whose folders are gone;
    ``added``: runs that are in the tables now and were not; ``changed``: the tables that were not what had been
    collected. Both are empty where nothing is known of an earlier collection.
    """

    left_out: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def collect(experiment: Path, hashes: Mapping[str, str]) -> Collection:
    """Write the experiment's tables from those of its finished runs: runs.csv and every table over all runs.

    ``hashes``: config hash by variant. Finished runs of other variants or configs are left out, and so are damaged
    ones. Idempotent and atomic; equal runs give equal bytes, and of two processes that collect at once the later one
    sees the runs of both. UserError if there is no run, or if runs that should have had the same prompts had others.
    """
    with locked(experiment / ".lock", waiting=lambda holder: None) as claim:
        remove_leftovers(experiment)
        return _collect(experiment, hashes, claim)


def _collect(experiment: Path, hashes: Mapping[str, str], claim: Claim) -> Collection:
    found = survey(experiment, files=True)
    runs = _of_experiment(found, hashes)
    if not runs:
        if found.damaged:
            raise UserError("\n".join(found.damaged.values()))
        raise UserError(f"{experiment} holds no finished run of this experiment")
    _check_banks(experiment, runs)
    known = _recorded(experiment) or {}
    written = {}
    changed = []
    for name in COLLECTED_TABLES:
        made = partial(_pieces, name, runs)
        path = experiment / f"{name}.csv"
        before, now = _hash_of(path), _hash_of_pieces(made())
        if now is None:
            path.unlink(missing_ok=True)
        else:
            written[name] = now
            if before != now:
                with atomic_path(path, before=claim.check) as temporary, temporary.open("wb") as file:
                    file.writelines(made())
        if before != known.get("tables", {}).get(name):
            changed.append(f"{name}.csv")
    in_tables = {path.name: str(manifest.get("seal", "")) for path, manifest in runs}
    content = {"variants": dict(hashes), "runs": in_tables, "tables": written}
    write_atomically(experiment / COLLECTED, json.dumps(sealed(content), indent=2) + "\n", before=claim.check)
    return Collection(
        [path.name for path, _ in found.finished if path.name not in in_tables],
        found.damaged,
        [run for run in known.get("runs", {}) if not (experiment / run).is_dir()],
        [run for run in in_tables if run not in known["runs"]] if known else [],
        changed if known else [],
    )


def _of_experiment(found: Survey, hashes: Mapping[str, str]) -> list[tuple[Path, dict[str, Any]]]:
    """The finished runs of these variants and configs: seeds in numerical order, whatever their names sort like."""
    order = {variant: number for number, variant in enumerate(hashes)}
    runs = [item for item in found.finished if hashes.get(item[1]["variant"]) == item[1]["config_hash"]]
    return sorted(runs, key=lambda item: (order[item[1]["variant"]], item[1]["seed"]))


def _pieces(name: str, runs: Sequence[tuple[Path, Mapping[str, Any]]]) -> Iterator[bytes]:
    """A table of the experiment: its header, then the rows of one run after the other; nothing where no run has it.

    A column that only some runs' tables have is filled in. Never are the tables of two runs held at once. In
    evaluation.csv, learners without training stand once (`standing_once`).
    """
    if name == "runs":
        rows = (row for _, manifest in runs for row in of_run(_own(RunColumns, manifest), [_own(RunsRow, manifest)]))
        yield csv_text([TABLES["runs"].header, *rows]).encode()
        return
    if name == "sweep":
        if values := list(sweep_rows(manifest for _, manifest in runs)):
            yield csv_text([TABLES["sweep"].header, *values]).encode()
        return
    tables = [(path / f"{name}.csv", manifest) for path, manifest in runs if name in tables_of(manifest)]
    header = max((header_of(table) for table, _ in tables), key=len, default=None)
    if header is None:
        return
    yield csv_text([header]).encode()
    texts = (_rows_of(table, manifest, header) for table, manifest in tables)
    for text in standing_once(texts) if name == "evaluation" else texts:
        yield text.encode()


def _hash_of_pieces(pieces: Iterator[bytes]) -> str | None:
    """The hash of what is made piece by piece, as `bytes_hash` has it; None where there is no piece."""
    digest, empty = hashlib.sha256(), True
    for piece in pieces:
        digest.update(piece)
        empty = False
    return None if empty else digest.hexdigest()[:16]


def _rows_of(table: Path, manifest: Mapping[str, Any], header: Sequence[str]) -> str:
    """The rows of a run's table as they are written now, with all columns of the ``header``."""
    columns, text = read_finished(table, manifest)
    with table.with_name("evaluation.csv").open(encoding="utf-8") as evaluation:
        older = is_older("".join(itertools.islice(evaluation, 1, 2)))
    text = as_written_now(table.stem, columns, text) if older else text
    return _widened(table.stem, text, columns, header)


def _widened(name: str, rows: str, columns: Sequence[str], header: Sequence[str]) -> str:
    if columns == header:
        return rows
    filled = {column: TABLES[name].columns[column].absent for column in header}
    found = (dict(zip(columns, row, strict=True)) for row in csv.reader(io.StringIO(rows, newline="")))
    return csv_text(list((filled | row).values()) for row in found)


def _own(row: type[R], manifest: Mapping[str, Any]) -> R:
    """A row whose fields are keys of a manifest. No clock is among them: equal runs give equal bytes."""
    return row._make(manifest.get(key) for key in row._fields)


def _check_banks(experiment: Path, runs: Sequence[tuple[Path, Mapping[str, Any]]]) -> None:
    """UserError if runs were asked different prompts under one name: a mean would be of two different functions.

    Variants may ask for other banks, which their configs then say (`_asked`).
    """
    first: dict[tuple[Any, ...], tuple[str, str]] = {}
    asked = {str(manifest["variant"]): _asked(path) for path, manifest in reversed(runs)}
    for path, manifest in runs:
        for bank, content in (manifest.get("banks") or {}).items():
            known, other = first.setdefault((*asked[manifest["variant"]], bank), (content, path.name))
            if known != content:
                raise UserError(
                    f"{experiment}: {other} and {path.name} were asked different prompts of {bank}, though their "
                    f"configs ask for the same bank: what draws them has changed in between, or differs under one id, "
                    f"so no table can hold both; run one of them anew with {option('--fresh')} or into another "
                    f"{option('--results')}, or give "
                    f"what differs an id of its own"
                )


def _asked(run_dir: Path) -> tuple[Any, ...]:
    """What a run's config says of its banks, beside the names of classes, inputs and shifts."""
    try:
        config = tomllib.loads((run_dir / "config.toml").read_text(encoding="utf-8"))
        evaluation = dict(config.get("evaluation", {}))
    except (OSError, ValueError, TypeError, RecursionError):
        # One of an earlier version, whose manifest does not seal it.
        return (run_dir.name,)
    return (config.get("dims"), config.get("points"), evaluation.get("n_prompts"), evaluation.get("bank_seed"))


def _recorded(experiment: Path) -> dict[str, Any] | None:
    """What collected.json says; None where it is missing or damaged. It is derived, and written anew."""
    with contextlib.suppress(OSError, ValueError, UserError):
        content = read_sealed(experiment / COLLECTED)
        if "seal" in content and all(isinstance(content.get(key), dict) for key in ("variants", "runs", "tables")):
            return content
    return None


def _hash_of(path: Path) -> str | None:
    """The hash of a file that may be large, as `bytes_hash` has it; None where there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def refresh(experiment: Path) -> Survey:
    """Hold an experiment's tables against its runs before they are read, and collect them anew where they differ.

    What was made anew is warned of (`MadeAnew`), and so is every run that is damaged and therefore left out
    (`LeftOut`). Tables without the folders of their runs are held against collected.json alone, and those of scores
    against their manifest; without either, they are believed. DamagedFile if what cannot be made anew is not what was
    written; UserError if no run is intact.
    """
    found = survey(experiment, files=True)
    known = _recorded(experiment)
    if not found.finished:
        if found.damaged:
            raise UserError("\n".join(found.damaged.values()))
        check_tables_alone(experiment, known)
        return found
    for run, problem in found.damaged.items():
        warn_of(LeftOut(run, problem))
    hashes = known["variants"] if known else _variants(experiment, found)
    if hashes is None or (known and _is_current(experiment, known, _of_experiment(found, hashes))):
        return found
    made = collect(experiment, hashes)
    for run in made.gone:
        warn_of(MadeAnew(f"{experiment}: {run}, which stood in the tables, is gone; they were collected without it"))
    if changed := ", ".join(run for run in made.left_out if known and run in known["runs"]):
        warn_of(
            MadeAnew(
                f"{experiment}: {changed}, of the runs that stood in the tables, has another config now; they were "
                f"collected without. Give the same icl run to all seeds"
            )
        )
    for run in made.added:
        warn_of(MadeAnew(f"{experiment}: {run} had not been collected yet, and is in the tables now"))
    if made.changed:
        warn_of(
            MadeAnew(
                f"{experiment}: {', '.join(made.changed)} {'was' if len(made.changed) == 1 else 'were'} not as "
                f"collected, and {'was' if len(made.changed) == 1 else 'were'} collected anew from the runs"
            )
        )
    return found


def _is_current(experiment: Path, known: Mapping[str, Any], runs: Sequence[tuple[Path, Mapping[str, Any]]]) -> bool:
    """Whether the tables are those that were collected, from these very runs."""
    if known["runs"] != {path.name: str(manifest.get("seal", "")) for path, manifest in runs}:
        return False
    return all(_hash_of(experiment / f"{name}.csv") == known["tables"].get(name) for name in COLLECTED_TABLES)


def check_tables_alone(experiment: Path, known: Mapping[str, Any] | None = None) -> None:
    """DamagedFile unless tables without runs are what was collected, or scored, as far as a file beside them says.

    ``known``: the content of collected.json; without it, a manifest.json is looked for.
    """
    hashes: dict[str, list[Any]] = {name: [recorded] for name, recorded in known["tables"].items()} if known else {}
    if known is None and (experiment / MANIFEST).is_file():
        hashes = _hashes_of_scores(experiment / MANIFEST)
    for name, recorded in hashes.items() if (experiment / "evaluation.csv").is_file() else ():
        path = experiment / f"{name}.csv"
        if _hash_of(path) not in recorded:
            raise DamagedFile(path, "it is not what icl wrote", "restore it")


def _hashes_of_scores(path: Path) -> dict[str, list[Any]]:
    """The hashes that a table may have, by table, as the manifest of scores says."""
    try:
        content = read_sealed(path)
        tables, more = content.get("tables"), content.get("more_tables", {})
        if tables is None:  # That of a run which is not finished.
            return {}
        if isinstance(tables, list) and isinstance(more, dict):
            return {"evaluation": tables, **more}
        if isinstance(tables, dict):
            return {name: [recorded] for name, recorded in tables.items()}
        raise ValueError("expected the hashes of tables")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DamagedFile(path, str(error), "restore it") from None


def _variants(experiment: Path, found: Survey) -> dict[str, str] | None:
    """The config hash of each variant of an experiment without collected.json; None where that cannot be told.

    As runs.csv says, of an earlier version, in its order; else as the runs say, if each variant has one.
    """
    rows = dict(_rows_of_runs(experiment / "runs.csv"))
    hashes: dict[str, set[str]] = {}
    for _, manifest in found.finished:
        hashes.setdefault(manifest["variant"], set()).add(manifest["config_hash"])
    if rows:
        return rows
    single = {variant: next(iter(each)) for variant, each in hashes.items() if len(each) == 1}
    return single if len(single) == len(hashes) else None


def _rows_of_runs(path: Path) -> Iterator[tuple[str, str]]:
    """Variants and config hashes of runs.csv; nothing where it is missing or damaged."""
    with contextlib.suppress(OSError, ValueError, csv.Error):
        for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")):
            if row.get("variant") and row.get("config_hash"):
                yield row["variant"], row["config_hash"]
