"""What cores are called, by the numbers in their identification register (MIDR_EL1, or `CPU part` of /proc/cpuinfo).

The numbers are from the cores' reference manuals and Linux (arch/arm64/include/asm/cputype.h), which also has the names
of Qualcomm's: a Kryo's series is that of the first chip with it.
"""

from __future__ import annotations

_UNNAMED = "part "

#: Implementer (bits 31 to 24) -> part number (bits 15 to 4) -> name.
_NAMES = {
    0x41: {
        0xC05: "Cortex-A5",
        0xC07: "Cortex-A7",
        0xC08: "Cortex-A8",
        0xC09: "Cortex-A9",
        0xC0D: "Cortex-A12",
        0xC0E: "Cortex-A17",
        0xC0F: "Cortex-A15",
        0xD01: "Cortex-A32",
        0xD02: "Cortex-A34",
        0xD03: "Cortex-A53",
        0xD04: "Cortex-A35",
        0xD05: "Cortex-A55",
        0xD06: "Cortex-A65",
        0xD07: "Cortex-A57",
        0xD08: "Cortex-A72",
        0xD09: "Cortex-A73",
        0xD0A: "Cortex-A75",
        0xD0B: "Cortex-A76",
        0xD0C: "Neoverse-N1",
        0xD0D: "Cortex-A77",
        0xD0E: "Cortex-A76AE",
        0xD40: "Neoverse-V1",
        0xD41: "Cortex-A78",
        0xD42: "Cortex-A78AE",
        0xD43: "Cortex-A65AE",
        0xD44: "Cortex-X1",
        0xD46: "Cortex-A510",
        0xD47: "Cortex-A710",
        0xD48: "Cortex-X2",
        0xD49: "Neoverse-N2",
        0xD4B: "Cortex-A78C",
        0xD4C: "Cortex-X1C",
        0xD4D: "Cortex-A715",
        0xD4E: "Cortex-X3",
        0xD4F: "Neoverse-V2",
        0xD80: "Cortex-A520",
        0xD81: "Cortex-A720",
        0xD82: "Cortex-X4",
        0xD83: "Neoverse-V3AE",
        0xD84: "Neoverse-V3",
        0xD85: "Cortex-X925",
        0xD87: "Cortex-A725",
        0xD88: "Cortex-A520AE",
        0xD89: "Cortex-A720AE",
        0xD8A: "C1-Nano",
        0xD8B: "C1-Pro",
        0xD8C: "C1-Ultra",
        0xD8E: "Neoverse-N3",
        0xD8F: "Cortex-A320",
        0xD90: "C1-Premium",
    },
    0x48: {0xD01: "TaiShan-v110", 0xD40: "Cortex-A76"},  # HiSilicon; its Kirin 980 has the A76 under this number
    0x4E: {0x000: "Denver", 0x003: "Denver 2", 0x004: "Carmel"},  # Nvidia
    0x51: {  # Qualcomm
        0x001: "Oryon",
        0x002: "Oryon",
        0x02D: "Scorpion",
        0x04D: "Krait",
        0x06F: "Krait",
        0x201: "Kryo",
        0x205: "Kryo",
        0x211: "Kryo",
        0x800: "Kryo-2xx-Gold",
        0x801: "Kryo-2xx-Silver",
        0x802: "Kryo-3xx-Gold",
        0x803: "Kryo-3xx-Silver",
        0x804: "Kryo-4xx-Gold",
        0x805: "Kryo-4xx-Silver",
    },
    0x53: {0x001: "Exynos-M1/M2", 0x002: "Exynos-M3", 0x003: "Exynos-M4", 0x004: "Exynos-M5"},  # Samsung
    0x6D: {0xD49: "Azure Cobalt 100"},  # Microsoft
    0xC0: {0xAC3: "AmpereOne", 0xAC4: "AmpereOne A"},  # Ampere
}

#: Cores that issue in order (Arm's technical reference manuals of the cores; Qualcomm's silver ones are Arm's A53 and
#: A55). They are the little ones beside any other, whatever the clocks: there are chips whose A55 and A75 run alike.
IN_ORDER = frozenset(
    (
        *(
            f"Cortex-{name}"
            for name in ("A5", "A7", "A8", "A32", "A34", "A35", "A53", "A55", "A320", "A510", "A520", "A520AE")
        ),
        *(f"Kryo-{series}xx-Silver" for series in (2, 3, 4)),
        "C1-Nano",
    )
)


def name_of(implementer: int | None, part: int) -> str:
    """The core's name, or its numbers where it is none that is known."""
    unnamed = f"{_UNNAMED}{part:#x} of {'?' if implementer is None else f'{implementer:#x}'}"
    return unnamed if implementer is None else _NAMES.get(implementer, {}).get(part, unnamed)


def is_known(name: str | None) -> bool:
    """Whether it is a name, rather than the numbers of a core that is not known."""
    return name is not None and not name.startswith(_UNNAMED)
