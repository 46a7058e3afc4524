"""Experiment files: inheriting, overriding, finding, errors one by one, hashes and the written config."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from pydantic import BaseModel, Field
from tiny_runs import TINY, nested, tiny_run, tiny_values, write_toml

from icl_curriculum.config.experiment import Experiment, Run
from icl_curriculum.config.finding import packaged_folder
from icl_curriculum.config.loading import build, find, load, load_run
from icl_curriculum.config.tables import (
    CurriculumConfig,
    EvaluationConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainingConfig,
)
from icl_curriculum.core.component import ADDED_LATER, Strict
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import KINDS
from icl_curriculum.curricula import Growth
from icl_curriculum.function_classes import register_function_class
from icl_curriculum.function_classes.linear import Linear
from icl_curriculum.models import ModelConfig, TransformerConfig, register_model
from icl_curriculum.runs.banks import evaluation_banks
from icl_curriculum.shifts import standard_shifts

SHIPPED = sorted(path.stem for path in packaged_folder().glob("*.toml"))
#: Those that ask about something else than the curriculum.
COMPARISONS = ("curricula", "curricula_hermite", "curricula_inputs", "curricula_reference")
META = ("meta", "meta_rates", "meta_effects")
GARG = ("garg", "garg_linear", "garg_sparse", "garg_relu", "garg_tree")
PUBLISHED = tuple(name for name in SHIPPED if name.startswith("published"))  # test_published.py
OTHERS = (
    "benchmark",
    "benchmark_v1",
    "family_rates",
    "base",
    "smoke",
    "robustness",
    "task_diversity",
    "heads",
    "instructions",
    *META,
    *COMPARISONS,
    *GARG,
    *PUBLISHED,
)
DERIVED = [name for name in SHIPPED if name not in OTHERS and name != "mixed"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def from_text(text: str, *overrides: str, **options: Any) -> Experiment:
    Path("my.toml").write_text(text, encoding="utf-8")
    return load("my.toml", overrides=overrides, **options)[0].experiment


def error_of(text: str, *overrides: str) -> str:
    with pytest.raises(UserError) as error:
        from_text(text, *overrides)
    return str(error.value)


def transformer(experiment: Experiment) -> TransformerConfig:
    assert isinstance(experiment.model, TransformerConfig)
    return experiment.model


# What ships with the package


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_experiment_loads(name: str) -> None:
    runs = load(name)
    assert runs
    assert {run.experiment.name for run in runs} == {name}
    assert runs[0].experiment.description.endswith((".", "?"))
    assert [run.seed for run in runs] == list(runs[0].experiment.seeds) * len({run.variant for run in runs})


@pytest.mark.parametrize("name", DERIVED)
def test_a_derived_experiment_is_a_few_lines_and_changes_the_curriculum_alone(name: str) -> None:
    assert len((packaged_folder() / f"{name}.toml").read_text().splitlines()) <= 14
    own, base = load(name)[0].config(), load("base")[0].config()
    differing = {key for key in own if own[key] != base[key]}
    assert differing <= {"name", "description", "variant", "curriculum"}


def test_the_catalogue_of_experiments_is_there() -> None:
    curricula = {"mixed", "sequential", "random", "single_linear", "single_sparse", "single_quadratic", "single_relu"}
    assert curricula | set(OTHERS) == set(SHIPPED)
    for name, only in [("single_sparse", "sparse_linear"), ("single_relu", "relu_network")]:
        assert load(name)[0].experiment.curriculum.function_classes.spec() == {"name": "single", "only": only}
    for name in ("mixed", "sequential", "random"):
        assert load(name)[0].experiment.curriculum.function_classes.id == name


@pytest.mark.parametrize("name", COMPARISONS)
def test_variants_that_are_compared_share_all_but_the_curriculum_and_what_it_says(name: str) -> None:
    """Seeds, banks and model are the same; a variant may have another recipe or fewer steps."""
    runs = load(name)
    experiment = runs[0].experiment
    kept = {run.variant: run.config() for run in runs}
    first = next(iter(kept.values()))
    for config in kept.values():
        for key in ("dims", "points", "function_classes", "inputs", "evaluation"):
            assert config[key] == first[key]
    assert experiment.seeds == (0, 1, 2, 3, 4)
    if name != "curricula_reference":
        assert all(config["model"] == first["model"] for config in kept.values())
        over = "inputs" if name == "curricula_inputs" else "function_classes"
        curricula = {config["curriculum"][over]["name"] for config in kept.values()}
        assert curricula == {"single", "sequential", "mixed", "random", "when_converged", "bandit"}


@pytest.mark.parametrize("name", COMPARISONS[:3])
def test_brief_variants_have_as_many_steps_as_mixed_spends_on_their_item(name: str) -> None:
    runs = {run.variant: run.experiment for run in load(name)}
    mixed = runs["mixed"].plan()
    brief = {variant: experiment for variant, experiment in runs.items() if variant.startswith("brief")}
    assert brief
    for experiment in brief.values():
        over = experiment.curriculum.inputs if name == "curricula_inputs" else experiment.curriculum.function_classes
        state = mixed.initial_state()
        shares = [mixed.shares(step, state) for step in range(mixed.steps)]
        spent = sum(
            (each.inputs if name == "curricula_inputs" else each.function_classes)[over.only] for each in shares
        )
        assert experiment.training.steps == round(spent)


def test_mixed_has_the_curriculum_of_its_siblings_and_the_recipe_that_was_found_later() -> None:
    own, base = load("mixed")[0].config(), load("base")[0].config()
    differing = {key for key in own if own[key] != base[key]}
    assert differing == {"name", "description", "recipe", "model", "training"}
    assert own["model"] == base["model"] | {"layers": 5, "heads": 4}
    assert (own["training"]["positions"], own["training"]["optimizer"]["run_decay"]) == ("balanced", 4.0)


def test_robustness_is_the_mixed_curriculum_by_the_default_recipe_on_more_banks() -> None:
    own, base = load("robustness")[0], load("base")[0]
    assert {key for key, value in own.config().items() if value != base.config()[key]} == {
        "name", "description", "evaluation",
    }  # fmt: skip
    # Every shift is defined for some class that is trained on.
    asked = {shift.id for shift in own.experiment.evaluation.shifts}
    answered = {bank.shift.id for bank in evaluation_banks(own.experiment) if bank.shift is not None}
    assert answered == asked


def documented_models() -> Iterator[type[BaseModel]]:
    yield from (Experiment, CurriculumConfig, TrainingConfig, OptimizerConfig, ScheduleConfig, EvaluationConfig, Growth)
    for registry in KINDS.values():
        yield from (registry.get(name) for name in registry.names())


def test_every_key_and_component_is_documented() -> None:
    for model in documented_models():
        assert (model.__doc__ or "").strip(), model
        for key, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{key}"


# extends, recipes, variants, seeds, --set


def test_a_file_inherits_and_overrides_key_by_key() -> None:
    write_toml(Path("parent.toml"), {**TINY, "name": "parent", "description": "the parent's"})
    child = from_text('extends = "parent.toml"\npoints = 9\n[training]\nsteps = 3\n')
    assert (child.points, child.training.steps) == (9, 3)
    assert (child.dims, child.training.batch_size, transformer(child).width) == (2, 8, 8)
    assert (child.name, child.description) == ("my", ""), "neither is inherited"


def test_a_file_replaces_lists_and_components_of_another_name_whole() -> None:
    write_toml(
        Path("parent.toml"),
        tiny_values({"curriculum.function_classes": {"name": "single", "only": "quadratic"}}),
    )
    child = from_text(
        'extends = "parent.toml"\nfunction_classes = ["linear"]\n[curriculum]\nfunction_classes = { name = "mixed" }\n'
    )
    assert [item.id for item in child.function_classes] == ["linear"]
    assert child.curriculum.function_classes.spec() == {"name": "mixed"}


@pytest.mark.parametrize(
    ("inherited", "override", "kept"),
    [
        ("[model]\nwidth = 16", "model.name=transformer", "model.width"),
        ("[training.schedule]\nwarmup = 0.5", "training.schedule.name=cosine", "training.schedule.warmup"),
        (
            "[training.optimizer]\nlearning_rate = 0.5",
            "training.optimizer.name=adam",
            "training.optimizer.learning_rate",
        ),
    ],
)
def test_naming_what_a_table_already_means_keeps_its_other_keys(inherited: str, override: str, kept: str) -> None:
    found: Any = from_text(inherited, override)
    for part in kept.split("."):
        found = getattr(found, part)
    assert found in (16, 0.5)


@pytest.mark.parametrize(
    ("inherited", "override", "pace"),
    [
        ("{ start = 2, every = 100 }", "curriculum.points.over=0.5", (None, 0.5)),
        ("{ start = 2, over = 0.5 }", "curriculum.points={start=3, every=100}", (100, None)),
        ("{ start = 2, over = 0.5 }", "curriculum.points.start=3", (None, 0.5)),
    ],
)
def test_another_pace_of_growth_takes_the_place_of_the_inherited_one(
    inherited: str, override: str, pace: tuple[int | None, float | None]
) -> None:
    growth = from_text(f"points = 11\n[curriculum]\npoints = {inherited}", override).curriculum.points
    assert growth is not None
    assert (growth.every, growth.over) == pace


def test_a_file_may_extend_a_packaged_one_from_anywhere() -> None:
    assert from_text('extends = "mixed.toml"\n[curriculum]\ndraw = "prompt"\n').dims == load("mixed")[0].experiment.dims


def test_inheritance_goes_through_grandparents() -> None:
    write_toml(Path("sub/grandparent.toml"), TINY)
    write_toml(Path("sub/parent.toml"), {"extends": "grandparent.toml", "dims": 3})
    child = from_text('extends = "sub/parent.toml"\npoints = 7')
    assert (child.dims, child.points, child.training.steps) == (3, 7, 12)


def test_recipe_reference_sets_what_was_published_and_the_file_overrides_it() -> None:
    published = from_text('recipe = "reference"')
    optimizer, schedule, model = published.training.optimizer, published.training.schedule, transformer(published)
    assert (optimizer.name, optimizer.learning_rate, optimizer.betas) == ("adam", 1e-4, (0.9, 0.999))
    assert (schedule.name, schedule.warmup) == ("constant", 0.0)
    assert published.training.clip == float("inf")
    assert (model.initialization, model.positions, model.normalize_queries_and_keys) == ("reference", "token", False)
    own = from_text('recipe = "reference"\n[model]\npositions = "none"\n[training.optimizer]\nlearning_rate = 0.5\n')
    assert (own.training.optimizer.name, own.training.optimizer.learning_rate) == ("adam", 0.5)
    assert (transformer(own).positions, transformer(own).initialization) == ("none", "reference")


def test_recipe_reference_holds_for_a_model_given_by_its_name() -> None:
    assert transformer(from_text('recipe = "reference"\nmodel = "transformer"')).initialization == "reference"


def test_the_default_recipe_is_the_fast_one() -> None:
    assert from_text("") == from_text('recipe = "fast"')
    assert (from_text("").training.optimizer.name, transformer(from_text("")).initialization) == ("muon", "fast")


def test_one_run_per_variant_and_seed() -> None:
    values = tiny_values({"seeds": [4, 1], "variants": {"wide": {"model": {"width": 16}}, "plain": {}}})
    runs = load(str(write_toml(Path("my.toml"), values)))
    assert [run.name for run in runs] == ["wide-seed4", "wide-seed1", "plain-seed4", "plain-seed1"]
    assert [transformer(run.experiment).width for run in runs] == [16, 16, 8, 8]
    assert runs[0].hash() == runs[1].hash() != runs[2].hash()


def test_without_variants_a_run_is_named_for_its_curriculum() -> None:
    assert load(str(write_toml(Path("my.toml"), TINY)))[0].name == "mixed-seed0"
    single = tiny_run({"curriculum.function_classes": {"name": "single", "only": "linear"}}, seed=3)
    assert single.name == "single-linear-seed3"


def test_seeds_given_by_the_caller_replace_the_files() -> None:
    assert [run.seed for run in load("smoke", seeds=[7, 3])] == [7, 3]


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("training.steps=200", "training.steps", 200),
        ("training.clip = inf", "training.clip", float("inf")),
        ("training.optimizer.learning_rate=0.5", "training.optimizer.learning_rate", 0.5),
        ("training.loss=normalized", "training.loss", "normalized"),
        ('training.loss="normalized"', "training.loss", "normalized"),
        ("model.normalize_queries_and_keys=false", "model.normalize_queries_and_keys", False),
        ("seeds=[3, 4]", "seeds", (3, 4)),
        ("description=a = b", "description", "a = b"),
        ('evaluation.shifts=["skewed", {name="scaled_inputs", factor=3.0}]', "evaluation.shifts.1.factor", 3.0),
        ("curriculum.function_classes=random", "curriculum.function_classes.id", "random"),
        ('curriculum.function_classes={name="single", only="linear"}', "curriculum.function_classes.only", "linear"),
    ],
)
def test_set_reads_toml_values_and_bare_words(override: str, key: str, value: object) -> None:
    found: Any = from_text("", override)
    for part in key.split("."):
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    assert found == value
    assert type(found) is type(value)


def test_set_wins_over_the_file_and_later_ones_over_earlier() -> None:
    assert from_text("dims = 3\npoints = 7", "dims=4", "dims=6").dims == 6


@pytest.mark.parametrize("override", ["training.steps", "=3", "training..steps=3", ".dims=3", "dims.=3"])
def test_a_malformed_set_says_what_is_expected(override: str) -> None:
    message = error_of("", override)
    assert (
        f"overrides {override!r}: expected key=value with a dotted key, e.g. overrides 'training.steps=200'" in message
    )


def test_a_wrong_set_names_the_key() -> None:
    assert "training.stepz: unknown key; did you mean 'steps'?" in error_of("", "training.stepz=3")
    assert "training.steps: expected a valid integer, found 'many'" in error_of("", "training.steps=many")


# Streams


@pytest.mark.parametrize(
    ("function_classes", "expected"),
    [
        (["linear", {"name": "hermite", "degree": 3}], ["linear", "hermite/3"]),
        ([{"name": "linear", "id": "mine"}, {"name": "hermite", "degree": 3, "id": "cubic"}], ["linear", "hermite/3"]),
        (["linear", {"name": "linear", "id": "twin"}, "quadratic"], ["linear", "linear#2", "quadratic"]),
        ([{"name": "linear", "id": "twin"}, "linear", "quadratic"], ["linear", "linear#2", "quadratic"]),
    ],
)
def test_streams_are_named_whatever_id_is_given_and_never_twice(
    function_classes: list[Any], expected: list[str]
) -> None:
    inputs = ["gaussian", {"name": "scaled", "of": {"name": "laplace", "id": "l"}, "id": "wide"}]
    experiment = build(tiny_values({"function_classes": function_classes, "inputs": inputs}), source="tiny.toml")
    names = experiment.stream_names()
    assert list(names) == list(experiment.tasks())
    assert list(names.values()) == [f"{item}/{of}" for item in expected for of in ("gaussian", "scaled/2/of=laplace")]


# NAME


def test_name_is_a_path_then_a_local_experiment_then_a_packaged_one(tmp_path: Path) -> None:
    assert find("smoke") == packaged_folder() / "smoke.toml"
    write_toml(Path("experiments/smoke.toml"), {"dims": 7})
    assert load("smoke")[0].experiment.dims == 7
    write_toml(Path("elsewhere/mine.toml"), {"dims": 8})
    assert load("elsewhere/mine.toml")[0].experiment.dims == 8
    Path("odd").write_text("dims = 9")
    assert load("odd")[0].experiment.dims == 9
    Path("smoke").mkdir()
    assert load("smoke")[0].experiment.dims == 7, "a folder is no experiment"


def test_an_unknown_name_suggests_the_closest() -> None:
    with pytest.raises(UserError, match=r"unknown experiment 'smokee'; did you mean 'smoke'\?"):
        find("smokee")
    with pytest.raises(UserError, match=r"experiment file nowhere\.toml does not exist"):
        find("nowhere.toml")


# Errors: the file, the dotted key, what was expected, what was found, the closest valid name

ERRORS: dict[str, tuple[str, list[str]]] = {
    "unknown top-level key": ("pointz = 3", ["pointz: unknown key; did you mean 'points'?"]),
    "unknown key like no other": ("zzz = 3", ["zzz: unknown key; known: curriculum, description, dims,"]),
    "unknown nested key": (
        "[training.optimizer]\nlearning_rat = 1.0",
        ["training.optimizer.learning_rat: unknown key; did you mean 'learning_rate'?"],
    ),
    "unknown key of a growth": (
        "[curriculum.dims]\nstart = 1\nevery = 2\nad = 1",
        ["curriculum.dims.ad: unknown key; did you mean 'add'?"],
    ),
    "unknown key of the model": ("[model]\nwidht = 3", ["model.widht: unknown key; did you mean 'width'?"]),
    "unknown key of a class in a list": (
        'function_classes = ["linear", { name = "sparse_linear", sparsty = 2 }]',
        ["function_classes.1.sparsty: unknown key; did you mean 'sparsity'?"],
    ),
    "unknown key of a curriculum": (
        '[curriculum]\nfunction_classes = { name = "single", onyl = "linear" }',
        ["curriculum.function_classes.onyl: unknown key; did you mean 'only'?"],
    ),
    "missing key": ("[curriculum.dims]\nevery = 1", ["curriculum.dims.start:", "required"]),
    "one of two keys": (
        "[curriculum.dims]\nstart = 1",
        ["curriculum.dims: found neither; expected one of every, steps"],
    ),
    "text for a number": ('dims = "three"', ["dims: expected a valid integer, found 'three'"]),
    "fraction for a whole number": ("points = 2.5", ["points: expected a valid integer", "found 2.5"]),
    "truth value for a number": ("dims = true", ["dims: expected a valid integer, found True"]),
    "number for text": ("name = 3", ["name: expected a valid string, found 3"]),
    "text among seeds": ('seeds = [0, "1"]', ["seeds.1: expected a valid integer, found '1'"]),
    "number for a table": ("training = 3", ["training: expected", "found 3"]),
    "number for a list": ("seeds = 3", ["seeds: expected", "found 3"]),
    "text for a list": ('function_classes = "linear"', ["function_classes: expected", "found 'linear'"]),
    "wrong choice": (
        '[training]\nloss = "absolute"',
        ["training.loss: expected 'auto', 'squared', 'normalized' or 'cross_entropy', found 'absolute'"],
    ),
    "wrong choice of a component": (
        '[model]\npositions = "tokens"',
        ["model.positions: expected 'token', 'pair' or 'none', found 'tokens'"],
    ),
    "unknown recipe": ('recipe = "slow"', ["recipe: expected 'fast', 'decayed' or 'reference', found 'slow'"]),
    "negative steps": ("[training]\nsteps = -1", ["training.steps: expected greater than or equal to 1, found -1"]),
    "no examples": ("points = 1", ["points: expected greater than or equal to 2, found 1"]),
    "no dimensions": ("dims = 0", ["dims: expected greater than or equal to 1, found 0"]),
    "negative seed": ("seeds = [-1]", ["seeds.0: expected greater than or equal to 0, found -1"]),
    "no seeds": ("seeds = []", ["seeds:", "at least 1 item", "found []"]),
    "out of range in a component": (
        'function_classes = [{ name = "hermite", degree = 9 }]',
        ["function_classes.0.degree: expected less than or equal to 4, found 9"],
    ),
    "a decay that is none": ("[training.optimizer]\nbetas = [0.9, 2.0]", ["training.optimizer.betas", "found 2.0"]),
    "unknown function class": (
        'function_classes = ["linear", "quadratik"]',
        ["function_classes.1: unknown function class 'quadratik'; did you mean 'quadratic'?"],
    ),
    "unknown inputs": ('inputs = ["gausian"]', ["inputs.0: unknown input distribution 'gausian'; did you mean 'gauss"]),
    "unknown curriculum": (
        '[curriculum]\nfunction_classes = "sequental"',
        ["curriculum.function_classes: unknown curriculum 'sequental'; did you mean 'sequential'?"],
    ),
    "unknown model": (
        '[model]\nname = "transfomer"',
        ["model: unknown model 'transfomer'; did you mean 'transformer'?"],
    ),
    "unknown shift": (
        '[evaluation]\nshifts = ["skewd"]',
        ["evaluation.shifts.0: unknown shift 'skewd'; did you mean 'skewed'?"],
    ),
    "unknown baseline": (
        '[evaluation]\nbaselines = ["rige"]',
        ["evaluation.baselines.0: unknown baseline 'rige'; did you mean 'ridge'?"],
    ),
    "unknown method": (
        '[training]\nmethod = "in_contxt"',
        ["training.method: unknown training method 'in_contxt'; did you mean 'in_context'?"],
    ),
    "nameless component": (
        "function_classes = [{ sparsity = 2 }]",
        ["function_classes.0: a function class is a name or a table with a 'name', found {'sparsity': 2}"],
    ),
    "class not in the experiment": (
        '[curriculum]\nfunction_classes = { name = "single", only = "linaer" }',
        ["curriculum.function_classes:", "'linaer' is not in the experiment; did you mean 'linear'?"],
    ),
    "duplicate function classes": (
        'function_classes = ["linear", "linear"]',
        ["function_classes: two components have the id 'linear'; give one of them id = \"...\""],
    ),
    "duplicate shifts": (
        '[evaluation]\nshifts = ["scaled_inputs", { name = "scaled_inputs", factor = 2 }]',
        ["evaluation.shifts: two components have the id 'scaled_inputs/2'; give one of them id = \"...\""],
    ),
    "more non-zero coordinates than dimensions": (
        'dims = 2\nfunction_classes = ["linear", { name = "sparse_linear", sparsity = 3 }]',
        ["function_classes.1", "sparsity 3 exceeds the number of dimensions 2"],
    ),
    "width not divisible": ("[model]\nwidth = 10\nheads = 4", ["model.width: 10 is not divisible by model.heads = 4"]),
    "more blocks than steps": (
        'function_classes = ["linear", "quadratic", "relu_network"]\n[training]\nsteps = 2',
        ["curriculum.function_classes", "'mixed'", "3 blocks", "2 steps"],
    ),
    "prompts longer than positions": (
        'points = 5\n[model]\nmax_points = 6\n[evaluation]\nshifts = ["longer_prompts"]',
        [
            "evaluation.shifts: 'longer_prompts/2' asks for prompts of 9 points, the model reads at most 6",
            "set model.max_points = 9",
        ],
    ),
    "points beyond the model's": ("[model]\nmax_points = 4", ["model.max_points: 4 is less than the 21 points"]),
    "extends a file that is missing": (
        'extends = "basis.toml"',
        ["extends: basis.toml is neither beside this file nor in the package"],
    ),
    "extends no file name": ("extends = 3", ["extends: expected a file name, found 3"]),
    "extends itself": ('extends = "my.toml"', ["extends itself", "my.toml"]),
    "no TOML": ("dims = = 3", ["not a valid TOML file", "line 1"]),
    "a variant's unknown key": (
        "[variants.wide.model]\nwidht = 3",
        ["variant 'wide'", "model.widht: unknown key; did you mean 'width'?"],
    ),
    "no table for a variant": ("variants = { wide = 3 }", ["variants.wide: expected", "found 3"]),
    "labels of two kinds": (
        'function_classes = ["linear", "linear_map"]',
        ["function_classes.1: the labels of 'linear_map/2' are vectors of 2 numbers, those of 'linear' numbers; one"],
    ),
    "classes of two sizes": (
        'function_classes = ["multiclass_linear", { name = "multiclass_linear", n_classes = 4 }]',
        ["the labels of 'multiclass_linear/4' are 4 classes, those of 'multiclass_linear/3' 3 classes"],
    ),
    "a baseline asked for vectors": (
        'function_classes = ["linear_map"]\n[evaluation]\nbaselines = ["sparse_posterior"]',
        ["evaluation.baselines: the baseline sparse_posterior answers numbers alone, and the labels are vectors of 2"],
    ),
    "a baseline asked for classes": (
        'function_classes = ["multiclass_linear"]\n[evaluation]\nbaselines = ["ridge"]',
        ["evaluation.baselines: the baseline ridge answers numbers and vectors alone, and the labels are 3 classes"],
    ),
    "a metric that means nothing": (
        '[evaluation]\nmetrics = ["accuracy"]',
        ["evaluation.metrics.0: 'accuracy' means nothing for 'linear': its labels are neither signs nor classes"],
    ),
    "an unknown metric": (
        '[evaluation]\nmetrics = ["acuracy"]',
        ["evaluation.metrics.0: unknown metric 'acuracy'; did you mean"],
    ),
    "smoothing of signs": (
        'function_classes = ["linear_classification"]\n[training]\nlabel_smoothing = 0.1',
        ["training.label_smoothing: only one-hot classes can be smoothed, and the labels are signs"],
    ),
    "squares of classes": (
        'function_classes = ["multiclass_linear"]\n[training]\nloss = "squared"',
        ['training.loss: expected "cross_entropy" or "normalized", as the labels are 3 classes, found "squared"'],
    ),
    "a cross-entropy of numbers": (
        '[training]\nloss = "cross_entropy"',
        ['training.loss: expected "squared" or "normalized", as the labels are numbers and no classes, found'],
    ),
    "positions that are no word": (
        '[training]\npositions = "lst"',
        [
            'training.positions: expected "all", "last", "balanced", the number of examples from which positions count',
            "'lst'",
        ],
    ),
    "positions after the end": (
        "points = 5\n[training]\npositions = 5",
        ["training.positions: no prompt of 5 points has a position with 5 examples before it; expected at most 4"],
    ),
    "weights that are too few": (
        "points = 5\n[training]\npositions = [1, 1]",
        ["training.positions: 2 weights; expected 5, one for each position"],
    ),
    "weights that are all zero": (
        "points = 2\n[training]\npositions = [0, 0]",
        ["training.positions: expected", "found [0, 0]"],
    ),
    "weights of what short prompts lack": (
        "points = 5\n[training]\npositions = [0, 0, 0, 0, 1]\nshortest_prompt = 3",
        ["training.positions: all of the first 3 weights are 0, so nothing of a prompt of 3 points would count"],
    ),
    "prompts longer than they are": (
        "points = 5\n[training]\nshortest_prompt = 6",
        ["training.shortest_prompt: 6: expected 2 to 5 points"],
    ),
    "prompts of growing length and any": (
        "points = 5\n[curriculum]\npoints = { start = 3, every = 2 }\n[training]\nshortest_prompt = 4",
        ["training.shortest_prompt: 4: expected 2 to 3 points, which the first prompts have"],
    ),
    "positions of a method that has its own": (
        '[training]\nmethod = "meta_icl"\npositions = "last"',
        ['training.positions: expected "all", as meta_icl trains the last position alone'],
    ),
    "more shards than prompts": (
        "[training]\nbatch_size = 4\nshards = 5",
        [
            "training.shards: expected at most 4, as the training method 'in_context' can divide an update into no "
            "more parts, found 5"
        ],
    ),
    "more shards than tasks": (
        '[training]\nshards = 5\nmethod = { name = "fomaml", n_tasks = 4 }',
        ["training.shards: expected at most 4, as the training method 'fomaml'"],
    ),
    "shards of tasks that carry moments": (
        '[training]\nshards = 2\noptimizer.name = "adam"\n'
        'method = { name = "fomaml", inner_rule = "shared_adam", carry = true }',
        [
            "training.shards: expected 1, as the training method 'fomaml/inner_rule=shared_adam/carry=True' computes "
            "the gradient of an update as a whole, found 2"
        ],
    ),
    "inputs of a class that makes its own": (
        'function_classes = ["gaussian_classes"]\ninputs = ["laplace"]',
        ["gaussian_classes/3: it makes its own inputs, each of which is scaled/1.12, found laplace; set inputs = [{"],
    ),
    "plugins that are no list": ("plugins = 3", ["plugins: expected", "found 3"]),
    "one plugin, not in a list": ('plugins = "my_plugin.py"', ["plugins: expected", "found 'my_plugin.py'"]),
}


@pytest.mark.parametrize(("text", "expected"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_name_file_key_expected_and_found(text: str, expected: list[str]) -> None:
    message = error_of(text)
    assert message.startswith("my.toml"), message
    for part in expected:
        assert part in message, message


@pytest.mark.parametrize(
    "name",
    ["unknown function class", "unknown key of a class in a list", "text among seeds", "negative seed",
     "unknown inputs", "unknown shift", "unknown baseline", "out of range in a component"],
)  # fmt: skip
def test_one_mistake_is_one_message(name: str) -> None:
    assert len(error_of(ERRORS[name][0]).splitlines()) == 1


@pytest.mark.parametrize("text", ["seeds = 3", "seeds = []", "training = 3", "[curriculum]\ndims = 3"])
def test_errors_speak_of_lists_and_tables_not_of_python(text: str) -> None:
    assert not any(word in error_of(text).lower() for word in ("tuple", "dictionary", "instance of", "validation"))


def test_two_mistakes_are_two_lines() -> None:
    lines = error_of('dims = "x"\n[training]\nstepz = 1').splitlines()
    assert [line.split(": ")[1] for line in lines] == ["dims", "training.stepz"]


def test_a_circle_of_extends_names_the_files() -> None:
    write_toml(Path("other.toml"), {"extends": "my.toml"})
    message = error_of('extends = "other.toml"')
    assert "extends itself" in message
    assert "other.toml" in message


@pytest.mark.usefixtures("fresh_registries")
def test_a_component_with_a_required_parameter_given_by_its_name_alone() -> None:
    @register_function_class("needs_a_parameter")
    class NeedsParameter(Linear):
        """A class whose parameter has no default."""

        strength: float = Field(description="no default")

    message = error_of('function_classes = ["needs_a_parameter"]')
    assert "my.toml: function_classes.0.strength:" in message
    assert "required" in message.lower()


def test_the_same_seed_twice_is_refused() -> None:
    message = error_of("seeds = [1, 1]")
    assert "seeds" in message
    assert "1" in message.replace("my.toml", "")


@pytest.mark.parametrize("name", ["a/b", "..", ""])
def test_a_variant_must_be_fit_for_a_folder(name: str) -> None:
    values = tomli_w.dumps({"variants": {name: {"dims": 3}}})
    assert "variants" in error_of(values)


@pytest.mark.parametrize("name", ["", "..", "../elsewhere"])
def test_an_experiments_name_must_be_fit_for_a_folder(name: str) -> None:
    assert "name: " in error_of(tomli_w.dumps({"name": name}))


@pytest.mark.parametrize(("key", "value"), [("seeds", [7]), ("name", "other"), ("variants", {"b": {}})])
def test_a_variant_does_not_drop_keys_without_a_word(key: str, value: Any) -> None:
    """Seeds, name and variants belong to the whole experiment."""
    assert f"variants.a.{key}" in error_of(tomli_w.dumps({"variants": {"a": {key: value}}}))


# Hash and written config

HASHED: dict[str, Any] = {
    "recipe": "reference",
    "dims": 3,
    "points": 6,
    "threads": 2,
    "function_classes": ["quadratic", "linear"],
    "inputs": ["skewed"],
    "curriculum.function_classes": "random",
    "curriculum.inputs": "single",
    "curriculum.draw": "prompt",
    "curriculum.dims": {"start": 1, "every": 2},
    "curriculum.points": {"start": 1, "every": 2},
    "model.width": 16,
    "model.layers": 2,
    "model.heads": 1,
    "model.max_points": 30,
    "model.attention": "plain",
    "training.steps": 13,
    "training.batch_size": 9,
    "training.loss": "normalized",
    "training.optimizer.name": "adam",
    "training.optimizer.learning_rate": 0.5,
    "training.optimizer.betas": [0.9, 0.95],
    "training.schedule.name": "cosine",
    "training.schedule.decay": 0.5,
    "training.clip": 2.0,
    "training.log_every": 3,
    "training.learning_every": 3,
    "training.positions": "last",
    "training.shortest_prompt": 3,
    "training.shards": 3,
    "evaluation.metrics": ["absolute_error"],
    "evaluation.n_prompts": 17,
    "evaluation.bank_seed": 1,
    "evaluation.learning_prompts": 9,
    "evaluation.shifts": [],
    "evaluation.baselines": ["zero"],
    "evaluation.confidence": 0.5,
}


@pytest.mark.parametrize("key", HASHED)
def test_the_hash_changes_with_every_key_that_decides_results(key: str) -> None:
    assert tiny_run({key: HASHED[key]}).hash() != tiny_run().hash()


@pytest.mark.parametrize("changes", [{"name": "other"}, {"description": "other"}, {"seeds": [1, 2]}, {}])
def test_the_hash_ignores_names_and_seeds(changes: dict[str, Any]) -> None:
    assert tiny_run(changes, seed=5).hash() == tiny_run().hash()


def test_the_hash_ignores_how_the_same_config_was_written() -> None:
    written_out = tiny_values(
        {
            "function_classes": [{"name": "linear", "label_noise": 0}, "quadratic"],
            "evaluation.shifts": [{"name": "scaled_inputs", "factor": 2}],
        }
    )
    assert build(written_out, source="") == tiny_run().experiment
    assert tiny_run(nested(written_out)).hash() == tiny_run().hash()


def test_the_hash_follows_the_content_of_plugins_not_their_place() -> None:
    def hash_with(folder: str, content: str) -> str:
        Path(folder).mkdir(exist_ok=True)
        Path(folder, "my_plugin.py").write_text(content)
        write_toml(Path(folder, "my.toml"), {**TINY, "plugins": ["my_plugin.py"]})
        return load(f"{folder}/my.toml")[0].hash()

    first = hash_with("one", "# nothing")
    assert first == hash_with("two", "# nothing")
    assert first != hash_with("three", "# nothing else")
    assert first != tiny_run().hash()


def test_a_plugin_may_be_given_by_the_caller_or_the_file() -> None:
    Path("my_plugin.py").write_text("# nothing")
    by_caller = load(str(write_toml(Path("a.toml"), TINY)), plugins=["my_plugin.py"])
    by_file = load(str(write_toml(Path("b.toml"), {**TINY, "plugins": ["my_plugin.py"]})))
    by_both = load("b.toml", plugins=["my_plugin.py"])
    assert by_caller[0].hash() == by_file[0].hash() == by_both[0].hash()


def test_a_missing_plugin_is_named() -> None:
    with pytest.raises(UserError, match=r"plugin file .*nowhere\.py does not exist"):
        load("smoke", plugins=["nowhere.py"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"recipe": "reference"},
        {
            "curriculum.dims": {"start": 1, "every": 2},
            "curriculum.points": {"start": 3, "add": 2, "every": 2},
            "curriculum.function_classes": {"name": "single", "only": "my own"},
            "function_classes": [{"name": "hermite", "degree": 3, "id": "my own"}, "relu_network"],
            "inputs": ["skewed", {"name": "student_t", "df": 9}],
            "evaluation.baselines": ["zero", {"name": "ridge", "penalty": 0.5}],
            "evaluation.shifts": ["skewed", {"name": "label_noise", "level": 0.1}, "longer_prompts"],
            "model.max_points": 11,
            "description": 'quotes " and signs \u00e9 \u2211',
        },
    ],
    ids=["defaults", "reference", "everything"],
)
def test_the_written_config_reads_back_as_the_same_run(changes: dict[str, Any]) -> None:
    run = tiny_run(changes, seed=3)
    file = write_toml(Path("config.toml"), run.config())
    read = load_run(file)
    assert read == Run(run.experiment.model_copy(update={"seeds": (3,)}), run.variant, 3)
    assert (read.hash(), read.name) == (run.hash(), run.name)
    assert tomllib.loads(file.read_text()) == tomllib.loads(tomli_w.dumps(read.config()))


def test_the_written_config_says_every_default() -> None:
    config = Run(from_text(""), "mixed", 0).config()
    assert config["training"]["optimizer"]["momentum"] == 0.9
    assert config["model"]["name"] == "transformer"
    assert config["model"]["width"] == 64
    assert config["evaluation"]["n_prompts"] == 1280
    assert list(config["function_classes"]) == [
        {"name": "linear", "outputs": "raw", "label_noise": 0.0, "pool_seed": 0}
    ]


def test_an_experiment_cannot_be_changed_after_reading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        from_text("").dims = 3  # type: ignore[misc]


def test_robustness_asks_for_the_whole_grid_of_the_catalogue() -> None:
    """As `icl evaluate` does without options; other classes come on top."""
    (run, *_) = load("robustness")
    shifts = [shift for shift in run.experiment.evaluation.shifts if shift.name != "other_class"]
    assert shifts == list(standard_shifts())


@pytest.mark.usefixtures("fresh_registries")
def test_the_way_out_of_too_long_prompts_is_one_that_the_model_has() -> None:
    @register_model("short")
    class Short(ModelConfig):
        """A model without a field for the longest prompt."""

        def build(self, *, dims: int, points: int, generator: Any) -> Any:
            raise AssertionError

    said = error_of('points = 5\nmodel = "short"\n[evaluation]\nshifts = ["longer_prompts"]')
    assert said.endswith(
        "evaluation.shifts: 'longer_prompts/2' asks for prompts of 9 points, the model reads at most 5; leave the "
        "shift out, or override longest_prompt in the model's config"
    )


def test_a_key_that_was_added_later_enters_the_hash_only_away_from_its_default() -> None:
    class Before(Strict):
        kept: int = 1

    class After(Before):
        added: int = Field(2, json_schema_extra=ADDED_LATER)

    assert After().deciding() == Before().deciding() == {"kept": 1}
    assert After(added=3).deciding() == {"kept": 1, "added": 3}


def test_the_hash_of_a_shipped_experiment_is_that_of_earlier_versions() -> None:
    assert load("base")[0].hash() == "e15952a5b214eb1f"
