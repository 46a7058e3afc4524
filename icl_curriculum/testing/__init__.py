"""The conformity check: whether a component keeps its contract, and if not, how to mend it.

For components of every kind. In a test: ``check_component(MyModel)``, or
`parametrize_with_checks` for one test per rule.
"""

from icl_curriculum.testing.check import (
    RULES,
    check,
    check_component,
    check_function_class,
    describe,
    parametrize_with_checks,
    report,
    rules_of,
)
from icl_curriculum.testing.kinds import Checkable
from icl_curriculum.testing.rules import Finding, Result

__all__ = [
    "RULES",
    "Checkable",
    "Finding",
    "Result",
    "check",
    "check_component",
    "check_function_class",
    "describe",
    "parametrize_with_checks",
    "report",
    "rules_of",
]
