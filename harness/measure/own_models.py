"""A user's own models as the command line names them: files, sizes and data, each by the model that it is for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from export.artifact import ExportError
from export.checkpoints import files_by_model
from export.inputs import read_arrays
from export.own.foreign import model_sha256
from export.own.graph import choose_sizes, free_dimensions, is_called
from export.own.model import OwnModel
from export.own.model import require_unchanged as unchanged
from harness.record.errors import UsageError
from models import registry
from toolchain.files import file_sha256

if TYPE_CHECKING:
    from export.own.graph import Free
    from harness.record.plan import Plan

#: What may stand in a model's name, which cases, folders and files are named after.
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_MOST_NAME = 64


def named(files: Sequence[str], dims: Iterable[str], inputs: Iterable[str]) -> tuple[OwnModel, ...]:
    """The models of `--model`, with what `--dim` and `--input` say of them.

    Each is called by its file's stem; where that is taken, by another model or in the registry, with a number. `dims`
    are NAME=SIZE, for all models with such a free dimension, or MODEL:NAME=SIZE for one. Raises UsageError for a file
    that cannot be measured, for what fits no model, and for sizes that are asked for and not given.
    """
    by_name: dict[str, str] = {}
    for file in dict.fromkeys(files):
        by_name[_unused(Path(file), by_name)] = file
    data = files_by_model("--input", inputs, list(by_name))
    try:
        free = {name: free_dimensions(Path(file)) for name, file in by_name.items()}
        sizes = _sizes(dims, free)
        for name, dimensions in free.items():
            arrays = read_arrays(data[name]) if name in data else {}
            choose_sizes(name, dimensions, sizes[name], {one: found.shape for one, found in arrays.items()})
        return tuple(
            OwnModel(
                name=name,
                path=str(Path(file).resolve()),
                sha256=model_sha256(Path(file)),
                dims=sizes[name],
                inputs=str(data[name].resolve()) if name in data else None,
                inputs_sha256=file_sha256(data[name]) if name in data else None,
            )
            for name, file in by_name.items()
        )
    except ExportError as error:
        raise UsageError(f"--model: {error}") from None
    except OSError as error:
        raise UsageError(f"{error.filename}: cannot be read: {error.strerror}") from None


def require_unchanged(planned: Plan, folder: Path) -> None:
    """Raises UsageError unless a plan's own models are still the files they were when the run in `folder` began."""
    try:
        for own in planned.own_models:
            unchanged(own)
    except ExportError as error:
        raise UsageError(f"--resume {folder}: not the run it was: {error}; start a new run for that") from None


def _unused(file: Path, taken: Iterable[str]) -> str:
    stem = _UNSAFE.sub("-", file.stem).strip("-.")[:_MOST_NAME] or "model"
    known = {*taken, *registry.names()}
    number, name = 1, stem
    while name in known:
        number += 1
        name = f"{stem}-{number}"
    return name


def _sizes(dims: Iterable[str], free: Mapping[str, Sequence[Free]]) -> dict[str, dict[str, int]]:
    """Model -> free dimension -> size."""
    sizes: dict[str, dict[str, int]] = {name: {} for name in free}
    for option in dims:
        name, equals, digits = option.rpartition("=")
        if not (equals and name and digits.isascii() and digits.isdecimal() and 0 < len(digits) < 10):  # noqa: PLR2004
            raise UsageError(f"--dim {option}: give NAME=SIZE, or MODEL:NAME=SIZE, with a size of 0 or more")
        if not free:
            raise UsageError(f"--dim {option}: of which model? Name its file with --model")
        fitting = [(model, name) for model in free if is_called(free[model], name)]
        model, colon, rest = name.partition(":")
        if not fitting and colon and model in free and is_called(free[model], rest):
            fitting = [(model, rest)]
        if not fitting:
            known = "; ".join(
                f"{one} has {', '.join(dict.fromkeys(each.key for each in free[one])) or 'none'}" for one in free
            )
            raise UsageError(f"--dim {option}: there is no such free dimension: {known}")
        for model, key in fitting:
            if sizes[model].setdefault(key, int(digits)) != int(digits):
                raise UsageError(f"--dim {option}: {model} is given two sizes of it")
    return sizes
