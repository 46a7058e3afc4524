"""Rules on what a model's config declares and builds, and on weights that are saved and loaded."""

from __future__ import annotations

import io
from collections.abc import Iterator

import torch
from torch import Tensor

from icl_curriculum.core.errors import did_you_mean
from icl_curriculum.models.base import Capability, Model
from icl_curriculum.models.instructions import Instruction
from icl_curriculum.testing.components import unlike_capabilities
from icl_curriculum.testing.generators import watched_generators
from icl_curriculum.testing.models.subject import MORE_SIZES, ModelSubject, off
from icl_curriculum.testing.rules import Finding, Note, rule


@rule("capabilities", "what models can do is declared by Capability, or by lacks", requires=("construction",))
def capabilities(subject: ModelSubject) -> Iterator[Finding | Note]:
    stranger = unlike_capabilities(subject.as_given.capabilities)
    if stranger is not None:
        yield Finding(
            expected="in capabilities, a frozenset of members of Capability",
            found=stranger,
            mend="write, for example, capabilities = frozenset({Capability.EXPLICIT_PARAMETERS})",
        )
        return
    for capability in Capability:
        subject.doing = f"lacks({capability.value})"
        lack: object = subject.as_given.lacks(capability)
        if lack is not None and not (isinstance(lack, str) and lack.strip()):
            yield Finding(
                expected="from lacks, None if the models can do it, else a sentence that says why not",
                found=f"{lack!r} for {capability.value}",
                mend='return None, super().lacks(capability), or, for example, "it has a single head"',
            )
            return


@rule("sizes", "check allows some dimensions and points, and refuses others with UserError", requires=("construction",))
def sizes(subject: ModelSubject) -> Iterator[Finding | Note]:
    if not subject.sizes:
        dims, points = MORE_SIZES[-1]
        yield Finding(
            expected=f"a size of prompts, up to {points} points in {dims} dimensions, that the model can be built for",
            found=f"check refuses them all, {points} points in {dims} with: {subject.refusal(dims, points)}",
            mend="let check raise only for what build cannot build; give fields defaults that fit common sizes",
        )


@rule("build", "a Model whose parameters follow from the generator, and from nothing else", requires=("sizes",))
def build(subject: ModelSubject) -> Iterator[Finding | Note]:
    for dims, points in subject.sizes:
        finding = built_wrongly(subject, dims, points)
        if finding is not None:
            yield finding
            return
    first, second = (subject.built(dims, points, index=index).state_dict() for index in range(2))
    if not _unequal(first, second):
        yield Note("build draws nothing: all seeds start from the same parameters")


def built_wrongly(subject: ModelSubject, dims: int, points: int, *, told: Instruction | None = None) -> Finding | None:
    """What is wrong with a model that the config builds, if anything."""
    with watched_generators() as used:
        model = subject.built(dims, points, told=told)
        libraries = used()
    call = subject.doing
    finding = _unlike_a_model(model, call) or _unlike_what_is_declared(subject, model, points, call)
    if libraries:
        return Finding(
            expected="all randomness of build from the generator passed to it",
            found=f"{' and '.join(libraries)}: the global generator changed during {call}",
            mend="make parameters by torch.empty and fill them by torch.randn(..., generator=generator). torch's "
            "layers draw from the global generator as they are made: make them within "
            "torch.random.fork_rng(devices=[]), then draw every parameter anew",
        )
    if finding is not None:
        return finding
    unequal = _unequal(model.state_dict(), subject.built(dims, points, told=told).state_dict())
    if not unequal:
        return None
    return Finding(
        expected="bit-equal parameters and buffers from equal generators",
        found=f"{', '.join(map(repr, unequal))} differ between two calls of {call}",
        mend="fill every parameter and buffer from the generator or with constants, in a fixed order; torch.empty "
        "alone leaves what lay in memory",
    )


