"""In what the configs of experiments differ that stand side by side, where that is more than one thing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from icl_curriculum.results.comparison.sources import Source

#: What decides nothing of the weights: names, which run it is, what is asked afterwards, and what is recorded.
_BESIDE = (
    "name", "description", "recipe", "variant", "seed", "threads", "plugins", "evaluation", "training.log_every",
    "training.learning_every", "training.checkpoint_every", "training.keep_checkpoints",
)  # fmt: skip
#: Tables that are one setting: there, with all that they hold, or not.
_WHOLE = ("curriculum.dims", "curriculum.points")
#: What is known of a run whose training is not.
_OF_IMPORTS = ("model", "dims", "points")
#: So many settings are named, and the others counted; and so many characters of all values of one are shown.
_MOST, _LONGEST = 12, 40

#: A setting: its dotted key, and the names of the components that it is a parameter of.
_Key = tuple[str, str]


def differing_settings(sources: Sequence[Source]) -> list[str]:
    """A sentence on all settings of training in which experiments differ; none where there is at most one.

    Those are named that have no value in common in any two of them. A setting that a config lacks is unset there,
    unless another version may only not have known it.
    """
    there = [source for source in sources if source.trained_configs]
    if len(there) < 2:
        return []
    of_sources = [[dict(_settings(config)) for config in source.trained_configs.values()] for source in there]
    configs = [config for own in of_sources for config in own]
    one_version = len({str(each.get("package_version")) for source in there for each in source.manifests.values()}) < 2
    imported = not all(source.knows_training for source in there)
    found = []
    for key in dict.fromkeys(key for config in configs for key in config):
        dotted, of = key
        if imported and dotted.partition(".")[0] not in _OF_IMPORTS:
            continue
        # Parameters of a component stand side by side only with those of the same.
        if not all(key in config or (one_version and _has(config, of)) for config in configs):
            continue
        values = [list(dict.fromkeys(config.get(key, "unset") for config in own)) for own in of_sources]
        distinct = list(dict.fromkeys(value for own in values for value in own))
        if len(distinct) == sum(map(len, values)):
            listed = ", ".join(distinct)
            found.append(f"{dotted} ({listed})" if len(listed) <= _LONGEST else dotted)
    if len(found) < 2:
        return []
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    named = ", ".join(found[:_MOST])
    return [
        f"The experiments differ in more than one setting of training, any of which may be the reason: {named}{more}."
    ]


def _has(config: Mapping[_Key, str], of: str) -> bool:
    """Whether a config has the components that a setting is a parameter of."""
    return not of or any(other == of for _, other in config)


def _settings(table: Mapping[str, Any], prefix: str = "", of: str = "") -> Iterator[tuple[_Key, str]]:
    """Every setting of a config as text, and components by their names."""
    for key, value in table.items():
        dotted = f"{prefix}{key}"
        if dotted in _BESIDE:
            continue
        if not isinstance(value, Mapping) or dotted in _WHOLE:
            yield (dotted, of), value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        elif "name" in value:
            yield (dotted, of), str(value["name"])
            parameters = {name: each for name, each in value.items() if name != "name"}
            yield from _settings(parameters, f"{dotted}.", f"{of}/{dotted}={value['name']}")
        else:
            yield from _settings(value, f"{dotted}.", of)
