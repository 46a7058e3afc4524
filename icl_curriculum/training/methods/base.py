"""The contract of a training method, which owns what an update is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from icl_curriculum.config.tables import ConfiguredMethod
from icl_curriculum.core.registry import METHODS
from icl_curriculum.models.base import Model
from icl_curriculum.training.session import TRAINING, Cell, Session

#: Losses by role, then by cell: mean squared errors over prompts and positions, as scalar tensors.
Losses = Mapping[str, Mapping[Cell, Tensor]]


class TrainingMethod(ConfiguredMethod):
    """Decides what an update is: its prompts, the loss it descends, and what it remembers between updates.

    A subclass gives `update`; the rest has defaults. Its pydantic fields, each with a default and a description, become
    keys of ``[training.method]``. ``needs``, or `required` where it depends on the fields, says what a model must be
    able to do; `check` may refuse a ``[training]`` table. At every step the trainer makes a `Session`, asks the method
    for one update on it, counts the prompts that were drawn and what they cost, and hands the losses on to the tables
    and to adaptive curricula. A method

    - draws prompts by `Session.batch`, `Session.choose` and `Session.draw`, as often as it likes, each draw under a
      *role*, a name of its own such as ``training``, ``support`` or ``query``. Every role has random streams of its
      own, so a query never repeats a support prompt. Nothing else may draw random numbers but `Session.generator`;
    - computes gradients by `Model.backward`, or by autograd through `Model.forward` and `Model.forward_with`, passes
      each the ``instruction`` of the prompts where they have one, and leaves them in ``.grad`` of the model's
      parameters; then calls `Session.step_optimizers`, once or several times;
    - may keep tensors and plain values (numbers, text, None, lists, dicts) in ``session.state``. They are in every
      checkpoint, and a resumed run continues from them to the same bytes;
    - returns the losses before the update, by role and cell. If these are means of `prompt_errors` on whole prompts,
      which honour masks, weights of positions and classes, it says so by ``weighs_entries = True``.

    A method object is frozen, and made anew when a run is resumed: what is not in ``session.state``, the weights or the
    optimizers is gone. Errors that `update` raises end the run and name the method, with the line of the plugin. A
    method that adapts a copy of the model to each of a few tasks (functions), and moves the model by the gradient at
    the adapted copies (first-order MAML, Finn et al. 2017)::

        @register_method("first_order_maml")
        class FirstOrderMaml(TrainingMethod):
            "One step on each task's support prompts; then the model moves by the gradients of its query prompts."

            needs = frozenset({Capability.EXPLICIT_PARAMETERS})
            weighs_entries = True
            signal = "support"
            tasks: int = Field(4, ge=1, description="functions an update")
            rate: float = Field(0.05, gt=0, description="rate of the step on the support prompts")

            def check(self, training, *, cells, draw):
                if training.batch_size < 2 * self.tasks:
                    raise UserError(f"expected at least {2 * self.tasks}", key="training.batch_size")

            def update(self, session):
                model, n = session.model, session.batch_size // (2 * self.tasks)
                own, losses = dict(model.named_parameters()), {}
                for cell in session.choose(self.tasks, role="support"):
                    support = session.draw(cell, n, role="support", prompts_per_function=n)
                    query = session.draw(cell, n, role="query", prompts_per_function=n, functions_of="support")
                    before = error(model, own, support)
                    gradients = torch.autograd.grad(before, list(own.values()))
                    adapted = {name: value - self.rate * g for (name, value), g in zip(own.items(), gradients)}
                    (session.weight(cell) * error(model, adapted, query) / self.tasks).backward()
                    losses.setdefault(cell, []).append(before.detach())
                session.step_optimizers()
                return {"support": {cell: torch.stack(found).mean() for cell, found in losses.items()}}

        def error(model, parameters, prompts):
            told = {} if prompts.instruction is None else {"instruction": prompts.instruction}
            predictions = model.forward_with(parameters, prompts.xs, prompts.ys, **told)
            return prompt_errors(predictions, prompts).mean()
    """

    #: The role whose losses stand in training.csv and are told to adaptive curricula. Choose one that is comparable
    #: along training, so before any inner step. (A loss of any role that is not finite, or far above that of
    #: predicting zero, ends the run.)
    signal: ClassVar[str] = TRAINING
    #: The roles whose losses stand in training.csv, in a column ``role``; empty: those of `signal` alone, without it.
    roles: ClassVar[tuple[str, ...]] = ()

    def initial_state(self, model: Model) -> dict[str, Any]:
        """``session.state`` before the first update: tensors and plain values, in lists and dicts of any depth.

        ``model`` is freshly initialised, on the run's device, and must be left as it is. Nothing random is drawn here:
        the first update can, from `Session.generator`.
        """
        return {}

    @abstractmethod
    def update(self, session: Session) -> Losses:
        """One update of ``session.model``, whose gradients are clear when it begins.

        Returns a dict ``{role: {cell: loss}}``: the mean squared error over all prompts of the cell that were drawn
        under the role, and over positions, unweighted, before the update (a scalar tensor on the model's device, not
        waited for; its graph is dropped). At every step something must be drawn under the role `signal`, and there must
        be its losses, for every cell that was; losses of other roles may be left out. Only cells that were drawn under
        a role can have losses of that role. Matrix products are in the precision that ``training.precision`` says;
        prompts are always float32.
        """

    def operations(self, role: str, forward: int) -> float:
        """The floating-point operations that an update spends on each prompt drawn under a role, for exposure.csv.

        A finite number of at least 0, for every role that `update` draws. ``forward``: those of the matrix products in
        one forward pass of the model on such a prompt. By default three times as many, a forward and a backward pass: a
        backward pass is as much as two forward passes, and a second derivative through a gradient step as much as three
        backward passes more.
        """
        return 3.0 * forward

    def why_diverged(self, role: str) -> str:
        """What diverges where the loss of a role is the first that does, as a sentence with the keys to blame.

        Empty where nothing more is known than that training did. The error that ends the run begins with it.
        """
        return ""


register_method = METHODS.of(TrainingMethod)
