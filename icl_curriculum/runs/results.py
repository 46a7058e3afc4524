"""What an experiment, an evaluation or any other command has left in a folder, opened in Python."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import pandas as pd

from icl_curriculum.core.arguments import as_path, whole_number
from icl_curriculum.core.errors import UserError, closest_and_known, did_you_mean
from icl_curriculum.core.notices import LeftOut
from icl_curriculum.evaluation.failures import failure_sentences, failures_in, together
from icl_curriculum.models.base import Model
from icl_curriculum.results.collecting import refresh
from icl_curriculum.results.columns import TABLES
from icl_curriculum.results.comparison.sources import open_source
from icl_curriculum.results.directory import find_results, holds_results
from icl_curriculum.results.doubts import doubts_in, worded
from icl_curriculum.results.manifests import is_run_name
from icl_curriculum.results.predictions import predictions_in, read_parquet
from icl_curriculum.results.surveying import Survey, survey
from icl_curriculum.results.tables import distinct, read_as_written
from icl_curriculum.runs.checkpoints import load_model


class ResultTable:
    """A result table as an attribute: a data frame, read when it is first asked for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.__doc__ = TABLES[name].about

    @overload
    def __get__(self, results: None, owner: type) -> ResultTable: ...
    @overload
    def __get__(self, results: Results, owner: type) -> pd.DataFrame: ...
    def __get__(self, results: Results | None, owner: type) -> pd.DataFrame | ResultTable:
        return self if results is None else results.table(self.name)


