"""A user's own ONNX file: opened with care, its sizes fixed, simplified where that changes nothing, proven, costed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.artifact import PRECISIONS, Artifact, ExportError, Random
from export.calibration import Calibration
from export.formats import ONNX, Format
from export.numbers import Numbers, numbers_of
from export.onnx import session
from export.onnx.rounding import rounding_of
from export.own import graph
from export.own.foreign import admit_constants, model_sha256
from export.own.randomness import random_in
from export.recipe import sha256_of, tool_versions
from export.store import naming, stored
from toolchain.files import describe, file_sha256
from toolchain.paths import REPOSITORY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.precision import Lowered
    from export.verify import Deviation
    from toolchain.tensors import Port

STEPS = ("open", "run", "simplify", "convert", "verify", "store")

#: What stands for the origin of the weights of a network that is a file.
OWN_WEIGHTS = "the file's own"

#: A choice: simplifying takes seconds; one file in many sends its folding of constants round in circles.
_SIMPLIFY_TIMEOUT_S = 600


@dataclass(frozen=True)
class OwnModel:
    """A user's ONNX file, as a run names it; `sha256` is that of all that it is made of (`foreign.model_sha256`).

    `dims` are the sizes given to its free dimensions, by their names or as INPUT:AXIS. `inputs` is an .npz file with a
    value for each input; without one they are drawn at random.
    """

    name: str
    path: str
    sha256: str
    dims: dict[str, int] = field(default_factory=dict)
    inputs: str | None = None
    inputs_sha256: str | None = None


def export_own(
    own: OwnModel,
    out: Path,
    *,
    form: Format = ONNX,
    precision: str = PRECISIONS[0],
    calibration: Path | None = None,
    force: bool = False,
    on_step: Callable[[str], None] = lambda _step: None,
) -> Artifact:
    """The artifact of a user's file in its folder below `out`: the one there if it is up to date, else a new one.

    `form` is what is made of the ONNX file, `precision` one of PRECISIONS; int8 is calibrated with the samples in the
    .npz file `calibration`, else with the model's own inputs where they are given, else with random ones. `on_step` is
    called with each of STEPS, and not at all when nothing is to be done.

    Raises ExportError, with one line: for a file that `foreign.open_foreign` refuses, that is no longer what `own`
    says, that has operators or types that cannot be run everywhere, or free dimensions without a size; for inputs that
    do not fit; where a precision cannot be had; and where the files of `form` cannot be made or compute something else.
    """
    if reason := form.refusal(None, precision):
        raise ExportError(f"{own.name}: {reason}")
    data = Calibration.from_file((calibration or _given(own)) if precision == PRECISIONS[-1] else None)
    require_unchanged(own)
    with naming(own.name, "looking for the format's tools"):
        recipe = sha256_of(
            {
                "own": [own.name, own.sha256, sorted(own.dims.items()), own.inputs_sha256],
                "format": [form.name, form.recipe()],
                "precision": [precision, data.sha256],
            }
        )
    identity = hashlib.sha256(repr((own.sha256, sorted(own.dims.items()), own.inputs_sha256)).encode()).hexdigest()
    parts = [
        f"own-{own.name}-{identity[:12]}",
        *([precision] if precision != PRECISIONS[0] else []),
        *([data.sha256[:12]] if data.sha256 else []),
        *([form.name] if form.name != ONNX.name else []),
    ]

    def make(workspace: Path) -> Artifact:
        artifact = _make(own, form, precision, data, recipe, workspace, on_step)
        require_unchanged(own)  # nor while it was read
        on_step("store")
        return artifact

    return stored(own.name, out / ".".join(parts), recipe, make, anew=force)


def require_unchanged(own: OwnModel) -> None:
    """Raises ExportError unless the files of `own` are what they were when it was named."""
    for path, sha256, hashed in (
        (own.path, own.sha256, model_sha256),
        (own.inputs, own.inputs_sha256, file_sha256),
    ):
        if path is None:
            continue
        try:
            found = hashed(Path(path))
        except OSError as error:
            raise ExportError(f"{own.name}: {path} cannot be read: {error.strerror}") from None
        if found != sha256:
            raise ExportError(f"{own.name}: {path} is another file now (sha256 {sha256} then, {found} now)")


def _given(own: OwnModel) -> Path | None:
    return None if own.inputs is None else Path(own.inputs)


@dataclass(frozen=True)
class _Opened:
    """A user's file as it was opened, its sizes fixed, in `file`: what it is given, and what it computes then.

    `reference` are its outputs without ONNX Runtime's optimizations, `tolerance` how far others may be from them, but
    for those that are `random`.
    """

    file: Path
    ports: list[Port]
    values: dict[str, NDArray[Any]]
    reference: dict[str, NDArray[Any]]
    numbers: Numbers
    opset: int
    random: Random
    rounding: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]

    @property
    def inputs(self) -> list[NDArray[Any]]:
        return [*self.values.values()]

    @property
    def tolerance(self) -> float:
        from export import precision as precisions

        return precisions.tolerance(self.numbers)

    def deviation(self, file: Path) -> Deviation:
        """How far what the ONNX file `file` computes is from the reference. Raises ExportError for other outputs."""
        from export import verify

        found = verify.run_onnx_on(file, self.inputs)
        if [*found] != [*self.reference]:
            raise ExportError(f"its outputs are {', '.join(found)}, not {', '.join(self.reference)}")
        return self.compared([*found.values()])

    def compared(self, outputs: Sequence[NDArray[Any]]) -> Deviation:
        """How far `outputs` are from the reference."""
        from export import verify

        return verify.deviations(
            outputs,
            self.reference,
            self.tolerance,
            may_be_constant=True,
            random=self.random,
            rounding=self.rounding,
        )


def _open(own: OwnModel, target: Path, on_step: Callable[[str], None]) -> _Opened:
    """Opens the file, fixes its sizes, writes it to `target` and runs it. Raises ExportError."""
    import onnx

    from export import inputs

    on_step("open")
    model = graph.opened(Path(own.path))
    arrays = {} if own.inputs is None else inputs.read_arrays(Path(own.inputs))
    notes = graph.fix(model, own.name, own.dims, {name: found.shape for name, found in arrays.items()})
    ports = graph.ports(model)
    values = inputs.draw(ports) if own.inputs is None else inputs.read_inputs(Path(own.inputs), ports)
    onnx.save(model, target)
    on_step("run")
    here = f"in ONNX Runtime {session.version()} here"
    with naming(own.name, f"opening it {here} (does that lack an operator, or should its sizes, --dim, be others?)"):
        whole = session.open_session(target, optimized=False)
    with naming(own.name, f"running it {here} (should its sizes, --dim, or inputs, --input, be others?)"):
        reference = session.run(whole, [*values.values()])
    opset = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)
    with naming(own.name, "looking for random numbers in it"):
        random = random_in(model, values)
    return _Opened(
        file=target,
        ports=ports,
        values=values,
        reference=reference,
        numbers=numbers_of(model),
        opset=opset,
        random=random,
        rounding=rounding_of(model),
        notes=tuple(notes),
    )


def _make(
    own: OwnModel,
    form: Format,
    precision: str,
    data: Calibration,
    recipe: str,
    workspace: Path,
    on_step: Callable[[str], None],
) -> Artifact:
    """A verified artifact in a new folder in `workspace`, still without its manifest."""
    import onnx

    from export import fingerprint, tensors
    from export import precision as precisions
    from export.onnx import cost

    (new := workspace / "new").mkdir()
    opened = _open(own, workspace / "original.onnx", on_step)
    notes = [*opened.notes]
    on_step("simplify")
    file = _simplified(opened, workspace, notes)
    on_step("convert")
    fp32_file, in_fp32, lowered = file, onnx.load(file), None
    if precision != PRECISIONS[0]:
        lowered = _lowered(own, opened, file, precision, data, workspace)
        file = lowered.model
    elif not opened.numbers.are_fp32:
        notes.append(f"{opened.numbers} as it came")
    mark, onnx_size_bytes = fingerprint.of_file(file), file.stat().st_size
    numbers = numbers_of(onnx.load(file)) if lowered else opened.numbers
    with naming(own.name, f"making {form.name} of the ONNX file"):
        op_counts = form.make(precision, fp32_file, file, new)
    on_step("verify")
    found = _verified(own.name, opened, form, new, lowered)
    return Artifact(
        model=own.name,
        weights=OWN_WEIGHTS,
        format=form.name,
        igc=None,
        folder=new,
        model_files=tuple(describe(new / name) for name in form.files),
        fingerprint=mark,
        onnx_size_bytes=onnx_size_bytes,
        inputs=tensors.write_tensors(opened.values, new, "input"),
        outputs=tensors.write_tensors(lowered.outputs if lowered else opened.reference, new, "output"),
        opset=opened.opset,
        op_counts=op_counts,
        mult_adds=cost.mult_adds(in_fp32),
        params=cost.params(in_fp32),
        max_abs_error=found.max_abs_error or 0.0,
        output_spread=found.spread or 0.0,
        recipe_sha256=recipe,
        tool_versions=tool_versions() | dict(form.tools),
        tolerance=precisions.tolerance(precision) if lowered else opened.tolerance,
        precision=precision,
        numbers=numbers,
        rounding=opened.rounding,
        calibration=lowered.calibration if lowered else None,
        fp32_outputs=tensors.write_tensors(opened.reference, new, "fp32-output") if lowered else (),
        source=_source(own, notes),
        random=opened.random,
    )


def _simplified(opened: _Opened, workspace: Path, notes: list[str]) -> Path:
    """The simplified file, or the one that was opened, and then a note why."""
    file = workspace / "simplified.onnx"
    if reason := _simplify(opened, file):
        notes.append(f"not simplified ({reason})")
        return opened.file
    return file


def _lowered(own: OwnModel, opened: _Opened, file: Path, precision: str, data: Calibration, workspace: Path) -> Lowered:
    from export import precision as precisions

    network = precisions.Network(own.name, file, opened.ports, opened.inputs, opened.reference)
    return precisions.lowered(network, precision, data, workspace)


def _source(own: OwnModel, notes: Sequence[str]) -> str:
    """The user's file, what its sha256 is of, and what was decided about it."""
    path = Path(own.path)
    files = path.name if file_sha256(path) == own.sha256 else f"{path.name} and its external data"
    given = "random inputs" if own.inputs is None else f"inputs {Path(own.inputs).name}"
    return f"{files}, sha256 {own.sha256}; {'; '.join([*notes, given])}"


