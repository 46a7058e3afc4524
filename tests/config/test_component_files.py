"""A plugin file in the place of a component's name: the same as the file in ``plugins`` and the name it registers."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Icl, tables, tiny_values, write_toml

from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import load
from icl_curriculum.core import registry
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import named_as_on_the_command_line
from icl_curriculum.runs.execution import directory_of, execute

pytestmark = pytest.mark.usefixtures("fresh_registries")

MODEL = '''
import torch
from pydantic import Field
from torch import nn
import icl_curriculum as icl


class LastLabel{Name}(icl.Model):
    def __init__(self, width, generator):
        super().__init__()
        self.max_points = 1000
        self.factors = nn.Parameter(torch.randn(width, generator=generator))

    def forward(self, xs, ys, queries=None):
        before = torch.cat([torch.zeros_like(ys[:, :1]), ys[:, :-1]], dim=1)
        return before * self.factors.mean()


@icl.register_model("{name}")
class LastLabel{Name}Config(icl.ModelConfig):
    """The last label, times a mean."""

    width: int = Field(4, ge=1, description="numbers whose mean it is")
    depth: int = Field(1, ge=1, description="nothing but a second field")

    def build(self, *, dims, points, generator):
        return LastLabel{Name}(self.width, generator)

    def longest_prompt(self, points):
        return 1000
'''

CUBES = '''
import icl_curriculum as icl


@icl.register_function_class("cubes")
class Cubes(icl.FunctionClass):
    """The sum of cubes, times a number."""

    def sample(self, n, dims, generator):
        import torch
        return {"w": torch.randn(n, generator=generator)}

    def evaluate(self, parameters, xs):
        return (xs**3).sum(dim=-1) * parameters["w"].unsqueeze(1)

    def trivial_error(self, dims):
        return 15.0 * dims
'''


def model_file(name: str) -> str:
    return MODEL.replace("{name}", name).replace("{Name}", name.title().replace("_", ""))


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a folder ``lab`` of plugins."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "mine.py").write_text(model_file("last_label"))
    (folder / "two.py").write_text(model_file("small") + model_file("large"))
    (folder / "imports.py").write_text(f"import mine\n{model_file('other')}")
    (folder / "cubes.py").write_text(CUBES)
    (folder / "nothing.py").write_text("width = 3\n")
    (folder / "broken.py").write_text("1 / 0\n")
    return folder


def runs(changes: dict[str, Any], **options: Any) -> list[Run]:
    write_toml(Path("my.toml"), tiny_values({"model": {}, **changes}))
    return load("my.toml", **options)


def alike(found: list[Run], wanted: list[Run]) -> None:
    """The runs are the same in all that decides them and all that is written of them."""
    assert [run.variant for run in found] == [run.variant for run in wanted]
    assert [run.hash() for run in found] == [run.hash() for run in wanted]
    assert [run.config() for run in found] == [run.config() for run in wanted]
    assert [run.plugin_copies() for run in found] == [run.plugin_copies() for run in wanted]
    assert [run.plugin_hashes for run in found] == [run.plugin_hashes for run in wanted]


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(registry).failed == 0


PLUGIN = {"plugins": ["lab/mine.py"]}


@pytest.mark.parametrize(
    ("with_files", "spelt_out"),
    [
        ({"model": "lab/mine.py"}, {"model": "last_label", **PLUGIN}),
        ({"model": "lab/mine.py:last_label"}, {"model": "last_label", **PLUGIN}),
        (
            {"model": {"name": "lab/mine.py", "width": 32}},
            {"model": {"name": "last_label", "width": 32}, **PLUGIN},
        ),
        (
            {"variants": {"mine": {"model": "lab/mine.py"}, "wide": {"model": {"name": "lab/mine.py", "width": 9}}}},
            {
                "variants": {"mine": {"model": "last_label"}, "wide": {"model": {"name": "last_label", "width": 9}}},
                **PLUGIN,
            },
        ),
        (
            {"sweep": {"model": ["lab/mine.py", "deep_sets", {"name": "lab/mine.py", "width": 2}]}},
            {"sweep": {"model": ["last_label", "deep_sets", {"name": "last_label", "width": 2}]}, **PLUGIN},
        ),
        (
            {"sweep": {"model.name": ["lab/mine.py", "deep_sets"]}},
            {"sweep": {"model.name": ["last_label", "deep_sets"]}, **PLUGIN},
        ),
        (
            {"function_classes": ["linear", "lab/cubes.py"], "model": "lab/mine.py", "plugins": ["lab/nothing.py"]},
            {
                "function_classes": ["linear", "cubes"], "model": "last_label",
                "plugins": ["lab/nothing.py", "lab/mine.py", "lab/cubes.py"],
            },
        ),
    ],
    ids=["name", "chosen", "parameters", "variants", "swept", "swept-names", "other-keys"],
)  # fmt: skip
def test_a_file_is_the_same_as_its_plugin_and_name(with_files: dict[str, Any], spelt_out: dict[str, Any]) -> None:
    found = runs(with_files)
    alike(found, runs(spelt_out))
    # In Python, of a dict.
    own = tiny_values({"model": {}, **with_files})
    alike(load({"name": "my", **own}), found)


def test_options_are_seen_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = runs({"model": {"name": "last_label", "width": 7}, **PLUGIN})
    swept = runs({"sweep": {"model": ["last_label", "deep_sets"]}, **PLUGIN})
    runs({})
    monkeypatch.chdir(tmp_path / "lab")
    alike(load("../my.toml", overrides=["model=mine.py", "model.width=7"]), wanted)
    alike(load("../my.toml", overrides=["model.name=mine.py", "model.width=7"]), wanted)
    alike(load("../my.toml", sweep={"model": ["mine.py", "deep_sets"]}), swept)
    alike(load("../my.toml", sweep={"model": [Path("mine.py"), "deep_sets"]}), swept)


def test_a_file_that_extends_another_finds_what_each_names_beside_itself(tmp_path: Path, lab: Path) -> None:
    write_toml(lab / "base.toml", tiny_values({"model": {"name": "mine.py", "width": 5, "depth": 2}}))
    (tmp_path / "child.toml").write_text(
        'extends = "lab/base.toml"\n[variants]\nown = { model = { width = 6 } }\n'
        'same = { model = { name = "lab/mine.py", width = 7 } }\nnamed = { model = { name = "last_label" } }\n'
        'another = { model = "lab/two.py:small" }\n'
    )
    found = {run.variant: run for run in load("child.toml")}
    said = {name: run.experiment.model.spec() for name, run in found.items()}
    assert {name: (model["name"], model["width"], model["depth"]) for name, model in said.items()} == {
        "own": ("last_label", 6, 2), "same": ("last_label", 7, 2), "named": ("last_label", 5, 2),
        "another": ("small", 4, 1),
    }  # fmt: skip
    assert found["own"].experiment.plugins == (str(lab / "mine.py"), str(lab / "two.py"))


def test_a_file_that_imports_another_stands_for_its_own_model() -> None:
    (run,) = runs({"model": "lab/imports.py"})
    assert run.experiment.model.name == "other"


def test_a_run_of_a_file_leaves_the_bytes_of_the_other_spelling(tmp_path: Path) -> None:
    written = []
    for folder, changes in (("files", {"model": "lab/mine.py"}), ("names", {"model": "last_label", **PLUGIN})):
        (run,) = runs(changes)
        execute(run, tmp_path / folder)
        directory = directory_of(run, tmp_path / folder).path
        copies = {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*.py")}
        weights = {path.name: path.read_bytes() for path in directory.glob("*.safetensors")}
        written.append(tables(directory) | weights | copies | {"config": (directory / "config.toml").read_bytes()})
    assert written[0] == written[1]
    assert {"evaluation.csv", "model.safetensors", "plugins/mine.py"} <= written[0].keys()


MISTAKES: dict[str, tuple[Any, str]] = {
    "missing": ("lab/mien.py", "plugin file lab/mien.py does not exist; did you mean 'mine.py'?"),
    "no folder": ("lob/mine.py", "plugin file lob/mine.py does not exist"),
    "a folder": ("lab/folder.py", "plugin file lab/folder.py is no file"),
    "no model": ("lab/cubes.py", "cubes.py registers no model; it registers function class 'cubes'"),
    "nothing": ("lab/nothing.py", "nothing.py registers no model; it registers nothing: see docs/extending.md"),
    "several": (
        "lab/two.py",
        "two.py registers more than one model: large, small; say which: 'lab/two.py:large' or 'lab/two.py:small'",
    ),
    "not among them": ("lab/two.py:smal", "two.py registers no model 'smal'; did you mean 'small'?"),
    "no name": ("lab/two.py:", "two.py registers no model ''; known: large, small"),
    "broken": ("lab/broken.py", "broken.py failed to import: ZeroDivisionError: division by zero (broken.py, line 1)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_one_message_that_names_the_key(mistake: str, lab: Path) -> None:
    (lab / "folder.py").mkdir()
    text, words = MISTAKES[mistake]
    for changes, key in (
        ({"model": text}, "model"),
        ({"model": {"name": text, "width": 3}}, "model"),
        ({"variants": {"mine": {"model": text}}}, "variants.mine.model"),
        ({"sweep": {"model.name": ["transformer", text]}}, 'sweep."model.name"'),
    ):
        with pytest.raises(UserError) as caught:
            runs(changes)
        assert str(caught.value).startswith(f"my.toml: {key}: plugin file " if "plugin" in words else f"my.toml: {key}")
        assert str(caught.value).endswith(words)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"^overrides 'model=") as caught:
        runs({}, overrides=[f"model={text}"])
    assert str(caught.value).endswith(words)
    with named_as_on_the_command_line(), pytest.raises(UserError, match=r"^--sweep model: ") as caught:
        runs({}, sweep={"model": [text, "transformer"]})
    assert str(caught.value).endswith(words)


def test_several_mistakes_are_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        runs({"model": "lab/mien.py", "variants": {"mine": {"model": "lab/cubes.py"}}})
    assert [mistake.key for mistake in caught.value.mistakes] == ["model", "variants.mine.model"]


def test_where_no_file_can_stand_it_says_so() -> None:
    with pytest.raises(UserError, match="name the file in plugins, and what it registers by its own name"):
        runs({"function_classes": [{"name": "linear", "observation": "lab/mine.py"}]})


def test_on_the_command_line_a_missing_file_is_one_message(icl: Icl) -> None:
    write_toml(Path("my.toml"), tiny_values({"model": {}}))
    code, shown, told = icl("show", "my.toml", "--set", "model=lab/mien.py")
    assert (code, shown) == (2, "")
    assert told == (
        "error: --set model=lab/mien.py: model: plugin file lab/mien.py does not exist; did you mean 'mine.py'?\n"
    )
    code, shown, _ = icl("show", "my.toml", "--set", "model=lab/mine.py")
    assert code == 0
    assert 'name = "last_label"' in shown
