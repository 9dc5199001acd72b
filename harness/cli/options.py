"""Types of command line options that several commands have."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click

from device.adb.server import Server, parse_server
from device.cores import parse_cpus
from harness.record import runtimes

#: Every name, in an option that has it.
ALL = "all"


class Cpus(click.ParamType[str]):
    """CPUs in words, in one canonical form."""

    name = "cpus"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return parse_cpus(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Gigahertz(click.ParamType[float]):
    """The clock of a chip."""

    name = "ghz"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            ghz = float(str(value))
        except ValueError:
            ghz = math.nan
        if not 0.01 <= ghz <= 10:  # noqa: PLR2004 (no chip is beyond)
            self.fail(f"{value!r} is no clock in GHz, from 0.01 to 10", param, ctx)
        return ghz


class AdbServer(click.ParamType[Server]):
    """Where an adb server listens."""

    name = "host:port"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Server:
        try:
            return parse_server(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Names(click.ParamType[tuple[str, ...]]):
    """Some of `known`, which may be a function, separated by commas; or `all`, where that is one of them.

    `left_out` gives those that `all` does not mean beside the names that were given, and says so.
    """

    name = "names"

    def __init__(
        self,
        known: Sequence[str] | Callable[[], Sequence[str]],
        left_out: Callable[[Sequence[str]], Sequence[str]] = lambda _named: (),
    ) -> None:
        self.known = known if callable(known) else lambda: known
        self.left_out = left_out

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        known = self.known()
        names = tuple(dict.fromkeys(name.strip() for name in str(value).split(",")))
        if unknown := [name for name in names if name not in known]:
            self.fail(f"{unknown[0]!r} is not one of {', '.join(known)}", param, ctx)
        if ALL not in names:
            return names
        left_out = {ALL, *self.left_out(names)}
        return tuple(name for name in known if name not in left_out)


class Texts(click.ParamType[tuple[str, ...]]):
    """Words, separated by commas."""

    name = "texts"

    def convert(self, value: object, _param: click.Parameter | None, _ctx: click.Context | None) -> tuple[str, ...]:
        return tuple(filter(None, (text.strip() for text in str(value).split(","))))


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


def not_made(named: Sequence[str]) -> list[str]:
    """The runtimes that `all` leaves out, unless they are named beside it; each is told of."""
    found = [runtime for runtime in runtimes.left_out() if runtime.name not in named]
    for runtime in found:
        click.echo(
            f"--runtime {ALL}: {runtime.title} is left out: it has not been compiled here, which takes some minutes; "
            f"--runtime {runtime.name} does it",
            err=True,
        )
    return [runtime.name for runtime in found]


def runtime_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose runtimes, their execution providers, and among the formats of each.

    They come as `runtimes`, `providers`, and `formats`: what was chosen by the runtime's name.
    """

    def keep(runtime: str, ctx: click.Context, _param: click.Parameter, value: str) -> None:
        ctx.params.setdefault("formats", {})[runtime] = value

    for runtime in reversed(runtimes.offered()):
        if runtime.option is not None:
            command = click.option(
                f"--{runtime.name}-{runtime.option.name}",
                type=click.Choice(list(runtime.formats)),
                default=next(iter(runtime.formats)),
                show_default=True,
                help=runtime.option.help,
                expose_value=False,
                callback=partial(keep, runtime.name),
            )(command)
    names = [runtime.name for runtime in runtimes.offered()]
    papers = next(runtime.name for runtime in runtimes.offered() if runtime.is_papers)
    command = click.option(
        "--runtime",
        "runtimes",
        type=Names(lambda: [*(runtime.name for runtime in runtimes.offered()), ALL], not_made),
        default=names[0],
        show_default=True,
        help=f"What runs the networks: {', '.join(names)}, or several, separated by commas, or all (but for those "
        f"that have to be compiled first); {papers} is what the paper ran.",
    )(command)
    return click.option(
        "--provider",
        "providers",
        type=Names(runtimes.providers),
        default=runtimes.CPU,
        show_default=True,
        help=f"The runtime's execution provider: {', '.join(runtimes.providers())}, or several, separated by commas. "
        "What it cannot run, the CPU's does.",
    )(command)


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
