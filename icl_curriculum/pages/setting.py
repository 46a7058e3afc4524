"""The paragraph of a report that says what was run: from the tables, and from the configs where they are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.sources import Source
from icl_curriculum.results.comparison.wording import count
from icl_curriculum.results.shown_metric import shown_metric


def what_was_run(source: Source, found: Outcomes) -> str:
    """One paragraph on what was run."""
    seeds, configs = source.seeds, list(source.configs.values())
    parts = [
        f"{counted(len(source.variants), 'variant')}, {counted(len(seeds), 'training seed')} "
        f"({', '.join(map(str, seeds))})",
        *(part for part in (_prompts(configs), _steps(configs), _model(configs)) if part),
    ]
    return f"{'; '.join(parts)}. {_what_is_shown()} Intervals: {found.confidence:.0%}, over seeds."


def _what_is_shown() -> str:
    shown = shown_metric()
    if shown.chosen is None:
        return f"Error: normalized, 1 is that of {shown.nothing}."
    level = f", {shown.trivial:.3g} is that of {shown.nothing}" if shown.trivial is not None else ""
    return f"Numbers: {shown.title}{level}; {'less' if shown.improves == 'down' else 'more'} is better."


def counted(number: int, what: str) -> str:
    """A number of things: ``1 seed``, ``2,000 seeds``."""
    return f"{count(number)} {what if number == 1 else f'{what}s'}"


def _prompts(configs: Sequence[Mapping[str, Any]]) -> str:
    """How long and wide prompts are, where all variants agree."""
    points, dims = _common(configs, "points"), _common(configs, "dims")
    if type(points) is not int or type(dims) is not int:
        return ""
    return f"prompts of {counted(points - 1, 'example')} and a query in {counted(dims, 'dimension')}"


def _steps(configs: Sequence[Mapping[str, Any]]) -> str:
    """For how many steps was trained, and on how many prompts in each."""
    found = {config.get("training", {}).get("steps") for config in configs}
    steps = sorted(step for step in found if type(step) is int)
    if not steps:
        return ""
    shown = " or ".join(map(count, steps)) if len(steps) < 4 else f"{steps[0]:,} to {steps[-1]:,}"
    text = f"{shown} {'step' if steps == [1] else 'steps'}"
    prompts = _common([config.get("training", {}) for config in configs], "batch_size")
    return f"{text} of {counted(prompts, 'prompt')}" if type(prompts) is int else text


def _model(configs: Sequence[Mapping[str, Any]]) -> str:
    """The model by its name, and its whole numbers as the config states them: nobody else knows what they mean."""
    model = _common(configs, "model")
    if model is None:
        return "models that differ between variants" if any("model" in config for config in configs) else ""
    if not isinstance(model, Mapping) or not isinstance(model.get("name"), str):
        return ""
    numbers = ", ".join(f"{str(key).replace('_', ' ')} {value}" for key, value in model.items() if type(value) is int)
    return f"the model {model['name']}" + (f" ({numbers})" if numbers else "")


def _common(configs: Sequence[Mapping[str, Any]], key: str) -> Any:
    """What all configs have at a key; None where they differ or have none."""
    found = [config.get(key) for config in configs]
    return found[0] if found and all(value == found[0] for value in found) else None
