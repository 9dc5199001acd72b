"""Measures networks on an ARM device and writes Table 6 of the clcNet paper again.

Exports what is not up to date, pushes what the device lacks, times ten passes of each network in a native runner
there, checks the outputs against PyTorch's, and leaves records, tables and plots in a folder below results/.

Exit codes: 0 all is well; 1 some case failed or was not measured; 2 usage; 3 device unavailable.
"""

# Only what is light is imported here: --help must answer at once. The rest is imported where the work begins.
from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from export.artifact import IGC, ExportError
from export.checkpoints import parse_weights
from harness.command import guarded
from harness.errors import EXIT_CASE_FAILED, EXIT_OK, UsageError
from models import registry

if TYPE_CHECKING:
    from device.call import Device
    from export.artifact import Artifact
    from harness.progress import Display
    from harness.records import Case, Record
    from harness.session import Run

REPOSITORY = Path(__file__).resolve().parent.parent
EXPORTS = REPOSITORY / "build" / "export"

#: Caffe2's engine for 3x3 depthwise convolutions -> the format whose nets ask for it.
CONVOLUTIONS = {"as-converted": "caffe2", "DEPTHWISE_3x3": "caffe2-depthwise"}


class CpuMask(click.ParamType[int]):
    """A mask of CPUs: bit n is CPU n."""

    name = "mask"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            mask = int(str(value), 0)
        except ValueError:
            mask = 0
        if mask <= 0:
            self.fail(f"{value!r} is no CPU mask; give one such as 0x3 (CPUs 0 and 1)", param, ctx)
        return mask


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
    help="An adb serial, board:NAME (an emulated board) or host (this machine). "
    "Default: $ANDROID_SERIAL, the one attached device, else board:cortex-a7.",
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
@click.option("--passes", type=click.IntRange(1, 100_000), default=10, show_default=True, help="Timed passes.")
@click.option("--warmup", type=click.IntRange(0, 1000), default=1, show_default=True, help="Passes before them.")
@click.option(
    "--threads",
    type=Numbers(1, 64),
    default="1",
    show_default=True,
    help="Threads of the runtime; several counts, separated by commas, are measured one after the other.",
)
@click.option("--cpus", type=CpuMask(), help="Pin the runner to these CPUs, for example 0xf0. Default: any.")
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
    passes: int,
    warmup: int,
    threads: tuple[int, ...],
    cpus: int | None,
    boards: int | None,
    timeout_s: float,
    weights: tuple[str, ...],
    out: Path | None,
    list_devices: bool,
    list_models: bool,
) -> int:
    if list_models:
        return _print_models()
    if list_devices:
        return _print_devices()
    from device.choose import choose
    from harness.records import Case

    specs = [registry.get(name.strip()) for name in models.split(",") if name.strip()]
    if not specs:
        raise UsageError("--models names no network; see --list-models")
    checkpoints = parse_weights(weights, [spec.name for spec in specs])
    chosen = choose(device_name)
    runtimes = ("onnxruntime", "caffe2") if runtime == "all" else (runtime,)
    formats = {"onnxruntime": "onnx", "caffe2": CONVOLUTIONS[convolution]}
    separable_ways = (None, "fused") if fuse_separable else (None,)
    cases = tuple(
        Case(spec.name, name, formats[name], way, count, hex(cpus) if cpus else None, warmup=warmup, passes=passes)
        for spec in dict.fromkeys(specs)
        for way in (igc if spec.has_clc_blocks else separable_ways if spec.has_separable_blocks else (None,))
        for name in runtimes
        for count in threads
        if way != "fused" or name == "onnxruntime"
    )
    if not cases:
        raise UsageError("--igc fused is for ONNX Runtime alone: add --runtime onnxruntime, or take another --igc")
    lanes = _lanes(boards, chosen, len(cases))
    folder = _results_folder(out, chosen)
    try:
        records = _run(cases, chosen, lanes, folder, checkpoints, timeout_s)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only an empty one goes: nothing came of the run
    return _print_results(records, cases, folder)


