"""ONNX to simpler ONNX: constants folded, BatchNorms folded into convolutions, nothing left that does nothing."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path


def simplify(source: Path, target: Path) -> None:
    """Writes a simpler equivalent of the model `source` to `target`."""
    import onnx
    import onnxsim

    from export.onnx import batch_norms

    original = onnx.load(source)
    batch_norms.fold(original)  # before onnxsim does, whose arithmetic is ONNX Runtime's and so depends on the CPU
    # its own comparison with the original is off: `export.verify` compares with PyTorch
    model, _ = onnxsim.simplify(original, check_n=0)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


def count_operators(path: Path) -> dict[str, int]:
    """How many operators of each kind are in the model at `path`."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))


if __name__ == "__main__":
    simplify(*(Path(name) for name in sys.argv[1:3]))
