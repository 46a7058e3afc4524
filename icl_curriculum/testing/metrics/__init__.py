"""The rules on metrics, in the order in which they are checked."""

from icl_curriculum.testing import components
from icl_curriculum.testing.metrics import values
from icl_curriculum.testing.metrics.subject import MetricSubject
from icl_curriculum.testing.rules import Rule

RULES: tuple[Rule[MetricSubject], ...] = (
    *components.RULES,
    values.statements,
    values.errors,
    values.purity,
    values.own_entry,
    values.direction,
    values.trivial,
    values.missing,
)
