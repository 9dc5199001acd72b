"""The format of ncnn's files."""

from __future__ import annotations

from functools import partial

from export.artifact import PRECISIONS
from export.formats import Format
from export.ncnn import convert
from export.onnx.to_onnx import DEFAULT_OPSET
from toolchain import ncnn

FP32, FP16, _INT8 = PRECISIONS

NCNN = Format(
    name="ncnn",
    what="ncnn",
    opset=DEFAULT_OPSET,
    files=(convert.PARAM, convert.WEIGHTS, convert.PORTS),
    convert=partial(convert.to_ncnn, precision=FP32),
    run=convert.run_ncnn,
    precisions=(FP32, FP16),
    lowers={FP16: partial(convert.to_ncnn, precision=FP16)},
    tools={"ncnn": ncnn.VERSION, "pnnx": ncnn.PNNX_VERSION},
    recipe=convert.recipe,
)
