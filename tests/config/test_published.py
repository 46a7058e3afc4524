"""The published settings: what their papers and code say, and how many parameters their models have."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from icl_curriculum.config.experiment import Experiment
from icl_curriculum.config.finding import packaged_folder
from icl_curriculum.config.loading import load
from icl_curriculum.curricula import Growth
from icl_curriculum.results.printed import PRINTED

NAMES = sorted(path.stem for path in packaged_folder().glob("published*.toml"))
SHORT = {"start": 11, "add": 2, "every": 2000}
LONG = {"start": 26, "add": 5, "every": 2000}
GARG: dict[str, Any] = {
    "published_garg_linear": ("linear", {}, 41, SHORT),
    "published_garg_sparse": ("sparse_linear", {"sparsity": 3}, 41, SHORT),
    "published_garg_relu": ("relu_network", {"hidden": 100}, 101, LONG),
    "published_garg_tree": ("decision_tree", {"depth": 4}, 101, LONG),
}
BHASIN = ["published_bhasin", "published_bhasin_inputs"]


def experiments(name: str) -> dict[str, Experiment]:
    """By variant, each once."""
    return {run.variant: run.experiment for run in load(name)}


@pytest.fixture(scope="module")
def parameters() -> dict[str, int]:
    """The number of parameters of every experiment and variant. Equal models are built once, as that takes a moment."""
    built: dict[str, int] = {}
    found = {}
    for name in NAMES:
        for variant, experiment in experiments(name).items():
            key = f"{experiment.model.spec()} {experiment.dims} {experiment.told()}"
            if key not in built:
                model = experiment.build_model(torch.Generator().manual_seed(0))
                built[key] = sum(value.numel() for value in model.parameters())
            found[f"{name}/{variant}"] = built[key]
    return found


def test_every_model_has_the_9_5_million_parameters_that_are_printed(parameters: dict[str, int]) -> None:
    blocks = 12 * (12 * 256**2 + 13 * 256)
    # 202 positions, the last norm, reading in and out.
    assert set(parameters.values()) == {blocks + 202 * 256 + 2 * 256 + 21 * 256 + 257} == {9_534_977}
    assert len(parameters) == 5 + 6 + 6


@pytest.mark.parametrize("name", NAMES)
def test_what_all_published_settings_share(name: str) -> None:
    for experiment in experiments(name).values():
        training, model = experiment.training, experiment.model.spec()
        assert (training.steps, training.batch_size, training.loss) == (500_000, 64, "auto")
        assert (training.optimizer.name, training.optimizer.learning_rate) == ("adam", 1e-4)
        assert (training.schedule.name, training.schedule.warmup) == ("constant", 0.0)
        assert (training.log_every, training.learning_every, training.checkpoint_every) == (500, 2000, "time")
        shape = {key: model[key] for key in ("width", "layers", "heads", "max_points", "tokens", "positions")}
        assert list(shape.values()) == [256, 12, 8, 101, "alternate", "token"]
        assert (model["initialization"], model["activation"]) == ("reference", "gelu")
        assert (experiment.dims, experiment.evaluation.n_prompts) == (20, 1280)


@pytest.mark.parametrize("name", GARG)
def test_the_settings_of_garg_et_al(name: str) -> None:
    of_class, parameters, points, growth = GARG[name]
    (experiment,) = experiments(name).values()
    (function_class,) = experiment.function_classes
    assert function_class.spec() | {"name": of_class, **parameters} == function_class.spec()
    assert experiment.points == points
    assert [item.id for item in experiment.inputs] == ["gaussian"]
    assert experiment.curriculum.dims == Growth(start=5, add=1, every=2000)
    assert experiment.curriculum.points == Growth(**growth)
    # Theirs is full after so many steps, too.
    assert experiment.plan().shares(30_000, {"function_classes": {}, "inputs": {}}).points == points


@pytest.mark.parametrize("name", GARG)
def test_the_small_models_are_trained_on_the_same_prompts(name: str) -> None:
    (theirs,) = experiments(name).values()
    (small,) = experiments(name.removeprefix("published_")).values()
    for key in ("dims", "points", "function_classes", "inputs"):
        assert getattr(small, key) == getattr(theirs, key)
    assert small.evaluation.shifts == theirs.evaluation.shifts
    assert (small.seeds, small.threads, small.evaluation.n_prompts) == ((0,), 2, 1280)
    assert small.model.spec()["layers"] < theirs.model.spec()["layers"]
    lengths = [each.n_context for each in PRINTED if each.trained_on == theirs.function_classes[0].id]
    baselines = {each.id for each in small.evaluation.baselines or ()}
    if baselines & {"mlp_gd", "greedy_tree"}:  # Costly ones stand beside the printed errors.
        assert max(lengths) in small.evaluation.costly.asked(small.dims, small.points)


@pytest.mark.parametrize("name", BHASIN)
def test_the_settings_of_bhasin_et_al(name: str) -> None:
    found = experiments(name)
    assert list(found)[3:] == ["sequential", "mixed", "random"]
    assert all(variant.startswith("single_") for variant in list(found)[:3])
    for experiment in found.values():
        assert (experiment.points, experiment.seeds) == (100, (0, 1, 2, 3, 4))
        assert experiment.curriculum.dims is experiment.curriculum.points is None
    classes = [item.id for item in found["mixed"].function_classes]
    inputs = [item.id for item in found["mixed"].inputs]
    if name == "published_bhasin":
        assert classes == [f"hermite/{degree}/weights=gaussian" for degree in (1, 2, 3)]
        assert inputs == ["gaussian"]
    else:
        assert classes == ["linear"]
        assert inputs == ["gaussian", "skewed/basis=shared", "student_t"]


@pytest.mark.parametrize("prefix", ["published_", ""], ids=["published size", "small"])
def test_what_the_published_numbers_were_asked_is_asked(prefix: str) -> None:
    """`icl verify published` finds a row for each of them."""
    from icl_curriculum.runs.banks import evaluation_banks

    names = {of_class: prefix + name.removeprefix("published_") for name, (of_class, *_) in GARG.items()}
    asked = {name: {bank.key for bank in evaluation_banks(*experiments(name).values())} for name in names.values()}
    for printed in PRINTED:
        found = asked[names[printed.trained_on]]
        assert printed.asked[:3] in found, printed
