"""Architectures of the transformers library: what they answer, and what is refused in words."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models import HuggingFaceConfig, Instruction, build_model
from icl_curriculum.models.calling import by_prefix

DIMS, POINTS = 3, 6

#: Small networks of four kinds: attention with learned and with rotary positions, state spaces, a linear recurrence.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "GPT2Config": {"n_embd": 8, "n_layer": 1, "n_head": 2},
    "LlamaConfig": {
        "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    },
    "MambaConfig": {"hidden_size": 8, "num_hidden_layers": 1, "state_size": 4},
    "RwkvConfig": {"hidden_size": 8, "num_hidden_layers": 2, "context_length": 64},
}  # fmt: skip


def built(architecture: str, seed: int = 0, **more: Any) -> Any:
    config = HuggingFaceConfig(architecture=architecture, fields=ARCHITECTURES[architecture])
    made = torch.Generator().manual_seed(seed)
    return build_model(config, dims=DIMS, points=POINTS, generator=made, instruction=more.get("instruction"))


def prompts() -> Prompts:
    made = torch.Generator().manual_seed(1)
    xs, queries = torch.randn(2, 4, POINTS, DIMS, generator=made)
    ys = torch.randn(4, POINTS, generator=made)
    return Prompts(xs, ys, ys, queries=queries)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_kind_answers_by_prefixes_and_passes_gradients_to_all_its_weights(architecture: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model, asked = built(architecture), prompts()
    assert before.equal(torch.get_rng_state())
    plain = model(asked.xs, asked.ys)
    assert plain.shape == (4, POINTS)
    assert asked.queries is not None
    wanted = by_prefix(model, asked.xs, asked.ys, asked.queries)
    torch.testing.assert_close(model.predict(asked), wanted, rtol=1e-4, atol=1e-5)
    model.backward(asked.xs, asked.ys, asked.ys, torch.ones(4))
    without = [name for name, value in model.named_parameters() if value.grad is None]
    assert without == []
    again, other = built(architecture), built(architecture, seed=1)
    state = model.state_dict()
    assert all(value.equal(state[name]) for name, value in again.state_dict().items())
    assert not all(value.equal(state[name]) for name, value in other.state_dict().items())
    assert model.matrices


def test_it_is_the_library_s_network_between_two_matrices() -> None:
    from transformers import LlamaConfig, LlamaModel

    model, asked = built("LlamaConfig"), prompts()
    theirs = LlamaModel(LlamaConfig(**ARCHITECTURES["LlamaConfig"], vocab_size=1, pad_token_id=None)).eval()
    missing = theirs.load_state_dict(model.backbone.state_dict(), strict=False)
    assert [name for name in missing.missing_keys if "embed_tokens" not in name] == []
    earlier = torch.cat([asked.xs, asked.ys.unsqueeze(-1)], dim=-1)[:, :-1]
    tokens = torch.cat([asked.xs, torch.cat([torch.zeros(4, 1, DIMS + 1), earlier], dim=1)], dim=-1)
    with torch.no_grad():
        hidden = theirs(inputs_embeds=tokens @ model.read_in.T + model.read_in_bias).last_hidden_state
        torch.testing.assert_close(
            model(asked.xs, asked.ys), (hidden @ model.read_out.T + model.read_out_bias).squeeze(-1)
        )


def test_instructions_stand_before_the_prompt() -> None:
    model = built("GPT2Config", instruction=Instruction("learned", 1, "function_class", ("a", "b")))
    asked = prompts()
    with torch.no_grad():
        told = [model(asked.xs, asked.ys, instruction=torch.full((4,), row)) for row in (0, 1)]
    assert not torch.allclose(told[0], told[1])


REFUSED: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "a misspelt class": ("LlamaConfg", {}, "model.architecture", "did you mean 'LlamaConfig'?"),
    "no config class": ("LlamaModel", {}, "model.architecture", "expected the name of a config class of transformers"),
    "an unknown field": ("LlamaConfig", {"hiden_size": 8}, "model.fields", "did you mean 'hidden_size'?"),
    "fields that clash": (
        "LlamaConfig", {"hidden_size": 9, "num_attention_heads": 2}, "model.fields", "not a multiple of the number of",
    ),
    "no vectors": (
        "ViTConfig", {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}, "model.architecture",
        "takes no inputs_embeds",
    ),
    "two ways": (
        "BertConfig", {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8},
        "model.architecture", "looks at later tokens",
    ),
    "too short": (
        "GPT2Config", {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 4}, "model.fields",
        "reads prompts of at most 4 points, and there are 6",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_serve_is_refused_with_the_reason(case: str) -> None:
    architecture, fields, key, words = REFUSED[case]
    with pytest.raises(UserError) as caught:
        HuggingFaceConfig(architecture=architecture, fields=fields).check(dims=DIMS, points=POINTS)
    assert caught.value.key == key
    assert words in str(caught.value)


def test_without_the_library_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.import_module

    def absent(name: str) -> Any:
        if name == "transformers":
            raise ImportError(name)
        return there(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    words = r"not installed; install the extra: pip install 'icl_curriculum\[transformers\]'"
    with pytest.raises(UserError, match=words):
        HuggingFaceConfig(architecture="OPTConfig").check(dims=DIMS, points=POINTS)
