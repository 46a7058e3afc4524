"""Learners that adapt at test time: a copy of a model takes steps on other prompts, or on each prompt's own examples.

Sources: Akyürek et al. 2024 (arXiv 2411.07279), test-time training on examples that are left out in turn; for linear
functions arXiv 2503.11842. Dimensions: batch = prompts, points = K + 1, k = examples before an entry, d = dims.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.steps import unrolled
from icl_curriculum.models.adaptation import Adaptation
from icl_curriculum.models.calling import check_shape, entry_errors, given
from icl_curriculum.models.descent import AdaptationDiverged, Descent, bank_loss, mean_square

#: Predictions by number of steps, or what went wrong by then.
_Answers = dict[int, Tensor | AdaptationDiverged]


#: Why a model does not adapt to the examples of a prompt with reasoning steps.
NO_STEPS_PER_PROMPT = "per_prompt leaves out pairs of x and y, and the pairs of these prompts have reasoning steps"


class BankPath:
    """The way of one copy of a model along the steps on adaptation prompts, for learners that differ in steps alone.

    The copy goes on from where it is, and begins anew for a number of steps that it has passed.
    """

    def __init__(self, model: Any, adaptation: Adaptation, prompts: Prompts, place: str = "") -> None:
        if prompts.steps is not None and prompts.queries is not None:
            of = f" of {place}" if place else ""
            raise UserError(
                f"{adaptation.id}: the adaptation prompts{of} have separate queries, whose steps are unknown; "
                f"ask it without such a shift"
            )
        self.loss = bank_loss(unrolled(prompts))
        self.descent = Descent(model, adaptation, place)
        self.failed: tuple[int, AdaptationDiverged] | None = None

    def predict(self, prompts: Prompts, steps: int) -> Float[Tensor, "batch points *labels"]:
        """The predictions after so many steps. Raises `AdaptationDiverged`."""
        self.go(steps)
        found: Tensor = self.descent.copy.predict(prompts)
        defined = found if prompts.mask is None else found[prompts.mask.to(found.device)]
        if not bool(defined.isfinite().all()):
            raise self.descent.diverged("a prediction is no finite number")
        return found

    def go(self, steps: int) -> None:
        """Bring the copy to so many steps. Raises `AdaptationDiverged`."""
        if self.failed is not None and steps >= self.failed[0]:
            raise self.failed[1]
        if steps < self.descent.taken or self.failed is not None:
            self.descent.restart()
        while self.descent.taken < steps:
            try:
                self.descent.step(self.loss)
            except AdaptationDiverged as error:
                self.failed = self.descent.taken, error
                raise
            except BaseException:
                self.descent.restart()  # The step was not taken.
                raise


class PromptPaths:
    """A copy of a model that is adapted to one prompt at one length at a time, each time from the model itself.

    For entry k each of the prompt's first k pairs is left out once: k prompts of k - 1 pairs and a query, whose loss is
    the squared error to the label that was left out, which is all that a learner sees. Below k = 2 nothing can be left
    out, and the model is asked as it is. ``steps``: after which numbers of steps predictions are kept, for learners
    that differ in steps alone.
    """

    def __init__(self, model: Any, adaptation: Adaptation, steps: Collection[int], place: str = "") -> None:
        self.descent = Descent(model, adaptation, place)
        self.steps, self.place = sorted(steps), place
        self.known: dict[Any, _Answers] = {}

    def predict(self, prompts: Prompts, steps: int) -> Float[Tensor, "batch points *labels"]:
        """The predictions after so many steps, where the mask leaves entries; 0 elsewhere. `AdaptationDiverged`."""
        if prompts.steps is not None:
            raise UserError(f"{self.descent.adaptation.id}: {NO_STEPS_PER_PROMPT}")
        asked = prompts.defined()
        found = torch.zeros_like(prompts.ys, dtype=torch.float32)
        for i, k in asked.nonzero().tolist():
            question = prompts[i : i + 1].at_prefix(k)
            # The query's own label is nobody's to see.
            ys = torch.cat([question.ys[:, :k], torch.zeros_like(question.ys[:, k:])], dim=1)
            xs, ys, _, rows = next(self.descent.model.passes(_with_labels(question, ys), 1))
            answer = self._answers(xs, ys, rows, f"prompt {i + 1}, k = {k}")[steps]
            if isinstance(answer, AdaptationDiverged):
                raise answer
            found[i, k] = answer
        return found

    def _answers(
        self, xs: Float[Tensor, "1 points d"], ys: Float[Tensor, "1 points *labels"], rows: Tensor | None, name: str
    ) -> _Answers:
        """The predictions at the query, which are known for a prompt that was asked before."""
        key = tuple(value.cpu().numpy().tobytes() for value in (xs, ys, rows) if value is not None)
        if key not in self.known:
            self.known[key] = self._computed(xs, ys, rows, name)
        return self.known[key]

    def _computed(self, xs: Tensor, ys: Tensor, rows: Tensor | None, name: str) -> _Answers:
        descent, k = self.descent, xs.shape[1] - 1
        descent.place = f"{self.place}, {name}" if self.place else name
        descent.restart()
        loss = left_out_loss(xs[0, :k], ys[0, :k], rows, classes=descent.model.classes) if k > 1 else None
        answers: _Answers = {}
        for steps in self.steps:
            try:
                while loss is not None and descent.taken < steps:
                    descent.step(loss)
                with torch.no_grad():
                    answer = descent.copy(xs, ys, **given(instruction=rows))[0, k].cpu()
                if descent.model.classes:
                    answer = answer.log_softmax(dim=-1)
                if not bool(answer.isfinite().all()):
                    raise descent.diverged("the prediction is no finite number")
                answers[steps] = answer
            except AdaptationDiverged as error:
                return {number: answers.get(number, error) for number in self.steps}
        return answers


def _with_labels(prompts: Prompts, ys: Tensor) -> Prompts:
    return Prompts(
        prompts.xs, ys, prompts.targets, classes=prompts.classes, function_class=prompts.function_class,
        input_distribution=prompts.input_distribution, instruction=prompts.instruction,
    )  # fmt: skip


def left_out_loss(
    xs: Float[Tensor, "k d"], ys: Tensor, rows: Tensor | None, *, classes: bool = False
) -> Callable[[Any], float]:
    """What `Descent.step` takes: the mean squared error at labels that are left out in turn, over their mean square.

    Of classes it is the mean cross-entropy, over that of chance.
    """
    k = len(xs)
    every = torch.arange(k, device=xs.device)
    others = torch.stack([torch.cat([every[every != i], every[i : i + 1]]) for i in range(k)])
    inputs, labels = xs[others], ys[others].clone()
    labels[:, -1] = 0
    told = None if rows is None else rows.expand(k)
    scale = math.log(ys.shape[-1]) if classes else mean_square(ys) * (1 if ys.ndim == 1 else ys.shape[-1])

    def backward(model: Any) -> float:
        found = model(inputs, labels, **given(instruction=told))
        check_shape(found, labels)
        loss = entry_errors(found[:, -1:].float(), ys.unsqueeze(1), classes=classes).mean() / scale
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    return backward


class AdaptedModel:
    """A model that adapts before it predicts, as a learner. `Model.adapted` makes it; the model stays as it is.

    ``id``: what the tables call it. ``costly``: whether it adapts for every prompt and length anew.
    """

    reads_steps = True

    def __init__(self, adaptation: Adaptation, path: BankPath | PromptPaths) -> None:
        self.adaptation, self.path = adaptation, path
        self.id = adaptation.learner
        self.costly = adaptation.per_prompt

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points *labels"]:
        """The predictions of the adapted model. Raises `AdaptationDiverged` where there are none.

        ``per_prompt``, entries that the mask leaves out are 0.
        """
        return self.path.predict(prompts, self.adaptation.steps)


def adapt_model(model: Any, adaptation: str | Adaptation, prompts: Prompts | None) -> AdaptedModel:
    """`Model.adapted`: a learner of its own, whose steps on the prompts have been taken."""
    if isinstance(adaptation, str):
        adaptation = Adaptation.parse(adaptation)
    if adaptation.per_prompt:
        if prompts is not None:
            raise UserError(f"{adaptation.id}: per_prompt adapts to each prompt's own examples; leave prompts out")
        return AdaptedModel(adaptation, PromptPaths(model, adaptation, [adaptation.steps]))
    n = adaptation.prompts
    if prompts is None:
        raise UserError(f"{adaptation.id}: on which prompts? give prompts=..., {n} of them")
    if len(prompts) < n:
        raise UserError(
            f"{adaptation.id}: expected {n} prompts, found {len(prompts)}; give more, or say prompts={len(prompts)}"
        )
    place = "/".join(filter(None, (prompts.function_class, prompts.input_distribution)))
    path = BankPath(model, adaptation, prompts[:n].without_truth(), place)
    path.go(adaptation.steps)
    return AdaptedModel(adaptation, path)
