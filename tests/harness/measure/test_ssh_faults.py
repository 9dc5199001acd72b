"""What goes wrong with a device over ssh while it is measured on: a real sshd, and a cable that is cut."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from real_sshd import NAME, Sshd
from test_faults import MACHINE_ABI, PATIENT, ignore, measured, told

from device import wire
from device.errors import RunTimedOut
from device.records import RunRequest
from device.ssh.address import Address
from device.ssh.device import SshDevice
from export.artifact import Artifact
from harness.measure.networks import ExportedNetwork
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK
from harness.run import main


@pytest.fixture
def board(sshd: Sshd) -> Iterator[SshDevice]:
    device = SshDevice(Address(NAME), name=f"ssh:{NAME}", timeouts=PATIENT)
    device.take_over()
    yield device
    device.close()


def left(sshd: Sshd) -> list[str]:
    """What lies on the device besides sets of files that are whole, and what of ours still runs there."""
    root = sshd.home / ".cache/tenpass"
    running = [link for link in Path("/proc").glob("[0-9]*/exe") if os.path.realpath(link).startswith(str(root))]
    return [path.name for path in root.iterdir() if len(path.name) != 64] + [str(link) for link in running]


def test_a_network_is_measured_over_ssh_and_nothing_is_pushed_twice(
    sshd: Sshd, board: SshDevice, tiny: Artifact
) -> None:
    first = measured(board, ExportedNetwork(tiny))
    assert told(first) == [(0, 1, "ok"), (1, 1, "ok")]
    assert (first[0].device.kind, first[0].device.clock, first[0].device.serial) == ("linux", "wall", "ssh:board")
    assert not left(sshd)
    again = SshDevice(Address(NAME), name=f"ssh:{NAME}", timeouts=PATIENT)
    assert [record.pushed_bytes for record in measured(again, ExportedNetwork(tiny))] == [0, 0]


def test_a_connection_that_breaks_in_the_passes_is_made_anew_and_the_case_taken_again(
    sshd: Sshd, board: SshDevice, tiny: Artifact
) -> None:
    cuts = [1]

    def cut_once(event: wire.Event) -> None:
        if isinstance(event, wire.PassEnded) and cuts:
            cuts.clear()
            sshd.cable.cut()
            sshd.cable.mend()

    records = measured(board, ExportedNetwork(tiny), on_event=cut_once)
    assert told(records) == [(0, 1, "device_lost"), (0, 2, "ok"), (1, 1, "ok")]
    assert "the connection broke" in (records[0].error or "")
    assert not left(sshd)


def test_a_connection_that_breaks_in_a_push_is_made_anew_and_nothing_half_stays(
    sshd: Sshd, board: SshDevice, tiny: Artifact
) -> None:
    board.clean()
    sshd.cable.cut_after_bytes = 1_000_000
    records = measured(board, ExportedNetwork(tiny))
    assert told(records) == [(0, 1, "device_lost"), (0, 2, "ok"), (1, 1, "ok")]
    assert not left(sshd)


def test_a_runner_that_takes_too_long_is_ended_there(
    sshd: Sshd, board: SshDevice, tiny: Artifact, request_for: Callable[..., RunRequest]
) -> None:
    request = request_for(tiny, MACHINE_ABI, passes=1_000_000, timeout_s=1)
    board.push(request, ignore)
    with pytest.raises(RunTimedOut, match="did not end within 1 s"):
        board.run(request, ignore)
    assert not left(sshd)


@pytest.mark.long
def test_a_run_over_ssh_that_lost_its_device_is_whole_after_resume(sshd: Sshd, tmp_path: Path) -> None:
    shutil.rmtree(sshd.home / ".cache", ignore_errors=True)
    sshd.cable.cut_after_bytes = 1_000_000  # in the first push
    out = tmp_path / "run"
    options = ["--models", "clcnet-tiny", "--passes", "2", "--out", str(out), "--reconnect-timeout", "0.01"]
    lost = CliRunner().invoke(main, ["--device", f"ssh:{NAME}", *options])
    assert lost.exit_code == EXIT_CASE_FAILED, lost.output
    assert "--resume takes what is left" in lost.stderr
    sshd.cable.mend()
    whole = CliRunner().invoke(main, ["--resume", str(out)])
    assert whole.exit_code == EXIT_OK, whole.output
