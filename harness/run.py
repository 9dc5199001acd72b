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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from device.adb.server import Server
from device.probe import ABI_OF_MACHINE
from device.timeouts import DEFAULT, Timeouts
from export.artifact import IGC, PRECISIONS
from export.checkpoints import files_by_model, parse_weights
from harness.cli.command import guarded
from harness.cli.options import AdbServer, Cpus, Names, Numbers, runtime_options, tls_options
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, UsageError
from harness.record.plan import Limits
from models import registry
from models.paper import table6_device
from toolchain.paths import REPOSITORY, RESULTS

if TYPE_CHECKING:
    from harness.farm.client import Farm
    from harness.measure.progress import Display
    from harness.record.case import Case
    from harness.record.plan import Plan, Turn
    from harness.report.sections import Written


HOST = "host"

#: The paper's (section 5.3); and what two runs on a computer need to be told apart (measured: analyse/slower.py).
PASSES, PASSES_TO_COMPARE, FEWEST_ROUNDS_TO_COMPARE = table6_device().passes, 100, 3

#: Options for when something fails: a run may be taken up again with others.
FAULT_OPTIONS = (
    "command_timeout_s",
    "reconnect_timeout_s",
    "reboot",
    "wait_s",
    "adb_server",
    "scheduler",
    "tls_ca_file",
    "tls_cert",
    "tls_key",
)


