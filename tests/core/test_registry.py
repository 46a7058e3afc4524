"""The registry: names, ids, errors, plugin files and entry points."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field, ValidationError

from icl_curriculum.core import plugin_files, plugins
from icl_curriculum.core.component import Component
from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.plugin_files import copy_names
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.registry import FUNCTION_CLASSES, INPUTS, KINDS, Registry
from icl_curriculum.function_classes import Linear


class Animal(Component):
    """An animal.

    Not needed here.
    """

    id_fields: ClassVar[tuple[str, ...]] = ("legs",)

    legs: int = Field(4, ge=0, description="how many")
    weight: float = Field(1.0, description="kilograms")
    colour: str = Field("grey", description="of the fur")


@pytest.fixture
def animals() -> Registry:
    """A registry of its own, with nothing built in."""
    registry = Registry("animal", "animals", "inputs")
    registry.register("mouse")(Animal)
    return registry


# Names


def test_did_you_mean_names_the_closest_or_else_all() -> None:
    assert did_you_mean("liner", ["sparse", "linear"]) == "; did you mean 'linear'?"
    assert did_you_mean("xyz", ["b", "a"]) == "; known: a, b"
    assert did_you_mean("xyz", []) == ""


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        ("function_classes", "quadratics", r"unknown function class 'quadratics'; did you mean 'quadratic'\?"),
        ("inputs", "student-t", r"unknown input distribution 'student-t'; did you mean 'student_t'\?"),
        ("shifts", "random_quadrant", r"unknown shift 'random_quadrant'; did you mean 'random_quadrants'\?"),
        ("curricula", "sequental", r"unknown curriculum 'sequental'; did you mean 'sequential'\?"),
        ("baselines", "last_squares", r"unknown baseline 'last_squares'; did you mean 'least_squares'\?"),
        ("models", "transfomer", r"unknown model 'transfomer'; did you mean 'transformer'\?"),
        ("methods", "incontext", r"unknown training method 'incontext'; did you mean 'in_context'\?"),
        ("inputs", "zzz", r"unknown input distribution 'zzz'; known: .*gaussian.*student_t"),
    ],
)
def test_an_unknown_name_is_an_error_with_a_suggestion(kind: str, wrong: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        KINDS[kind].build(wrong)


@pytest.mark.parametrize("spec", [{"degree": 2}, {"name": 3}, 3, ["linear"]])
def test_what_is_neither_name_nor_table_is_an_error(spec: Any) -> None:
    with pytest.raises(UserError, match="a function class is a name or a table with a 'name', found"):
        FUNCTION_CLASSES.build(spec)


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ({"name": "hermite", "degre": 2}, "degre"),
        ({"name": "hermite", "degree": 9}, "degree"),
        ({"name": "hermite", "degree": "2"}, "degree"),
        ({"name": "hermite", "degree": 2.0}, "degree"),
    ],
    ids=["unknown key", "out of range", "a string", "a float"],
)
def test_parameters_are_checked_strictly(spec: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        FUNCTION_CLASSES.build(spec)


def test_a_component_is_passed_through_and_cannot_be_changed(animals: Registry) -> None:
    mouse = animals.build("mouse")
    assert animals.build(mouse) is mouse
    with pytest.raises(ValidationError, match="frozen"):
        mouse.legs = 3  # type: ignore[attr-defined]


def test_a_second_registration_names_both_origins(animals: Registry) -> None:
    class Other(Animal):
        pass

    with pytest.raises(UserError, match=r"animal 'mouse' is registered twice: in .*test_registry.py and in .*rename"):
        animals.register("mouse")(Other)
    assert animals.get("mouse") is Animal


def test_origin_of_what_is_built_in() -> None:
    assert FUNCTION_CLASSES.origin("linear") == "built in"
    with pytest.raises(UserError, match="did you mean 'linear'"):
        FUNCTION_CLASSES.origin("lineer")


def test_summary_is_the_first_line_of_the_docstring() -> None:
    assert Animal.summary() == "An animal."


# Ids and specs


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("mouse", "mouse/4"),
        ({"name": "mouse", "legs": 3}, "mouse/3"),
        ({"name": "mouse", "weight": 1 / 3}, "mouse/4/weight=0.333"),
        ({"name": "mouse", "weight": 2.0, "colour": "red"}, "mouse/4/weight=2/colour=red"),
        ({"name": "mouse", "id": "Jerry", "legs": 2}, "Jerry"),
    ],
)
def test_ids_tell_parameters_apart(animals: Registry, spec: str | dict[str, Any], expected: str) -> None:
    assert animals.build(spec).id == expected


SPECS: list[tuple[str, str | dict[str, Any], str]] = [
    ("function_classes", "linear", "linear"),
    ("function_classes", {"name": "hermite", "degree": 3}, "hermite/3"),
    ("function_classes", {"name": "hermite", "weights": "gaussian"}, "hermite/2/weights=gaussian"),
    ("function_classes", {"name": "sparse_linear", "sparsity": 2}, "sparse_linear/sparsity=2"),
    ("function_classes", {"name": "linear", "label_noise": 0.5}, "linear/label_noise=0.5"),
    ("function_classes", {"name": "relu_network", "hidden": 20, "id": "small"}, "small"),
    ("inputs", "student_t", "student_t"),
    ("inputs", {"name": "student_t", "df": 10.0}, "student_t/df=10"),
    ("inputs", {"name": "skewed", "basis": "shared"}, "skewed/basis=shared"),
    ("shifts", {"name": "scaled_inputs", "factor": 1 / 3}, "scaled_inputs/0.333"),
    ("shifts", "label_noise", "label_noise/0.5"),
    ("shifts", "longer_prompts", "longer_prompts/2"),
    ("curricula", {"name": "single", "only": "linear"}, "single/linear"),
    ("curricula", "single", "single"),
    ("curricula", "mixed", "mixed"),
    ("baselines", "ridge", "ridge"),
    ("baselines", {"name": "ridge", "penalty": 0.1}, "ridge/penalty=0.1"),
    ("baselines", {"name": "knn", "weights": "distance"}, "knn/weights=distance"),
]


@pytest.mark.parametrize(("kind", "spec", "expected"), SPECS, ids=[expected for _, _, expected in SPECS])
def test_ids_of_what_is_built_in(kind: str, spec: str | dict[str, Any], expected: str) -> None:
    assert KINDS[kind].build(spec).id == expected


@pytest.mark.parametrize(("kind", "spec", "expected"), SPECS, ids=[expected for _, _, expected in SPECS])
def test_a_component_s_spec_builds_it_again(kind: str, spec: str | dict[str, Any], expected: str) -> None:
    component = KINDS[kind].build(spec)
    again = KINDS[kind].build(component.spec())
    assert again == component
    assert again.id == expected
    if isinstance(spec, dict):
        assert spec.items() <= component.spec().items()


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in KINDS[kind].names()])
def test_every_component_and_field_says_what_it_is(kind: str, name: str) -> None:
    component = KINDS[kind].get(name)
    assert len(component.summary()) > 10
    assert not component.summary().startswith("A registered, configurable piece")
    for key, field in component.model_fields.items():
        assert field.description, f"{name}.{key} has no description"


# Plugin files

PLUGIN = '''
"""A constant function class."""

from icl_curriculum import FunctionClass, register_function_class


@register_function_class("{name}")
class Constant(FunctionClass):
    """f(x) = c."""

    def sample(self, n, dims, generator):
        return {{}}

    def evaluate(self, parameters, xs):
        return xs[:, :, 0] * 0 + 1

    def trivial_error(self, dims):
        return 1.0
'''


def plugin(folder: Path, file: str = "mine.py", name: str = "constant") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / file
    path.write_text(PLUGIN.format(name=name))
    return path


pytestmark = pytest.mark.usefixtures("fresh_registries")


def test_a_plugin_file_adds_its_components(tmp_path: Path) -> None:
    assert "constant" not in FUNCTION_CLASSES.names()
    path = plugin(tmp_path)
    load_plugin(path)
    assert FUNCTION_CLASSES.build("constant").id == "constant"
    assert "constant" in FUNCTION_CLASSES.names()
    assert FUNCTION_CLASSES.origin("constant") == str(path)


def test_loading_a_plugin_file_twice_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_plugin(plugin(tmp_path))
    first = FUNCTION_CLASSES.get("constant")
    monkeypatch.chdir(tmp_path)
    load_plugin(Path("mine.py"))
    assert FUNCTION_CLASSES.get("constant") is first


def test_a_run_directory_s_copy_of_a_loaded_plugin_is_harmless(tmp_path: Path) -> None:
    """Train with a plugin and load the model in the same process: the same content, at another path."""
    load_plugin(plugin(tmp_path / "here"))
    load_plugin(plugin(tmp_path / "copy"))
    assert FUNCTION_CLASSES.build("constant").id == "constant"


def test_two_plugin_files_of_one_name_are_two_plugins(tmp_path: Path) -> None:
    load_plugin(plugin(tmp_path / "one", name="constant"))
    load_plugin(plugin(tmp_path / "other", name="other_constant"))
    assert {"constant", "other_constant"} <= set(FUNCTION_CLASSES.names())


def test_plugins_that_register_one_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    one, other = plugin(tmp_path, "one.py"), plugin(tmp_path, "other.py")
    other.write_text(other.read_text().replace("+ 1", "+ 2"))
    load_plugin(one)
    with pytest.raises(UserError, match=r"'constant' is registered twice: in .*one\.py and in .*other\.py"):
        load_plugin(other)
    assert FUNCTION_CLASSES.origin("constant") == str(one)


def test_a_plugin_cannot_replace_what_is_built_in(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'linear' is registered twice: in built in and in .*mine\.py"):
        load_plugin(plugin(tmp_path, name="linear"))
    assert FUNCTION_CLASSES.origin("linear") == "built in"


def test_a_plugin_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"plugin file .*none\.py does not exist"):
        load_plugin(tmp_path / "none.py")


def test_a_plugin_file_that_is_no_python_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"notes\.txt is not a Python file"):
        load_plugin(plugin(tmp_path, "notes.txt"))


@pytest.mark.parametrize(
    ("content", "message"),
    [("import nothing_of_this_name", "ModuleNotFoundError: .*nothing_of_this_name"), ("x = ", "SyntaxError")],
)
def test_a_plugin_file_that_fails_says_why_and_may_be_mended(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(content)
    for _ in range(2):
        with pytest.raises(UserError, match=rf"mine\.py failed to import: {message}"):
            load_plugin(path)
    load_plugin(plugin(tmp_path))
    assert FUNCTION_CLASSES.origin("constant") == str(path)


def test_a_plugin_file_that_fails_leaves_nothing_registered(tmp_path: Path) -> None:
    path = plugin(tmp_path)
    path.write_text(path.read_text() + "\nraise ValueError('later')\n")
    with pytest.raises(UserError, match=r"mine\.py failed to import: ValueError: later"):
        load_plugin(path)
    assert "constant" not in FUNCTION_CLASSES.names()


def test_a_plugin_file_is_executed_as_it_is_and_leaves_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own import would take the cache of the first for the second: same size, same time."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = plugin(tmp_path, name="constant")
    load_plugin(path)
    before = path.stat()
    path.write_text(path.read_text().replace('"constant"', '"changed_"'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    load_plugin(path)
    assert FUNCTION_CLASSES.build("changed_").id == "changed_"
    assert [file.name for file in tmp_path.iterdir()] == ["mine.py"]


def test_what_was_hashed_is_what_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file changes as soon as it was read."""
    path = plugin(tmp_path)
    text = path.read_text() + "content = 'the first'\n"
    path.write_text(text)
    hash_of = plugin_files.content_hash

    def changing(content: bytes) -> str:
        path.write_text(text.replace("first", "second"))
        return hash_of(content)

    monkeypatch.setattr(plugin_files, "content_hash", changing)
    digest = load_plugin(path)
    assert plugins.defined_in_module(digest)["content"] == "the first"
    assert plugins.copies_of(["mine.py"], [digest]) == {"mine.py": text.encode()}


