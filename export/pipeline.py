"""The whole export of one network: build, PyTorch to ONNX, simplify, convert, verify each file, put in place."""

from __future__ import annotations

import fcntl
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from export.artifact import (
    IGC,
    INPUT_NAME,
    OUTPUT_NAME,
    Artifact,
    ExportError,
    describe,
    file_sha256,
    read_artifact,
    write_manifest,
)
from export.formats import FORMATS, Format
from export.recipe import recipe_sha256, tool_versions
from export.simplify import simplify
from export.to_onnx import to_onnx
from models.spec import SEED, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from models.spec import ModelSpec

#: What an export does, in order; `on_step` hears of each as it begins.
STEPS = ("build", "export", "simplify", "rewrite", "convert", "verify", "store")

#: The seed of the reference input, normal noise.
INPUT_SEED = 0


@dataclass(frozen=True)
class _Order:
    """What is to be exported; `weights_id` is "seed 0", or the checkpoint's sha256."""

    spec: ModelSpec
    weights: Path | None
    weights_id: str
    form: Format
    igc: str | None
    opset: int
    recipe_sha256: str


def export_model(
    spec: ModelSpec,
    out: Path,
    weights: Path | None = None,
    *,
    format_name: str = "onnx",
    igc: str | None = None,
    opset: int | None = None,
    force: bool = False,
    on_step: Callable[[str], None] = lambda _step: None,
    network: nn.Module | None = None,
) -> Artifact:
    """The artifact of `spec` in its folder below `out`: the one there if it is up to date, else a new one.

    `weights` is a checkpoint; without one the weights are seeded. `format_name` is one of FORMATS, `opset` that of
    the ONNX file, which other formats are made from (default: the format's). `igc` is one of IGC (default: the first,
    for a network with channel local convolutions; "fused" for another one runs its depthwise separable blocks in the
    same kernel). `on_step` is called with each of STEPS, and not at all when nothing is to be done. `network` is
    written to ONNX in place of the one that `spec` and `weights` make, and must compute the same. Any number of
    processes may export into one `out` at once.

    Raises ExportError when the export fails or an ONNX file does not compute what PyTorch does: then nothing new
    is there, and what was there before stays, but no longer counts as up to date. Raises ModelError for a
    checkpoint that cannot be read or does not fit.
    """
    weights_id = f"seed {SEED}" if weights is None else _checkpoint_sha256(weights)
    form = FORMATS[format_name]
    igc = igc or (IGC[0] if spec.has_clc_blocks else None)
    if igc == "fused" and not form.custom_operators:
        raise ExportError(
            f"{spec.name}: {form.what} has no operator for igc fused; ONNX Runtime has, or take another igc"
        )
    with _naming(spec, "looking for the format's tools"):
        recipe = recipe_sha256(spec, opset or form.opset, weights_id, form, igc)
    order = _Order(spec, weights, weights_id, form, igc, opset or form.opset, recipe)
    name = spec.name if weights is None else f"{spec.name}-{weights_id[:12]}"
    parts = [name, *([igc] if igc not in (None, IGC[0]) else []), *([form.name] if form.name != "onnx" else [])]
    folder = out / ".".join(parts)

    def present() -> Artifact | None:
        return None if force or network is not None else _up_to_date(folder, order)

    if artifact := present():
        return artifact
    try:
        with _turn(folder) as workspace:
            if artifact := present():  # another process made it while this one waited
                return artifact
            try:
                artifact = _make(order, workspace, on_step, network)
            except ExportError:
                if network is None:
                    _outdate(folder)
                raise
            on_step("store")
            write_manifest(artifact)
            if folder.exists():
                folder.rename(workspace / "old")
            artifact.folder.rename(folder)
    except OSError as error:
        where = str(error.filename or folder)
        raise ExportError(f"{spec.name}: cannot write {where!r}: {error.strerror or error}") from error
    return replace(artifact, folder=folder)


def _checkpoint_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise ModelError(f"checkpoint {str(path)!r} cannot be read: {error.strerror}") from None


def _up_to_date(folder: Path, order: _Order) -> Artifact | None:
    try:
        artifact = read_artifact(folder)
    except ExportError:
        return None
    return artifact if artifact.recipe_sha256 == order.recipe_sha256 else None


