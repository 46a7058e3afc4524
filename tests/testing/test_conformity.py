"""The conformity check as a whole: the suite's classes pass, and its results as a text, an assertion and tests."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import class_of
from testing_classes import UNUSUAL, Plain, failures, result_of
from torch import Tensor

from icl_curriculum.baselines import Ridge
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.registry import FUNCTION_CLASSES, KINDS
from icl_curriculum.function_classes import FunctionClass, Linear, Parameters
from icl_curriculum.models import Model
from icl_curriculum.testing import (
    RULES,
    Finding,
    Result,
    check,
    check_component,
    check_function_class,
    describe,
    parametrize_with_checks,
    report,
    rules_of,
)
from icl_curriculum.training import TrainingMethod

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("fewer_prompts")

VARIANTS: list[Any] = [
    *({"name": "hermite", "degree": degree} for degree in (1, 3)),
    *({"name": "hermite", "degree": degree, "weights": "gaussian"} for degree in (2, 3)),
    {"name": "relu_network", "hidden": 4, "outputs": "unit"},
    {"name": "sparse_linear", "outputs": "unit", "label_noise": 0.5},
    {"name": "linear", "pool_size": 5},
    {"name": "decision_tree", "depth": 1, "outputs": "unit"},
    {"name": "gaussian_mixture", "separation": 1.5, "outputs": "unit"},
    {"name": "linear_dynamics", "rho": 1.0},
    {"name": "low_rank_linear", "rank": 2, "outputs": "unit"},
    {"name": "parity", "size": 3, "label_noise": 0.1},
    {"name": "sinusoid", "outputs": "unit"},
]


#: What no parameter of a class changes, and `make check` looks at for all of them.
WHATEVER_THE_PARAMETERS = {"functions apart", "independent prompts", "independent inputs", "device", "determinism"}


@pytest.mark.parametrize("spec", VARIANTS, ids=[class_of(spec).id for spec in VARIANTS])
def test_the_suite_s_classes_keep_the_contract_with_other_parameters_than_their_defaults(spec: Any) -> None:
    rules = [rule for rule in RULES if rule not in WHATEVER_THE_PARAMETERS]
    found = list(check(class_of(spec), rules=rules))
    assert [describe(result) for result in found if result.status == "failed"] == []
    assert {result.rule for result in found if result.status == "ok"} > {"trivial error", "draw"}


@pytest.mark.parametrize("unusual", UNUSUAL)
def test_so_do_classes_unlike_the_suite_s_own(unusual: type[FunctionClass]) -> None:
    """Whole-number parameters, few functions, own inputs, bounded domains, odd dimensions, a prior with a mean."""
    assert failures(unusual) == {}


IMPORTS = """
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from icl_curriculum import Capability, Model, ModelConfig, TrainingMethod, UserError, register_method, register_model
from icl_curriculum.models import prompt_errors

"""


@pytest.mark.parametrize(("base", "name"), [(Model, "last_labels"), (TrainingMethod, "first_order_maml")])
def test_so_do_the_examples_in_the_docstrings(base: type, name: str, tmp_path: Path, fresh_registries: None) -> None:
    """An author who copies one begins with what is right."""
    indented = [line for line in (base.__doc__ or "").splitlines() if line.startswith(" " * 8) or not line]
    (tmp_path / "copied.py").write_text(IMPORTS + textwrap.dedent("\n".join(indented)))
    load_plugin(tmp_path / "copied.py")
    check_component(name)


class Flawed(Plain):
    """Changes its inputs."""

    def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
        return super().evaluate(parameters, xs.add_(1).sub_(1))


def test_every_rule_has_a_name_and_a_line() -> None:
    assert [result.rule for result in check("linear")] == list(RULES)
    assert [result.description for result in check(Flawed)] == list(RULES.values())
    for kind in KINDS:
        assert all(description and "\n" not in description for description in rules_of(kind).values())
        assert list(rules_of(kind))[:4] == ["construction", "documentation", "known methods", "config"]
    with pytest.raises(UserError, match="unknown kind 'shift'; did you mean 'shifts'"):
        rules_of("shift")


def test_rules_are_looked_at_one_by_one_as_they_are_asked_for() -> None:
    calls = []

    class Watched(Plain):
        """Notes that it is used."""

        def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
            calls.append(n)
            return super().sample(n, dims, generator)

    results = check(Watched)
    assert next(results).rule == "construction"
    assert not calls
    assert [result.rule for result in results][-1] == "reference posterior"
    assert calls


def test_some_rules_can_be_asked_for_alone() -> None:
    chosen = list(check(Flawed, rules=["growth", "documentation"]))
    assert [(result.rule, result.status) for result in chosen] == [
        ("growth", "does not apply"),
        ("documentation", "ok"),
    ]
    assert chosen[0].note == "skipped until 'purity' holds"
    with pytest.raises(UserError, match="unknown rule 'grwth'; did you mean 'growth'"):
        check("linear", rules=["grwth"])


def test_wrong_arguments_are_errors_at_once() -> None:
    with pytest.raises(UserError, match="unknown function class 'liner'; did you mean 'linear'"):
        check("liner")
    bases = "FunctionClass, InputDistribution, Observation, Shift, Curriculum, Baseline, ModelConfig, TrainingMethod"
    with pytest.raises(TypeError, match=f"expected an instance of {bases}, Metric or Launcher, a subclass of it or a"):
        check(Path)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="'skewed' is an input distribution and a shift; say which by kind"):
        check("skewed")
    with pytest.raises(TypeError, match="expected an instance of ModelConfig, a subclass of it"):
        check(Linear, kind="models")


def test_an_instance_a_class_and_a_name_are_the_same() -> None:
    rules = ["config", "shape", "independent prompts"]
    by_name = list(check("linear", rules=rules))
    assert [result.status for result in by_name] == ["ok"] * 3
    assert by_name == list(check(Linear, rules=rules)) == list(check(Linear(), rules=rules))


def test_what_a_class_raises_names_its_line_and_skips_what_depends_on_it() -> None:
    class Raising(Plain):
        """Looks for what isn't there."""

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return super().evaluate({"w": parameters["weights"]}, xs)

    line = Raising.evaluate.__code__.co_firstlineno + 1
    results = {result.rule: result for result in check(Raising)}
    (finding,) = results["shape"].findings
    assert finding.found.startswith("KeyError: 'weights' (")
    assert f"test_conformity.py:{line}, in evaluate)" in finding.found
    assert finding.expected == "no exception in evaluate of xs of shape (1, 1, 1) and float32"
    assert finding.mend.endswith(f"test_conformity.py:{line}, then check again")
    skipped = {rule for rule, result in results.items() if result.note == "skipped until 'shape' holds"}
    assert skipped >= {"dtype", "purity", "determinism", "draw", "trivial error", "oracle"}
    assert results["sample"].status == "ok"
    assert {rule for rule, result in results.items() if result.status == "failed"} == {"shape"}


