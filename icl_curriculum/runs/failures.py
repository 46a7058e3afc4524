"""Runs that did not finish, as they are told to whoever launched them."""

from __future__ import annotations

import contextlib
import dataclasses
import traceback
from collections.abc import Iterator

from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import RunFailed, UserError, described
from icl_curriculum.core.machine import is_out_of_memory
from icl_curriculum.core.options import option


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


@contextlib.contextmanager
def failures_named(run: str) -> Iterator[None]:
    """Turn into a RunFailed that names the run what a component from outside raises, and a lack of memory."""
    try:
        yield
    except ComponentFailed as error:
        raise RunFailed(str(error), run=run) from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not is_out_of_memory(error):
            raise
        raise RunFailed(
            "memory ran out; lower training.batch_size, evaluation.n_prompts, points or the model's size, or run "
            f"fewer at once with {option('--jobs')}",
            run=run,
        ) from error
