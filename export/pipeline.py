"""The whole export of one network: build, PyTorch to ONNX, simplify, convert, verify each file, put in place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from export.artifact import (
    IGC,
    INPUT_NAME,
    OUTPUT_NAME,
    PRECISIONS,
    Artifact,
    ExportError,
)
from export.calibration import Calibration
from export.formats import ONNX, Format
from export.onnx.simplify import simplify
from export.onnx.to_onnx import to_onnx
from export.recipe import recipe_sha256, tool_versions
from export.store import naming, stored
from models.spec import SEED, ModelError
from toolchain.files import describe, file_sha256
from toolchain.tensors import Port

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from export.verify import Deviation
    from models.spec import ModelSpec

#: What an export does, in order; `on_step` hears of each as it begins.
STEPS = ("build", "export", "simplify", "rewrite", "convert", "verify", "store")


@dataclass(frozen=True)
class ExportOptions:
    """What is made of a network.

    `weights` is a checkpoint; without one the weights are seeded. `opset` is that of the ONNX file, which all formats
    are made from (default: the format's). `igc` is one of IGC (default: the first, for a network with channel local
    convolutions; "fused" for another one runs its depthwise separable blocks in the same kernel). `precision` is one of
    PRECISIONS; int8 is calibrated with the samples in the .npz file `calibration`, or with random ones.
    """

    weights: Path | None = None
    form: Format = ONNX
    igc: str | None = None
    precision: str = PRECISIONS[0]
    calibration: Path | None = None
    opset: int | None = None


@dataclass(frozen=True)
class _Order:
    """What is to be exported, all defaults resolved; `weights_id` is "seed 0", or the checkpoint's sha256."""

    spec: ModelSpec
    weights: Path | None
    weights_id: str
    form: Format
    igc: str | None
    precision: str
    calibration: Calibration
    opset: int

    @property
    def recipe_sha256(self) -> str:
        return recipe_sha256(
            self.spec, self.opset, self.weights_id, self.form, self.igc, self.precision, self.calibration.sha256
        )

    @property
    def folder_name(self) -> str:
        parts = [
            self.spec.name if self.weights is None else f"{self.spec.name}-{self.weights_id[:12]}",
            self.igc if self.igc != IGC[0] else None,
            self.precision if self.precision != PRECISIONS[0] else None,
            self.calibration.sha256[:12] if self.calibration.sha256 else None,
            self.form.name if self.form.name != ONNX.name else None,
        ]
        return ".".join(part for part in parts if part)


def export_model(
    spec: ModelSpec,
    out: Path,
    options: ExportOptions | None = None,
    *,
    force: bool = False,
    on_step: Callable[[str], None] = lambda _step: None,
    network: nn.Module | None = None,
) -> Artifact:
    """The artifact of `spec` in its folder below `out`: the one there if it is up to date, else a new one.

    `on_step` is called with each of STEPS, and not at all when nothing is to be done. `network` is written to ONNX in
    place of the one that `spec` and the weights make, and must compute the same. Any number of processes may export
    into one `out` at once.

    Raises ExportError when the export fails or an ONNX file does not compute what PyTorch does: then nothing new
    is there, and what was there before stays, but no longer counts as up to date. Raises ModelError for a
    checkpoint that cannot be read or does not fit.
    """
    order = _order(spec, options or ExportOptions())
    with naming(spec.name, "looking for the format's tools"):
        recipe = order.recipe_sha256

    def make(workspace: Path) -> Artifact:
        artifact = _make(order, recipe, workspace, on_step, network)
        on_step("store")
        return artifact

    from_elsewhere = network is not None
    return stored(
        spec.name, out / order.folder_name, recipe, make, anew=force or from_elsewhere, keeps_old=from_elsewhere
    )


def _order(spec: ModelSpec, options: ExportOptions) -> _Order:
    weights, form, precision = options.weights, options.form, options.precision
    igc = options.igc or (IGC[0] if spec.has_clc_blocks else None)
    weights_id = f"seed {SEED}" if weights is None else _checkpoint_sha256(weights)
    if reason := form.refusal(igc, precision):
        raise ExportError(f"{spec.name}: {reason}")
    data = Calibration.from_file(options.calibration if precision == PRECISIONS[-1] else None)
    return _Order(spec, weights, weights_id, form, igc, precision, data, options.opset or form.opset)


def _checkpoint_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise ModelError(f"checkpoint {str(path)!r} cannot be read: {error.strerror}") from None


