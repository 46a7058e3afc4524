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

BUILT_IN = (
    "chebyshev", "decision_tree", "gaussian_mixture", "hermite", "linear", "linear_classification", "linear_dynamics",
    "low_rank_linear", "noisy_linear", "parity", "quadratic", "relu_network", "sinusoid", "sparse_linear",
)  # fmt: skip


@pytest.fixture
def icl(icl: Icl, folder: Path, monkeypatch: pytest.MonkeyPatch, fresh_registries: None) -> Icl:
    monkeypatch.chdir(folder)
    return icl


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(EVERY_KIND.read_text())
    (tmp_path / "broken.py").write_text(EVERY_KIND.read_text().replace('"halved"', '"sound"') + ONE_A_BATCH)
    (tmp_path / "nothing.py").write_text("x = 1\n")
    return tmp_path


def test_a_sound_class_is_shown_rule_by_rule(icl: Icl) -> None:
    code, out, err = icl("check", "halved", "--plugin", "mine.py")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "halved (mine.py)"
    assert [line for line in lines if line.startswith(("ok", "does not apply"))] == lines[1:-1]
    assert all(any(rule in line for line in lines) for rule in RULES)
    assert re.fullmatch(r"\d+ rules hold, 0 do not, \d+ do not apply", lines[-1])


def test_a_broken_class_is_exit_code_1_with_what_was_expected_found_and_how_to_mend_it(icl: Icl) -> None:
    """Asked for by its file, which holds a sound class too."""
    code, out, err = icl("check", "broken.py")
    assert (code, err) == (1, "")
    failed = out[out.index("failed          independent prompts") :]
    for word, text in (("expected", "parameters of different prompts"), ("found", "w"), ("mend", "leading axis n")):
        assert re.search(rf"^    {word} +.*{text}", failed, re.MULTILINE), word
    assert out.splitlines()[-1] == "2 function classes; these do not: one_a_batch"


def test_all_checks_every_class_there_is_a_line_each(icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the quick rules here; test_conformity holds every class to them all."""
    quick = ["construction", "documentation", "config", "reference inputs", "baselines", "shape"]
    monkeypatch.setattr(listing, "check", functools.partial(check, rules=quick))
    code, out, err = icl("check", "--all", "--plugin", "mine.py")
    assert (code, err) == (0, "")
    named = re.findall(r"^(\w+) \((.+)\): 6 rules hold, 0 do not", out, re.MULTILINE)
    assert dict(named) == {"halved": "mine.py", **dict.fromkeys(BUILT_IN, "built in")}
    assert out.splitlines()[-1] == "15 function classes; all keep the contract"


def test_parameters_are_set_as_elsewhere(icl: Icl) -> None:
    code, out, _ = icl("check", "hermite", "--set", "degree=1", "--set", "weights=gaussian")
    assert code == 0
    assert out.startswith("hermite/1/weights=gaussian (built in)")
    assert re.search(r"^ok +oracle", out, re.MULTILINE), "degree 1 with Gaussian weights has one, degree 2 has none"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected the name of a function class, a plugin file, or --all"),
        (["linear", "--all"], "expected the name of a function class, a plugin file, or --all"),
        (["lnear"], "unknown function class 'lnear'; did you mean 'linear'?"),
        (["nowhere.py"], "nowhere.py does not exist"),
        (["nothing.py"], "nothing.py registers no function class"),
        (["hermite", "--set", "degre=1"], "hermite: degre: unknown key; did you mean 'degree'?"),
        (["hermite", "--set", "degree=9"], "hermite: degree: expected less than or equal to 4, found 9"),
        (["broken.py", "--set", "label_noise=1"], "--set: expected one function class to set it of, found one_a_batch"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(icl: Icl, arguments: list[str], message: str) -> None:
    code, out, err = icl("check", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