@click.command(help=__doc__, context_settings={"max_content_width": 100})
@click.option(
    "--device",
    "device_names",
    metavar="SERIAL",
    multiple=True,
    help="An adb serial, board:NAME (an emulated board), host (this machine) or replay:FOLDER (the run recorded there, "
    "its cases unless --models names some of them). Given several times, or as all (every attached device), the "
    "devices are measured at the same time, each with a column in the report. Default: $ANDROID_SERIAL, the one "
    "attached device, else board:cortex-a7.",
)
@click.option(
    "--adb-server",
    type=AdbServer(),
    metavar="HOST:PORT",
    help="The adb server that has the devices, on another machine perhaps. Default: this machine's "
    "($ANDROID_ADB_SERVER_ADDRESS, $ANDROID_ADB_SERVER_PORT).",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Measure on the devices of a farm (python -m harness.farm), whose scheduler is there: tcp://HOST:PORT.",
)
@click.option(
    "--models",
    metavar="NAMES",
    default=",".join(registry.PAPER_TABLE6),
    show_default=True,
    help="Networks, separated by commas, in the order of measurement. With --model: none, unless some are named.",
)
@click.option(
    "--model",
    "model_files",
    type=click.Path(dir_okay=False),
    metavar="FILE.onnx",
    multiple=True,
    help="An ONNX file of your own, measured under its file's name; may be given several times.",
)
@click.option(
    "--dim",
    "dims",
    metavar="[MODEL:]NAME=SIZE",
    multiple=True,
    help="The size of a free dimension of a --model, by its name, or as INPUT:AXIS. A batch is 1 by default.",
)
@click.option(
    "--input",
    "inputs",
    metavar="[MODEL=]FILE.npz",
    multiple=True,
    help="Values for the inputs of a --model, by their names. Default: random ones.",
)
@click.option(
    "--precision",
    "precisions",
    type=Names(PRECISIONS),
    default=PRECISIONS[0],
    show_default=True,
    help=f"What the networks compute in: {', '.join(PRECISIONS)}, or several, separated by commas. For ONNX Runtime.",
)
@click.option(
    "--calibration",
    "calibrations",
    metavar="[MODEL=]FILE.npz",
    multiple=True,
    help="Samples that int8 is calibrated with, by the names of the inputs. Default: --input, else random ones.",
)
@runtime_options
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
@click.option(
    "--passes",
    type=click.IntRange(1, 100_000),
    help=f"Timed passes. Default: {PASSES}; {PASSES_TO_COMPARE} for {FEWEST_ROUNDS_TO_COMPARE} rounds and more on host "
    "alone, whose passes take milliseconds and are disturbed: harness.compare needs them.",
)
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
@tls_options
@click.option("--list-models", is_flag=True, help="List what can be given as --models, and exit.")
@guarded
def main(
    device_names: tuple[str, ...],
    adb_server: Server | None,
    scheduler: str | None,
    models: str,
    model_files: tuple[str, ...],
    dims: tuple[str, ...],
    inputs: tuple[str, ...],
    precisions: tuple[str, ...],
    calibrations: tuple[str, ...],
    providers: tuple[str, ...],
    runtimes: tuple[str, ...],
    formats: dict[str, str],
    igc: tuple[str, ...],
    fuse_separable: bool,
    rounds: int,
    order: str,
    seed: int | None,
    passes: int | None,
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
    **tls: str | None,
) -> int:
    if list_models:
        return _print_models()
    if list_devices:
        return _print_devices(Where(adb_server, scheduler, tls))
    timeouts = Timeouts(command_s=command_timeout_s, reconnect_s=reconnect_timeout_s)
    where = Where(adb_server, scheduler, tls, wait_s)
    if scheduler is not None and (clean_device or any(name.startswith("replay:") for name in device_names)):
        raise UsageError("--scheduler: --clean-device and recordings are for devices of this machine")
    if clean_device:
        return _clean_device(device_names, boards or 1, timeouts, where)
    from harness.measure import cases, own_models, replay
    from harness.record import plan
    from harness.record.record import SCHEMA_VERSION

    if resume is not None and not _given_besides("resume", *FAULT_OPTIONS):
        return _go(replace(plan.read(resume), timeouts=timeouts, reboot=reboot), resume, where, again=True)
    names = [name.strip() for name in models.split(",") if name.strip()]
    specs = list(dict.fromkeys(registry.get(name) for name in names if _given("models") or not model_files))
    if not specs and not model_files:
        raise UsageError("--models names no network; see --list-models")
    own = own_models.named(model_files, dims, inputs)
    checkpoints = parse_weights(weights, [spec.name for spec in specs])
    calibration = files_by_model(
        "--calibration", calibrations, [*(spec.name for spec in specs), *(one.name for one in own)]
    )
    if any(replay.is_one(name) for name in device_names):
        devices = device_names
        planned, recorded_rounds = _recorded_cases(devices, names if _given("models") else None)
        rounds = rounds if _given("rounds") else recorded_rounds
    else:
        devices = where.choose(device_names)
        passes = _passes(devices, rounds) if passes is None else passes
        planned = cases.of(
            specs,
            cases.Choice(
                runtimes, igc, fuse_separable, threads, cpus, abi, warmup, passes, precisions, providers, formats
            ),
            [one.name for one in own],
        )
    lanes = _lanes(boards, devices, len(planned))
    folder = _results_folder(out, devices) if resume is None else resume
    seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    return _go(
        plan.Plan(
            schema_version=SCHEMA_VERSION,
            run=folder.name,
            utc=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=_commit(),
            command=_command(),
            devices=devices,
            cases=planned,
            seed=seed,
            order=plan.sequential(planned, rounds) if order == "sequential" else plan.shuffled(planned, rounds, seed),
            limits=Limits(max_start_celsius, max_celsius, cool_timeout_s, strict),
            timeout_s=timeout_s,
            profile=profile,
            counting=counting,
            lanes=lanes,
            checkpoints={model: str(path) for model, path in checkpoints.items()},
            timeouts=timeouts,
            reboot=reboot,
            own_models=own,
            calibrations={model: str(path.resolve()) for model, path in calibration.items()},
        ),
        folder,
        where,
        again=resume is not None,
    )


@dataclass(frozen=True)
class Where:
    """How the devices are reached: the adb server that has them, or a farm's scheduler and the files of its TLS.

    `wait_s` is how long another run that has a device is waited for.
    """

    adb_server: Server | None = None
    scheduler: str | None = None
    tls: Mapping[str, str | None] = field(default_factory=dict)
    wait_s: float = 0

    @contextlib.contextmanager
    def farm(self) -> Iterator[Farm | None]:
        """The farm, where there is a scheduler."""
        if self.scheduler is None:
            yield None
            return
        from harness.farm.connect import connect

        with connect(self.scheduler, **self.tls) as farm:
            yield farm

    def choose(self, named: Sequence[str]) -> tuple[str, ...]:
        """The devices to use, of those that were named, if any were."""
        from device.open import choose

        with self.farm() as farm:
            return choose(named, self.adb_server) if farm is None else farm.choose(named)


