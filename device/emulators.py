"""Systems that run on no device of their own: Androids by what their properties say, other Linux by its machine.

Emulators, virtual machines and containers for other machines: their time is not a phone's. A Linux that a hypervisor
has run by the CPU itself counts as hardware: its nanoseconds are. `ro.build.characteristics`
is not asked: Samsung's Galaxy S8 says `phone,emulator` there, and so do generic system images on real phones.
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
