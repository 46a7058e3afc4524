"""Everything that is wrong with an experiment's keys is told at once, a line for each, in files and in Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import Icl

import icl_curriculum as package
from icl_curriculum.config.loading import load
from icl_curriculum.core.component import Strict
from icl_curriculum.core.errors import BadArguments, SeveralMistakes, UserError, together
from icl_curriculum.core.mistakes import GatheredMistakes
from icl_curriculum.function_classes.hermite import Hermite

FILE = """
dimz = 3
seeds = ["a"]
function_classes = ["liner", { name = "hermite", degre = 3 }]
training = { stepz = 3, batch_size = "x" }
[variants.one]
training.stepps = 3
[variants.two]
evaluation.shiftz = []
model.width = 16
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w.toml").write_text(FILE)


def test_all_mistakes_of_file_overrides_and_variants_are_told_at_once(icl: Icl) -> None:
    told = ("--set", "training.optimizer.name=adm", "--set", "foo", "--set", "inputs=gausian")
    code, out, err = icl("run", "w.toml", *told)
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "error: --set foo: expected key=value with a dotted key, e.g. --set training.steps=200",
        "w.toml: seeds.0: expected a valid integer, found 'a'",
        "w.toml: function_classes.0: unknown function class 'liner'; did you mean 'linear'?",
        "w.toml: function_classes.1.degre: unknown key; did you mean 'degree'?",
        "--set inputs=gausian: inputs: expected a list, found 'gausian'",
        "w.toml: training.batch_size: expected a valid integer, found 'x'",
        "--set training.optimizer.name=adm: training.optimizer.name: expected 'adam', 'adamw' or 'muon', found 'adm'",
        "w.toml: training.stepz: unknown key; did you mean 'steps'?",
        "w.toml: dimz: unknown key; did you mean 'dims'?",
        "w.toml, variant 'one': training.stepps: unknown key; did you mean 'steps'?",
        "w.toml, variant 'two': evaluation.shiftz: unknown key; did you mean 'shifts'?",
    ]
    assert not Path("results").exists()


def test_a_table_that_only_an_override_names_is_the_overrides_mistake() -> None:
    Path("w.toml").write_text("[trainin]\nsteps = 3\n")
    with pytest.raises(UserError) as error:
        load("w.toml", overrides=["trainig.steps=3", "trainin.steps=4"])
    assert [str(each) for each in error.value.mistakes] == [
        "w.toml: trainin: unknown key; did you mean 'training'?",
        "overrides 'trainig.steps=3': trainig: unknown key; did you mean 'training'?",
    ]


def test_each_mistake_has_its_fields() -> None:
    with pytest.raises(SeveralMistakes) as error:
        load("w.toml")
    found = {(each.source, each.key): each.reason for each in error.value.mistakes}
    assert found["w.toml", "dimz"] == "unknown key; did you mean 'dims'?"
    assert found["w.toml, variant 'one'", "training.stepps"] == "unknown key; did you mean 'steps'?"
    assert len(found) == 8
    assert str(error.value).splitlines() == [str(each) for each in error.value.mistakes]
    # One alone is itself.
    with pytest.raises(UserError) as one:
        load("smoke", overrides=["dimz=3"])
    assert type(one.value) is UserError
    assert one.value.mistakes == (one.value,)


def test_plugins_that_are_missing_are_told_beside_each_other() -> None:
    Path("w.toml").write_text("plugins = []")
    with pytest.raises(UserError) as error:
        load("w.toml", plugins=["a.py", "b.py"], overrides=["x"])
    assert [each.reason for each in error.value.mistakes][1:] == [
        "plugin file a.py does not exist", "plugin file b.py does not exist",
    ]  # fmt: skip


def test_values_that_no_key_can_hold_are_told_at_once() -> None:
    Path("w.toml").write_text(f"dims = nan\npoints = {2**64}\ntraining.steps = nan")
    with pytest.raises(UserError) as error:
        load("w.toml")
    assert [each.key for each in error.value.mistakes] == ["dims", "points", "training.steps"]
    assert all(each.source == "w.toml" for each in error.value.mistakes)


def test_a_mistake_that_every_variant_repeats_is_told_once() -> None:
    Path("w.toml").write_text("dimz = 3\n[variants]\na = {}\nb = {}\nc = { training.steps = 'x' }")
    with pytest.raises(UserError) as error:
        load("w.toml")
    assert [(each.source, each.key) for each in error.value.mistakes] == [
        ("w.toml", "dimz"), ("w.toml, variant 'c'", "training.steps"),
    ]  # fmt: skip


# In Python


@pytest.mark.parametrize(
    ("call", "lines"),
    [
        (lambda: Hermite(degre=3), ["Hermite: degre: unknown parameter; did you mean 'degree'?"]),
        (
            lambda: Hermite(degree="x", label_noiz=2),
            [
                "Hermite: degree: expected a valid integer, found 'x'",
                "Hermite: label_noiz: unknown parameter; did you mean 'label_noise'?",
            ],
        ),
        (lambda: package.Experiment(dims="x"), ["Experiment: dims: expected a valid integer, found 'x'"]),
        (
            lambda: package.Experiment(training={"stepz": 3}, function_classes=({"name": "hermite", "degre": 3},)),
            [
                "Experiment: function_classes.0.degre: unknown parameter; did you mean 'degree'?",
                "Experiment: training.stepz: unknown parameter; did you mean 'steps'?",
            ],
        ),
    ],
)
def test_wrong_arguments_of_components_and_tables_are_user_errors(call: object, lines: list[str]) -> None:
    with pytest.raises(package.UserError) as error:
        call()  # type: ignore[operator]
    assert str(error.value).splitlines() == lines


def test_what_a_validator_builds_wrongly_is_told_with_the_rest() -> None:
    from pydantic import model_validator

    class Holding(Strict):
        """A table that builds a component of its own accord."""

        degree: int = 1
        other: int = 1

        @model_validator(mode="after")
        def _holds(self) -> Holding:
            Hermite(degree=self.degree)
            return self

    class Outer(Strict):
        """A table with two of these."""

        one: Holding
        two: Holding

    assert Hermite(degree=3).degree == 3
    with pytest.raises(BadArguments) as error:
        Outer(one={"degree": -1}, two={"degree": -2, "othr": 1})  # type: ignore[arg-type]
    assert [each.key for each in error.value.mistakes] == ["one", "two.othr"]
    assert "Hermite: degree: expected greater than or equal to 1, found -1" in str(error.value)


def test_arguments_that_are_right_make_what_they_did() -> None:
    assert Hermite(degree=2).id == "hermite/2"
    with pytest.raises(TypeError):
        Hermite(3)  # type: ignore[misc]


def test_gathered_mistakes_keep_their_causes() -> None:
    gathered = GatheredMistakes()
    gathered.tell()
    cause = UserError("the first", key="a")
    with gathered.noting(lambda mistake: mistake.found_in("file")):
        raise cause
    with gathered.noting():
        raise together([UserError("the second", key="b"), UserError("the third", key="c")])
    with pytest.raises(SeveralMistakes) as error:
        gathered.tell()
    assert str(error.value) == "file: a: the first\nb: the second\nc: the third"
    assert error.value.__cause__ is cause