def _passes(devices: Sequence[str], rounds: int) -> int:
    """How many passes are timed where nobody says so: the paper's ten, but for rounds that are to be compared."""
    on_host = all(device.partition("@")[0] == HOST for device in devices)
    return PASSES_TO_COMPARE if on_host and rounds >= FEWEST_ROUNDS_TO_COMPARE else PASSES


def _recorded_cases(devices: Sequence[str], models: Sequence[str] | None) -> tuple[tuple[Case, ...], int]:
    """The cases of the recording that is played, those of `models` alone if there are some, and its rounds."""
    from harness.measure import replay

    if len(devices) > 1:
        raise UsageError(f"--device {devices[0]}, {devices[1]}: a recording is played alone; name one device")
    recording = replay.read(devices[0])
    found = tuple(case for case in recording.cases if models is None or case.model in models)
    if not found:
        raise UsageError(f"--models {','.join(models or ())}: the recording has none of them")
    return found, recording.rounds


def _given(option: str) -> bool:
    """Whether the user gave this option, rather than leaving it at its default."""
    return click.get_current_context().get_parameter_source(option) == ParameterSource.COMMANDLINE


def _given_besides(*options: str) -> bool:
    names = [str(param.name) for param in click.get_current_context().command.params]
    return any(_given(name) for name in names if name not in options)


def _go(planned: Plan, folder: Path, where: Where, *, again: bool) -> int:
    """Measures what the plan has and `folder` lacks. The exit code says whether all is well."""
    from harness.measure.progress import Display
    from harness.report import sections

    display = Display()
    try:
        with display.shown():
            met, failures = _run(planned, folder, where, display, again=again)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only an empty one goes: nothing came of the run
    return _print_results(met, sections.write(folder), failures, folder)


def _run(
    planned: Plan, folder: Path, where: Where, display: Display, *, again: bool
) -> tuple[Plan, dict[str, Exception]]:
    """Measures every turn on every device; the plan with what it has met, and why a device has no records, or not all.

    When Ctrl-C comes, what is measured is kept. Raises what kept the only device, or all of them, from being measured.
    """
    from harness.measure import own_models, prepare, replay, sessions
    from harness.measure.ledger import Ledger
    from harness.measure.networks import Bundles
    from harness.record import plan

    recorded = plan.read(folder) if again else None
    if recorded is not None:
        plan.require_same(recorded, planned, folder)
        own_models.require_unchanged(planned, folder)
        planned = replace(planned, device_infos=recorded.device_infos)
    exported = {} if replay.is_one(planned.devices[0]) else prepare.exported(planned, display)
    bundles = Bundles()
    networks = prepare.networks_of(exported, bundles) if exported else prepare.recorded(replay.read(planned.devices[0]))
    planned = prepare.with_networks(planned, networks)
    if recorded is not None:
        plan.require_same(recorded, planned, folder)
    turns = {device: missing for device in planned.devices if (missing := _missing(planned, device, folder))}

    def session(device: str, farm: Farm | None) -> sessions.Session:
        if farm is not None:
            from harness.farm.device import session_on

            return session_on(farm, planned, device, turns[device], exported, wait_s=where.wait_s)
        return sessions.on(
            planned, device, turns[device], networks, bundles, wait_s=where.wait_s, server=where.adb_server
        )

    failures: dict[str, Exception] = {}
    with where.farm() as farm, Ledger(planned, folder) as ledger:
        try:
            shown = display.of_devices({device: len(missing) for device, missing in turns.items()})
            failures = sessions.take_all({device: session(device, farm) for device in turns}, shown, ledger)
        except KeyboardInterrupt:
            if not (ledger.is_begun or again):
                raise
            display.say("interrupted: what is finished is kept; --resume goes on")
    if failures and len(failures) == len(planned.devices):
        raise next(iter(failures.values()))
    return ledger.plan, failures


