"""What can go wrong on the device's side. Every message says what is wrong, where, and what to do.

`status`, one of statuses.py, is what a record says of a case that ended this way; harness/measure/policy.py says what
then is done.
"""

from __future__ import annotations

_MOST_CHARACTERS = 4096  # of a message: as many as the wire allows a runner's own


class DeviceError(Exception):
    """Something failed on or on the way to a device.

    Messages quote what a device has said. So that this cannot steer a terminal or break a table, each is one line of
    printable characters, of a bounded length.
    """

    status = "device_error"

    def __init__(self, message: str) -> None:
        one_line = " ".join(message[:_MOST_CHARACTERS].splitlines())
        super().__init__("".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in one_line))


class DeviceUnavailable(DeviceError):
    """The device cannot be had: unknown, given up, or it did not boot."""

    status = "device_unavailable"


class DeviceBusy(DeviceUnavailable):
    """Another run has the device."""

    status = "device_busy"


class DeviceLost(DeviceUnavailable):
    """The device, or the connection to it, is not there, or went away while it was in use."""

    status = "device_lost"


class DeviceOffline(DeviceLost):
    """The adb server knows the device and cannot talk to it."""

    status = "offline"


class DeviceUnauthorised(DeviceLost):
    """The device does not trust this machine: nobody has accepted the question on its screen."""

    status = "unauthorised"


class NoAnswer(DeviceLost):
    """The device is there and did not answer in time."""

    status = "no_answer"


class ServerGone(DeviceLost):
    """The adb server on this machine does not run, or does not answer."""

    status = "server_gone"


class DeviceNotChosen(DeviceError):
    """Several devices are there and none was named."""

    status = "usage"


class BundleError(DeviceError):
    """A runner bundle cannot be had: unknown ABI or runtime, or a part of its build is missing."""

    status = "no_bundle"


class ModelRefused(DeviceError):
    """The runtime would refuse the model, as is known before it is asked."""

    status = "bad_model"


class PushFailed(DeviceError):
    """A file could not be put on the device."""

    status = "push_failed"


class PushCorrupted(PushFailed):
    """A file did not arrive on the device as it left."""

    status = "push_corrupted"


class NoSpace(PushFailed):
    """The device has no room for what must be pushed, or for the output."""

    status = "no_space"


class HostDiskFull(DeviceError):
    """This machine has no room for what came from the device."""

    status = "host_disk_full"


class RunTimedOut(DeviceError):
    """The runner did not end within the time it was given."""

    status = "timed_out"


class RunnerCrashed(DeviceError):
    """The runner ended without an end or an error event, as a rule by a signal."""

    status = "crashed"


class OutOfMemory(RunnerCrashed):
    """The runner was killed with SIGKILL, which is how a kernel that has no memory left ends a process."""

    status = "out_of_memory"


class RunnerFailed(DeviceError):
    """The runner said itself what is wrong; `status` is one of PROTOCOL.md's."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
