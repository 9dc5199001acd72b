"""The graph of a user's own file: what of it may be measured, and the sizes of its inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from export.artifact import ExportError
from export.own.foreign import open_foreign

if TYPE_CHECKING:
    import onnx

    from toolchain.tensors import ElementType, Port

#: Domains of operators that every ONNX Runtime has: ONNX's own, and its classic machine learning.
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")


@dataclass(frozen=True)
class Free:
    """A dimension of an input that its file leaves open: `key` is what --dim calls it."""

    key: str
    port: str
    axis: int

    @property
    def place(self) -> str:
        return f"{self.port}:{self.axis}"


def free_dimensions(path: Path) -> list[tuple[str, str]]:
    """The free dimensions of the file's inputs: what each is called, and where it is, as INPUT:AXIS.

    Raises ExportError for a file that cannot be measured.
    """
    return [(one.key, one.place) for one in free(opened(path))]


def is_called(dimensions: Iterable[tuple[str, str]], name: str) -> bool:
    """Whether one of these free dimensions may be meant by `name`."""
    return any(name in one for one in dimensions)


def opened(path: Path) -> onnx.ModelProto:
    """The model in the file, of operators and types that can be run. Raises ExportError."""
    model = open_foreign(path)
    functions = {(function.domain, function.name) for function in model.functions}
    for node in _nodes(model):
        if node.domain not in _DOMAINS and (node.domain, node.op_type) not in functions:
            raise ExportError(
                f"{path}: the operator {node.domain}.{node.op_type} is not one of ONNX's own, and not every device has "
                "it; export the model without it"
            )
    for what, found in (("input", inputs(model)), ("output", list(model.graph.output))):
        if not found:
            raise ExportError(f"{path}: it has no {what}: there is nothing to measure")
        for port in found:
            _element_type(path, what, port)
    return model


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of subgraphs and functions, too."""
    waiting = [model.graph, *model.functions]
    while waiting:
        for node in waiting.pop().node:
            yield node
            for attribute in node.attribute:
                waiting += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """What has to be given: not what is among the inputs as a constant (onnx/docs/IR.md, "Graphs")."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [port for port in model.graph.input if port.name not in constants]


def _element_type(path: Path, what: str, port: onnx.ValueInfoProto) -> ElementType:
    """numpy's name of the type of a port. Raises ExportError for what is no tensor, or of a type that is not run."""
    import numpy as np
    from onnx import TensorProto, helper

    from toolchain.tensors import ELEMENT_BYTES

    kind = port.type.WhichOneof("value") or "nothing"
    number = int(port.type.tensor_type.elem_type)
    known = {int(helper.np_dtype_to_tensor_dtype(np.dtype(name))): name for name in ELEMENT_BYTES}
    if kind == "tensor_type" and number in known:
        return known[number]
    types = {value: name.lower() for name, value in TensorProto.DataType.items()}
    found = types.get(number, "unknown") if kind == "tensor_type" else kind.split("_")[0]
    raise ExportError(
        f"{path}: its {what} {port.name!r} is of type {found}; only tensors of {', '.join(ELEMENT_BYTES)} are run"
    )


# --- sizes --------------------------------------------------------------------------------------------


def free(model: onnx.ModelProto) -> list[Free]:
    """The dimensions of inputs that have no size: none at all, 0 or less, or a name.

    A "?" is no name: exporters write it for sizes that need not be the same.
    """
    found = []
    for port in inputs(model):
        for axis, size in enumerate(port.type.tensor_type.shape.dim):
            if size.dim_value <= 0:
                named = size.dim_param not in ("", "?")
                found.append(Free(size.dim_param if named else f"{port.name}:{axis}", port.name, axis))
    return found


def fix(model: onnx.ModelProto, name: str, dims: Mapping[str, int], given: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Gives every free dimension its size: that of `dims`, of the `given` inputs, or 1 for a batch.

    Tells in words which sizes it chose itself or was given. Raises ExportError that names all that have none.
    """
    open_ones = free(model)
    if unknown := [key for key in dims if not is_called([(one.key, one.place) for one in open_ones], key)]:
        raise ExportError(f"{name}: no input has a free dimension {unknown[0]!r}; {_description(open_ones)}")
    for port in inputs(model):
        if not port.type.tensor_type.HasField("shape"):
            raise ExportError(f"{name}: its input {port.name!r} has no shape at all; export it with one")
    sizes = _sizes(name, open_ones, dims, given)
    batches = {one.key for one in open_ones if one.axis == 0 and one.key not in sizes}
    if missing := [one for one in open_ones if one.key not in sizes and one.key not in batches]:
        how = " ".join(f"--dim '{key}=SIZE'" for key in dict.fromkeys(one.key for one in missing))
        raise ExportError(f"{name}: {_description(open_ones)}; give those without a size one: {how}")
    by_name = {port.name: port for port in inputs(model)}
    for one in open_ones:
        by_name[one.port].type.tensor_type.shape.dim[one.axis].dim_value = sizes.get(one.key, 1)
    if open_ones:
        _forget_shapes(model)
    notes = [f"{key} = {size}" for key, size in sizes.items()]
    return [*notes, *(f"{key} = 1 (a batch of one, for nothing was said)" for key in sorted(batches))]


def _sizes(
    name: str, open_ones: Sequence[Free], dims: Mapping[str, int], given: Mapping[str, tuple[int, ...]]
) -> dict[str, int]:
    """The sizes that were given, in `dims` or else by the shapes of inputs. Raises ExportError for two of one."""
    sizes: dict[str, int] = {}
    for one in open_ones:
        shape = given.get(one.port, ())
        said = [size for key, size in dims.items() if key in (one.key, one.place)]
        for size in said or shape[one.axis : one.axis + 1]:
            if size < 1:
                raise ExportError(f"{name}: {one.key} ({one.place}) is to be {size}; a size is 1 or more")
            if sizes.setdefault(one.key, size) != size:
                raise ExportError(
                    f"{name}: {one.key} ({one.place}) is to be {sizes[one.key]} and {size}; give one size"
                )
    return sizes


def _description(open_ones: Sequence[Free]) -> str:
    if not open_ones:
        return "all its sizes are fixed"
    keys = dict.fromkeys(one.key for one in open_ones)
    places = {key: ", ".join(one.place for one in open_ones if one.key == key) for key in keys}
    said = ", ".join(key if places[key] == key else f"{key} ({places[key]})" for key in keys)
    return f"its free dimensions are {said}"


def _forget_shapes(model: onnx.ModelProto) -> None:
    """Removes what the file says of sizes that follow from those of the inputs: they are inferred anew."""
    del model.graph.value_info[:]
    for port in model.graph.output:
        for size in port.type.tensor_type.shape.dim:
            if size.dim_value <= 0:
                size.Clear()


def ports(model: onnx.ModelProto) -> list[Port]:
    """What has to be given, once all sizes are fixed."""
    from toolchain.tensors import Port

    return [
        Port(
            _element_type(Path(), "input", port),
            tuple(size.dim_value for size in port.type.tensor_type.shape.dim),
            port.name,
        )
        for port in inputs(model)
    ]
