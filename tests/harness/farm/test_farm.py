"""A farm: a real Dask scheduler and real workers on loopback, with this machine, phones and emulated boards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest
from commands import run
from distributed import KilledWorker
from fake_adb import FakeAdb, Faults, Phone, serving
from programs import HEARS_CTRL_C, PATIENCE_S

from export.artifact import Artifact, ExportError
from harness.analyse.slower import EXACT_FACTOR
from harness.farm import store
from harness.farm.client import WorkerLost
from harness.farm.device import FarmDevice
from harness.record import journal, plan
from harness.record.errors import EXIT_CASE_FAILED, EXIT_DEVICE_UNAVAILABLE, EXIT_OK, EXIT_USAGE
from harness.record.record import Record

BOARD = "board:cortex-a7"
TINY = ("--models", "clcnet-tiny", "--passes", "3")


class Server:
    """A scheduler or a worker in a process of its own; its first line says that it is up."""

    def __init__(self, *arguments: str, port: int | None = None, locks: Path | None = None) -> None:
        environment = os.environ | ({} if port is None else {"ANDROID_ADB_SERVER_PORT": str(port)})
        environment |= {} if locks is None else {"TENPASS_LOCKS": str(locks)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness", "farm", *arguments], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            assert self.process.stdout is not None
            self.process.stdout.close()


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Its address."""
    server = Server("scheduler", "--port", "0")
    yield server.said.removeprefix("scheduler: ")
    server.end()


Workers = Callable[..., Server]


@pytest.fixture
def workers(scheduler: str) -> Iterator[Workers]:
    """Starts workers of this scheduler, by name; they are ended after the test."""
    with contextlib.ExitStack() as started:

        def start(name: str, *arguments: str, port: int | None = None, locks: Path | None = None) -> Server:
            server = Server("worker", "--scheduler", scheduler, "--name", name, *arguments, port=port, locks=locks)
            started.callback(server.end)
            return server

        yield start


@pytest.fixture
def adb(tmp_path: Path) -> Iterator[FakeAdb]:
    """An adb server with two phones."""
    phones = ("FIRST", "SECOND")
    for serial in phones:
        (tmp_path / "devices" / serial).mkdir(parents=True)
    with serving(tmp_path / "devices", dict.fromkeys(phones, "device"), apart=True) as fake:
        yield fake


def told(folder: Path) -> list[tuple[str, int, str]]:
    """Each record as it was written: device, attempt, status."""
    lines = [json.loads(line) for line in (folder / journal.FILE_NAME).read_text().splitlines()]
    return [(one["device"]["serial"], one["attempt"], one["status"]) for one in lines]


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_records_of_a_farm_are_stored_as_if_its_devices_hung_here(
    scheduler: str, workers: Workers, adb: FakeAdb, tmp_path: Path
) -> None:
    assert workers("one", "--device", "host").said == "worker one: host"
    assert workers("two", port=adb.port).said == "worker two: FIRST, SECOND"  # all that are attached there
    listed = run("--scheduler", scheduler, "--list-devices").stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["FIRST", "SECOND", "host"]
    out = tmp_path / "run"
    result = run("--scheduler", scheduler, "--device", "all", *TINY, "--rounds", "2", "--out", str(out))
    assert result.exit_code == EXIT_OK, result.stderr
    records = journal.read(out)
    assert sorted((one.device.serial, one.round) for one in records) == [
        (serial, round_) for serial in ("FIRST", "SECOND", "host") for round_ in (0, 1)
    ]
    local = tmp_path / "local"
    run("--device", "host", *TINY, "--out", str(local))
    here, there = journal.read(local)[0], next(one for one in records if one.device.serial == "host")
    assert (there.artifact, there.bundle, there.device) == (here.artifact, here.bundle, here.device)
    assert set(plan.read(out).device_infos) == {"FIRST", "SECOND", "host"}


