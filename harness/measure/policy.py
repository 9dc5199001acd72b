"""What the harness does when a case fails: one table, by the status that its record has.

What the statuses mean is in device/statuses.py; docs/faults.md shows both.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from device.statuses import STATUSES
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
    """What follows from a status.

    With `reconnect` the device is waited for first (--reconnect-timeout); when it does not come back, it is given up.
    """

    status: str
    then: Then = Then.SKIP
    reconnect: bool = False

    @property
    def meaning(self) -> str:
        return STATUSES[self.status].meaning

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


#: What follows from all other statuses is that the run goes on with the next case.
_EXCEPTIONS = {
    rule.status: rule
    for rule in (
        Rule("device_lost", Then.AGAIN, reconnect=True),
        Rule("offline", Then.AGAIN, reconnect=True),
        Rule("no_answer", Then.AGAIN, reconnect=True),
        Rule("server_gone", Then.AGAIN, reconnect=True),
        Rule("worker_lost", Then.AGAIN, reconnect=True),
        Rule("push_corrupted", Then.AGAIN),
        Rule("unauthorised", Then.GIVE_UP),
        Rule("device_unavailable", Then.GIVE_UP),
        Rule("device_busy", Then.GIVE_UP),
        Rule("host_disk_full", Then.STOP),
    )
}
RULES = {status: _EXCEPTIONS.get(status, Rule(status)) for status in STATUSES}


def rule_for(record: Record) -> Rule | None:
    """What follows after this record; None when it is of a case that ended well.

    A recording that is played back fails as it was recorded: there is nothing to be mended.
    """
    if record.status == "ok":
        return None
    if record.device.kind == "replay":
        return Rule(record.status)
    return RULES[record.status]


def table() -> str:
    """The rules as Markdown."""
    rows = [f"| `{rule.status}` | {rule.meaning} | {rule.sentence} |" for rule in RULES.values()]
    return "\n".join(["| status | meaning | what the harness does |", "|---|---|---|", *rows]) + "\n"
