"""Methods that nothing calls because their name is misspelt: those close to one of the contract that is not given."""

from __future__ import annotations

import difflib

from icl_curriculum.core.component import Component

#: From this ratio of difflib on, two names count as meant for one another.
CLOSE = 0.85
#: What a plugin may say about itself among what every component has; the rest is not for plugins to define.
_OF_EVERY_KIND = {"id_fields"}


def misspelt(cls: type, base: type) -> dict[str, str]:
    """Public names that the author of a class defines and nothing calls, with the name of the contract that was meant.

    A name is one where the contract ``base`` does not have it, where it is close to a name that the contract has, and
    where the author does not define that one: neither in the class nor in what it inherits from the same package.
    Fields and validators are the author's own, whatever their names.

    >>> class Contract:
    ...     def apply(self): ...
    >>> class Mine(Contract):
    ...     def aply(self): ...
    >>> misspelt(Mine, Contract)
    {'aply': 'apply'}
    """
    found: dict[str, str] = {}
    known = set(dir(base)) | set(getattr(base, "model_fields", ()))
    contract = _contract_of(base)
    authored = [one for one in cls.__mro__ if issubclass(one, base) and one is not base]
    for one in authored:
        given = {name for other in authored if _package(other) == _package(one) for name in vars(other)}
        for name in _own_names(one):
            close = difflib.get_close_matches(name, sorted(contract - given), n=1, cutoff=CLOSE)
            if close and name not in known:
                found.setdefault(name, close[0])
    return found


def _contract_of(base: type) -> set[str]:
    """The public names that the contract and those that it extends define."""
    extended = [one for one in base.__mro__ if _package(one) == _package(base) and one is not Component]
    own = {name for one in extended if not issubclass(Component, one) for name in vars(one)}
    own |= _OF_EVERY_KIND if issubclass(base, Component) else set()
    fields = set(getattr(base, "model_fields", ()))
    return {name for name in own - fields if not name.startswith(("_", "model_"))}


def _own_names(cls: type) -> list[str]:
    """The public methods, properties and class variables that a class itself defines."""
    of_pydantic = getattr(cls, "__pydantic_decorators__", None)
    kinds = ("validators", "field_validators", "root_validators", "field_serializers", "model_serializers",
             "model_validators", "computed_fields")  # fmt: skip
    theirs = {name for kind in kinds for name in getattr(of_pydantic, kind, ())}
    theirs |= set(getattr(cls, "model_fields", ()))
    return [
        name
        for name, value in vars(cls).items()
        if not name.startswith(("_", "model_")) and name not in theirs and not isinstance(value, type)
    ]


def _package(cls: type) -> str:
    """The outermost package of a class's module, or the module of a plugin file."""
    return cls.__module__.split(".")[0]
