"""The table of errors that a run ends with, beside baselines of every kind."""

from __future__ import annotations

import io
from pathlib import Path

from made_up_tables import make_scores, make_tables, write
from rich.console import Console

from icl_curriculum.cli.error_tables import error_table


def printed(folder: Path, curves: dict[str, dict[int, float]], **prompts: int) -> list[str]:
    """The lines of the table for a model whose error is 0.3 at 8 examples."""
    model = {f"model score score {seed}": {k: 0.5 if k < 8 else 0.3 for k in range(9)} for seed in (0, 1)}
    tables = make_tables(["linear"], [0], shifts=())
    write({"curriculum": tables["curriculum"], "evaluation": make_scores(model | curves, prompts=prompts)}, folder)
    text = io.StringIO()
    Console(width=100, file=text).print(error_table(folder))
    return [" ".join(line.split()) for line in text.getvalue().splitlines()]


def test_the_best_baseline_is_one_that_was_asked_at_the_longest_prompts(tmp_path: Path) -> None:
    curves = {"ridge": {4: 0.1, 8: 0.2}, "greedy_tree": {4: 0.01}, "lasso/1": {8: float("nan")}, "knn": {8: 0.2}}
    lines = printed(tmp_path, curves, ridge=640)
    assert lines[2] == "linear 0.500 0.500 0.300 0.300–0.300 0.200 knn –"
    assert not any("†" in line for line in lines)


def test_a_best_baseline_on_fewer_prompts_is_marked(tmp_path: Path) -> None:
    lines = printed(tmp_path, {"ridge": {8: 0.2}, "greedy_tree": {8: 0.1}}, greedy_tree=128)
    assert lines[2].endswith("0.100 greedy_tree† –")
    assert lines[3] == "† on 128 prompts instead of 640"


def test_lengths_are_those_of_the_model(tmp_path: Path) -> None:
    lines = printed(tmp_path, {"ridge": dict.fromkeys(range(20), 0.1)})
    assert lines[1].split()[2:5] == ["k=2", "k=4", "k=8"]
