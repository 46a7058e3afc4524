"""How messages name an option: as the command line has it, or as the parameter of the Python function that was called.

Light: it imports nothing beyond the standard library.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

#: Whether the command line has called, as opposed to Python.
_state = {"command line": False}

#: The parameters of Python's functions whose names are not those of the options, with underscores for hyphens.
_PARAMETERS = {
    "--function-class": "function_classes",
    "--shift": "shifts",
    "--mask": "masks",
    "--instruction": "instructions",
    "--adapt": "adaptations",
    "--plugin": "plugins",
    "--set": "overrides",
    "--error": "threshold",
    "--all": "everything",
    "--instruction-file": "instruction_files",
    "--n": "masked",
}
#: The options that take no value.
_FLAGS = ("--fresh", "--all", "--all-pairs")


def option(name: str, value: str = "", *, python: str = "") -> str:
    """An option, perhaps with a value, in the words of whoever has called; ``python``: the parameter's own name.

    >>> option("--shift"), option("--fresh"), option("--results", "DIR"), option("--step", python="steps")
    ('shifts', 'fresh=True', 'results=DIR', 'steps')
    >>> with named_as_on_the_command_line():
    ...     option("--shift"), option("--fresh"), option("--results", "DIR")
    ('--shift', '--fresh', '--results DIR')
    """
    if on_command_line():
        return f"{name} {value}".rstrip()
    parameter = python or _PARAMETERS.get(name, name.lstrip("-").replace("-", "_"))
    value = value or ("True" if name in _FLAGS else "")
    return f"{parameter}={value}" if value else parameter


def given(name: str, value: object, *, python: str = "") -> str:
    """An option and the value that it was given, as the message begins that says what is wrong with it.

    >>> given("--points", 90), given("--set", "dims")
    ('points 90', "overrides 'dims'")
    """
    return f"{name} {value}" if on_command_line() else f"{option(name, python=python)} {value!r}"


def on_command_line() -> bool:
    """Whether the command line has called, as opposed to Python."""
    return _state["command line"]


@contextlib.contextmanager
def named_as_on_the_command_line(whether: bool = True) -> Iterator[None]:
    """Have messages that are made in the block name options as the command line does; ``whether``: or as Python."""
    before, _state["command line"] = _state["command line"], whether
    try:
        yield
    finally:
        _state["command line"] = before
