"""Rules on what an answer follows from: the first k pairs and query k, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from icl_curriculum.evaluation.causality import Unrepeatable, first_leak
from icl_curriculum.testing.baselines.answers import differ
from icl_curriculum.testing.baselines.subject import POINTS, BaselineSubject, at
from icl_curriculum.testing.rules import Finding, Note, rule


@rule("targets and truth", "answers are the same with and without the targets and the functions' parameters",
      requires=("determinism",))  # fmt: skip
def answers_unseen(subject: BaselineSubject) -> Iterator[Finding | Note]:
    for labels in subject.valued:
        prompts = at(subject.prompts(subject.n, POINTS, subject.size, labels=labels), subject.lengths(POINTS))
        hidden = subject.answers(prompts.without_answers())
        shown = {
            "prompts.targets": replace(prompts, truth=None),
            "prompts.truth": replace(prompts.without_answers(), truth=prompts.truth),
        }
        read = prompts.mask
        assert read is not None
        for what, told in shown.items():
            found = subject.answers(told)
            known = read & subject.answered(hidden)
            if differ(found[known], hidden[known]):
                yield Finding(
                    expected=f"the same answers from {subject.doing} whether {what} is shown or not",
                    found="others",
                    mend=f"never read {what}: learners are not shown it",
                )
                return


@rule("causality", "entry k follows from the first k pairs and query k alone, whatever else is asked",
      requires=("targets and truth", "mask"))  # fmt: skip
def causality(subject: BaselineSubject) -> Iterator[Finding | Note]:
    """Changes labels, pairs, queries and prompts that an entry may not know of, with `evaluation.causality`."""
    lengths = subject.lengths(POINTS) if subject.learner.costly else None
    for labels in subject.valued:
        prompts, others = (subject.prompts(subject.n, POINTS, subject.size, index, labels=labels) for index in (0, 1))
        try:
            leak = first_leak(subject.answers, prompts, others, lengths=lengths)
        except Unrepeatable as error:
            yield Finding(
                expected="equal answers to equal prompts",
                found=str(error),
                mend="keep nothing of one call for the next, and draw from generators of fixed seeds",
            )
            return
        if leak is not None:
            yield Finding(
                expected="entry k of predict as a function of the first k pairs and query k alone",
                found=f"entry {leak.entry} changes by {leak.change:.2g} of the size of answers and labels {leak.cause}",
                mend="let entry k use pairs 0 to k - 1 (cumulative sums shifted by one), answer prompts.query()[:, k], "
                "and take no mean, norm or maximum over points or prompts",
            )
            return
