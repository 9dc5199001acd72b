"""Systems that run on no device of their own: their time is not a phone's, nor a board's.

Androids are told by their properties: emulators, virtual machines and containers for other machines.
`ro.build.characteristics` is not asked: Samsung's Galaxy S8 says `phone,emulator` there, and so do generic system
images on real phones. Other Linux is told by its machine; one that a hypervisor has run by the CPU itself counts as
hardware, for its nanoseconds are. Programs that are translated one by one (qemu-user, Rosetta) are told by the kernel,
which is of another architecture than they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Properties that are 1 on one: of QEMU (redroid says so, too), and of Cuttlefish (ro.hardware.virtual_device).
_FLAGS = ("ro.kernel.qemu", "ro.boot.qemu", "ro.hardware.virtual_device")

#: What the hardware is called there, in these properties, as a word of its own (numbers apart: vbox86, ttVM_x86).
#: Android Studio's emulator: goldfish, ranchu; Cuttlefish: cutf_cvm, vsoc_x86_64; Genymotion and others on VirtualBox:
#: vbox86; redroid; Waydroid and Anbox; Windows Subsystem for Android: windows_x86_64; Nox, Tiantian (ttVM), MEmu
#: (microvirt), LDPlayer, MuMu (nemu), BlueStacks, where they do not pretend to be a phone.
_HARDWARE_PROPERTIES = ("ro.hardware", "ro.boot.hardware", "ro.product.board", "ro.board.platform", "ro.soc.model")
_HARDWARE = re.compile(
    r"(?<![a-z])(goldfish|ranchu|cutf|cuttlefish|vsoc|qemu|vbox|genymotion|redroid|waydroid|anbox|windows|nox|ttvm|memu"
    r"|microvirt|ldplayer|mumu|nemu|bluestacks)(?![a-z])",
    re.IGNORECASE,
)

#: What the product is called there, as words that no phone's name has: sdk_gphone64_arm64, aosp_cf_arm64_phone,
#: redroid11_arm64, WayDroid arm64 Device, Subsystem for Android(TM).
_PRODUCT_PROPERTIES = ("ro.product.model", "ro.product.device", "ro.product.name", "ro.product.manufacturer")
_PRODUCT = re.compile(
    r"(?<![a-z])(sdk_g?[a-z]+|google_sdk|android sdk built for|aosp_cf|cuttlefish|vsoc|vbox86p?|genymotion|redroid"
    r"|waydroid|anbox|subsystem for android)(?![a-z])",
    re.IGNORECASE,
)

#: Services of those that pretend to be phones: Genymotion's, Nox's, MEmu's, LDPlayer's.
_SERVICES = ("init.svc.vbox86-setup", "init.svc.noxd", "init.svc.microvirtd", "init.svc.ldinit")

PROPERTIES = (*_FLAGS, *_HARDWARE_PROPERTIES, *_PRODUCT_PROPERTIES, *_SERVICES)


def is_one(properties: Mapping[str, str]) -> bool:
    """Whether these values of PROPERTIES, empty where there is none, are an emulator's."""
    return (
        any(properties[name] in ("1", "true") for name in _FLAGS)
        or any(_HARDWARE.search(properties[name]) for name in _HARDWARE_PROPERTIES)
        or any(_PRODUCT.search(properties[name]) for name in _PRODUCT_PROPERTIES)
        or any(properties[name] for name in _SERVICES)
    )


#: What is asked of a Linux, by the names of the probe's sections.
LINUX_SECTIONS = ("compatible", "dmi", "virtual")

#: Of QEMU's machines: "linux,dummy-virt" in the device tree of `virt`; QEMU's own names in DMI; of its CPUs for PCs.
_QEMU_TREE = re.compile(r"^(linux,dummy-virt|qemu,.*)$", re.MULTILINE)
_QEMU_DMI = re.compile(r"\b(QEMU|Bochs)\b", re.IGNORECASE)
_QEMU_CPU = re.compile(r"^model name\s*:.*\bQEMU\b", re.MULTILINE | re.IGNORECASE)

#: Clocks that only a guest of KVM has, whose code the CPU itself runs.
_KVM = re.compile(r"kvm-clock|KVM virtual PTP")


def is_one_of_linux(*, cpuinfo: str, compatible: str, dmi: str, virtual: str) -> bool:
    """Whether these words of a Linux (/proc/cpuinfo, LINUX_SECTIONS) are an emulator's."""
    is_qemu = _QEMU_TREE.search(compatible) or _QEMU_DMI.search(dmi) or _QEMU_CPU.search(cpuinfo)
    return bool(is_qemu) and not _KVM.search(virtual)


#: What tells a kernel's architecture, whatever `uname` says to a translated program: the text of /proc/sys/kernel/arch
#: (Linux 6.1 and newer), and the words of /proc/cpuinfo that are one architecture's own.
_OF_KERNELS = {
    "x86": re.compile(r"\A(x86_64|i.86)$|^vendor_id\s*:", re.MULTILINE),
    "arm": re.compile(r"\A(aarch64|arm\w+)$|^CPU implementer\s*:", re.MULTILINE),
}

#: MIDR_EL1's implementer "reserved for software use" (Arm Architecture Reference Manual): QEMU's `max`.
_SOFTWARE = re.compile(r"^CPU implementer\s*:\s*0x0+$", re.MULTILINE)


def translates(abi: str, architecture: str, cpuinfo: str) -> bool:
    """Whether programs of this ABI are an emulator's on a machine of these /proc/sys/kernel/arch and /proc/cpuinfo."""
    own = "x86" if abi.startswith("x86") else "arm"
    told = f"{architecture.strip()}\n{cpuinfo}"
    others = (is_told.search(told) for name, is_told in _OF_KERNELS.items() if name != own)
    return any(others) or _SOFTWARE.search(cpuinfo) is not None
