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
    describe,
    file_sha256,
)
from export.calibration import Calibration
from export.formats import FORMATS, Format, refusal
from export.recipe import recipe_sha256, tool_versions
from export.simplify import simplify
from export.store import naming, stored
from export.to_onnx import to_onnx
from models.spec import SEED, ModelError

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
class _Order:
    """What is to be exported; `weights_id` is "seed 0", or the checkpoint's sha256."""

    spec: ModelSpec
    weights: Path | None
    weights_id: str
    form: Format
    igc: str | None
    precision: str
    calibration: Calibration
    opset: int
    recipe_sha256: str


def export_model(
    spec: ModelSpec,
    out: Path,
    weights: Path | None = None,
    *,
    format_name: str = "onnx",
    igc: str | None = None,
    precision: str = PRECISIONS[0],
    calibration: Path | None = None,
    opset: int | None = None,
    force: bool = False,
    on_step: Callable[[str], None] = lambda _step: None,
    network: nn.Module | None = None,
) -> Artifact:
    """The artifact of `spec` in its folder below `out`: the one there if it is up to date, else a new one.

    `weights` is a checkpoint; without one the weights are seeded. `format_name` is one of FORMATS, `opset` that of
    the ONNX file, which other formats are made from (default: the format's). `igc` is one of IGC (default: the first,
    for a network with channel local convolutions; "fused" for another one runs its depthwise separable blocks in the
    same kernel). `precision` is one of PRECISIONS; int8 is calibrated with the samples in the .npz file `calibration`,
    or with random ones. `on_step` is called with each of STEPS, and not at all when nothing is to be done. `network` is
    written to ONNX in place of the one that `spec` and `weights` make, and must compute the same. Any number of
    processes may export into one `out` at once.

    Raises ExportError when the export fails or an ONNX file does not compute what PyTorch does: then nothing new
    is there, and what was there before stays, but no longer counts as up to date. Raises ModelError for a
    checkpoint that cannot be read or does not fit.
    """
    weights_id = f"seed {SEED}" if weights is None else _checkpoint_sha256(weights)
    form = FORMATS[format_name]
    igc = igc or (IGC[0] if spec.has_clc_blocks else None)
    if reason := refusal(form, igc, precision):
        raise ExportError(f"{spec.name}: {reason}")
    data = Calibration.of(calibration if precision == PRECISIONS[-1] else None)
    opset = opset or form.opset
    with naming(spec.name, "looking for the format's tools"):
        recipe = recipe_sha256(spec, opset, weights_id, form, igc, precision, data.sha256)
    order = _Order(spec, weights, weights_id, form, igc, precision, data, opset, recipe)
    name = spec.name if weights is None else f"{spec.name}-{weights_id[:12]}"
    parts = [
        *(name, *([igc] if igc not in (None, IGC[0]) else [])),
        *([precision] if precision != PRECISIONS[0] else []),
        *([data.sha256[:12]] if data.sha256 else []),
        *([form.name] if form.name != "onnx" else []),
    ]

    def make(workspace: Path) -> Artifact:
        artifact = _make(order, workspace, on_step, network)
        on_step("store")
        return artifact

    from_elsewhere = network is not None
    return stored(
        spec.name, out / ".".join(parts), recipe, make, anew=force or from_elsewhere, keeps_old=from_elsewhere
    )


def _checkpoint_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise ModelError(f"checkpoint {str(path)!r} cannot be read: {error.strerror}") from None


def _make(order: _Order, workspace: Path, on_step: Callable[[str], None], network: nn.Module | None) -> Artifact:
    """A verified artifact in a new folder in `workspace`, still without its manifest."""
    from export import fingerprint, igc, inputs, precision, tensors
    from export.verify import run_onnx
    from models import cost

    spec = order.spec
    new = workspace / "new"
    new.mkdir()
    traced, simplified, rewritten = (workspace / f"{name}.onnx" for name in ("traced", "simplified", "rewritten"))
    port = inputs.Port(INPUT_NAME, "float32", spec.input_shape)

    on_step("build")
    right = _build(order)
    input_values = inputs.draw([port])[INPUT_NAME]
    output_values = _pass(right, input_values)
    on_step("export")
    with naming(spec.name, "PyTorch to ONNX"):
        to_onnx(right if network is None else network, spec.input_shape, traced, order.opset)
    on_step("simplify")
    with naming(spec.name, "simplifying the ONNX file"):
        simplify(traced, simplified)
    on_step("rewrite")
    with naming(spec.name, f"writing its channel local convolutions as igc {order.igc}"):
        igc.rewrite_file(simplified, rewritten, order.igc, separable=not spec.has_clc_blocks)
    lowered = None
    file = rewritten
    on_step("convert")
    if order.precision != PRECISIONS[0]:
        _verified(spec, order.form.what, lambda: run_onnx(rewritten, input_values), output_values)
        lowered = precision.lowered(
            spec.name, rewritten, order.precision, order.calibration, [port], [input_values], workspace
        )
        file = lowered.model
    onnx_size_bytes, mark = file.stat().st_size, fingerprint.of_file(file)
    with naming(spec.name, f"making {order.form.name} of the ONNX file"):
        op_counts = order.form.convert(file, new)
    on_step("verify")
    _verified(spec, "exported", lambda: run_onnx(traced, input_values), output_values)
    if lowered is None:
        converted = partial(order.form.run, new, input_values)
        found = _verified(spec, order.form.what, converted, output_values)
    else:
        found = lowered.here
    of_fp32 = {OUTPUT_NAME: output_values}

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
        outputs=tensors.write_tensors(of_fp32 if lowered is None else lowered.outputs, new, "output"),
        opset=order.opset,
        op_counts=op_counts,
        mult_adds=costs.mult_adds,
        params=costs.params,
        max_abs_error=found.max_abs_error or 0.0,
        output_spread=found.spread or 0.0,
        recipe_sha256=order.recipe_sha256,
        tool_versions=tool_versions() | dict(order.form.tools),
        tolerance=precision.tolerance(order.precision),
        precision=order.precision,
        calibration=lowered.calibration if lowered is not None else None,
        fp32_outputs=() if lowered is None else tensors.write_tensors(of_fp32, new, "fp32-output"),
    )


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
    spec: ModelSpec, which: str, run: Callable[[], NDArray[np.float32]], reference: NDArray[np.float32]
) -> Deviation:
    """How far what `run` gives is from `reference`. Raises ExportError when it is not the same."""
    from export import verify

    with naming(spec.name, f"running the {which} file"):
        output = run()
    found = verify.deviation(output, reference)
    if found.failure:
        raise ExportError(f"{spec.name}: the {which} file does not compute what PyTorch does: {found.failure}")
    return found
