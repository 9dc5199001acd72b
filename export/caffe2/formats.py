"""The formats of Caffe2's nets: as its converter makes them, or with its engine for 3x3 depthwise convolutions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from export.caffe2 import convert
from export.caffe2.operators import OPSET
from export.formats import Format
from toolchain import caffe2

AS_CONVERTED = Format(
    name="caffe2",
    what="Caffe2",
    opset=OPSET,
    files=(convert.INIT_NET, convert.PREDICT_NET),
    convert=convert.to_caffe2,
    run=lambda folder, inputs: [convert.run_caffe2(folder, *inputs)],
    tools={"caffe2": caffe2.VERSION},
    recipe=convert.recipe,
)

DEPTHWISE = replace(
    AS_CONVERTED,
    name="caffe2-depthwise",
    convert=partial(convert.to_caffe2, engine=convert.DEPTHWISE_3X3),
    marks=f"Conv:{convert.DEPTHWISE_3X3}",
)
