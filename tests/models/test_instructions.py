"""Instruction tokens: rows and vectors against plain loops, GPT-2 with tokens in front, and what models make of them.

Dimensions: batch = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any, Literal

import pytest
import torch
from gpt2 import gpt2_like, predict_with_gpt2
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import generator
from icl_curriculum.models import Instruction, Transformer, TransformerConfig, build_model
from icl_curriculum.models.instructions import NEUTRAL

DIMS, POINTS, NAMES = 3, 4, ("linear", "quadratic", "hermite/3")
Kind = Literal["one_hot", "preset", "learned"]
KINDS: tuple[Kind, ...] = ("one_hot", "preset", "learned")
ROWS = torch.tensor([2, NEUTRAL, 0, 1])

every_kind = pytest.mark.parametrize("kind", KINDS)
one_and_two = pytest.mark.parametrize("tokens", [1, 2])


def told(kind: Kind, tokens: int = 1, of: Literal["function_class", "inputs"] = "function_class") -> Instruction:
    return Instruction(kind, tokens, of, NAMES)


def built(instruction: Instruction, *, seed: int = 0, **fields: Any) -> Transformer:
    """A model none of whose trained weights has a special value."""
    config = TransformerConfig(**{"width": 12, "layers": 2, "heads": 3, **fields})
    model = build_model(
        config, dims=DIMS, points=POINTS, generator=generator(seed, "initialization"), instruction=instruction
    )
    assert isinstance(model, Transformer)
    made = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            centre = 1.0 if name.endswith(("_norm", "_gain")) else 0.0
            value.copy_(centre + 0.4 * torch.randn(value.shape, generator=made))
    return model


def prompts_of(name: str = "linear", *, points: int = POINTS, inputs: str = "gaussian") -> Prompts:
    made = torch.Generator().manual_seed(2)
    xs, ys = torch.randn(4, points, DIMS, generator=made), torch.randn(4, points, generator=made)
    return Prompts(xs=xs, ys=ys, targets=ys, function_class=name, input_distribution=inputs)


def test_a_row_is_that_of_the_name_that_prompts_are_of() -> None:
    by_class, by_inputs = told("preset"), Instruction("preset", 1, "inputs", ("gaussian", "uniform"))
    assert by_class.rows(prompts_of("hermite/3")).tolist() == [2] * 4
    assert by_class.rows(prompts_of("relu_network")).tolist() == [NEUTRAL] * 4
    assert by_inputs.rows(prompts_of("hermite/3", inputs="uniform")).tolist() == [1] * 4
    assert by_inputs.rows(prompts_of("linear", inputs="laplace")).tolist() == [NEUTRAL] * 4
    given = replace(prompts_of("hermite/3"), instruction=ROWS)
    assert by_class.rows(given).tolist() == ROWS.tolist()
    assert by_class.rows(given[1:3]).tolist() == [NEUTRAL, 0]


@every_kind
@one_and_two
def test_tokens_and_matrix_choose_the_vectors_of_each_row(kind: Kind, tokens: int) -> None:
    """The tokens times the reading matrix are each name's own vectors, or the column of the read-in."""
    model = built(told(kind, tokens), tokens="alternate", positions="none")
    prompts = prompts_of()
    plain = model.tokens(prompts.xs, prompts.ys)
    read = model.instructed(plain, ROWS) @ model.reading_matrix().mT
    for number, row in enumerate(ROWS.tolist()):
        for token in range(tokens):
            if row == NEUTRAL:
                wanted = torch.zeros(12)
            elif kind == "one_hot":
                wanted = model.read_in[:, row]
            else:
                wanted = model.instruction_vectors[row, token if kind == "learned" else 0]
            torch.testing.assert_close(read[number, token], wanted, msg=f"row {row}, token {token}")
    torch.testing.assert_close(read[:, tokens:], plain @ model.read_in.mT)


@every_kind
@one_and_two
def test_equals_gpt2_with_the_vectors_in_front(kind: Kind, tokens: int) -> None:
    """Bhasin et al. 2024: one-hot tokens are read in as an x is, a preset vector stands in the embedding as it is."""
    model = built(told(kind, tokens), tokens="alternate", positions="token", activation="gelu")
    prompts = replace(prompts_of(points=model.max_points), instruction=torch.tensor([2, 0, 0, 1]))
    assert prompts.instruction is not None
    if kind == "one_hot":
        one_hot = torch.nn.functional.one_hot(prompts.instruction, DIMS).float()
        before = (one_hot @ model.read_in.mT + model.read_in_bias)[:, None].expand(-1, tokens, -1)
    else:
        before = model.instruction_vectors[prompts.instruction].expand(-1, tokens, -1)
    with torch.no_grad():
        expected = predict_with_gpt2(model, gpt2_like(model, "gelu_new"), prompts, before)
    torch.testing.assert_close(model.predict(prompts), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("before", "rows"), [(1, 0), (2, 1), (3, 2)])
