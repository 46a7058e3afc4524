"""The conformity check of models: those of the suite and of plugins pass, and one broken model for every rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from places import EVERY_KIND
from testing_classes import failures, finding_of, result_of
from testing_models import InTurn, Reader, ReaderConfig, with_model
from torch import Tensor, nn

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models import (
    Capability,
    DeepSetsConfig,
    HeadEdit,
    HuggingFaceConfig,
    Instruction,
    Model,
    ModelConfig,
    RecurrentConfig,
    StateSpaceConfig,
    TokenPlaces,
    TransformerConfig,
)
from icl_curriculum.testing import check

KEPT: list[Any] = [
    "transformer",
    "scaled_mean",
    TransformerConfig(
        width=12, heads=3, layers=2, tokens="alternate", positions="token", activation="gelu", attention="plain"
    ),
    TransformerConfig(width=8, layers=1, initialization="reference", positions="none", max_points=4),
    TransformerConfig(width=8, layers=1, attention="linear", divide_by_keys=False, loops=2, loss_loops=2),
    RecurrentConfig(width=8, layers=2),
    RecurrentConfig(cell="lstm", width=8, layers=1),
    StateSpaceConfig(width=8, layers=1, expand=1, state=2),
    DeepSetsConfig(width=8, encoder_layers=1, decoder_layers=1),
    HuggingFaceConfig(fields={"n_embd": 8, "n_layer": 1, "n_head": 2}),
]


@pytest.mark.parametrize("model", KEPT, ids=lambda model: getattr(model, "id", getattr(model, "__name__", model)))
def test_models_of_the_suite_and_of_plugins_keep_the_contract(model: Any, fresh_registries: None) -> None:
    load_plugin(EVERY_KIND)
    assert failures(model) == {}


def test_what_a_model_declares_is_looked_at_and_what_it_does_not_is_said() -> None:
    others = [result for result in check(ReaderConfig) if result.status != "ok"]
    assert [(result.rule, result.note) for result in others] == [
        ("updates", "the model is the same at every step"),
        ("token places", "no scores of what heads attend to: a label stands in one token with its input"),
    ]
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

    def init(self: Reader, dims: int, points: int, instruction: Instruction | None = None) -> None:
        Reader.__init__(self, dims, points, instruction)
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


def one_dimension(self: ModelConfig, *, dims: int, points: int) -> None:
    if dims > 1:
        raise UserError("only one")


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


def longest_two(self: Any, xs: Tensor, ys: Tensor, queries: Tensor | None = None, **more: Any) -> Tensor:
    if more.get("instruction") is not None and xs.shape[1] + self.instruction_tokens > self.max_points:
        raise ValueError("no room")
    return Reader.forward(self, xs, ys, queries, **more)


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


class Passed:
    """A head mask as a model passes it on: ``change(mask, layer, mixed, positions)`` in the place of its answer."""

    def __init__(self, mask: HeadEdit, change: Any) -> None:
        self.mask, self.change = mask, change

    def apply(self, layer: int, mixed: Tensor, positions: Tensor) -> Tensor:
        return self.change(self.mask, layer, mixed, positions)


def masked_by(change: Any) -> type[ReaderConfig]:
    """A config of a reader that passes a head mask on in a way of its own."""

    def forward(
        self: Any, xs: Tensor, ys: Tensor, queries: Tensor | None = None, head_mask: HeadEdit | None = None, **_: Any
    ) -> Tensor:
        passed = None if head_mask is None else Passed(head_mask, change)
        return Reader.forward(self, xs, ys, queries, head_mask=passed)

    return having(forward=forward)


def ignored(mask: HeadEdit, layer: int, mixed: Tensor, positions: Tensor) -> Tensor:
    mask.apply(layer, mixed, positions)
    return mixed


def as_a_whole(mask: HeadEdit, layer: int, mixed: Tensor, positions: Tensor) -> Tensor:
    return mask.apply(layer, mixed, positions).mean(dim=1, keepdim=True).expand_as(mixed)


def all_alike(mask: HeadEdit, layer: int, mixed: Tensor, positions: Tensor) -> Tensor:
    """What happens to one head happens to all of them."""
    ones = torch.ones_like(mixed)
    return mixed * mask.apply(layer, ones, positions).amin(dim=1, keepdim=True)


def at_one_place(mask: HeadEdit, layer: int, mixed: Tensor, positions: Tensor) -> Tensor:
    return mask.apply(layer, mixed, torch.zeros_like(positions))


def places_of(change: Any) -> type[ReaderConfig]:
    """A config of a transformer of alternate tokens whose token places are changed."""
    config = TransformerConfig(width=6, layers=1, tokens="alternate")

    def build(self: Any, **how: Any) -> Model:
        model = config.build(**how)
        places = model.token_places
        model.token_places = lambda points: change(places(points))
        return model

    return with_model(Reader, build=build, longest_prompt=lambda self, points: config.longest_prompt(points))


def told_by(change: Any, **members: Any) -> type[ReaderConfig]:
    """A config of a reader to whom the rows ``change(rows)`` are told in the place of those given."""
    return having(vectors_of=lambda self, xs, rows: Reader.vectors_of(self, xs, change(rows)), **members)


def silent(self: Any, xs: Tensor, rows: Tensor | None) -> Tensor:
    rows = torch.full((len(xs),), -1) if rows is None else rows
    return Reader.told(self, xs, rows)


def trained(self: Any, vectors: Tensor) -> None:
    self.vectors = nn.Parameter(vectors)


def frozen(self: Any, vectors: Tensor) -> None:
    self.register_buffer("vectors", vectors)


def unsaved(self: Any, vectors: Tensor) -> None:
    Reader.keep(self, vectors)
    self._non_persistent_buffers_set.update({"vectors"} - dict(self.named_parameters()).keys())


def seen_too_early(self: Any, xs: Tensor, rows: Tensor) -> Tensor:
    return Reader.vectors_of(self, xs, rows) + xs.mean()


def made_away(self: Any, xs: Tensor, rows: Tensor) -> Tensor:
    return Reader.vectors_of(self, xs, rows) + torch.ones(self.instruction.tokens, 1)


def predicting_neutral(self: Any, prompts: Prompts, **more: Any) -> Tensor:
    neutral = None if self.instruction is None else torch.full((len(prompts),), -1)
    return Model.predict(self, replace(prompts, instruction=neutral), **more)


def backward_neutral(self: Any, xs: Tensor, ys: Tensor, targets: Tensor, weights: Tensor, *told: Tensor) -> Tensor:
    return self.backward_by_autograd(xs, ys, targets, weights, *(torch.full_like(rows, -1) for rows in told))


def explicitly_neutral(self: Any, *asked: Any, instruction: Tensor | None = None, **more: Any) -> Tensor:
    neutral = None if instruction is None else torch.full_like(instruction, -1)
    return Model.forward_with(self, *asked, instruction=neutral, **more)


def attention_of_the_told(self: Any, xs: Tensor, ys: Tensor, queries: Tensor | None = None, **more: Any) -> Tensor:
    maps = Reader.attention(self, xs, ys, queries, **more)
    return maps / 2 if more else maps


def at_one_place_after_instructions(self: Any, xs: Tensor) -> Tensor:
    return Reader.positions(self, xs).clamp(max=self.instruction_tokens or 100)


def build_told_nothing(self: Any, *, dims: int, points: int, generator: torch.Generator) -> Model:
    return ReaderConfig.build(self, dims=dims, points=points, generator=generator)


def build_told_at_random(
    self: Any, *, dims: int, points: int, generator: torch.Generator, instruction: Instruction | None = None
) -> Model:
    model = ReaderConfig.build(self, dims=dims, points=points, generator=generator, instruction=instruction)
    if instruction is not None:
        with torch.no_grad():
            model.mix[0].bias.copy_(torch.randn(model.mix[0].bias.shape))
    return model


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
    "token places/too few": (
        places_of(lambda places: TokenPlaces(places.inputs[1:], places.labels)),
        "7 inputs and 7 labels",
        "those of an instruction",
    ),
    "token places/no places": (places_of(lambda places: (places.inputs,)), "(tensor([", "give the tokens of x_1"),
    "token places/labels and inputs": (
        places_of(lambda places: TokenPlaces(places.inputs, places.inputs[:-1])),
        "the attention of token 3 changes first",
        "in the order of attention",
    ),
    "token places/nowhere": (
        places_of(lambda places: TokenPlaces(places.inputs + 1, places.labels)),
        "the attention of token 2 changes first",
        "give the tokens of x_1 to x_query",
    ),
    "token places/joint": (with_model(InTurn), "the attention of token 1 changes first", "no tokens of their own"),
    "head mask/keyword": (having(forward=no_keywords), "forward(xs, ys, queries)", "*, head_mask=None"),
    "head mask/no call": (
        masked_by(lambda mask, layer, mixed, positions: mixed),
        "no call",
        "from 0, before the heads",
    ),
    "head mask/layers": (
        masked_by(lambda mask, layer, mixed, positions: mask.apply(layer + 1, mixed, positions)),
        "calls for the layers [1, 2]",
        "with layers from 0",
    ),
    "head mask/axes": (
        masked_by(lambda mask, layer, mixed, at: mask.apply(layer, mixed.transpose(1, 2), at).transpose(1, 2)),
        "in layer 0 mixed (3, 16, 3, 2) and positions (16,)",
        "before the heads are joined",
    ),
    "head mask/positions": (
        masked_by(lambda mask, layer, mixed, positions: mask.apply(layer, mixed, positions + 1)),
        "in layer 0 positions from 1 to 16",
        "the place of each asking token in the plain prompt",
    ),
    "head mask/ones": (masked_by(as_a_whole), "predictions that differ by up to", "change nothing else"),
    "head mask/zeros": (masked_by(ignored), "the same predictions as without one", "what apply returns"),
    "head mask/heads": (
        masked_by(all_alike),
        "the same predictions with head 1 of layer 0 masked as with head 0 of layer 0 masked",
        "heads are on the second axis",
    ),
    "head mask/means": (masked_by(at_one_place), "they differ by up to", "that of a separate query is the place"),
    "instruction/forward": (having(forward=no_keywords), "forward(xs, ys, queries)", "*, instruction=None"),
    "instruction/build": (
        with_model(Reader, build=build_told_nothing),
        "build(dims, points, generator)",
        "build(self, *, dims, points, generator, instruction=None)",
    ),
    "instruction/global generator": (
        with_model(Reader, build=build_told_at_random),
        "the global generator changed during build(dims=5, points=8, instruction of 1 one_hot tokens)",
        "fork_rng",
    ),
    "instruction/left out": (having(told=silent), "predictions", "instruction.check(len(xs), rows)"),
    "instruction/rows": (told_by(lambda rows: rows.clamp(max=0)), "the same predictions", "tokens of its own"),
    "instruction/neutral": (told_by(lambda rows: rows.abs()), "the same predictions", "tokens of zeros"),
    "instruction/other prompts": (
        told_by(lambda rows: rows.max().expand(len(rows))),
        "predictions that differ by up to",
        "by its own row",
    ),
    "instruction/trained presets": (
        having(keep=trained),
        "'vectors', of shape (3, 1, 6) for 3 names, is trained",
        "register_buffer(...), drawn from the generator as N(0, 1)",
    ),
    "instruction/fixed learned": (having(keep=frozen), "the same trained parameters for both", "torch.nn.Parameter"),
    "instructed prompts/later": (having(vectors_of=seen_too_early), "it differs by up to", "shift all others by as"),
    "instructed prompts/longest": (having(forward=longest_two), "ValueError: no room", "test_conformity_models"),
    "instructed prompts/device": (
        having(vectors_of=made_away),
        "meets tensors on the inputs' device and on the CPU",
        "register_buffer",
    ),
    "instructed prompts/attention": (
        having(attention=attention_of_the_told),
        "differ from 1 by up to 0.5",
        "after the softmax",
    ),
    "instructed prompts/means": (
        having(positions=at_one_place_after_instructions),
        "they differ by up to",
        "instruction tokens counted",
    ),
    "instructed prompts/predict": (having(predict=predicting_neutral), "they differ by up to", "Instruction.rows"),
    "instructed training/backward": (
        having(backward=backward_neutral),
        "they differ by up to",
        "prompt_errors(predictions, targets).detach()",
    ),
    "instructed training/state": (
        having(keep=unsaved),
        "predictions that differ by up to",
        "register_buffer(...)",
    ),
    "instructed training/explicit parameters": (
        having(forward_with=explicitly_neutral),
        "they differ by up to",
        "hand its instruction to forward",
    ),
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
        (with_model(Reader, check=one_dimension), "instruction", "one-hot tokens of 1 dimensions tell no two names"),
    ],
)
def test_what_could_not_be_looked_at_is_noted(model: Any, rule: str, note: str, fresh_registries: None) -> None:
    load_plugin(EVERY_KIND)
    result = result_of(model, rule)
    assert result.status == "ok"
    assert note in result.note
