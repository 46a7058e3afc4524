"""The scores of trained models, from the folders of their runs."""

from __future__ import annotations

import contextlib
import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from icl_curriculum.core.errors import UserError
from icl_curriculum.results.device_kinds import device_of_run
from icl_curriculum.results.manifests import read_manifest
from icl_curriculum.results.scorecard.along_training import FROM_SHARE, Course, data_efficiency, kept_score
from icl_curriculum.results.scorecard.axes import BankErrors, scores_on_banks
from icl_curriculum.results.scorecard.frozen import Benchmark
from icl_curriculum.results.scorecard.learners import (
    Computed,
    FoundLearners,
    SamePrompts,
    ScoredLearner,
    hash_of_banks,
    why_other_prompts,
)
from icl_curriculum.results.scorecard.skill import SkillScore, skill_score
from icl_curriculum.results.surveying import Survey
from icl_curriculum.results.tables import read_as_written

#: The curriculum over classes that all scores but one are of, and that of what is kept.
CURRICULUM, IN_BLOCKS = "random", "sequential"
_SWEPT = "curriculum.function_classes"
_METRIC = "normalized_error"
#: What all runs of a learner have in common.
_OF_A_LEARNER = ("dims", "points", "function_classes", "inputs", "model", "instruction", "training", "recipe")