@pytest.mark.board
@pytest.mark.parametrize(
    "boards",
    [("board:bcm2837b0",), pytest.param(("board:mt6580", "board:bcm2837b0"), marks=pytest.mark.long)],
    ids=["one kind", "two kinds"],
)
def test_boards_on_two_workers_give_the_records_that_they_give_one_after_the_other(
    scheduler: str, workers: Workers, tmp_path: Path, boards: tuple[str, ...]
) -> None:
    for name in ("one", "two"):
        workers(name, *(word for board in boards for word in ("--device", board)))
    at_once = tmp_path / "at-once"
    result = run("--scheduler", scheduler, "--device", "all", *TINY, "--out", str(at_once))
    assert result.exit_code == EXIT_OK, result.stderr
    found = {record.device.serial: record for record in journal.read(at_once)}
    assert set(found) == {f"{board}@{name}" for board in boards for name in ("one", "two")}
    for board in boards:
        folder = tmp_path / board.replace(":", "-")
        assert run("--device", board, "--boards", "1", *TINY, "--out", str(folder)).exit_code == EXIT_OK
        (alone,) = journal.read(folder)
        for name in ("one", "two"):
            _require_same(alone, found[f"{board}@{name}"])


def _require_same(alone: Record, on_the_farm: Record) -> None:
    assert (on_the_farm.id, on_the_farm.status, on_the_farm.artifact, on_the_farm.bundle, on_the_farm.check) == (
        (alone.id, alone.status, alone.artifact, alone.bundle, alone.check)
    )
    medians_ns = []
    for one in (alone, on_the_farm):
        assert one.measurement is not None
        medians_ns.append(median(sample.ns for sample in one.measurement.samples))
    assert max(medians_ns) < EXACT_FACTOR * min(medians_ns)


def test_devices_of_one_name_are_told_apart_by_their_workers(scheduler: str, workers: Workers, tmp_path: Path) -> None:
    workers("one", "--device", "host")
    workers("two", "--device", "host")
    out = tmp_path / "run"
    result = run("--scheduler", scheduler, "--device", "host@two", *TINY, "--out", str(out))
    assert result.exit_code == EXIT_OK, result.stderr
    assert told(out) == [("host@two", 1, "ok")]
    result = run("--scheduler", scheduler, *TINY)
    assert result.exit_code == EXIT_USAGE
    assert "host@one, host@two" in result.stderr
    result = run("--scheduler", scheduler, "--device", "host@three", *TINY)
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    assert "no device 'host@three'" in result.stderr


def test_a_phone_that_two_workers_announce_is_measured_once_and_by_one_run(
    scheduler: str, workers: Workers, tmp_path: Path
) -> None:
    """The workers have locks of their own, as on two hosts, and each its own adb server."""
    phone = Phone(boot_id="the same", properties={"ro.serialno": "R58M"})
    names = ("R58M", "192.168.1.7:5555")
    with contextlib.ExitStack() as servers:
        fakes = []
        for name in names:
            (tmp_path / name).mkdir()
            fakes.append(servers.enter_context(serving(tmp_path / name, {name: "device"}, phones={name: phone})))
            locks = tmp_path / f"locks-{name}"
            locks.mkdir(mode=0o700)
            workers(f"has {name}", port=fakes[-1].port, locks=locks)
        out = tmp_path / "run"
        result = run("--scheduler", scheduler, "--device", "all", *TINY, "--out", str(out))
        assert result.exit_code == EXIT_OK, result.stderr
        assert told(out) == [("R58M", 1, "ok")]
        assert "192.168.1.7:5555 is the same device as R58M" in result.stderr
        twice = run("--scheduler", scheduler, "--device", names[0], "--device", names[1], *TINY)
        assert twice.exit_code == EXIT_USAGE
        assert "are the same device" in twice.stderr
        fakes[0].faults = HANGS
        with _running("--scheduler", scheduler, "--device", names[0], *TINY, "--out", str(tmp_path / "first")):
            until(lambda: started(fakes[0], 2))
            result = run("--scheduler", scheduler, "--device", names[1], *TINY, "--out", str(tmp_path / "refused"))
            assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
            assert "another worker of the farm has it" in result.stderr


# --- what is lost


HANGS = Faults(instead_of_the_runner="while :; do sleep 0.1; done")


def started(adb: FakeAdb, count: int = 1) -> bool:
    return sum("--passes" in command for command in adb.commands) >= count


@pytest.mark.parametrize("lose", [Server.kill, Server.end], ids=["killed", "ended"])
def test_the_case_of_a_lost_worker_is_taken_again_once_a_worker_has_the_device(
    scheduler: str, workers: Workers, adb: FakeAdb, tmp_path: Path, lose: Callable[[Server], None]
) -> None:
    first = workers("one", "--device", "FIRST", port=adb.port)
    out = tmp_path / "run"
    adb.faults = HANGS
    with _running("--scheduler", scheduler, "--device", "FIRST", *TINY, "--out", str(out)) as process:
        until(lambda: started(adb))
        lose(first)
        adb.faults = Faults()
        workers("one", "--device", "FIRST", port=adb.port)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == EXIT_OK, said
    assert "worker one is gone" in said
    assert told(out) == [("FIRST", 1, "worker_lost"), ("FIRST", 2, "ok")]


