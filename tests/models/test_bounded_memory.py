"""Every family answers many prompts in passes: what a prediction takes does not grow with the number of prompts."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from icl_curriculum.core.progress import heard_by
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import MODELS
from icl_curriculum.models import Model, ModelConfig, build_model

DIMS, POINTS, PER_PASS = 3, 9, 4

FAMILIES: dict[str, dict[str, Any]] = {
    "joint": {"name": "transformer", "width": 8, "layers": 2},
    "alternate": {"name": "transformer", "width": 8, "layers": 2, "tokens": "alternate", "attention": "plain"},
    "linear": {"name": "transformer", "width": 8, "layers": 1, "attention": "linear"},
    "looped": {"name": "transformer", "width": 8, "layers": 1, "loops": 3},
    "gru": {"name": "recurrent", "width": 8, "layers": 2},
    "lstm": {"name": "recurrent", "width": 8, "layers": 2, "cell": "lstm"},
    "state_space": {"name": "state_space", "width": 8, "layers": 2},
    "deep_sets": {"name": "deep_sets", "width": 8},
    "huggingface": {
        "name": "huggingface", "architecture": "GPT2Config", "fields": {"n_embd": 8, "n_layer": 1, "n_head": 2},
    },
}  # fmt: skip


class Peak(TorchDispatchMode):
    """The most bytes of tensors that were alive at once in the block, of those that were made in it."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = {tensor.untyped_storage()._cdata for tensor in tree_leaves(args) if isinstance(tensor, torch.Tensor)}
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in known and storage._cdata not in self.alive:
                    self.alive[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self.alive.pop, storage._cdata, None)
        self.most = max(self.most, sum(self.alive.values()))
        return found


def built(family: str) -> Model:
    config = MODELS.build(FAMILIES[family])
    assert isinstance(config, ModelConfig)
    made = torch.Generator().manual_seed(0)
    model = build_model(config, dims=DIMS, points=POINTS, generator=made, instruction=None)
    model.prompts_per_pass = PER_PASS
    return model


def prompts(n: int, *, queries: bool) -> Prompts:
    made = torch.Generator().manual_seed(1)
    xs, asked = torch.randn(2, n, POINTS, DIMS, generator=made)
    ys = torch.randn(n, POINTS, generator=made)
    return Prompts(xs, ys, ys, queries=asked if queries else None)


def peak(model: Model, asked: Prompts) -> int:
    with Peak() as found:
        model.predict(asked)
    return found.most


@pytest.mark.parametrize("queries", [False, True], ids=["plain", "queries"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_prediction_takes_grows_by_its_answers_alone(family: str, queries: bool) -> None:
    model = built(family)
    model.predict(prompts(1, queries=queries))
    few, many = (peak(model, prompts(n * PER_PASS, queries=queries)) for n in (2, 7))
    answers = 5 * PER_PASS * POINTS * 4
    assert few > 2 * PER_PASS * POINTS * 4, "nothing was measured"
    # Those of the passes, and of all of them together.
    assert many - few <= 2 * answers


def test_it_would_be_seen_to_grow() -> None:
    model = built("joint")
    model.prompts_per_pass = 1000
    few, many = (peak(model, prompts(n * PER_PASS, queries=True)) for n in (2, 12))
    assert many > 4 * few


def test_prompts_in_several_passes_are_answered_as_they_are_in_one() -> None:
    model, asked = built("huggingface"), prompts(10, queries=True)
    by_parts = model.predict(asked)
    model.prompts_per_pass = 64
    torch.testing.assert_close(by_parts, model.predict(asked), rtol=1e-5, atol=1e-6)


def test_what_is_asked_length_by_length_tells_which_one_it_is_at() -> None:
    told: list[tuple[float, str]] = []
    model = built("huggingface")
    with heard_by(lambda share, detail="": told.append((share, detail))):
        model.predict(prompts(10, queries=True))
        assert len(told) == 3 * POINTS
        assert told[0] == (0.0, "length 1 of 9, prompts 1-4 of 10")
        assert told[POINTS + 2][1] == "length 3 of 9, prompts 5-8 of 10"
        assert told[-1][1] == "length 9 of 9, prompts 9-10 of 10"
        shares = [share for share, _ in told]
        assert shares == sorted(shares)
        assert 0.9 < shares[-1] < 1
        told.clear()
        model.predict(prompts(3, queries=True))
        assert [detail for _, detail in told] == [f"length {k} of 9" for k in range(1, 10)]
        # What takes one pass tells nothing, and neither does a family that takes separate queries.
        told.clear()
        model.predict(prompts(10, queries=False))
        built("gru").predict(prompts(10, queries=True))
        assert told == []
    model.predict(prompts(3, queries=True))
    assert told == []
