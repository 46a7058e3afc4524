"""What the command line takes beside its commands: ``--version``, and ``--debug``, which every command takes, too.

Light: ``icl --help`` imports it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from icl_curriculum.cli import endings
from icl_curriculum.core.printable import harmless
from icl_curriculum.core.version import __version__


def _show_version(asked: bool) -> None:
    if asked:
        endings.echo(f"icl-curriculum {__version__}")
        raise typer.Exit


def shared_options(
    version: Annotated[
        bool,
        typer.Option("--version", expose_value=False, is_eager=True, callback=_show_version, help="show the version"),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", expose_value=False, help="show tracebacks")] = False,
) -> None:
    """The options that stand before a command. `CommandLine` lets --debug stand after it, too."""


class CommandLine(TyperGroup):
    """The group of all commands. It gives each of them --debug, so that none has a parameter of its own for it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for command in self.commands.values():
            command.params += [option for option in self.params if option.name == "debug"]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # Before anything is parsed, as --debug is also for mistakes that end the parsing.
        endings.given(args)
        with _mistakes_harmless():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        # The arguments of the command itself are parsed in here.
        with _mistakes_harmless():
            return super().invoke(ctx)


@contextlib.contextmanager
def _mistakes_harmless() -> Iterator[None]:
    """Typer's messages repeat an argument that is wrong: no terminal shall obey it, and it may be long."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message"):
            text = re.sub(r"\S{200,}", lambda found: f"{found[0][:100]}…", str(getattr(error, "message", "")))
            error.message = harmless(text)  # type: ignore[attr-defined]
        raise
