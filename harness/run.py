"""Measures networks on an ARM device and writes Table 6 of the clcNet paper again.

Exports what is not up to date, pushes what the device lacks, times ten passes of each network in a native runner
there, checks the outputs against PyTorch's, and leaves records, tables and plots in a folder below results/.

Exit codes: 0 all is well; 1 some case failed or was not measured; 2 usage; 3 device unavailable.
"""

# Only what is light is imported here: --help must answer at once. The rest is imported where the work begins.
from __future__ import annotations

import contextlib
import os
import random
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from device.cores import parse_cpus
from device.probe import ABI_OF_MACHINE
from device.timeouts import DEFAULT, Timeouts
from export.artifact import IGC, ExportError
from export.checkpoints import parse_weights
from harness.command import guarded
from harness.conditions import Limits
from harness.errors import EXIT_CASE_FAILED, EXIT_OK, UsageError
from models import registry

if TYPE_CHECKING:
    from device.call import Device
    from device.records import DeviceState
    from harness.plan import Plan, Turn
    from harness.prepare import Ready
    from harness.progress import Display
    from harness.records import Record
    from harness.session import Run

REPOSITORY = Path(__file__).resolve().parent.parent

#: Caffe2's engine for 3x3 depthwise convolutions -> the format whose nets ask for it.
CONVOLUTIONS = {"as-converted": "caffe2", "DEPTHWISE_3x3": "caffe2-depthwise"}


#: Options for when something fails: a run may be taken up again with others.
FAULT_OPTIONS = ("command_timeout_s", "reconnect_timeout_s", "reboot", "wait_s")


class Cpus(click.ParamType[str]):
    """CPUs in words, in one canonical form."""

    name = "cpus"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return parse_cpus(str(value))
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


@click.command(help=__doc__, context_settings={"max_content_width": 100})
@click.option(
    "--device",
    "device_name",
    metavar="SERIAL",
    help="An adb serial, board:NAME (an emulated board), host (this machine) or replay:FOLDER (the run recorded there, "
    "its cases unless --models names some of them). Default: $ANDROID_SERIAL, the one attached device, else "
    "board:cortex-a7.",
)
@click.option(
    "--models",
    metavar="NAMES",
    default=",".join(registry.PAPER_TABLE6),
    show_default=True,
    help="Networks, separated by commas, in the order of measurement.",
)
@click.option(
    "--runtime",
    type=click.Choice(["onnxruntime", "caffe2", "all"]),
    default="onnxruntime",
    show_default=True,
    help="What runs the networks; caffe2 is what the paper ran.",
)
@click.option(
    "--caffe2-convolution",
    "convolution",
    type=click.Choice(list(CONVOLUTIONS)),
    default="as-converted",
    show_default=True,
    help="Caffe2's engine for 3x3 depthwise convolutions.",
)
@click.option(
    "--igc",
    type=Names(IGC),
    default=IGC[0],
    show_default=True,
    help=f"How clcNet's interlaced grouped convolutions are computed: {', '.join(IGC)}, or several, separated by "
    "commas. grouped is what the paper ran; fused is for ONNX Runtime alone.",
)
@click.option(
    "--fuse-separable",
    is_flag=True,
    help="Measure MobileNet also with its depthwise separable blocks in the fused kernel: tells what of a gain is the "
    "network's, and what the kernel's.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Measure every case so many times, each in a process of its own, in an order shuffled for each round: tells "
    "the spread between processes from that within one, and gives ratios their intervals.",
)
@click.option(
    "--order",
    type=click.Choice(["shuffled", "sequential"]),
    default="shuffled",
    show_default=True,
    help="Of several rounds; sequential takes all rounds of one case before the next, to see what a drift does.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Shuffles the order. Default: any; it is recorded.")
