"""Rules on one update of a training method: what it needs, draws, costs and returns."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import torch

from icl_curriculum.config.tables import TrainingConfig
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models.base import Capability, Model, prompt_errors
from icl_curriculum.testing.components import unlike_capabilities
from icl_curriculum.testing.generators import watched_generators
from icl_curriculum.testing.methods.subject import (
    BATCH_SIZES,
    CELLS,
    DRAWINGS,
    MethodSubject,
    WatchedTrainer,
    weights_of,
)
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule
from icl_curriculum.testing.subject import equal_to
from icl_curriculum.training.watching import WatchedModel


@rule(
    "needs", "required() is a set of what models can do, signal is a role, and roles has it", requires=("construction",)
)
def needs(subject: MethodSubject) -> Iterator[Finding | Note]:
    subject.doing = "required()"
    stranger = unlike_capabilities(subject.as_given.required())
    if stranger is not None:
        yield Finding(
            expected="from required(), or in needs, a frozenset of members of Capability",
            found=stranger,
            mend="write, for example, needs = frozenset({Capability.EXPLICIT_PARAMETERS})",
        )
        return
    signal: object = subject.as_given.signal
    if not isinstance(signal, str) or not re.fullmatch("[a-z][a-z0-9_]*", signal):
        yield Finding(
            expected="in signal, the role whose losses stand in training.csv: small letters, digits and _",
            found=repr(signal),
            mend='write, for example, signal = "support", and draw prompts under it at every step',
        )
    roles: object = subject.as_given.roles
    if (
        not isinstance(roles, tuple)
        or not all(isinstance(role, str) for role in roles)
        or (roles and signal not in roles)
    ):
        yield Finding(
            expected=f"in roles, a tuple of the roles whose losses stand in training.csv, {signal!r} among them, or ()",
            found=repr(roles),
            mend=f'write, for example, roles = ({signal!r}, "query")',
        )


@rule("check", "check refuses a [training] table with UserError alone, and takes some", requires=("construction",))
def check(subject: MethodSubject) -> Iterator[Finding | Note]:
    for drawing in DRAWINGS:
        refusal = subject.refusal(TrainingConfig(method=equal_to(subject.as_given)), drawing)
        if refusal is not None:
            yield Note(f'curriculum.draw = "{drawing}" and the defaults of [training] are refused: {refusal}')
    if not subject.drawings:
        refusal = subject.refusal(subject.training("batch", BATCH_SIZES[-1]), "batch")
        yield Finding(
            expected=f"a batch size from {BATCH_SIZES[0]} to {BATCH_SIZES[-1]} that the method can train with, for "
            f"{CELLS} cells",
            found=f"check refuses them all, {BATCH_SIZES[-1]} with: {refusal}",
            mend="let check raise only for what update cannot do",
        )


@rule("operations", "operations gives a number of at least 0 for every role that is drawn", requires=("needs", "check"))
def operations(subject: MethodSubject) -> Iterator[Finding | Note]:
    for trainer, how in subject.trainers():
        subject.doing = f"update at step 0, {how}"
        session = trainer.session()
        trainer.method.update(session)
        for role in dict.fromkeys(draw.role for draw in session.drawn):
            subject.doing = f"operations({role!r}, forward=1000)"
            found: object = trainer.method.operations(role, 1000)
            if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < math.inf:
                yield Finding(
                    expected=f"a finite number of floating-point operations, at least 0, from {subject.doing}",
                    found=repr(found),
                    mend="count the passes that each prompt of the role goes through, times forward: a backward pass "
                    "is as much as two; 0 for prompts that no pass reads",
                )
                return


@rule("prompts", "the model is trained on prompts as they were drawn", requires=("operations",))
def prompts(subject: MethodSubject) -> Iterator[Finding | Note]:
    """A method may change them, but then nothing is known to be in distribution."""
    for trainer, how in subject.trainers():
        subject.doing = f"update at step 0, {how}"
        session, watched = trainer.session(), WatchedModel()
        session.kept_prompts = []
        with watched.watching(trainer.model):
            trainer.method.update(session)
        changed = watched.strange(session.kept_prompts)
        if changed is not None:
            yield Note(f"it gives the model {changed}, {how}: no row of a run is called in distribution")
            return


@rule("update", "updates move the weights; their losses are finite, by role and cell, the signal's among them",
      requires=("operations",))  # fmt: skip
def update(subject: MethodSubject) -> Iterator[Finding | Note]:
    for trainer, how in subject.trainers():
        before = weights_of(trainer)
        for _ in range(3):
            try:
                made = subject.update(trainer)
            except ComponentFailed as failed:
                yield _broken(failed)
                return
            for loss in made.losses:
                if not bool(torch.isfinite(loss.value)):
                    yield Finding(
                        expected=f"finite losses from {subject.doing}",
                        found=f"{float(loss.value)} of role {loss.role!r} for {'/'.join(loss.cell)}",
                        mend="look for steps that diverge: gradients that are summed where they should be averaged, "
                        "rates of inner steps that are too large",
                    )
                    return
        still = [name for name, value in trainer.model.state_dict().items() if value.equal(before[name])]
        if len(still) == len(before):
            yield Finding(
                expected=f"other weights after three updates, {how}",
                found="the weights that the run began with",
                mend="leave gradients in .grad of model.parameters() and call session.step_optimizers()",
            )
            return
    skipped = [f'curriculum.draw = "{drawing}"' for drawing in DRAWINGS if drawing not in subject.drawings]
    if skipped:
        yield Note(f"not tried, as check refuses it: {', '.join(skipped)}")


def _broken(failed: ComponentFailed) -> Finding:
    return Finding(
        expected=failed.expected or "an update that keeps the contract",
        found=failed.found or str(failed),
        mend="draw prompts of the role `signal` at every step, call session.step_optimizers() after the last "
        "gradients, and return {role: {cell: scalar tensor}} with a loss for every cell that was drawn under `signal`",
    )


@rule("losses", "the signal's losses are the errors of the model before the update", requires=("update",))
def losses(subject: MethodSubject) -> Iterator[Finding | Note]:
    """Mean squared errors over prompts and positions, without the weights that ``training.loss`` gives cells."""
    for trainer, how in subject.trainers():
        for _ in range(3):
            finding = _unlike_errors(subject, trainer, how)
            if finding is not None:
                yield finding
                return


def _unlike_errors(subject: MethodSubject, trainer: WatchedTrainer, how: str) -> Finding | None:
    """The first loss of the signal, in the next update, that is not the model's error, if one isn't."""
    before = weights_of(trainer)
    found = {cell: float(value) for cell, value in subject.update(trainer).losses_of(trainer.method.signal).items()}
    after = weights_of(trainer)
    trainer.model.load_state_dict(before)
    wanted = {
        cell: _error(trainer.model, drawn)
        for (role, cell), drawn in trainer.prompts.items()
        if role == trainer.method.signal
    }
    trainer.model.load_state_dict(after)
    for cell, expected in wanted.items():
        if not math.isclose(found[cell], expected, rel_tol=1e-3, abs_tol=1e-6):
            return Finding(
                expected=f"of role {trainer.method.signal!r} for {'/'.join(cell)}, {expected:.4g}: the mean squared "
                "error of the model before the update, over all prompts drawn and positions, unweighted",
                found=f"{found[cell]:.4g} from update at step {trainer.step - 1}, {how}",
                mend="compute it before the first step of the optimizers and before any inner step, without "
                "session.weight and without a factor for the number of cells",
            )
    return None


@torch.no_grad()
def _error(model: Model, drawn: list[Prompts]) -> float:
    errors = []
    for item in drawn:
        told = {} if item.instruction is None else {"instruction": item.instruction}
        errors.append(prompt_errors(model(item.xs, item.ys, item.queries, **told), item))
    return float(torch.cat(errors).mean())


@rule("what counts", "where weighs_entries says so, losses honour what counts in a prompt, and classes",
      requires=("losses",))  # fmt: skip
def what_counts(subject: MethodSubject) -> Iterator[Finding | Note]:
    """With prompts of random length, whose later entries have no target; and with classes for labels."""
    if not subject.as_given.weighs_entries:
        raise Inapplicable("weighs_entries is False: experiments in which positions may not count are refused")
    for drawing in subject.drawings:
        for what, how in (("positions that do not count", {"weighed": True}), ("classes", {"classes": True})):
            if how.get("classes") and subject.model.lacks(Capability.VECTOR_LABELS) is not None:
                continue
            trainer = subject.trainer(drawing, **how)
            finding = _unlike_errors(subject, trainer, f'curriculum.draw = "{drawing}"')
            broken = [name for name, value in weights_of(trainer).items() if not bool(value.isfinite().all())]
            if finding is not None or broken:
                yield Finding(
                    expected=f"with {what}, the mean of prompt_errors over the prompts, and gradients of it alone",
                    found=finding.found if finding is not None else f"weights that are no numbers in {broken[0]!r}",
                    mend="take errors by prompt_errors(predictions, prompts), or by add_gradients(model, portions); or "
                    "leave weighs_entries False",
                )
                return


@rule("instructions", "update tells the model the instruction of the prompts", requires=("losses",))
def instructions(subject: MethodSubject) -> Iterator[Finding | Note]:
    lack = subject.model.lacks(Capability.INSTRUCTION)
    if lack is not None:
        raise Inapplicable(f"not a model that can {Capability.INSTRUCTION.wording}: {lack}")
    for drawing in subject.drawings:
        trainer = subject.trainer(drawing, told=True)
        try:
            finding = _unlike_errors(subject, trainer, f'curriculum.draw = "{drawing}"')
        except ValueError as error:
            said = " ".join(str(error).split())
            found = f"ValueError: {said[:300]} ({subject.where_raised(error) or 'raised outside the method'})"
        else:
            found = finding.found if finding is not None else ""
        if found:
            yield Finding(
                expected=f"from {subject.doing} of a model that reads instructions, the losses of one that was told "
                "the instruction of each prompt",
                found=found,
                mend="pass instruction=prompts.instruction to backward and forward_with, and to the model itself where "
                "the prompts have one",
            )
            return


@rule("global generators", "initial_state and update use no generator that all code shares", requires=("update",))
def global_generators(subject: MethodSubject) -> Iterator[Finding | Note]:
    touched: dict[str, list[str]] = {}
    for drawing in subject.drawings:
        with watched_generators() as used:
            trainer = subject.trainer(drawing)
            for library in used():
                touched.setdefault(library, []).append("initial_state")
        with watched_generators() as used:
            subject.update(trainer)
            for library in used():
                touched.setdefault(library, []).append("update")
    for library, methods in touched.items():
        yield Finding(
            expected="all random numbers from the session: prompts from draw, batch and choose, others from generator",
            found=f"{library}'s global generator changed during {' and '.join(dict.fromkeys(methods))}",
            mend="pass generator=session.generator('a name of your own') to every torch draw",
        )
