"""What could not be shown of results that are there: said, and never in the way of what can be shown."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from icl_curriculum.core.errors import RunFailed, UserError, described
from icl_curriculum.core.options import option
from icl_curriculum.core.stopping import stop_if_asked


class NotShown(UserWarning):
    """A figure, a section or a table that could not be made of results that are there.

    ``what``: which, in words; ``reason``: why, in one line; ``details``: the traceback. The results are whole.
    """

    def __init__(self, what: str, doing: str, reason: str, details: str = "") -> None:
        super().__init__(f"{what} could not be {doing}: {reason}")
        self.what, self.doing, self.reason, self.details = what, doing, reason, details

    def of(self, owner: str) -> NotShown:
        """The same of a part of a whole that is named: ``the figure forgetting of linear``."""
        return NotShown(f"{self.what} of {owner}", self.doing, self.reason, self.details)


class MadeAnew(UserWarning):
    """A derived file was not what had been made, and was made anew from what it is derived from."""


class LeftOut(UserWarning):
    """A run whose files are damaged is left out of what is shown. ``run``: which; ``problem``: what is damaged."""

    def __init__(self, run: str, problem: str) -> None:
        super().__init__(f"{run} is left out: {problem}")
        self.run, self.problem = run, problem


class NotRecordedAnew(UserWarning):
    """A variant goes on recording its training as its runs in the folder do, and not as was asked.

    ``variant``: which; ``like``: the folder of the run that it is recorded like; ``keys``: those that were asked for
    otherwise.
    """

    def __init__(self, variant: str, like: Path, keys: Sequence[str]) -> None:
        what, they, it = ("these", "they decide", "them") if len(keys) > 1 else ("this", "it decides", "it")
        super().__init__(
            f"{variant}: {', '.join(keys)} {'are' if len(keys) > 1 else 'is'} left as in {like}, though asked for "
            f"otherwise: {they} no weights, and nothing is trained anew for {what} alone. {option('--fresh')} moves "
            f"the runs aside and trains anew with {it}, {option('--results', 'DIR')} keeps both"
        )
        self.variant, self.like, self.keys = variant, like, tuple(keys)


def warn_of(notice: UserWarning) -> None:
    """Warn of what is to be known of what is shown; the command line prints it."""
    warnings.warn(notice, stacklevel=2)


@contextlib.contextmanager
def said_if_not_shown(
    what: str, doing: str = "drawn", *, missed: Callable[[NotShown], object] = warn_of
) -> Iterator[None]:
    """Turn whatever goes wrong in the block into a notice, which ``missed`` is told.

    ``doing``: what is tried, as a participle. Mistakes of the user, among them files that are missing or damaged, and
    what the system refuses, such as room on the disk, pass unchanged: they are to be mended first.
    """
    try:
        yield
    except (UserError, RunFailed, OSError, NotShown):
        raise
    except Exception as error:
        stop_if_asked()
        missed(NotShown(what, doing, described(error), traceback.format_exc()))