def test_a_plugin_file_edited_and_loaded_again_says_what_to_do(tmp_path: Path) -> None:
    path = plugin(tmp_path)
    load_plugin(path)
    path.write_text(path.read_text() + "# edited\n")
    with pytest.raises(UserError, match=r"'constant' of .*mine.py was loaded before with another content; start"):
        load_plugin(path)


def test_copies_of_plugin_files_have_names_of_their_own() -> None:
    assert copy_names(["a/mine.py", "b/yours.py"]) == ["mine.py", "yours.py"]
    assert copy_names(["a/mine.py", "b/mine.py", "c/0-mine.py"]) == ["0-mine.py", "1-mine.py", "2-0-mine.py"]


# Entry points

GROUP = "icl_curriculum.function_classes"


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, modules: dict[str, str], *points: tuple[str, str]) -> None:
    """Pretend that a package with these modules and entry points (name, value) for function classes is installed."""
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))
    installed = [EntryPoint(name, value, GROUP) for name, value in points]
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda *, group: [point for point in installed if point.group == group]
    )


def undecorated(name: str) -> str:
    return PLUGIN.format(name=name).replace(f'@register_function_class("{name}")', "")


def test_entry_points_load_only_when_their_name_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, {"installed_one": PLUGIN.format(name="lazy")}, ("lazy", "installed_one:Constant"))
    assert "lazy" in FUNCTION_CLASSES.names()
    FUNCTION_CLASSES.build("linear")
    with pytest.raises(UserError, match="did you mean 'lazy'"):
        FUNCTION_CLASSES.build("lzy")
    assert "installed_one" not in sys.modules
    assert FUNCTION_CLASSES.build("lazy").id == "lazy"
    assert FUNCTION_CLASSES.origin("lazy") == str(tmp_path / "installed_one.py")
    assert "lazy" not in INPUTS.names()


