"""A plugin that breaks its contract in the middle of a run: the message names it, and what was written is kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers import task_of
from places import EVERY_KIND
from tiny_runs import TINY, write_toml

from icl_curriculum.config.loading import load
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.runs.execution import execute
from icl_curriculum.shifts import Shift, why_undefined
from icl_curriculum.tasks import Task

pytestmark = pytest.mark.usefixtures("fresh_registries")

SOUND = EVERY_KIND.read_text()
EVALUATE = 'torch.einsum("npd,nd->np", xs, parameters["w"]) / 2'

#: What is named in the experiment, and the key it stands at.
PLACES: dict[str, dict[str, Any]] = {
    "halved": {"function_classes": ["halved"]},
    "wide": {"inputs": ["wide"]},
    "as_gaussian": {"evaluation": {**TINY["evaluation"], "shifts": ["as_gaussian"]}},
    "backwards": {"curriculum": {"function_classes": "backwards"}},
    "last_label": {"evaluation": {**TINY["evaluation"], "baselines": ["last_label"]}},
    "scaled_mean": {"model": "scaled_mean"},
    "twice": {"training": {**TINY["training"], "method": "twice"}},
}


def attempt(folder: Path, name: str, sound: str, broken: str) -> RunFailed:
    """The failure of a run with a plugin in which one line is broken."""
    assert sound in SOUND
    (folder / "mine.py").write_text(SOUND.replace(sound, broken))
    write_toml(folder / "my.toml", {**TINY, "plugins": ["mine.py"], **PLACES[name]})
    (run,) = load(str(folder / "my.toml"))
    with pytest.raises(RunFailed) as caught:
        execute(run, folder / "results")
    return caught.value


@pytest.mark.parametrize(
    ("name", "sound", "broken", "message"),
    [
        ("halved", EVALUATE, f"({EVALUATE})[:, 0]", r"evaluate returned shape \(\d+,\), expected shape \(\d+, 5\)"),
        ("halved", EVALUATE, "None", r"evaluate returned a NoneType, expected shape \(\d+, 5\)"),
        ("halved", EVALUATE, f"({EVALUATE}).double()", r"evaluate returned torch.float64, expected torch.float32"),
        ("halved", EVALUATE, f"({EVALUATE}).sign().long()", r"evaluate returned torch.int64, expected torch.float32"),
        ("halved", EVALUATE, f"({EVALUATE}).numpy()", r"evaluate returned a numpy array of float32, expected torch"),
        (
            "halved", '{"w": torch.randn(n, dims, ', '{"w": torch.randn(n, dims, dtype=torch.float64, ',
            r"sample \('w'\) returned torch.float64, expected torch.float32",
        ),
        (
            "halved", '{"w": torch.randn(n, dims, ', '{"w": torch.randn(dims, n, ',
            r"sample \('w'\) returned shape \(2, \d+\), expected a tensor with leading axis \d+",
        ),
        ("halved", "return dims / 4", "return str(dims / 4)", r"trivial_error returned '0.5', expected a real number"),
        ("halved", EVALUATE, 'parameters["v"]', r"failed in draw: KeyError: 'v' \(mine.py, line 23\)"),
        (
            "wide", "torch.randn(n, points, dims, ", "torch.randn(n, points, ",
            r"sample returned shape \(\d+, 5\), expected shape \(\d+, 5, 2\) \(prompts, points, dims\)",
        ),
        (
            "wide", "return 2 * torch.randn(n, points, dims, ", "return 2 * torch.randn(n, points, dims, dtype=float, ",
            r"sample returned torch.float64, expected torch.float32 of shape \(\d+, 5, 2\) \(prompts, points, dims\)",
        ),
        ("as_gaussian", "inputs=Gaussian()", "outputs=None", r"failed in apply: TypeError: .*outputs"),
        (
            "backwards", "[1 / len(items)] * len(items)", "[1.0] * len(items)",
            r"shares at step 6 returned \[1.0, 1.0\], expected 2 probabilities that sum to 1, for linear, quadratic",
        ),
        (
            "backwards", "[1 / len(items)] * len(items)", '["0.5"] * len(items)',
            r"shares at step 6 returned '0.5', expected a real number",
        ),
        (
            "backwards", "[1 / len(items)] * len(items)", "torch.full((len(items),), 0.5 + 0j)",
            r"shares at step 6 returned torch.complex64: tensor\(.*, expected a real number",
        ),
        ("backwards", "* (len(items) - 1)", "* 0", r"shares at step 0 returned \[1.0\], expected 2 probabilities"),
        (
            "last_label", "return torch.cat([torch.zeros_like(prompts.ys[:, :1]), prompts.ys[:, :-1]], dim=1)",
            "return prompts.ys[:, 1:]",
            r"failed in predict: ValueError: predictions have shape \(16, 4\), expected \(16, 5\)",
        ),
        (
            "last_label", "prompts.ys[:, :-1]], dim=1)", "prompts.ys[:, :-1]], dim=1).half()",
            r"predict returned torch.float16, expected a tensor \(prompts, points\) of torch.float32 or torch.float64",
        ),
        (
            "last_label", "prompts.ys[:, :-1]], dim=1)", "prompts.ys[:, :-1]], dim=1).to(torch.complex64)",
            r"predict returned torch.complex64, expected a tensor",
        ),
        (
            "last_label", "prompts.ys[:, :-1]], dim=1)", "prompts.ys[:, :-1]], dim=1).numpy()",
            r"predict returned a numpy array of float32, expected a tensor",
        ),
        (
            "scaled_mean", "means], dim=1)", "means], dim=1).double()",
            r"predict returned torch.float64, expected a tensor \(prompts, points\) of torch.float32$",
        ),
        (
            "scaled_mean", "nn.Parameter(torch.zeros(()))", "nn.Parameter(torch.zeros((), dtype=torch.float64))\n"
            "        self.other = nn.Parameter(torch.zeros((), dtype=torch.float64))",
            r"build \(other\) returned torch.float64, expected torch.float32",
        ),
        (
            "scaled_mean", "return self.scale * ", "return self.scale.expand(2) * ",
            r"failed in predict: RuntimeError: The size of tensor a \(2\).* \(mine.py, line 100\)",
        ),
        (
            "scaled_mean", "torch.zeros_like(ys[:, :1]), means], dim=1)", "means], dim=1)",
            r"failed in predict: ValueError: predictions have shape \(\d+, 4\), expected \(\d+, 5\)",
        ),
        (
            "twice", 'return {"training": losses}',
            'return {"training": {cell: loss.long() for cell, loss in losses.items()}}',
            r"type torch.int64 as a loss, expected a scalar tensor of a floating type",
        ),
        (
            "twice",
            'return {"training": losses}',
            "return [losses]",
            r"update at step 0 returned \[.*expected losses by role and cell",
        ),
    ],
)  # fmt: skip
def test_what_broke_is_named(tmp_path: Path, name: str, sound: str, broken: str, message: str) -> None:
    failure = attempt(tmp_path, name, sound, broken)
    variant = "backwards" if name == "backwards" else "mixed"
    assert str(failure).startswith(f"{variant}-seed0: {name!r} ({tmp_path / 'mine.py'})")
    assert re.search(message, str(failure)), str(failure)
    assert "\n" not in str(failure)


@pytest.mark.parametrize("number", ["numpy.float64(0.5)", "torch.tensor(0.5)", "numpy.float32(0.5)", "Fraction(1, 2)"])
def test_numbers_of_whatever_library_are_numbers(tmp_path: Path, number: str) -> None:
    """Shares and denominators beside those that are refused; the tables are those of plain numbers."""
    changes = {"[1 / len(items)] * len(items)": f"[{number}] * len(items)", "dims / 4": f"dims * {number} / 2"}
    found = []
    for changed in ({}, changes):
        text = SOUND
        for old, new in changed.items():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "mine.py").write_text(f"import numpy\nfrom fractions import Fraction\n{text}")
        values = {**TINY, "plugins": ["mine.py"], **PLACES["halved"], **PLACES["backwards"]}
        values["inputs"] = ["gaussian", "laplace"]
        values["curriculum"] = {"inputs": "backwards"}
        (run,) = load(str(write_toml(tmp_path / "my.toml", values)))
        task = run.experiment.tasks()["halved", "gaussian"]
        plan = run.experiment.plan()
        found.append((task.trivial_error(), task.second_moment(), plan.shares(11, plan.initial_state())))
        assert isinstance(task.second_moment(), float)
    assert found[0] == found[1]


def test_a_curriculum_s_state_must_be_what_a_checkpoint_holds(tmp_path: Path) -> None:
    sound = "    def shares(self, step, state, *, items, steps):\n        if step"
    keeping = "    def initial_state(self):\n        return {'seen': KEPT}\n\n"
    message = r"'backwards' .*: its state returned .*float64.*, expected tensors without a graph and plain values"
    failure = attempt(tmp_path, "backwards", sound, keeping.replace("KEPT", "__import__('numpy').float64(1)") + sound)
    assert re.search(message, str(failure)), str(failure)


def test_a_class_that_breaks_in_the_middle_leaves_what_was_written(tmp_path: Path) -> None:
    """The tables up to there, the checkpoint, and a manifest that says why."""
    broken = f"({EVALUATE})[:, : None if Halved.sane(parameters) else 2]"
    sound = "    def trivial_error(self, dims):\n        return dims / 4\n"
    counting = (
        "    calls: ClassVar[int] = 0\n\n    @classmethod\n    def sane(cls, parameters):\n"
        "        cls.calls += len(parameters['w']) == 8\n"
        "        return cls.calls < 10\n\n"
    )
    source = SOUND.replace(EVALUATE, broken).replace(sound, counting + sound)
    (tmp_path / "mine.py").write_text(f"from typing import ClassVar\n{source}")
    write_toml(tmp_path / "my.toml", {**TINY, "plugins": ["mine.py"], "function_classes": ["halved"]})
    (run,) = load(str(tmp_path / "my.toml"))
    with pytest.raises(RunFailed, match=r"returned shape \(8, 2\), expected shape \(8, 5\)"):
        execute(run, tmp_path / "results")
    directory = tmp_path / "results/tiny/mixed-seed0"
    steps = [int(line.split(",")[4]) for line in (directory / "training.csv").read_text().splitlines()[1:]]
    assert steps == [2, 4, 6, 8]
    assert (directory / "state.pt").is_file()
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert "expected shape (8, 5)" in manifest["error"]


@pytest.mark.parametrize(
    ("sound", "broken", "message"),
    [
        (
            "    def sample(self, n, dims, generator):\n        return {", "    def draw_one(self):\n        return {",
            r"function class 'halved' in .*mine.py lacks sample; FunctionClass says what each must do",
        ),
        (
            "@icl.register_inputs", "@icl.register_curriculum",
            r"curriculum 'wide' in .*mine.py: expected a subclass of Curriculum",
        ),
        ("import torch\n", "import torch\nexit(0)\n", r"failed to import: SystemExit: 0 \(mine.py, line 6\)"),
        ("import torch\n", "import torch\nx = {}['y']\n", r"failed to import: KeyError: 'y' \(mine.py, line 6\)"),
        ("import torch\n", "import torch\nx = = 2\n", r"failed to import: SyntaxError: invalid syntax .*line 6"),
        ('"wide"', '"gaussian"', r"input distribution 'gaussian' is registered twice: in built in and in .*mine.py"),
    ],
)  # fmt: skip
def test_a_plugin_that_cannot_be_registered(tmp_path: Path, sound: str, broken: str, message: str) -> None:
    assert sound in SOUND
    (tmp_path / "mine.py").write_text(SOUND.replace(sound, broken))
    write_toml(tmp_path / "my.toml", {**TINY, "plugins": ["mine.py"]})
    with pytest.raises(UserError, match=message):
        load(str(tmp_path / "my.toml"))


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        (
            "    def check_dims(self, dims):\n        raise RuntimeError('no')\n",
            r"function_classes.0: 'halved' \(.*mine.py\) failed in check: RuntimeError: no",
        ),
        (
            "    @property\n    def id(self):\n        return 1 / 0\n",
            r"function_classes.0: function class 'halved' \(.*mine.py\) failed: ZeroDivisionError: division by zero",
        ),
        (
            "    baselines = ('knnn',)\n",
            r"function_classes.0: unknown baseline 'knnn'; did you mean 'knn'\?",
        ),
    ],
)
def test_a_class_that_fails_while_the_config_is_read(tmp_path: Path, addition: str, message: str) -> None:
    line = '    """f(x) = w·x / 2 with w ~ N(0, I)."""\n'
    (tmp_path / "mine.py").write_text(SOUND.replace(line, line + "\n" + addition))
    evaluation = {key: value for key, value in TINY["evaluation"].items() if key != "baselines"}
    values = {**TINY, "plugins": ["mine.py"], "function_classes": ["halved"], "evaluation": evaluation}
    with pytest.raises(UserError, match=message):
        load(str(write_toml(tmp_path / "my.toml", values)))


def test_values_that_are_not_finite_are_refused_in_a_bank(tmp_path: Path) -> None:
    failure = attempt(tmp_path, "halved", EVALUATE, f"{EVALUATE} / 0 * 0")
    assert "evaluate returned values that are not finite, expected finite values" in str(failure)


def test_a_plugin_is_compiled_as_it_stands(tmp_path: Path) -> None:
    """Not with the package's own future imports, under which annotations are not looked at."""
    (tmp_path / "mine.py").write_text(f"def function(x: undefined): ...\n{SOUND}")
    write_toml(tmp_path / "my.toml", {**TINY, "plugins": ["mine.py"]})
    with pytest.raises(UserError, match=r"NameError: name 'undefined' is not defined \(mine.py, line 1\)"):
        load(str(tmp_path / "my.toml"))


def test_a_shift_that_fails_while_it_is_asked_what_it_means_is_named() -> None:
    class Unsure(Shift):
        """A shift of a plugin."""

        name = "unsure"

        def undefined(self, task: Task) -> str | None:
            raise KeyError("w")

    with pytest.raises(ComponentFailed, match=r"'unsure' \(.*test_contracts.py\) failed in undefined: KeyError: 'w'"):
        why_undefined(Unsure(), task_of("linear"))
