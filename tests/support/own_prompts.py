"""A plugin with classes whose inputs or values are of no usual kind, each of which keeps the contract."""

import torch
from pydantic import Field

from icl_curriculum import FunctionClass, UserError, register_function_class


class _Linear(FunctionClass):
    """f(x) = w·x with w ~ N(0, I)."""

    def sample(self, n, dims, generator):
        return {"w": torch.randn(n, dims, generator=generator, device=generator.device)}

    def evaluate(self, parameters, xs):
        return torch.einsum("npd,nd->np", xs, parameters["w"])


@register_function_class("teaching")
class Teaching(_Linear):
    """Shows the coordinates of w by size, the largest first, one at a time and again and again."""

    reference_inputs = "own"
    owns_inputs = True

    def draw(self, n, points, dims, inputs, streams):
        parameters = self.draw_functions(n, dims, streams)
        order = parameters["w"].abs().argsort(dim=1, descending=True)
        shown = order[:, torch.arange(points) % dims].unsqueeze(2)
        sizes = inputs.sample(n, points, dims, streams.generator("inputs"))
        xs = torch.zeros_like(sizes).scatter(2, shown, sizes.gather(2, shown))
        return xs, self.evaluate(parameters, xs), parameters


@register_function_class("history")
class History(_Linear):
    """x is the last d values of an autoregressive process, whose coefficients are 0.9 in all."""

    reference_inputs = "own"
    owns_inputs = True

    def sample(self, n, dims, generator):
        w = super().sample(n, dims, generator)["w"]
        return {"w": 0.9 * w / w.abs().sum(dim=1, keepdim=True)}

    def draw(self, n, points, dims, inputs, streams):
        parameters = self.draw_functions(n, dims, streams)
        noise = inputs.sample(n, points, dims, streams.generator("inputs"))
        xs = [noise[:, 0]]
        for k in range(1, points):
            value = self.evaluate(parameters, xs[-1].unsqueeze(1)) + noise[:, k, :1]
            xs.append(torch.cat([value, xs[-1][:, :-1]], dim=1))
        xs = torch.stack(xs, dim=1)
        return xs, self.evaluate(parameters, xs), parameters


@register_function_class("prompt_set")
class PromptSet(_Linear):
    """One of a fixed number of prompts, each with its inputs and its function."""

    reference_inputs = "own"
    owns_inputs = True
    repeats_prompts = True

    prompts: int = Field(32, ge=1, le=10_000, description="prompts in the set")

    def sample(self, n, dims, generator):
        made = torch.Generator().manual_seed(0)
        w, xs = torch.randn(self.prompts, dims, generator=made), torch.randn(self.prompts, 32, dims, generator=made)
        which = torch.randint(self.prompts, (n,), generator=generator, device=generator.device)
        return {"w": w.to(which.device)[which], "xs": xs.to(which.device)[which]}

    def draw(self, n, points, dims, inputs, streams):
        if points > 32:
            raise UserError(f"expected prompts of at most 32 points, found {points}", subject=self.id)
        parameters = self.draw_functions(n, dims, streams)
        xs = parameters["xs"][:, :points]
        return xs, self.evaluate(parameters, xs), parameters


@register_function_class("filtered")
class Filtered(_Linear):
    """w·(x_k + x_{k-1}) / sqrt(2), with memory of the last input."""

    has_memory = True

    def evaluate(self, parameters, xs):
        before = torch.nn.functional.pad(xs, (0, 0, 1, 0))[:, :-1]
        return super().evaluate(parameters, xs + before) / 2**0.5

    def trivial_error(self, dims):
        return dims * (1 - 0.5 / 21)  # The first of 21 points has none before it.