def _outdate(folder: Path) -> None:
    """Keeps the artifact in `folder`, if there is one, from counting as up to date."""
    try:
        write_manifest(replace(read_artifact(folder), recipe_sha256=""))
    except ExportError:
        return  # none there, or a damaged one, which counts for nothing


@contextmanager
def _turn(folder: Path) -> Iterator[Path]:
    """Waits until no other process writes `folder`; gives a workspace beside it that is gone afterwards.

    Raises OSError.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}.work-"
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # ends with the process, however that ends
        for abandoned in folder.parent.glob(f"{prefix}*"):  # by a process that was killed
            rmtree(abandoned, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as workspace:
            yield Path(workspace)


def _make(order: _Order, workspace: Path, on_step: Callable[[str], None], network: nn.Module | None) -> Artifact:
    """A verified artifact in a new folder in `workspace`, still without its manifest."""
    from export import igc, tensors
    from export.verify import run_onnx
    from models import cost

    spec = order.spec
    new = workspace / "new"
    new.mkdir()
    traced, simplified, rewritten = (workspace / f"{name}.onnx" for name in ("traced", "simplified", "rewritten"))

    on_step("build")
    right = _build(order)
    input_values = _noise(spec.input_shape)
    output_values = _pass(right, input_values)
    on_step("export")
    with _naming(spec, "PyTorch to ONNX"):
        to_onnx(right if network is None else network, spec.input_shape, traced, order.opset)
    on_step("simplify")
    with _naming(spec, "simplifying the ONNX file"):
        simplify(traced, simplified)
    on_step("rewrite")
    with _naming(spec, f"writing its channel local convolutions as igc {order.igc}"):
        igc.rewrite_file(simplified, rewritten, order.igc, separable=not spec.has_clc_blocks)
    onnx_size_bytes = rewritten.stat().st_size
    on_step("convert")
    with _naming(spec, f"making {order.form.name} of the ONNX file"):
        op_counts = order.form.convert(rewritten, new)
    on_step("verify")
    _verified(spec, "exported", lambda: run_onnx(traced, input_values), output_values)
    converted = partial(order.form.run, new, input_values)
    max_abs_error, spread = _verified(spec, order.form.what, converted, output_values)

    costs = cost.count(right, spec.input_shape)
    return Artifact(
        model=spec.name,
        weights=order.weights_id,
        format=order.form.name,
        igc=order.igc,
        folder=new,
        model_files=tuple(describe(new / name) for name in order.form.files),
        onnx_size_bytes=onnx_size_bytes,
        input=tensors.write_tensor(INPUT_NAME, input_values, new),
        output=tensors.write_tensor(OUTPUT_NAME, output_values, new),
        opset=order.opset,
        op_counts=op_counts,
        mult_adds=costs.mult_adds,
        params=costs.params,
        max_abs_error=max_abs_error,
        output_spread=spread,
        recipe_sha256=order.recipe_sha256,
        tool_versions=tool_versions() | dict(order.form.tools),
    )


def _build(order: _Order) -> nn.Module:
    from models import weights

    network = order.spec.build().eval()
    if order.weights is None:
        weights.seed(network, order.spec.input_shape)
    else:
        weights.load(network, order.weights)
    return network


def _noise(shape: tuple[int, ...]) -> NDArray[np.float32]:
    import numpy as np

    return np.random.default_rng(INPUT_SEED).standard_normal(shape, dtype=np.float32)


def _pass(network: nn.Module, values: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch

    from models.probe import observed

    with observed(network):
        output: NDArray[np.float32] = network(torch.from_numpy(values)).numpy()
    return output


def _verified(
    spec: ModelSpec, which: str, run: Callable[[], NDArray[np.float32]], reference: NDArray[np.float32]
) -> tuple[float, float]:
    """The largest error and the spread of `reference`. Raises ExportError when `run` does not give the same."""
    from export import verify

    with _naming(spec, f"running the {which} file"):
        output = run()
    found = verify.deviation(output, reference)
    if found.failure or found.max_abs_error is None or found.spread is None:
        raise ExportError(f"{spec.name}: the {which} file does not compute what PyTorch does: {found.failure}")
    return found.max_abs_error, found.spread


@contextmanager
def _naming(spec: ModelSpec, what: str) -> Iterator[None]:
    """Turns whatever a tool raises into an ExportError that names the model and what was being done."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # torch, onnxsim and ONNX Runtime each have their own
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(f"{spec.name}: {what} failed: {first_line}") from error
