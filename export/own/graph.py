"""The graph of a user's own file: what of it may be measured, and the sizes of its inputs."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from export.artifact import ExportError
from export.onnx import session
from export.own.foreign import messages, open_foreign

if TYPE_CHECKING:
    import onnx

    from toolchain.tensors import ElementType, Port

#: Domains of operators that every ONNX Runtime has: ONNX's own, and its classic machine learning.
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")

#: What exporters write in place of a dimension's name.
NO_NAMES = frozenset({"", "?", "*", "-1", "None", "none"})

#: A batch by its name: one of the first words, with any of the second beside it; with others (sequence_batch) it is
#: open what it is. Letters mean a batch in front alone: elsewhere they count whatever the author counts.
_BATCH_WORDS = frozenset({"batch", "batches", "batchsize", "batchdim", "minibatch", "nbatch", "nbatches", "bsz", "bs"})
_BESIDE_BATCH = frozenset(
    {"axis", "count", "data", "dim", "dimension", "dynamic", "image", "images", "in", "input", "inputs", "mini", "n"}
    | {"nb", "num", "number", "of", "out", "output", "size", "text"}
)
_BATCH_LETTERS = frozenset({"b", "n"})
_PLAIN_NAME = re.compile(r"[\w .:-]+")  # nothing is computed in it
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # batchSize, BATCH_SIZE, batch2

#: What may stand in a dimension's name that is an expression (PyTorch writes such, also in SymPy's words).
_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}
_FUNCTIONS: dict[str, Callable[[Iterable[int]], int]] = {"Max": max, "Min": min, "max": max, "min": min}


@dataclass(frozen=True)
class Free:
    """A dimension of an input that its file leaves open: `key` is what --dim calls it."""

    key: str
    port: str
    axis: int

    @property
    def place(self) -> str:
        return f"{self.port}:{self.axis}"


def free_dimensions(path: Path) -> list[Free]:
    """The free dimensions of the file's inputs. Raises ExportError for a file that cannot be measured."""
    return free(opened(path))


def is_called(dimensions: Iterable[Free], name: str) -> bool:
    """Whether one of these free dimensions may be meant by `name`."""
    return any(name in (one.key, one.place) for one in dimensions)


def opened(path: Path) -> onnx.ModelProto:
    """The model in the file, of operators and types that can be run. Raises ExportError."""
    model = open_foreign(path)
    _require_operators(path, model)
    for what, found in (("input", inputs(model)), ("output", list(model.graph.output))):
        if not found:
            raise ExportError(f"{path}: it has no {what}: there is nothing to measure")
        for port in found:
            _element_type(path, what, port)
    return model


def _require_operators(path: Path, model: onnx.ModelProto) -> None:
    """Raises ExportError for an operator of another domain than ONNX's that ONNX Runtime here does not have.

    Ours is not taken from others' files: it believes what it is told.
    """
    from onnx import NodeProto

    functions = {(function.domain, function.name) for function in model.functions}
    nodes = [message for message in messages(model) if isinstance(message, NodeProto)]
    others = {(node.domain, node.op_type) for node in nodes if node.domain not in _DOMAINS} - functions
    if others and (missing := sorted(others - session.operators())):
        raise ExportError(
            f"{path}: the operator {'.'.join(missing[0])} is not one of ONNX's own, and ONNX Runtime here "
            f"({session.version()}) does not have it: export the model without it"
        )


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
    """The dimensions of inputs that have no size: none at all, a negative one, or a name. A size of 0 is one.

    A "?" is no name, nor are the others of NO_NAMES: exporters write them for sizes that need not be the same.
    """
    found = []
    for port in inputs(model):
        for axis, size in enumerate(port.type.tensor_type.shape.dim):
            if not size.HasField("dim_value") or size.dim_value < 0:
                named = size.dim_param not in NO_NAMES
                found.append(Free(size.dim_param if named else f"{port.name}:{axis}", port.name, axis))
    return found


def means_batch(dimension: Free) -> bool:
    """Whether a free dimension is a batch, and so 1 where nothing is said of it.

    It is where its name says that it is, as a word or, in front, as a letter; in front also where it has no name. All
    else may be a sequence, an image's side or whatever the network's time hangs on: of that nobody but the user knows.
    """
    if dimension.key == dimension.place:
        return dimension.axis == 0
    if not _PLAIN_NAME.fullmatch(dimension.key):
        return False  # such as batch * heads
    if dimension.key.lower() in _BATCH_LETTERS:
        return dimension.axis == 0
    words = {word.lower() for word in _WORD.findall(dimension.key)}
    return bool(words & _BATCH_WORDS) and words <= _BATCH_WORDS | _BESIDE_BATCH


