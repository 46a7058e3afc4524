"""Components of every kind from outside: by --plugin, by a TOML, and from a package that is really installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from places import EVERY_KIND
from tiny_runs import TINY, tables, write_toml

from icl_curriculum.config.loading import load, load_run
from icl_curriculum.core.registry import KINDS
from icl_curriculum.runs.checkpoints import load_model
from icl_curriculum.runs.execution import execute

#: What the plugin registers, by kind.
NAMES = {
    "function_classes": "halved",
    "inputs": "wide",
    "observations": "doubled",
    "shifts": "as_gaussian",
    "curricula": "backwards",
    "baselines": "last_label",
    "models": "scaled_mean",
    "methods": "twice",
    "metrics": "far_off",
    "launchers": "one_by_one",
}
CLASSES = {
    "halved": "Halved", "wide": "Wide", "as_gaussian": "AsGaussian", "backwards": "Backwards",
    "last_label": "LastLabel", "scaled_mean": "ScaledMean", "twice": "Twice",
    "far_off": "FarOff", "doubled": "Doubled", "one_by_one": "OneByOne",
}  # fmt: skip

#: An experiment in which nothing but the loop is the suite's own.
EXPERIMENT: dict[str, Any] = {
    **{key: TINY[key] for key in ("dims", "points", "seeds")},
    "name": "foreign",
    "function_classes": ["linear", "halved"],
    "inputs": ["wide"],
    "curriculum": {"function_classes": "backwards"},
    "model": "scaled_mean",
    "training": {**TINY["training"], "method": "twice"},
    "evaluation": {
        **TINY["evaluation"],
        "shifts": ["as_gaussian", {"name": "other_observation", "observation": "doubled"}],
        "baselines": ["zero", "last_label"],
        "metrics": ["far_off"],
    },
}


#: The command without figures and report, which take longer than all else; tests/runs/test_odd_ends.py draws plugins.
UNDRAWN = """
from icl_curriculum.cli import main
from icl_curriculum.runs import experiment
experiment.figures.draw_all = lambda directory, **options: []
experiment.report_on = lambda directory: None
main()
"""


@pytest.fixture(scope="module")
def icl(quick_python: Path) -> Callable[..., str]:
    def output(folder: Path, *arguments: str, path: Path | None = None) -> str:
        """The output of a command in a process of its own, with packages under ``path`` installed."""
        environment = {**os.environ, "PYTHONPATH": str(path or "")}
        command = [str(quick_python), "-c", UNDRAWN, *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return output


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed a package that offers one component of every kind."""
    source = tmp_path_factory.mktemp("package")
    (source / "their_package").mkdir()
    # What evaluates lies in another module than what is registered.
    evaluation = 'torch.einsum("npd,nd->np", xs, parameters["w"]) / 2'
    text = EVERY_KIND.read_text().replace(evaluation, "half(parameters, xs)")
    (source / "their_package/__init__.py").write_text(f"from their_package.maths import half\n{text}")
    maths = f"import torch\n\n\ndef half(parameters, xs):\n    return {evaluation}\n"
    (source / "their_package/maths.py").write_text(maths)
    points = {f"icl_curriculum.{kind}": {name: f"their_package:{CLASSES[name]}"} for kind, name in NAMES.items()}
    project = {"name": "their-package", "version": "1.2", "entry-points": points}
    build = {"requires": ["setuptools"], "build-backend": "setuptools.build_meta"}
    packages = {"setuptools": {"packages": ["their_package"]}}
    write_toml(source / "pyproject.toml", {"project": project, "build-system": build, "tool": packages})
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(source)], check=True, capture_output=True)
    return target


WAYS = ["--plugin", "plugins =", "entry point"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, site: Path, icl: Callable[..., str]) -> dict[str, Path]:
    """The results of the experiment with its components brought in each way."""
    results = {}
    for way in WAYS:
        folder = tmp_path_factory.mktemp("ran")
        (folder / "sub").mkdir()
        if way != "entry point":
            shutil.copy(EVERY_KIND, folder / "sub/mine.py")
        # In the file relative to the file, on the command line to the working directory.
        values = {**EXPERIMENT, "plugins": ["mine.py"]} if way == "plugins =" else EXPERIMENT
        options = ["--plugin", "sub/mine.py"] if way == "--plugin" else []
        write_toml(folder / "sub/foreign.toml", values)
        icl(folder, "run", "sub/foreign.toml", *options, path=site if way == "entry point" else None)
        results[way] = folder / "results/foreign"
    return results


