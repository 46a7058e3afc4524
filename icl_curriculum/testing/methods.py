"""Rules on training methods, which are checked in a tiny experiment of two cells.

Dimensions: n = prompts of a draw.
"""

from __future__ import annotations

import functools
import io
import math
import re
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from icl_curriculum.config.experiment import Experiment, Run
from icl_curriculum.config.tables import CurriculumConfig, InstructionConfig, TrainingConfig
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import METHODS, MODELS
from icl_curriculum.core.streams import generator
from icl_curriculum.curricula import Growth
from icl_curriculum.models.base import Capability, Model, ModelConfig, prompt_errors
from icl_curriculum.models.transformer import TransformerConfig
from icl_curriculum.testing import components
from icl_curriculum.testing.components import unlike_capabilities
from icl_curriculum.testing.generators import watched_generators
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, Rule, rule
from icl_curriculum.testing.subject import ComponentSubject
from icl_curriculum.training.methods import TrainingMethod
from icl_curriculum.training.session import Cell, Session
from icl_curriculum.training.trainer import Trainer, Update

Drawing = Literal["batch", "prompt"]
DRAWINGS: tuple[Drawing, ...] = ("batch", "prompt")
CELLS = 2
#: Updates of a run that is interrupted half-way; the run itself is of the default length.
STEPS = 4
#: Prompts of an update: the first number that the method takes.
BATCH_SIZES = (8, 16, 32, 64, 128)


class MethodSubject(ComponentSubject[TrainingMethod]):
    """A training method under check, and runs of a tiny experiment that it trains."""

    registry = METHODS
    base = TrainingMethod
    # As runs do. What is so small takes longer on more, where others compute too.
    threads = 1
    example_summary = "Plain in-context training with two steps on every batch."

    @functools.cached_property
    def model(self) -> ModelConfig:
        """A model that can do what the method needs: a narrow transformer, else the first of those registered.

        Raises Inapplicable if there is none.
        """
        self.doing = "required()"
        needed = self.as_given.required()
        narrow: dict[str, Any] = {"width": 8, "layers": 1, "heads": 2}
        if Capability.SECOND_DERIVATIVES in needed:
            narrow["attention"] = "plain"
        candidates: list[ModelConfig] = [TransformerConfig(**narrow)]
        for name in MODELS.names() if any(candidates[0].lacks(item) is not None for item in needed) else ():
            built = MODELS.build(name)
            assert isinstance(built, ModelConfig)
            candidates.append(built)
        for config in candidates:
            if all(config.lacks(capability) is None for capability in needed):
                return config
        wanted = " and ".join(capability.wording for capability in sorted(needed))
        raise Inapplicable(f"no registered model can {wanted}, each at its defaults; register one in the same file")

    def refusal(self, training: TrainingConfig, drawing: Drawing) -> UserError | None:
        """The error by which `ConfiguredMethod.check` refuses a ``[training]`` table. Raises what else that raises."""
        self.doing = f'check of [training] with batch_size = {training.batch_size} and curriculum.draw = "{drawing}"'
        try:
            self.as_given.check(training, cells=CELLS, draw=drawing)
        except UserError as error:
            return error
        return None

    def training(self, drawing: Drawing, batch_size: int) -> TrainingConfig:
        return TrainingConfig(method=equal_to(self.as_given), batch_size=batch_size, loss="normalized", clip=math.inf)

    @functools.cached_property
    def drawings(self) -> dict[Drawing, int]:
        """The values of ``curriculum.draw`` that the method takes, with the batch size for each."""
        taken: dict[Drawing, int] = {}
        for drawing in DRAWINGS:
            fitting = (n for n in BATCH_SIZES if self.refusal(self.training(drawing, n), drawing) is None)
            size = next(fitting, None)
            if size is not None:
                taken[drawing] = size
        return taken

    def trainer(self, drawing: Drawing, *, told: bool = False) -> WatchedTrainer:
        """A run that has not begun. Its method is equal to that under check, and shares nothing with it.

        ``told``: of a model that reads instructions; any method that needs such a one has it.
        """
        told = told or Capability.INSTRUCTION in self.as_given.required()
        experiment = Experiment(
            dims=2,
            points=5,
            function_classes=("linear", "quadratic"),
            inputs=("gaussian",),
            curriculum=CurriculumConfig(
                function_classes="random",  # type: ignore[arg-type]
                draw=drawing,
                points=Growth(start=3, add=1, every=1),
            ),
            model=self.model,
            instruction=InstructionConfig(kind="preset" if told else "none"),
            training=self.training(drawing, self.drawings[drawing]),
        )
        self.doing = "initial_state"
        return WatchedTrainer(Run(experiment, "conformity", 0))

    def trainers(self) -> Iterator[tuple[WatchedTrainer, str]]:
        """A run for each value of ``curriculum.draw`` that the method takes, and how to name it."""
        for drawing in self.drawings:
            yield self.trainer(drawing), f'curriculum.draw = "{drawing}"'

    def update(self, trainer: WatchedTrainer) -> Update:
        """One update by the trainer. What the method raises comes as it was raised."""
        self.doing = f'update at step {trainer.step}, curriculum.draw = "{trainer.run.experiment.curriculum.draw}"'
        try:
            return trainer.update()
        except ComponentFailed as failed:
            if failed.__cause__ is not None:
                raise failed.__cause__ from None
            raise


