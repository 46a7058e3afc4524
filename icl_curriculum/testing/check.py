"""The conformity check of components: rule by rule, as a text, as an assertion, as pytest's tests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.machine import computing_threads
from icl_curriculum.core.settings import own_settings
from icl_curriculum.function_classes.base import FunctionClass
from icl_curriculum.testing.generators import untouched_generators
from icl_curriculum.testing.kinds import CHECKED, Checkable, checked_kind, kind_of
from icl_curriculum.testing.rules import Finding, Note, Result, Rule, unless_raised

if TYPE_CHECKING:
    import pytest

#: The rules on function classes by name, in the order in which they are checked, with one line on each.
RULES = CHECKED["function_classes"].descriptions()


def rules_of(kind: str) -> dict[str, str]:
    """The rules on a kind of components, such as ``models``: by name, in their order, with one line on each.

    Raises UserError for an unknown kind.
    """
    return checked_kind(kind).descriptions()


class _Examination:
    """One component and the results so far. No rule is checked twice."""

    def __init__(self, component: Checkable, kind: str | None = None) -> None:
        checked = CHECKED[kind_of(component, kind)]
        self.rules = checked.by_name
        given = checked.subject.registry.get(component) if isinstance(component, str) else component
        self.subject = checked.subject(given)
        self._results: dict[str, Result] = {}

    @own_settings(training=True)
    def result(self, name: str) -> Result:
        if name not in self._results:
            self._results[name] = self._look(self.rules[name])
        return self._results[name]

    def broken(self, rule: Rule[Any]) -> str | None:
        """The rule that has failed and on which a rule depends, if there is one."""
        for name in rule.requires:
            deeper = self.broken(self.rules[name])
            if deeper is not None or self.result(name).status == "failed":
                return deeper or name
        return None

    def _look(self, rule: Rule[Any]) -> Result:
        broken = self.broken(rule)
        if broken is not None:
            return Result(rule.name, rule.description, "does not apply", note=f"skipped until {broken!r} holds")
        with untouched_generators(), computing_threads(self.subject.threads or torch.get_num_threads()):
            said, inapplicable = unless_raised(self.subject, rule)
        findings = tuple(replace(item, rule=rule.name) for item in said if isinstance(item, Finding))
        notes = [item.text for item in said if isinstance(item, Note)]
        if findings:
            return Result(rule.name, rule.description, "failed", findings, "; ".join(notes))
        if inapplicable is not None:
            return Result(rule.name, rule.description, "does not apply", note=inapplicable)
        return Result(rule.name, rule.description, "ok", note="; ".join(notes))


def check(component: Checkable, *, kind: str | None = None, rules: Collection[str] | None = None) -> Iterator[Result]:
    """Hold a component to its contract, rule by rule, lazily: one `Result` for each of ``rules`` (None: all).

    ``component``: an instance, a class (built with its defaults) or a registered name of any kind. ``kind``
    (``function_classes``, ``inputs``, ``shifts``, ``curricula``, ``baselines``, ``models``, ``methods``) decides where
    a name stands for two. What the component raises becomes a finding. A rule whose prerequisite failed "does not
    apply". All draws come from fixed streams, and verdicts are the same every time.

    Function classes and input distributions are checked in 1, 2, 3, 5 and 8 dimensions, or in the first three allowed
    up to 64 where they refuse these; shifts on five classes in 4 dimensions, or on others where they refuse these.
    Statistical rules allow 6 standard errors for means and 8 for correlations, so that a correct component fails with
    a probability of about 1e-6 in all, less where its squares have light tails. Curricula order up to five items in up
    to 40 steps; baselines answer prompts of up to 6 points; models are built for prompts of up to 8 points in up to 5
    dimensions; training methods make a few updates of an experiment with two cells.

    Raises UserError for an unknown name, kind or rule and TypeError for what is no such component, before any is
    checked.
    """
    examination = _Examination(component, kind)
    chosen = list(examination.rules) if rules is None else list(rules)
    for name in chosen:
        if name not in examination.rules:
            raise UserError(f"unknown rule {name!r}{did_you_mean(name, examination.rules)}")
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
    """The results of one component as text: the title, a line or more for each, and a count of each status."""
    results = list(results)
    counts = {
        status: sum(result.status == status for result in results) for status in ("ok", "failed", "does not apply")
    }
    counted = f"{counts['ok']} ok, {counts['failed']} failed, {counts['does not apply']} do not apply"
    return "\n".join([*([title] if title else []), *map(describe, results), counted])


def check_component(component: Checkable, *, kind: str | None = None) -> None:
    """Assert that a component keeps its contract; the AssertionError of one that doesn't is its `report`.

    Raises what `check` raises for a wrong argument.
    """
    examination = _Examination(component, kind)
    results = [examination.result(name) for name in examination.rules]
    if any(result.status == "failed" for result in results):
        raise AssertionError(report(results, title=f"{examination.subject.label} does not keep the contract"))


def check_function_class(function_class: FunctionClass | type[FunctionClass] | str) -> None:
    """`check_component` for a function class."""
    check_component(function_class, kind="function_classes")


def parametrize_with_checks(*components: Checkable, kind: str | None = None) -> pytest.MarkDecorator:
    """Decorator for pytest: one test for every component and rule, with ids like ``linear-trivial error``.

    The test takes one argument, ``check``, and calls it: it raises AssertionError with the findings, and
    skips the test where the rule does not apply. ::

        @parametrize_with_checks("linear", MyClass, MyClass(degree=3), MyModelConfig)
        def test_conformity(check):
            check()
    """
    import pytest

    return pytest.mark.parametrize(
        "check",
        [
            pytest.param(_test(examination, name), id=f"{examination.subject.label}-{name}")
            for examination in (_Examination(component, kind) for component in components)
            for name in examination.rules
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
