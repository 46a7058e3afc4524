"""Adaptation at test time: its texts, steps on a bank and per prompt beside plain loops, and what it must not touch."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from testing_models import Reader
from torch import Tensor

from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models import (
    Adaptation,
    AdaptationDiverged,
    AdaptedModel,
    Instruction,
    Model,
    TransformerConfig,
    build_model,
)
from icl_curriculum.models.adapting import BankPath, PromptPaths

DIMS, POINTS = 2, 6
TOLD = Instruction("learned", 1, "function_class", ("linear", "quadratic"))


def model_of(instruction: Instruction | None = None, seed: int = 0, **fields: Any) -> Model:
    config = TransformerConfig(**{"width": 8, "layers": 2, "heads": 2, **fields})
    made = torch.Generator().manual_seed(seed)
    return build_model(config, dims=DIMS, points=POINTS, generator=made, instruction=instruction)


def reader() -> Reader:
    """A model made of torch's own layers, which has no faster way to its gradients."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Reader(DIMS, POINTS)


def drawn(n: int = 8, points: int = POINTS, seed: int = 1, scale: float = 1.0) -> Prompts:
    made = torch.Generator().manual_seed(seed)
    xs = torch.randn(n, points, DIMS, generator=made)
    targets = scale * (xs @ torch.randn(n, DIMS, 1, generator=made)).squeeze(-1)
    ys = targets + 0.1 * scale * torch.randn(n, points, generator=made)
    return Prompts(xs=xs, ys=ys, targets=targets, function_class="linear", input_distribution="gaussian")


def weights_of(model: Model) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same_weights(model: Model, expected: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


# Texts


@pytest.mark.parametrize(
    ("text", "adaptation", "name"),
    [
        ("steps=20", Adaptation(20), "adapted=20"),
        ("steps=20,rate=0.1", Adaptation(20, rate=0.1), "adapted=20/rate=0.1"),
        (" prompts = 9, rate=1e-2 ,steps=20", Adaptation(20, rate=0.01, prompts=9), "adapted=20/rate=0.01/prompts=9"),
        ("steps=20,rate=0.005,prompts=64,optimizer=gradient_descent", Adaptation(20), "adapted=20"),
        ("per_prompt", Adaptation(1, per_prompt=True), "adapted=1/per_prompt"),
        ("per_prompt,steps=5", Adaptation(5, per_prompt=True), "adapted=5/per_prompt"),
        ("steps=1,optimizer=adam,per_prompt", Adaptation(1, optimizer="adam", per_prompt=True),
         "adapted=1/per_prompt/optimizer=adam"),
        ("steps=1,rate=0.1234567", Adaptation(1, rate=0.1234567), "adapted=1/rate=0.1234567"),
    ],
)  # fmt: skip
def test_a_text_means_an_adaptation_and_its_id_holds_what_is_no_default(
    text: str, adaptation: Adaptation, name: str
) -> None:
    assert Adaptation.parse(text) == adaptation
    assert (adaptation.id, adaptation.learner) == (name, f"model/{name}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'': expected options such as steps=20,rate=0.1, found ''; known: optimizer, per_prompt, prompts, rate, "
         "steps"),
        ("steps=2,raet=1", "'steps=2,raet=1': expected options such as steps=20,rate=0.1, found 'raet=1'; did you mean "
         "'rate'?"),
        ("rate=0.1", "'rate=0.1': how many steps? expected steps=20, say"),
        ("steps=0", "'steps=0': steps: expected a number from 1 on; 0 steps are the model itself, which is always "
         "asked"),
        ("steps=1.5", "'steps=1.5': steps: expected a whole number from 1 to 999999, found '1.5'"),
        ("steps=2,steps=3", "'steps=2,steps=3': steps: expected every option once"),
        ("steps=2,rate=0", "'steps=2,rate=0': rate: expected a number above 0, found '0'"),
        ("steps=2,rate=nan", "'steps=2,rate=nan': rate: expected a number above 0, found 'nan'"),
        ("steps=2,prompts=-1", "'steps=2,prompts=-1': prompts: expected a whole number from 1 to 999999, found '-1'"),
        ("steps=2,optimizer=adan", "'steps=2,optimizer=adan': optimizer: expected gradient_descent or adam, found "
         "'adan'; did you mean 'adam'?"),
        ("steps=2,per_prompt=1", "'steps=2,per_prompt=1': per_prompt: expected the word alone, found 'per_prompt=1'"),
        ("steps", "'steps': steps: expected steps=..., found 'steps'"),
        ("steps=2,per_prompt,prompts=8", "'steps=2,per_prompt,prompts=8': prompts: with per_prompt each prompt is "
         "adapted to its own examples; leave the number out"),
    ],
)  # fmt: skip
def test_other_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        Adaptation.parse(text)
    assert str(error.value) == message


