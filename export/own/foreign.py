"""ONNX files from others: nothing that one says about itself or about other files is believed before it is checked.

A tensor's values may lie in a file of their own, which the ONNX file names (onnx/docs/ExternalData.md). Such a name is
followed only within the model's own folder.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NoReturn

from export.artifact import ExportError
from toolchain.files import file_sha256

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message
    from onnx import ModelProto, TensorProto, ValueInfoProto

#: Of the file and all its external data together, which become one file: protobuf's limit for one message, and some
#: room for what is written beside the values.
MOST_BYTES = 2**31 - 2**20
#: Choices, each many times what the paper's networks have (200 nodes, no subgraphs).
MOST_NODES = 100_000
MOST_NESTING = 16  # of subgraphs in subgraphs
MOST_FIELDS = 2_000_000  # of protobuf: one takes two bytes in a file and a hundred once parsed
MOST_DIMENSIONS = 64  # of a tensor with external data

#: Wire types of protobuf's encoding (protobuf.dev, "Encoding") and the bytes of those of a fixed size. Groups (3, 4)
#: are left out: ONNX has none.
_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
#: Types of which several elements share a byte; of the others numpy knows the size.
_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
#: IR versions (onnx.proto, "Version"): of constants that are no inputs, of functions with overloads, of nodes bound to
#: devices; of element types, by the first of TensorProto.DataType that came with it. _PLAIN_IR is what PyTorch writes,
#: which every runtime here reads.
_IR_OF_CONSTANTS, _PLAIN_IR, _IR_OF_OVERLOADS, _IR_OF_DEVICES = 4, 8, 10, 11
_IR_OF_TYPES = ((17, 9), (21, 10), (23, 11), (24, 12), (25, 13), (27, 14))
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")
_QUOTED = 200  # characters of what a file says, in a message


def open_foreign(path: Path) -> ModelProto:
    """The model in the ONNX file `path` with all its tensors' values in it, checked by onnx's own checker.

    Raises ExportError, with one line, for what is no ONNX file, was cut short, is larger than MOST_BYTES (external
    data counted in), has too many nodes or too deep subgraphs, or names external data that is not there whole or
    lies outside the model's folder. No external data is opened before every name and size is checked.
    """
    import onnx

    name = _one_line(str(path))
    model, external = _parsed(path, name)
    with _refusing(name):
        for one in external:
            one.load(name)
        lower_ir(model)
        admit_constants(model)
        with _with_shapes([*model.graph.input, *model.graph.output]):
            onnx.checker.check_model(model)
    return model


def model_sha256(path: Path) -> str:
    """The sha256 of all that the model in the ONNX file `path` is made of: the file's own, or, where it has external
    data, that of the sha256 of each file, a line each, in the order in which the model names them.

    Raises ExportError as `open_foreign` does, and OSError.
    """
    _, external = _parsed(path, _one_line(str(path)))
    found = [file_sha256(one) for one in (path, *dict.fromkeys(one.file for one in external))]
    return found[0] if len(found) == 1 else hashlib.sha256("\n".join(found).encode()).hexdigest()


def _parsed(path: Path, name: str) -> tuple[ModelProto, list[_External]]:
    """The model in the file, and where its external data lie, all bounded and none read yet. Raises ExportError."""
    import onnx

    content = _content(path, name)
    with _refusing(name):
        _check_encoding(name, content, onnx.ModelProto.DESCRIPTOR)
        model = onnx.ModelProto()
        model.ParseFromString(content)
        if not model.graph.node:
            raise ExportError(f"{name}: not an ONNX file: it has no graph with nodes")
        external = [_external(path, name, tensor) for tensor in _external_tensors(model)]
    if len(content) + sum(one.length_bytes for one in external) > MOST_BYTES:
        _too_large(name, "with its external data ")
    return model, external


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Turns what onnx and protobuf raise for a file into an ExportError of one line."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        yield
    except DecodeError:
        raise ExportError(f"{name}: not an ONNX file, or one that was cut short") from None
    except (onnx.checker.ValidationError, ValueError, TypeError, RuntimeError) as error:
        # ValueError: also text that is not UTF-8; RuntimeError: what else onnx's C++ throws
        raise ExportError(f"{name}: not a valid ONNX file: {_one_line(str(error))}") from None


@contextmanager
def _with_shapes(ports: Iterable[ValueInfoProto]) -> Iterator[None]:
    """Meanwhile, tensors without a shape have that of a scalar: onnx's checker wants one, the format does not
    (onnx/docs/IR.md, "Static tensor shapes")."""
    bare = [port.type.tensor_type for port in ports if port.type.HasField("tensor_type")]
    bare = [kind for kind in bare if not kind.HasField("shape")]
    for kind in bare:
        kind.shape.SetInParent()
    try:
        yield
    finally:
        for kind in bare:
            kind.ClearField("shape")


def admit_constants(model: ModelProto) -> None:
    """Gives a model with constants that are not among its inputs the first IR version that allows them.

    Before it each had to be an input, too (onnx/docs/IR.md); runtimes never minded.
    """
    inputs = {port.name for port in model.graph.input}
    if any(tensor.name not in inputs for tensor in model.graph.initializer):
        model.ir_version = max(model.ir_version, _IR_OF_CONSTANTS)


def lower_ir(model: ModelProto) -> None:
    """Gives a model of a newer IR version than it needs the oldest one, from _PLAIN_IR on, that has all that is in it.

    Exporters write the newest that they know, and a device's runtime may be older (onnx/docs/Versioning.md).
    """
    from onnx import AttributeProto, FunctionProto, NodeProto, TensorProto, TypeProto, helper

    opsets = [*model.opset_import, *(one for function in model.functions for one in function.opset_import)]
    needed = max(_PLAIN_IR, helper.find_min_ir_version_for(opsets, ignore_unknown=True))
    for message in messages(model):
        if model.ir_version <= needed:
            return
        kinds = []
        if isinstance(message, TensorProto):
            kinds.append(message.data_type)
        elif isinstance(message, TypeProto.Tensor):
            kinds.append(message.elem_type)
        elif isinstance(message, AttributeProto) and message.type == message.INT and message.name in _TYPE_ATTRIBUTES:
            kinds.append(message.i)
        elif isinstance(message, NodeProto) and message.device_configurations:
            needed = max(needed, _IR_OF_DEVICES)
        elif isinstance(message, NodeProto | FunctionProto) and message.overload:
            needed = max(needed, _IR_OF_OVERLOADS)
        needed = max([needed, *(ir for kind in kinds for first, ir in _IR_OF_TYPES if kind >= first)])
    model.ir_version = min(model.ir_version, needed)


def _content(path: Path, name: str) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            _too_large(name)
        content = _read(path, 0, MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ExportError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MOST_BYTES:
        _too_large(name)
    return content


def _read(path: Path, offset: int, most_bytes: int, flags: int = 0) -> bytes:
    # Without O_NONBLOCK, opening a pipe would wait for someone to write into it.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "not an ordinary file")
        file.seek(offset)
        return file.read(most_bytes)


def _too_large(name: str, what: str = "") -> NoReturn:
    raise ExportError(
        f"{name}: {what}larger than {MOST_BYTES} bytes, the most that one ONNX file can hold (protobuf's limit), and "
        "one file is what a device is given: quantize its weights, or measure a part of it"
    )


# --- the encoding, before it is parsed ----------------------------------------------------------------


def _check_encoding(name: str, content: bytes, root: Descriptor) -> None:
    """Walks through the encoded messages. Raises ExportError when parsed they would be too many, or too deep.

    Afterwards would be too late: half a gigabyte of empty nodes is tens of gigabytes when parsed.
    """
    fields = nodes = 0
    waiting = [(root, 0, len(content), 0)]  # message type, start, end, how many graphs it is in
    while waiting:
        kind, at, end, graphs = waiting.pop()
        nodes += kind.name == "NodeProto"
        graphs += kind.name == "GraphProto"
        if nodes > MOST_NODES:
            raise ExportError(f"{name}: it has more than {MOST_NODES} nodes")
        if graphs > MOST_NESTING + 1:
            raise ExportError(f"{name}: its subgraphs are nested more than {MOST_NESTING} deep")
        while at < end:
            fields += 1
            if fields > MOST_FIELDS:
                raise ExportError(f"{name}: it has more than {MOST_FIELDS} fields")
            tag, at = _varint(name, content, at)
            number, wire_type = tag >> 3, tag & 7
            if wire_type == _LENGTH_DELIMITED:
                length, at = _varint(name, content, at)
                field = kind.fields_by_number.get(number)
                if field is not None and field.message_type is not None and at + length <= end:
                    waiting.append((field.message_type, at, at + length, graphs))
                at += length
            elif wire_type == _VARINT:
                _value, at = _varint(name, content, at)
            elif wire_type in _FIXED_BYTES:
                at += _FIXED_BYTES[wire_type]
            else:
                raise ExportError(f"{name}: not an ONNX file")
        if at > end:
            raise ExportError(f"{name}: not an ONNX file, or one that was cut short")


def _varint(name: str, content: bytes, at: int) -> tuple[int, int]:
    """A number in protobuf's variable-length encoding, and where it ends."""
    value = 0
    for shift, byte in zip(range(0, 70, 7), content[at : at + 10], strict=False):
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:  # noqa: PLR2004 -- the highest bit says that more follows
            return value, at
    raise ExportError(f"{name}: not an ONNX file, or one that was cut short")


