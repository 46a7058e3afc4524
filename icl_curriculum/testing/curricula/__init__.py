"""The rules on curricula, in the order in which they are checked."""

from icl_curriculum.testing import components
from icl_curriculum.testing.curricula import repeating, shares
from icl_curriculum.testing.curricula.subject import CurriculumSubject
from icl_curriculum.testing.rules import Rule

RULES: tuple[Rule[CurriculumSubject], ...] = (
    *components.RULES,
    shares.check,
    shares.shares,
    shares.global_generators,
    repeating.state,
    repeating.update,
    repeating.signals,
    repeating.determinism,
    repeating.resuming,
)
