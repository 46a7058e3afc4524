"""In what the configs of experiments differ that stand side by side, where that is more than one thing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from icl_curriculum.results.comparison.sources import Source

#: What decides nothing of the weights: names, which run it is, what is asked afterwards, and what is recorded.
_BESIDE = ("name", "description", "variant", "seed", "threads", "plugins", "evaluation", "training.keep_checkpoints")
#: So many settings are named, and the others counted.
_MOST = 12


def differing_settings(sources: Sequence[Source]) -> list[str]:
    """A sentence on all settings of training in which experiments differ; none where there is at most one.

    A setting that the variants of one experiment differ in is what that experiment compares, and is not named. Nor is
    one that not all configs have, such as those of an earlier version.
    """
    of_sources = [[dict(_settings(config)) for config in source.trained_configs.values()] for source in sources]
    if len(sources) < 2 or not all(of_sources):
        return []
    everywhere = [key for key in of_sources[0][0] if all(key in config for own in of_sources for config in own)]
    found = []
    for key in everywhere:
        values = [list(dict.fromkeys(config[key] for config in own)) for own in of_sources]
        distinct = list(dict.fromkeys(value for own in values for value in own))
        if all(len(own) == 1 for own in values) and len(distinct) > 1:
            short = all(len(value) <= 20 for value in distinct)
            found.append(f"{key[0]} ({', '.join(distinct)})" if short else key[0])
    if len(found) < 2:
        return []
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return [f"They differ in more than one setting, any of which may be the reason: {', '.join(found[:_MOST])}{more}."]


def _settings(table: Mapping[str, Any], prefix: str = "", of: str = "") -> Iterator[tuple[tuple[str, str], str]]:
    """Every setting of a config as text, and components by their names.

    Each under its dotted key and the names of the components that it is a parameter of.
    """
    for key, value in table.items():
        dotted = f"{prefix}{key}"
        if dotted in _BESIDE or key.endswith("_every"):
            continue
        if not isinstance(value, Mapping):
            yield (dotted, of), value if isinstance(value, str) else json.dumps(value)
        elif "name" in value:
            yield (dotted, of), str(value["name"])
            parameters = {name: each for name, each in value.items() if name != "name"}
            yield from _settings(parameters, f"{dotted}.", f"{of}/{value['name']}")
        else:
            yield from _settings(value, f"{dotted}.", of)
