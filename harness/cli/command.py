"""What every command line of the harness has in common: expected errors become one line and an exit code."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

import click

from harness.record.errors import EXIT_CASE_FAILED, EXPECTED, exit_code

#: The settings of every command.
CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def guarded(command: Callable[..., int]) -> Callable[..., None]:
    """Runs `command`, which returns an exit code; an expected error is told on stderr and exits with its code.

    SIGTERM ends a command as Ctrl-C does: with its clean-up done.
    """

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            code = command(*args, **kwargs)
        except EXPECTED as error:
            click.echo(f"error: {error}", err=True)
            code = exit_code(error)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            code = EXIT_CASE_FAILED
        sys.exit(code)

    return wrapper


def lazy_group(name: str, commands: Mapping[str, tuple[str, str]], help_text: str) -> click.Group:
    """A command of commands: each is `main` of a module, imported when it is called, and has words in the list."""

    class Commands(click.Group):
        def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
            return list(commands)

        def get_command(self, ctx: click.Context, command: str) -> click.Command | None:  # noqa: ARG002
            return cast(click.Command, import_module(commands[command][0]).main) if command in commands else None

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
            with formatter.section("Commands"):
                formatter.write_dl([(command, words) for command, (_module, words) in commands.items()])

    group = Commands(name, help=help_text, context_settings=CONTEXT)
    return click.version_option(package_name=name, prog_name=name)(group)
