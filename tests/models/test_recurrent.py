"""GRU and LSTM over prompts: against torch's own modules, and queries asked beside the prompt's tokens.

Dimensions: batch = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from icl_curriculum.models import Instruction, Recurrent, RecurrentConfig
from icl_curriculum.models.calling import by_prefix
from icl_curriculum.models.flops import count

DIMS, POINTS, BATCH, WIDTH, LAYERS = 3, 6, 4, 5, 2


def built(cell: str, **more: Any) -> Recurrent:
    config = RecurrentConfig(cell=cell, width=WIDTH, layers=LAYERS)
    model = config.build(dims=DIMS, points=POINTS, generator=torch.Generator().manual_seed(0), **more)
    assert isinstance(model, Recurrent)
    return model


def prompts(points: int = POINTS) -> tuple[Tensor, Tensor, Tensor]:
    made = torch.Generator().manual_seed(1)
    xs, queries = torch.randn(2, BATCH, points, DIMS, generator=made)
    return xs, torch.randn(BATCH, points, generator=made), queries


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_it_is_torchs_module_over_joint_tokens(cell: str) -> None:
    model, (xs, ys, _) = built(cell), prompts()
    theirs = {"gru": nn.GRU, "lstm": nn.LSTM}[cell](WIDTH, WIDTH, LAYERS, batch_first=True)
    with torch.no_grad():
        for layer in range(LAYERS):
            for part, own in (
                ("weight_ih", model.from_below), ("weight_hh", model.from_before),
                ("bias_ih", model.from_below_bias), ("bias_hh", model.from_before_bias),
            ):  # fmt: skip
                getattr(theirs, f"{part}_l{layer}").copy_(own[layer].flatten(0, 1))
        earlier = torch.cat([xs, ys.unsqueeze(-1)], dim=-1)[:, :-1]
        tokens = torch.cat([xs, torch.cat([torch.zeros(BATCH, 1, DIMS + 1), earlier], dim=1)], dim=-1)
        states, _ = theirs(tokens @ model.read_in.mT + model.read_in_bias)
        wanted = (states @ model.read_out.mT + model.read_out_bias).squeeze(-1)
        torch.testing.assert_close(model(xs, ys), wanted)


@pytest.mark.parametrize("told", [None, Instruction("learned", 2, "function_class", ("a", "b"))], ids=["plain", "told"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_queries_beside_the_prompt_are_what_each_would_be_in_a_prompt_of_its_own(
    cell: str, told: Instruction | None
) -> None:
    model, (xs, ys, queries) = built(cell, instruction=told), prompts()
    more = {} if told is None else {"instruction": torch.tensor([0, 1, 0, -1])}
    with torch.no_grad():
        wanted = by_prefix(lambda inputs, labels: model(inputs, labels, **more), xs, ys, queries)
        torch.testing.assert_close(model(xs, ys, queries, **more), wanted)


def test_the_products_of_both_cells_are_counted() -> None:
    xs, ys, _ = prompts()
    for cell, gates in (("gru", 3), ("lstm", 4)):
        model = built(cell)
        inside = 2 * LAYERS * gates * WIDTH * WIDTH
        reading = (2 * DIMS + 1) * WIDTH + WIDTH
        assert count(lambda model=model: model(xs, ys)) == 2 * BATCH * POINTS * (inside + reading)  # type: ignore[misc]
        whole = count(lambda model=model: model.backward(xs, ys, ys, torch.ones(BATCH)))  # type: ignore[misc]
        # Backward every product has two, but those of the tokens and of the first state, which have no gradient.
        assert 2.5 * 2 * BATCH * POINTS * inside < whole <= 3 * 2 * BATCH * POINTS * (inside + reading)
