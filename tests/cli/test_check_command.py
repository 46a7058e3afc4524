"""``icl check``: what it takes, what it says, and its exit codes."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
from places import EVERY_KIND
from tiny_runs import Icl

from icl_curriculum.cli import listing
from icl_curriculum.testing import RULES, check

#: A second class in the same file, whose functions are the same throughout a batch.
ONE_A_BATCH = '''

@icl.register_function_class("one_a_batch")
class OneABatch(Halved):
    """The same function for every prompt of a batch."""

    def sample(self, n, dims, generator):
        w = torch.randn(1, dims, generator=generator, device=generator.device)
        return {"w": w.expand(n, dims)}
'''

SHIFT = '''
import icl_curriculum as icl


@icl.register_shift("nowhere")
class Nowhere(icl.Shift):
    """Changes nothing."""
'''

BUILT_IN = (
    "cap_linear", "chebyshev", "composition", "decision_tree", "gaussian_classes", "gaussian_mixture", "hermite",
    "linear", "linear_classification", "linear_dynamics", "linear_map", "low_rank_linear", "multiclass_linear",
    "noisy_linear", "parity", "power_law_linear", "quadratic", "relu_network", "sinusoid", "sparse_linear", "table",
)  # fmt: skip


@pytest.fixture
def icl(icl: Icl, folder: Path, monkeypatch: pytest.MonkeyPatch, fresh_registries: None, fewer_prompts: None) -> Icl:
    monkeypatch.chdir(folder)
    return icl


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(EVERY_KIND.read_text())
    (tmp_path / "broken.py").write_text(EVERY_KIND.read_text().replace('"halved"', '"sound"') + ONE_A_BATCH)
    (tmp_path / "nothing.py").write_text("x = 1\n")
    (tmp_path / "shift.py").write_text(SHIFT)
    return tmp_path


def test_a_sound_class_is_shown_rule_by_rule(icl: Icl) -> None:
    code, out, err = icl("check", "halved", "--plugin", "mine.py")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "halved (mine.py)"
    # Below a rule there may be a note.
    rules = [line for line in lines[1:-1] if not line.startswith(" ")]
    assert [line for line in lines if line.startswith(("ok", "does not apply"))] == rules
    assert all(any(rule in line for line in lines) for rule in RULES)
    assert re.fullmatch(r"\d+ rules hold, 0 do not, \d+ do not apply", lines[-1])


def test_a_broken_class_is_exit_code_1_with_what_was_expected_found_and_how_to_mend_it(icl: Icl) -> None:
    """Asked for by its file, which holds a sound class too."""
    code, out, err = icl("check", "broken.py", "--kind", "function_classes")
    assert (code, err) == (1, "")
    failed = out[out.index("failed          independent prompts") :]
    for word, text in (("expected", "parameters of different prompts"), ("found", "w"), ("mend", "leading axis n")):
        assert re.search(rf"^    {word} +.*{text}", failed, re.MULTILINE), word
    assert out.splitlines()[-1] == "2 function classes; these do not: one_a_batch"


def test_a_file_is_checked_for_all_that_it_registers(icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "check", functools.partial(check, rules=["construction", "config"]))
    code, out, err = icl("check", "mine.py")
    assert (code, err) == (0, "")
    names = [
        "halved",
        "wide",
        "doubled",
        "as_gaussian",
        "backwards",
        "last_label",
        "scaled_mean",
        "twice",
        "far_off",
        "one_by_one",
    ]
    assert re.findall(r"^(\w+) \(mine.py\)$", out, re.MULTILINE) == names
    assert out.splitlines()[-1] == (
        "1 function class, 1 input distribution, 1 observation, 1 shift, 1 curriculum, 1 baseline, 1 model, "
        "1 training method, 1 metric, 1 launcher; all keep the contract"
    )


def test_components_of_every_other_kind_are_checked_by_their_names(icl: Icl) -> None:
    for name, rule in (
        ("wide", "squared norm"),
        ("doubled", "noise variance"),
        ("as_gaussian", "denominator"),
        ("backwards", "shares"),
        ("last_label", "causality"),
        ("scaled_mean", "causality"),
        ("twice", "resuming"),
        ("far_off", "direction"),
        ("one_by_one", "killed"),
    ):
        code, out, err = icl("check", name, "--plugin", "mine.py")
        assert (code, err) == (0, "")
        assert out.splitlines()[0] == f"{name} (mine.py)"
        assert re.search(rf"^ok +{rule} ", out, re.MULTILINE)


def test_kind_decides_where_two_bear_one_name(icl: Icl, folder: Path) -> None:
    (folder / "mine.py").write_text(EVERY_KIND.read_text().replace('"scaled_mean"', '"twice"'))
    code, _, err = icl("check", "twice", "--plugin", "mine.py")
    message = "'twice' is a model and a training method; say which by --kind: models or methods"
    assert (code, err) == (2, f"error: {message}\n")
    for kind, rule in (("models", "causality"), ("methods", "resuming")):
        code, out, _ = icl("check", "twice", "--plugin", "mine.py", "--kind", kind)
        assert code == 0
        assert re.search(rf"^ok +{rule} ", out, re.MULTILINE)


def test_one_of_two_that_bear_a_name_is_checked(icl: Icl) -> None:
    for kind, rule, other in (("shifts", "denominator", "spectrum"), ("inputs", "spectrum", "denominator")):
        code, out, err = icl("check", "skewed", "--kind", kind)
        assert (code, err) == (0, "")
        assert re.search(rf"^ok +{rule} ", out, re.MULTILINE)
        assert not re.search(rf" {other} ", out)


def test_a_shift_that_nothing_calls_is_told_what_was_meant(icl: Icl) -> None:
    """Exit code 1, with the name of the contract beside the one that was written."""
    Path("shift.py").write_text(SHIFT + "\n    def aply(self, task):\n        return task\n")
    code, out, err = icl("check", "shift.py")
    assert (code, err) == (1, "")
    assert "found     Nowhere.aply: nothing calls it" in out
    assert "it changes nothing; it defines aply, did you mean apply?" in out


def test_all_checks_every_class_there_is_a_line_each(icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the quick rules here; test_conformity holds every class to them all."""
    quick = ["construction", "documentation", "config", "reference inputs", "baselines", "shape"]
    monkeypatch.setattr(listing, "check", functools.partial(check, rules=quick))
    code, out, err = icl("check", "--all", "--kind", "function_classes", "--plugin", "mine.py")
    assert (code, err) == (0, "")
    named = re.findall(r"^(\w+) \((.+)\): 6 rules hold, 0 do not", out, re.MULTILINE)
    assert dict(named) == {"halved": "mine.py", **dict.fromkeys(BUILT_IN, "built in")}
    assert out.splitlines()[-1] == "22 function classes; all keep the contract"


