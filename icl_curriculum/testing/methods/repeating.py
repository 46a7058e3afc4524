"""Rules on updates that are repeated: the state, equal runs, and runs that were interrupted."""

from __future__ import annotations

from collections.abc import Iterator

from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.streams import generator
from icl_curriculum.testing.checkpointing import read_again, unequal_places
from icl_curriculum.testing.methods.subject import (
    STEPS,
    MethodSubject,
    WatchedTrainer,
)
from icl_curriculum.testing.rules import Finding, Note, rule
from icl_curriculum.training.trainer import Trainer


@rule("state", "session.state is tensors and plain values, which a checkpoint holds", requires=("update",))
def state(subject: MethodSubject) -> Iterator[Finding | Note]:
    empty = True
    for drawing in subject.drawings:
        trainer = subject.trainer(drawing)
        fresh = trainer.run.experiment.build_model(generator(trainer.run.seed, "initialization"))
        changed = unequal_places(fresh.state_dict(), trainer.model.state_dict())
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
        read_again(trainer.state_dict())
    except ComponentFailed as failed:
        return failed.found
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return None


@rule("determinism", "equal runs end at equal weights, bit by bit", requires=("global generators", "state"))
def determinism(subject: MethodSubject) -> Iterator[Finding | Note]:
    for drawing in subject.drawings:
        one, other = (_trained(subject, subject.trainer(drawing), 3) for _ in range(2))
        unequal = unequal_places(one.state_dict(), other.state_dict())
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
        resumed.load_state_dict(read_again(half.state_dict()))
        unequal = unequal_places(whole.state_dict(), _trained(subject, resumed, STEPS - STEPS // 2).state_dict())
        if unequal:
            yield Finding(
                expected=f'after {STEPS} updates, curriculum.draw = "{drawing}", the same bits whether or not the run '
                f"was interrupted and resumed after {STEPS // 2}",
                found=f"{', '.join(unequal[:3])} differ",
                mend="keep everything that one update leaves for the next in session.state, changed in place or key by "
                "key, and nothing in attributes of the method or tensors of the model's",
            )
            return
