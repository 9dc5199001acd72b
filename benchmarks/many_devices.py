"""Many devices at once against one: wall time of whole runs as a ratio, and what each device costs this machine's CPU.

The devices are simulated: an adb server of the tests' (tests/fake_adb.py) with this machine's shell behind it, and in
place of the runner a script that sleeps for each pass and gives the right output. What is left is the harness.

    python -m benchmarks.many_devices [--devices 100] [--sleep-s 1.0] [--rounds 1]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from device import wire
from export.artifact import Artifact
from export.pipeline import export_model
from harness.record.runtimes import build_bundle
from models import registry
from tests.fake_adb import Faults, serving
from toolchain import compile as compiling
from toolchain.paths import EXPORTS, REPOSITORY

MODEL = "clcnet-tiny"
PASSES, WARMUP = 10, 1


def sleeping_runner(artifact: Artifact, sleep_s: float) -> str:
    """A shell script that says what a runner says (device/runner/PROTOCOL.md), and sleeps where that computes."""
    abi = compiling.native().abi
    used = build_bundle(abi)
    none = {"cpu_ns": None, "wait_ns": None, "cpu": None, "khz": None, "millicelsius": None, "counters": None}

    def say(**event: object) -> str:
        return f"echo '{json.dumps(event)}'"

    def passes(phase: str, count: int) -> list[str]:
        ns = int(sleep_s * 1e9)
        told = [say(event="pass", phase=phase, index=index, ns=ns + 1000 * index, **none) for index in range(count)]
        return [line for one in told for line in (f"sleep {sleep_s}", one)]

    [output] = artifact.outputs
    return "\n".join(
        [
            "out=$(echo \"$0\" | sed 's/.*--output \\([^ ]*\\).*/\\1/')",
            'out="/data/local/tmp/${out#*/tmp/}"; mkdir -p "${out%/*}"',
            say(
                event="hello",
                wire=wire.WIRE_VERSION,
                runner="sleeps",
                abi=abi,
                pid=1,
                runtime="onnxruntime",
                runtime_version=used.runtime_version,
                providers=["CPUExecutionProvider"],
                machine=os.uname().machine,
                cpu_features=[],
                counters_error=None,
            ),
            say(event="loaded", load_ns=1000),
            *passes("warmup", WARMUP),
            *passes("timed", PASSES),
            f"cp '{artifact.folder / output.file.name}' \"$out\"",
            say(
                event="output",
                tensors=[{"type": output.type, "shape": output.shape}],
                bytes=output.file.size_bytes,
            ),
            say(event="end", warmup=WARMUP, settled=None, passes=PASSES, peak_rss_bytes=1, cpu_mask=1),
        ]
    )


def serve(folder: str, serials: list[str], script: str, port: Connection) -> None:
    """The adb server, in a process of its own: its work is not the harness's."""
    root = Path(folder, "devices")
    for serial in serials:
        Path(root, serial).mkdir(parents=True)
    with serving(root, dict.fromkeys(serials, "device"), apart=True) as adb:
        adb.faults = Faults(instead_of_the_runner=script)
        port.send(adb.port)
        port.recv()  # until it is closed, or this is ended


def measured(folder: Path, serials: list[str], port: int, rounds: int) -> tuple[float, float]:
    """Wall and processor seconds of a run on these devices. Raises CalledProcessError when some case failed."""
    argv = [sys.executable, "-m", "harness.run", "--models", MODEL, "--out", str(folder), "--rounds", str(rounds)]
    argv += [word for serial in serials for word in ("--device", serial)]
    before, since = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(
        argv,
        check=True,
        cwd=REPOSITORY,
        env=os.environ | {"ANDROID_ADB_SERVER_PORT": str(port)},
        stdout=subprocess.DEVNULL,
    )
    wall_s, after = time.monotonic() - since, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--sleep-s", type=float, default=1.0, help="of each pass")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the runs; default: none is kept")
    wanted = parser.parse_args()
    serials = [f"SIM{number:04d}" for number in range(wanted.devices)]
    script = sleeping_runner(export_model(registry.get(MODEL), EXPORTS), wanted.sleep_s)
    with tempfile.TemporaryDirectory() as scratch:
        folder = str(wanted.keep or scratch)
        here, there = multiprocessing.Pipe()
        server = multiprocessing.Process(target=serve, args=(folder, serials, script, there), daemon=True)
        server.start()
        port = here.recv()
        measured(Path(folder, "first"), serials[:1], port, 1)
        for serial in serials[1:]:  # nothing is pushed again: the time is that of measuring
            pushed = Path(folder, "devices", serials[0], "tenpass")
            shutil.copytree(pushed, Path(folder, "devices", serial, "tenpass"), copy_function=os.link)
        one_s, one_cpu_s = measured(Path(folder, "one"), serials[:1], port, wanted.rounds)
        all_s, all_cpu_s = measured(Path(folder, "all"), serials, port, wanted.rounds)
        here.close()
        server.terminate()
        server.join()
    each_ms = 1000 * (all_cpu_s - one_cpu_s) / max(1, wanted.devices - 1) / wanted.rounds
    print(f"one device: {one_s:.1f} s, {one_cpu_s:.1f} s of processor time")
    print(f"{wanted.devices} devices: {all_s:.1f} s, {all_cpu_s:.1f} s of processor time")
    print(f"ratio of the times: {all_s / one_s:.2f}")
    print(f"processor time for each device and case more: {each_ms:.0f} ms")


if __name__ == "__main__":
    main()
