"""A model: a trainable learner, as a torch module, with defaults for everything but its forward pass.

Dimensions: batch = prompts, points = K + 1 (entry k has k examples before it), dims = d, labels = the numbers of a
label, an axis that is only there if they are several.
"""

from __future__ import annotations

import reprlib
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.progress import part_of
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.settings import own_settings
from icl_curriculum.core.steps import through_steps
from icl_curriculum.core.threads import sharing_threads
from icl_curriculum.models.adaptation import Adaptation
from icl_curriculum.models.adapting import AdaptedModel, adapt_model
from icl_curriculum.models.calling import by_prefix, given, mean_errors
from icl_curriculum.models.capabilities import Capability
from icl_curriculum.models.heads import HeadEdit, TokenPlaces
from icl_curriculum.models.instructions import NEUTRAL, Instruction
from icl_curriculum.models.masking import Head, MaskedModel, choice_of, mask_heads


class GradientStrategy(Protocol):
    """A faster way than autograd to the errors and gradients of `Model.backward`, for some models in some places.

    A model has one as its class attribute ``gradients``; a model without one trains by autograd.
    """

    def applies(self, model: Model, xs: Float[Tensor, "batch points dims"]) -> bool:
        """Says whether it computes what `Model.forward` and autograd would, for this model and on this device."""
        ...

    def backward(
        self,
        model: Model,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points *labels"],
        targets: Float[Tensor, "batch points *labels"],
        weights: Float[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """The same as `Model.backward`: it adds to ``.grad``, and leaves the weights as they are.

        A strategy of a model that reads instructions takes ``instruction`` as a sixth argument. One with the attribute
        ``weighs_entries = True`` takes the keyword ``entry_weights``, (batch, points), too; prompts whose entries don't
        count alike go by autograd where it has none. Where `Model.classes` is true, the errors are cross-entropies.
        One with ``shares_threads = True`` shares its work out by `in_threads` of `core.threads`.
        """
        ...

    def prepare(self, model: Model) -> None:
        """Does what the first update would wait for, such as compiling; changes neither weights nor gradients."""
        ...


class UnreadablePrompts(UserError, ValueError):
    """Prompts of other dimensions, labels or lengths than a model was built for."""


class Model(nn.Module):
    """A trainable learner, as a torch module.

    A subclass gives `forward` and sets ``max_points``; everything else has defaults. `predict` is what evaluation
    calls, `backward` what plain training calls, `forward_with` what methods with inner loops call. What a model can do
    beyond that is declared by its `ModelConfig`. A whole model::

        class LastLabels(Model):
            def __init__(self, points, generator):
                super().__init__()
                self.max_points = points
                self.weights = nn.Parameter(torch.randn(points, generator=generator))

            def forward(self, xs, ys, queries=None):
                if ys.shape[1] > self.max_points:
                    raise ValueError(f"{ys.shape[1]} points; the model reads {self.max_points}")
                earlier = [F.pad(ys[:, : ys.shape[1] - lag], (lag, 0)) for lag in range(1, ys.shape[1])]
                terms = [weight * labels for weight, labels in zip(self.weights, earlier)]
                return sum(terms, torch.zeros_like(ys))

        @register_model("last_labels")
        class LastLabelsConfig(ModelConfig):
            "A weighted sum of the labels so far, the latest first."

            def build(self, *, dims, points, generator):
                return LastLabels(points, generator)

    What holds of every model:

    - An entry of its predictions depends on its own prompt alone, and there on earlier pairs and its own query alone.
    - It draws no random numbers after it was built, but those that `before_update` is given, and predicts the same in
      training and in evaluation mode, which a run does not switch between: no torch.nn.Dropout, no batch normalisation.
    - Its parameters and buffers are all there is to it. They are saved as ``model.safetensors``, loaded into a model
      that the same config builds by another generator, and moved to the device that the run is on. A tensor in a
      plain attribute is neither saved nor moved; ``register_buffer`` keeps one.
    - It computes in float32 what it is given in float32.
    - ``copy.deepcopy`` copies it, which is how it is adapted at test time.
    """

    #: Names of the parameters whose last two axes are weight matrices inside the network (Muon, weight decay).
    matrices: tuple[str, ...] = ()
    #: The most points that `forward` reads; for prompts of more it raises ValueError. Set by the subclass, and at least
    #: `ModelConfig.longest_prompt`.
    max_points: int
    #: Prompts a forward pass of `predict` takes at a time, which bounds its memory.
    prompts_per_pass: int = 64
    #: A faster way to the gradients of `backward` than autograd, used where it applies.
    gradients: GradientStrategy | None = None
    #: Whether `forward` takes separate queries. Set by `build_model`, as the config says.
    takes_queries: bool = True
    #: Whether labels are classes: `forward` gives logits, and `predict` log-probabilities. Set by `build_model`.
    classes: bool = False
    #: Whether it is given prompts with reasoning steps as they are, which `predict` reads as positions of their own.
    reads_steps: bool = True
    #: Why it gives no attention maps, or takes no head mask, where its config says so. Set by `build_model`.
    lacking: Mapping[Capability, str] = {}
    #: What the model is told before every prompt. Set by `build_model`, for models built to read it.
    instruction: Instruction | None = None
    #: How many numbers an input and a label of the prompts have that it was built for. Set by `build_model`.
    built_for: tuple[int, int] | None = None
    #: The folder of the run that it was trained in, and the step if it is not the last. Set by `load_model`.
    loaded_from: str = ""
    #: Draws the prompts that scores and means of heads are taken over where none are given, of so many points or of as
    #: many as the model was trained on. Set by `load_model`.
    usual_prompts: Callable[[int | None], Sequence[Prompts]] | None = None

    @abstractmethod
    def forward(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points *labels"],
        queries: Float[Tensor, "batch points dims"] | None = None,
    ) -> Float[Tensor, "batch points *labels"]:
        """Predictions, differentiable: entry k is that for the target of query k, from the first k pairs alone.

        A model that declares `Capability.VECTOR_LABELS` was built for labels of ``label_dims`` numbers, which stand on
        a last axis of ``ys`` and of its predictions where they are several; one-hot classes are such labels, for which
        it predicts logits.

        ``xs``, ``ys``: the pairs; ``ys`` in the units of the targets. Pair k is not among the first k, so label k is
        for later entries, and the last label for none; entry 0 is a prediction without any example. ``queries``: the
        inputs asked about, query k at ``queries[:, k]``; None: ``xs`` themselves. There may be any number of prompts
        and any number of points from 1 to ``max_points``; an entry is the same however many come after it. Raises
        ValueError for prompts of more points.

        A model that declares `Capability.HEAD_MASK` takes ``head_mask=None`` as a further keyword, a `HeadEdit`. One
        that declares `Capability.INSTRUCTION` takes ``instruction=None``: int64 rows of its `Instruction`, one for each
        prompt, -1 for the neutral one. If it was built to read instructions and gets None it raises ValueError, since
        tokens that were left out would shift all others without a word.
        """

    def answer(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points *labels"],
        queries: Float[Tensor, "batch points dims"] | None = None,
        **more: Any,
    ) -> Tensor:
        """Predictions (batch, points) as by `forward`; prefix by prefix of a model that takes no separate queries.

        ``more``: further keywords of `forward`.
        """
        if queries is not None and not self.takes_queries:
            return by_prefix(lambda inputs, labels: self.answer(inputs, labels, **more), xs, ys, queries)
        # Not by calling the model, whose place in training something compiled may take: an answer is `forward`'s.
        asked = (xs, ys) if queries is None else (xs, ys, queries)
        predictions: Tensor = self._call_impl(*asked, **more)  # type: ignore[no-untyped-call]
        return predictions

    def forward_with(
        self,
        parameters: Mapping[str, Tensor],
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points *labels"],
        queries: Float[Tensor, "batch points dims"] | None = None,
        *,
        instruction: Int[Tensor, " batch"] | None = None,
        head_mask: HeadEdit | None = None,
    ) -> Float[Tensor, "batch points *labels"]:
        """`forward` with these tensors in the place of the parameters of their names; the model is left as it is.

        ``parameters``: by the names of ``named_parameters``; those that are absent are the model's own. Gradients
        flow into the tensors given (`torch.func.functional_call`). It never goes through a compiled model. Raises
        KeyError for a name that is no parameter's or buffer's.
        """
        known = {name for name, _ in self.named_parameters()} | {name for name, _ in self.named_buffers()}
        for name in parameters:
            if name not in known:
                raise KeyError(f"{type(self).__name__} has no parameter {name!r}{did_you_mean(name, known)}")
        inside = {f"model.{name}": value for name, value in parameters.items()}
        predictions: Tensor = torch.func.functional_call(
            _Forward(self), inside, (xs, ys, queries), given(instruction=instruction, head_mask=head_mask)
        )
        return predictions

    def backward(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points *labels"],
        targets: Float[Tensor, "batch points *labels"],
        weights: Float[Tensor, " batch"],
        instruction: Int[Tensor, " batch"] | None = None,
        entry_weights: Float[Tensor, "batch points"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """Mean squared error of each prompt; adds the gradients of their sum, ``weights`` times each, to ``.grad``.

        By ``gradients`` where it applies, else by autograd. The errors are means over the positions, without a graph,
        and not multiplied by ``weights``; ``entry_weights``: those of `Prompts.entry_weights`, where positions don't
        count alike. Of classes it is the cross-entropy. Queries are ``xs`` themselves, as in all prompts of training.
        """
        faster = self.gradients
        if faster is not None and entry_weights is not None and not getattr(faster, "weighs_entries", False):
            faster = None
        if faster is not None and faster.applies(self, xs):
            told = () if instruction is None else (instruction,)
            return faster.backward(self, xs, ys, targets, weights, *told, **given(entry_weights=entry_weights))
        return self.backward_by_autograd(xs, ys, targets, weights, instruction, entry_weights)

    def threads_of_step(self) -> AbstractContextManager[None]:
        """The threads of a step whose gradients are those of `backward`, from the drawing of its prompts to its end.

        Torch's own, unless ``gradients`` shares its work out among them by itself: then torch's operations take one.
        """
        faster, device = self.gradients, next(self.parameters()).device
        if faster is None or not getattr(faster, "shares_threads", False):
            return nullcontext()
        return sharing_threads() if faster.applies(self, torch.empty(0, 0, 0, device=device)) else nullcontext()

    def backward_by_autograd(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points *labels"],
        targets: Float[Tensor, "batch points *labels"],
        weights: Float[Tensor, " batch"],
        instruction: Int[Tensor, " batch"] | None = None,
        entry_weights: Float[Tensor, "batch points"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """`backward` by `forward` and autograd, whatever faster way there is."""
        predictions = self(xs, ys, **given(instruction=instruction))
        errors = mean_errors(predictions, targets, entry_weights, classes=self.classes)
        (errors * weights).sum().backward()  # type: ignore[no-untyped-call]
        return errors.detach()

    def prepare(self) -> None:
        """Does what the first update would wait for, such as compiling; changes neither weights nor gradients."""
        if self.gradients is not None:
            self.gradients.prepare(self)

    def attention(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points *labels"],
        queries: Float[Tensor, "batch points dims"] | None = None,
        *,
        instruction: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch layers heads asking seen"]:
        """The attention of every token to every token, after the softmax and before any head mask.

        For models that declare `Capability.ATTENTION`. ``asking`` and ``seen`` are the same tokens, in an order in
        which none sees a later one: rows sum to 1 and are 0 above the diagonal. Instruction tokens come first, separate
        queries after all pairs. Layers and heads are as many for every prompt. A model that declares
        `Capability.INSTRUCTION`, too, takes ``instruction`` as `forward` does.
        """
        raise NotImplementedError(f"{type(self).__name__} gives no attention maps: it has no method attention")

    def token_places(self, points: int) -> TokenPlaces:
        """Where inputs and labels stand among the tokens of a plain prompt, for what heads attend to.

        For models that declare `Capability.ATTENTION`. By default x_1, y_1, ..., x_query in turn, after what
        instruction tokens there are. A model whose labels have no tokens of their own raises UserError with the reason.
        """
        first = self.instruction_tokens
        inputs = first + 2 * torch.arange(points)
        return TokenPlaces(inputs, inputs[:-1] + 1)

    def before_update(self, step: int, steps: int, generator: torch.Generator) -> None:
        """Called before every update of training; does nothing by default.

        ``step``: of how many updates the weights are now, from 0; ``steps``: of how many there will be. ``generator``:
        random numbers of this update alone, on the CPU. For what a schedule or chance changes while training: how many
        layers are passed, a temperature, which units are dropped. It is kept in buffers, so that it is in checkpoints
        and with the weights; a resumed run goes on to the same bytes. Parameters are left to the optimizer. A method
        calls the model as often as it likes in one update; adapting at test time is no update.
        """

    def after_update(self) -> None:
        """Called after every update, before anything is evaluated: ends what was for the update alone, as a drop-out.

        Does nothing by default.
        """

    def __repr__(self) -> str:
        """What it is and reads, in a line; ``print(list(model.children()))`` shows its modules."""
        number = sum(parameter.numel() for parameter in self.parameters())
        words = [f"{number:,} parameters"]
        if hasattr(self, "max_points"):
            words.append(f"prompts of up to {self.max_points} points")
        if self.built_for is not None:
            dims, labels = self.built_for
            words.append(f"{dims} dimension{'s' * (dims != 1)}")
            if labels > 1:
                words.append(f"{labels} classes" if self.classes else f"labels of {labels} numbers")
        if self.loaded_from:
            words.append(f"from {self.loaded_from}")
        return f"{type(self).__name__}({', '.join(words)})"

    @property
    def changes_between_updates(self) -> bool:
        """Whether `before_update` or `after_update` does anything."""
        own = type(self)
        return own.before_update is not Model.before_update or own.after_update is not Model.after_update

    def cost_key(self) -> Hashable:
        """What the operations of a forward pass depend on beside the points of a prompt: counted anew at other values.

        By default nothing does. A model that passes ever more layers returns their number.
        """
        return None

    @property
    def instruction_tokens(self) -> int:
        """How many instruction tokens stand before each prompt."""
        return 0 if self.instruction is None else self.instruction.tokens

    def no_instruction(self, n: int) -> Int[Tensor, " n"] | None:
        """The neutral instruction for ``n`` prompts, on the model's device; None for a model that reads none."""
        device = next(self.parameters()).device
        return None if self.instruction is None else torch.full((n,), NEUTRAL, device=device)

    @own_settings()
    @torch.no_grad()
    def predict(self, prompts: Prompts, *, head_mask: HeadEdit | None = None) -> Float[Tensor, "batch points *labels"]:
        """`answer` without gradients, in passes of ``prompts_per_pass`` prompts.

        A model that reads instructions is told what the prompts say that they are of; the neutral one where it was not
        trained on that. Where labels are classes these are log-probabilities. ``head_mask``: for models that declare
        `Capability.HEAD_MASK`.

        Reasoning steps are read as positions between x and y (`core.steps.unrolled`). Where those of the queries are
        not given the model predicts them, one after another, and then its answer from these: as many passes more as
        there are steps, for every prompt length (`core.steps.through_steps`).
        """
        if not isinstance(prompts, Prompts):
            raise UnreadablePrompts(f"expected Prompts, as Task.draw gives them, found {reprlib.repr(prompts)}")
        if prompts.steps is not None:
            return through_steps(lambda plain: self.predict(plain, head_mask=head_mask), prompts)
        passes: list[Tensor] = []
        answered = 0
        for xs, ys, queries, rows in self.passes(prompts, self.prompts_per_pass):
            with part_of(len(prompts), answered, len(xs), "prompts"):
                passes.append(self.answer(xs, ys, queries, **given(instruction=rows, head_mask=head_mask)))
            answered += len(xs)
        found = torch.cat(passes).to(prompts.xs.device)
        return found.log_softmax(dim=-1) if self.classes else found

    def goes_by_length(self, prompts: Prompts) -> bool:
        """Whether `predict` asks such prompts length by length, so that it takes long and tells of its way.

        So it does with separate queries where `forward` takes none, and with reasoning steps that are not given.
        """
        if prompts.steps is not None:
            return not prompts.steps_given
        return prompts.queries is not None and not self.takes_queries

    def passes(self, prompts: Prompts, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None, Tensor | None]]:
        """Inputs, labels, queries and instructions of the prompts on the model's device, so many at a time.

        Raises `UnreadablePrompts`, a UserError, for prompts of another form than the model was built for.
        """
        self._expect_readable(prompts)
        device = next(self.parameters()).device
        rows = None if self.instruction is None else self.instruction.rows(prompts)
        for start in range(0, len(prompts), size):
            part = slice(start, start + size)
            queries = None if prompts.queries is None else prompts.queries[part].to(device)
            told = None if rows is None else rows[part].to(device)
            yield prompts.xs[part].to(device), prompts.ys[part].to(device), queries, told

    def _expect_readable(self, prompts: Prompts) -> None:
        """UnreadablePrompts for prompts of other inputs, labels or more points than the model was built for."""
        if self.built_for is not None:
            found = prompts.dims, prompts.label_dims
            for what, number, built in zip(("inputs", "labels"), found, self.built_for, strict=True):
                if number != built:
                    numbers = "number" if number == 1 else "numbers"
                    raise UnreadablePrompts(
                        f"prompts with {what} of {number} {numbers}; the model was built for {built}"
                    )
        if prompts.points > self.max_points:
            raise UnreadablePrompts(f"prompts of {prompts.points} points, the model reads at most {self.max_points}")

    def masked(
        self,
        heads: str | Sequence[Head],
        *,
        n: int = 0,
        by: Literal["zero", "mean"] = "zero",
        control: int = 0,
        prompts: Prompts | Sequence[Prompts] | None = None,
    ) -> MaskedModel:
        """The model with some of its heads masked, as a learner with ``predict``; the model itself stays as it is.

        ``heads``: pairs of a layer and a head, counted from 1; or the name of a score in `heads.SCORES`, of which the
        ``n`` highest are masked; or a text as ``icl evaluate --mask`` takes it: ``"retrospective/n=7/by=mean"``.
        ``by``: what takes the place of what a head says: zeros, or its mean over prompts at each token.
        ``control``: the number of a control set instead (`masking.control_sets`). ``prompts``: what scores and means
        are taken over; by default those of a loaded run, 64 of each cell that it was trained on.

        Raises UserError for heads that the model does not have, and for a model that takes no mask.
        """
        batches = [prompts] if isinstance(prompts, Prompts) else prompts
        drawn = self.usual_prompts if batches is None else _always(batches)
        if drawn is None or (batches is not None and not any(map(len, batches))):
            raise UserError("which prompts? give prompts=..., on which the heads are looked at")
        return mask_heads(self, choice_of(heads, n=n, by=by, control=control), drawn)

    def adapted(self, adaptation: str | Adaptation, *, prompts: Prompts | None = None) -> AdaptedModel:
        """A copy that has taken steps on ``prompts``, as a learner with ``predict`` and ``id``; the model stays.

        ``adaptation``: an `Adaptation`, or a text as ``icl evaluate --adapt`` takes it: ``"steps=20,rate=0.1"``. The
        first ``adaptation.prompts`` of the prompts are taken, with their ``targets``, which is what training learns
        from; ``per_prompt`` takes none. Raises UserError for what cannot be meant, `AdaptationDiverged` where it fails.
        """
        return adapt_model(self, adaptation, prompts)


def _always(prompts: Sequence[Prompts]) -> Callable[[int | None], Sequence[Prompts]]:
    return lambda points: prompts


class _Forward(nn.Module):
    """A model's forward pass without what compiles it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, xs: Tensor, ys: Tensor, queries: Tensor | None, **more: Any) -> Tensor:
        return self.model.forward(xs, ys, **more) if queries is None else self.model.forward(xs, ys, queries, **more)
