"""The formats of an export: how a simplified ONNX file becomes what a runtime loads, and how that is run here.

A format stands in the entry of the runtime that loads it (harness/record/runtimes.py); ONNX's own is here, for all
others are made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.artifact import PRECISIONS
from export.onnx.to_onnx import DEFAULT_OPSET

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Turns an ONNX file, which may go, into a format's files in a folder, and counts the operators of a pass.
Convert = Callable[[Path, Path], dict[str, int]]


@dataclass(frozen=True)
class Format:
    """`convert` turns an ONNX file into `files`; in a precision of `lowers` that does, of the file in fp32.

    `run` gives the outputs of the files in a folder for inputs, both in the order of the model's, on one CPU thread
    here. `what` the files are called in messages, `opset` is what the ONNX file is exported with by default,
    `custom_operators` says whether operators that are not ONNX's can be run (igc fused), `precisions` which of
    PRECISIONS can be, `tools` the versions of the format's own tools, and what else a reader must know of how it is
    made, `recipe` a text that changes when one of those does. `marks` is the operator, as it is counted, that sets it
    apart from other formats of the same runtime; a network without it is the same there.
    """

    name: str
    what: str
    opset: int
    files: tuple[str, ...]
    convert: Convert
    run: Callable[[Path, Sequence[NDArray[Any]]], list[NDArray[Any]]]
    lowers: Mapping[str, Convert] = field(default_factory=dict)
    custom_operators: bool = False
    precisions: tuple[str, ...] = PRECISIONS[:1]
    tools: Mapping[str, str] = field(default_factory=dict)
    recipe: Callable[[], str] = lambda: ""
    marks: str | None = None

    def make(self, precision: str, in_fp32: Path, lowered: Path, folder: Path) -> dict[str, int]:
        """Its files in a precision, of the ONNX file in fp32 or in that precision; what `convert` gives."""
        if own := self.lowers.get(precision):
            return own(in_fp32, folder)
        return self.convert(lowered, folder)

    def refusal(self, igc: str | None, precision: str) -> str | None:
        """Why a network cannot be had so, with its channel local convolutions so, in this precision."""
        if igc == "fused" and not self.custom_operators:
            return f"{self.what} has no operator for igc fused; ONNX Runtime has, or take another igc"
        if precision not in self.precisions:
            return f"{self.what} runs no {precision} here; ONNX Runtime does, or take precision {self.precisions[0]}"
        if igc == "fused" and precision != PRECISIONS[0]:
            return f"igc fused computes in {PRECISIONS[0]} alone; for {precision} take another igc"
        return None


def _keep_onnx(source: Path, folder: Path) -> dict[str, int]:
    from export.onnx.simplify import count_operators

    return count_operators(source.rename(folder / "model.onnx"))


def _run_onnx(folder: Path, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    from export import verify

    return [*verify.run_onnx_on(folder / "model.onnx", inputs).values()]


ONNX = Format(
    name="onnx",
    what="simplified",
    opset=DEFAULT_OPSET,
    files=("model.onnx",),
    convert=_keep_onnx,
    run=_run_onnx,
    custom_operators=True,
    precisions=PRECISIONS,
)
