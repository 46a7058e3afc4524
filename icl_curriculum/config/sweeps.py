"""Sweeps: values to try of some keys, each combination of which is a variant with a name that says what it is.

A sweep is a table of dotted keys, each with the list of its values: ``{"model.width": [8, 16]}`` makes the variants
``width=8`` and ``width=16``.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BeforeValidator

from icl_curriculum.core.component import Component
from icl_curriculum.core.errors import MOST, UserError
from icl_curriculum.core.named_files import NamedFile
from icl_curriculum.core.options import option

#: The most combinations of a file's variants and the values of its sweep.
MOST_COMBINATIONS = 1000
#: What of a value a name cannot hold; a comma stands between values.
_NOT_IN_NAMES = re.compile(r"[^\w=+%. -]")
#: Keys that belong to the whole experiment, with what says them instead.
_WHOLE = {
    "seeds": "give {seeds}, or a list of seeds in the file",
    "name": "combinations are named for their values",
    "variants": "a sweep is made of every variant",
    "sweep": "give every key a list of its own",
    "plugins": "give {plugin}",
}


def flattened(sweep: Any) -> Any:
    """The table with its inner tables as dotted keys; what is no table is left for others to refuse.

    >>> flattened({"model": {"width": [8, 16]}, "training.steps": [100]})
    {'model.width': [8, 16], 'training.steps': [100]}
    """
    if not isinstance(sweep, Mapping):
        return sweep
    found: dict[str, Any] = {}
    for key, value in sweep.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{inner}": held for inner, held in flattened(value).items()}
        else:
            found[str(key)] = list(value) if isinstance(value, tuple) else value
    return found


#: The type of `Experiment.sweep`: dotted keys, each with a list of values.
Sweep = Annotated[dict[str, Any], BeforeValidator(flattened)]


def location(key: str) -> str:
    """How a message names a key of the sweep.

    >>> location("model.width"), location("dims")
    ('sweep."model.width"', 'sweep.dims')
    """
    return f"sweep.{key}" if re.fullmatch(r"[\w-]+", key) else f'sweep."{key}"'


def check_sweep(sweep: Mapping[str, Any], variants: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise UserError, naming the key, for what cannot be swept, or not beside these variants."""
    for key, values in sweep.items():
        parts = key.split(".")
        if not all(parts):
            raise UserError("expected a dotted key, as in model.width", key=location(key))
        if parts[0] in _WHOLE:
            raise UserError(
                "belongs to the whole experiment, not to a sweep",
                key=location(key),
                way_out=_WHOLE[parts[0]].format(seeds=option("--seeds"), plugin=option("--plugin")),
            )
        if not isinstance(values, list):
            raise UserError(f"expected a list of values, as in [8, 16], found {_short(values)}", key=location(key))
        if not values:
            raise UserError("expected at least one value, found an empty list", key=location(key))
        for other in sweep:
            if key.startswith(f"{other}."):
                raise UserError(f"lies within {other}, which is swept, too", key=location(key), way_out="leave one out")
        for variant, changes in variants.items():
            if says(changes, key):
                raise UserError(
                    f"the variant {variant!r} sets {key}, too, so that one of the two would have no effect",
                    key=location(key),
                    way_out="leave it out of one of them",
                )
    made = math.prod(map(len, sweep.values())) * max(1, len(variants))
    if sweep and made > MOST_COMBINATIONS:
        beside = f" beside {len(variants)} variants" if variants else ""
        raise UserError(
            f"{' x '.join(str(len(values)) for values in sweep.values())} values{beside} make {made:,} combinations; "
            f"expected at most {MOST_COMBINATIONS:,}",
            key="sweep",
            way_out="sweep fewer values, or in several experiments",
        )
    # No list is longer than that any more.
    for key, values in sweep.items():
        for number, value in enumerate(values):
            if any(_equal(value, other) for other in values[:number]):
                raise UserError(f"{_short(value)} stands there twice; expected every value once", key=location(key))


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are the same; Python takes True for 1."""
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def says(table: Any, key: str) -> bool:
    """Whether a table says a dotted key, or something within it."""
    for part in key.split("."):
        if not isinstance(table, Mapping) or part not in table:
            return False
        table = table[part]
    return True


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


@dataclass(frozen=True)
class Combination:
    """A variant of an experiment: an entry of ``[variants]``, or none, with one value of each swept key.

    ``changes``: the variant's own, as in a file; ``swept``: value by dotted key. ``called``: what messages call swept
    keys that do not stand in a file.
    """

    variant: str
    changes: Mapping[str, Any]
    swept: Mapping[str, Any]
    called: Mapping[str, str] = field(default_factory=dict)

    @property
    def tables(self) -> Iterator[dict[str, Any]]:
        """The tables to merge over the experiment's own, one after the other."""
        yield dict(self.changes)
        # Names come first, in whatever order they are given: another component begins with parameters of its own.
        for key, value in sorted(self.swept.items(), key=lambda item: not item[0].endswith(".name")):
            table: Any = value
            for part in reversed(key.split(".")):
                table = {part: table}
            yield table

    @property
    def where(self) -> str:
        """What a message names it by; nothing where it is the experiment itself."""
        parts = [f"variant {self.variant!r}"] if self.variant else []
        parts += [f"{self.called.get(key, location(key))} = {_short(value)}" for key, value in self.swept.items()]
        return ", ".join(parts)