@pytest.mark.parametrize("way", WAYS)
def test_an_experiment_of_nothing_but_plugins_runs(ran: dict[str, Path], way: str) -> None:
    evaluation = pd.read_csv(ran[way] / "evaluation.csv")
    assert set(evaluation["function_class"]) == {"linear", "halved"}
    assert set(evaluation["input_distribution"]) == {"wide"}
    assert set(evaluation["shift"]) == {"none", "as_gaussian", "other_observation/doubled"}
    assert set(evaluation.loc[evaluation["learner_kind"] == "baseline", "learner"]) == {"zero", "last_label"}
    assert set(evaluation["run"].dropna()) == {"backwards-seed0"}
    off = evaluation[evaluation["metric"] == "far_off"]
    assert set(off["learner"]) == set(evaluation["learner"])
    assert off["value"].between(0, 1).all()
    assert "far_off" in set(pd.read_csv(ran[way] / "learning.csv")["metric"])
    shares = pd.read_csv(ran[way] / "curriculum.csv").query("function_class == 'halved'")["planned_share"]
    assert shares.iloc[0] == 1
    assert shares.iloc[-1] == 0.5


def test_every_way_gives_the_same_bytes(ran: dict[str, Path]) -> None:
    first, second, third = (tables(directory) for directory in ran.values())
    assert first == second
    # Its config hash is of the package's files, and stands in runs.csv.
    assert {name for name in first if first[name] != third[name]} == {"runs.csv"}
    assert len(first) == 7


@pytest.mark.parametrize("way", ["file", "package"])
def test_list_shows_every_kind_with_where_it_came_from_and_what_it_is(
    icl: Callable[..., str], tmp_path: Path, site: Path, way: str
) -> None:
    shutil.copy(EVERY_KIND, tmp_path / "mine.py")
    options = ["--plugin", "mine.py"] if way == "file" else []
    listed = icl(tmp_path, "list", *options, path=site if way == "package" else None)
    origin = "mine.py" if way == "file" else "package their-package 1.2"
    summaries = {
        "halved": "f(x) = w·x / 2", "wide": "x ~ N(0, 4 I).", "as_gaussian": "Standard normal inputs",
        "backwards": "The last item in the first half", "last_label": "The label of the last example.",
        "scaled_mean": "The mean label so far", "twice": "Plain in-context training with two steps",
        "far_off": "The share of answers that are off by more than 1/2.",
        "doubled": "Every label is shown twice as large.",
    }  # fmt: skip
    assert set(NAMES) == set(KINDS)
    for name, summary in summaries.items():
        assert re.search(rf"^ +{name} +{re.escape(origin)} +{re.escape(summary)}", listed, re.MULTILINE), name


def test_an_installed_package_of_another_content_is_another_config(
    ran: dict[str, Path], site: Path, icl: Callable[..., str], tmp_path: Path
) -> None:
    """All its files are hashed, so a changed package cannot pass for what a run was made with."""
    shutil.copytree(site, tmp_path / "site")
    shutil.copytree(ran["entry point"], tmp_path / "results/foreign")
    write_toml(tmp_path / "foreign.toml", EXPERIMENT)
    with (tmp_path / "site/their_package/maths.py").open("a") as module:
        module.write("\n# version 2\n")
    with pytest.raises(AssertionError, match=r"holds a run of another config; changed: plugin contents"):
        icl(tmp_path, "run", "foreign.toml", path=tmp_path / "site")


def test_a_broken_package_hides_no_other(icl: Callable[..., str], site: Path, tmp_path: Path) -> None:
    broken = tmp_path / "site"
    shutil.copytree(site, broken)
    (broken / "their_package/__init__.py").write_text("import nowhere\n")
    listed = icl(tmp_path, "list", path=broken)
    assert re.search(r"^ +linear +built in", listed, re.MULTILINE)
    reason = "failed to load: ModuleNotFoundError: No module named 'nowhere'"
    assert re.search(rf"^ +halved +cannot be used +.*{reason}", listed, re.MULTILINE)


@pytest.mark.usefixtures("fresh_registries")
def test_two_plugin_files_of_one_name_are_both_kept(tmp_path: Path) -> None:
    for folder, name in (("one", "first"), ("two", "second")):
        (tmp_path / folder).mkdir()
        text = EVERY_KIND.read_text()
        for registered in NAMES.values():
            text = text.replace(f'("{registered}")', f'("{name}_{registered}")')
        (tmp_path / folder / "mine.py").write_text(text)
    classes = ["first_halved", "second_halved"]
    values = {**TINY, "function_classes": classes, "plugins": ["one/mine.py", "two/mine.py"]}
    (run,) = load(str(write_toml(tmp_path / "my.toml", values)))
    execute(run, tmp_path / "results")
    directory = tmp_path / "results/tiny/mixed-seed0"
    assert {path.name for path in (directory / "plugins").iterdir()} == {"0-mine.py", "1-mine.py"}
    shutil.rmtree(tmp_path / "one")
    shutil.rmtree(tmp_path / "two")
    assert load_run(directory / "config.toml").hash() == run.hash()
    assert load_model(directory).dims == run.experiment.dims
