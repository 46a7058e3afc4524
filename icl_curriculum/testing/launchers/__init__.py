"""The rules on launchers, in the order in which they are checked."""

from icl_curriculum.testing import components
from icl_curriculum.testing.launchers import execution
from icl_curriculum.testing.launchers.subject import LauncherSubject
from icl_curriculum.testing.rules import Rule

RULES: tuple[Rule[LauncherSubject], ...] = (
    *components.RULES,
    execution.planned,
    execution.finished,
    execution.failed,
    execution.killed,
)
