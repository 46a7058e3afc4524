"""The rules on training methods, in the order in which they are checked."""

from icl_curriculum.testing import components
from icl_curriculum.testing.methods import repeating, updates
from icl_curriculum.testing.methods.subject import MethodSubject
from icl_curriculum.testing.rules import Rule

RULES: tuple[Rule[MethodSubject], ...] = (
    *components.RULES,
    updates.needs,
    updates.check,
    updates.operations,
    updates.prompts,
    updates.update,
    updates.losses,
    updates.what_counts,
    updates.instructions,
    updates.global_generators,
    repeating.state,
    repeating.determinism,
    repeating.resuming,
)
