"""What a run writes down while it goes on: its plan with the devices it has met, and every record, as it comes."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from device.records import DeviceInfo
from harness.record import plan as plans
from harness.record.errors import UsageError
from harness.record.journal import Journal
from harness.record.plan import Plan
from harness.record.record import Record
from toolchain.paths import RESULTS


class RunFolder:
    """The folder of a run, empty until a device is met: until then there is nothing to go on with.

    `plan` has the devices met so far. Used from one thread. Raises UsageError when another run writes there.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self._folder = folder
        self._written: Plan | None = None
        self._journal: Journal | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def is_begun(self) -> bool:
        return self._journal is not None

    def met(self, device: str, info: DeviceInfo) -> None:
        """Takes up that the plan's device of this name is open, and what it is: written down with the next record.

        The first one is at once.
        """
        self.plan = replace(self.plan, device_infos={**self.plan.device_infos, device: info})
        if self._journal is None:
            self._write_plan()
            self._journal = self._open.enter_context(Journal(self._folder))
            self._open.callback(self._write_plan)

    def keep(self, record: Record) -> None:
        """Writes down a record of a device that was met. Raises HarnessError when the disk does not take it."""
        assert self._journal is not None, "a record of a device that was never met"  # noqa: S101
        self._write_plan()
        self._journal.append(record)

    def _write_plan(self) -> None:
        """Unless it is as it was written: of many devices that are met, few writes are made."""
        if self._written is not self.plan:
            plans.write(self.plan, self._folder)
            self._written = self.plan


def new_folder(out: Path | None, devices: Sequence[str]) -> Path:
    """The folder of this run, made and writable. Raises UsageError; an earlier run's folder is never reused."""
    named = devices[0] if len(devices) == 1 else f"{len(devices)}-devices"
    safe = "".join(sign if sign.isalnum() or sign in "-." else "-" for sign in named)
    folder = out or RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{safe}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(not path.name.startswith(".") for path in folder.iterdir()):  # a plan half written is nothing yet
            raise UsageError(f"--out {folder}: not empty; name a new folder, so that no results are lost")
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise UsageError(f"--out {folder}: cannot be written ({error.strerror}); name another folder") from None