# --- external data ------------------------------------------------------------------------------------


def messages(model: ModelProto) -> Iterator[Message]:
    """The model and all that is in it, wherever that is: subgraphs, attributes, functions..."""
    from google.protobuf.message import Message

    waiting: list[Message] = [model]
    while waiting:
        message = waiting.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is not None:
                inner: Iterable[Message] = [value] if isinstance(value, Message) else value
                waiting.extend(inner)


def _external_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """All tensors whose values lie elsewhere."""
    from onnx import TensorProto

    for message in messages(model):
        if isinstance(message, TensorProto) and (message.data_location == message.EXTERNAL or message.external_data):
            yield message


@dataclass(frozen=True)
class _External:
    """Where a tensor's values lie: `length_bytes` from `offset_bytes` in an ordinary file below the model's folder."""

    tensor: TensorProto
    file: Path
    offset_bytes: int
    length_bytes: int

    def load(self, name: str) -> None:
        """Puts the values into the tensor. Raises ExportError when the file is no longer what was checked."""
        what = f"{name}: its external data {_one_line(str(self.file))}"
        try:
            values = _read(self.file, self.offset_bytes, self.length_bytes, os.O_NOFOLLOW)
        except OSError as error:
            raise ExportError(f"{what} cannot be read: {error.strerror}") from None
        if len(values) != self.length_bytes:
            raise ExportError(f"{what} became shorter while it was read")
        self.tensor.raw_data = values
        self.tensor.data_location = self.tensor.DEFAULT
        del self.tensor.external_data[:]