@click.option("--passes", type=click.IntRange(1, 100_000), default=10, show_default=True, help="Timed passes.")
@click.option("--warmup", type=click.IntRange(0, 1000), default=1, show_default=True, help="Passes before them.")
@click.option(
    "--threads",
    type=Numbers(1, 64),
    default="1",
    show_default=True,
    help="Threads of the runtime; several counts, separated by commas, are measured one after the other.",
)
@click.option(
    "--cpus",
    type=Cpus(),
    help="Pin the runner to these CPUs: big, little (clusters, told apart by highest clock and part), all, or "
    "numbers such as 0-3 or 0xf0. Default: any.",
)
@click.option(
    "--abi",
    type=click.Choice(list(dict.fromkeys(ABI_OF_MACHINE.values()))),
    help="Run what is built for this ABI, for example 32-bit code on a 64-bit device. Default: the device's own.",
)
@click.option(
    "--max-start-celsius",
    type=click.FloatRange(0, 150),
    metavar="CELSIUS",
    help="Start a case only when the device's hottest zone is no hotter; waits for it to cool.",
)
@click.option(
    "--cool-timeout",
    "cool_timeout_s",
    type=click.FloatRange(min=0),
    default=Limits.cool_timeout_s,
    show_default=True,
    help="Seconds to wait for that at most; then the case is measured all the same, with a warning.",
)
@click.option(
    "--max-celsius",
    type=click.FloatRange(0, 150),
    metavar="CELSIUS",
    help="Warn of a case in which the device grows hotter.",
)
@click.option("--strict", is_flag=True, help="A case measured under bad conditions is a failure, not a warning.")
@click.option(
    "--count",
    "counting",
    is_flag=True,
    help="On an emulated board count each pass's instructions and simulated cache misses, exactly. Elsewhere the "
    "CPU's own counters are read in any case, where the kernel lets us.",
)
@click.option(
    "--profile",
    is_flag=True,
    help="After the timed passes make some that tell the time of each node: where does it go?",
)
@click.option(
    "--boards",
    type=click.IntRange(1, 8),
    help="Emulated boards side by side, where the clock is deterministic. Default: 2, if there are cores for them.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=1),
    default=600,
    show_default=True,
    help="Seconds that one case may take on the device.",
)
@click.option(
    "--weights",
    metavar="[NAME=]FILE",
    multiple=True,
    help="A PyTorch checkpoint for the network (for NAME, where several are measured). Default: seeded weights.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the results. Default: results/<time>-<device>.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Go on with the run in that folder, which was interrupted or had failures: measures what is missing, with the "
    "options of then, and refuses when the plan, the networks or the device are no longer the same.",
)
@click.option(
    "--command-timeout",
    "command_timeout_s",
    type=click.FloatRange(min=1),
    default=DEFAULT.command_s,
    show_default=True,
    help="Seconds that a device may take for anything but running a case; a push may take longer by its size.",
)
@click.option(
    "--reconnect-timeout",
    "reconnect_timeout_s",
    type=click.FloatRange(min=0),
    default=DEFAULT.reconnect_s,
    show_default=True,
    help="Seconds to wait for a device that was lost to come back; then it is given up.",
)
@click.option(
    "--reboot",
    is_flag=True,
    help="Restart a device that does not come back by itself, when half of that time has passed. Otherwise none is.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    help="Seconds to wait for another run that has the device.",
)
@click.option(
    "--clean-device", is_flag=True, help="Remove all that was ever pushed to the device, nothing else, and exit."
)
@click.option("--list-devices", is_flag=True, help="List what can be given as --device, and exit.")
@click.option("--list-models", is_flag=True, help="List what can be given as --models, and exit.")
@guarded
def main(
    device_name: str | None,
    models: str,
    runtime: str,
    convolution: str,
    igc: tuple[str, ...],
    fuse_separable: bool,
    rounds: int,
    order: str,
    seed: int | None,
    passes: int,
    warmup: int,
    threads: tuple[int, ...],
    cpus: str | None,
    abi: str | None,
    max_start_celsius: float | None,
    cool_timeout_s: float,
    max_celsius: float | None,
    strict: bool,
    counting: bool,
    profile: bool,
    boards: int | None,
    timeout_s: float,
    weights: tuple[str, ...],
    out: Path | None,
    resume: Path | None,
    command_timeout_s: float,
    reconnect_timeout_s: float,
    reboot: bool,
    wait_s: float,
    clean_device: bool,
    list_devices: bool,
    list_models: bool,
) -> int:
    if list_models:
        return _print_models()
    if list_devices:
        return _print_devices()
    timeouts = Timeouts(command_s=command_timeout_s, reconnect_s=reconnect_timeout_s)
    if clean_device:
        return _clean_device(device_name, boards or 1, timeouts, wait_s)
    from harness import plan, replay
    from harness.records import SCHEMA_VERSION, Case

    if resume is not None and not _given_besides("resume", *FAULT_OPTIONS):
        return _go(replace(plan.read(resume), timeouts=timeouts, reboot=reboot), resume, wait_s, again=True)
    names = [name.strip() for name in models.split(",") if name.strip()]
    specs = list(dict.fromkeys(registry.get(name) for name in names))
    if not specs:
        raise UsageError("--models names no network; see --list-models")
    checkpoints = parse_weights(weights, [spec.name for spec in specs])
    if device_name is not None and replay.is_one(device_name):
        recording = replay.read(device_name)
        chosen, lanes = device_name, 1
        cases = tuple(case for case in recording.cases if case.model in names or not _given("models"))
        if not cases:
            raise UsageError(f"--models {models}: the recording has none of them")
        rounds = rounds if _given("rounds") else recording.rounds
    else:
        from device.choose import choose

        chosen = choose(device_name)
        formats = {"onnxruntime": "onnx", "caffe2": CONVOLUTIONS[convolution]}
        separable_ways = (None, "fused") if fuse_separable else (None,)
        cases = tuple(
            Case(spec.name, name, formats[name], way, count, cpus, abi, warmup, passes)
            for spec in specs
            for way in (igc if spec.has_clc_blocks else separable_ways if spec.has_separable_blocks else (None,))
            for name in (("onnxruntime", "caffe2") if runtime == "all" else (runtime,))
            for count in threads
            if way != "fused" or name == "onnxruntime"
        )
        if not cases:
            raise UsageError("--igc fused is for ONNX Runtime alone: add --runtime onnxruntime, or take another --igc")
        lanes = _lanes(boards, chosen, len(cases))
    folder = _results_folder(out, chosen) if resume is None else resume
    seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    planned = plan.Plan(
        schema_version=SCHEMA_VERSION,
        run=folder.name,
        utc=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        command=_command(),
        devices=(chosen,),
        cases=cases,
        seed=seed,
        order=plan.sequential(cases, rounds) if order == "sequential" else plan.shuffled(cases, rounds, seed),
        limits=Limits(max_start_celsius, max_celsius, cool_timeout_s, strict),
        timeout_s=timeout_s,
        profile=profile,
        counting=counting,
        lanes=lanes,
        checkpoints={model: str(path) for model, path in checkpoints.items()},
        timeouts=timeouts,
        reboot=reboot,
    )
    return _go(planned, folder, wait_s, again=resume is not None)


