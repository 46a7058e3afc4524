"""The conformity check of function classes: rule by rule, as a text, as an assertion, as pytest's tests."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.registry import FUNCTION_CLASSES
from icl_curriculum.function_classes.base import FunctionClass
from icl_curriculum.testing import conduct, contract, distribution, domain, moments, oracles
from icl_curriculum.testing.rules import Finding, Note, Result, Rule, unless_raised
from icl_curriculum.testing.subject import Subject

if TYPE_CHECKING:
    import pytest

Checkable = FunctionClass | type[FunctionClass] | str

_ALL = {
    rule.name: rule
    for rule in (
        contract.construction,
        contract.documentation,
        contract.config,
        domain.reference_inputs,
        contract.baselines,
        contract.dimensions,
        contract.sample,
        contract.shape,
        contract.dtype,
        domain.signs,
        conduct.purity,
        conduct.global_generators,
        conduct.determinism,
        conduct.device,
        conduct.one_function_per_prompt,
        contract.draw,
        domain.inputs_drawn,
        distribution.independent_prompts,
        distribution.independent_inputs,
        distribution.pools,
        moments.trivial_error,
        moments.second_moment,
        moments.growth,
        moments.units,
        oracles.oracle,
    )
}
#: The rules by name, in the order in which they are checked, with one line on each.
RULES = {name: rule.description for name, rule in _ALL.items()}


class _Examination:
    """One function class and the results so far. No rule is checked twice."""

    def __init__(self, function_class: Checkable) -> None:
        self.subject = Subject(_resolved(function_class))
        self._results: dict[str, Result] = {}

    def result(self, name: str) -> Result:
        if name not in self._results:
            self._results[name] = self._look(_ALL[name])
        return self._results[name]

    def broken(self, rule: Rule) -> str | None:
        """The rule that has failed and on which a rule depends, if there is one."""
        for name in rule.requires:
            deeper = self.broken(_ALL[name])
            if deeper is not None or self.result(name).status == "failed":
                return deeper or name
        return None

    def _look(self, rule: Rule) -> Result:
        broken = self.broken(rule)
        if broken is not None:
            return Result(rule.name, rule.description, "does not apply", note=f"skipped until {broken!r} holds")
        with conduct.untouched_generators():
            said, inapplicable = unless_raised(self.subject, rule)
        findings = tuple(replace(item, rule=rule.name) for item in said if isinstance(item, Finding))
        notes = [item.text for item in said if isinstance(item, Note)]
        if findings:
            return Result(rule.name, rule.description, "failed", findings, "; ".join(notes))
        if inapplicable is not None:
            return Result(rule.name, rule.description, "does not apply", note=inapplicable)
        return Result(rule.name, rule.description, "ok", note="; ".join(notes))


def _resolved(function_class: Checkable) -> FunctionClass | type[FunctionClass]:
    if isinstance(function_class, str):
        found = FUNCTION_CLASSES.get(function_class)
        assert issubclass(found, FunctionClass)
        return found
    is_class = inspect.isclass(function_class) and issubclass(function_class, FunctionClass)
    if not is_class and not isinstance(function_class, FunctionClass):
        raise TypeError(
            f"expected an instance of FunctionClass, a subclass of it or a registered name, found {function_class!r}"
        )
    return function_class


def check(function_class: Checkable, *, rules: Collection[str] | None = None) -> Iterator[Result]:
    """Hold a function class to the contract, rule by rule, lazily: one `Result` for each of ``rules`` (None: all).

    ``function_class``: an instance, a class (built with its defaults) or a registered name. Shapes, types
    and side effects are checked in 1, 2, 3, 5 and 8 dimensions, or in the first three allowed up to 64
    where the class refuses these. Statistical rules allow 6 standard errors for means and 8 for
    correlations, so that a correct class fails with a probability of about 1e-6 in all, less where its
    squares have light tails; all their draws come from fixed streams, and verdicts are the same every time.
    What the class raises becomes a finding. A rule whose prerequisite failed "does not apply".

    Raises UserError for an unknown name or rule and TypeError for what is no function class, before any is checked.
    """
    chosen = list(RULES) if rules is None else list(rules)
    for name in chosen:
        if name not in RULES:
            raise UserError(f"unknown rule {name!r}{did_you_mean(name, RULES)}")
    examination = _Examination(function_class)
    return (examination.result(name) for name in chosen)


def describe(result: Result) -> str:
    """One result as text: a line, and below it what was expected, what was found, and how to mend it."""
    about = result.description if result.status != "does not apply" else result.note
    lines = [f"{result.status:<16}{result.rule:<26}{about}"]
    if result.status == "ok" and result.note:
        lines.append(f"    note      {result.note}")
    for finding in result.findings:
        lines += [f"    {word:<10}{getattr(finding, word)}" for word in ("expected", "found", "mend")]
    return "\n".join(lines)


def report(results: Iterable[Result], *, title: str = "") -> str:
    """The results of one class as text: the title, a line or more for each, and a count of each status."""
    results = list(results)
    counts = {
        status: sum(result.status == status for result in results) for status in ("ok", "failed", "does not apply")
    }
    counted = f"{counts['ok']} ok, {counts['failed']} failed, {counts['does not apply']} do not apply"
    return "\n".join([*([title] if title else []), *map(describe, results), counted])


def check_function_class(function_class: Checkable) -> None:
    """Assert that a function class keeps the contract; the AssertionError of one that doesn't is its `report`.

    Raises what `check` raises for a wrong argument.
    """
    examination = _Examination(function_class)
    results = [examination.result(name) for name in RULES]
    if any(result.status == "failed" for result in results):
        raise AssertionError(report(results, title=f"{examination.subject.label} does not keep the contract"))


def parametrize_with_checks(*function_classes: Checkable) -> pytest.MarkDecorator:
    """Decorator for pytest: one test for every class and rule, with ids like ``linear-trivial error``.

    The test takes one argument, ``check``, and calls it: it raises AssertionError with the findings, and
    skips the test where the rule does not apply. ::

        @parametrize_with_checks("linear", MyClass, MyClass(degree=3))
        def test_conformity(check):
            check()
    """
    import pytest

    return pytest.mark.parametrize(
        "check",
        [
            pytest.param(_test(examination, name), id=f"{examination.subject.label}-{name}")
            for examination in map(_Examination, function_classes)
            for name in RULES
        ],
    )


def _test(examination: _Examination, name: str) -> Callable[[], None]:
    def test() -> None:
        import pytest

        result = examination.result(name)
        if result.status == "failed":
            raise AssertionError(report([result], title=examination.subject.label))
        if result.status == "does not apply":
            pytest.skip(result.note)

    return test
