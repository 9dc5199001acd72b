"""The options of the main job, and the record that they become."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from device.probe import ABI_OF_MACHINE
from device.timeouts import DEFAULT
from export.artifact import IGC, PRECISIONS
from harness.cli.command import CONTEXT, guarded
from harness.cli.options import AdbServer, Cpus, Gigahertz, Names, Numbers, Texts, runtime_options, tls_options
from harness.cli.where import TLS_FILES, Where
from harness.record.case import MORE_WARMUP, WARMUP
from harness.record.defaults import (
    COOL_TIMEOUT_S,
    FEWEST_ROUNDS_TO_COMPARE,
    PASSES,
    PASSES_OF_ESTIMATES,
    PASSES_TO_COMPARE,
    TIMEOUT_S,
)
from harness.record.errors import UsageError
from models import registry

if TYPE_CHECKING:
    from harness.measure.cases import Choices

#: Options for when something fails: a run may be taken up again with others.
FAULT_OPTIONS = (
    "command_timeout_s",
    "reconnect_timeout_s",
    "reboot",
    "wait_s",
    "adb_server",
    "scheduler",
    *TLS_FILES,
)


@dataclass(frozen=True)
class RunOptions:
    """What the user asked for: `choices` on `devices`, had from `where`, with results in `out`.

    `resume` is the folder of a run to go on with. `said` are the names of the options that were given. With one of the
    last three, that is all that is done.
    """

    devices: tuple[str, ...]
    choices: Choices
    where: Where
    out: Path | None
    resume: Path | None
    said: frozenset[str]
    clean_device: bool
    list_devices: bool
    list_models: bool

    @property
    def planned(self) -> frozenset[str]:
        """The options given that say what is measured, and how."""
        return self.said - {"resume", "out", *FAULT_OPTIONS}


_OPTIONS: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
    click.option(
        "--device",
        "devices",
        metavar="SERIAL",
        multiple=True,
        help="An adb serial, ssh:[USER@]HOST[:PORT], a name of tenpass.toml, board:NAME (an emulated board), host "
        "(this machine) or replay:FOLDER (the run recorded there, its cases unless --models names some of them). Given "
        "several times, or as all (every attached device, and those of tenpass.toml), the devices are measured at the "
        "same time, each with a column in the report. Default: $ANDROID_SERIAL, the one attached device, else "
        "board:mt6580 (where no adb server is named).",
    ),
    click.option(
        "--adb-server",
        type=AdbServer(),
        metavar="HOST:PORT",
        help="The adb server that has the devices, on another machine perhaps; it must run there. Default: "
        "$ADB_SERVER_SOCKET, $ANDROID_ADB_SERVER_ADDRESS and $ANDROID_ADB_SERVER_PORT, else this machine's, which is "
        "started where a phone hangs on USB.",
    ),
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Measure on the devices of a farm (tenpass farm), whose scheduler is there: tcp://HOST:PORT.",
    ),
    click.option(
        "--models",
        metavar="NAMES",
        type=Texts(),
        help="Networks, separated by commas, in the order of measurement. Default: "
        f"{', '.join(registry.PAPER_TABLE6)}; with --model none.",
    ),
    click.option(
        "--model",
        "model_files",
        type=click.Path(dir_okay=False),
        metavar="FILE.onnx",
        multiple=True,
        help="An ONNX file of your own, measured under its file's name; may be given several times.",
    ),
    click.option(
        "--dim",
        "dims",
        metavar="[MODEL:]NAME=SIZE",
        multiple=True,
        help="The size of a free dimension of a --model, by its name, or as INPUT:AXIS. A batch is 1 by default.",
    ),
    click.option(
        "--input",
        "inputs",
        metavar="[MODEL=]FILE.npz",
        multiple=True,
        help="Values for the inputs of a --model, by their names. Default: random ones.",
    ),
    click.option(
        "--precision",
        "precisions",
        type=Names(PRECISIONS),
        default=PRECISIONS[0],
        show_default=True,
        help=f"What the networks compute in: {', '.join(PRECISIONS)}, or several, separated by commas. For "
        "ONNX Runtime.",
    ),
    click.option(
        "--calibration",
        "calibrations",
        metavar="[MODEL=]FILE.npz",
        multiple=True,
        help="Samples that int8 is calibrated with, by the names of the inputs. Default: --input, else random ones.",
    ),
    runtime_options,
    click.option(
        "--igc",
        type=Names(IGC),
        default=IGC[0],
        show_default=True,
        help=f"How clcNet's interlaced grouped convolutions are computed: {', '.join(IGC)}, or several, separated by "
        "commas. grouped is what the paper ran; fused is for ONNX Runtime alone.",
    ),
    click.option(
        "--fuse-separable",
        is_flag=True,
        help="Measure MobileNet also with its depthwise separable blocks in the fused kernel: tells what of a "
        "gain is the "
        "network's, and what the kernel's.",
    ),
    click.option(
        "--rounds",
        type=click.IntRange(1, 1000),
        help="Measure every case so many times (default: once), each in a process of its own, in an order shuffled "
        "for each round: tells the spread between processes from that within one, and gives ratios their intervals.",
    ),
    click.option(
        "--order",
        type=click.Choice(["shuffled", "sequential"]),
        default="shuffled",
        show_default=True,
        help="Of several rounds; sequential takes all rounds of one case before the next, to see what a drift does.",
    ),
    click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Shuffles the order. Default: any; it is recorded."),
    click.option(
        "--passes",
        type=click.IntRange(1, 100_000),
        help=f"Timed passes. Default: {PASSES}; {PASSES_OF_ESTIMATES} on boards whose times are estimates, for they "
        f"repeat; {PASSES_TO_COMPARE} for {FEWEST_ROUNDS_TO_COMPARE} rounds and more on host alone, whose passes take "
        "milliseconds and are disturbed: tenpass compare needs them.",
    ),
    click.option(
        "--warmup",
        type=click.IntRange(0, 1000),
        help=f"Passes before them. Default: {WARMUP}, and where the clock is deterministic at most {MORE_WARMUP} more, "
        "until their times have settled.",
    ),
    click.option(
        "--threads",
        type=Numbers(1, 64),
        default="1",
        show_default=True,
        help="Threads of the runtime; several counts, separated by commas, are measured one after the other.",
    ),
    click.option(
        "--cpus",
        type=Cpus(),
        help="Pin the runner to these CPUs: big, little (clusters, told apart by highest clock and part), all, or "
        "numbers such as 0-3 or 0xf0. Default: any.",
    ),
    click.option(
        "--abi",
        type=click.Choice(list(dict.fromkeys(ABI_OF_MACHINE.values()))),
        help="Run what is built for this ABI, for example 32-bit code on a 64-bit device. Default: the device's own.",
    ),
    click.option(
        "--max-start-celsius",
        type=click.FloatRange(0, 150),
        metavar="CELSIUS",
        help="Start a case only when the device's hottest zone is no hotter; waits for it to cool.",
    ),
    click.option(
        "--cool-timeout",
        "cool_timeout_s",
        type=click.FloatRange(min=0),
        default=COOL_TIMEOUT_S,
        show_default=True,
        help="Seconds to wait for that at most; then the case is measured all the same, with a warning.",
    ),
    click.option(
        "--max-celsius",
        type=click.FloatRange(0, 150),
        metavar="CELSIUS",
        help="Warn of a case in which the device grows hotter.",
    ),
    click.option("--strict", is_flag=True, help="A case measured under bad conditions is a failure, not a warning."),
    click.option(
        "--count",
        "counting",
        is_flag=True,
        help="On an emulated board that is no chip count each pass's instructions and simulated cache misses, exactly. "
        "On others they are counted in any case, and elsewhere the CPU's own counters are read, where the kernel lets "
        "us.",
    ),
    click.option(
        "--clock",
        "clock_ghz",
        type=Gigahertz(),
        metavar="GHZ",
        help="Estimate times of an emulated chip at this clock, its memory being as fast as it is. Default: the chip's "
        "own (tenpass board --list).",
    ),
    click.option(
        "--profile",
        is_flag=True,
        help="After the timed passes make some that tell the time of each node: where does it go?",
    ),
    click.option(
        "--boards",
        type=click.IntRange(1, 8),
        help="Emulated boards side by side, where the clock is deterministic. Default: 2, if there are cores for them.",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=1),
        default=TIMEOUT_S,
        show_default=True,
        help="Seconds that one case may take on the device.",
    ),
    click.option(
        "--weights",
        metavar="[NAME=]FILE",
        multiple=True,
        help="A PyTorch checkpoint for the network (for NAME, where several are measured). Default: seeded weights.",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        help="Folder for the results. Default: results/<time>-<device>.",
    ),
    click.option(
        "--resume",
        type=click.Path(path_type=Path),
        metavar="RUN",
        help="Go on with the run in that folder, which was interrupted or had failures: measures what is "
        "missing, with the options of then, and refuses when these, the networks or the device are no longer the same.",
    ),
    click.option(
        "--command-timeout",
        "command_timeout_s",
        type=click.FloatRange(min=1),
        default=DEFAULT.command_s,
        show_default=True,
        help="Seconds that a device may take for anything but running a case; a push may take longer by its size.",
    ),
    click.option(
        "--reconnect-timeout",
        "reconnect_timeout_s",
        type=click.FloatRange(min=0),
        default=DEFAULT.reconnect_s,
        show_default=True,
        help="Seconds to wait for a device that was lost to come back; then it is given up.",
    ),
    click.option(
        "--reboot",
        is_flag=True,
        help="Restart a device that does not come back by itself, when half of that time has passed. "
        "Otherwise none is.",
    ),
    click.option(
        "--wait",
        "wait_s",
        type=click.FloatRange(min=0),
        default=0,
        show_default=True,
        help="Seconds to wait for another run that has the device.",
    ),
    click.option(
        "--clean-device", is_flag=True, help="Remove all that was ever pushed to the device, nothing else, and exit."
    ),
    click.option("--list-devices", is_flag=True, help="List what can be given as --device, and exit."),
    tls_options,
    click.option("--list-models", is_flag=True, help="List what can be given as --models, and exit."),
)


def run_command(job: Callable[[RunOptions], int]) -> click.Command:
    """The command whose options `job` gets as one record; it returns the exit code."""

    @functools.wraps(job)
    def run(**given: Any) -> int:
        return job(_run_options(given))

    command: Callable[..., Any] = guarded(run)
    for option in reversed(_OPTIONS):
        command = option(command)
    return click.command("run", help=job.__doc__, context_settings=CONTEXT)(command)


def _run_options(given: Mapping[str, Any]) -> RunOptions:
    from harness.measure.cases import Choices

    tls = {name: given[name] for name in TLS_FILES}
    where = Where(given["adb_server"], given["scheduler"], tls, given["wait_s"])
    context = click.get_current_context()
    names = [param.name for param in context.command.params if param.name]
    said = {name for name in names if context.get_parameter_source(name) == ParameterSource.COMMANDLINE}
    if where.scheduler is not None and (
        given["clean_device"] or any(name.startswith("replay:") for name in given["devices"])
    ):
        raise UsageError("--scheduler: --clean-device and recordings are for devices of this machine")
    return RunOptions(
        devices=given["devices"],
        choices=Choices(**{field.name: given[field.name] for field in fields(Choices)}),
        where=where,
        out=given["out"],
        resume=given["resume"],
        said=frozenset(said),
        clean_device=given["clean_device"],
        list_devices=given["list_devices"],
        list_models=given["list_models"],
    )