def _missing(planned: Plan, device: str, folder: Path) -> list[Turn]:
    """The turns of a device that have not ended well so far."""
    from harness.record import journal

    if not (folder / journal.FILE_NAME).exists():
        return planned.turns()
    records = journal.read(folder, on_torn=lambda words: click.echo(words, err=True))
    done = {(record.device.serial, record.round, record.id) for record in records if record.status == "ok"}
    serial = planned.serial(device)
    return [turn for turn in planned.turns() if (serial, turn.round, turn.case.id) not in done]


def _lanes(boards: int | None, devices: Sequence[str], cases: int) -> int:
    """How many boards of a device measure side by side.

    Raises UsageError for more than one of what would disturb another.
    """
    from device.open import is_deterministic

    others = [device for device in devices if not is_deterministic(device)]
    if others and boards not in (None, 1):
        raise UsageError(f"--boards {boards}: {others[0]} is no board with a deterministic clock; leave it out")
    if others:
        return 1
    share = (os.cpu_count() or 1) // len(devices)
    return min(boards or max(1, min(2, share)), cases)


def _results_folder(out: Path | None, devices: Sequence[str]) -> Path:
    """The folder of this run, made and writable. Raises UsageError; an earlier run's folder is never reused."""
    named = devices[0] if len(devices) == 1 else f"{len(devices)}-devices"
    safe = "".join(sign if sign.isalnum() or sign in "-." else "-" for sign in named)
    folder = out or RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{safe}"
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


def _clean_device(named: Sequence[str], count: int, timeouts: Timeouts, where: Where) -> int:
    from device.adb.cache import REMOTE_ROOT
    from device.adb.device import AdbDevice
    from device.open import open_devices, reserve

    for chosen in where.choose(named):
        with reserve(chosen, where.wait_s, on_wait=lambda words: click.echo(words, err=True)):
            for device in open_devices(chosen, count, timeouts=timeouts, server=where.adb_server):
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


def _print_devices(where: Where) -> int:
    from device.open import listed

    with where.farm() as farm:
        if farm is not None:
            for name, place in sorted(farm.devices.items()):
                click.echo(f"{name:<24} farm: worker {place.worker}")
            return EXIT_OK
    for name, description in listed(where.adb_server):
        click.echo(f"{name:<24} {description}")
    return EXIT_OK


def _print_results(planned: Plan, report: Written, failures: Mapping[str, Exception], folder: Path) -> int:
    """The table on stdout, what failed on stderr; the exit code says whether all is well."""
    from harness.report import table

    records = report.records
    click.echo(table.for_terminal(report.rows))
    for line in table.warnings(report.rows):
        click.echo(line)
    outside_s = [record.outside_passes_ns / 1e9 for record in records if record.phases_ns]
    if outside_s:
        click.echo(f"outside the passes the harness took {max(outside_s):.1f} s per case at most")
    click.echo(f"records, tables and plots: {folder}")
    several = len(planned.devices) > 1
    failed = [record for record in records if record.status != "ok"]
    for record in failed:
        where = f"{record.device.serial}: " if several else ""
        in_round = f", round {record.round + 1}" if record.round else ""
        click.echo(f"failed: {where}{record.id}{in_round}: {record.status}: {record.error}", err=True)
    measured = {(record.device.serial, record.round, record.id) for record in records}
    unmeasured = {
        device: [turn for turn in planned.turns() if (planned.serial(device), turn.round, turn.case.id) not in measured]
        for device in planned.devices
    }
    for device, turns in unmeasured.items():
        if device in failures:
            click.echo(f"failed: {device}: {failures[device]}; not measured: {len(turns)} cases", err=True)
            continue
        for turn in turns:
            where = f"{device}: " if several else ""
            click.echo(f"not measured: {where}{turn.id}: the run ended before it", err=True)
    return EXIT_CASE_FAILED if failed or failures or any(unmeasured.values()) else EXIT_OK


if __name__ == "__main__":
    main()
