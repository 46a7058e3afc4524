"""Limited data: a fixed set of prompts of each cell, taken again and again."""

from __future__ import annotations

from typing import Any

import torch
from tiny_runs import tiny_run

from icl_curriculum.training import Trainer

CHANGES: dict[str, Any] = {"curriculum.function_classes": "random", "training.fixed_prompts": 6}
CELL = ("linear", "gaussian")


def rows(xs: torch.Tensor) -> set[tuple[float, ...]]:
    return {tuple(row.flatten().tolist()) for row in xs}


def drawn(trainer: Trainer, n: int, role: str = "training", times: int = 1) -> list[torch.Tensor]:
    session = trainer.session()
    return [session.draw(CELL, n, role=role).xs for _ in range(times)]


def test_a_run_sees_so_many_prompts_of_a_cell_and_no_others() -> None:
    trainer = Trainer(tiny_run(CHANGES))
    seen = set()
    for step in range(12):
        trainer.step = step
        seen |= rows(drawn(trainer, 4)[0])
    assert len(seen) == 6


def test_a_draw_repeats_none_until_all_were_taken() -> None:
    trainer = Trainer(tiny_run(CHANGES))
    assert len(rows(drawn(trainer, 6)[0])) == 6
    (longer,) = drawn(trainer, 15)
    assert len(rows(longer[:6])) == len(rows(longer[6:12])) == 6


def test_support_and_query_of_a_task_differ() -> None:
    trainer = Trainer(tiny_run(CHANGES))
    for step in range(12):
        trainer.step = step
        session = trainer.session()
        for _ in range(2):
            support = session.draw(CELL, 3, role="support").xs
            assert not rows(support) & rows(session.draw(CELL, 3, role="query").xs)


def test_methods_and_sizes_of_batches_have_the_same_set_and_seeds_have_others() -> None:
    whole = rows(drawn(Trainer(tiny_run(CHANGES)), 6)[0])
    maml = {"training.method": {"name": "maml", "n_tasks": 2}, "model.attention": "plain"}
    assert rows(drawn(Trainer(tiny_run({**CHANGES, **maml})), 6, "support")[0]) == whole
    assert not rows(drawn(Trainer(tiny_run(CHANGES, seed=1)), 6)[0]) & whole


def test_the_set_is_none_of_the_prompts_of_other_runs_and_grows_with_the_curriculum() -> None:
    plain = rows(drawn(Trainer(tiny_run({**CHANGES, "training.fixed_prompts": 1000})), 1000)[0])
    fresh = Trainer(tiny_run({"curriculum.function_classes": "random"}))
    assert not plain & rows(drawn(fresh, 50)[0])
    growing = {
        "curriculum.dims": {"start": 1, "add": 1, "every": 6},
        "curriculum.points": {"start": 3, "add": 2, "every": 6},
    }
    trainer = Trainer(tiny_run({**CHANGES, **growing}))
    (small,) = drawn(trainer, 6)
    assert small.shape == (6, 3, 2)
    assert not small[..., 1:].any()
    (whole,) = drawn(Trainer(tiny_run(CHANGES)), 6)
    assert rows(small[..., :1]) == rows(whole[:, :3, :1])


def test_it_is_part_of_the_hash_only_where_it_is_set() -> None:
    assert tiny_run(CHANGES).hash() != tiny_run({"curriculum.function_classes": "random"}).hash()
    assert "fixed_prompts" not in str(tiny_run().experiment.deciding())


def test_batches_of_a_reptile_task_differ() -> None:
    method = {"name": "reptile", "n_tasks": 2, "inner_steps": 4}
    trainer = Trainer(
        tiny_run({**CHANGES, "training.fixed_prompts": 8, "training.method": method, "training.batch_size": 16})
    )
    for step in range(12):
        trainer.step = step
        for task in trainer.method.drawn_tasks(trainer.session()):  # type: ignore[attr-defined]
            assert len(rows(torch.cat([batch.xs for batch in task.support]))) == 8