def test_impossible_numbers_are_refused_in_python_too() -> None:
    for options in ({"rate": -1.0}, {"rate": float("inf")}, {"prompts": 0}):
        with pytest.raises(UserError, match="expected a number"):
            Adaptation(5, **options)


# On a bank


def loss_of(model: Model, prompts: Prompts, **told: Tensor) -> Tensor:
    """The loss as the documentation says it, with nothing of the package but the forward pass."""
    found = model(prompts.xs, prompts.ys, prompts.queries, **told)
    kept = torch.ones_like(found, dtype=torch.bool) if prompts.mask is None else prompts.mask
    squares = (found - prompts.targets)[kept] ** 2
    return squares.mean() / (prompts.targets[kept] ** 2).mean()


@pytest.mark.parametrize("made", [model_of, reader], ids=["by hand", "by autograd"])
@pytest.mark.parametrize("kind", ["plain", "queries", "mask"])
def test_gradient_descent_is_that_of_a_plain_loop(made: Any, kind: str) -> None:
    model, prompts = made(), drawn(70)  # more than one pass takes
    if kind == "queries":
        prompts = replace(prompts, queries=prompts.xs.flip(1))
    if kind == "mask":
        mask = torch.rand(prompts.targets.shape, generator=torch.Generator().manual_seed(2)) < 0.7
        prompts = replace(prompts, mask=mask, targets=torch.where(mask, prompts.targets, float("nan")))
    mine = copy.deepcopy(model)
    for _ in range(4):
        mine.zero_grad()
        loss_of(mine, prompts).backward()
        with torch.no_grad():
            for value in mine.parameters():
                if value.grad is not None:
                    value -= 0.02 * value.grad
    adapted = model.adapted("steps=4,rate=0.02,prompts=70", prompts=prompts)
    asked = drawn(5, seed=9)
    torch.testing.assert_close(adapted.predict(asked), mine.predict(asked), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(adapted.predict(asked), model.predict(asked), atol=1e-4)


def test_adam_is_that_of_torch() -> None:
    model, prompts = model_of(), drawn()
    mine = copy.deepcopy(model)
    optimizer = torch.optim.Adam(mine.parameters(), lr=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        loss_of(mine, prompts).backward()
        optimizer.step()
    adapted = model.adapted("steps=5,rate=0.01,optimizer=adam,prompts=8", prompts=prompts)
    asked = drawn(5, seed=9)
    torch.testing.assert_close(adapted.predict(asked), mine.predict(asked), rtol=1e-3, atol=1e-4)


def test_one_rate_serves_functions_of_any_scale() -> None:
    """A model that is linear in the labels takes the same steps, whatever their unit."""

    class Scaled(Model):
        max_points = POINTS

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor([0.5, 0.1]))

        def forward(self, xs: Tensor, ys: Tensor, queries: Tensor | None = None) -> Tensor:
            return self.weight[0] * torch.nn.functional.pad(ys[:, :-1], (1, 0)) + 0 * self.weight[1]

    first, other = (Scaled().adapted("steps=3,rate=0.1,prompts=8", prompts=drawn(scale=scale)) for scale in (1, 100))
    torch.testing.assert_close(100 * first.predict(drawn(3)), other.predict(drawn(3, scale=100)), rtol=1e-4, atol=1e-4)


def test_instructions_of_the_prompts_are_passed_on() -> None:
    model, prompts = model_of(TOLD), drawn()
    other = replace(prompts, instruction=torch.full((8,), 1))
    found = [model.adapted("steps=2,rate=0.05,prompts=8", prompts=each) for each in (prompts, other)]
    mine = copy.deepcopy(model)
    loss_of(mine, prompts, instruction=torch.zeros(8, dtype=torch.int64)).backward()
    assert float(dict(mine.named_parameters())["read_in"].grad.abs().max()) > 0
    assert not torch.equal(found[0].predict(prompts), found[1].predict(prompts))
    per_prompt = model.adapted("per_prompt,steps=1,rate=0.05")
    assert not torch.equal(per_prompt.predict(prompts[:2]), per_prompt.predict(other[:2]))


def test_the_model_stays_bit_by_bit_also_after_an_error() -> None:
    model = model_of()
    expected = weights_of(model)
    model.backward(*(getattr(drawn(), name) for name in ("xs", "ys", "targets")), torch.ones(8))
    gradients = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    model.adapted("steps=2,prompts=8", prompts=drawn()).predict(drawn())
    model.adapted("per_prompt,steps=2").predict(drawn(2))
    with pytest.raises(AdaptationDiverged):
        model.adapted("steps=50,rate=1e6,prompts=8", prompts=drawn())
    model._compiled_call_impl = lambda *args: pytest.fail("a copy goes through no compiled model")
    model.adapted("steps=1,prompts=8", prompts=drawn()).predict(drawn())
    assert same_weights(model, expected)
    for name, value in model.named_parameters():
        assert value.grad is None if name not in gradients else torch.equal(value.grad, gradients[name])


def test_two_calls_give_the_same_bytes() -> None:
    for text, prompts in (("steps=3,prompts=8,optimizer=adam", drawn()), ("per_prompt,steps=2", None)):
        found = [model_of().adapted(text, prompts=prompts).predict(drawn(1, seed=4)) for _ in range(2)]
        assert torch.equal(*found)


def test_steps_share_a_way_and_may_be_asked_in_any_order() -> None:
    model, prompts, asked = model_of(), drawn(), drawn(3, seed=5)
    options = Adaptation(1, rate=0.02, prompts=8, optimizer="adam")
    path = BankPath(model, options, prompts)
    for steps in (1, 2, 5, 2, 5, 1):
        alone = model.adapted(replace(options, steps=steps), prompts=prompts)
        assert torch.equal(AdaptedModel(replace(options, steps=steps), path).predict(asked), alone.predict(asked)), (
            steps
        )
    taken: list[int] = []
    counted = BankPath(model, options, prompts)
    step = counted.descent.step
    counted.descent.step = lambda loss: (taken.append(1), step(loss))  # type: ignore[assignment, func-returns-value]
    for steps in (1, 2, 5):
        counted.predict(asked, steps)
    assert len(taken) == 5


@pytest.mark.parametrize("text", ["steps=40,rate=1e3,prompts=8", "steps=40,rate=1e30,prompts=8,optimizer=adam"])
def test_what_diverges_is_one_clear_error(text: str) -> None:
    message = r"adaptation on linear/gaussian diverged at step \d+, rate 1(000|e\+30): .* is no finite number; take a"
    with pytest.raises(RunFailed, match=f"^{message} lower rate$"):
        model_of().adapted(text, prompts=drawn()).predict(drawn())


def test_a_way_that_diverged_still_gives_fewer_steps() -> None:
    path = BankPath(model_of(), Adaptation(1, rate=1e3, prompts=8), drawn())
    with pytest.raises(AdaptationDiverged) as first:
        path.predict(drawn(), 40)
    assert path.failed is not None
    assert path.failed[0] > 1
    assert torch.equal(
        path.predict(drawn(), 1), BankPath(model_of(), Adaptation(1, rate=1e3), drawn()).predict(drawn(), 1)
    )
    with pytest.raises(AdaptationDiverged) as again:
        path.predict(drawn(), 50)
    assert str(again.value) == str(first.value)


def test_what_cannot_be_adapted() -> None:
    model = model_of()
    with pytest.raises(UserError, match=r"^adapted=5: on which prompts\? give prompts=\.\.\., 64 of them$"):
        model.adapted("steps=5")
    with pytest.raises(UserError, match=r"^adapted=5: expected 64 prompts, found 8; give more, or say prompts=8$"):
        model.adapted("steps=5", prompts=drawn())
    with pytest.raises(UserError, match="per_prompt adapts to each prompt's own examples; leave prompts out"):
        model.adapted("steps=5,per_prompt", prompts=drawn())
    with pytest.raises(UserError, match="no entry that is defined"):
        model.adapted("steps=5,prompts=8", prompts=replace(drawn(), mask=torch.zeros(8, POINTS, dtype=torch.bool)))
    model.requires_grad_(False)
    with pytest.raises(UserError, match="Transformer has no parameters that take gradients, so it cannot be adapted"):
        model.adapted("steps=5,prompts=8", prompts=drawn())


def test_the_first_prompts_are_taken_and_their_targets() -> None:
    model, prompts = model_of(), drawn(20)
    first = model.adapted("steps=2,prompts=8", prompts=prompts)
    assert torch.equal(first.predict(drawn()), model.adapted("steps=2,prompts=8", prompts=prompts[:8]).predict(drawn()))
    other = model.adapted("steps=2,prompts=8", prompts=replace(prompts, targets=prompts.targets + 1))
    assert not torch.equal(first.predict(drawn()), other.predict(drawn()))


# Per prompt


def naive(model: Model, prompts: Prompts, steps: int, rate: float) -> Tensor:
    """One prompt, one length and one left-out pair after the other."""
    found = torch.zeros_like(prompts.targets)
    for row in range(len(prompts)):
        for k in range(prompts.points):
            mine = copy.deepcopy(model)
            xs, ys = prompts.xs[row, :k], prompts.ys[row, :k]
            for _ in range(steps if k >= 2 else 0):
                mine.zero_grad()
                losses = []
                for i in range(k):
                    kept = [j for j in range(k) if j != i]
                    support = mine(xs[[*kept, i]].unsqueeze(0), ys[[*kept, i]].unsqueeze(0))
                    losses.append((support[0, -1] - ys[i]) ** 2)
                (torch.stack(losses).mean() / (ys**2).mean()).backward()
                with torch.no_grad():
                    for value in mine.parameters():
                        if value.grad is not None:
                            value -= rate * value.grad
            with torch.no_grad():
                asked = torch.cat([xs, prompts.query()[row, k : k + 1]]).unsqueeze(0)
                found[row, k] = mine(asked, prompts.ys[row : row + 1, : k + 1])[0, k]
    return found


@pytest.mark.parametrize("separate", [False, True])
def test_per_prompt_is_what_a_slow_loop_gives(separate: bool) -> None:
    model, prompts = model_of(), drawn(2)
    if separate:
        prompts = replace(prompts, queries=prompts.xs.flip(0))
    adapted = model.adapted("per_prompt,steps=2,rate=0.01")
    assert adapted.costly
    found = adapted.predict(prompts)
    torch.testing.assert_close(found, naive(model, prompts, 2, 0.01), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[:, :2], model.predict(prompts)[:, :2], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(found[:, 2:], model.predict(prompts)[:, 2:], atol=1e-3)


def test_an_entry_depends_neither_on_later_pairs_nor_on_other_prompts_nor_on_targets() -> None:
    adapted, prompts = model_of(layers=1).adapted("per_prompt,steps=1,rate=0.01"), drawn(2)
    found = adapted.predict(prompts)
    for k in (1, 3):
        xs, ys = prompts.xs.clone(), prompts.ys.clone()
        xs[:, k + 1 :], ys[:, k:] = 7.0, -3.0
        changed = replace(prompts, xs=xs, ys=ys, targets=torch.full_like(ys, 5.0))
        again = model_of(layers=1).adapted("per_prompt,steps=1,rate=0.01").predict(changed)
        assert torch.equal(again[:, : k + 1], found[:, : k + 1]), k
        assert not torch.equal(again[:, -1], found[:, -1])
    alone = model_of(layers=1).adapted("per_prompt,steps=1,rate=0.01").predict(prompts[1:])
    assert torch.equal(alone[0], found[1])


def test_per_prompt_answers_what_the_mask_leaves_and_shares_the_way() -> None:
    model, prompts = model_of(), drawn(2)
    mask = torch.zeros(2, POINTS, dtype=torch.bool)
    mask[:, 4] = True
    path = PromptPaths(model, Adaptation(1, rate=0.01, per_prompt=True), [3, 1])
    found = {steps: path.predict(replace(prompts, mask=mask), steps) for steps in (1, 3)}
    assert len(path.known) == 2
    for steps, answers in found.items():
        alone = model.adapted(f"per_prompt,steps={steps},rate=0.01").predict(prompts)
        assert torch.equal(answers[:, 4], alone[:, 4])
        assert not answers[:, [0, 1, 2, 3, 5]].any()


def test_per_prompt_names_the_prompt_that_diverges() -> None:
    with pytest.raises(AdaptationDiverged, match=r"^adaptation on prompt 1, k = 2 diverged at step \d+, rate 1e\+08: "):
        model_of().adapted("per_prompt,steps=30,rate=1e8").predict(drawn(2))
