"""An emulated board is one device, whether it is reached over adb or over ssh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from device.adb.device import AdbDevice
from device.board import lifecycle
from device.board.lifecycle import Board
from device.errors import DeviceBusy, DeviceNotChosen
from device.open import choose
from device.records import RunRequest
from device.ssh.address import Address
from device.ssh.device import SshDevice
from export.artifact import Artifact
from harness.measure.case import BOARD_SETTLE_MS

pytestmark = [pytest.mark.board, pytest.mark.long]

REPEATS = 5e-5  # of a median: single passes have an interrupt of the kernel's in them now and then


@pytest.fixture(scope="module", params=["cortex-a53", "cortex-a7"])
def board(request: pytest.FixtureRequest) -> Iterator[Board]:
    with lifecycle.boot(request.param) as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENPASS_SSH_CONFIG", str(one.ssh.config))
        patch.setenv("ANDROID_ADB_SERVER_PORT", f"{one.adb_server.port}")
        yield one


@pytest.fixture
def over_ssh(board: Board) -> Iterator[SshDevice]:
    device = SshDevice(Address(board.ssh.host), name=f"ssh:{board.ssh.host}")
    yield device
    device.close()


@pytest.fixture
def over_adb(board: Board) -> Iterator[AdbDevice]:
    device = AdbDevice(board.serial, server=board.adb_server)
    yield device
    device.close()


def test_figures_and_outputs_are_the_same_and_nothing_is_pushed_twice(
    over_ssh: SshDevice,
    over_adb: AdbDevice,
    board: Board,
    tiny: Artifact,
    request_for: Callable[..., RunRequest],
    tmp_path: Path,
) -> None:
    over_adb.clean()
    request = replace(
        request_for(tiny, board.definition.abi, passes=5, warmup=3), repeatable=True, settle_ms=BOARD_SETTLE_MS
    )
    results = []
    for number, device in enumerate((over_ssh, over_adb, over_ssh)):
        pushed_bytes = device.push(request, lambda _: None)
        assert (pushed_bytes > 0) == (number == 0)
        measured = device.run(replace(request, output_path=tmp_path / f"{number}"), lambda _: None)
        results.append((median(one.ns for one in measured.samples), (tmp_path / f"{number}").read_bytes()))
    for median_ns, output in results[1:]:
        assert median_ns == pytest.approx(results[0][0], rel=REPEATS)
        assert output == results[0][1]


def test_it_is_one_device_and_says_that_its_time_is_modelled(
    over_ssh: SshDevice, over_adb: AdbDevice, board: Board
) -> None:
    assert (over_ssh.info.kind, over_ssh.info.clock) == ("board", "instructions")
    assert over_ssh.info.is_same_as(replace(over_adb.info, serial=over_ssh.info.serial))
    assert over_ssh.root == over_adb.root
    with pytest.raises(DeviceNotChosen, match="are the same device"):
        choose([f"ssh:{board.ssh.host}", board.serial], board.adb_server)
    over_adb.reserve()
    with pytest.raises(DeviceBusy):
        over_ssh.reserve()


def test_a_user_who_is_not_root_has_a_folder_of_its_own(
    board: Board, tiny: Artifact, request_for: Callable[..., RunRequest]
) -> None:
    device = SshDevice(Address(board.ssh.host, "shell"), name="ssh:shell@board")
    try:
        request = request_for(tiny, board.definition.abi, passes=1)
        assert device.push(request, lambda _: None) > 0
        assert len(device.run(request, lambda _: None).samples) == 1
        device.clean()
    finally:
        device.close()
