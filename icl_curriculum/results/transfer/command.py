"""What `icl transfer` does before it shows it: opens an experiment, refuses other prompts, writes the table."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from icl_curriculum.core.arguments import as_path
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.files import check_writable
from icl_curriculum.results.columns import TABLES, csv_text
from icl_curriculum.results.comparison import comparable
from icl_curriculum.results.comparison.sources import CELL, Source, open_source
from icl_curriculum.results.comparison.wording import listed
from icl_curriculum.results.derived import write_derived
from icl_curriculum.results.directory import find_results
from icl_curriculum.results.surveying import survey
from icl_curriculum.results.tables import distinct, read_table
from icl_curriculum.results.transfer.domains import domain_errors, trained_cells
from icl_curriculum.results.transfer.errors import TransferErrors
from icl_curriculum.results.transfer.row import TransferRow
from icl_curriculum.results.transfer.settings import PLAIN, TrainedSetting, method_of, settings
from icl_curriculum.results.transfer.table import transfer_rows


class NoTransfer(UserError):
    """An experiment of which nothing can be said on transfer: no unseen cells, or no plain variant."""


@dataclass(frozen=True)
class WrittenTransfer:
    """The table of `icl transfer`, where it was written, and sentences on what the experiment lacks."""

    table: pd.DataFrame
    path: Path
    missing: tuple[str, ...]


def transfer(folder: str | Path, *, results: str | Path = "results", output: str | Path | None = None) -> pd.DataFrame:
    """How training methods carry over to classes and inputs that they were not trained on, as a table.

    ``folder``: an experiment's folder of results, or its name in ``results``. Writes transfer.csv there, or into
    ``output``, as ``icl transfer`` does, and returns it: a row for each variant, domain, adaptation and comparison
    with plain in-context training, with the columns of `TransferRow`. Raises UserError, before anything is written,
    where a table or config is missing or damaged, where no run is finished, no unseen class or inputs were asked, or
    no variant was trained plainly, and, saying why, where variants were asked other prompts.
    """
    directory = find_results(str(as_path(folder, "folder")), as_path(results, "results"))
    return write_transfer(directory, None if output is None else as_path(output, "output")).table


def write_transfer(directory: Path, output: Path | None = None) -> WrittenTransfer:
    """Write transfer.csv of an experiment into ``output``, by default its own folder."""
    if (directory / "manifest.json").is_file():
        raise UserError(f"{directory} is the folder of one run; expected that of its experiment, {directory.parent}")
    source, rows = _rows_of(directory)
    folder = output or directory
    check_writable(folder)
    path = folder / "transfer.csv"
    write_derived(path, csv_text([TABLES["transfer"].header, *rows]))
    return WrittenTransfer(read_table(folder, "transfer"), path, (*source.missing, *_without_rows(source, rows)))


def _without_rows(source: Source, rows: Sequence[TransferRow]) -> list[str]:
    """A sentence on the adaptations that were asked, but not at the lengths of the table."""
    there, asked = {row.learner for row in rows}, [] if source.adapted is None else distinct(source.adapted["learner"])
    lacking = [name for name in asked if name not in there]
    if not lacking:
        return []
    ks = listed(list(map(str, sorted({row.n_context for row in rows}))))
    return [f"{', '.join(lacking)}: no row, as it was not asked at {ks} examples (evaluation.costly)."]


def write_if_methods_differ(directory: Path) -> Path | None:
    """Write transfer.csv where an experiment has several training methods and unseen cells; None where it has not.

    A table that is there already is written anew, or removed where it cannot be: it would be of other runs. UserError
    as of `write_transfer`.
    """
    there = directory / "transfer.csv"
    # Reading all tables takes long, and most experiments have one method.
    if len(_methods(directory)) < 2 and not there.is_file():
        return None
    try:
        return write_transfer(directory).path
    except NoTransfer:
        there.unlink(missing_ok=True)
        return None
    except UserError:
        there.unlink(missing_ok=True)
        raise


def _methods(directory: Path) -> set[str]:
    """The training methods of the finished runs in a folder, as far as their configs can be read."""
    found = set()
    for run, _ in survey(directory).finished:
        # What is damaged, and in the tables, is said when they are read.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            found.add(method_of(tomllib.loads((run / "config.toml").read_text("utf-8"))))
    return found


def _rows_of(directory: Path) -> tuple[Source, list[TransferRow]]:
    source = open_source(directory)
    found = settings(source, trained_cells(source.evaluation))
    dims = {variant: int(setting.config["dims"]) for variant, setting in found.items()}
    errors = domain_errors(pd.concat([source.evaluation, source.adapted]), dims)
    if not (errors["domain"] != "seen").any():
        raise NoTransfer(
            f"{directory}: no model was asked about a class or inputs that it was not trained on; expected errors on "
            f'such, as evaluation.shifts = ["skewed", {{ name = "other_class", function_class = "quadratic" }}] gives'
        )
    if not any(setting.plain for setting in found.values()):
        others = ", ".join(sorted({setting.method for setting in found.values()}))
        raise NoTransfer(
            f'{directory}: no variant was trained plainly (training.method = "{PLAIN}"), with which the others are '
            f"compared; its methods are {others}"
        )
    _check_banks(source, found, errors)
    return source, list(transfer_rows(source.name, TransferErrors.of(found, errors, source.exposure, source.devices)))


def _check_banks(source: Source, found: dict[str, TrainedSetting], errors: pd.DataFrame) -> None:
    """UserError unless all variants were asked the same prompts, in unseen cells as well."""
    comparable.check([source])
    contents: dict[str, tuple[str, str]] = {}
    for function_class, inputs in errors[CELL].drop_duplicates().itertuples(index=False):
        bank = f"{function_class}/{inputs}/none"
        for run, manifest in sorted(source.manifests.items()):
            content = manifest.get("banks", {}).get(bank)
            first = contents.setdefault(bank, (run, content)) if content else None
            if first and first[1] != content:
                raise UserError(
                    f"not comparable: {source.directory.name}/{first[0]} and {source.directory.name}/{run} were asked "
                    f"{comparable.OTHER_PROMPTS} ({function_class}, {inputs} inputs)"
                )
