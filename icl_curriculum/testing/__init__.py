"""The conformity check: whether a function class keeps the contract, and if not, how to mend it.

In a test: ``check_function_class(MyClass)``, or `parametrize_with_checks` for one test per rule.
"""

from icl_curriculum.testing.check import RULES, check, check_function_class, describe, parametrize_with_checks, report
from icl_curriculum.testing.rules import Finding, Result

__all__ = [
    "RULES",
    "Finding",
    "Result",
    "check",
    "check_function_class",
    "describe",
    "parametrize_with_checks",
    "report",
]
