"""Turns, ratios and floating-point operations, on which `icl bench step` rests."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from bench_doubles import TINY, Clock, quiet

from icl_curriculum.bench import competitors, methods, step, timing
from icl_curriculum.bench.tables import Settings
from icl_curriculum.models import flops

# Times


def test_competitors_take_turns_after_a_warm_up_of_each() -> None:
    clock = Clock()
    given = {"a": clock.taking("a", 2.0), "b": clock.taking("b", 3.0), "c": clock.taking("c", 1.0)}
    found = timing.interleaved(given, 3, clock=clock)
    assert clock.calls == ["a", "b", "c"] * 4
    assert found == {"a": [2.0] * 3, "b": [3.0] * 3, "c": [1.0] * 3}


def test_what_is_short_is_repeated_as_often_in_every_turn() -> None:
    clock = Clock()
    given = {"short": clock.taking("short", 0.01), "long": clock.taking("long", 5.0)}
    found = timing.interleaved(given, 2, turn=0.05, clock=clock)
    # Warm-up: twice what may have set things up, once what is long anyway.
    assert clock.calls == ["short"] * 2 + ["long"] + (["short"] * 5 + ["long"]) * 2
    assert found["short"] == pytest.approx([0.01] * 2)


def test_the_device_is_waited_for_around_every_turn() -> None:
    events: list[str] = []
    timing.interleaved({"a": lambda: events.append("a")}, 2, turn=0.0, wait=lambda: events.append("wait"))
    assert events[-6:] == ["wait", "a", "wait"] * 2
    assert events.count("wait") == 2 * (2 + len(events) // 3 - 2)


def test_ratios_are_taken_round_by_round() -> None:
    # A slow second round that hits both changes nothing.
    ratio = timing.ratios([10.0, 40.0, 12.0, 9.0, 11.0], [5.0, 20.0, 4.0, 9.0, 5.0])
    assert ratio == timing.Spread(median=2.0, low=2.0, high=2.2)
    assert timing.spread([1.0, 2.0, 3.0, 4.0, 5.0]) == timing.Spread(3.0, 2.0, 4.0)


def test_the_share_of_the_peak_is_of_the_same_round() -> None:
    assert step.share_of_peak(6.0, [1.0, 2.0, 1.0], [12.0, 6.0, 10.0]) == 0.5
    assert timing.peak({512: [1.0, 5.0], 1024: [3.0, 4.0]}) == [3.0, 5.0]


# Operations


def test_operations_of_matrix_products_are_those_of_the_closed_form() -> None:
    a, b, c = torch.randn(3, 4), torch.randn(4, 5), torch.randn(5, 7)
    one, out = torch.zeros(3, 5), torch.empty(3, 5)
    assert flops.count(lambda: a @ b @ c) == 2 * (3 * 4 * 5 + 3 * 5 * 7)
    assert flops.count(lambda: torch.mm(a, b, out=out)) == 2 * 3 * 4 * 5
    assert flops.count(lambda: one.addmm_(a, b)) == 2 * 3 * 4 * 5
    assert flops.count(lambda: torch.addmm(one, a, b)) == 2 * 3 * 4 * 5
    assert flops.count(lambda: F.linear(a, b.mT, torch.zeros(5))) == 2 * 3 * 4 * 5
    assert flops.count(lambda: torch.mv(a, torch.randn(4))) == 2 * 3 * 4
    assert flops.count(lambda: torch.zeros(3).addmv_(a, torch.randn(4))) == 2 * 3 * 4
    stacked, other = torch.randn(6, 3, 4), torch.randn(6, 4, 5)
    assert flops.count(lambda: torch.bmm(stacked, other)) == 6 * 2 * 3 * 4 * 5
    assert flops.count(lambda: torch.zeros(6, 3, 5).baddbmm_(stacked, other)) == 6 * 2 * 3 * 4 * 5
    assert flops.count(lambda: stacked.exp().sum()) == 0


def test_operations_of_a_backward_pass_are_counted() -> None:
    a, b = (torch.randn(3, 4, requires_grad=True), torch.randn(4, 5, requires_grad=True))
    assert flops.count(lambda: (a @ b).sum().backward()) == 3 * 2 * 3 * 4 * 5


def test_a_convolution_is_a_product_with_a_filter_for_each_number_that_comes_out() -> None:
    """Forward, and a product each for the gradients of inputs and filters."""
    given = torch.randn(2, 4, 9, requires_grad=True)
    plain, grouped = torch.nn.Conv1d(4, 6, 3, padding=1), torch.nn.Conv1d(4, 4, 3, groups=4)
    assert flops.count(lambda: plain(given.detach())) == 2 * 2 * 6 * 9 * 4 * 3
    assert flops.count(lambda: grouped(given.detach())) == 2 * 2 * 4 * 7 * 3
    assert flops.count(lambda: plain(given).sum().backward()) == 3 * 2 * 2 * 6 * 9 * 4 * 3


def test_fused_attention_is_two_products_forward_and_five_backward() -> None:
    q, k, v = (torch.randn(2, 3, n, 4, requires_grad=True) for n in (5, 6, 6))
    product = 2 * 2 * 3 * 5 * 6 * 4
    assert flops.count(lambda: F.scaled_dot_product_attention(q.detach(), k.detach(), v.detach())) == 2 * product
    assert flops.count(lambda: F.scaled_dot_product_attention(q, k, v).sum().backward()) == 7 * product


def test_a_training_step_of_the_models_is_counted_whichever_way_gradients_are_made() -> None:
    prompts = competitors.batches(TINY, "cpu")
    counted = {name: flops.count(competitors.build(name, TINY, prompts, "cpu").step) for name in competitors.OURS}
    weights = 12 * TINY.layers * TINY.width**2
    tokens = TINY.batch * (2 * TINY.points - 1)
    # Three products a weight and token; attention comes on top, what the last block spares goes off.
    for name in ("ours, gpt2", "ours, gpt2, autograd"):
        assert 0.6 < counted[name] / (6 * weights * tokens) < 1.8


def test_every_method_is_timed_beside_plain_training_on_the_same_model() -> None:
    """Which operations an update takes is known; how long, only that it was measured in every round."""
    (job,) = methods.jobs(Settings(threads=(1,), rounds=2), [replace(TINY, batch=16)])
    rows = {(row["method"], row["attention"]): row for row in job.measure(quiet).rows}
    assert [*dict.fromkeys(method for method, _ in rows)] == ["in_context", "maml", "fomaml", "reptile", "meta_icl"]
    assert rows["in_context", "plain"]["slowdown"] == 1.0
    assert rows["maml", "plain"]["operations"] == pytest.approx(2.0)
    assert rows["fomaml", "fused"]["operations"] == pytest.approx(1.0)
    assert all(row["seconds_per_update"] > 0 for row in rows.values())
