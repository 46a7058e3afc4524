"""The rule on reasoning steps: a model reads them as positions, and predicts those that are not given.

Dimensions: batch = prompts, points = K + 1, dims = d, steps = S, the reasoning steps of a pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models.base import Model
from icl_curriculum.models.stirring import stir
from icl_curriculum.testing.models.subject import BATCH, ModelSubject, differ, off
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule

#: Reasoning steps of a pair, and pairs of a prompt if the config allows so many positions.
STEPS, PAIRS = 2, 3
TOLERANCE = 1e-3


@rule("steps", "predict reads reasoning steps as positions, and predicts those that are not given one after another",
      requires=("predict",))  # fmt: skip
def steps(subject: ModelSubject) -> Iterator[Finding | Note]:
    dims, points = subject.size
    each = STEPS + 1
    pairs = PAIRS if subject.refusal(dims, PAIRS * each) is None else points // each
    if pairs < 2:
        raise Inapplicable(f"it is built for {points} points, too few for two pairs with {STEPS} steps each")
    length = PAIRS * each if pairs == PAIRS else points
    model = subject.built(dims, length)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    stir(model, subject.generator("stirred"))
    xs, ys, _ = subject.prompts(dims, pairs)
    shown = torch.randn(BATCH, pairs, STEPS, generator=subject.generator("steps"))
    prompts = Prompts(xs=xs, ys=ys, targets=torch.full_like(ys, torch.nan), steps=shown)
    with torch.no_grad():
        if not bool(_by_hand(subject, model, prompts).isfinite().all()):
            model.load_state_dict(kept)
        for given in (True, False):
            asked = replace(prompts, steps_given=given)
            how = "given" if given else "to be predicted"
            subject.doing = f"predict of prompts with {STEPS} steps each, those of the query {how}"
            found: object = model.predict(asked)
            wanted = _by_hand(subject, model, asked)
            if (
                isinstance(found, Tensor)
                and found.shape == wanted.shape
                and not differ(found, wanted, tolerance=TOLERANCE)
            ):
                continue
            got = f"they differ by up to {off(found, wanted):.3g}" if isinstance(found, Tensor) else repr(type(found))
            if isinstance(found, Tensor) and found.shape != wanted.shape:
                got = f"shape {tuple(found.shape)}"
            yield Finding(
                expected=f"the answers of forward, asked one position after another, from predict with the steps of "
                f"the query {how}",
                found=got,
                mend="leave predict as Model defines it, or begin it with: if prompts.steps is not None: return "
                "super().predict(prompts)",
            )
            return


def _by_hand(subject: ModelSubject, model: Model, prompts: Prompts) -> Float[Tensor, "batch points"]:
    """The answers of forward to x, 0, 0 with the labels s_1, s_2, y of every pair, one prompt length at a time."""
    assert prompts.steps is not None
    found = torch.zeros_like(prompts.ys)
    for k in range(prompts.points):
        inputs, labels = [], []
        for j in range(k + 1):
            inputs += [prompts.xs[:, j], *[torch.zeros_like(prompts.xs[:, j])] * STEPS]
            labels += [*prompts.steps[:, j].unbind(dim=-1), prompts.ys[:, j]]
        xs, ys = torch.stack(inputs, dim=1), torch.stack(labels, dim=1)
        start = k * (STEPS + 1)
        for place in range(start, start + STEPS + 1):
            ys[:, place:] = ys[:, place:] if prompts.steps_given and place < start + STEPS else 0.0
            answer = subject.ask(model, xs[:, : place + 1], ys[:, : place + 1])[:, place]
            if place == start + STEPS:
                found[:, k] = answer
            elif not prompts.steps_given:
                ys[:, place] = answer
    return found
