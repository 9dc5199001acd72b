"""The recipe of an artifact: a hash of all that its content depends on, found without importing torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from export.artifact import PRECISIONS
from toolchain import clc
from toolchain.paths import REPOSITORY

if TYPE_CHECKING:
    from export.formats import Format
    from models.spec import ModelSpec

#: The tools whose version can change an artifact.
TOOLS = ("torch", "onnx", "onnxsim", "onnxruntime", "numpy")

#: The sources that can: every module of these folders.
SOURCE_FOLDERS = ("models", "export")


def recipe_sha256(
    spec: ModelSpec,
    opset: int,
    weights: str,
    form: Format,
    igc: str | None = None,
    precision: str = PRECISIONS[0],
    calibration: str | None = None,
) -> str:
    """The hash of the recipe for `spec` at `opset` in `form` with `weights` ("seed 0", or a checkpoint's sha256).

    `calibration` is the sha256 of a file of data for int8. Raises ToolchainError when the tools of `form` or `igc`
    cannot be had.
    """
    return sha256_of(
        {
            "spec": {key: value for key, value in asdict(spec).items() if key in {"name", "factory", "input_shape"}},
            "opset": opset,
            "weights": weights,
            "format": [form.name, form.recipe()],
            "igc": [igc, clc.recipe() if igc == "fused" else ""],
            "precision": [precision, calibration],
        }
    )


def sha256_of(parts: dict[str, object]) -> str:
    """The hash of a recipe with these parts, and with what is in all of them: the tools and our sources."""
    recipe = {**parts, "tools": tool_versions(), "sources": _source_hashes()}
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


@cache
def tool_versions() -> dict[str, str]:
    """The installed version of each of TOOLS."""
    return {tool: version(tool) for tool in TOOLS}


@cache
def _source_hashes() -> dict[str, str]:
    """Of each source file, as it was when the process first asked: Python, too, has loaded it by then."""
    paths = [path for folder in SOURCE_FOLDERS for path in sorted((REPOSITORY / folder).rglob("*.py"))]
    return {str(path.relative_to(REPOSITORY)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