def test_one_instruction_token_has_room_among_gpt2s_positions(before: int, rows: int) -> None:
    """GPT-2's table has a row for the last label, which is no token here."""
    model = built(told("preset", before), tokens="alternate", positions="token")
    assert len(model.position) == 2 * model.max_points + rows


@pytest.mark.parametrize(
    ("tokens", "positions", "kind"),
    [*product(("alternate", "joint"), ("token", "pair", "none"), ("learned",)), ("joint", "pair", "one_hot"),
     ("alternate", "pair", "preset")],
)  # fmt: skip
def test_separate_queries_equal_a_pass_per_prefix(tokens: str, positions: str, kind: Kind) -> None:
    model = built(told(kind, 2), tokens=tokens, positions=positions)
    plain = replace(prompts_of(points=model.max_points), instruction=ROWS)
    prompts = replace(plain, queries=plain.xs.flip(1))
    together = model.predict(prompts)
    for k in range(prompts.points):
        alone = model.predict(prompts.at_prefix(k))[:, k]
        torch.testing.assert_close(together[:, k], alone, atol=1e-5, rtol=1e-5)


def test_the_neutral_instruction_of_tokens_read_in_is_that_of_an_x_of_zeros() -> None:
    model = built(told("one_hot"), tokens="alternate", positions="none")
    prompts = prompts_of()
    embedded = model.layout(prompts.xs, prompts.ys, None, torch.full((4,), NEUTRAL))[0]
    torch.testing.assert_close(embedded[:, 0], model.read_in_bias.expand(4, -1))


@one_and_two
def test_preset_vectors_are_standard_normal_and_never_trained(tokens: int) -> None:
    names = tuple(f"class {number}" for number in range(64))
    config = TransformerConfig(width=32, layers=1)
    model = build_model(
        config, dims=2, points=3, generator=generator(0, "initialization"),
        instruction=Instruction("preset", tokens, "function_class", names),
    )  # fmt: skip
    vectors = model.state_dict()["instruction_vectors"]
    assert vectors.shape == (64, 1, 32)
    assert abs(float(vectors.mean())) < 0.1
    assert abs(float(vectors.std()) - 1) < 0.1
    assert "instruction_vectors" not in dict(model.named_parameters())


@pytest.mark.parametrize("fields", [{"initialization": "fast"}, {"initialization": "reference"}])
def test_all_other_weights_are_drawn_as_without_vectors_of_an_instruction(fields: dict[str, Any]) -> None:
    config = TransformerConfig(width=8, layers=1, **fields)
    states = [
        build_model(
            config, dims=DIMS, points=3, generator=generator(0, "initialization"), instruction=told(kind)
        ).state_dict()
        for kind in KINDS
    ]
    for state in states[1:]:
        assert {name for name in state if name not in states[0]} == {"instruction_vectors"}
        assert all(torch.equal(value, state[name]) for name, value in states[0].items())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, r"got none: pass instruction=prompts\.instruction, or rows of -1 for the neutral one"),
        (torch.zeros(3, dtype=torch.int64), r"expected int64 of shape \(4,\), found torch.int64 \(3,\)"),
        (torch.zeros(4, dtype=torch.int32), r"expected int64 of shape \(4,\), found torch.int32 \(4,\)"),
        (torch.tensor([0, 3, 0, 0]), "instruction: rows from 0 to 3, expected -1 to 2"),
        (torch.tensor([0, 1, -2, 0]), "instruction: rows from -2 to 1, expected -1 to 2"),
    ],
)
def test_rows_that_fit_neither_prompts_nor_names_are_refused(rows: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        told("preset").check(4, rows)


def test_a_model_that_reads_instructions_is_not_asked_without() -> None:
    prompts = prompts_of()
    for queries in (None, prompts.xs):
        with pytest.raises(ValueError, match="the model reads instructions, and got none"):
            built(told("preset"))(prompts.xs, prompts.ys, queries)


def test_prompts_of_no_instruction_need_none() -> None:
    model = TransformerConfig(width=8, layers=1).build(dims=DIMS, points=POINTS, generator=generator(0, "plain"))
    assert model.instruction_tokens == 0
    assert model.no_instruction(4) is None
    assert model.predict(replace(prompts_of(), instruction=ROWS)).shape == (4, POINTS)