def _external(model: Path, name: str, tensor: TensorProto) -> _External:
    """Where the values of `tensor` lie. Raises ExportError unless that is within the folder and the file."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    location = said.get("location", "")
    what = f"{name}: the external data {_one_line(location)!r} of tensor {_one_line(tensor.name)!r}"
    if not location or "\0" in location:
        raise ExportError(f"{what} names no file")
    if PurePosixPath(location).is_absolute():
        raise ExportError(f"{what} is an absolute path; only files in the model's folder are read")
    if ".." in PurePosixPath(location).parts:
        raise ExportError(f"{what} leaves the model's folder; only files in it are read")
    folder = model.parent.resolve()
    try:
        file = (folder / location).resolve(strict=True)
        found = file.lstat()
    except (OSError, RuntimeError):  # RuntimeError: links that go round in a circle
        raise ExportError(f"{what} is missing") from None
    if not file.is_relative_to(folder):
        raise ExportError(f"{what} leaves the model's folder by a link; only files in it are read")
    if not stat.S_ISREG(found.st_mode):
        raise ExportError(f"{what} is not an ordinary file")
    needed_bytes = _needed_bytes(tensor, what)
    offset_bytes = _number(said.get("offset", "0"), what)
    length_bytes = _number(said.get("length", str(needed_bytes)), what)
    if length_bytes != needed_bytes:
        raise ExportError(f"{what} has {length_bytes} bytes, a tensor of its shape and type {needed_bytes}")
    if offset_bytes + length_bytes > found.st_size:
        raise ExportError(f"{what} is too short: {found.st_size} bytes, {offset_bytes + length_bytes} are needed")
    return _External(tensor, file, offset_bytes, length_bytes)


def _number(digits: str, what: str) -> int:
    most_digits = 18  # what is longer does not fit 63 bits
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= most_digits):
        raise ExportError(f"{what} has an offset or a length that is no number of bytes: {_one_line(digits)!r}")
    return int(digits)


def _needed_bytes(tensor: TensorProto, what: str) -> int:
    """The bytes of a tensor's values. Raises ExportError for a shape or a type that has no such number."""
    from onnx import helper

    if len(tensor.dims) > MOST_DIMENSIONS or any(size < 0 for size in tensor.dims):
        raise ExportError(f"{what} has a negative size, or more than {MOST_DIMENSIONS} of them")
    try:
        kind = tensor.DataType.Name(tensor.data_type)
        bits: int = _BITS.get(kind) or 8 * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, ValueError, TypeError):
        kind = ""
    if kind in ("", "UNDEFINED", "STRING"):
        raise ExportError(f"{what} has a type without a size ({tensor.data_type})")
    elements: int = math.prod(tensor.dims)
    return (elements * bits + 7) // 8  # rounded up


def _one_line(text: str) -> str:
    line = " ".join(text.split())[:_QUOTED]
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line)
