"""The rule that functions are drawn apart from the inputs, by `function_classes.apart`, which a run asks as well."""

from __future__ import annotations

from collections.abc import Iterator

from icl_curriculum.function_classes.apart import functions_depend_on_inputs
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject
from icl_curriculum.testing.rules import Finding, Note, rule

POINTS = 12
POOL = 5


@rule(
    "functions apart",
    "other inputs from the same streams leave every function as it is, byte by byte; with inputs of the class's own, "
    "other numbers from any stream but one",
    requires=("draw",),
)
def apart(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Looks at batches of up to 4,096 prompts and 101 points, with a pool and with functions that prompts share."""
    function_class = subject.function_class
    owns = function_class.owns_inputs
    pooled = function_class.model_copy(update={"pool_size": POOL})
    cases = [(function_class, dims) for dims in dict.fromkeys((subject.dims[0], subject.most_dims))]
    for asked, dims in (*cases, (pooled, subject.most_dims)):
        inputs = subject.inputs(dims)
        subject.doing = f"draw at d = {dims}"
        found = functions_depend_on_inputs(asked, inputs, dims, POINTS)
        if found is not None:
            pool = "" if asked is function_class else f", with pool_size = {POOL}"
            if owns:
                yield Finding(
                    expected="functions from one stream alone: other inputs from the others change none of them",
                    found=found + pool,
                    mend="in draw, take the functions as they are from self.draw_functions(n, dims, streams): inputs "
                    "of the class's own may look at the functions, these at no input",
                )
                return
            yield Finding(
                expected="functions and inputs that are drawn apart: other inputs from the same streams change none of "
                "the functions, nor other functions the inputs",
                found=found + pool,
                mend="in draw, take the functions from self.draw_functions(n, dims, streams), which looks at no input, "
                'and the inputs as they are from inputs.sample(n, points, dims, streams.generator("inputs")); or '
                "declare owns_inputs: ClassVar[bool] = True",
            )
            return
    if owns:
        yield Note(
            "not tested: whether inputs look at the functions, because the class declares owns_inputs; the functions "
            "come from one stream alone"
        )