@pytest.mark.parametrize(
    "method", ["check_dims", "sample", "evaluate", "draw", "trivial_error", "second_moment", "growth", "oracle_kind"]
)
def test_no_rule_blows_up(method: str) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("on purpose")

    member: Any = property(fail) if method in ("growth", "oracle_kind") else fail
    broken = type("Broken", (Plain,), {"__doc__": "Raises.", method: member, "__module__": __name__})
    found = [finding for result in check(broken) for finding in result.findings]
    assert found
    assert all("ZeroDivisionError: on purpose" in finding.found for finding in found)
    assert all("test_conformity.py:" in finding.found for finding in found)


def test_the_text_of_results() -> None:
    finding = Finding(rule="purity", expected="xs as before", found="xs changed", mend="clone it")
    results = [
        Result("shape", "evaluate gives (n, points)", "ok"),
        Result("dimensions", "some", "ok", note="refused: d = 1"),
        Result("purity", "changes nothing", "failed", (finding,)),
        Result("draw", "draws", "does not apply", note="skipped until 'purity' holds"),
    ]
    assert report(results, title="mine") == "\n".join(
        [
            "mine",
            "ok              shape                     evaluate gives (n, points)",
            "ok              dimensions                some",
            "    note      refused: d = 1",
            "failed          purity                    changes nothing",
            "    expected  xs as before",
            "    found     xs changed",
            "    mend      clone it",
            "does not apply  draw                      skipped until 'purity' holds",
            "2 ok, 1 failed, 1 do not apply",
        ]
    )
    assert report([results[0]]) == f"{describe(results[0])}\n1 ok, 0 failed, 0 do not apply"


def test_a_failing_class_is_an_assertion_error_with_the_report() -> None:
    with pytest.raises(AssertionError) as raised:
        check_function_class(Flawed)
    lines = str(raised.value).splitlines()
    assert lines[0] == "Flawed does not keep the contract"
    assert any(line.startswith("failed          purity") for line in lines)
    assert "    found     evaluate changed xs at d = 1" in lines
    assert lines[-1].startswith("12 ok, 1 failed")


def test_a_registered_class_is_called_by_its_name_or_id(fresh_registries: None) -> None:
    FUNCTION_CLASSES.register("flawed")(Flawed)
    for given, title in ((Flawed, "flawed"), (Flawed(label_noise=0.5), "flawed/label_noise=0.5")):
        with pytest.raises(AssertionError, match=f"^{title} does not keep the contract"):
            check_function_class(given)
    assert result_of("flawed", "config").status == "ok"


TESTS = """
from icl_curriculum.testing import parametrize_with_checks
from test_conformity import Flawed


@parametrize_with_checks(Flawed)
def test_conformity(check):
    check()
"""


def test_one_pytest_test_for_every_class_and_rule(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_mine=TESTS)
    ran = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-rfs")
    ran.assert_outcomes(failed=1, passed=12, skipped=25)
    text = ran.stdout.str()
    assert "FAILED test_mine.py::test_conformity[Flawed-purity]" in text
    assert "found     evaluate changed xs at d = 1" in text
    assert "skipped until 'purity' holds" in text


def test_the_ids_of_the_tests_are_readable() -> None:
    others = (
        "sphere",
        "outliers",
        "longer_prompts",
        "bandit",
        Ridge(penalty=0.5),
        "transformer",
        "in_context",
        "accuracy",
        "slurm",
    )
    mark = parametrize_with_checks("linear", Linear(label_noise=0.5), *others).mark
    assert mark.args[0] == "check"
    ids = [case.id for case in mark.args[1]]
    assert ids[0] == "linear-construction"
    assert ids[2 * len(RULES) - 1] == "linear/label_noise=0.5-reference posterior"
    assert {"transformer-causality", "sphere-squared norm", "longer_prompts-denominator"} < {*ids}
    assert {"bandit-signals", "ridge/penalty=0.5-targets and truth"} < {*ids}
    assert "in_context-resuming" in ids
    assert "accuracy-missing answers" in ids
    assert ids[-1] == "slurm-killed"
    assert len(ids) == len(RULES) + sum(len(rules_of(kind)) for kind in KINDS)