def _verified(name: str, opened: _Opened, form: Format, folder: Path, lowered: Lowered | None) -> Deviation:
    """How far the files in `folder` are from the reference here. Raises ExportError when it is too far."""
    from export import precision as precisions
    from export import verify

    is_onnx = form.name == ONNX.name
    if lowered and lowered.precision not in form.lowers:
        return lowered.here
    with naming(name, "running it in ONNX Runtime here, optimized" if is_onnx else f"running it in {form.what} here"):
        outputs = form.run(folder, opened.inputs)
    if lowered:
        tolerance = precisions.tolerance(lowered.precision)
        found = verify.deviations(outputs, lowered.outputs, tolerance, may_be_constant=True, random=opened.random)
    else:
        found = opened.compared(outputs)
    if found.failure:
        what = "ONNX Runtime here does not compute the same with and without its optimizations"
        if not is_onnx:
            what = f"{form.what} here does not compute what ONNX Runtime does"
        raise ExportError(f"{name}: {what}: {found.failure}")
    return found


def _simplify(opened: _Opened, target: Path) -> str | None:
    """Writes a simpler equivalent of the file to `target`, in a process of its own, for a file may bring it down.

    None, or why there is none: it could not be made, takes other inputs, or does not compute the same.
    """
    import onnx

    if opened.random.outputs:
        return f"{opened.random}, so that no change of it can be checked"
    command = [sys.executable, "-m", "export.onnx.simplify", str(opened.file.resolve()), str(target.resolve())]
    try:
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=_SIMPLIFY_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {_SIMPLIFY_TIMEOUT_S} s"
    if done.returncode != 0 or not target.exists():
        last = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        return f"onnxsim failed: {last[:200]}"
    model = onnx.load(target)
    before = onnx.load(opened.file, load_external_data=False)
    model.ir_version = before.ir_version
    admit_constants(model)
    del model.opset_import[:]
    model.opset_import.extend(before.opset_import)
    if graph.ports(model) != opened.ports:
        return "then it takes other inputs"
    try:
        onnx.checker.check_model(model)
        onnx.save(model, target)
        found = opened.deviation(target)
    except Exception as error:
        return f"then it does not run: {' '.join(str(error).split())[:200]}"
    return f"then it computes something else: {found.failure}" if found.failure else None