@dataclass(frozen=True)
class BenchmarkRun:
    """A finished run that may be one of the benchmark."""

    path: Path
    manifest: Mapping[str, Any]

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Its resolved config, which its manifest seals."""
        try:
            return tomllib.loads((self.path / "config.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path / 'config.toml'}: cannot be read: {error}") from None

    @property
    def seed(self) -> int:
        return int(self.manifest["seed"])

    @property
    def curriculum(self) -> str:
        """The name of its curriculum over function classes."""
        named = self.config.get("curriculum", {}).get("function_classes", {})
        return str(named.get("name", "") if isinstance(named, Mapping) else named)

    @property
    def learner(self) -> str:
        """What its learner is called: the variant without the swept curriculum, or else the experiment."""
        swept = self.manifest.get("swept")
        if not swept or _SWEPT not in swept["values"]:
            return str(self.manifest["variant"])
        others = [f"{key.rpartition('.')[2]}={value}" for key, value in swept["values"].items() if key != _SWEPT]
        return ",".join([swept["variant"]] * bool(swept["variant"]) + others) or str(self.manifest["experiment"])

    def why_another(self, first: BenchmarkRun) -> str | None:
        """Why it is not of the learner that another run is of, whatever seed and curriculum; None where it is."""
        mine, theirs = ({key: run.config.get(key) for key in _OF_A_LEARNER} for run in (self, first))
        if (differing := next((key for key in mine if mine[key] != theirs[key]), None)) is not None:
            return f"was trained with another {differing} than {first.path.name}"
        if self.curriculum == first.curriculum and self.manifest["config_hash"] != first.manifest["config_hash"]:
            return f"was trained with another config than {first.path.name}"
        if self.manifest.get("plugins") != first.manifest.get("plugins"):
            return f"was trained with other plugins than {first.path.name}"
        return None

    def errors(self) -> BankErrors:
        """The errors of its model on every bank."""
        table = read_as_written(self.path, "evaluation")
        return bank_errors(table[table["learner"] == "model"])

    @cached_property
    def exposure(self) -> pd.DataFrame:
        """Prompts and operations so far, by step and cell ``function_class/input_distribution/none``."""
        table = read_as_written(self.path, "exposure")
        cells = table["function_class"].astype(str) + "/" + table["input_distribution"].astype(str) + "/none"
        return table.assign(cell=cells)

    def spent(self, column: str) -> int:
        """All ``prompts``, or ``flops``, of its training."""
        last = self.exposure[self.exposure["step"] == self.exposure["step"].max()]
        return int(last[column].sum())

    def trained_cells(self) -> set[str]:
        """The cells with prompts in training."""
        return set(self.exposure.loc[self.exposure["prompts"] > 0, "cell"])

    def courses(self, frozen: Benchmark) -> dict[str, Course]:
        """The score on each trained bank by the prompts seen, from the small bank that is asked while training."""
        table = read_as_written(self.path, "learning")
        table = table[(table["metric"] == _METRIC) & (table["shift"] == "none")]
        found: dict[str, dict[int, SkillScore]] = {}
        keys = ["function_class", "input_distribution", "prompts_seen"]
        for key, rows in table.groupby(keys, observed=True):
            function_class, inputs, prompts = key if isinstance(key, tuple) else (key,)
            name = f"{function_class}/{inputs}/none"
            if name in frozen.trained:
                errors = dict(zip(rows["n_context"].astype(int), rows["value"].astype(float), strict=True))
                score = skill_score(errors, frozen.best_while_learning[name])
                assert score is not None
                found.setdefault(name, {})[int(str(prompts).removesuffix(".0"))] = score
        return {**found}

    def block_ends(self) -> dict[str, int]:
        """For each trained cell, the prompts of all cells that the model had seen when it last got one of this.

        Those alone that were measured: at the end of a block every cell has had all of its prompts, or none.
        """
        so_far = self.exposure.pivot_table(index="step", columns="cell", values="prompts").sort_index()
        whole = so_far == so_far.iloc[-1]
        between = (whole | (so_far == 0)).all(axis=1)
        found = {}
        for cell in so_far.columns:
            first = whole.index[whole[cell]][0]
            if between[first]:
                found[str(cell)] = int(so_far.loc[first].sum())
        return found

    def measured(self, frozen: Benchmark) -> str | None:
        """Why the errors while training are not those of the benchmark, and tell nothing; None where they are."""
        asked = self.config.get("evaluation", {})
        if (asked.get("learning_prompts"), asked.get("bank_seed")) != (frozen.learning_prompts, frozen.bank_seed):
            return "the errors while training are of other prompts"
        seen = sorted({0, *self.exposure.groupby("step")["prompts"].sum().astype(int)})
        gaps = [later - earlier for earlier, later in itertools.pairwise(seen)]
        if max(gaps, default=frozen.prompts) > frozen.prompts * FROM_SHARE:
            return f"errors were measured less often than every {frozen.prompts * FROM_SHARE:,.0f} prompts"
        return None


def bank_errors(table: pd.DataFrame) -> dict[str, dict[int, float]]:
    """The normalized errors of one learner by number of examples, by bank."""
    table = table[table["metric"] == _METRIC]
    names = table["function_class"].astype(str) + "/" + table["input_distribution"].astype(str)
    names = names + "/" + table["shift"].astype(str)
    found: dict[str, dict[int, float]] = {}
    for name, k, value in zip(names, table["n_context"].astype(int), table["value"].astype(float), strict=True):
        found.setdefault(name, {})[k] = value
    return found


def trained_learners(frozen: Benchmark, found: Survey, same: SamePrompts) -> FoundLearners:
    """The learners of an experiment's runs, in the order of their names.

    Those whose runs are not of the benchmark are refused, with the reason, and so are those without a finished run.
    """
    learners = FoundLearners()
    by_learner: dict[str, list[BenchmarkRun]] = {}
    for path, manifest in found.finished:
        run = BenchmarkRun(path, manifest)
        by_learner.setdefault(run.learner, []).append(run)
    lacking = {**found.damaged, **{name: f"is {status}" for name, status in found.unfinished.items()}}
    whose = {run: _learner_of(found.finished[0][0].parent / run) for run in lacking}
    for name, runs in by_learner.items():
        variants = {str(run.manifest["variant"]) for run in runs}
        own = [run for run in lacking if whose[run] == name or run.rpartition("-seed")[0] in variants]
        missing = [f"{run} {'is damaged' if run in found.damaged else lacking.pop(run)}" for run in own]
        reason = _why_refused(frozen, runs, same)
        if reason is not None:
            learners.refused[name] = "; ".join([reason, *missing])
        else:
            learners.scored.append(_learner(frozen, name, runs, missing))
    learners.refused.update(lacking)
    return learners


def _learner_of(path: Path) -> str | None:
    """What the learner of a run is called that is not finished, or damaged; None where that cannot be told."""
    with contextlib.suppress(UserError):
        manifest = read_manifest(path)
        if manifest is not None:
            return BenchmarkRun(path, manifest).learner
    return None


def _why_refused(frozen: Benchmark, runs: Sequence[BenchmarkRun], same: SamePrompts) -> str | None:
    """Why runs are none of the benchmark's, or not of one learner; None where they are."""
    main = [run for run in runs if run.curriculum != IN_BLOCKS]
    if not main:
        return f"it has finished runs on one class after another alone; expected those of {CURRICULUM!r}, too"
    for run in runs:
        if reason := why_other_prompts(frozen, run.manifest, same):
            return reason
        if why := run.why_another(main[0]):
            return f"{run.path.name} {why}"
    return None


