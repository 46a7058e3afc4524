"""The rule on what a model does between updates.

Dimensions: batch = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import torch

from icl_curriculum.models.base import Model
from icl_curriculum.testing.generators import watched_generators
from icl_curriculum.testing.models.subject import ModelSubject, off
from icl_curriculum.testing.rules import Finding, Inapplicable, rule

#: Updates that a training is said to have, and that are looked at: a schedule shows over some of them.
STEPS, LOOKED_AT = 1000, (0, 1, 2, 499, 999)


@rule("updates", "before_update and after_update change buffers alone, by step and generator, so that runs resume",
      requires=("state",))  # fmt: skip
def updates(subject: ModelSubject) -> Iterator[Finding]:
    """One model goes through the updates; at each another one, just built, takes over its state before it."""
    dims, points = subject.size
    model = subject.stirred()
    if not model.changes_between_updates:
        raise Inapplicable("the model is the same at every step")
    for step in LOOKED_AT:
        other = subject.built(dims, points, index=1)
        other.load_state_dict(model.state_dict())
        finding = _changed_wrongly(subject, model, step) or _unlike(subject, model, other, step)
        if finding is not None:
            yield finding
            return


def _changed_wrongly(subject: ModelSubject, model: Model, step: int) -> Finding | None:
    """What an update, in which the model is called once, changes that it may not."""
    kept = {name: value.detach().clone() for name, value in model.named_parameters()}
    names = set(model.state_dict())
    with watched_generators() as used:
        _begin(subject, model, step)
        subject.doing = f"cost_key at step {step}"
        key: object = model.cost_key()
        subject.doing = "after_update"
        model.after_update()
        libraries = used()
    if libraries:
        return Finding(
            expected="random numbers of an update from the generator that before_update is given",
            found=f"{' and '.join(libraries)}: the global generator changed between before_update and after_update",
            mend="pass generator=generator to every torch draw",
        )
    changed = [name for name, value in model.named_parameters() if not value.detach().equal(kept[name])]
    if changed:
        return Finding(
            expected="parameters as they were: they are the optimizer's",
            found=f"an update without a step of the optimizer changed {', '.join(map(repr, changed))}",
            mend="keep what before_update and after_update change in buffers",
        )
    if set(model.state_dict()) != names:
        new = ", ".join(map(repr, sorted(set(model.state_dict()) ^ names)))
        return Finding(
            expected="the same buffers before an update as after it",
            found=f"{new} came or went at step {step}",
            mend="register every buffer when the model is built, and fill it in before_update",
        )
    if not isinstance(key, Hashable):
        return Finding(
            expected="something that can be a key from cost_key, as a number",
            found=f"a {type(key).__name__}",
            mend="return int(buffer) where a buffer decides what a forward pass costs",
        )
    return None


def _unlike(subject: ModelSubject, model: Model, other: Model, step: int) -> Finding | None:
    """How a model that has taken over another's state differs from it, during and after the next update."""
    xs, ys, _ = subject.prompts(*subject.size)
    found = []
    for each in (model, other):
        _begin(subject, each, step)
        with torch.no_grad():
            during = subject.ask(each, xs, ys)
            subject.doing = "after_update"
            each.after_update()
            found.append((during, subject.ask(each, xs, ys)))
    for when, one, another in zip(("during", "after"), *found, strict=True):
        if not one.equal(another):
            return Finding(
                expected=f"equal predictions {when} update {step} of a model and of another that has loaded its state",
                found=f"predictions that differ by up to {off(one, another):.3g}",
                mend="keep what before_update and after_update change in register_buffer(...), and let it follow from "
                "step, steps and generator alone; plain attributes are in no checkpoint",
            )
    return None


def _begin(subject: ModelSubject, model: Model, step: int) -> None:
    subject.doing = f"before_update(step={step}, steps={STEPS}, generator)"
    model.before_update(step, STEPS, subject.generator("update", step))
