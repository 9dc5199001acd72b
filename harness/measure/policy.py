"""What the harness does when a case fails: one table, by the status that its record has. docs/faults.md shows it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.record.record import Record

#: A choice: what has failed three times in a row is no accident.
MAX_ATTEMPTS = 3


class Then(StrEnum):
    """How the run goes on after a failed case."""

    AGAIN = "take the case again"
    SKIP = "go on with the next case"
    GIVE_UP = "give up the device"
    STOP = "end the run"


@dataclass(frozen=True)
class Rule:
    """What a status means, and what follows.

    With `reconnect` the device is waited for first (--reconnect-timeout); when it does not come back, it is given up.
    """

    status: str
    meaning: str
    then: Then
    reconnect: bool = False

    @property
    def sentence(self) -> str:
        """What is done, in words."""
        again = f"takes the case again, {MAX_ATTEMPTS} attempts in all, then goes on with the next one"
        if self.reconnect:
            return f"reconnects, within --reconnect-timeout, and {again}; gives the device up when it stays away"
        return {
            Then.AGAIN: again,
            Then.SKIP: "records the failure and goes on with the next case",
            Then.GIVE_UP: "gives the device up: its other cases stay unmeasured, for --resume",
            Then.STOP: "ends the run: what is not measured stays so, for --resume",
        }[self.then]


_LOST = (
    ("device_lost", "the device is no longer there, or the connection broke"),
    ("offline", "the adb server sees the device and cannot talk to it"),
    ("no_answer", "the device is there and does not answer in time"),
    ("server_gone", "the adb server is not there"),
    ("worker_lost", "the farm's worker that has the device is gone, or says nothing"),
)
_SKIPPED = (
    ("push_failed", "a file could not be put on the device"),
    ("no_space", "the device has no room, not even after what is not used was removed"),
    ("out_of_memory", "the runner was killed with SIGKILL, as a kernel without memory does"),
    ("crashed", "the runner ended by a signal, which is named, or with an exit status of its own"),
    ("timed_out", "the runner hung, or took longer than --timeout; it has been ended"),
    ("wire_broken", "what the runner said breaks the protocol; none of it is used"),
    ("counts_wrong", "the emulator's counts do not fit the passes"),
    ("output_wrong", "the output is not what PyTorch computed"),
    ("bad_conditions", "--strict, and the conditions were bad"),
    ("export_failed", "the network could not be exported"),
    ("no_bundle", "there is no runner for the device's ABI and this runtime"),
    ("not_recorded", "the recording that is played back has no such case"),
    ("device_error", "something else failed on the device"),
    ("usage", "the runner refuses an option"),
    ("unreadable", "the runner cannot read a file"),
    ("bad_model", "the runtime refuses the model"),
    ("bad_input", "the input does not fit the model"),
    ("run_failed", "the runtime failed during a pass"),
    ("unwritable", "the runner cannot write the output"),
    ("affinity", "the CPUs that were asked for cannot be had"),
    ("runtime_missing", "the runner cannot load the runtime's library"),
    ("no_provider", "the runtime's library lacks the execution provider that was asked for"),
)

RULES = {
    rule.status: rule
    for rule in (
        *(Rule(status, meaning, Then.AGAIN, reconnect=True) for status, meaning in _LOST),
        Rule("push_corrupted", "a file did not arrive as it left; it has been removed", Then.AGAIN),
        *(Rule(status, meaning, Then.SKIP) for status, meaning in _SKIPPED),
        Rule("unauthorised", "the device does not trust this machine (any more)", Then.GIVE_UP),
        Rule("device_unavailable", "the device cannot be had", Then.GIVE_UP),
        Rule("device_busy", "another run has the device", Then.GIVE_UP),
        Rule("host_disk_full", "this machine has no room for what came from the device", Then.STOP),
    )
}


def rule_for(record: Record) -> Rule | None:
    """What follows after this record; None when it is of a case that ended well.

    A recording that is played back fails as it was recorded: there is nothing to be mended.
    """
    if record.status == "ok":
        return None
    if record.device.kind == "replay":
        return Rule(record.status, "as recorded", Then.SKIP)
    return RULES[record.status]


def is_over(record: Record) -> bool:
    """Whether the record's turn is not taken again."""
    rule = rule_for(record)
    return rule is None or rule.then is not Then.AGAIN or record.attempt >= MAX_ATTEMPTS


def table() -> str:
    """The rules as Markdown."""
    rows = [f"| `{rule.status}` | {rule.meaning} | {rule.sentence} |" for rule in RULES.values()]
    return "\n".join(["| status | meaning | what the harness does |", "|---|---|---|", *rows]) + "\n"
