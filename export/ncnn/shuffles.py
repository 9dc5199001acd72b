"""Channel shuffles, written so that ncnn's converter knows them: ncnn has a layer for the whole of one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

#: Channels as groups, these swapped with what is in them, and channels again; each with all its pixels as one axis, and
#: with rows and columns apart, which is how pnnx looks for it.
_SWAPS, _SWAPS_OF_IMAGES = [0, 2, 1, 3], [0, 2, 1, 3, 4]


def write_whole(model: onnx.ModelProto) -> None:
    """Rewrites each Reshape, Transpose, Reshape in `model` that shuffles channels in four axes as one in five."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    graph = model.graph
    integers = [one for one in graph.initializer if one.data_type == onnx.TensorProto.INT64]
    constants = {one.name: numpy_helper.to_array(one).tolist() for one in integers}
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(port.name for port in graph.output)
    makers = {name: node for node in graph.node for name in node.output}
    for last in [node for node in graph.node if node.op_type == "Reshape"]:
        swap = makers.get(last.input[0])
        first = makers.get(swap.input[0]) if swap is not None and swap.op_type == "Transpose" else None
        if swap is None or first is None or first.op_type != "Reshape" or readers[swap.output[0]] > 1:
            continue
        shape = _of_images(constants.get(first.input[1]), constants.get(last.input[1]))
        swaps = [helper.get_attribute_value(one) for one in swap.attribute if one.name == "perm"]
        if swaps != [_SWAPS] or shape is None or readers[first.output[0]] > 1:
            continue
        name = f"{first.output[0]}, rows and columns apart"
        graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))
        first.input[1] = name
        del swap.attribute[:]
        swap.attribute.append(helper.make_attribute("perm", _SWAPS_OF_IMAGES))
        stale = {first.output[0], swap.output[0]}
        kept = [value for value in graph.value_info if value.name not in stale]
        del graph.value_info[:]
        graph.value_info.extend(kept)


def _of_images(apart: list[int] | None, together: list[int] | None) -> list[int] | None:
    """N, G, C/G, H, W for the shapes N, G, C/G, H*W and N, C, H, W: those before and after channels are swapped."""
    match apart, together:
        case [images, groups, fields, pixels], [again, channels, rows, columns]:
            same = images == again and groups * fields == channels and rows * columns == pixels
            return [images, groups, fields, rows, columns] if same and min(images, channels, pixels) > 0 else None
    return None
