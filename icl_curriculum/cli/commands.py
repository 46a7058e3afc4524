"""What the command line takes beside its commands: ``--version``, and the flags that every command takes, too.

Light: ``icl --help`` imports it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from icl_curriculum.cli import endings, flags
from icl_curriculum.core.printable import harmless
from icl_curriculum.core.version import __version__

C = TypeVar("C", bound=Callable[..., Any])


def _show_version(asked: bool) -> None:
    if asked:
        endings.echo(f"icl-curriculum {__version__}")
        raise typer.Exit


def shared_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", expose_value=False, is_eager=True, callback=_show_version, help="show the version"
        ),
    ] = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
    debug: flags.Debug = False,
) -> None:
    """The options that stand before a command. `CommandLine` lets the flags stand after it, too."""


class _FlagsAsFlags:
    """Shows no ``<bool>`` beside --help and other options that take no value, and no ``<str>`` beside a NAME."""

    def get_params(self, ctx: Any) -> list[Any]:
        found: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for each in found:
            if getattr(each, "is_flag", False):
                each.metavar = ""
            if each.param_type_name == "argument":
                each.display_type_rich = _no_type
        return found


def _no_type(ctx: Any) -> None:
    """What stands for the type of an argument in the help, whose name says enough."""


class OneCommand(_FlagsAsFlags, TyperCommand):
    """A command, which says what it finds as one JSON document if --json is given."""

    def invoke(self, ctx: Any) -> Any:
        from icl_curriculum.cli.output import one_command

        with one_command(str(self.name)):
            return super().invoke(ctx)


class CommandLine(_FlagsAsFlags, TyperGroup):
    """The group of all commands. It gives each of them the shared flags, so that none has a parameter for these."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        shared = [option for option in self.params if option.name in flags.SHARED]
        for command in self.commands.values():
            command.params += shared

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # Before anything is parsed, as --debug is also for mistakes that end the parsing.
        endings.given(args)
        flags.forget()
        with _mistakes_harmless():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        # The arguments of the command itself are parsed in here.
        with _mistakes_harmless():
            return super().invoke(ctx)


class CommandLineApp(typer.Typer):
    """All commands, each of which is a `OneCommand`."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[C], C]:
        return super().command(name, cls=OneCommand, **settings)


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