def test_a_worker_that_stays_away_is_given_up_and_holds_up_no_other(
    scheduler: str, workers: Workers, adb: FakeAdb, tmp_path: Path
) -> None:
    first = workers("one", "--device", "FIRST", port=adb.port)
    workers("two", "--device", "host")
    out = tmp_path / "run"
    adb.faults = HANGS
    options = ["--scheduler", scheduler, "--device", "all", *TINY, "--reconnect-timeout", "2", "--out", str(out)]
    with _running(*options) as process:
        until(lambda: started(adb))
        first.kill()
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == EXIT_CASE_FAILED
    assert "FIRST: no worker of the farm has it" in said
    assert sorted(told(out)) == [("FIRST", 1, "worker_lost"), ("host", 1, "ok")]

    adb.faults = Faults()
    workers("one", "--device", "FIRST", port=adb.port)
    result = run("--resume", str(out), "--scheduler", scheduler)
    assert result.exit_code == EXIT_OK, result.stderr
    assert sorted(told(out))[-1] == ("host", 1, "ok")
    assert {(one.device.serial, one.status) for one in journal.read(out)} == {("FIRST", "ok"), ("host", "ok")}


def test_a_device_that_a_worker_loses_follows_the_same_policy_as_here(
    scheduler: str, workers: Workers, adb: FakeAdb, tmp_path: Path
) -> None:
    workers("one", port=adb.port)
    adb.faults = Faults(cut_after_passes=0, cuts=1)
    out = tmp_path / "run"
    result = run("--scheduler", scheduler, "--device", "FIRST", *TINY, "--out", str(out))
    assert result.exit_code == EXIT_OK, result.stderr
    assert told(out) == [("FIRST", 1, "device_lost"), ("FIRST", 2, "ok")]


def test_ctrl_c_ends_the_session_on_the_worker_and_frees_the_device(
    scheduler: str, workers: Workers, adb: FakeAdb, tmp_path: Path
) -> None:
    workers("one", "--device", "FIRST", port=adb.port)
    adb.faults = HANGS
    with _running("--scheduler", scheduler, "--device", "FIRST", *TINY, "--out", str(tmp_path / "cut")) as process:
        until(lambda: started(adb))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == EXIT_CASE_FAILED
    adb.faults = Faults()
    out = tmp_path / "run"
    assert run("--scheduler", scheduler, "--device", "FIRST", *TINY, "--out", str(out)).exit_code == EXIT_OK


def test_a_device_is_one_run_s_alone_and_free_again_soon_when_that_is_killed(
    scheduler: str, workers: Workers, adb: FakeAdb, tmp_path: Path
) -> None:
    workers("one", "--device", "FIRST", port=adb.port)
    adb.faults = HANGS
    options = ["--scheduler", scheduler, "--device", "FIRST", *TINY]
    with _running(*options, "--out", str(tmp_path / "killed")) as process:
        until(lambda: started(adb))
        result = run(*options, "--out", str(tmp_path / "refused"))
        assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
        assert "another run has it" in result.stderr
        process.kill()
    adb.faults = Faults()
    out = tmp_path / "run"
    result = run(*options, "--wait", str(int(PATIENCE_S)), "--out", str(out))
    assert result.exit_code == EXIT_OK, result.stderr
    assert told(out) == [("FIRST", 1, "ok")]


@pytest.mark.board
@pytest.mark.timeout(600)
def test_a_board_that_boots_for_a_run_that_is_killed_goes_away_again(
    scheduler: str, workers: Workers, tmp_path: Path
) -> None:
    worker = workers("one", "--device", BOARD)
    with _running("--scheduler", scheduler, *TINY, "--out", str(tmp_path / "killed")) as process:
        until(lambda: _boards_of(worker) > 0)
        process.kill()
    until(lambda: _boards_of(worker) == 0)


def _boards_of(worker: Server) -> int:
    children = psutil.Process(worker.process.pid).children(recursive=True)
    return sum(child.name().startswith("qemu-system") for child in children)


