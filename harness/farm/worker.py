"""The worker's side of a farm: sessions on the devices of its host, each in a thread of the Dask worker's.

The functions `lacking`, `put`, `renew` and `end` are called from runs, through the scheduler.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copyfile
from tempfile import NamedTemporaryFile, TemporaryDirectory

from device.adb.server import Server
from device.records import DeviceInfo
from export.artifact import Artifact, ExportError
from harness.farm.orders import ALIVE_EVERY_S, LEASE_S, Order, sources_sha256
from harness.measure import sessions
from harness.measure.networks import Bundles, Subject
from harness.measure.prepare import Files, Networks, networks_of
from harness.measure.stop import Stop
from harness.record import plan as plans
from harness.record.errors import EXIT_OK, EXIT_USAGE, EXPECTED, exit_code
from harness.record.plan import Turn
from harness.record.record import Record, record_adapter
from toolchain.files import file_sha256
from toolchain.paths import BUILD

#: Files that runs have sent, by their sha256.
STORE = BUILD / "farm"

_KEPT_S = 30 * 24 * 3600  # a choice: as long as files are kept on a device
_DETAIL_EVERY_S = 0.25  # a choice: nobody reads faster

#: The adb server of this worker's devices; None: this machine's.
adb_server: Server | None = None


@dataclass
class _Lease:
    """A session that goes on as long as somebody wants it."""

    stop: Stop = field(default_factory=Stop)
    renewed_s: float = field(default_factory=time.monotonic)


_leases: dict[str, _Lease] = {}


# --- what runs call -----------------------------------------------------------------------------------


def lacking(digests: Sequence[str]) -> list[str]:
    """Those of the files that are not here."""
    return [digest for digest in digests if not _stored(digest).is_file()]


def put(digest: str, content: bytes) -> None:
    """Keeps a file. Raises ValueError when it is not what it should be."""
    kept = _stored(digest)
    STORE.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=STORE, prefix=".", delete=False) as file:
        file.write(content)
    arrived = Path(file.name)
    if file_sha256(arrived) != digest:
        arrived.unlink()
        raise ValueError(f"a file arrived other than it left: sha256 {digest}")
    arrived.replace(kept)


def renew(ids: Sequence[str]) -> None:
    """Says that these sessions, where they are this worker's, are still wanted."""
    for id_ in ids:
        if lease := _leases.get(id_):
            lease.renewed_s = time.monotonic()


def end(id_: str) -> None:
    """Ends a session, if it is this worker's."""
    if lease := _leases.get(id_):
        # Closing a device takes a while, and this is called in the worker's event loop.
        threading.Thread(target=lease.stop.set, daemon=True).start()


def end_all() -> None:
    for lease in list(_leases.values()):
        lease.stop.set()


def _stored(digest: str) -> Path:
    if not (len(digest) == 64 and set(digest) <= set("0123456789abcdef")):  # noqa: PLR2004 -- it becomes a path
        raise ValueError(f"not a sha256: {digest[:80]!r}")
    return STORE / digest


# --- a session ----------------------------------------------------------------------------------------


def take(order: Order) -> None:
    """Takes the order's turns, as a task of the Dask worker's; all that comes of it goes out as messages."""
    from distributed import get_worker

    worker = get_worker()

    def send(kind: str, content: object = None) -> None:
        worker.log_event(order.id, [kind, content])

    send("begun")
    lease = _leases[order.id] = _Lease()
    keeper = threading.Thread(target=_keep_alive, args=(lease, send), daemon=True)
    keeper.start()
    code, words = EXIT_OK, ""
    try:
        if order.sources != sources_sha256():
            code, words = EXIT_USAGE, f"worker {worker.name} has other code than this run: update it, and start it anew"
        else:
            _take(order, send, lease.stop)
    except EXPECTED as error:
        code, words = exit_code(error), str(error)
    finally:
        del _leases[order.id]
        lease.stop.set()  # the keeper goes, too
        send("ended", [code, words])


def _take(order: Order, send: Callable[..., None], stop: Stop) -> None:
    def named(info: DeviceInfo) -> DeviceInfo:
        return replace(info, serial=order.name) if order.name != order.local_name else info

    def met(info: DeviceInfo) -> None:
        plans.require_same_device(order.plan, order.name, named(info))
        send("met", plans.device_adapter().dump_json(named(info)))

    def keep(record: Record) -> None:
        send("record", record_adapter().dump_json(replace(record, device=named(record.device))))

    # What the plan knows of devices has their names on the farm, and is compared in `met`.
    plan = replace(order.plan, devices=(order.local_name,), device_infos={})
    bundles = Bundles()
    with TemporaryDirectory(prefix="tenpass-") as folder:
        subject = _networks(order.networks, Path(folder), bundles)

        def announced(turn: Turn) -> Subject:
            send("turn", [turn.round, turn.case.id])
            return subject(turn)

        session = sessions.on(
            plan, order.local_name, order.turns, announced, bundles, wait_s=order.wait_s, server=adb_server
        )
        session(sessions.Listener(met, keep, _Watcher(send)), stop)


def _networks(sent: dict[Files, Artifact | str], folder: Path, bundles: Bundles) -> Networks:
    """The networks of an order, with their files in `folder`. Raises ExportError for a file that is damaged here."""
    here: dict[Files, Artifact | ExportError] = {}
    for number, (files, network) in enumerate(sent.items()):
        if isinstance(network, str):
            here[files] = ExportError(network)
            continue
        (folder / str(number)).mkdir()
        here[files] = replace(network, folder=folder / str(number))
        for file in network.files:
            path = folder / str(number) / file.name
            copyfile(_stored(file.sha256), path)
            if file_sha256(path) != file.sha256:
                _stored(file.sha256).unlink()
                raise ExportError(f"{file.name}: damaged in {STORE}, and removed; run again")
    return networks_of(here, bundles)


def _keep_alive(lease: _Lease, send: Callable[..., None]) -> None:
    while not lease.stop.wait(ALIVE_EVERY_S):
        send("alive")
        if time.monotonic() - lease.renewed_s > LEASE_S:
            lease.stop.set()


def sweep() -> None:
    """Removes files that nobody has sent for long, and what a killed worker left half written."""
    for path in STORE.glob("*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _KEPT_S:
                path.unlink()


class _Watcher:
    """Progress, as messages."""

    def __init__(self, send: Callable[..., None]) -> None:
        self._send, self._numbers = send, itertools.count()

    def say(self, words: str) -> None:
        self._send("say", words)

    @contextlib.contextmanager
    def stage(self, description: str, total: int | None = None) -> Iterator[_Stage]:
        number = next(self._numbers)
        self._send("stage", [number, description, total])
        try:
            yield _Stage(number, self._send)
        finally:
            self._send("over", number)


class _Stage:
    def __init__(self, number: int, send: Callable[..., None]) -> None:
        self._number, self._send, self._told_s = number, send, 0.0

    def advance(self, steps: int = 1) -> None:
        self._send("advance", [self._number, steps])

    def detail(self, text: str) -> None:
        if time.monotonic() - self._told_s >= _DETAIL_EVERY_S:
            self._told_s = time.monotonic()
            self._send("detail", [self._number, text])
