"""Rules on the domain and the range that a class declares: reference inputs, inputs of its own, and sign values.

Dimensions: n = functions (one per prompt), points = K + 1, dims = d.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from icl_curriculum.config.mistakes import problems
from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.registry import INPUTS
from icl_curriculum.function_classes.base import FunctionClass
from icl_curriculum.inputs import AnyInputs, InputDistribution, Own, Scaled
from icl_curriculum.tasks import Task
from icl_curriculum.testing.dimensions import MORE_DIMS
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule

#: Standard errors by which the share of inputs below a quartile may differ from that of the inputs asked for: the
#: normal tail is 1e-15, at no more than 200 shares.
Z = 8.0
PROMPTS, POINTS = 2048, 4


@rule(
    "reference inputs",
    "the reference inputs are registered, and in the domain in every allowed dimension",
    requires=("dimensions",),
)
def reference_inputs(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Checks all allowed dimensions up to 64, because `FunctionClass.reference` may give other inputs in each."""
    for dims in sorted({*subject.dims, *filter(subject.allows, MORE_DIMS)}):
        subject.doing = f"reference({dims})"
        finding = _unusable(subject.function_class, dims)
        if finding is not None:
            yield finding
            return


def _unusable(function_class: FunctionClass, dims: int) -> Finding | None:
    """Why the reference inputs of a dimension cannot be used."""
    where = "reference_inputs" if type(function_class).reference is FunctionClass.reference else f"reference({dims})"
    reference: object = function_class.reference(dims)
    name = reference.get("name") if isinstance(reference, dict) else reference
    if not isinstance(name, str):
        return Finding(
            expected=f"in {where}, the name of an input distribution, or a table with its name and parameters",
            found=repr(reference),
            mend='write, for example, "gaussian" or {"name": "uniform", "half_width": 1.0}',
        )
    if name not in INPUTS.names():
        return Finding(
            expected=f"in {where}, the name of a registered input distribution",
            found=f"unknown input distribution {name!r}{did_you_mean(name, INPUTS.names())}",
            mend=f"correct {where}, or register {name!r} in the same plugin file",
        )
    try:
        inputs: InputDistribution = TypeAdapter(AnyInputs).validate_python(reference)
    except (UserError, ValidationError) as error:
        said = "; ".join(problems(error)) if isinstance(error, ValidationError) else str(error)
        return Finding(
            expected=f"in {where}, parameters that the input distribution {name!r} has",
            found=f"{reference} cannot be built: {said}",
            mend=f"correct {where}; `icl list inputs` shows the parameters",
        )
    try:
        inputs.check_dims(dims)
    except UserError as error:
        return Finding(
            expected="reference inputs that exist in every dimension that check_dims allows",
            found=f"{where} is {inputs.id!r}, which d = {dims} is not for: {error}",
            mend=f"let check_dims refuse d = {dims}, or override reference(dims) to give other inputs there",
        )
    if isinstance(inputs, Own) and not function_class.owns_inputs:
        return Finding(
            expected=f"a class that makes its own inputs, as {where} is 'own'",
            found="owns_inputs is False",
            mend="declare owns_inputs: ClassVar[bool] = True and define draw, or name the distribution of the inputs",
        )
    reason = Task(function_class, inputs, dims).outside_domain()
    if reason is not None:
        return Finding(
            expected=f"reference inputs within the declared domain: {reason}",
            found=f"{where} is {inputs.id!r} at d = {dims}",
            mend=f"correct {where}, or sign_inputs and largest_input, which say where the functions are defined",
        )
    return None