def test_parameters_are_set_as_elsewhere(icl: Icl) -> None:
    code, out, _ = icl("check", "hermite", "--set", "degree=1", "--set", "weights=gaussian")
    assert code == 0
    assert out.startswith("hermite/1/weights=gaussian (built in)")
    assert re.search(r"^ok +oracle", out, re.MULTILINE), "degree 1 with Gaussian weights has one, degree 2 has none"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "expected the name of a function class, input distribution, observation, shift, curriculum, baseline,",
        ),
        (
            ["--all", "skewed", "--kind", "inputs"],
            "expected the name of an input distribution, a plugin file, or --all",
        ),
        (["linear", "--all", "--kind", "models"], "expected the name of a model, a plugin file, or --all"),
        (["lnear"], "unknown function class 'lnear'; did you mean 'linear'?"),
        (["transfrmer"], "unknown model 'transfrmer'; did you mean 'transformer'?"),
        (["random_quadrans"], "unknown shift 'random_quadrans'; did you mean 'random_quadrants'?"),
        (
            ["skewed"],
            "'skewed' is an input distribution and a shift; say which by --kind: inputs or",
        ),
        (
            ["xyz"],
            "curriculum, baseline, model, training method, metric or launcher 'xyz'; known: absolute_error, accuracy, ",
        ),
        (
            ["linear", "--kind", "models"],
            "unknown model 'linear'; known: deep_sets, huggingface, ",
        ),
        (["linear", "--kind", "modles"], "unknown kind 'modles'; did you mean 'models'?"),
        (["linear", "--kind", "shift"], "unknown kind 'shift'; did you mean 'shifts'?"),
        (["shift.py", "--kind", "models"], "shift.py registers no model (but shifts)"),
        (["nowhere.py"], "nowhere.py does not exist"),
        (
            ["nothing.py"],
            "nothing.py registers no function class, input distribution, observation, shift, curriculum, baseline,",
        ),
        (["hermite", "--set", "degre=1"], "hermite: degre: unknown key; did you mean 'degree'?"),
        (["transformer", "--set", "widht=9"], "transformer: widht: unknown key; did you mean 'width'?"),
        (["hermite", "--set", "degree=9"], "hermite: degree: expected less than or equal to 4, found 9"),
        (
            ["broken.py", "--set", "label_noise=1"],
            "--set: expected one function class, input distribution, observation, shift, curriculum, baseline,",
        ),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(icl: Icl, arguments: list[str], message: str) -> None:
    code, out, err = icl("check", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