class Results(os.PathLike[str]):
    """A folder of results: its tables as data frames, its figures, its models, and what is to be known of it.

    `run` and its like return one, and ``Results.open("mixed")`` opens one that is there. It stands for its ``path``
    wherever a path is taken, and ``results / "mixed-seed0"`` is the folder of a run.

    The tables are attributes, ``evaluation``, ``learning``, ``training`` and so on, with the columns of the CSV files
    and those filled in that only some files have; ``tables`` lists their names. Texts are categories. Each is read
    when it is first asked for: UserError for one that is not there or is damaged.
    """

    training = ResultTable("training")
    learning = ResultTable("learning")
    evaluation = ResultTable("evaluation")
    prediction_differences = ResultTable("prediction_differences")
    predictions = ResultTable("predictions")
    exposure = ResultTable("exposure")
    curriculum = ResultTable("curriculum")
    timing = ResultTable("timing")
    runs = ResultTable("runs")
    sweep = ResultTable("sweep")
    summary = ResultTable("summary")
    transfer = ResultTable("transfer")
    scorecard = ResultTable("scorecard")
    heads = ResultTable("heads")
    masking = ResultTable("masking")

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        tables: Mapping[str, pd.DataFrame] | None = None,
        notes: Sequence[str] | None = None,
    ) -> None:
        """``tables``: those that stand in the place of what the files hold; ``notes``: in that of what they say."""
        self.path = as_path(path, "path")
        self._read = dict(tables or {})
        if notes is not None:
            self.notes = tuple(notes)

    @classmethod
    def open(cls, name: str | os.PathLike[str], *, results: str | os.PathLike[str] = "results") -> Results:
        """The results in a folder: of an experiment, also by its name in ``results``, of a run, of a comparison.

        The tables are held against the runs first, and collected anew where they differ, which is warned of. Runs that
        are unfinished or damaged keep nothing else from being opened: `unfinished` and `damaged` name them. UserError
        for a folder without results, and for tables that are damaged and cannot be made anew.
        """
        folder = find_results(os.fsdecode(as_path(name, "name")), as_path(results, "results"))
        opened = cls(folder)
        if not holds_results(folder) and not opened.unfinished and not opened.damaged:
            raise UserError(f"{folder} holds no results; expected the folder of an experiment or of a run")
        if not opened.is_run and (opened._found.finished or not opened.damaged):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", LeftOut)
                refresh(folder)
        return opened

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str | os.PathLike[str]) -> Path:
        return self.path / name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Results) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def is_run(self) -> bool:
        """Whether it is the folder of one run, whose own tables these are."""
        return is_run_name(self.path.name) and (self.path / "config.toml").is_file()

    @cached_property
    def _found(self) -> Survey:
        if not self.is_run:
            return survey(self.path, files=True)
        whole = survey(self.path.parent, files=True)
        name = self.path.name
        return Survey(
            [item for item in whole.finished if item[0].name == name],
            {run: status for run, status in whole.unfinished.items() if run == name},
            {run: problem for run, problem in whole.damaged.items() if run == name},
        )

    @property
    def finished(self) -> list[str]:
        """The names of the runs that are finished, ``<variant>-seed<seed>``."""
        return [path.name for path, _ in self._found.finished]

    @property
    def unfinished(self) -> dict[str, str]:
        """The runs that were begun and are not finished, by name, each with its status: begun, interrupted, failed."""
        return dict(self._found.unfinished)

    @property
    def damaged(self) -> dict[str, str]:
        """The runs that are left out of the tables since a file of theirs is damaged, by name, each with what is."""
        return dict(self._found.damaged)

    @property
    def tables(self) -> list[str]:
        """The names of the tables that are there."""
        return [name for name in TABLES if name in self._read or self._file(name).is_file()]

    def _file(self, name: str) -> Path:
        """Where a table lies; predictions are perhaps those of a Parquet file."""
        other = predictions_in(self.path) if name == "predictions" else None
        return other or self.path / f"{name}.csv"

    @property
    def figures(self) -> list[Path]:
        """The figures that are there, as PNG files; beside each lies an SVG."""
        return sorted((self.path / "figures").glob("**/*.png"))

    @property
    def report(self) -> Path | None:
        """The page report.html, where there is one."""
        page = self.path / "report.html"
        return page if page.is_file() else None

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what is to be known of the results: what learners failed on, what is to be doubted or is left
        out, which runs are missing; what the command line prints beside the tables.
        """
        manifests = {path.name: manifest for path, manifest in self._found.finished}
        said = failure_sentences(together(map(failures_in, manifests.values())))
        said += worded({run: doubts_in(manifest) for run, manifest in manifests.items()})
        if not self.is_run and "evaluation" in self.tables:
            in_tables = set(distinct(self.evaluation["run"].dropna()))
            if others := [run for run in manifests if run not in in_tables]:
                said.append(f"Finished with another config, left out of the tables: {', '.join(others)}.")
        if self.is_run or not {"evaluation", "learning", "curriculum"} <= {*self.tables}:
            said += [f"{run} is {status}, not finished." for run, status in self.unfinished.items()]
            return (*said, *self.damaged.values())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LeftOut)
            return (*said, *open_source(self.path).missing)

    def table(self, name: str) -> pd.DataFrame:
        """The table of this name, as the attribute of that name is."""
        if name not in self._read:
            if name not in TABLES:
                raise UserError(f"there is no table {name!r}{closest_and_known(name, TABLES)}")
            file = self._file(name)
            if not file.is_file():
                why = self._why_empty() or f"; there are: {', '.join(self.tables)}"
                if name == "predictions" and self.tables and not self.is_run:
                    why = "; where they were asked for, they stand in the folder of each run"
                raise UserError(f"{self.path} holds no {name}.csv{why}")
            parquet = file.suffix == ".parquet"
            self._read[name] = read_parquet(file) if parquet else read_as_written(self.path, name)
        return self._read[name]

    def _why_empty(self) -> str:
        """Why there are no tables at all; empty where there are some."""
        if self.tables:
            return ""
        states = [*(f"{run} is {status}" for run, status in self.unfinished.items()), *self.damaged.values()]
        return f": no run is finished ({'; '.join(states)})" if states else ""

    def model(self, variant: str | None = None, *, seed: int | None = None, step: int | None = None) -> Model:
        """The trained model of a run, as `load_model` gives it.

        ``variant``, ``seed``: whose; either may be left out where one run is meant all the same, and the name of a run
        says both. ``step``: as it was after so many updates. UserError where no run or several are meant.
        """
        seed = None if seed is None else whole_number(seed, "seed")
        chosen = [path for path, _ in self._found.finished if _is_meant(path.name, variant, seed)]
        if len(chosen) == 1:
            return load_model(chosen[0], step)
        asked = [f"variant {variant!r}"] * (variant is not None) + [f"seed {seed}"] * (seed is not None)
        named = " and ".join(asked) or "no variant"
        if chosen:
            raise UserError(
                f"{self.path}: {named} may be any of {', '.join(path.name for path in chosen)}; say which by variant "
                f"and seed"
            )
        for run, status in self.unfinished.items():
            if _is_meant(run, variant, seed):
                raise UserError(f"{self.path / run} is {status}, not finished, so that it has no model")
        for run, problem in self.damaged.items():
            if _is_meant(run, variant, seed):
                raise UserError(problem)
        known = did_you_mean(f"{variant}-seed{seed or 0}", self.finished)
        raise UserError(f"{self.path} has no finished run of {named}{known}")

    def __repr__(self) -> str:
        lines = [f"Results in {self.path}"]
        found = self._found
        if found.finished:
            lines.append(_listed("finished", self.finished))
        lines += [_listed("unfinished", [f"{run} ({status})" for run, status in found.unfinished.items()])] * bool(
            found.unfinished
        )
        lines += [f"  damaged:    {problem}" for problem in found.damaged.values()]
        if self.tables:
            lines.append(f"  tables:     {', '.join(self.tables)}")
        if self.figures:
            lines.append(f"  figures:    {len(self.figures)} in {self.path / 'figures'}")
        if self.report is not None:
            lines.append(f"  report:     {self.report}")
        return "\n".join(lines)


def _is_meant(run: str, variant: str | None, seed: int | None) -> bool:
    """Whether a run, by its name, is of this variant and seed, as far as they are given."""
    own, _, own_seed = run.rpartition("-seed")
    return variant in (None, own, run) and str(seed) in ("None", own_seed)


#: So many runs are named before the others are counted.
_NAMED = 6


def _listed(what: str, runs: Sequence[str]) -> str:
    """A line of `Results.__repr__` that names runs."""
    more = len(runs) - _NAMED
    number = f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}"
    return f"  {what + ':':<11} {number}: {', '.join(runs[:_NAMED])}" + (f" and {more} more" if more > 0 else "")
