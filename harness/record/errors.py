"""The one place where errors become exit codes."""

from __future__ import annotations

from device.cores import NoSuchCpu
from device.errors import BundleError, DeviceError, DeviceNotChosen, DeviceUnavailable
from export.artifact import ExportError
from models.spec import ModelError

EXIT_OK = 0
EXIT_CASE_FAILED = 1
EXIT_USAGE = 2
EXIT_DEVICE_UNAVAILABLE = 3


class HarnessError(Exception):
    """The harness cannot go on; the message says what is wrong and what to do."""


class UsageError(HarnessError):
    """What was asked for makes no sense, or cannot be had: nothing has been measured."""


#: Errors that a command may end with; any other is a defect of ours and shows its traceback.
EXPECTED = (HarnessError, DeviceError, ExportError, ModelError)


def exit_code(error: Exception) -> int:
    """The exit code that says what kind of error ended the command."""
    if isinstance(error, (UsageError, ModelError, DeviceNotChosen, NoSuchCpu)):
        return EXIT_USAGE
    if isinstance(error, (DeviceUnavailable, BundleError)):
        return EXIT_DEVICE_UNAVAILABLE
    return EXIT_CASE_FAILED