def _given(option: str) -> bool:
    """Whether the user gave this option, rather than leaving it at its default."""
    return click.get_current_context().get_parameter_source(option) == ParameterSource.COMMANDLINE


def _given_besides(*options: str) -> bool:
    return any(_given(name) for name in click.get_current_context().params if name not in options)


def _go(planned: Plan, folder: Path, wait_s: float, *, again: bool) -> int:
    """Measures what the plan has and `folder` lacks. The exit code says whether all is well."""
    try:
        records = _run(planned, folder, wait_s, again=again)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only an empty one goes: nothing came of the run
    return _print_results(planned, records, folder)


def _run(planned: Plan, folder: Path, wait_s: float, *, again: bool) -> list[Record]:
    """Measures every turn; when Ctrl-C comes, what is measured is kept and the report is made from it."""
    from harness import plan, prepare, replay, report
    from harness.lanes import measure_all
    from harness.progress import Display
    from harness.records import Journal
    from harness.session import Run, WallTime

    time = replay.RecordedTime() if replay.is_one(planned.devices[0]) else WallTime()
    run = Run(planned.run, planned.commit, planned.timeout_s, planned.limits, planned.profile, time)
    display = Display()
    with display.shown():
        if again:
            plan.require_same(plan.read(folder), planned, folder)
        ready = prepare.ready(planned, display, wait_s)
        with ready:
            met = prepare.met(planned, ready)
            if again:
                plan.require_same(plan.read(folder), met, folder)
            else:
                plan.write(met, folder)
            turns = _missing(met, folder) if again else met.turns()
            with Journal(folder) as journal:
                try:
                    measure_all(
                        met,
                        turns,
                        ready.devices,
                        lambda turn, device: _measure(turn, ready, device, run, display),
                        journal.append,
                        display.say,
                    )
                except KeyboardInterrupt:
                    display.say("interrupted: what is finished is kept; --resume goes on")
    return report.write(folder)[0]


def _missing(planned: Plan, folder: Path) -> list[Turn]:
    """The turns that have not ended well so far."""
    from harness import records as journal

    if not (folder / journal.FILE_NAME).exists():
        return planned.turns()
    records = journal.read(folder, on_torn=lambda words: click.echo(words, err=True))
    done = {(record.round, record.id) for record in records if record.status == "ok"}
    return [turn for turn in planned.turns() if (turn.round, turn.case.id) not in done]


