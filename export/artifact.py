"""`Artifact`: one exported, verified network on disk, and the manifest that says what it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.fingerprint import Fingerprint
from export.numbers import FP32_NUMBERS, Numbers
from toolchain.files import File, FileIdentity, file_sha256
from toolchain.tensors import InputTensor, StoredTensor

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MANIFEST_NAME = "manifest.json"

#: What the one input and the one output of every network of the registry are called.
INPUT_NAME, OUTPUT_NAME = "input", "output"

#: How interlaced grouped convolutions can be written (export/clc/rewrite.py); the first is what the paper ran.
IGC = ("grouped", "depthwise", "fused")

#: What a network may compute in (export/precision.py).
PRECISIONS = ("fp32", "fp16", "int8")

#: Of the manifest; an artifact with another one is exported anew.
SCHEMA_VERSION = 4


class ExportError(Exception):
    """An export or its verification failed; the message names the model and says what to do."""


@dataclass(frozen=True)
class Random:
    """The kinds of operators in a network that draw random numbers, and the outputs that hang on them."""

    operators: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{', '.join(self.operators)} draw{'' if len(self.operators) > 1 else 's'} random numbers"

    @property
    def consequence(self) -> str:
        """What a reader must know."""
        outputs = ", ".join(map(repr, self.outputs))
        return f"{self}, so that its output{'s' if len(self.outputs) > 1 else ''} {outputs} cannot be checked"


@dataclass(frozen=True)
class Artifact:
    """An exported network with the reference inputs and outputs that prove it, in the order of the model's.

    `model_files` is what a runtime loads (one ONNX file; two nets for Caffe2), `fingerprint` that of the ONNX file,
    which other formats are made from. The reference outputs are PyTorch's; of a user's own file, or where the precision
    is not fp32, those of ONNX Runtime here without its optimizations.
    `precision` is what was asked for, `numbers` what the ONNX file's are then.
    `rounding` are outputs that hang on rounding, each with the kinds of operators that round (export/onnx/rounding.py).
    `fp32_outputs` are those of the network in fp32, where it is in another precision.
    `max_abs_error` and `output_spread` (largest minus smallest value of the reference) are from the
    verification on this machine, of the output that deviates most; `tolerance` is the part of the spread that a device
    may deviate. `recipe_sha256` covers all that went into it: sources, options,
    weights and tool versions; an artifact whose recipe is unchanged is up to date.
    """

    model: str
    weights: str  # "seed 0", or the sha256 of a checkpoint; "the file's own"
    format: str  # the name of an export.formats.Format
    igc: str | None  # one of IGC; None for a network without channel local convolutions
    folder: Path  # not in the manifest: a folder may be moved
    model_files: tuple[FileIdentity, ...]
    fingerprint: Fingerprint
    onnx_size_bytes: int  # of the simplified ONNX file, which other formats are made from
    inputs: tuple[StoredTensor, ...]
    outputs: tuple[StoredTensor, ...]
    opset: int
    op_counts: dict[str, int]
    mult_adds: int | None  # None where an operator's cannot be told
    params: int
    max_abs_error: float
    output_spread: float
    recipe_sha256: str
    tool_versions: dict[str, str]
    tolerance: float
    precision: str = PRECISIONS[0]
    numbers: Numbers = FP32_NUMBERS
    rounding: dict[str, tuple[str, ...]] = field(default_factory=dict)
    calibration: str | None = None  # on which data int8 was calibrated; None in other precisions
    fp32_outputs: tuple[StoredTensor, ...] = ()
    source: str | None = None  # a user's own file, and what was decided about it; None for the registry's networks
    random: Random = Random()  # outputs that no pass gives twice, so that nothing can be compared with them

    @property
    def is_own(self) -> bool:
        """Whether it is a user's own file, whose output may be the same everywhere."""
        return self.source is not None

    @property
    def model_size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.model_files)

    @property
    def local_model_files(self) -> tuple[File, ...]:
        return tuple(file.at(self.folder) for file in self.model_files)

    @property
    def input_tensors(self) -> tuple[InputTensor, ...]:
        """The reference inputs as a runner is given them."""
        return tuple(InputTensor(one.type, one.shape, one.file.at(self.folder)) for one in self.inputs)

    @property
    def nodes(self) -> int:
        """How many operators one pass runs."""
        return sum(self.op_counts.values())

    @property
    def files(self) -> tuple[FileIdentity, ...]:
        """All files but the manifest."""
        tensors = (*self.inputs, *self.outputs, *self.fp32_outputs)
        return (*self.model_files, *(tensor.file for tensor in tensors))


def write_manifest(artifact: Artifact) -> None:
    """Writes the manifest into the artifact's folder."""
    fields = _adapter().dump_python(artifact, mode="json", exclude={"folder"})
    content = {"schema_version": SCHEMA_VERSION, **fields}
    half_written = artifact.folder / f".{MANIFEST_NAME}"
    half_written.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    half_written.replace(artifact.folder / MANIFEST_NAME)


def read_artifact(folder: Path) -> Artifact:
    """The artifact in `folder`, with every file as its manifest says.

    Raises ExportError when there is none, its manifest is damaged or of another schema, or a file is missing or
    has changed since.
    """
    try:
        content: Any = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
        if content.pop("schema_version") != SCHEMA_VERSION:
            raise ExportError(f"{folder}: its {MANIFEST_NAME} is of another version; export it again")
        artifact = _adapter().validate_python({**content, "folder": folder})
    except OSError as error:
        raise ExportError(f"{folder}: no artifact here ({error.strerror}: {MANIFEST_NAME})") from None
    except (ValueError, TypeError, AttributeError, KeyError):  # pydantic's and json's errors are ValueErrors
        raise ExportError(f"{folder}: its {MANIFEST_NAME} is damaged; export it again") from None
    for file in artifact.files:
        path = folder / file.name
        if not path.is_file():
            raise ExportError(f"{path}: missing; export it again")
        if path.stat().st_size != file.size_bytes or file_sha256(path) != file.sha256:
            raise ExportError(f"{path}: changed since it was exported; export it again")
    return artifact


def _adapter() -> TypeAdapter[Artifact]:
    from pydantic import TypeAdapter

    return TypeAdapter(Artifact)