def _unlike_a_model(model: object, call: str) -> Finding | None:
    if not isinstance(model, Model):
        return Finding(
            expected="an instance of icl_curriculum.Model",
            found=f"{call} gives a {type(model).__name__}",
            mend="let the network extend Model, a torch.nn.Module with methods that training and evaluation call",
        )
    if type(model).forward is Model.forward:
        return Finding(
            expected="a model that defines forward(xs, ys, queries=None)",
            found=f"{type(model).__name__} does not",
            mend="define forward; the docstring of Model.forward says what it takes and gives",
        )
    if not any(value.requires_grad for value in model.parameters()):
        return Finding(
            expected="at least one parameter that can be trained",
            found=f"{type(model).__name__} has none",
            mend="keep what is learned in torch.nn.Parameter attributes; what learns nothing is a baseline",
        )
    return None


def _unlike_what_is_declared(subject: ModelSubject, model: Model, points: int, call: str) -> Finding | None:
    named = dict(model.named_parameters())
    for name in model.matrices:
        if name not in named or named[name].ndim < 2:
            found = f"{name!r} has shape {tuple(named[name].shape)}" if name in named else f"no parameter {name!r}"
            return Finding(
                expected="in matrices, names of parameters whose last two axes are a matrix",
                found=found + ("" if name in named else did_you_mean(name, named)),
                mend="name them as named_parameters() does, submodules and all, e.g. 'blocks.0.mlp.weight'",
            )
    subject.doing = f"longest_prompt({points})"
    longest: object = subject.as_given.longest_prompt(points)
    most: object = getattr(model, "max_points", None)
    if not isinstance(longest, int) or longest < points:
        return Finding(
            expected=f"from longest_prompt({points}), the most points of a prompt: a whole number, at least {points}",
            found=repr(longest),
            mend="return points, or more where the model can read longer prompts than those it is built for",
        )
    if not isinstance(most, int) or most < longest:
        return Finding(
            expected=f"max_points, a whole number, at least longest_prompt({points}) = {longest}",
            found=f"{most!r} after {call}" if most is not None else f"no max_points after {call}",
            mend="set self.max_points in __init__ to the most points that forward can read",
        )
    return None


def _unequal(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """The names of tensors that are not equal bit by bit, NaN aside."""
    names = [name for name, value in one.items() if name not in other or not _same(value, other[name])]
    return names + [name for name in other if name not in one]


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


@rule(
    "state", "the state dict, saved and loaded into another model of the config, gives its predictions",
    requires=("determinism",),
)  # fmt: skip
def state(subject: ModelSubject) -> Iterator[Finding | Note]:
    finding = loaded_wrongly(subject)
    if finding is not None:
        yield finding


def loaded_wrongly(
    subject: ModelSubject, *, told: Instruction | None = None, rows: Tensor | None = None
) -> Finding | None:
    """How a model that has loaded another's state dict differs from it, if it does."""
    model = subject.stirred(told=told)
    dims, points = subject.size
    xs, ys, queries = subject.prompts(dims, points)
    with torch.no_grad():
        wanted = subject.ask(model, xs, ys, None, rows), subject.ask(model, xs, ys, queries, rows)
    subject.doing = "saving and loading the state dict"
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=True)
    other = subject.built(dims, points, index=1, told=told)
    subject.doing = "load_state_dict of what another model of the config saved"
    other.load_state_dict(loaded)
    with torch.no_grad():
        found = subject.ask(other, xs, ys, None, rows), subject.ask(other, xs, ys, queries, rows)
    if all(one.equal(another) for one, another in zip(found, wanted, strict=True)):
        return None
    furthest = max(off(one, another) for one, another in zip(found, wanted, strict=True))
    return Finding(
        expected="equal predictions from a model that was built by another generator and has loaded the state dict",
        found=f"predictions that differ by up to {furthest:.3g}",
        mend="keep everything that build draws in parameters or in register_buffer(...); plain attributes are not "
        "saved",
    )