def _measure(turn: Turn, ready: Ready, device: Device, run: Run, display: Display) -> Record:
    from device import wire
    from harness import session
    from harness.conditions import hottest
    from harness.table import milliseconds

    try:
        subject = ready.subject(turn)
    except ExportError as error:
        return session.failed_export(turn, device, run, str(error))
    with display.stage(turn.id, total=turn.case.warmup + turn.case.passes) as stage:
        pushed_bytes = 0

        def on_bytes(count: int) -> None:
            nonlocal pushed_bytes
            pushed_bytes += count
            stage.detail(f"push {pushed_bytes / 1e6:.1f} MB")

        def on_state(state: DeviceState, waited_s: float) -> None:
            limit_celsius, found = run.limits.max_start_celsius, hottest(state)
            if limit_celsius is not None and found is not None:
                zone, celsius = found
                stage.detail(f"cooling to {limit_celsius:g} °C: {zone} at {celsius:.1f} °C, {waited_s:.0f} s")

        def on_event(event: wire.Event) -> None:
            if isinstance(event, wire.PassEnded):
                stage.advance()
                stage.detail(f"{event.phase} pass: {milliseconds(event.ns)} ms")
            elif isinstance(event, wire.Hello):
                stage.detail(f"load, {event.runtime} {event.runtime_version}")

        return session.measure(turn, subject, device, run, on_event=on_event, on_bytes=on_bytes, on_state=on_state)


def _lanes(boards: int | None, device_name: str, cases: int) -> int:
    """How many devices measure side by side. Raises UsageError for more than one of what would disturb another."""
    from device.choose import is_deterministic_board

    if is_deterministic_board(device_name):
        return min(boards or min(2, os.cpu_count() or 1), cases)
    if boards not in (None, 1):
        raise UsageError(f"--boards {boards}: {device_name} is no board with a deterministic clock; leave it out")
    return 1


def _results_folder(out: Path | None, device_name: str) -> Path:
    """The folder of this run, made and writable. Raises UsageError; an earlier run's folder is never reused."""
    safe = "".join(sign if sign.isalnum() or sign in "-." else "-" for sign in device_name)
    folder = out or REPOSITORY / "results" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{safe}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(not path.name.startswith(".") for path in folder.iterdir()):  # a plan half written is nothing yet
            raise UsageError(f"--out {folder}: not empty; name a new folder, so that no results are lost")
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise UsageError(f"--out {folder}: cannot be written ({error.strerror}); name another folder") from None


def _commit() -> str | None:
    """The project's commit, marked when the working tree differs from it; None outside a git checkout."""
    argv = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        answer = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def _command() -> str:
    return shlex.join(["python", "-m", "harness.run", *sys.argv[1:]])


def _clean_device(named: str | None, count: int, timeouts: Timeouts, wait_s: float) -> int:
    from device.adb import REMOTE_ROOT, AdbDevice
    from device.choose import choose, open_devices, reserve

    chosen = choose(named)
    lock = reserve(chosen, wait_s, on_wait=lambda words: click.echo(words, err=True))
    with lock or contextlib.nullcontext():
        for device in open_devices(chosen, count, timeouts=timeouts):
            if not isinstance(device, AdbDevice):
                raise UsageError(f"--clean-device: nothing is ever pushed to {chosen}")
            device.clean()
            device.close()
            click.echo(f"{chosen}: {REMOTE_ROOT} is removed")
    return EXIT_OK


def _print_models() -> int:
    for spec in registry.REGISTRY:
        mark = "Table 6" if spec.name in registry.PAPER_TABLE6 else ""
        click.echo(f"{spec.name:<14} {mark:<8} {spec.title} ({spec.source})")
    return EXIT_OK


def _print_devices() -> int:
    from device.board import definitions
    from device.choose import BOARD_PREFIX, attached_without_side_effects

    for item in attached_without_side_effects():
        click.echo(f"{item.serial:<24} adb: {item.state}")
    for board in definitions().values():
        click.echo(f"{BOARD_PREFIX + board.name:<24} emulated: {board.title}")
    click.echo(f"{'host':<24} this machine")
    return EXIT_OK


def _print_results(planned: Plan, records: Sequence[Record], folder: Path) -> int:
    """The table on stdout, what failed on stderr; the exit code says whether all is well."""
    from harness import table

    rows = table.rows(records)
    click.echo(table.for_terminal(rows))
    for line in table.warnings(rows):
        click.echo(line)
    outside_s = [record.outside_passes_ns / 1e9 for record in records if record.phases_ns]
    if outside_s:
        click.echo(f"outside the passes the harness took {max(outside_s):.1f} s per case at most")
    click.echo(f"records, tables and plots: {folder}")
    failed = [record for record in records if record.status != "ok"]
    measured = {(record.round, record.id) for record in records}
    unmeasured = [turn for turn in planned.turns() if (turn.round, turn.case.id) not in measured]
    for record in failed:
        in_round = f", round {record.round + 1}" if record.round else ""
        click.echo(f"failed: {record.id}{in_round}: {record.status}: {record.error}", err=True)
    for turn in unmeasured:
        click.echo(f"not measured: {turn.id}: the run ended before it", err=True)
    return EXIT_CASE_FAILED if failed or unmeasured else EXIT_OK


if __name__ == "__main__":
    main()