def combinations(
    variants: Mapping[str, Mapping[str, Any]],
    sweep: Mapping[str, Sequence[Any]],
    called: Mapping[str, str] | None = None,
) -> list[Combination]:
    """Every variant with every combination of swept values; of neither, the one that is the experiment itself.

    ``called``: as of `Combination`.
    """
    grid = [dict(zip(sweep, values, strict=True)) for values in itertools.product(*sweep.values())]
    named = variants or {"": {}}
    return [Combination(variant, changes, swept, called or {}) for variant, changes in named.items() for swept in grid]


def each_alone(sweep: Any, called: Mapping[str, str]) -> list[Combination]:
    """The swept values one by one, to be looked at where no experiment can be made of them; not more than are told.

    ``sweep``: as it is said; what is no list of values is left out, and so is what cannot be swept.
    """
    lists = flattened(sweep) if isinstance(sweep, Mapping) else {}
    found = (
        Combination("", {}, {key: value}, called)
        for key, values in lists.items()
        if isinstance(values, list) and all(key.split(".")) and key.split(".")[0] not in _WHOLE
        for value in values
    )
    return list(itertools.islice(found, 5 * MOST))


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """What keys are called in names: by their last parts, by as many as tell them apart.

    >>> short_keys(["model.width", "inputs", "curriculum.inputs", "training.optimizer.name"])
    {'model.width': 'width', 'inputs': 'inputs', 'curriculum.inputs': 'curriculum.inputs', 'training.optimizer.name': 'optimizer'}
    """  # noqa: E501 (what a doctest prints)
    # "optimizer=adam" says what "name=adam" would not.
    whole = {key: key.removesuffix(".name") for key in keys}
    short = {}
    for key, text in whole.items():
        others = [other.split(".") for name, other in whole.items() if name != key]
        parts = text.split(".")
        lengths = range(1, len(parts) + 1)
        least = next((n for n in lengths if not any(other[-n:] == parts[-n:] for other in others)), len(parts))
        short[key] = ".".join(parts[-least:])
    if len(set(short.values())) < len(short):
        return {key: key for key in keys}
    return short


def value_label(value: Any, held: Any) -> str:
    """A swept value as tables show it: a component by its id, the items of a list with a plus between them.

    ``held``: what the experiment made of it.

    >>> value_label(3e-4, 3e-4), value_label(1e-05, 1e-05), value_label(True, True), value_label([0.9, 0.98], None)
    ('0.0003', '1e-5', 'true', '0.9+0.98')
    """
    if isinstance(held, Component):
        return held.id
    if isinstance(value, Component):
        return value.id
    if value is None:  # Python's word for a key that is not given.
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return re.sub(r"e([+-])0*", lambda found: "e" + found[1].removeprefix("+"), f"{value:.9g}")
    if isinstance(value, list | tuple):
        items = held if isinstance(held, list | tuple) and len(held) == len(value) else [None] * len(value)
        return "+".join(value_label(item, made) for item, made in zip(value, items, strict=True)) or "none"
    if isinstance(value, Mapping):
        named = (("" if key == "name" else f"{key}=") + value_label(item, None) for key, item in value.items())
        return "+".join(named)
    return held.name if isinstance(held, NamedFile) else str(value)


def labels_of(swept: Mapping[str, Any], experiment: object) -> dict[str, str]:
    """The labels of a combination's values, by key. ``experiment``: the one that was made with them."""
    return {key: value_label(value, _held(experiment, key)) for key, value in swept.items()}


def _held(experiment: object, key: str) -> Any:
    for part in key.split("."):
        experiment = getattr(experiment, part, None)
    return experiment


def combination_name(variant: str, labels: Mapping[str, str]) -> str:
    """The name of a combination: that of its variant, then its values, with what no folder's name holds as ``-``.

    >>> combination_name("mixed", {"model.width": "8", "curriculum.inputs": "single/gaussian"})
    'mixed,width=8,inputs=single-gaussian'
    """
    short = short_keys(list(labels))
    values = [f"{short[key]}={_NOT_IN_NAMES.sub('-', label)}" for key, label in labels.items()]
    return ",".join([variant] * bool(variant) + values)