class WatchedTrainer(Trainer):
    """A trainer that keeps its latest session, and what was drawn in it."""

    latest: Session
    prompts: dict[tuple[str, Cell], list[Prompts]]

    def session(self) -> Session:
        session = super().session()
        self.latest, self.prompts = session, {}
        draw = session.draw

        def noted(cell: Cell, n: int, *, role: str = "training", **how: Any) -> Prompts:
            prompts = draw(cell, n, role=role, **how)
            self.prompts.setdefault((role, cell), []).append(prompts)
            return prompts

        session.draw = noted  # type: ignore[method-assign]
        return session


def equal_to(method: TrainingMethod) -> TrainingMethod:
    """A method with the same fields, which shares nothing else: whatever this one hid in itself is not there."""
    fields = type(method).model_fields
    values = {fields[name].alias or name: getattr(method, name) for name in method.model_fields_set}
    return type(method).model_validate(values)


def _weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def _unequal(one: Any, other: Any, place: str = "") -> list[str]:
    """The places where two states, of tensors and plain values, are not equal bit by bit."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        equal = one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())
        return [] if equal else [place]
    if isinstance(one, dict) and isinstance(other, dict):
        found = [key for key in {**one, **other} if (key in one) != (key in other)]
        shared = [key for key in one if key in other]
        return [str(key) for key in found] + [
            at for key in shared for at in _unequal(one[key], other[key], f"{place}[{key!r}]" if place else str(key))
        ]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [at for i, (left, right) in pairs for at in _unequal(left, right, f"{place}[{i}]")]
    return [] if one == other else [place]


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


@rule("update", "updates move the weights; their losses are finite, by role and cell, the signal's among them",
      requires=("operations",))  # fmt: skip
def update(subject: MethodSubject) -> Iterator[Finding | Note]:
    for trainer, how in subject.trainers():
        before = _weights(trainer)
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
    before = _weights(trainer)
    found = {cell: float(value) for cell, value in subject.update(trainer).losses_of(trainer.method.signal).items()}
    after = _weights(trainer)
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
        errors.append(prompt_errors(model(item.xs, item.ys, item.queries, **told), item.targets))
    return float(torch.cat(errors).mean())


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


@rule("state", "session.state is tensors and plain values, which a checkpoint holds", requires=("update",))
def state(subject: MethodSubject) -> Iterator[Finding | Note]:
    empty = True
    for drawing in subject.drawings:
        trainer = subject.trainer(drawing)
        fresh = trainer.run.experiment.build_model(generator(trainer.run.seed, "initialization"))
        changed = _unequal(fresh.state_dict(), trainer.model.state_dict())
        if changed:
            yield Finding(
                expected="the model as it was built after initial_state",
                found=f"initial_state changed {', '.join(changed[:3])}",
                mend="work on copies: value.detach().clone()",
            )
            return
        for updates in range(2):
            broken = _outside_checkpoints(_trained(subject, trainer, updates))
            if broken is not None:
                yield Finding(
                    expected="in session.state, tensors and plain values (numbers, text, None, lists, dicts)",
                    found=broken,
                    mend="keep numbers as int and float, and objects as dicts of what they hold; keys are text or "
                    "numbers",
                )
                return
        empty = empty and not trainer.method_state
    if empty:
        yield Note("session.state is empty: nothing is kept between updates but weights and optimizers")


def _outside_checkpoints(trainer: Trainer) -> str | None:
    """The reason why the state of a run cannot be written and read again; None if it can."""
    try:
        _read_again(trainer.state_dict())
    except ComponentFailed as failed:
        return failed.found
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return None


def _read_again(state: dict[str, Any]) -> dict[str, Any]:
    """The state after it was written and read as checkpoints are."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return dict(torch.load(buffer, weights_only=True))


@rule("determinism", "equal runs end at equal weights, bit by bit", requires=("global generators", "state"))
def determinism(subject: MethodSubject) -> Iterator[Finding | Note]:
    for drawing in subject.drawings:
        one, other = (_trained(subject, subject.trainer(drawing), 3) for _ in range(2))
        unequal = _unequal(one.state_dict(), other.state_dict())
        if unequal:
            yield Finding(
                expected=f'bit-equal states of two equal runs after three updates, curriculum.draw = "{drawing}"',
                found=f"{', '.join(unequal[:3])} differ",
                mend="keep nothing outside session.state (no attributes of the module or the class), iterate over no "
                "set, and read no clock",
            )
            return


def _trained(subject: MethodSubject, trainer: WatchedTrainer, updates: int) -> WatchedTrainer:
    for _ in range(updates):
        subject.update(trainer)
    return trainer


@rule("resuming", "a run that was interrupted and resumed ends at the bits of one that was not",
      requires=("determinism",))  # fmt: skip
def resuming(subject: MethodSubject) -> Iterator[Finding | Note]:
    for drawing in subject.drawings:
        whole = _trained(subject, subject.trainer(drawing), STEPS)
        half = _trained(subject, subject.trainer(drawing), STEPS // 2)
        resumed = subject.trainer(drawing)
        resumed.load_state_dict(_read_again(half.state_dict()))
        unequal = _unequal(whole.state_dict(), _trained(subject, resumed, STEPS - STEPS // 2).state_dict())
        if unequal:
            yield Finding(
                expected=f'after {STEPS} updates, curriculum.draw = "{drawing}", the same bits whether or not the run '
                f"was interrupted and resumed after {STEPS // 2}",
                found=f"{', '.join(unequal[:3])} differ",
                mend="keep everything that one update leaves for the next in session.state, changed in place or key by "
                "key, and nothing in attributes of the method or tensors of the model's",
            )
            return


#: In the order in which they are checked.
RULES: tuple[Rule[MethodSubject], ...] = (
    *components.RULES,
    needs,
    check,
    operations,
    update,
    losses,
    instructions,
    global_generators,
    state,
    determinism,
    resuming,
)
