"""How a case can fail: each status that a record can have besides "ok", in one table.

From it come what the wire's parser admits, the list in runner/PROTOCOL.md, the policy (harness/measure/policy.py) and
docs/faults.md. Whoever raises an error names its status: a class of errors, or a runner on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Raiser = Literal["device", "runner", "harness"]


@dataclass(frozen=True)
class Status:
    """What a status means, and who says so: this package, a runner on the device, or what is above this package.

    `exit_status` is that of a runner's process which ends so; None for what no runner says.
    """

    name: str
    meaning: str
    raised_by: tuple[Raiser, ...] = ("device",)
    exit_status: int | None = None


STATUSES = {
    one.name: one
    for one in (
        Status("device_lost", "the device is no longer there, or the connection broke"),
        Status("offline", "the adb server sees the device and cannot talk to it"),
        Status("no_answer", "the device is there and does not answer in time"),
        Status("server_gone", "the adb server is not there"),
        Status("worker_lost", "the farm's worker that has the device is gone, or says nothing", ("harness",)),
        Status("push_corrupted", "a file did not arrive as it left; it has been removed"),
        Status("push_failed", "a file could not be put on the device"),
        Status("no_space", "the device has no room, not even after what is not used was removed"),
        Status("out_of_memory", "the runner was killed with SIGKILL, as a kernel without memory does"),
        Status("crashed", "the runner ended by a signal, which is named, or with an exit status of its own"),
        Status("timed_out", "the runner hung, or took longer than --timeout; it has been ended"),
        Status("wire_broken", "what the runner said breaks the protocol; none of it is used"),
        Status("counts_wrong", "the emulator's counts do not fit the passes"),
        Status("output_wrong", "the output is not the reference's", ("harness",)),
        Status("bad_conditions", "--strict, and the conditions were bad", ("harness",)),
        Status("export_failed", "the network could not be exported", ("harness",)),
        Status("no_bundle", "there is no runner for the device's ABI and this runtime"),
        Status("not_recorded", "the recording that is played back has no such case", ("harness",)),
        Status("device_error", "something else failed on the device"),
        Status("usage", "an option is unknown, or its value out of range", ("runner", "device"), 2),
        Status("unreadable", "a file cannot be opened or read", ("runner",), 10),
        Status("bad_model", "the runtime refuses the model", ("runner", "device"), 11),
        Status("bad_input", "an input does not fit its type and shape, or these not the model", ("runner",), 12),
        Status("run_failed", "the runtime failed during a pass", ("runner",), 13),
        Status("unwritable", "the output cannot be written (no space, for instance)", ("runner",), 14),
        Status("affinity", "the CPUs that were asked for cannot be had", ("runner", "device"), 15),
        Status("runtime_missing", "the runtime's library cannot be loaded", ("runner",), 16),
        Status("no_provider", "the runtime's library lacks the execution provider", ("runner",), 17),
        Status("unauthorised", "the device does not trust this machine (any more)"),
        Status("device_unavailable", "the device cannot be had"),
        Status("device_busy", "another run has the device"),
        Status("host_disk_full", "this machine has no room for what came from the device"),
    )
}

#: What a runner can say of itself -> the exit status of its process.
EXIT_STATUSES = {one.name: one.exit_status for one in STATUSES.values() if one.exit_status is not None}


def protocol_table() -> str:
    """A runner's own failures as Markdown, for PROTOCOL.md."""
    rows = [f"| `{name}` | {status} | {STATUSES[name].meaning} |" for name, status in EXIT_STATUSES.items()]
    return "\n".join(["| status | exit | meaning |", "|---|---|---|", *rows]) + "\n"