def choose_sizes(
    name: str, open_ones: Sequence[Free], dims: Mapping[str, int], given: Mapping[str, tuple[int, ...]]
) -> dict[str, int]:
    """A size for each of the dimensions, by its key: that of `dims` (by key or place), of the `given` inputs' shapes,
    what the others make of an expression of their names (`past + 1`), or 1 for a batch.

    Raises ExportError for one that is given two, for one that is negative, and with all that have none.
    """
    sizes: dict[str, int] = {}

    def settle(one: Free, size: int) -> None:
        if size < 0:
            raise ExportError(f"{name}: {one.key} ({one.place}) is to be {size}; a size is 0 or more")
        if sizes.setdefault(one.key, size) != size:
            raise ExportError(f"{name}: {one.key} ({one.place}) is to be {sizes[one.key]} and {size}; give one size")

    if unknown := [key for key in dims if not is_called(open_ones, key)]:
        raise ExportError(f"{name}: no input has a free dimension {unknown[0]!r}; {_description(open_ones)}")
    for one in open_ones:
        said = [size for key, size in dims.items() if key in (one.key, one.place)]
        for size in said or given.get(one.port, ())[one.axis : one.axis + 1]:
            settle(one, size)
    batches = {one.key for one in open_ones if means_batch(one)}
    known = dict.fromkeys(batches, 1) | sizes
    for one in open_ones:
        made = _value(one.key, known)
        if made is not None:
            settle(one, made)
    unsized = dict.fromkeys(one.key for one in open_ones if one.key not in sizes and one.key not in batches)
    if missing := [key for key in unsized if _value(key, known | dict.fromkeys(unsized, 1)) is None]:
        how = " ".join(f"--dim '{key}=SIZE'" for key in missing)
        raise ExportError(
            f"{name}: {_description(open_ones)}; give those without a size one (only a batch is 1 by itself): {how}"
        )
    return sizes


def _value(expression: str, sizes: Mapping[str, int]) -> int | None:
    """What `expression` of several names or numbers comes to; None for one name, or where a name has no size."""
    try:
        tree = ast.parse(expression, mode="eval").body
        return None if isinstance(tree, ast.Name) else _computed(tree, sizes)
    except (SyntaxError, ValueError, KeyError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _computed(tree: ast.expr, sizes: Mapping[str, int]) -> int:
    """Raises KeyError for a name without a size, ValueError for what is no arithmetic of whole numbers."""
    if isinstance(tree, ast.Name):
        return sizes[tree.id]
    if isinstance(tree, ast.Constant) and type(tree.value) is int:
        return tree.value
    if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
        return _OPERATORS[type(tree.op)](_computed(tree.left, sizes), _computed(tree.right, sizes))
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id in _FUNCTIONS and tree.args:
        return _FUNCTIONS[tree.func.id](_computed(one, sizes) for one in tree.args)
    raise ValueError(ast.dump(tree))


def fix(model: onnx.ModelProto, name: str, dims: Mapping[str, int], given: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Gives every free dimension of the inputs its size (see `choose_sizes`), and all else the shapes that follow.

    Tells in words which sizes it chose itself or was given. Raises ExportError, also for an input without any shape,
    unless its value is among those `given`.
    """
    for port in inputs(model):
        if not port.type.tensor_type.HasField("shape"):
            if port.name not in given:
                raise ExportError(
                    f"{name}: its input {port.name!r} has no shape at all, not even how many dimensions: give a value "
                    "for each input (--input)"
                )
            port.type.tensor_type.shape.SetInParent()
            for _size in given[port.name]:
                port.type.tensor_type.shape.dim.add()
    open_ones = free(model)
    sizes = choose_sizes(name, open_ones, dims, given)
    by_name = {port.name: port for port in inputs(model)}
    for one in open_ones:
        by_name[one.port].type.tensor_type.shape.dim[one.axis].dim_value = sizes.get(one.key, 1)
    if open_ones:
        _forget_shapes(model)
    _infer_outputs(model)
    batches = sorted({one.key for one in open_ones if one.key not in sizes})
    notes = [f"{key} = {size}" for key, size in sizes.items()]
    return [*notes, *(f"{key} = 1 (a batch of one, for nothing was said)" for key in batches)]


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


def _infer_outputs(model: onnx.ModelProto) -> None:
    """Gives outputs that have no shape (onnx/docs/IR.md allows it) the one that follows from the inputs', if any does.

    One that hangs on values is left without: what runs the file finds it out.
    """
    from onnx import shape_inference

    bare = [port for port in model.graph.output if not port.type.tensor_type.HasField("shape")]
    if not bare:
        return
    inferred = {port.name: port for port in shape_inference.infer_shapes(model, data_prop=True).graph.output}
    for port in bare:
        if inferred[port.name].type.tensor_type.HasField("shape"):
            port.type.tensor_type.shape.CopyFrom(inferred[port.name].type.tensor_type.shape)


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
