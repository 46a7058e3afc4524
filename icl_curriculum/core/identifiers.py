"""Identifiers: what the tables call a component, ``name/value/key=value``.

``hermite/3``, ``sparse_linear/sparsity=2``, ``linear/pool_size=64``, ``other_inputs/student_t/df=5``. A component makes
its own (`Component.id`); whoever reads one, from a table or the command line, takes it apart here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

_WORDS = {
    "relu": "ReLU", "hermite": "Hermite", "chebyshev": "Chebyshev", "gaussian": "Gaussian", "laplace": "Laplace",
    "cauchy": "Cauchy", "student": "Student", "rademacher": "Rademacher", "knn": "nearest neighbours",
    "mlp": "MLP", "gd": "by gradient descent", "sklearn": "scikit-learn",
}  # fmt: skip

#: What may be the name of a component, and is no path or text of somebody's own.
_NAME = re.compile(r"\w+\Z")


@dataclass(frozen=True)
class IdentifierPart:
    """What stands between two slashes: a value, or with a ``key`` the value of a parameter of that name."""

    value: str
    key: str | None = None

    @classmethod
    def parse(cls, text: str) -> IdentifierPart:
        key, separator, value = text.partition("=")
        return cls(value, key) if separator else cls(text)

    def __str__(self) -> str:
        return self.value if self.key is None else f"{self.key}={self.value}"


@dataclass(frozen=True)
class Identifier:
    """A component's name and parameters, in their order; ``str`` writes it as the tables do.

    >>> str(Identifier.of("hermite", [3], {"label_noise": 1 / 3}))
    'hermite/3/label_noise=0.333'
    """

    name: str
    parts: tuple[IdentifierPart, ...] = ()

    @classmethod
    def of(cls, name: str, values: Iterable[object] = (), settings: Mapping[str, object] | None = None) -> Identifier:
        """The identifier with these values, and parameters by name; numbers with fractions have three digits."""
        named = (IdentifierPart(_shown(value), key) for key, value in (settings or {}).items())
        return cls(name, (*(IdentifierPart(_shown(value)) for value in values), *named))

    @classmethod
    def parse(cls, text: str) -> Identifier:
        """The identifier that a text is; any text is one, and is written again as it was.

        >>> Identifier.parse("hermite/3/weights=gaussian").settings
        {'weights': 'gaussian'}
        """
        name, *parts = text.split("/")
        return cls(name, tuple(IdentifierPart.parse(part) for part in parts))

    def __str__(self) -> str:
        return "/".join([self.name, *map(str, self.parts)])

    @property
    def values(self) -> tuple[str, ...]:
        """The values that stand without a name."""
        return tuple(part.value for part in self.parts if part.key is None)

    @property
    def settings(self) -> dict[str, str]:
        """The parameters that stand with their name."""
        return {part.key: part.value for part in self.parts if part.key is not None}

    def without(self, *keys: str) -> Identifier:
        """The identifier without these parameters.

        >>> str(Identifier.parse("linear/pool_size=4/pool_seed=1/label_noise=0.5").without("pool_size", "pool_seed"))
        'linear/label_noise=0.5'
        """
        return replace(self, parts=tuple(part for part in self.parts if part.key not in keys))

    def held(self, number: int) -> Identifier:
        """The identifier of the component that a part holds: the part's value, and all that follows.

        >>> str(Identifier.parse("scaled/2/of=laplace/scale=0.5").held(1))
        'laplace/scale=0.5'
        """
        name, *parts = self.parts[number].value.split("/")
        return Identifier(name, (*map(IdentifierPart.parse, parts), *self.parts[number + 1 :]))

    @classmethod
    def of_value(cls, value: str) -> Identifier:
        """The identifier that stands as one value in another one.

        >>> str(Identifier.of_value("outliers:0.1:spread=2"))
        'outliers/0.1/spread=2'
        >>> str(Identifier.of_value("composition:first=linear_map::3"))
        'composition/first=linear_map:3'
        """
        return cls.parse(re.sub(":+", lambda colons: ":" * (len(colons[0]) - 1) or "/", value))

    @property
    def words(self) -> str:
        """The name and the values without one, in words.

        >>> Identifier.parse("relu_network/hidden=4").words, Identifier.parse("other_class/sparse_linear").words
        ('ReLU network', 'other class sparse linear')
        """
        values = (_in_words(value) if _NAME.match(value) else value for value in self.values)
        return " ".join([_in_words(self.name), *values])

    @property
    def settings_in_words(self) -> str:
        """The named parameters in brackets after a space, or nothing where there are none."""
        named = ((part.key, part.value) for part in self.parts if part.key is not None)
        listed = ", ".join(f"{_in_words(key)} = {_value_in_words(value)}" for key, value in named)
        return f" ({listed})" if listed else ""


def held_as_value(identifier: object) -> str:
    """An identifier as one value of another: with colons for its slashes, and one colon more where it has some."""
    return re.sub(":+|/", lambda found: ":" if found[0] == "/" else f"{found[0]}:", str(identifier))


def _value_in_words(value: str) -> str:
    if ":" not in value or not _NAME.match(value.split(":")[0]):
        return value
    held = Identifier.of_value(value)
    return held.words + held.settings_in_words


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _in_words(name: str) -> str:
    return " ".join(_WORDS.get(word, word) for word in name.split("_"))
