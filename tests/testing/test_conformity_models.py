"""The conformity check of models: those of the suite and of plugins pass, and one broken model for every rule."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from places import EVERY_KIND
from testing_classes import failures, finding_of, result_of
from testing_models import Reader, ReaderConfig, with_model
from torch import Tensor, nn

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models import Capability, Model, ModelConfig, TransformerConfig

KEPT: list[Any] = [
    "transformer",
    "scaled_mean",
    ReaderConfig,
    TransformerConfig(width=8, attention="plain"),
    TransformerConfig(width=12, heads=3, layers=2, tokens="alternate", positions="token", activation="gelu"),
    TransformerConfig(width=8, layers=1, initialization="reference", positions="none", max_points=4),
]


@pytest.mark.parametrize("model", KEPT, ids=lambda model: getattr(model, "id", getattr(model, "__name__", model)))
def test_models_of_the_suite_and_of_plugins_keep_the_contract(model: Any, fresh_registries: None) -> None:
    load_plugin(EVERY_KIND)
    assert failures(model) == {}


def test_what_a_model_declares_is_looked_at_and_what_it_does_not_is_said() -> None:
    declared = ("explicit parameters", "second derivatives", "attention", "head mask", "instruction")
    assert [result_of(ReaderConfig, rule).status for rule in declared] == ["ok"] * 5
    note = result_of(TransformerConfig(width=8), "second derivatives").note
    assert note.endswith('fused attention has no second derivatives; set model.attention = "plain"')


class Changed(Reader):
    """A reader whose forward pass is changed afterwards, or before."""

    def forward(self, xs: Tensor, ys: Tensor, queries: Tensor | None = None, **more: Any) -> Tensor:
        return self.then(super().forward(*self.first(xs, ys, queries), **more), xs, ys)

    def first(self, xs: Tensor, ys: Tensor, queries: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        return xs, ys, queries

    def then(self, predictions: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
        return predictions


def then(change: Any) -> type[ReaderConfig]:
    """A config of a reader with ``change(model, predictions, xs, ys)`` in the place of its predictions."""
    return with_model(type("Broken", (Changed,), {"then": change, "__module__": __name__}))


def having(**members: Any) -> type[ReaderConfig]:
    """A config of a reader with other members."""
    return with_model(type("Broken", (Changed,), {"__module__": __name__, **members}))


def after_init(do: Any, **members: Any) -> type[ReaderConfig]:
    """A config of a reader to whom something was done when it was made."""

    def init(self: Reader, dims: int, points: int) -> None:
        Reader.__init__(self, dims, points)
        do(self)

    return having(__init__=init, **members)


class Linear(nn.Module):
    """No Model."""


class Parameterless(Model):
    max_points = 100

    def forward(self, xs: Tensor, ys: Tensor, queries: Tensor | None = None) -> Tensor:
        return torch.zeros_like(ys)


def built(make: Any) -> type[ReaderConfig]:
    return with_model(Reader, build=lambda self, dims, points, generator: make(dims, points))


#: A generator that lives on between calls.
OWN = torch.Generator()


def refusing(self: ModelConfig, *, dims: int, points: int) -> None:
    raise UserError("never")


def remembers(self: Any, predictions: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    before, self.last = getattr(self, "last", 0.0), float(ys.sum())
    return predictions + before


def counts(self: Any, predictions: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    self.seen_so_far += 1
    return predictions


def doubled(self: Any, xs: Tensor, ys: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return self.backward_by_autograd(xs, ys, targets, 2 * weights)


def overwriting(self: Any, xs: Tensor, ys: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    self.zero_grad()
    return self.backward_by_autograd(xs, ys, targets, weights)


def fused(tokens: Tensor) -> Tensor:
    return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)


def weighted(self: Any, xs: Tensor, ys: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return weights * self.backward_by_autograd(xs, ys, targets, weights)


def stepping(self: Any, xs: Tensor, ys: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    errors: Tensor = self.backward_by_autograd(xs, ys, targets, weights)
    with torch.no_grad():
        self.pair.weight.add_(1)
    return errors


def warmed_up(self: Any) -> None:
    xs = torch.zeros(1, 1, self.query.in_features)
    self.backward_by_autograd(xs, xs[..., 0], xs[..., 0], xs[:, 0, 0])


def peeking(self: Any, prompts: Prompts) -> Tensor:
    return Model.predict(self, prompts) + 0 * prompts.targets


def switching(self: Any, prompts: Prompts) -> Tensor:
    return Model.predict(self.eval(), prompts)


def endless(self: Any, xs: Tensor, ys: Tensor, queries: Tensor | None = None) -> Tensor:
    return self.read_out(self.hidden(xs, ys, queries)[0][:, xs.shape[1] :]).squeeze(-1)


def with_kept(self: Any, predictions: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    return predictions + self.kept[0]


def with_secret(self: Any, predictions: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    return predictions + self.secret


def built_with_secret(self: Any, *, dims: int, points: int, generator: torch.Generator) -> Model:
    model = ReaderConfig.build(self, dims=dims, points=points, generator=generator)
    model.secret = torch.rand((), generator=generator)
    return model


def seen_too_late(self: Any, points: int, device: Any) -> Tensor:
    seen = Reader.seen(self, points, device)
    seen[points:, :points] |= torch.eye(points, dtype=torch.bool, device=device)
    return seen


def attention_of(change: Any) -> type[ReaderConfig]:
    return having(attention=lambda self, xs, ys, queries=None: change(Reader.attention(self, xs, ys, queries)))


def no_keywords(self: Any, xs: Tensor, ys: Tensor, queries: Tensor | None = None) -> Tensor:
    return Reader.forward(self, xs, ys, queries)


def masked_by(change: Any) -> type[ReaderConfig]:
    def forward(
        self: Any, xs: Tensor, ys: Tensor, queries: Tensor | None = None, head_mask: Tensor | None = None, **_: Any
    ) -> Tensor:
        return Reader.forward(self, xs, ys, queries, head_mask=change(head_mask))

    return having(forward=forward)


BROKEN: dict[str, tuple[Any, str, str]] = {
    # Its name: a model, what was found, what mends it.
    "construction": (type("Empty", (ModelConfig,), {"__doc__": "Empty."}), "Empty lacks build", "define build"),
    "capabilities/text": (
        with_model(Reader, capabilities=frozenset({"attention"})),
        "'attention'; did you mean Capability.ATTENTION?",
        "frozenset({Capability.",
    ),
    "capabilities/lacks": (
        with_model(Reader, lacks=lambda self, capability: False),
        "False for explicit_parameters",
        "return None",
    ),
    "sizes": (with_model(Reader, check=refusing), "refuses them all, 16 points in 16 with: never", "let check raise"),
    "build/another kind": (built(lambda dims, points: Linear()), "gives a Linear", "extend Model"),
    "build/forward": (built(lambda dims, points: Model()), "Model does not", "define forward"),
    "build/nothing to train": (built(lambda dims, points: Parameterless()), "Parameterless has none", "nn.Parameter"),
    "build/global generator": (built(Reader), "torch: the global generator changed during build(", "fork_rng"),
    "build/generator of its own": (
        after_init(lambda self: self.register_buffer("drawn", torch.rand(3, generator=OWN))),
        "'drawn' differ between two calls",
        "torch.empty alone",
    ),
    "build/matrices": (
        having(matrices=("pair",)),
        "no parameter 'pair'; did you mean 'pair.bias'?",
        "as named_parameters() does",
    ),
    "build/longest prompt": (with_model(Reader, longest_prompt=lambda self, points: 2), "2", "return points"),
    "build/max_points": (
        after_init(lambda self: delattr(self, "max_points")),
        "no max_points after build(dims=1, points=3)",
        "self.max_points in __init__",
    ),
    "shape/squeezed": (then(lambda self, found, xs, ys: found.squeeze()), "shape (3,)", "not squeeze()"),
    "shape/type": (then(lambda self, found, xs, ys: found.double()), "torch.float64", "xs.new_zeros"),
    "shape/nothing before entry 0": (
        then(lambda self, found, xs, ys: found / torch.arange(ys.shape[1], device=ys.device)),
        "3 of 9 predictions infinite or NaN",
        "entry 0 has no example before it",
    ),
    "device/attribute": (
        after_init(lambda self: self.__dict__.update(scale=self._buffers.pop("scale").reshape(1))),
        "meets tensors on the inputs' device and on the CPU",
        "register_buffer",
    ),
    "device/factory": (
        then(lambda self, found, xs, ys: found + torch.ones(ys.shape[1])),
        "torch.ones at ",
        "device=xs.device",
    ),
    "longest prompt": (having(forward=endless), "predictions", "raise ValueError where xs.shape[1] > self.max_points"),
    "global generators": (
        then(lambda self, found, xs, ys: nn.functional.dropout(found, 0.1, self.training)),
        "during forward and forward with separate queries and backward and predict",
        "leave out dropout",
    ),
    "determinism/memory": (then(remembers), "predictions that differ by up to", "no caches"),
    "determinism/mode": (
        then(lambda self, found, xs, ys: found * (1 if self.training else 0.5)),
        "predictions that differ by up to",
        "model.eval() switches",
    ),
    "determinism/statistics": (
        after_init(lambda self: self.register_buffer("seen_so_far", torch.tensor(0)), then=counts),
        "forward changed 'seen_so_far'",
        "no running statistics",
    ),
    "causality/own label": (having(seen=seen_too_late), "entry 0 changes by up to", "shift the pairs by one"),
    "causality/later pair": (
        then(lambda self, found, xs, ys: found + ys.mean(dim=1, keepdim=True)),
        "entry 0 changes by up to",
        "mask what comes later",
    ),
    "causality/later input": (
        then(lambda self, found, xs, ys: found + xs.roll(-1, dims=1)[:, :, 0]),
        "with the input of pair 1, which comes later",
        "causal mask",
    ),
    "causality/other queries": (
        having(first=lambda self, xs, ys, q: (xs, ys, None if q is None else q + q.mean(dim=1, keepdim=True))),
        "entry 1 changes by up to",
        "not one another",
    ),
    "causality/queries ignored": (
        having(first=lambda self, xs, ys, queries: (xs, ys, None)),
        "entry 0 changes by up to",
        "answer queries[:, k] in the place of xs[:, k]",
    ),
    "prompt lengths": (
        then(lambda self, found, xs, ys: found / ys.shape[1]),
        "it differs by up to",
        "depend on how many points",
    ),
    "batch": (
        then(lambda self, found, xs, ys: found - found.mean(dim=0)),
        "predictions that differ by up to",
        "axis of prompts",
    ),
    "predict/targets": (having(predict=peeking), "they differ by up to inf", "leave predict as Model defines it"),
    "predict/mode": (having(predict=switching), "the other mode", "leave predict"),
    "gradients/twice": (having(backward=doubled), "the gradient of 'pair.weight' differs by", "let applies say no"),
    "gradients/not added": (having(backward=overwriting), "the gradient of 'pair.weight' differs", "and add it"),
    "gradients/weighted errors": (having(backward=weighted), "they differ by up to", "prompt_errors("),
    "gradients/a step": (having(backward=stepping), "backward changed 'pair.weight'", "step_optimizers"),
    "gradients/prepare": (having(prepare=warmed_up), "prepare changed the gradients", "put back"),
    "state": (
        with_model(type("Broken", (Changed,), {"then": with_secret}), build=built_with_secret),
        "predictions that differ by up to",
        "register_buffer",
    ),
    "explicit parameters": (
        after_init(lambda self: setattr(self, "kept", [self.read_out.bias]), then=with_kept),
        "they differ by up to",
        "leave Capability.EXPLICIT_PARAMETERS out",
    ),
    "second derivatives": (
        then(lambda self, found, xs, ys: found * (1 + self.read_out.bias.detach())),
        "the change of the gradient of 'pair.weight' differs",
        "no detach",
    ),
    "second derivatives/fused": (
        then(lambda self, found, xs, ys: found + fused(self.read_out.weight[None, None]).sum()),
        "is not implemented",
        "torch's fused attention has none",
    ),
    "attention/axes": (
        attention_of(lambda maps: maps.transpose(0, 1)),
        "shape (2, 3, 3, 16, 16)",
        "an axis after the prompts",
    ),
    "attention/sums": (attention_of(lambda maps: maps / 2), "differ from 1 by up to 0.5", "after the softmax"),
    "attention/order": (
        attention_of(lambda maps: maps.flip(-1, -2)),
        "token 0 attends to token 9 by",
        "order the tokens",
    ),
    "head mask/keyword": (having(forward=no_keywords), "forward(xs, ys, queries)", "*, head_mask=None"),
    "head mask/ones": (
        masked_by(lambda mask: None if mask is None else 1 - mask),
        "predictions that differ by up to",
        "after the softmax",
    ),
    "head mask/zeros": (masked_by(lambda mask: None), "the same predictions as without one", "head_mask[layer, head]"),
    "instruction": (having(forward=no_keywords), "forward(xs, ys, queries)", "*, instruction=None"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_model_is_told_what_is_wrong_and_how_to_mend_it(case: str) -> None:
    model, found, mend = BROKEN[case]
    finding = finding_of(model, case.split("/")[0])
    assert found in finding.found
    assert mend in finding.mend


def test_what_a_model_raises_names_its_line() -> None:
    def forward(self: Any, xs: Tensor, ys: Tensor, queries: Tensor | None = None) -> Tensor:
        raise KeyError("weights")

    finding = finding_of(having(forward=forward), "shape")
    line = forward.__code__.co_firstlineno + 1
    assert finding.expected == "no exception in forward of xs of shape (3, 3, 1)"
    assert finding.found.startswith("KeyError: 'weights' (")
    assert f"test_conformity_models.py:{line}, in forward)" in finding.found


@pytest.mark.parametrize(
    ("model", "rule", "note"),
    [
        ("scaled_mean", "longest prompt", "max_points = 1000: prompts of more than 256 points were not tried"),
        (then(lambda self, found, xs, ys: 0 * found + self.read_out.bias), "gradients", "no gradient reaches pair."),
        (then(lambda self, found, xs, ys: 0 * found + self.read_out.bias), "causality", "depends on any label"),
        (with_model(Reader, capabilities=frozenset({Capability.HEAD_MASK})), "head mask", "known from attention"),
        (ReaderConfig, "instruction", "as their width is not known"),
    ],
)
def test_what_could_not_be_looked_at_is_noted(model: Any, rule: str, note: str, fresh_registries: None) -> None:
    load_plugin(EVERY_KIND)
    result = result_of(model, rule)
    assert result.status == "ok"
    assert note in result.note
