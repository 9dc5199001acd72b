"""The formats of an export: how a simplified ONNX file becomes what a runtime loads, and how that is run here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from export.artifact import PRECISIONS
from export.onnx.to_onnx import DEFAULT_OPSET

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Format:
    """`convert` turns an ONNX file, which may go, into `files` in a folder, and counts the operators of a pass.

    `run` gives the output of the files in a folder for an input, on one CPU thread here. `what` the files are called
    in messages, `opset` is what the ONNX file is exported with by default, `custom_operators` says whether operators
    that are not ONNX's can be run (igc fused), `precisions` which of PRECISIONS can be, `tools` the versions of the
    format's own tools, `recipe` a text that changes when one of those does.
    """

    name: str
    what: str
    opset: int
    files: tuple[str, ...]
    convert: Callable[[Path, Path], dict[str, int]]
    run: Callable[[Path, NDArray[np.float32]], NDArray[np.float32]]
    custom_operators: bool = False
    precisions: tuple[str, ...] = PRECISIONS[:1]
    tools: Mapping[str, str] = field(default_factory=dict)
    recipe: Callable[[], str] = lambda: ""


def _keep_onnx(source: Path, folder: Path) -> dict[str, int]:
    from export.onnx.simplify import count_operators

    return count_operators(source.rename(folder / "model.onnx"))


def _run_onnx(folder: Path, values: NDArray[np.float32]) -> NDArray[np.float32]:
    from export import verify

    return verify.run_onnx(folder / "model.onnx", values)


def _caffe2(name: str, engine: str) -> Format:
    """The format of Caffe2's nets, with `engine` on each 3x3 depthwise convolution."""

    def convert(source: Path, folder: Path) -> dict[str, int]:
        from export.caffe2 import convert

        return convert.to_caffe2(source, folder, engine)

    def run(folder: Path, values: NDArray[np.float32]) -> NDArray[np.float32]:
        from export.caffe2 import convert

        return convert.run_caffe2(folder, values)

    def recipe() -> str:
        from export.caffe2 import convert

        return convert.recipe()

    return Format(
        name, "Caffe2", 9, ("init_net.pb", "predict_net.pb"), convert, run, tools={"caffe2": "1.7.1"}, recipe=recipe
    )


FORMATS = {
    made.name: made
    for made in (
        Format(
            "onnx",
            "simplified",
            DEFAULT_OPSET,
            ("model.onnx",),
            _keep_onnx,
            _run_onnx,
            custom_operators=True,
            precisions=PRECISIONS,
        ),
        _caffe2("caffe2", ""),
        _caffe2("caffe2-depthwise", "DEPTHWISE_3x3"),
    )
}


def refusal(form: Format, igc: str | None, precision: str) -> str | None:
    """Why a network cannot be had in this format, with its channel local convolutions so, in this precision."""
    if igc == "fused" and not form.custom_operators:
        return f"{form.what} has no operator for igc fused; ONNX Runtime has, or take another igc"
    if precision not in form.precisions:
        return f"{form.what} runs no {precision} here; ONNX Runtime does, or take precision {form.precisions[0]}"
    if igc == "fused" and precision != PRECISIONS[0]:
        return f"igc fused computes in {PRECISIONS[0]} alone; for {precision} take another igc"
    return None
