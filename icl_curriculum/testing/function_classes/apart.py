"""The rule that functions are drawn apart from the inputs, by `function_classes.apart`, which a run asks as well."""

from __future__ import annotations

from collections.abc import Iterator

from icl_curriculum.function_classes.apart import functions_depend_on_inputs
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule

POINTS = 12
POOL = 5


@rule(
    "functions apart",
    "other inputs from the same streams leave every function as it is, byte by byte",
    requires=("draw",),
)
def apart(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Looks at batches of up to 4,096 prompts and 101 points, with a pool and with functions that prompts share."""
    function_class = subject.function_class
    if function_class.owns_inputs:
        raise Inapplicable("the class makes its own inputs")
    pooled = function_class.model_copy(update={"pool_size": POOL})
    cases = [(function_class, dims) for dims in dict.fromkeys((subject.dims[0], subject.most_dims))]
    for asked, dims in (*cases, (pooled, subject.most_dims)):
        inputs = subject.inputs(dims)
        subject.doing = f"draw at d = {dims}"
        found = functions_depend_on_inputs(asked, inputs, dims, POINTS)
        if found is not None:
            yield Finding(
                expected="functions and inputs that are drawn apart: other inputs from the same streams change none of "
                "the functions, nor other functions the inputs",
                found=found + ("" if asked is function_class else f", with pool_size = {POOL}"),
                mend="in draw, take the functions from self.draw_functions(n, dims, streams), which looks at no input, "
                'and the inputs as they are from inputs.sample(n, points, dims, streams.generator("inputs")); or '
                "declare owns_inputs: ClassVar[bool] = True",
            )
            return