def _learner(frozen: Benchmark, name: str, runs: Sequence[BenchmarkRun], missing: Sequence[str]) -> ScoredLearner:
    """The learner of runs that are all of the benchmark. ``missing``: its runs that are not finished, in words."""
    main = [run for run in runs if run.curriculum != IN_BLOCKS]
    in_blocks = [run for run in runs if run.curriculum == IN_BLOCKS]
    scores: dict[int | None, dict[str, SkillScore]] = {run.seed: scores_on_banks(frozen, run.errors()) for run in main}
    remarks = dict.fromkeys(filter(None, (run.measured(frozen) for run in runs)))
    for run in () if remarks else runs:
        courses = run.courses(frozen)
        if run in main and (found := data_efficiency(frozen, courses)) is not None:
            scores[run.seed]["data_efficiency"] = found
        if run in in_blocks and run.seed in scores:
            kept = kept_score(frozen, courses, run.block_ends(), run.spent("prompts"))
            if kept is not None:
                scores[run.seed]["kept"] = kept
            if kept is None or kept.n_cells < len(frozen.trained) - 1:
                n = 0 if kept is None else kept.n_cells
                remarks[f"what is kept rests on {n} of {len(frozen.trained) - 1} classes with seed {run.seed}"] = None
    if not in_blocks:
        remarks["not trained on one class after another, so that nothing is said on what is kept"] = None
    if len({Computed.of(run.manifest) for run in runs}) > 1:
        remarks["its runs were computed with different versions"] = None
    devices: dict[int, set[str]] = {}
    for run in runs:
        if (kind := device_of_run(run.manifest)) is not None:
            devices.setdefault(run.seed, set()).add(kind)
    if len(kinds := sorted({kind for of_seed in devices.values() for kind in of_seed})) > 1:
        remarks[f"its runs were made on different kinds of device: {' and '.join(kinds)}"] = None
    first = main[0]
    broken = [*missing, *_wrong_seeds(frozen, main)]
    broken += dict.fromkeys(rule for run in runs for rule in _broken(frozen, run))
    return ScoredLearner(
        experiment=str(first.manifest["experiment"]), name=name, kind="model", scores=scores,
        banks=hash_of_banks(frozen, first.manifest), computed=Computed.of(first.manifest),
        command=f"icl run {first.manifest['experiment']}", prompts=first.spent("prompts"),
        operations=first.spent("flops"),
        config_hashes=tuple(sorted({str(run.manifest["config_hash"]) for run in runs})),
        remarks=tuple(remarks), broken=tuple(broken),
        devices={seed: " and ".join(sorted(of_seed)) for seed, of_seed in devices.items()},
    )  # fmt: skip


def _wrong_seeds(frozen: Benchmark, main: Sequence[BenchmarkRun]) -> Iterator[str]:
    """The rule of the seeds, where it is broken: one's own choice of seeds may be the luckiest of many."""
    seeds = sorted(run.seed for run in main)
    if seeds != [*frozen.seeds]:
        expected = ", ".join(map(str, frozen.seeds))
        yield f"trained with the seeds {', '.join(map(str, seeds))}; expected {expected}"


def _broken(frozen: Benchmark, run: BenchmarkRun) -> Iterator[str]:
    """The rules of the benchmark that a run did not keep to."""
    if run.manifest.get("imported"):
        yield "what it was trained on is not known"
        return
    prompts, operations = run.spent("prompts"), run.spent("flops")
    if prompts > frozen.prompts:
        yield f"trained on {prompts:,} prompts, more than the {frozen.prompts:,} of the budget"
    if operations > frozen.operations:
        yield f"trained with {operations:.3g} operations, more than the {frozen.operations:.3g} of the budget"
    if others := sorted(run.trained_cells() - {*frozen.trained}):
        yield f"trained on {others[0].removesuffix('/none')}, on which no model of the benchmark is trained"
    if run.curriculum not in (CURRICULUM, IN_BLOCKS):
        yield f"trained by the curriculum {run.curriculum!r}, not {CURRICULUM!r}"
    if run.config.get("model", {}).get("initial") is not None:
        yield "trained from weights that were trained before"
    curriculum = {key: value for key, value in run.config.get("curriculum", {}).items() if key != "function_classes"}
    for key, asked in frozen.asks.items():
        if (curriculum if key == "curriculum" else run.config.get(key)) != asked:
            yield f"its {key} are not those of the benchmark" if key[-1] == "s" else f"its {key} is not the benchmark's"
