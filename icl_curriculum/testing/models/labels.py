"""Rules on labels of several numbers: models that are built for them, and classes among them.

Dimensions: batch = prompts, points = K + 1, dims = d, labels = the numbers of a label.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models.base import Capability, Model, build_model
from icl_curriculum.models.calling import given
from icl_curriculum.models.stirring import stir
from icl_curriculum.testing.models.subject import BATCH, ModelSubject, differ, off
from icl_curriculum.testing.rules import Finding, Note, rule

#: The numbers of a label: fewer than most inputs have coordinates, and more.
LABELS = (3, 9)
TOLERANCE = 1e-3


def _built(subject: ModelSubject, labels: int, *, classes: bool = False) -> Model:
    """A model for labels of so many numbers, none of whose parameters has a special value."""
    dims, points = subject.size
    subject.doing = f"build(dims={dims}, points={points}, label_dims={labels})"
    made = subject.generator("build")
    model = build_model(
        subject.as_given, dims=dims, points=points, generator=made, instruction=None, label_dims=labels,
        classes=classes,
    )  # fmt: skip
    stir(model, subject.generator("stirred"))
    return model


def _prompts(subject: ModelSubject, labels: int, index: int = 0) -> tuple[Tensor, Tensor]:
    dims, points = subject.size
    xs, _, _ = subject.prompts(dims, points, index=index)
    made = subject.generator("labels", index)
    return xs, torch.randn(BATCH, points, labels, generator=made)


@rule("vector labels", "built for labels of several numbers, it predicts as many, from the first k pairs alone",
      requires=("causality",))  # fmt: skip
def vector_labels(subject: ModelSubject) -> Iterator[Finding | Note]:
    subject.expect(Capability.VECTOR_LABELS)
    for labels in LABELS:
        model = _built(subject, labels)
        xs, ys = _prompts(subject, labels)
        subject.doing = f"forward of xs of shape {tuple(xs.shape)} and ys of shape {tuple(ys.shape)}"
        with torch.no_grad():
            found: object = model(xs, ys)
            if not isinstance(found, Tensor) or found.shape != ys.shape:
                got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
                yield Finding(
                    expected=f"predictions shaped as labels, {tuple(ys.shape)}, from {subject.doing}",
                    found=got,
                    mend="read out label_dims numbers, and leave out the last axis only where label_dims is 1",
                )
                return
            usual = found.clone()
            last = ys.shape[1] - 1
            for k in range(last + 1):
                for number in (0, labels - 1):
                    other = ys.clone()
                    other[:, k, number] += 1
                    now = model(xs, other)
                    if differ(now[:, : k + 1], usual[:, : k + 1]):
                        yield Finding(
                            expected=f"entries up to k = {k} unchanged when number {number} of label {k} changes",
                            found=f"they change by up to {off(now[:, : k + 1], usual[:, : k + 1]):.3g}",
                            mend="entry k uses the first k labels; its own is not among them",
                        )
                        return
                    if k < last and bool((now[:, k + 1 :] == usual[:, k + 1 :]).all()):
                        yield Finding(
                            expected=f"later predictions that follow from number {number} of {labels} of label {k}",
                            found="the same ones when it changes",
                            mend="read in all numbers of a label, also where they are more than an input has",
                        )
                        return


@rule("what counts", "backward honours the weights of entries, and the cross-entropy of classes",
      requires=("gradients",))  # fmt: skip
def what_counts(subject: ModelSubject) -> Iterator[Finding | Note]:
    """Compared with autograd through an equal model; what does not count is no number."""
    able = subject.as_given.lacks(Capability.VECTOR_LABELS) is None
    for classes in (False, True) if able else (False,):
        labels = 3 if classes else 1
        model, other = (_built(subject, labels, classes=classes) for _ in range(2)) if able else (
            subject.stirred(), subject.stirred()
        )  # fmt: skip
        xs, ys = _prompts(subject, labels)
        ys = torch.nn.functional.one_hot(ys.argmax(-1), labels).float() if classes else ys.squeeze(-1)
        defined = torch.rand(xs.shape[:2], generator=subject.generator("mask")) < 0.7
        defined[:, 0] = True
        counting = defined if ys.ndim == 2 else defined.unsqueeze(-1)
        targets = torch.where(counting, ys, torch.nan)
        entries = Prompts(xs, ys, targets, mask=defined).entry_weights()
        weights = torch.tensor([0.5, 1.0, 2.0])
        what = "classes" if classes else "entries that count and others that do not"
        subject.doing = f"backward of prompts with {what}"
        wanted = other.backward_by_autograd(xs, ys, targets, weights, **given(entry_weights=entries))
        found = model.backward(xs, ys, targets, weights, **given(entry_weights=entries))
        unlike = differ(found, wanted, tolerance=TOLERANCE)
        pairs = zip(model.named_parameters(), other.named_parameters(), strict=True)
        for (name, own), (_, expected) in pairs:
            if own.grad is None or expected.grad is None:
                unlike |= own.grad is not expected.grad
            else:
                unlike |= differ(own.grad, expected.grad, tolerance=TOLERANCE)
            if unlike:
                yield Finding(
                    expected=f"from backward with {what}, the errors of mean_errors, and their gradients",
                    found=f"others, first in {name!r}",
                    mend="leave backward to Model, or compute in it what mean_errors(predictions, targets, "
                    "entry_weights, classes=self.classes) gives; a GradientStrategy that cannot has no weighs_entries",
                )
                return
