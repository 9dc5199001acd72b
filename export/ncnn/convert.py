"""ONNX to ncnn: its converter, pnnx, called, what came of that looked at, and the files run on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.artifact import PRECISIONS
from export.ncnn import shuffles
from export.ncnn.layers import INPUT, batch_axes, layers_of, untranslated
from export.numbers import numbers_of
from toolchain import compile as compiling
from toolchain import ncnn
from toolchain.compile import ENGINES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

    from toolchain.tensors import Port

PARAM, WEIGHTS, PORTS = "net.param", "net.bin", "net.ports"

ENGINE = ENGINES / "ncnn.cpp"

#: A choice: what was tried takes seconds and some hundred megabytes.
_TIMEOUT_S = 600
_MOST_BYTES = 16 << 30

#: Operators that pnnx translates into what ncnn does not have, or cannot read at all, whatever they are used for.
_CONTROL = ("If", "Loop", "Scan", "SequenceMap")

#: What an input may be: ncnn's numbers have four bytes.
_INPUT_TYPES = ("float32", "int32", "int64")
_OUTPUT_TYPES = _INPUT_TYPES[:1]
_MOST_AXES = 4

#: The first IR version whose inputs are what has to be given alone.
_FIRST_IR_WITHOUT_THEM = 4
#: pnnx reads Softmax and others as this operator set has them, whatever the file's.
_UNDERSTOOD_OPSET = 13


class NcnnError(Exception):
    """A file is not for ncnn, or ncnn failed on it; one line that says why."""


def to_ncnn(source: Path, folder: Path, precision: str) -> dict[str, int]:
    """Writes PARAM, WEIGHTS and PORTS into `folder`, equivalents of the fp32 network in the ONNX file `source`.

    In fp16 the weights are stored so, and ncnn is told to store and compute so where the CPU can. Gives how many layers
    of each type a pass runs. Raises NcnnError, and ToolchainError when ncnn or pnnx cannot be had.
    """
    import onnx

    model = onnx.load(source)
    _require_taken(model)
    operators = {node.op_type for node in model.graph.node}
    inputs, outputs, values = _passed(source, model)
    _require_ports("input", inputs, _INPUT_TYPES)
    _require_ports("output", outputs, _OUTPUT_TYPES)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".converting-") as scratch:
        ready = _prepared(model)
        shuffles.write_whole(ready)
        onnx.save(ready, Path(scratch) / "net.onnx")
        made = _converted(Path(scratch), values, operators, half=precision != PRECISIONS[0])
        if missing := untranslated(made.param, made.printed, ncnn.layers(), operators):
            raise _nothing_for(missing)
        ports = [f"precision {precision}"]
        ports += _ports("input", inputs, made.batch_axes)
        ports += _ports("output", outputs, made.batch_axes)
        (folder / PORTS).write_text("\n".join(ports) + "\n", encoding="utf-8")
        (folder / PARAM).write_text(made.param, encoding="utf-8")
        made.weights.rename(folder / WEIGHTS)
    layers = Counter(layer.type for layer in layers_of(made.param) if layer.type != INPUT)
    return dict(sorted(layers.items()))


def run_ncnn(folder: Path, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """The outputs of the files in `folder` for `inputs`, in the order of the model's, by ncnn on one thread here.

    Raises NcnnError, and ToolchainError when ncnn cannot be had.
    """
    from export import tensors
    from toolchain.tensors import TensorType

    abi = compiling.native().abi
    runner = compiling.engine(compiling.native(), ENGINE, ncnn.cmake_settings(abi))
    environment = os.environ | {"LD_LIBRARY_PATH": str(ncnn.library(abi).parent)}
    files = [word for name in (PARAM, WEIGHTS, PORTS) for word in ("--model", str((folder / name).resolve()))]
    with tempfile.TemporaryDirectory() as scratch:
        command = [str(runner), *files, "--output", "output", "--warmup", "0", "--passes", "1"]
        for index, values in enumerate(inputs):
            stored = tensors.write_tensor("", values, Path(scratch), f"input-{index}")
            shape = ",".join(map(str, stored.shape)) or "scalar"
            command += ["--input", stored.file.name, "--type", stored.type, "--shape", shape]
        ended = _bounded(command, Path(scratch), environment)
        events = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
        told = {event["event"]: event for event in events}
        if "end" not in told:
            raise NcnnError(told.get("error", {}).get("message") or f"ncnn failed on it ({_how_it_ended(ended)})")
        written = [TensorType(one["type"], tuple(one["shape"])) for one in told["output"]["tensors"]]
        return tensors.read_outputs(Path(scratch) / "output", written)


def recipe() -> str:
    """A text that changes when ncnn, its converter or our engine does."""
    parts = (ncnn.recipe(compiling.native().abi), ncnn.PNNX_VERSION, compiling.engine_sources(ENGINE))
    return " ".join(parts)


def _require_taken(model: onnx.ModelProto) -> None:
    """Raises NcnnError for what is known beforehand not to be taken."""
    if not (found := numbers_of(model)).are_fp32:
        raise NcnnError(f"it is of {found}, and ncnn's converter takes fp32")
    if model.functions:
        raise NcnnError(f"ncnn's converter knows no functions of a file's own, such as {model.functions[0].name}")
    foreign = [f"{node.op_type} of {node.domain}" for node in model.graph.node if node.domain not in ("", "ai.onnx")]
    if refused := [*foreign, *(node.op_type for node in model.graph.node if node.op_type in _CONTROL)]:
        raise _nothing_for(refused)


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` as pnnx understands it: weights are no inputs, and Softmax is that of operator set 13 or newer."""
    import onnx
    from onnx import version_converter

    ready = onnx.ModelProto()
    ready.CopyFrom(model)
    weights = {tensor.name for tensor in ready.graph.initializer}
    given = [port for port in ready.graph.input if port.name not in weights]
    del ready.graph.input[:]
    ready.graph.input.extend(given)
    ready.ir_version = max(ready.ir_version, _FIRST_IR_WITHOUT_THEM)
    opset = max((one.version for one in ready.opset_import if one.domain in ("", "ai.onnx")), default=_UNDERSTOOD_OPSET)
    if opset < _UNDERSTOOD_OPSET:
        try:
            ready = onnx.shape_inference.infer_shapes(version_converter.convert_version(ready, _UNDERSTOOD_OPSET))
        except Exception:  # onnx knows no way for every operator: then what pnnx makes of it is verified all the same
            return ready
    return ready


