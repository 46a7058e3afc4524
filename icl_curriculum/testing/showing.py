"""What is wrong with what a context shows, in the words of a finding: of function classes and of observations."""

from __future__ import annotations

from collections.abc import Callable

from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.testing.generators import watched_generators
from icl_curriculum.testing.rules import Finding


def showing(look: Callable[[], str | None], doing: str) -> Finding | None:
    """The finding where a look at what is shown fails, says that it is too much, or draws from global generators."""
    with watched_generators() as used:
        try:
            told = look()
        except ComponentFailed as failed:
            if not failed.found:
                raise
            return Finding(
                expected=f"{failed.expected} from {doing}",
                found=failed.found,
                mend="return dataclasses.replace(pairs, ...) with tensors of the same shapes, but for shown_dims",
            )
        drawn = list(used())
    if drawn:
        return Finding(
            expected=f"all random numbers of {doing} from the generator that show is given",
            found=f"the global generator of {' and '.join(drawn)} changed: numbers were drawn, or it was seeded",
            mend="pass generator=generator, device=generator.device to every torch draw",
        )
    if told is None:
        return None
    return Finding(
        expected=f"entries that go by earlier ones of their prompt, and questions that tell no answer, from {doing}",
        found=told,
        mend="draw shapes that depend on no value; cumulate along the points (cumsum, a loop from the first on), take "
        "no mean over prompts or over a whole prompt, and leave labels and functions out of xs and queries",
    )
