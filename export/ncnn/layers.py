"""What pnnx leaves of a network: the layers in its .param, what of them it could not translate, and the ports.

pnnx ends well whatever it meets: an operator that it does not know it writes down under ONNX's or PyTorch's name, and
an option that it has no use for it leaves out with no more than a word ("ignore ..."), also where ncnn has a layer of
that name, which then does something else. Neither may be run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_MAGIC = "7767517"
_FEWEST_WORDS = 4  # of a layer: its type, its name, how many inputs and outputs it has

#: Not run in a pass: it is where an input comes in.
INPUT = "Input"

#: What pnnx prints of an option that it leaves out: the layer's type and name, the option.
_IGNORED = re.compile(r"^ignore (\S+) (\S+) (?:param|attr) ", re.MULTILINE)

#: In the Python program that pnnx writes to show how its files are used: each port's name and the axis of its batch.
_PORT = re.compile(r"(?:ex\.input\(\"(in\d+)\",.*|append\(torch\.from_numpy\((out\d+)\..*)batch_index=(-?\d+)\)")
_NO_BATCH = 233

#: PyTorch's names, which pnnx gives operators, where they are not those of ONNX but for case and underscores.
_OF_ONNX = {
    "gt": "Greater",
    "lt": "Less",
    "ge": "GreaterOrEqual",
    "le": "LessOrEqual",
    "eq": "Equal",
    "ne": "Equal",
    "to": "Cast",
    "type_as": "CastLike",
    "index_select": "Gather",
    "index": "GatherND",
    "select": "Gather",
    "embedding": "Gather",
    "view": "Reshape",
    "permute": "Transpose",
    "interpolate": "Resize",
    "upsample": "Resize",
    "grid_sample": "GridSample",
    "repeat": "Tile",
    "cat": "Concat",
    "logical_and": "And",
    "logical_or": "Or",
    "logical_not": "Not",
    "logical_xor": "Xor",
    "fmod": "Mod",
    "remainder": "Mod",
    "norm": "ReduceL2",
    "full": "ConstantOfShape",
    "zeros": "ConstantOfShape",
    "arange": "Range",
    "linear": "Gemm",
    "hardswish": "HardSwish",
    "scatter": "ScatterElements",
}


@dataclass(frozen=True)
class Layer:
    """A line of a .param: its type and its name."""

    type: str
    name: str


def layers_of(param: str) -> list[Layer]:
    """The layers in a .param, in the order in which they run. Raises ValueError for what is none."""
    magic, counts, *lines = [*param.splitlines(), "", ""]
    words = [line.split() for line in lines if line.strip()]
    is_whole = counts.split()[:1] == [str(len(words))] and all(len(one) >= _FEWEST_WORDS for one in words)
    if magic.strip() != _MAGIC or not is_whole:
        raise ValueError("pnnx wrote no list of layers")
    return [Layer(first, second) for first, second, *_ in words]


def untranslated(param: str, printed: str, known: Collection[str], operators: Iterable[str]) -> list[str]:
    """What ncnn cannot run of a network, each once: as ONNX calls it, where that can be told, and pnnx.

    `printed` is what pnnx said meanwhile, `known` the types of layers that ncnn has, `operators` those of the file.
    """
    layers = layers_of(param)
    written = {layer.name for layer in layers}
    ignored = {type_ for type_, name in _IGNORED.findall(printed) if name in written}
    types = dict.fromkeys(one.type for one in layers if one.type not in known or one.type in ignored)
    # pnnx's own expressions are the operands of what it could not translate: they say nothing alone
    named = [one for one in types if not one.startswith("pnnx.")] or [*types]
    operators = set(operators)
    return list(dict.fromkeys(_as_onnx(one, operators) for one in named))


def _as_onnx(type_: str, operators: Collection[str]) -> str:
    bare = re.sub(r"\dd$", "", re.split(r"[.:]", type_)[-1])  # without how many dimensions it is for
    plain = {_plain(one): one for one in operators}
    found = plain.get(_plain(bare)) or plain.get(_plain(_OF_ONNX.get(bare, bare)))
    if found is None:
        return f"{type_} (as its converter calls it)"
    return found if found == type_ else f"{found} ({type_})"


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def batch_axes(program: str) -> dict[str, int | None]:
    """The axis of ncnn's batch of each input and output, by ncnn's names of them, from the program that pnnx writes."""
    axes = {one or other: int(axis) for one, other, axis in _PORT.findall(program)}
    return {name: None if axis == _NO_BATCH else axis for name, axis in axes.items()}
