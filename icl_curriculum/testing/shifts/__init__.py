"""The rules on shifts, in the order in which they are checked."""

from icl_curriculum.testing import components
from icl_curriculum.testing.rules import Rule
from icl_curriculum.testing.shifts import drawing, moments, statements
from icl_curriculum.testing.shifts.subject import ShiftSubject

RULES: tuple[Rule[ShiftSubject], ...] = (
    *components.RULES,
    statements.undefined,
    statements.points,
    statements.columns,
    drawing.draw,
    drawing.mask,
    drawing.global_generators,
    drawing.determinism,
    drawing.change,
    drawing.names,
    moments.values,
    moments.noise,
    moments.denominator,
)
