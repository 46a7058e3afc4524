"""Rules on what a class makes of its functions in a prompt: what is asked, and what the context shows.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.function_classes.checked import checked_values
from icl_curriculum.function_classes.showing import shows_too_much
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject, copied
from icl_curriculum.testing.generators import watched_generators
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule
from icl_curriculum.testing.showing import showing

#: Prompts, and points.
N, POINTS = 6, 5


@rule("asked", "ask is a pure function of the functions and the queries, with finite values in the shape of labels",
      requires=("determinism",))  # fmt: skip
def asked(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    function_class = subject.function_class
    if not function_class.asks_itself:
        raise Inapplicable("the clean value at the query is asked")
    for dims in subject.dims:
        parameters, queries = subject.example(N, POINTS, dims)
        before, given = copied(parameters), queries.clone()
        subject.doing = f"ask of queries of shape {tuple(queries.shape)}"
        with watched_generators() as used:
            try:
                found = checked_values(function_class, parameters, queries, asked=True).clone()
            except ComponentFailed as failed:
                yield Finding(
                    expected=f"{failed.expected or 'values'} from {subject.doing}",
                    found=failed.found or str(failed),
                    mend="give one value, or vector, for each query, as evaluate does",
                )
                return
            drawn = list(used())
        again = checked_values(function_class, parameters, queries, asked=True)
        wrong = [
            *(f"it draws from {library}'s global generator" for library in drawn),
            *(["values that are not finite"] if not bool(found.isfinite().all()) else []),
            *(["other values at a second call"] if not found.equal(again) else []),
            *(["it changes the queries in place"] if not queries.equal(given) else []),
            *(f"it changes {name!r} in place" for name, value in before.items() if not value.equal(parameters[name])),
        ]
        alone = queries[:, :1] if function_class.has_memory else queries[:, 2:3]
        one = checked_values(function_class, parameters, alone.clone(), asked=True)
        there = found[:, :1] if function_class.has_memory else found[:, 2:3]
        if not wrong and (one - there).abs().max() > 1e-4 * max(1.0, float(found.abs().max())):
            wrong = ["another value where the query is asked by itself"]
        if wrong:
            yield Finding(
                expected=f"the same finite values from {subject.doing} every time, of its query and function alone",
                found="; ".join(wrong),
                mend="compute from the parameters and queries alone, without names ending in _ or += on what is given",
            )
            return


@rule("shown", "what the context shows goes by earlier entries of its prompt, and no question by its answer",
      requires=("draw",))  # fmt: skip
def shown(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    function_class = subject.as_given.model_copy(update={"pool_size": None})
    if not function_class.shows_itself:
        raise Inapplicable("the context shows each input and its label")
    for dims in dict.fromkeys((subject.dims[0], subject.most_dims)):
        inputs = subject.inputs(dims)
        subject.doing = f"show at d = {dims}"
        finding = showing(partial(shows_too_much, function_class, inputs, dims), subject.doing)
        if finding is not None:
            yield finding
            return
