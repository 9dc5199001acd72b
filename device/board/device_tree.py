"""A board whose cores differ: how fast each is stands in its device tree, as on a phone.

The emulator makes the tree of its machine, and one kind of core for all of it. The kernel believes what it reads there
(Linux, Documentation/devicetree/bindings/cpu/cpu-capacity.txt), and tells it as each core's cpu_capacity.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence

_HEADER = struct.Struct(">10I")  # Devicetree Specification 0.4, 5.2
_BEGIN_NODE, _END_NODE, _PROPERTY = 1, 2, 3
_CAPACITY = b"capacity-dmips-mhz"


def with_capacities(tree: bytes, capacities: Sequence[int]) -> bytes:
    """The flattened tree with `capacities`, of the CPUs in their order; only what they are to one another counts."""
    magic, _total, nodes_at, strings_at, reserved_at, *versions, strings_bytes, nodes_bytes = _HEADER.unpack_from(tree)
    strings = tree[strings_at : strings_at + strings_bytes]
    nodes = bytearray()
    for path, token in _tokens(tree[nodes_at : nodes_at + nodes_bytes]):
        nodes += token
        cpu = re.fullmatch("/cpus/cpu@([0-9a-f]+)", path)
        if cpu and token[3] == _BEGIN_NODE:
            nodes += struct.pack(">4I", _PROPERTY, 4, len(strings), capacities[int(cpu[1], 16)])
    strings += _CAPACITY + b"\0"
    reserved = tree[reserved_at : min(at for at in (nodes_at, strings_at, len(tree)) if at > reserved_at)]
    nodes_at = _HEADER.size + len(reserved)
    strings_at = nodes_at + len(nodes)
    total = strings_at + len(strings)
    header = _HEADER.pack(magic, total, nodes_at, strings_at, _HEADER.size, *versions, len(strings), len(nodes))
    return header + reserved + nodes + strings


def _tokens(structure: bytes) -> Iterator[tuple[str, bytes]]:
    """The pieces that the tree is made of, each with the path of the node that it begins or is in."""
    path: list[str] = []
    at = 0
    while at < len(structure):
        (kind,) = struct.unpack_from(">I", structure, at)
        size = 4
        if kind == _BEGIN_NODE:
            name = structure[at + 4 : structure.index(b"\0", at + 4)]
            path.append(name.decode())
            size += len(name) + 1
        elif kind == _PROPERTY:
            size += 8 + int(struct.unpack_from(">I", structure, at + 4)[0])
        size += -size % 4
        yield "/".join(path), structure[at : at + size]
        if kind == _END_NODE:
            path.pop()
        at += size
