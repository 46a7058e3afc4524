"""Runs that are rebuilt from the copies of their plugins: nothing is executed that the run did not write."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_folders import plugin_folder, scaled
from tiny_runs import tiny_values, write_toml

from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import load, load_run
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.registry import FUNCTION_CLASSES, INPUTS, PLUGIN_MODULE
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.runs.description import write_config
from icl_curriculum.tasks import Task

pytestmark = pytest.mark.usefixtures("fresh_registries")

TWO_FILES = scaled(
    imports="from pathlib import Path\nimport numpy as np\nfrom helpers import FACTOR, told\n"
    'data_files = ["table.npy"]\nassert np.load(Path(__file__).parent / "table.npy")[0]'
)
HELPERS = "FACTOR = 3.0\ntold = []\n"


def one_run(folder: Path, plugins: list[str], changes: dict[str, Any] | None = None) -> Run:
    values = tiny_values({"function_classes": ["scaled"], "plugins": plugins, **(changes or {})})
    (run,) = load(str(write_toml(folder / "my.toml", values)))
    return run


def written(run: Run, folder: Path) -> Path:
    """The folder of a run with its config and the copies of its plugins; the config file."""
    folder.mkdir()
    directory = RunDirectory(folder, experiment="tiny", variant="mixed", seed=0)
    write_config(directory, run)
    return folder / "config.toml"


def forget_plugins() -> None:
    for name in [name for name in sys.modules if name.startswith(PLUGIN_MODULE)]:
        del sys.modules[name]


def factor(run: Run) -> float:
    return float(run.experiment.function_classes[0].trivial_error(4) / 4) ** 0.5


def test_a_run_needs_nothing_but_its_folder(tmp_path: Path) -> None:
    plugin_folder(tmp_path / "lab", {"helpers.py": HELPERS, "table.npy": 3.0}, TWO_FILES)
    run = one_run(tmp_path, ["lab/mine.py"])
    config = written(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "lab")
    forget_plugins()
    again = load_run(config, plugin_hashes=run.plugin_hashes)
    assert again.hash() == run.hash()
    assert factor(again) == 3
    # And may be copied on.
    once_more = load_run(written(again, tmp_path / "other"), plugin_hashes=list(again.plugin_hashes))
    assert once_more.plugin_copies() == run.plugin_copies()


@pytest.mark.parametrize("file", ["mine/mine.py", "mine/helpers.py", "mine/table.npy"])
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_changed_copy_is_refused_before_it_is_executed(tmp_path: Path, file: str, damage: str) -> None:
    plugin_folder(tmp_path / "lab", {"helpers.py": HELPERS, "table.npy": 3.0}, TWO_FILES)
    run = one_run(tmp_path, ["lab/mine.py"])
    config = written(run, tmp_path / "run")
    load_run(config, plugin_hashes=run.plugin_hashes)
    copy = tmp_path / "run/plugins" / file
    executed = tmp_path / "executed"
    if damage == "gone":
        copy.unlink()
    elif file.endswith(".py"):
        copy.write_text(copy.read_text() + f"\nopen({str(executed)!r}, 'w')\n")
    else:
        np.save(copy, np.array([4.0], dtype=np.float32))
    message = r"plugins/mine(/mine)?\.py.* (is not what the run wrote|does not exist|'table.npy' does not exist)"
    with pytest.raises(UserError, match=message):
        load_run(config, plugin_hashes=run.plugin_hashes)
    assert not executed.exists()


def test_a_copy_of_one_file_is_compared_too(tmp_path: Path) -> None:
    plugin_folder(tmp_path, {}, scaled(imports="FACTOR = 3.0"))
    run = one_run(tmp_path, ["mine.py"])
    config = written(run, tmp_path / "run")
    copy = tmp_path / "run/plugins/mine.py"
    copy.write_text(copy.read_text().replace("3.0", "5.0"))
    for hashes in (run.plugin_hashes, []):
        with pytest.raises(UserError, match=r"plugins/mine\.py is not what the run wrote"):
            load_run(config, plugin_hashes=hashes)
    assert factor(load_run(config)) == 5  # Where nobody says what it was.


@pytest.mark.parametrize("order", [(3.0, 5.0), (5.0, 3.0)])
def test_runs_with_two_versions_of_a_plugin_are_at_hand_side_by_side(
    tmp_path: Path, order: tuple[float, float]
) -> None:
    """Each with what it was made with, also where a name is looked up later: the inputs of the denominator."""
    inputs = (
        "from icl_curriculum import InputDistribution, register_inputs\n\n\n@register_inputs('stretched')\n"
        "class Stretched(InputDistribution):\n    def sample(self, n, points, dims, generator):\n"
        "        return FACTOR * torch.randn(n, points, dims, generator=generator)\n\n"
        "    def squared_norm(self, dims):\n        return dims * FACTOR**2\n\n\n"
    )
    configs = {}
    for number in (3.0, 5.0):
        text = scaled(imports=f"FACTOR = {number}\n{inputs}")
        text = text.replace(
            "    def sample(self, n, dims", "    reference_inputs = 'stretched'\n\n    def sample(self, n, dims"
        )
        plugin_folder(tmp_path, {}, text)
        run = one_run(tmp_path, ["mine.py"])
        configs[number] = written(run, tmp_path / f"run{number:g}"), run.plugin_hashes
        forget_plugins()
        for registry in (FUNCTION_CLASSES, INPUTS):
            registry.set_tables(registry.without_plugins())
    found = {number: load_run(configs[number][0], plugin_hashes=configs[number][1]) for number in order}
    for number, run in found.items():
        function_class = run.experiment.function_classes[0]
        assert isinstance(function_class, FunctionClass)
        assert factor(run) == number
        task = Task(function_class, run.experiment.inputs[0], 2)
        assert task.reference_inputs().squared_norm(2) == 2 * number**2  # type: ignore[attr-defined]
    # The name itself means the first of them.
    assert FUNCTION_CLASSES.get("scaled") is type(found[order[0]].experiment.function_classes[0])


def test_an_experiment_knows_the_plugins_that_it_names_and_no_others(tmp_path: Path) -> None:
    load_plugin(plugin_folder(tmp_path / "one", {}, scaled(imports="FACTOR = 3.0")))
    with pytest.raises(UserError, match="unknown function class 'scaled'"):
        one_run(tmp_path, [])
    plugin_folder(tmp_path / "two", {}, scaled(imports="FACTOR = 5.0"))
    assert factor(one_run(tmp_path, ["two/mine.py"])) == 5
    with pytest.raises(UserError, match=r"'scaled' is registered twice: in .*one/mine\.py and in .*two/mine\.py"):
        one_run(tmp_path, ["one/mine.py", "two/mine.py"])
    assert factor(one_run(tmp_path, ["one/mine.py"])) == 3
    assert FUNCTION_CLASSES.build("linear").id == "linear"


def test_an_installed_package_that_changed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "installed_scaled.py"
    module.write_text(scaled(imports="FACTOR = 3.0"))
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("installed_scaled")
    run = one_run(tmp_path, [])
    config = written(run, tmp_path / "run")
    assert load_run(config, plugin_hashes=run.plugin_hashes).hash() == run.hash()
    module.write_text(module.read_text() + "# another version\n")
    with pytest.raises(UserError, match=r"the code of 'scaled' \(.*installed_scaled\.py\) has changed since the run"):
        load_run(config, plugin_hashes=run.plugin_hashes)
