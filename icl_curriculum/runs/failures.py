"""Runs that did not finish, as they are told to whoever launched them."""

from __future__ import annotations

import dataclasses
import traceback

from icl_curriculum.core.errors import RunFailed, UserError, described


@dataclasses.dataclass(frozen=True)
class RunFailure:
    """A run that did not finish, with the message for the user and the traceback for debugging."""

    run: str
    message: str
    details: str = ""

    @classmethod
    def of(cls, run: str, error: Exception) -> RunFailure:
        """The failure of a run that ended with an error, which is being handled; the message begins with the run."""
        reason = error.reason if isinstance(error, RunFailed) else str(error)
        reason = reason if isinstance(error, RunFailed | UserError) else described(error)
        return cls(run, f"{run}: {reason}", traceback.format_exc())
