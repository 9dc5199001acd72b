"""What crosses between a run and a farm's worker: an order to take a device's turns, and what comes back of it.

An order travels pickled, as all of Dask's tasks do. What comes back are small messages, in their order, as events of
the scheduler's under a topic that is the order's id: each is a list of its kind and its content.

    begun, None                     the session has its thread; what follows is the session's
    alive, None                     each few seconds: a worker that says nothing is lost
    met, DeviceInfo as JSON
    turn, [round, case id]          the turn that is taken now
    record, Record as JSON
    say, words
    stage, [number, description, total]; advance, [number, steps]; detail, [number, text]; over, number
    ended, [exit code, words]       the last; code 0 and no words: all is well
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from export.artifact import Artifact
from harness.measure.prepare import Files
from harness.record.plan import CaseRound, Plan
from toolchain.paths import REPOSITORY

#: Before a device's name, among a worker's resources: there is one of each.
RESOURCE = "tenpass-device:"

#: A worker says so often that it is alive, and is given up after so long a silence. Choices.
ALIVE_EVERY_S = 5.0
SILENT_S = 30.0

#: A run renews its sessions so often; one that was not renewed for so long ends itself, and frees its device. Choices.
RENEW_EVERY_S = 10.0
LEASE_S = 60.0

#: Folders whose sources must be the same on both sides.
_SOURCES = ("models", "export", "device", "harness", "toolchain")

Message = list[Any]


@dataclass(frozen=True)
class Order:
    """A session for a worker: the turns that the device `name` is to take, which the worker knows as `local_name`.

    `networks` has an artifact for each case's files, whose bytes were sent before by their sha256, or the words of why
    there is none. `wait_s` is how long another run on the worker's machine is waited for; `sources` is what the
    worker's own must be.
    """

    id: str
    plan: Plan
    name: str
    local_name: str
    turns: tuple[CaseRound, ...]
    networks: dict[Files, Artifact | str]
    wait_s: float
    sources: str


@cache
def sources_sha256() -> str:
    """Of this checkout's code: a record must not depend on which worker made it."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in _SOURCES for path in (REPOSITORY / folder).rglob("*.py")):
        digest.update(f"{path.relative_to(REPOSITORY)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
