"""Types of command line options that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from device.adb.server import Server, parse_server
from device.cores import parse_cpus


class Cpus(click.ParamType[str]):
    """CPUs in words, in one canonical form."""

    name = "cpus"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return parse_cpus(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class AdbServer(click.ParamType[Server]):
    """Where an adb server listens."""

    name = "host:port"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Server:
        try:
            return parse_server(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Names(click.ParamType[tuple[str, ...]]):
    """Some of `known`, separated by commas."""

    name = "names"

    def __init__(self, known: Sequence[str]) -> None:
        self.known = known

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(name.strip() for name in str(value).split(",")))
        if unknown := [name for name in names if name not in self.known]:
            self.fail(f"{unknown[0]!r} is not one of {', '.join(self.known)}", param, ctx)
        return names


class Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers from `least` to `most`, separated by commas."""

    name = "numbers"

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        texts = list(dict.fromkeys(text.strip() for text in str(value).split(",")))
        wrong = [text for text in texts if not (text.isascii() and text.isdigit() and len(text) < 10)]  # noqa: PLR2004
        wrong = wrong or [text for text in texts if not self.least <= int(text) <= self.most]
        if wrong:
            self.fail(f"{wrong[0]!r} is no number from {self.least} to {self.most}", param, ctx)
        return tuple(int(text) for text in texts)


def tls_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a farm's TLS."""
    file = click.Path(exists=True, dir_okay=False, path_type=str)
    for name, words in (
        ("--tls-key", "The private key of --tls-cert."),
        ("--tls-cert", "This side's certificate for the farm's TLS."),
        ("--tls-ca-file", "The authority that the farm's certificates are of: its addresses are tls:// then."),
    ):
        command = click.option(name, type=file, metavar="FILE", help=words)(command)
    return command
