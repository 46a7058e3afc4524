"""Rules on models that read instruction tokens, of every kind, one and two of them.

Dimensions: batch = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models.base import Capability, Model
from icl_curriculum.models.instructions import NEUTRAL, Instruction
from icl_curriculum.models.masking import takes_keyword
from icl_curriculum.testing.models.attention import misplaced_tokens, unlike_attention
from icl_curriculum.testing.models.building import built_wrongly, loaded_wrongly
from icl_curriculum.testing.models.gradients import unlike_autograd
from icl_curriculum.testing.models.heads import masked_wrongly, without_keyword
from icl_curriculum.testing.models.predictions import cut_short, misplaced
from icl_curriculum.testing.models.subject import BATCH, ModelSubject, differ, off
from icl_curriculum.testing.rules import Finding, Note, rule

NAMES = ("first", "second")
#: The instruction of each of `BATCH` prompts that are told different things.
ROWS = (0, 1, NEUTRAL)


def _all_told(subject: ModelSubject) -> Iterator[Instruction]:
    """What models are told: two names, by every kind of token that can tell them apart in so many dimensions."""
    if subject.size[0] >= len(NAMES):
        yield from (Instruction("one_hot", tokens, "function_class", NAMES) for tokens in (1, 2))
    yield from (Instruction("preset", tokens, "function_class", NAMES) for tokens in (1, 2))
    yield from (Instruction("learned", tokens, "function_class", NAMES) for tokens in (1, 2))


def _some_told(subject: ModelSubject) -> Iterator[Instruction]:
    """One of each kind, and of those with vectors one and two tokens."""
    yield from (told for told in _all_told(subject) if (told.tokens > 1) == (told.kind == "learned"))


def _each(
    subject: ModelSubject, told_what: Iterator[Instruction], examine: Callable[[Instruction], Finding | None]
) -> Iterator[Finding | Note]:
    """The first finding among what a model is told."""
    for told in told_what:
        finding = examine(told)
        if finding is not None:
            yield finding
            return
    if subject.size[0] < len(NAMES):
        yield Note(f"one-hot tokens of {subject.size[0]} dimensions tell no two names apart: not tried")


@rule("instruction", "a model built to read instructions predicts by what each prompt's says", requires=("shape",))
def instruction(subject: ModelSubject) -> Iterator[Finding | Note]:
    subject.expect(Capability.INSTRUCTION)
    if not takes_keyword(subject.as_given.build, "instruction"):
        taken = ", ".join(inspect.signature(subject.as_given.build).parameters)
        yield Finding(
            expected="a keyword instruction of build, as capabilities declare it",
            found=f"build({taken})",
            mend="write build(self, *, dims, points, generator, instruction=None): an Instruction or None; or declare "
            "no such capability",
        )
        return
    finding = without_keyword(subject.stirred(), "instruction", "int64 rows, one for each prompt, or None")
    if finding is not None:
        yield finding
        return
    yield from _each(
        subject,
        _all_told(subject),
        lambda told: built_wrongly(subject, *subject.size, told=told) or _deaf(subject, told),
    )


@torch.no_grad()
def _deaf(subject: ModelSubject, told: Instruction) -> Finding | None:
    """How a model fails to do as it is told, if it does."""
    model = subject.stirred(told=told)
    xs, ys, queries = subject.prompts(*subject.size)
    kind = f"{told.tokens} {told.kind} token{'s' if told.tokens > 1 else ''}"
    try:
        subject.ask(model, xs, ys)
    except ValueError:
        got = None
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
    else:
        got = "predictions"
    if got is not None:
        return Finding(
            expected=f"ValueError from {subject.doing} without instructions, as the model was built to read {kind}",
            found=got,
            mend="call instruction.check(len(xs), rows) of the Instruction that build was given: left out, the tokens "
            "would shift all others",
        )
    for separate in (None, queries):
        alone = {row: subject.ask(model, xs, ys, separate, torch.full((BATCH,), row)) for row in ROWS}
        for one, other in ((0, 1), (0, NEUTRAL), (1, NEUTRAL)):
            if not differ(alone[one], alone[other], tolerance=1e-5):
                return Finding(
                    expected=f"other predictions for rows {one} and {other} of {kind}, from {subject.doing}",
                    found="the same predictions",
                    mend="let every row have tokens of its own, and the neutral row, -1, tokens of zeros; let the "
                    "prompt's tokens see them, with and without separate queries",
                )
        together = subject.ask(model, xs, ys, separate, torch.tensor(ROWS))
        wanted = torch.stack([alone[row][number] for number, row in enumerate(ROWS)])
        if differ(together, wanted):
            return Finding(
                expected=f"the same predictions for a prompt whatever the others are told, by {kind}, from "
                f"{subject.doing}",
                found=f"predictions that differ by up to {off(together, wanted):.3g}",
                mend="choose each prompt's tokens by its own row",
            )
    return _wrongly_trained(subject, told)


def _wrongly_trained(subject: ModelSubject, told: Instruction) -> Finding | None:
    """Parameters that come with names where nothing of an instruction is trained, or lack where it is."""
    more = Instruction(told.kind, told.tokens, told.of, (*told.names, "third"))
    if told.kind == "one_hot" and len(more.names) > subject.size[0]:
        return None
    shapes = []
    for each in (told, more):
        named = subject.built(*subject.size, told=each).named_parameters()
        shapes.append({name: tuple(value.shape) for name, value in named if value.requires_grad})
    grown = [name for name, shape in shapes[1].items() if shapes[0].get(name) != shape]
    if told.kind == "learned" and not grown:
        return Finding(
            expected=f"for learned tokens, trained vectors for every name: more for {len(more.names)} names than for "
            f"{len(told.names)}",
            found="the same trained parameters for both",
            mend="keep them in a torch.nn.Parameter, a vector for each name and each token",
        )
    if told.kind != "learned" and grown:
        mend = "keep them in register_buffer(...), drawn from the generator as N(0, 1)"
        return Finding(
            expected=f"for {told.kind} tokens, nothing that is trained beside the model's own parameters",
            found=f"{grown[0]!r}, of shape {shapes[1][grown[0]]} for {len(more.names)} names, is trained",
            mend=mend if told.kind == "preset" else "read them in as an x, whose coordinate is 1 at the row",
        )
    return None


@rule("instructed prompts", "instructions leave causality, lengths, attention, masks and predict as they should be",
      requires=("instruction", "prompt lengths", "longest prompt", "device"))  # fmt: skip
def instructed_prompts(subject: ModelSubject) -> Iterator[Finding | Note]:
    subject.expect(Capability.INSTRUCTION)
    yield from _each(subject, _some_told(subject), lambda told: _of_prompts(subject, subject.stirred(told=told)))


def _of_prompts(subject: ModelSubject, model: Model) -> Finding | None:
    rows = torch.tensor(ROWS)
    _, _, queries = subject.prompts(*subject.size)
    finding = _of_lengths(subject, model, rows) or cut_short(subject, model, rows[:1])
    for separate in (None, queries):
        finding = finding or misplaced(subject, model, separate, rows)
    # Several tokens show whatever one would, and these take longest.
    several = model.instruction_tokens > 1
    if finding is None and several and subject.as_given.lacks(Capability.ATTENTION) is None:
        finding = unlike_attention(subject, model, rows)
        # Raised where labels have no tokens of their own.
        with contextlib.suppress(UserError):
            finding = finding or misplaced_tokens(subject, model, rows)
        if finding is None and subject.as_given.lacks(Capability.HEAD_MASK) is None:
            finding = masked_wrongly(subject, model, rows)
    return finding or _untold(subject, model)


@torch.no_grad()
def _of_lengths(subject: ModelSubject, model: Model, rows: Tensor) -> Finding | None:
    """An entry that depends on its own label or on what comes after it, if one does."""
    dims, points = subject.size
    xs, ys, queries = subject.prompts(dims, points)
    for separate in (None, queries):
        whole = subject.ask(model, xs, ys, separate, rows)
        prompts = Prompts(xs=xs, ys=ys, targets=ys, queries=separate)
        for k in range(points):
            asked = prompts.at_prefix(k)
            labels = asked.ys.clone()
            labels[:, k] += 1
            alone = subject.ask(model, asked.xs, labels, None, rows)[:, k]
            if differ(alone, whole[:, k]):
                how = "" if separate is None else ", separate queries"
                return Finding(
                    expected=f"entry {k} of {points} points{how} and instructions as in the prompt of {k + 1} points "
                    "with another last label",
                    found=f"it differs by up to {off(alone, whole[:, k]):.3g}",
                    mend="put the same tokens before every prompt, at the same places however long it is, and shift "
                    "all others by as many; separate queries stand where the example does that they stand for",
                )
    return None


@torch.no_grad()
def _untold(subject: ModelSubject, model: Model) -> Finding | None:
    """How predict fails to tell the model what prompts are of, if it does."""
    xs, ys, queries = subject.prompts(*subject.size)
    given = torch.tensor([1, NEUTRAL, 0])
    for separate in (None, queries):
        for name, rows in (("second", [1] * BATCH), ("a stranger", [NEUTRAL] * BATCH), ("first", given.tolist())):
            prompts = Prompts(
                xs=xs, ys=ys, targets=ys, queries=separate, function_class=name,
                instruction=given if rows == given.tolist() else None,
            )  # fmt: skip
            wanted = subject.ask(model, xs, ys, separate, torch.tensor(rows))
            subject.doing = f"predict of prompts of {name!r}"
            found = model.predict(prompts)
            if differ(found, wanted):
                return Finding(
                    expected=f"from {subject.doing}, the predictions of forward with the rows {rows}",
                    found=f"they differ by up to {off(found, wanted):.3g}",
                    mend="leave predict as Model defines it: it tells the model what Instruction.rows says",
                )
    return None


@rule("instructed training", "with instructions, too, backward is autograd's, and a state dict holds all there is",
      requires=("instruction", "gradients", "state"))  # fmt: skip
def instructed_training(subject: ModelSubject) -> Iterator[Finding | Note]:
    subject.expect(Capability.INSTRUCTION)
    yield from _each(subject, _some_told(subject), lambda told: _of_training(subject, told))


def _of_training(subject: ModelSubject, told: Instruction) -> Finding | None:
    rows = torch.tensor(ROWS)
    model, other = subject.stirred(told=told), subject.stirred(told=told)
    finding = loaded_wrongly(subject, told=told, rows=rows) or unlike_autograd(subject, model, other, rows)
    if finding is not None or subject.as_given.lacks(Capability.EXPLICIT_PARAMETERS) is not None:
        return finding
    xs, ys, queries = subject.prompts(*subject.size)
    with torch.no_grad():
        for separate in (None, queries) if model.takes_queries else (None,):
            wanted = subject.ask(model, xs, ys, separate, rows)
            subject.doing = "forward_with and instructions"
            found = model.forward_with(dict(model.named_parameters()), xs, ys, separate, instruction=rows)
            if differ(found, wanted):
                return Finding(
                    expected=f"from {subject.doing}, the predictions of forward",
                    found=f"they differ by up to {off(found, wanted):.3g}",
                    mend="let forward_with hand its instruction to forward",
                )
    return None