def _run(
    cases: tuple[Case, ...],
    chosen: str,
    lanes: int,
    folder: Path,
    checkpoints: dict[str, Path],
    timeout_s: float,
) -> list[Record]:
    """Measures every case; when Ctrl-C comes, what is measured is kept and the report is made from it."""
    from device.choose import open_devices
    from harness import plan, report
    from harness.lanes import measure_all
    from harness.progress import Display
    from harness.records import SCHEMA_VERSION, Journal
    from harness.session import Run

    run = Run(id=folder.name, commit=_commit(), timeout_s=timeout_s)
    display = Display()
    with display.shown():
        artifacts = _export(cases, checkpoints, display)
        with display.stage(f"ready {chosen}") as stage:
            devices = open_devices(chosen, lanes, on_step=stage.detail)
        with Journal(folder) as journal:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            plan.write(plan.Plan(SCHEMA_VERSION, run.id, now, run.commit, _command(), chosen, cases), folder)
            try:
                measure_all(
                    cases,
                    devices,
                    lambda case, device: _measure(case, artifacts[_exported(case)], device, run, display),
                    journal.append,
                )
            except KeyboardInterrupt:
                display.console.print("interrupted: what is finished is kept", style="yellow")
    return report.write(folder)[0]


#: Model, format, igc: cases that differ in nothing of these run the same files.
Exported = tuple[str, str, str | None]


def _exported(case: Case) -> Exported:
    return (case.model, case.format, case.igc)


def _export(
    cases: Sequence[Case], checkpoints: dict[str, Path], display: Display
) -> dict[Exported, Artifact | ExportError]:
    """Each model in each format and form, or why there is none: an export that fails does not stop the others."""
    from export.pipeline import export_model

    made: dict[Exported, Artifact | ExportError] = {}
    with display.stage("export", total=len(cases)) as stage:
        for case in cases:
            stage.detail(", ".join(part for part in _exported(case) if part))
            spec, weights = registry.get(case.model), checkpoints.get(case.model)
            try:
                made[_exported(case)] = export_model(spec, EXPORTS, weights, format_name=case.format, igc=case.igc)
            except ExportError as error:
                made[_exported(case)] = error
            stage.advance()
    return made


def _measure(case: Case, artifact: Artifact | ExportError, device: Device, run: Run, display: Display) -> Record:
    from device import wire
    from harness import session
    from harness.table import milliseconds

    if isinstance(artifact, ExportError):
        return session.failed_export(case, device, run, str(artifact))
    with display.stage(case.id, total=case.warmup + case.passes) as stage:
        pushed_bytes = 0

        def on_bytes(count: int) -> None:
            nonlocal pushed_bytes
            pushed_bytes += count
            stage.detail(f"push {pushed_bytes / 1e6:.1f} MB")

        def on_event(event: wire.Event) -> None:
            if isinstance(event, wire.PassEnded):
                stage.advance()
                stage.detail(f"{event.phase} pass: {milliseconds(event.ns)} ms")
            elif isinstance(event, wire.Hello):
                stage.detail(f"load, {event.runtime} {event.runtime_version}")

        return session.measure(case, artifact, device, run, on_event=on_event, on_bytes=on_bytes)


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
        if any(folder.iterdir()):
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


def _print_results(records: Sequence[Record], cases: Sequence[Case], folder: Path) -> int:
    """The table on stdout, what failed on stderr; the exit code says whether all is well."""
    from harness import table

    click.echo(table.for_terminal(table.rows(records)))
    outside_s = [record.outside_passes_ns / 1e9 for record in records if record.phases_ns]
    if outside_s:
        click.echo(f"outside the passes the harness took {max(outside_s):.1f} s per case at most")
    click.echo(f"records, tables and plots: {folder}")
    failed = [record for record in records if record.status != "ok"]
    for record in failed:
        click.echo(f"failed: {record.id}: {record.status}: {record.error}", err=True)
    measured = {record.id for record in records}
    unmeasured = [case for case in cases if case.id not in measured]
    for case in unmeasured:
        click.echo(f"not measured: {case.id}: the run ended before it", err=True)
    return EXIT_CASE_FAILED if failed or unmeasured else EXIT_OK


if __name__ == "__main__":
    main()
