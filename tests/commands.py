"""Our commands, called in this process."""

from __future__ import annotations

from pathlib import Path

import click
from click.testing import CliRunner, Result

from harness.run import main


def invoke(command: click.Command, *arguments: str | Path) -> Result:
    """What a command said and ended with, which must not be an exception."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def run(*arguments: str | Path) -> Result:
    """The main job, `tenpass run`."""
    return invoke(main, *arguments)
