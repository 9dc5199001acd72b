"""A user's own PyTorch module, written as the ONNX file that is measured in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.artifact import ExportError
from export.onnx.to_onnx import to_onnx
from export.own.randomness import random_in
from export.verify import deviation, run_onnx

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn


def module_to_onnx(module: nn.Module, example: Tensor, path: Path) -> None:
    """Writes `module`, as it is in evaluation, to `path`, for one input of the shape of `example`.

    Raises ExportError for what cannot be written as ONNX, and where the file does not compute what the module does. One
    that draws random numbers is compared with nothing.
    """
    import onnx

    from models.probe import observed

    try:
        with observed(module):
            expected = module(example)
        to_onnx(module, tuple(example.shape), path)
        output = run_onnx(path, example.detach().numpy())
        is_random = random_in(onnx.load(path), {}).outputs != ()
    except Exception as error:  # PyTorch's exporter raises whatever comes
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ExportError(f"{type(module).__name__}: cannot be written as ONNX: {reason}") from error
    failure = deviation(output, expected.detach().numpy(), may_be_constant=True).failure
    if failure and not is_random:
        raise ExportError(f"{type(module).__name__}: its ONNX file does not compute what PyTorch does: {failure}")
