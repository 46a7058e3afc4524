"""When the transformer trains by the hand-written step, and how the step is called."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from icl_curriculum.models.calling import check_shape, entry_errors


class CpuStep:
    """The hand-written training pass as a `GradientStrategy`: on a CPU, with fused attention, unlooped, in float32.

    It is for models of exactly the class ``model_type``, since a subclass may compute something else. A subclass that
    computes the same says so: ``gradients = CpuStep(...)`` with itself.
    """

    weighs_entries = True
    shares_threads = True

    def __init__(self, model_type: type[Any]) -> None:
        self.model_type = model_type

    def applies(self, model: Any, xs: Tensor) -> bool:
        """Says whether `training_pass` computes what the model's forward pass and autograd do."""
        exactly: bool = type(model) is self.model_type
        return (
            exactly
            and xs.device.type == "cpu"
            and model.read_out.dtype == torch.float32
            and torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
            and model._compiled_call_impl is None
            and model.config.attention == "fused"
            and model.config.loops == 1
            and not (model._forward_hooks or model._forward_pre_hooks)
            and _can_compile()
        )

    def backward(
        self,
        model: Any,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points *labels"],
        targets: Float[Tensor, "batch points *labels"],
        weights: Float[Tensor, " batch"],
        instruction: Int[Tensor, " batch"] | None = None,
        entry_weights: Float[Tensor, "batch points"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """The same as `Model.backward`, by `training_pass`."""
        # Both import numba, half a second that a model which is only asked need not wait for.
        from icl_curriculum.models.cpu_step.training_pass import Shape, loss_gradients
        from icl_curriculum.models.cpu_step.weights import Weights

        points = model.check_points(xs)
        check_shape(ys, targets)
        if entry_weights is None:
            scale = (weights / points).unsqueeze(-1)
        else:
            scale = weights.unsqueeze(-1) * entry_weights
            counts = entry_weights > 0
            # What does not count may be no number.
            targets = torch.where(counts if targets.ndim == 2 else counts.unsqueeze(-1), targets, 0.0)
        parameters = Weights.of(model, points)
        shape = Shape(
            model.config.heads, model.config.activation, model.tokens_per_point, model.instruction_tokens, model.classes
        )
        tokens = model.instructed(model.tokens(xs, ys), instruction)
        predictions, gradients = loss_gradients(parameters, shape, tokens, targets, scale)
        parameters.backward(gradients)
        errors = entry_errors(predictions, targets, classes=model.classes)
        return errors.mean(dim=1) if entry_weights is None else (errors * entry_weights).sum(dim=1)

    def prepare(self, model: Any) -> None:
        """Compiles the loops of `training_pass`, where it is what trains: seconds, once on a machine."""
        nothing = torch.zeros(1, 1, model.dims, device=next(model.parameters()).device)
        if self.applies(model, nothing):
            before = [parameter.grad for parameter in model.parameters()]
            label = nothing[..., 0] if model.label_dims == 1 else nothing.new_zeros(1, 1, model.label_dims)
            model.zero_grad(set_to_none=True)
            self.backward(model, nothing, label, label, nothing[:, 0, 0], model.no_instruction(1))
            for parameter, gradient in zip(model.parameters(), before, strict=True):
                parameter.grad = gradient


@cache
def _can_compile() -> bool:
    """Says whether numba is there and fits numpy, and a library of products; training goes by autograd otherwise."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    from icl_curriculum.models.cpu_step.products import sgemm_address

    return sgemm_address() is not None