def test_an_entry_point_may_name_a_class_without_decorator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, {"installed_plain": undecorated("plain")}, ("plain", "installed_plain:Constant"))
    assert FUNCTION_CLASSES.build("plain").id == "plain"
    assert FUNCTION_CLASSES.origin("plain") == str(tmp_path / "installed_plain.py")


def test_two_entry_points_of_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(
        monkeypatch,
        tmp_path,
        {"installed_one": undecorated("twin"), "installed_two": undecorated("twin")},
        ("twin", "installed_one:Constant"),
        ("twin", "installed_two:Constant"),
    )
    with pytest.raises(UserError, match=r"'twin' is registered twice: in .*installed_one.* and in .*installed_two"):
        FUNCTION_CLASSES.build("twin")


def test_an_entry_point_cannot_take_the_name_of_what_is_built_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, {"installed_one": undecorated("linear")}, ("linear", "installed_one:Constant"))
    registry = Registry("function class", "function_classes", "function_classes")
    registry.register("linear")(Linear)
    with pytest.raises(UserError, match=r"'linear' is registered twice: in built in and in .*installed_one"):
        registry.build("linear")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("registers_nothing", "installed_empty", "installed_empty"),
        ("no_such_class", "installed_empty:Missing", "Missing"),
        ("no_such_module", "installed_nowhere", "installed_nowhere"),
    ],
)
def test_an_entry_point_that_cannot_be_used_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, reason: str
) -> None:
    """And does not suggest the very name that was asked for."""
    install(monkeypatch, tmp_path, {"installed_empty": "x = 1\n"}, (name, value))
    with pytest.raises(UserError, match=reason) as caught:
        FUNCTION_CLASSES.build(name)
    assert f"did you mean {name!r}" not in str(caught.value)


@pytest.mark.parametrize("name", ["first", "second"])
@pytest.mark.parametrize("ending", ["import nowhere", "raise SystemExit(7)"])
def test_a_module_that_registers_and_then_fails_says_why_for_each_of_its_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, ending: str
) -> None:
    source = PLUGIN.format(name="first") + PLUGIN.format(name="second") + ending
    points = [("first", "installed_half:Constant"), ("second", "installed_half:Constant")]
    install(monkeypatch, tmp_path, {"installed_half": source}, *points)
    for _ in range(2):
        with pytest.raises(UserError, match=r"failed to load: (ModuleNotFoundError: .*nowhere|SystemExit: 7)"):
            FUNCTION_CLASSES.build(name)
    assert "first" not in FUNCTION_CLASSES._classes