@rule("inputs drawn", "draw gives the inputs asked for; inputs of its own, if it says so", requires=("draw",))
def inputs_drawn(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Compares quartiles of every coordinate at every point over 2048 prompts with inputs drawn without the class."""
    function_class, dims = subject.function_class, subject.most_dims
    reference = subject.inputs(dims)
    if subject.cls.draw is FunctionClass.draw:
        if function_class.owns_inputs:
            yield Finding(
                expected="a draw that makes the inputs, as owns_inputs is True",
                found=f"{subject.cls.__name__} does not define draw",
                mend="define draw, which returns xs, self.evaluate(parameters, xs), parameters; or leave owns_inputs "
                "False",
            )
            return
        raise Inapplicable("draw is FunctionClass's own")
    if function_class.names_no_inputs(dims):
        yield from _unnamed(subject)
        return
    cases = [(reference, dims)]
    if not function_class.owns_inputs:
        halved = Scaled(of=reference, factor=0.5)
        cases += [(halved, dims)] if Task(function_class, halved, dims).outside_domain() is None else []
    elif dims != subject.dims[0]:
        cases.append((subject.inputs(subject.dims[0]), subject.dims[0]))
    if function_class.owns_inputs:
        wanted = "the marginal of a class that owns its inputs"
        mend = (
            "let every point by itself be distributed as the reference inputs, or name in reference_inputs what it is "
            'distributed as: "own", where it has no name'
        )
    else:
        wanted = "as asked for"
        mend = (
            "take the inputs from inputs.sample(n, points, dims, ...) as they are, or declare owns_inputs: "
            "ClassVar[bool] = True"
        )
    for inputs, dims in cases:
        xs, _, _ = subject.draw(PROMPTS, POINTS, dims, subject.streams("inputs drawn"), inputs)
        usual = inputs.sample(PROMPTS, POINTS, dims, subject.generator("inputs drawn/reference"))
        found = _most_different(xs, usual)
        if found is not None:
            point, coordinate, below, expected, errors = found
            yield Finding(
                expected=f"inputs distributed as {inputs.id!r}, {wanted}",
                found=f"x[{point}, {coordinate}] is below a quartile in {below:.0%} of prompts where {expected:.0%} "
                f"were expected, at d = {dims} ({errors:.0f} standard errors; {Z:.0f} are allowed)",
                mend=mend,
            )
            return


def _unnamed(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """What can be told of inputs that have no distribution with a name: that they are numbers within the domain."""
    function_class, dims = subject.function_class, subject.most_dims
    xs, _, _ = subject.draw(PROMPTS, POINTS, dims, subject.streams("inputs drawn"))
    found = None
    if xs.dtype != torch.float32:
        wanted, found = "inputs in torch.float32", str(xs.dtype)
    else:
        wanted, wrong = "finite inputs", ~xs.isfinite()
        if function_class.sign_inputs:
            wanted, wrong = "inputs of -1 and 1, as sign_inputs is True", xs.abs() != 1
        elif function_class.largest_input < math.inf:
            wanted = f"inputs within ±{function_class.largest_input:g}"
            wrong = ~(xs.abs() <= function_class.largest_input)
        if bool(wrong.any()):
            found = f"{int(wrong.sum())} of {xs.numel()} coordinates are others"
    if found is not None:
        yield Finding(
            expected=f"{wanted} from draw",
            found=f"{found}, at d = {dims}",
            mend="correct the inputs that draw makes, or the domain that the class declares",
        )
        return
    yield Note("not tested: how inputs are distributed, because the class declares reference_inputs = 'own'")


def _most_different(
    xs: Float[Tensor, "n points dims"], usual: Float[Tensor, "n points dims"]
) -> tuple[int, int, float, float, float] | None:
    """The point and coordinate whose distributions differ most, if beyond `Z`, with both shares and the errors."""
    both = torch.cat([xs, usual]).double()
    quartiles = both.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=both.dtype), dim=0).unsqueeze(1)
    shares, expected = ((some.double() < quartiles).double().mean(1) for some in (xs, usual))
    pooled = (shares + expected) / 2
    errors = (shares - expected).abs() / (pooled * (1 - pooled) * 2 / len(xs)).clamp_min(1e-12).sqrt()
    flat = int(errors.argmax())
    quartile, place = divmod(flat, shares[0].numel())
    point, coordinate = divmod(place, shares.shape[2])
    worst = (quartile, point, coordinate)
    if float(errors[worst]) <= Z:
        return None
    return point, coordinate, float(shares[worst]), float(expected[worst]), float(errors[worst])


@rule("signs", "where sign_valued, all values are -1 or 1, and label_noise is a probability", requires=("dtype",))
def signs(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    """Checked at zeros, too: a curriculum over dimensions sets them, and torch.sign is neither -1 nor 1 there."""
    function_class = subject.function_class
    if not function_class.sign_valued:
        if all(_shares_of_other(subject, dims, 1.0) == 0 for dims in subject.dims):
            yield Note("all values are -1 or 1: derive from SignValued for accuracies, and for noise that flips labels")
            return
        raise Inapplicable("sign_valued is False")
    for dims in subject.dims:
        for what, scale in (("the reference inputs", 1.0), ("inputs of which all but the first coordinate are 0", 0.0)):
            if scale == 0 and (function_class.sign_inputs or function_class.names_no_inputs(dims)):
                continue
            other = _shares_of_other(subject, dims, scale)
            if other > 0:
                yield Finding(
                    expected="values of -1 and 1 alone, as sign_valued is True",
                    found=f"{other:.0%} of the values at {what} are others, at d = {dims}",
                    mend="torch.where(t < 0, -1.0, 1.0), say: torch.sign(0) is 0; or leave sign_valued False",
                )
                return
    try:
        subject.as_given.model_validate({**subject.as_given.model_dump(by_alias=True), "label_noise": 0.6})
    except ValidationError:
        return
    yield Finding(
        expected="label_noise from 0 to 0.5, as it is the probability of a flip where sign_valued is True",
        found="label_noise = 0.6 is accepted",
        mend="derive from SignValued, or declare label_noise: float = Field(0.0, ge=0, le=0.5, "
        'description="probability that a context label is flipped")',
    )


def _shares_of_other(subject: FunctionClassSubject, dims: int, scale: float) -> float:
    """The share of values that are neither -1 nor 1 when all coordinates but the first are multiplied by ``scale``."""
    parameters, xs = subject.example(256, 4, dims)
    xs[:, :, 1:] *= scale
    try:
        values = subject.evaluate(parameters, xs)
    except UserError:
        if scale == 1:
            raise
        return 0.0
    return float((values.abs() != 1).double().mean())


@rule("classes", "where class_valued, all values are one-hot, every class occurs, and label_noise is a probability",
      requires=("dtype",))  # fmt: skip
def classes(subject: FunctionClassSubject) -> Iterator[Finding | Note]:
    function_class = subject.function_class
    if not function_class.class_valued:
        raise Inapplicable("class_valued is False")
    if function_class.label_dims < 2:
        yield Finding(
            expected="two classes or more, as class_valued is True",
            found=f"label_dims = {function_class.label_dims}",
            mend="let label_dims be the number of classes: derive from ClassValued, whose n_classes it is",
        )
        return
    for dims in subject.dims:
        _, values, _ = subject.draw(512, 8, dims, subject.streams("classes"))
        if not bool(((values == 0) | (values == 1)).all()) or not bool((values.sum(-1) == 1).all()):
            yield Finding(
                expected="one-hot values, 1 at the class and 0 elsewhere, as class_valued is True",
                found=f"others at d = {dims}",
                mend="derive from ClassValued and define classify, which gives the index of the class; or end evaluate "
                "with one_hot(index, n_classes)",
            )
            return
        shares = values.double().mean(dim=(0, 1))
        if bool((shares == 0).any()):
            yield Finding(
                expected=f"all {len(shares)} classes among 4,096 values, as chance is the trivial level",
                found=f"no value of class {int((shares == 0).nonzero()[0])}, at d = {dims}",
                mend="let n_classes be the number of classes that occur, about equally often",
            )
            return
        if float(shares.max()) > 2 / len(shares):
            yield Note(
                f"one of {len(shares)} classes makes up {float(shares.max()):.0%} of the values at d = {dims}, so that "
                f"chance, the trivial level, is easily surpassed"
            )
    try:
        subject.as_given.model_validate({**subject.as_given.model_dump(by_alias=True), "label_noise": 1.5})
    except ValidationError:
        return
    yield Finding(
        expected="label_noise of at most 1, as it is the probability of another class where class_valued is True",
        found="label_noise = 1.5 is accepted",
        mend="derive from ClassValued",
    )