def _nothing_for(operators: Sequence[str]) -> NcnnError:
    named = list(dict.fromkeys(operators))
    return NcnnError(f"ncnn has nothing for the operator{'s' if len(named) > 1 else ''} {', '.join(named)}")


@dataclass(frozen=True)
class _Converted:
    """What pnnx made: its list of layers, the file of its weights, the axes of its ports' batches; what it printed."""

    param: str
    weights: Path
    batch_axes: Mapping[str, int | None]
    printed: str


def _converted(folder: Path, values: Sequence[NDArray[Any]], operators: Collection[str], *, half: bool) -> _Converted:
    """What pnnx makes of `net.onnx` in `folder`; it runs that with `values`. Raises NcnnError."""
    import numpy as np

    names = [f"in{index}.npy" for index in range(len(values))]
    for name, array in zip(names, values, strict=True):
        np.save(folder / name, array)
    command = [str(ncnn.converter()), "net.onnx", f"fp16={int(half)}", *([f"input={','.join(names)}"] if names else [])]
    ended = _bounded(command, folder, dict(os.environ))
    param, weights, program = (folder / name for name in ("net.ncnn.param", "net.ncnn.bin", "net_ncnn.py"))
    try:
        text, axes = param.read_text(encoding="utf-8"), batch_axes(program.read_text(encoding="utf-8"))
        layers_of(text)
    except (OSError, ValueError):
        text = ""
    if ended.returncode != 0 or not text:
        raise NcnnError(
            f"ncnn's converter, pnnx, cannot take this network ({_how_it_ended(ended)}); its operators: "
            f"{', '.join(sorted(operators))}"
        )
    return _Converted(text, weights, axes, ended.stdout + ended.stderr)


def _require_ports(kind: str, ports: Sequence[Port], types: Sequence[str]) -> None:
    """Raises NcnnError for inputs or outputs that no network in ncnn can have."""
    for port in ports:
        if port.type not in types:
            raise NcnnError(f"its {kind} {port} is of {port.type}; ncnn's are of {' or '.join(types)}")
        if len(port.shape) > _MOST_AXES + 1 or 0 in port.shape:
            raise NcnnError(f"its {kind} {port} has no shape that ncnn takes: {_MOST_AXES} axes and a batch at most")


def _ports(kind: str, ports: Sequence[Port], axes: Mapping[str, int | None]) -> list[str]:
    """The lines for the inputs or outputs in PORTS (device/runner/src/engines/ncnn.cpp says what). Raises NcnnError."""
    prefix = kind.removesuffix("put")
    found = [name for name in axes if re.fullmatch(rf"{prefix}\d+", name)]
    if len(found) != len(ports):
        raise NcnnError(f"ncnn's converter left {len(found)} of the {len(ports)} {kind}s: the others go nowhere")
    lines = []
    for index, port in enumerate(ports):
        axis = axes.get(f"{prefix}{index}")
        if len(port.shape) - (axis is not None) > _MOST_AXES:
            raise NcnnError(f"its {kind} {port} has more axes than ncnn's {_MOST_AXES}")
        shape = ",".join(map(str, port.shape)) or "scalar"
        lines.append(f"{kind} {prefix}{index} {port.type} {shape} {'none' if axis is None else axis}")
    return lines


def _passed(source: Path, model: onnx.ModelProto) -> tuple[list[Port], list[Port], list[NDArray[Any]]]:
    """The inputs, the outputs as a pass makes them, for few files say all their sizes, and what it was given."""
    from export import inputs as drawn
    from export import verify
    from export.own import graph
    from toolchain.tensors import Port

    inputs = graph.ports(model)
    values = [*drawn.draw(inputs).values()]
    made = verify.run_onnx_on(source, values)
    outputs = [Port(one.dtype.name, one.shape, name) for name, one in made.items()]  # type: ignore[arg-type]
    return inputs, outputs, values


def _bounded(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a program in `folder`, bounded in memory and time. Raises NcnnError for one that is too slow."""
    limited = ["prlimit", f"--as={_MOST_BYTES}", "--core=0", *command]
    try:
        return subprocess.run(
            limited,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NcnnError(f"{Path(command[0]).name} did not end within {_TIMEOUT_S} s") from None


def _how_it_ended(ended: subprocess.CompletedProcess[str]) -> str:
    """In a few words: the last that it said, and how it ended."""
    status = f"signal {-ended.returncode}" if ended.returncode < 0 else f"exit status {ended.returncode}"
    said = [line for line in ended.stderr.splitlines() if line.strip()][-1:]
    words = re.sub(r"\x1b\[[0-9;]*m", "", said[0]) if said else ""
    return f"{status}: {''.join(sign for sign in words if sign.isprintable())[:200]}" if words else status
