"""What every command line of the harness has in common: expected errors become one line and an exit code."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable
from typing import Any

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