def test_a_worker_of_other_code_is_refused(
    scheduler: str, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers("one", "--device", "host")
    monkeypatch.setattr("harness.farm.worker.sources_sha256", lambda: "other")
    result = run("--scheduler", scheduler, "--device", "host", *TINY, "--out", str(tmp_path / "run"))
    assert result.exit_code == EXIT_USAGE
    assert "worker one has other code than this run" in result.stderr


def test_a_network_that_arrives_damaged_is_not_kept(
    tmp_path: Path, tiny: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    files = {path.name: path.read_bytes() for path in tiny.folder.iterdir()}
    for file in files:
        with pytest.raises(ExportError):
            store.put(store.name_of(tiny), files | {file: b"damaged"})
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_is_damaged_where_it_is_kept_is_removed_and_sent_anew(
    tmp_path: Path, tiny: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    name = store.name_of(tiny)
    store.put(name, {path.name: path.read_bytes() for path in tiny.folder.iterdir()})
    assert not store.lacks(name)
    assert replace(store.get(name), folder=tiny.folder) == tiny
    (tmp_path / name / tiny.model_files[0].name).write_bytes(b"damaged")
    with pytest.raises(ExportError, match="removed it"):
        store.get(name)
    assert store.lacks(name)


@contextlib.contextmanager
def _running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [*HEARS_CTRL_C, sys.executable, "-m", "harness.run", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


# --- how it is reached


def test_nothing_listens_beyond_loopback_unless_asked(scheduler: str, workers: Workers) -> None:
    worker = workers("one", "--device", "host")
    mine = [worker.process.pid, *(one.pid for one in psutil.Process().children())]
    addresses = {
        found.laddr.ip
        for pid in mine
        for found in psutil.Process(pid).net_connections()
        if found.status == psutil.CONN_LISTEN
    }
    assert addresses <= {"127.0.0.1", "::1"}
    assert addresses


def test_a_farm_with_tls_is_reached_with_its_certificates_alone(tmp_path: Path) -> None:
    files = _certificate(tmp_path)
    secure = [word for name, path in files.items() for word in (name, str(path))]
    scheduler = Server("scheduler", "--port", "0", *secure)
    address = scheduler.said.removeprefix("scheduler: ")
    try:
        assert address.startswith("tls://")
        worker = Server("worker", "--scheduler", address, "--device", "host", "--name", "one", *secure)
        try:
            assert "host" in run("--scheduler", address, *secure, "--list-devices").stdout
            out = tmp_path / "run"
            assert (
                run("--scheduler", address, *secure, "--device", "host", *TINY, "--out", str(out)).exit_code == EXIT_OK
            )
            with _running("--scheduler", address.replace("tls", "tcp"), "--list-devices") as without:
                assert without.wait(PATIENCE_S) == EXIT_DEVICE_UNAVAILABLE
        finally:
            worker.end()
    finally:
        scheduler.end()
    result = run("--scheduler", address, *secure[:2], "--list-devices")
    assert result.exit_code == EXIT_USAGE
    assert "TLS needs all of" in result.stderr


def _certificate(folder: Path) -> dict[str, Path]:
    """The options of a certificate that is its own authority."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tenpass"]
    argv += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(argv, check=True, capture_output=True)
    return {"--tls-ca-file": certificate, "--tls-cert": certificate, "--tls-key": key}


def test_a_scheduler_that_is_not_there_is_told_in_one_line() -> None:
    result = run("--scheduler", "tcp://127.0.0.1:1", "--list-devices")
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    assert result.stderr.count("\n") == 1
    assert "no scheduler of a farm at tcp://127.0.0.1:1" in result.stderr


def test_a_farm_without_dask_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = run("--scheduler", "tcp://127.0.0.1:1", "--list-devices")
    assert result.exit_code == EXIT_USAGE
    assert "tenpass[farm]" in result.stderr


def test_a_task_that_fails_just_as_the_wait_for_it_ends_is_that_of_a_lost_worker() -> None:
    class Task:
        key, status = "measure", "pending"

        def done(self) -> bool:
            return self.status == "error"

        def result(self, _timeout_s: float) -> None:
            if not self.done():
                self.status = "error"
                raise TimeoutError
            raise KilledWorker("measure", cast(Any, None), 0)

    place = SimpleNamespace(worker="tcp://127.0.0.1:1")
    device: Any = SimpleNamespace(place=place, _stages={}, farm=SimpleNamespace(places=[place]))
    with pytest.raises(WorkerLost, match="is gone"):
        FarmDevice._result(device, cast(Any, Task()), None)