def _make(
    order: _Order, recipe: str, workspace: Path, on_step: Callable[[str], None], network: nn.Module | None
) -> Artifact:
    """A verified artifact in a new folder in `workspace`, still without its manifest."""
    import onnx

    from export import fingerprint, inputs, precision, tensors
    from export.numbers import numbers_of
    from export.verify import run_onnx
    from models import cost

    spec = order.spec
    (new := workspace / "new").mkdir()
    port = Port("float32", spec.input_shape, INPUT_NAME)
    on_step("build")
    right = _build(order)
    input_values = inputs.draw([port])[INPUT_NAME]
    output_values = _pass(right, input_values)
    of_fp32 = {OUTPUT_NAME: output_values}
    traced, file = _onnx_files(order, right if network is None else network, workspace, on_step)
    on_step("convert")
    fp32_file, lowered = file, None
    if order.precision != PRECISIONS[0]:
        _verified(spec, ONNX.what, partial(run_onnx, file, input_values), output_values)
        in_fp32 = precision.Network(spec.name, file, [port], [input_values], of_fp32)
        lowered = precision.lowered(in_fp32, order.precision, order.calibration, workspace)
        file = lowered.model
    onnx_size_bytes, mark, numbers = file.stat().st_size, fingerprint.of_file(file), numbers_of(onnx.load(file))
    with naming(spec.name, f"making {order.form.name} of the ONNX file"):
        op_counts = order.form.make(order.precision, fp32_file, file, new)
    on_step("verify")
    _verified(spec, "exported", partial(run_onnx, traced, input_values), output_values)
    if lowered and order.precision not in order.form.lowers:
        found = lowered.here
    else:
        found = _verified_here(order, new, input_values, lowered.outputs[OUTPUT_NAME] if lowered else output_values)
    costs = cost.count(right, spec.input_shape)
    return Artifact(
        model=spec.name,
        weights=order.weights_id,
        format=order.form.name,
        igc=order.igc,
        folder=new,
        model_files=tuple(describe(new / name) for name in order.form.files),
        fingerprint=mark,
        onnx_size_bytes=onnx_size_bytes,
        inputs=tensors.write_tensors({INPUT_NAME: input_values}, new, "input"),
        outputs=tensors.write_tensors(lowered.outputs if lowered else of_fp32, new, "output"),
        opset=order.opset,
        op_counts=op_counts,
        mult_adds=costs.mult_adds,
        params=costs.params,
        max_abs_error=found.max_abs_error or 0.0,
        output_spread=found.spread or 0.0,
        recipe_sha256=recipe,
        tool_versions=tool_versions() | dict(order.form.tools),
        tolerance=precision.tolerance(order.precision),
        precision=order.precision,
        numbers=numbers,
        calibration=lowered.calibration if lowered else None,
        fp32_outputs=tensors.write_tensors(of_fp32, new, "fp32-output") if lowered else (),
    )


def _verified_here(
    order: _Order, folder: Path, input_values: NDArray[np.float32], reference: NDArray[np.float32]
) -> Deviation:
    """How far what the files in `folder` give on this machine is from the reference. Raises ExportError if too far."""
    from export import precision

    tolerance = precision.tolerance(order.precision)
    return _verified(
        order.spec, order.form.what, lambda: order.form.run(folder, [input_values])[0], reference, tolerance
    )


def _onnx_files(
    order: _Order, network: nn.Module, workspace: Path, on_step: Callable[[str], None]
) -> tuple[Path, Path]:
    """The ONNX file as PyTorch writes it, and the one to use: simplified, with its convolutions as ordered."""
    from export.clc import rewrite

    spec = order.spec
    traced, simplified, rewritten = (workspace / f"{name}.onnx" for name in ("traced", "simplified", "rewritten"))
    on_step("export")
    with naming(spec.name, "PyTorch to ONNX"):
        to_onnx(network, spec.input_shape, traced, order.opset)
    on_step("simplify")
    with naming(spec.name, "simplifying the ONNX file"):
        simplify(traced, simplified)
    on_step("rewrite")
    with naming(spec.name, f"writing its channel local convolutions as igc {order.igc}"):
        rewrite.rewrite_file(simplified, rewritten, order.igc, separable=not spec.has_clc_blocks)
    return traced, rewritten


def _build(order: _Order) -> nn.Module:
    from models import weights

    network = order.spec.build().eval()
    if order.weights is None:
        weights.seed(network, order.spec.input_shape)
    else:
        weights.load(network, order.weights)
    return network


def _pass(network: nn.Module, values: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch

    from models.probe import observed

    with observed(network):
        output: NDArray[np.float32] = network(torch.from_numpy(values)).numpy()
    return output


def _verified(
    spec: ModelSpec,
    which: str,
    run: Callable[[], NDArray[np.float32]],
    reference: NDArray[np.float32],
    tolerance: float | None = None,
) -> Deviation:
    """How far what `run` gives is from `reference`. Raises ExportError when it is not the same."""
    from export import verify

    with naming(spec.name, f"running the {which} file"):
        output = run()
    found = verify.deviation(output, reference, tolerance)
    if found.failure:
        raise ExportError(f"{spec.name}: the {which} file does not compute what PyTorch does: {found.failure}")
    return found
