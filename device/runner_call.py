"""How a runner is called and how its end is judged: the same for a subprocess here and a shell over adb."""

from __future__ import annotations

import signal

from device.errors import DeviceError, OutOfMemory, RunnerCrashed, RunnerFailed
from device.records import Measurement, RunRequest
from device.thermal import ThermalZones
from device.wire import Transcript

#: The runner ends itself this long after the host would have given it up, should the host be gone.
DEADLINE_MARGIN_S = 10

MOST_ZONES = 256  # that the runner takes


#: What Debian's ONNX Runtime says a thousand times over while it starts, and nothing is wrong: each of ONNX's operators
#: is registered twice.
_HARMLESS = "Schema error: Trying to register schema"

#: A choice: of what a program says on stderr, whose last line is quoted.
MOST_STDERR_BYTES = 64 * 1024


class Tail:
    """Takes any number of bytes and keeps the last MOST_STDERR_BYTES."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def add(self, data: bytes) -> None:
        self._kept += data
        del self._kept[:-MOST_STDERR_BYTES]

    def kept(self) -> bytes:
        return bytes(self._kept)


def arguments(
    request: RunRequest, zones: ThermalZones, *, models: list[str], inputs: list[str], output_path: str
) -> list[str]:
    """The runner's command line (PROTOCOL.md, "Call") for files at these paths on the device, which has these zones."""
    watched = ",".join(f"{number}:{unit}" for number, unit in zones.watched[:MOST_ZONES])
    mask = [] if request.cpu_mask is None else ["--cpus", hex(request.cpu_mask)]
    return [
        *(part for model in models for part in ("--model", model)),
        *(
            part
            for path, tensor in zip(inputs, request.inputs, strict=True)
            for part in ("--input", path, "--type", tensor.type, "--shape", _shape(tensor.shape))
        ),
        *("--output", output_path),
        *("--provider", request.provider),
        *("--threads", str(request.threads)),
        *mask,
        *(["--zones", watched] if watched else []),
        *("--warmup", str(request.warmup)),
        *("--more-warmup", str(request.more_warmup)),
        *("--passes", str(request.passes)),
        *("--settle-ms", str(request.settle_ms)),
        *(["--repeatable"] if request.repeatable else []),
        *(["--counters"] if request.counters else []),
        *("--profile-passes", str(request.profile_passes)),
        *("--deadline-seconds", str(int(request.timeout_s) + DEADLINE_MARGIN_S)),
    ]


def _shape(sizes: tuple[int, ...]) -> str:
    return ",".join(map(str, sizes)) if sizes else "scalar"


def conclude(transcript: Transcript, exit_code: int, stderr: bytes, *, where: str) -> Measurement:
    """The measurement of a runner that has ended with `exit_code` (128 + n: killed by signal n).

    Raises RunnerCrashed when it did not end as it should, OutOfMemory when it was killed, WireError when its output
    stops short.
    """
    if exit_code != 0:
        said = [line for line in stderr.decode(errors="replace").splitlines() if line.strip() and _HARMLESS not in line]
        last = said[-1:] or ["nothing on stderr"]
        kind = OutOfMemory if exit_code == 128 + signal.SIGKILL else RunnerCrashed
        raise kind(f"{where}: the runner ended with {_ending(exit_code)} ({last[0][:300]})")
    return transcript.measurement()


def as_full_disk(error: BaseException, full: type[DeviceError]) -> BaseException:
    """The error, or `full` when it says that the output could not be written for want of room where the runner is."""
    if isinstance(error, RunnerFailed) and error.status == "unwritable" and "space" in str(error).lower():
        return full(str(error))
    return error


def _ending(exit_code: int) -> str:
    try:
        name = signal.Signals(exit_code - 128).name
    except ValueError:
        return f"exit status {exit_code}"
    hint = "; out of memory is the usual reason, see `dmesg`" if name == "SIGKILL" else ""
    return f"signal {name}{hint}"
