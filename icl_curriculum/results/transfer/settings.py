"""How each variant was trained, from its config, and which plain variants it is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from icl_curriculum.core.errors import UserError
from icl_curriculum.results.comparison.sources import Cell, Source

#: The name of plain in-context training.
PLAIN = "in_context"


@dataclass(frozen=True)
class TrainedSetting:
    """How one variant was trained. ``cells``: those with a share; ``n_context``: the examples at which errors are."""

    variant: str
    method: str
    steps: int
    batch_size: int
    fixed_prompts: int | None
    cells: frozenset[Cell]
    config: Mapping[str, Any]

    @property
    def plain(self) -> bool:
        return self.method == PLAIN

    @property
    def order(self) -> tuple[Any, ...]:
        """The key by which variants are listed: unlimited data first, then plain training, then by name."""
        limited = self.fixed_prompts is not None
        return (limited, -(self.fixed_prompts or 0), not self.plain, self.method, self.batch_size, self.steps,
                self.variant)  # fmt: skip

    @property
    def size(self) -> tuple[Any, ...]:
        """The name and the whole numbers of ``[model]``: what makes it as large as it is."""
        model = self.config["model"]
        return (model["name"], *sorted((key, value) for key, value in model.items() if type(value) is int))

    @property
    def curriculum(self) -> Any:
        """The curriculum, without how classes are drawn from its shares."""
        return {key: value for key, value in self.config["curriculum"].items() if key != "draw"}


def settings(source: Source, trained: Mapping[str, frozenset[Cell]]) -> dict[str, TrainedSetting]:
    """How each variant was trained, in the order in which variants are listed.

    UserError where the config of a variant is not there: tables do not say how a model was trained.
    """
    lacking = sorted(variant for variant in source.variants if not _is_whole(source.configs.get(variant, {})))
    if lacking:
        raise UserError(
            f"{source.directory}: the config of {', '.join(lacking)} is not there or not what the run wrote, and no "
            f"table says by which method a variant was trained; expected the folders of the runs, with config.toml, "
            f"beside the tables"
        )
    made = [
        _setting(variant, source.configs[variant], trained.get(variant, frozenset())) for variant in source.variants
    ]
    return {setting.variant: setting for setting in sorted(made, key=lambda setting: setting.order)}


def _is_whole(config: Mapping[str, Any]) -> bool:
    """Whether a config says how a variant was trained."""
    training = config.get("training", {})
    return {"dims", "model", "curriculum", "training"} <= config.keys() and {"steps", "batch_size"} <= training.keys()


def method_of(config: Mapping[str, Any]) -> str:
    """The name of the training method in a run's resolved config. KeyError for what is none."""
    method = config["training"].get("method", PLAIN)
    return str(method["name"] if isinstance(method, Mapping) else method)


def _setting(variant: str, config: Mapping[str, Any], cells: frozenset[Cell]) -> TrainedSetting:
    training = config["training"]
    return TrainedSetting(
        variant, method_of(config), training["steps"], training["batch_size"], training.get("fixed_prompts"), cells,
        config,
    )  # fmt: skip


def with_as_many_updates(own: TrainedSetting, others: Iterable[TrainedSetting]) -> TrainedSetting | None:
    """The plain variant of as many steps, prompts and fixed prompts, trained on the same cells; of several the closest.

    Rates and all other keys may differ: they may have been tuned for each method. None where there is none.
    """
    return _closest(own, [other for other in others if _of_same_data(own, other) and other.steps == own.steps])


def ladder_of(own: TrainedSetting, others: Iterable[TrainedSetting]) -> list[TrainedSetting]:
    """The plain variants that differ from one another in their number of steps, shortest first.

    They have the batch size, fixed prompts, cells, curriculum and model size of ``own``; of several with as many steps
    the closest.
    """
    fitting = [
        other
        for other in others
        if _of_same_data(own, other) and other.size == own.size and other.curriculum == own.curriculum
    ]
    by_steps = {steps: [other for other in fitting if other.steps == steps] for steps in {o.steps for o in fitting}}
    return [found for steps in sorted(by_steps) if (found := _closest(own, by_steps[steps]))]


def _of_same_data(own: TrainedSetting, other: TrainedSetting) -> bool:
    same = (own.batch_size, own.fixed_prompts, own.cells) == (other.batch_size, other.fixed_prompts, other.cells)
    return other.plain and same


def _closest(own: TrainedSetting, others: Sequence[TrainedSetting]) -> TrainedSetting | None:
    """The one whose config differs from ``own`` in the fewest keys, of several the first by name."""
    mine = _flat(own.config)

    def differences(other: TrainedSetting) -> tuple[int, str]:
        theirs = _flat(other.config)
        differing = [key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)]
        return len(differing), other.variant

    return min(others, key=differences, default=None)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found
