"""PyTorch to ONNX."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from export.artifact import INPUT_NAME, OUTPUT_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn

#: What every runtime here reads; also what PyTorch's tracing exporter writes by default.
DEFAULT_OPSET = 17

#: What the exporter can write: Caffe2 needs 9, nothing needs less.
LOWEST_OPSET, HIGHEST_OPSET = 9, 20


def to_onnx(network: nn.Module, input_shape: Sequence[int], path: Path, opset: int = DEFAULT_OPSET) -> None:
    """Writes `network`, as it is in evaluation, to `path` as ONNX for inputs of exactly `input_shape`.

    The tracing exporter is used because the newer one (`dynamo=True`) cannot write opset 9, and a network has to
    come from one exporter for all runtimes. BatchNorms are folded by `batch_norms.py`: the exporter does it, too,
    unless it is told that the network may be trained on (`PRESERVE`), but as this CPU's kernels round.
    """
    import onnx
    import torch

    from export.onnx import batch_norms
    from export.onnx.operators import whole_operators
    from models.probe import observed

    with observed(network), whole_operators(network), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the tracing exporter, which is meant
        warnings.filterwarnings("ignore", ".*constant folding", UserWarning)  # it is not trained on
        torch.onnx.export(
            network,
            (torch.zeros(tuple(input_shape)),),
            path,
            dynamo=False,
            opset_version=opset,
            do_constant_folding=True,
            training=torch.onnx.TrainingMode.PRESERVE,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
        )
    model = onnx.load(path)
    batch_norms.fold(model)
    onnx.save(model, path)
