"""Deep sets: the order of examples says nothing, and a mean is all that is kept of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from icl_curriculum.models import DeepSets, DeepSetsConfig, Instruction

CONFIG = DeepSetsConfig(width=8, encoder_layers=1, decoder_layers=1)


def built(instruction: Instruction | None = None) -> DeepSets:
    return CONFIG.build(dims=3, points=6, generator=torch.Generator().manual_seed(0), instruction=instruction)


def prompts() -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(1)
    return torch.randn(4, 6, 3, generator=made), torch.randn(4, 6, generator=made)


@pytest.mark.parametrize("told", [None, Instruction("learned", 2, "function_class", ("a", "b"))], ids=["plain", "told"])
def test_the_order_of_the_examples_changes_nothing(told: Instruction | None) -> None:
    model, (xs, ys) = built(told), prompts()
    more = {} if told is None else {"instruction": torch.tensor([0, 1, 0, -1])}
    order = torch.tensor([3, 1, 4, 0, 2, 5])
    with torch.no_grad():
        found, other = model(xs, ys, **more), model(xs[:, order], ys[:, order], **more)
    torch.testing.assert_close(found[:, -1], other[:, -1])
    assert not torch.allclose(found[:, 2], other[:, 2])


def test_it_decodes_the_mean_of_the_encoded_examples_their_number_and_the_query() -> None:
    model, (xs, ys) = built(), prompts()
    norm = torch.nn.functional.layer_norm

    def block(h: Tensor, n: int) -> Tensor:
        hidden = norm(h, (8,), model.norm[n], model.norm_bias[n]) @ model.mlp_in[n].T + model.mlp_in_bias[n]
        return h + hidden.clamp(min=0) ** 2 @ model.mlp_out[n].T + model.mlp_out_bias[n]

    with torch.no_grad():
        made = torch.Generator().manual_seed(2)
        for value in model.parameters():
            value.add_(0.3 * torch.randn(value.shape, generator=made))
        for k in range(6):
            pairs = torch.cat([xs[:, :k], ys[:, :k, None]], dim=-1) @ model.read_in.T + model.read_in_bias
            encoded = block(pairs, 0)
            mean = encoded.sum(dim=1) / max(k, 1)
            asked = xs[:, k] @ model.query_in.T + model.query_in_bias
            h = block(asked + mean @ model.pool_in.T + torch.tensor(1.0 + k).log() * model.number_in, 1)
            wanted = norm(h, (8,), model.final_norm, model.final_norm_bias) @ model.read_out.T + model.read_out_bias
            torch.testing.assert_close(model(xs, ys)[:, k], wanted.squeeze(-1))


def test_prompts_of_any_length_are_read() -> None:
    assert CONFIG.longest_prompt(6) == 1_000_000
    assert built()(torch.zeros(1, 400, 3), torch.zeros(1, 400)).shape == (1, 400)
