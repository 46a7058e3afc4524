"""The table ``[instruction]``: what models are told by it, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from places import EVERY_KIND
from tiny_runs import tiny_run, tiny_values

from icl_curriculum.config.loading import build
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.streams import generator
from icl_curriculum.models import Instruction


def refusal(changes: dict[str, Any]) -> str:
    with pytest.raises(UserError) as refused:
        build(tiny_values(changes), source="tiny.toml")
    return str(refused.value)


def test_models_are_told_nothing_unless_the_file_says_so() -> None:
    experiment = tiny_run().experiment
    assert experiment.told() is None
    assert experiment.build_model(generator(0, "initialization")).instruction is None


def test_names_are_the_ids_of_what_is_told_apart_in_their_order() -> None:
    classes = ["quadratic", {"name": "hermite", "degree": 2}, {"name": "linear", "id": "mine"}]
    changes = {"function_classes": classes, "inputs": ["gaussian", "skewed"], "dims": 3}
    by_class = tiny_run({**changes, "instruction": {"kind": "one_hot", "tokens": 2}}).experiment
    wanted = Instruction("one_hot", 2, "function_class", ("quadratic", "hermite/2", "mine"))
    assert by_class.told() == wanted
    model = by_class.build_model(generator(0, "initialization"))
    assert (model.instruction, model.instruction_tokens) == (wanted, 2)
    by_inputs = tiny_run({**changes, "instruction": {"kind": "learned", "of": "inputs"}}).experiment
    assert by_inputs.told() == Instruction("learned", 1, "inputs", ("gaussian", "skewed"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"dims": 1, "instruction.kind": "one_hot"},
            "tiny.toml: instruction.kind: a one-hot token is as wide as x, dims = 1, and there are 2 function "
            'classes; set instruction.kind = "learned", or more dims',
        ),
        (
            {"inputs": ["gaussian", "skewed", "laplace"], "instruction.kind": "one_hot", "instruction.of": "inputs"},
            "instruction.kind: a one-hot token is as wide as x, dims = 2, and there are 3 input distributions",
        ),
        (
            {"instruction.kind": "onehot"},
            "instruction.kind: expected 'none', 'one_hot', 'preset' or 'learned', found 'onehot'",
        ),
        (
            {"instruction.kind": "preset", "instruction.tokens": 0},
            "instruction.tokens: expected greater than or equal to 1, found 0",
        ),
        (
            {"instruction.of": "function_classes"},
            "instruction.of: expected 'function_class' or 'inputs', found 'function_classes'",
        ),
        ({"instruction.token": 2}, "instruction.token: unknown key; did you mean 'tokens'?"),
    ],
)
def test_what_the_table_cannot_say_is_refused(changes: dict[str, Any], message: str) -> None:
    assert message in refusal(changes)


def test_a_model_that_reads_no_instructions_is_refused(fresh_registries: None) -> None:
    load_plugin(Path(EVERY_KIND))
    changes = {"model": {"name": "scaled_mean"}, "instruction.kind": "learned"}
    values = {**tiny_values(changes), "model": {"name": "scaled_mean"}}
    with pytest.raises(UserError) as refused:
        build(values, source="tiny.toml")
    assert str(refused.value) == (
        "tiny.toml: instruction.kind: 'scaled_mean' cannot read instruction tokens: scaled_mean does not declare "
        'Capability.INSTRUCTION; choose another model, or set instruction.kind = "none"'
    )
