"""Experiment files with mistakes: one clear message that names the file and the key, exit code 2, nothing written."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from mistaken import PLUGIN, VALID, Answer, files, icl, spoiled, steady
from tiny_runs import tiny_values

from icl_curriculum.config.experiment import Experiment
from icl_curriculum.config.loading import load
from icl_curriculum.core.errors import LONGEST, MOST, UserError

FILE = Path("my.toml")


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("mistakes"))
    Path("my_plugin.py").write_text(PLUGIN)
    yield
    os.chdir(before)


def shown(content: bytes) -> Answer:
    """``icl show`` of a file, which leaves the folder as it was."""
    FILE.write_bytes(content)
    before = files(Path())
    answer = icl("show", "my.toml")
    assert files(Path()) == before
    assert answer.code in (0, 2), answer.err
    if answer.code == 0:
        assert answer.err == ""
    else:
        assert answer.out == ""
        assert answer.err.startswith("error: my.toml"), answer.err
        assert "Traceback" not in answer.err
        lines = answer.err.splitlines()
        assert len(lines) <= MOST + 1
        assert max(map(len, lines)) <= LONGEST + len("error:  … ")
    return answer


@pytest.mark.parametrize("values", VALID)
def test_the_experiments_that_the_tests_spoil_are_valid(values: dict[str, Any]) -> None:
    assert shown(tomli_w.dumps(values).encode()).code == 0


@given(values=spoiled())
@settings(steady, max_examples=150)
def test_a_spoiled_experiment_is_shown_or_its_key_is_named(values: dict[str, Any]) -> None:
    answer = shown(tomli_w.dumps(values).encode())
    if answer.code == 0:
        assert "variants" in values or "variants" in answer.out or tomllib.loads(answer.out)["name"]
        return
    for line in answer.err.removeprefix("error: ").splitlines():
        found = re.match(r"my\.toml(?:, variant '[^']*')?(?:, sweep\.[^:]*)?: ('(?:[^']|\\')*'|[^\s:.]+)[.: ]", line)
        assert found, line
        key = found[1]
        assert key.strip("'") in {*Experiment.model_fields, "extends"} or key[:20].strip("'") in tomli_w.dumps(values)


@given(data=st.data())
@settings(steady, max_examples=150)
def test_a_damaged_file_is_shown_or_named(data: st.DataObject) -> None:
    text = tomli_w.dumps(data.draw(st.sampled_from(VALID))).encode()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.one_of(st.just(start), st.just(len(text)), st.integers(start, len(text))))
    junk = data.draw(
        st.one_of(
            st.binary(max_size=8),
            st.sampled_from([b"", b"\xff", b"\x00", b"\xef\xbb\xbf", b"[", b"=", b'"', b"[[model]]\n", b"9" * 5000]),
        )
    )
    answer = shown(text[:start] + junk + text[end:])
    if answer.code == 2:
        assert re.match(r"error: my\.toml(, variant '[^']*')?(, sweep\.[^:]*)?: \S", answer.err)


# What was once let through, or said badly

LONG = "x" * 3000

REFUSED: dict[str, tuple[str, str]] = {
    # Numbers
    "infinite rate": ("training.optimizer.learning_rate = inf", "expected less than or equal to 1000000, found inf"),
    "infinite rate of muon": ("training.optimizer.muon_learning_rate = inf", "expected less than or equal to 1000000"),
    "rate beyond float32": ("training.optimizer.muon_learning_rate = 1e300", "expected less than or equal to 1000000"),
    "infinite decay": ("training.optimizer.weight_decay = inf", "expected less than or equal to 1000000, found inf"),
    "infinite positions": ("model.position_scale = inf", "expected less than or equal to 1000000, found inf"),
    "infinitely light tails": (
        'inputs = [{ name = "student_t", df = inf }]',
        "inputs.0.df: expected less than or equal to 1000000, found inf",
    ),
    "tails beyond float32": (
        'inputs = [{ name = "student_t", df = 0.1 }]',
        "inputs.0.df: expected greater than or equal to 0.5, found 0.1",
    ),
    "infinite scale": (
        'evaluation.shifts = [{ name = "scaled_inputs", factor = inf }]',
        "evaluation.shifts.0.factor: expected less than or equal to 1000000, found inf",
    ),
    "no scale at all": (
        'evaluation.shifts = [{ name = "scaled_inputs", factor = 1e-300 }]',
        "evaluation.shifts.0.factor: expected greater than or equal to 0.000001, found 1e-300",
    ),
    "infinitely long prompts": (
        'evaluation.shifts = [{ name = "longer_prompts", factor = inf }]',
        "evaluation.shifts.0.factor: expected less than or equal to 1000000, found inf",
    ),
    "infinite noise of a shift": (
        'evaluation.shifts = [{ name = "label_noise", level = inf }]',
        "evaluation.shifts.0.level: expected less than or equal to 1000000, found inf",
    ),
    "infinite noise of a class": (
        'function_classes = ["quadratic", { name = "linear", label_noise = inf }]',
        "function_classes.1.label_noise: expected a finite number, found inf",
    ),
    "not a number": ("training.clip = nan", "training.clip: expected a number, found nan"),
    "not a number in a list": (
        'evaluation.baselines = [{ name = "ridge", penalty = nan }]',
        "evaluation.baselines.0.penalty: expected a number, found nan",
    ),
    "more than 64 bits": (f"training.steps = {2**63}", f"expected a whole number of at most 64 bits, found {2**63}"),
    "thousands of digits": (f"dims = {'9' * 5000}", "not a valid TOML file: it holds a number of thousands of digits"),
    "too many dimensions": ("dims = 1000001", "dims: expected less than or equal to 1000000, found 1000001"),
    "too many points": ("points = 1000001", "points: expected less than or equal to 1000000"),
    "too many prompts in a batch": ("training.batch_size = 1000001", "expected less than or equal to 1000000"),
    "too many prompts in a bank": ("evaluation.n_prompts = 1000001", "expected less than or equal to 1000000"),
    "too many prompts while learning": ("evaluation.learning_prompts = 1000001", "less than or equal to 1000000"),
    "too many threads": ("threads = 1025", "threads: expected less than or equal to 1024, found 1025"),
    "too wide": ("model.width = 65538", "model.width: expected less than or equal to 65536, found 65538"),
    "too many layers": ("model.layers = 1025", "model.layers: expected less than or equal to 1024, found 1025"),
    "too wide an MLP": ("model.mlp_ratio = 1025", "model.mlp_ratio: expected less than or equal to 1024, found 1025"),
    "too many positions": ("model.max_points = 1000001", "model.max_points: expected less than or equal to 1000000"),
    "no example": ("points = 1", "points: expected greater than or equal to 2, found 1"),
    # Shapes of values
    "a missing item": ("training.optimizer.betas = [0.5]", "training.optimizer.betas.1: required, but missing"),
    "a date": ("dims = 2020-01-01", "dims: expected a valid integer, found 2020-01-01"),
    "a date in a table": ("dims = { a = 2020-01-01 }", "dims: expected a valid integer, found {'a': 2020-01-01}"),
    "a deep list": (f"dims = {'[' * 40}{']' * 40}", "dims.0.0: expected tables at most 16 deep, found more"),
    "a list too deep to read": (f"dims = {'[' * 5000}", "not a valid TOML file: it holds a number of thousands"),
    "a deep table": (f"model.{'a.' * 900}b = 1", "model.a.a: expected tables at most 16 deep, found more"),
    # Text
    "long text": (f'dims = "{LONG}"', f"dims: expected a valid integer, found '{'x' * 47}...{'x' * 48}'\n"),
    "a long list": (f"dims = {[0] * 5000}", "found [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...]\n"),
    "a long name of a component": (f'model = "{LONG}"', "xxx … xxx"),
    "an empty id": (
        'function_classes = [{ name = "linear", id = "" }]',
        "function_classes.0.id: expected at least 1 character, found ''",
    ),
    "an id of two lines": (
        'function_classes = [{ name = "linear", id = "a\\nb" }]',
        "function_classes.0.id: expected text that matches '^[^\\r\\n]*$', found 'a\\nb'",
    ),
    "an id of control characters": (
        'function_classes = [{ name = "linear", id = "a\\u0000b" }]',
        "function_classes: the id 'a\\x00b' holds characters that no table or figure can show",
    ),
    "a curriculum's id of control characters": (
        'curriculum.function_classes = { name = "mixed", id = "\\u0000" }',
        "curriculum.function_classes: the id '\\x00' holds characters that no table or figure can show",
    ),
    "a curriculum's long id": (
        f'curriculum.function_classes = {{ name = "mixed", id = "{LONG}" }}',
        f"curriculum.function_classes.id: '{'x' * 40}'... is too long for the name of a folder",
    ),
    "a long name": (f'name = "{"x" * 181}"', "is too long for the name of a folder; expected at most 180 characters"),
    "a long variant": (f"variants.{'x' * 181}.dims = 3", "variants: 'xxxxx"),
    "a variant of letters that count": (f'variants."{"é" * 31}".dims = 3', "is too long for the name of a folder"),
    # Keys
    "an empty key": ('"" = 3', "my.toml: '': unknown key; known: "),
    "a dotted key in quotes": ('"training.steps" = 3', "my.toml: 'training.steps': unknown key; did you mean"),
    "a key of two lines": ('"a\\nb" = 3', r"my.toml: 'a\nb': unknown key"),
    "a long key": (f"{LONG} = 3", f"my.toml: '{'x' * 47}...{'x' * 48}': unknown key"),
    # Files
    "a plugin that is missing": ('plugins = ["nowhere.py"]', "plugins.0: plugin file nowhere.py does not exist"),
    "a plugin that is a folder": ('plugins = ["my_plugin.py", "."]', "plugins.1: plugin file . does not exist"),
    "a plugin that fails": ('plugins = ["broken.py"]', "my.toml: plugins.0: plugin file "),
    "a plugin that can be no path": ('plugins = ["\\u0000"]', "plugins.0: plugin file '\\x00' does not exist"),
    "a parent that can be no path": ('extends = "\\u0000"', "extends: '\\x00' is neither beside this file nor"),
    "a parent with a long name": (f'extends = "{LONG}"', "extends: 'xxx"),
    "a parent without a name": ('extends = ""', "extends: '' is neither beside this file nor in the package"),
    "a parent that is no text": ("extends = 2020-01-01", "extends: expected a file name, found 2020-01-01"),
    "plugins that are a date": ("plugins = 2020-01-01", "plugins: expected a list of file names, found 2020-01-01"),
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_work_is_refused_by_its_key(text: str, expected: str) -> None:
    Path("broken.py").write_text("undefined")
    answer = shown(text.encode())
    assert answer.code == 2
    assert expected in answer.err, answer.err
    assert answer.err.count("\n") == 1


def test_of_many_mistakes_the_first_are_shown() -> None:
    answer = shown("\n".join(f"key_{number} = 1" for number in range(500)).encode())
    assert answer.err.count("unknown key") == MOST
    assert answer.err.endswith(f"my.toml: and {500 - MOST} more\n")


@pytest.mark.parametrize(
    "text",
    ["dims = 1000000", "points = 1000000", f"seeds = [{2**63 - 1}]", "threads = 1024", "training.clip = inf",
     "training.divergence = inf", "training.optimizer.learning_rate = 1e6", f'name = "{"x" * 180}"',
     'inputs = [{ name = "student_t", df = 0.5 }]', "model.max_points = 1000000", f"training.steps = {2**63 - 1}",
     f'function_classes = [{{ name = "linear", id = "{LONG}" }}]', "evaluation.baselines = []", "variants = {}"],
)  # fmt: skip
def test_the_utmost_that_is_allowed(text: str) -> None:
    assert shown(text.encode()).code == 0


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert shown(b"\xef\xbb\xbfdims = 3").code == 0


def test_seeds_of_more_than_64_bits_are_refused_from_the_caller_too() -> None:
    with pytest.raises(UserError, match=r"seeds\.0: expected less than or equal to 9223372036854775807"):
        load("smoke", seeds=[2**63])


def test_a_name_of_a_directory_says_so() -> None:
    Path("folder.toml").mkdir(exist_ok=True)
    assert icl("show", "folder.toml").err == "error: experiment file folder.toml is no file\n"


@pytest.mark.parametrize("name", [LONG, f"{LONG}.toml", "a\x00b", "a\x00b.toml"])
def test_a_name_that_can_be_no_path_is_unknown(name: str) -> None:
    answer = icl("show", name)
    assert answer.code == 2
    assert re.match("error: (unknown experiment|experiment file) '", answer.err)
    assert len(answer.err) < 600


def test_a_folder_among_the_experiments_is_none() -> None:
    Path("experiments/odd.toml").mkdir(parents=True, exist_ok=True)
    answer = icl("list", "experiments")
    assert answer.code == 0
    assert "odd" not in answer.out


# --set and the values that it replaces


@pytest.mark.parametrize(
    ("text", "override", "expected"),
    [
        ("", "plugins=3", "--set plugins=3: plugins: expected a list of file names, found 3"),
        ("", "plugins=abc", "--set plugins=abc: plugins: expected a list of file names, found 'abc'"),
        ("", "plugins=[3]", "plugins: expected a list of file names, found [3]"),
        ("", 'plugins=["no.py"]', "plugins.0: plugin file no.py does not exist"),
        ("", "dims=3\npoints=4", r"--set 'dims=3\npoints=4': expected one value, found several lines of TOML"),
        ("", f"dims={'9' * 5000}", "it holds a number of thousands of digits"),
        ("", f"dims={'[' * 5000}", "it holds a number of thousands of digits, or brackets in hundreds of brackets"),
        ("", "training.clip=nan", "--set training.clip=nan: training.clip: expected a number, found nan"),
        ("", f"{'a.' * 3000}b=1", "a.a.a: expected tables at most 16 deep, found more"),
        ("", "a.b.=", "--set a.b.=: expected key=value with a dotted key"),
        ("", "training=3", "--set training=3: training: expected a table, found 3"),
        ("", "dims.a=3", "--set dims.a=3: dims: expected a valid integer, found {'a': 3}"),
        ("", "dims=[", "--set dims=[: dims: expected a valid integer, found '['"),
        ("model = 3", "model.width=8", None),
        ('model = "transfomer"', "model.width=8", "my.toml: model: unknown model 'transfomer'; did you mean"),
        (
            'training.method = "in_contxt"',
            "training.method.rate=8",
            "my.toml: training.method: unknown training method 'in_contxt'; did you mean",
        ),
    ],
)
def test_a_mistaken_set_names_its_key(text: str, override: str, expected: str | None) -> None:
    FILE.write_text(text)
    answer = icl("show", "my.toml", "--set", override)
    assert answer.code == (0 if expected is None else 2), answer.err
    assert (expected or "") in answer.err
    assert len(answer.err) < 600


def test_a_key_of_a_component_that_a_file_names_keeps_the_component() -> None:
    values = tiny_values({"curriculum.function_classes": "single"})
    FILE.write_text(tomli_w.dumps(values))
    only = load("my.toml", overrides=["curriculum.function_classes.only=quadratic"])[0].experiment
    assert only.curriculum.function_classes.id == "single/quadratic"


def test_plugins_given_by_set_are_relative_to_the_working_directory() -> None:
    FILE.write_text("")
    Path("sub").mkdir(exist_ok=True)
    Path("sub/other.py").write_text(PLUGIN)
    plugins = load("my.toml", overrides=['plugins=["sub/other.py"]'])[0].experiment.plugins
    assert plugins == (str(Path("sub/other.py").resolve()),)
